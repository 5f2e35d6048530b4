"""New entries of a vocabulary: the tokenizer learns them, the tied embedding gets rows. Logits of the old entries stay as they are.

A new row is the mean of the rows of the pieces that its text has in the old vocabulary, or the mean of all rows, which bounds what
the new entries take from the old ones (Hewitt, Initializing new word embeddings for pretrained language models, 2021).
"""

import torch
from tokenizers import AddedToken, Tokenizer

from aether.spec.errors import InputError
from aether.stages.surgery.opened import Opened


def extend_vocabulary(
    opened: Opened, tokenizer: Tokenizer, tokens: tuple[str, ...], rows: str
) -> tuple[Opened, Tokenizer, dict[str, object]]:
    """The model and a copy of the tokenizer with `tokens`. Raises InputError for an entry that is there, empty or given twice."""
    wider = Tokenizer.from_str(tokenizer.to_str())
    first = wider.get_vocab_size()
    for place, token in enumerate(tokens):
        if not token or tokens.index(token) != place or wider.token_to_id(token) is not None:
            raise InputError.of("tokens", token, "each must be new, not empty, and given once")
    embedding = opened.tensors["embedding"]
    if first > len(embedding):
        raise InputError.of(
            "model.vocab_size", len(embedding), f"its tokenizer has {first} entries: the two do not belong together"
        )
    added, pieces = [], {}
    for token in tokens:
        ids = tokenizer.encode(token, add_special_tokens=False).ids
        pieces[token] = ids
        chosen = embedding[:first] if rows == "mean" else embedding[torch.tensor(ids)]
        added.append(chosen.mean(0))
    wider.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    # A vocabulary that was padded keeps its padding behind the new rows only as far as they leave some.
    table = torch.cat((embedding[:first], torch.stack(added), embedding[first + len(tokens) :]))
    told: dict[str, object] = {"first_new_id": first, "pieces": pieces}
    return opened.resized(opened.tensors | {"embedding": table}, vocab_size=len(table)), wider, told
