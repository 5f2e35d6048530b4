"""A GGUF file's byte-level vocabulary (`tokenizer.ggml.model = "gpt2"`) with the splitting that `tokenizer.ggml.pre` names, as llama.cpp reads it.

transformers (5.17) splits every such file as GPT-2 does: SmolLM2's ":\\n\\n1" is then three pieces where llama.cpp, and the model's own
tokenizer, have ":" and one of both line ends; and it takes the token of the beginning for that of the end. The patterns are those of llama.cpp's
`llm_tokenizer_bpe`; the tests hold each against llama.cpp itself.
"""

from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from aether.spec.errors import InputError

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Splitting:
    """How a text is cut before pieces are joined. `pattern`: None for GPT-2's own."""

    pattern: str | None = None
    single_digits: bool = False
    """Every digit is cut off first."""
    whole_first: bool = False
    """A cut that is a piece of the vocabulary stays whole, whatever the merges say."""
    begins: bool = False
    """Whether a text begins with the token of the beginning where the file does not say."""


SPLITTINGS = {
    "gpt-2": Splitting(),
    "smollm": Splitting(single_digits=True),
    "starcoder": Splitting(single_digits=True),
    "qwen2": Splitting(rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"),
    "llama-bpe": Splitting(
        rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}", whole_first=True, begins=True
    ),
}


def splitting_of(name: str) -> Splitting:
    """By `tokenizer.ggml.pre`. Raises InputError for a kind that was not held against llama.cpp."""
    if name not in SPLITTINGS:
        mend = f"its splitting is known for {', '.join(SPLITTINGS)}; give the model's Hugging Face folder instead"
        raise InputError.of("tokenizer.ggml.pre", name, mend)
    return SPLITTINGS[name]


def byte_level(tokens: list[str], merges: list[str], splitting: Splitting) -> Tokenizer:
    """The tokenizer without its added tokens."""
    pairs = [(left, right) for left, right in (merge.split(" ", 1) for merge in merges)]
    vocabulary = {token: at for at, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=splitting.whole_first))
    steps: list[pre_tokenizers.PreTokenizer] = []
    if splitting.single_digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if splitting.pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(splitting.pattern), behavior="isolated"))
    own = splitting.pattern is None
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=own)]
    )
    made.decoder = decoders.ByteLevel()
    return made
