"""The tokenizer that a GGUF file carries, as llama.cpp reads it: SentencePiece's kind (`tokenizer.ggml.model = "llama"`) and the byte-level
one (`"gpt2"`, its splitting in `gguf_byte_level`), with the file's chat template.

Of SentencePiece's kind transformers (5.17) reads Gemma's as a unigram model, takes its merge ranks for log-probabilities and leaves the token of the beginning out: four
pieces where llama.cpp has two. Here pieces are merged by score, best first, as llama.cpp's `llm_tokenizer_spm` does; the pieces that a
person defined and the control tokens are found in the text first; the token of the beginning is put there if the file says so.
"""

from typing import Any

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from aether.models.gguf_byte_level import byte_level, splitting_of

SPACE = "\u2581"
_NORMAL, _CONTROL, _DEFINED, _BYTE = 1, 3, 4, 6
"""Of `tokenizer.ggml.token_type` (published: llama.h, `llama_token_type`)."""
_DEFAULTS = {"bos": 1, "eos": 2, "unknown": 0}
"""Ids of a file that names none (published: llama.cpp, `llama_vocab::impl::load`)."""


def read_tokenizer(reader: gguf.GGUFReader) -> PreTrainedTokenizerFast | None:
    """The tokenizer of the file, or None for one of another kind, which transformers reads.

    Raises InputError for a byte-level one whose splitting is not known.
    """
    fields = reader.fields

    def known(name: str, default: Any = None) -> Any:
        return fields[f"tokenizer.{name}"].contents() if f"tokenizer.{name}" in fields else default

    kind = known("ggml.model")
    if kind not in ("llama", "gpt2"):
        return None
    tokens, kinds = list(known("ggml.tokens")), list(known("ggml.token_type"))
    defaults = _DEFAULTS if kind == "llama" else dict.fromkeys(_DEFAULTS)
    ids = {name: known(f"ggml.{name}_token_id", default) for name, default in (*defaults.items(), ("padding", None))}
    named: dict[str, Any] = {name: None if at is None else tokens[at] for name, at in ids.items()}
    if kind == "llama":
        made, first = _pieces(tokens, list(known("ggml.scores")), kinds, named["unknown"]), True
        if known("ggml.add_space_prefix", True):
            made.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    else:
        splitting = splitting_of(str(known("ggml.pre", "gpt-2")))
        made, first = byte_level(tokens, list(known("ggml.merges")), splitting), splitting.begins
    made.add_special_tokens(_added(tokens, kinds, _CONTROL))
    made.add_tokens(_added(tokens, kinds, _DEFINED))
    if known("ggml.add_bos_token", first):
        made.post_processor = processors.TemplateProcessing(
            single=f"{named['bos']} $A", special_tokens=[(named["bos"], ids["bos"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=named["bos"],
        eos_token=named["eos"],
        unk_token=named["unknown"],
        pad_token=named["padding"],
        chat_template=known("chat_template"),
    )


def end_tokens(reader: gguf.GGUFReader) -> frozenset[int]:
    """The ids that end an answer, as the file names them: of the text, of a turn, of a message."""
    names = (f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
    return frozenset(int(reader.fields[name].contents()) for name in names if name in reader.fields)


def begins(tokenizer: Any) -> bool:
    """Whether a tokenizer puts its token of the beginning before a text by itself."""
    found = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and found[:1] == [tokenizer.bos_token_id]


def _pieces(tokens: list[str], scores: list[float], kinds: list[int], unknown: str) -> Tokenizer:
    normal = {token: at for at, token in enumerate(tokens) if kinds[at] == _NORMAL}
    joins = [
        (-scores[at], normal[piece[:cut]], normal[piece[cut:]], piece[:cut], piece[cut:])
        for piece, at in normal.items()
        for cut in range(1, len(piece))
        if piece[:cut] in normal and piece[cut:] in normal
    ]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    merges = [(left, right) for *_, left, right in sorted(joins)]
    made = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=_BYTE in kinds)
    )
    made.normalizer = normalizers.Replace(" ", SPACE)
    made.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return made


def _added(tokens: list[str], kinds: list[int], kind: int) -> list[AddedToken]:
    return [
        AddedToken(token, normalized=False, special=kind == _CONTROL)
        for token, one in zip(tokens, kinds, strict=True)
        if one == kind
    ]
