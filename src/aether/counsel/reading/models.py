"""Models that a text names: those of `knowledge` in any spelling, config files, sizes without a name, names that are not known."""

import functools
import math
import re
from dataclasses import dataclass

from aether.counsel.reading.methods import is_technique
from aether.counsel.reading.names import mended, one_of, possible, spelling, which
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import PART_OF_NAME, Span, Text, negated
from aether.knowledge.models_library import published_model, spelled

_TUNING = "instruct|chat|base|it|hf|v0\\.\\d|preview"
_TAIL = Lazy(r"[\s_-]*(?:instruct|chat|base|it|hf|pt|v0\.\d|(?<=[_-])\d{4}(?=[_-]))(?![\w])")
_PACKED = Lazy(
    r"(?:[_.-](?:awq|gptq|gguf|exl[23]|mlx|bnb|unsloth|autoround|marlin|dynamic|quantized|(?:nv|mx)fp4|fp8|fp16|bf16|int[48]|[48]-?bit|w\d+a\d+|q\d(?:_k)?(?:_[msl0])?))+(?![\w])"
)
"""After a model's name: the number format that its weights are in."""
_OWNER = Lazy(r"[\w.-]+/$")
_CONFIG = Lazy(r"(?<![\w/])(?:[\w.~-]*/)*[\w.-]*\.json\b")
_LIKE = Lazy(
    r"(?<![\w.-])(?P<family>[a-z]{3,})[\s_-]?(?P<version>v?\d+(?:\.\d+)?)?[\s_-]*(?P<size>\d+(?:\.\d+)?\s*(?:x\s*\d+\s*)?b)(?![\w])"
)
LIKE = Lazy(
    r"[\s-]*(?:style|like|alike|esque|type|ish|inspired|flavou?red|class|sized|compatible|shaped?)\b(?!\s+(?:prompts?|tokens?|format))"
)
"""After a model's name: one of its kind, and not that model."""
_IN_A_FOLDER = Lazy(r"(?<!\w)(?:~|\.{1,2})/(?:[\w.-]+/)*$")
"""Before a word it makes it a part of a path."""
_FAMILY_ONLY = Lazy(
    r"(?<![\w.-])(?P<family>[a-z]{4,})[\s_-]?(?P<version>v?\d+(?:\.\d+)?)(?![\w.]*\d)(?!\s*(?:x|%|gpus?|tokens?|ms|s\b))"
)


@dataclass(frozen=True)
class ModelNames:
    """What a text says of models."""

    names: tuple[tuple[str, Span], ...]
    """Name of `knowledge`, or path of a config.json."""
    unknown: tuple[Span, ...]
    """What looks like a model's name and is none that is known."""


@functools.cache
def _spellings() -> dict[str, str]:
    """Spelling -> name."""
    found: dict[str, str] = {}
    for name, spellings in spelled().items():
        for words in spellings:
            short = words.rsplit("/", 1)[-1].lower()
            found.setdefault(short, name)
            if short.startswith("deepseek-"):
                found.setdefault(f"ds-{short.removeprefix('deepseek-')}", name)  # as people write it
    return found


@functools.cache
def families() -> frozenset[str]:
    """The words that names of models begin with."""
    return frozenset(w for name in _spellings() for w in re.findall(r"^[a-z]{3,}", name))


def find_models(text: Text) -> ModelNames:
    """Every model of a text, in order; those that are negated are taken and left out."""
    found: list[tuple[str, Span]] = []
    for match in text.search(_CONFIG):
        if match[0].rsplit("/", 1)[-1] == "config.json":
            found.append((text.words(Span(*match.span())), Span(*match.span())))
            text.take(Span(*match.span()))
    names = possible(_spellings(), text.plain)
    for match in text.search(one_of(names, _TUNING)) if names else ():
        span = _whole(text, match)
        text.take(span)
        if not negated(text, span.start) and not _set_aside(text, span):
            found.append((_spellings()[which(match, names)], span))
    found += _reversed(text)
    found += _misspelt(text)
    return ModelNames(tuple(sorted(found, key=lambda f: f[1].start)), tuple(_unknown(text)))


_CONSIDERED = Lazy(
    r"\b(?:thought (?:about|of)|considered|looked at|wanted|tried|started with|evaluated)\s+(?:using\s+|taking\s+)?$",
    "thought|considered|looked|wanted|tried|started|evaluated",
)
_TOO_MUCH = Lazy(r"[^.;]{0,40}\bbut\b[^.;]{0,40}\b(?:too|cannot|can't|won't|doesn't|didn't|not)\b", "but")


def _set_aside(text: Text, span: Span) -> bool:
    """ "We thought about DeepSeek R1 but it's too big": not what is wanted."""
    return bool(_CONSIDERED.search(text.plain, 0, span.start) and _TOO_MUCH.match(text.plain, span.end))


def _whole(text: Text, match: re.Match[str]) -> Span:
    """With its owner before it and its tuning after it; a number format in the name is left for the methods."""
    start, end = match.span()
    if owner := _OWNER.search(text.plain, 0, start):
        start = owner.start() if owner.end() == start else start
    elif vendor := re.search(r"\b(?:meta|google|mistral ai|openai|alibaba|deepseek ai)['s]*\s+$", text.plain[:start]):
        start = vendor.start()
    while tail := _TAIL.match(text.plain, end):
        end = tail.end()
    if packed := _PACKED.match(text.plain, end):
        text.plain = text.plain[:end] + re.sub(r"[_.-](?!bit)", PART_OF_NAME, packed[0]) + text.plain[packed.end() :]
    return Span(start, end)


def _reversed(text: Text) -> list[tuple[str, Span]]:
    """ "the 70B Llama 3.1": size first."""
    found = []
    for match in text.search(
        re.compile(
            r"(?<![\w.])(?:(?P<version>\d(?:\.\d)?)\s+)?(?P<size>\d+(?:\.\d+)?b)\s+(?P<rest>[a-z]+[\s-]?\d*(?:\.\d+)?)(?:[\s-]instruct|[\s-]chat)?(?![\w.])"
        )
    ):
        name = _known("-".join(part for part in (match["rest"], match["version"], match["size"]) if part))
        of_a_kind = not match["version"] and LIKE.match(text.plain, match.end())  # "a 7B llama-style model"
        if name and match["rest"].rstrip("0123456789. -") in families() and not of_a_kind:
            span = Span(*match.span())
            text.take(span)
            if not negated(text, span.start):
                found.append((name, span))
    return found


def _misspelt(text: Text) -> list[tuple[str, Span]]:
    found = []
    for match in text.search(_LIKE):
        family = match["family"]
        if family in families():
            continue
        right = mended(family, families())
        version = match["version"] or ""
        name = _known(f"{right}-{version}-{match['size']}".replace("--", "-").replace(" ", "")) if right else None
        if name:
            span = _whole(text, match)
            text.take(span)
            if not negated(text, span.start):
                found.append((name, span))
    return found


def _known(name: str) -> str | None:
    pattern = re.compile(spelling(name))
    return next((model for words, model in _spellings().items() if pattern.fullmatch(words)), None)


def _unknown(text: Text) -> list[Span]:
    """Names with a size or a version that begin like a model's, or with a capital letter in the person's own text."""
    found = []
    for pattern in (_LIKE, _FAMILY_ONLY):
        for match in text.search(pattern):
            span = Span(*match.span())
            near = mended(match["family"], families(), 0.85) is not None
            capital = text.words(span)[:1].isupper() and pattern is _LIKE and match["family"] not in _PLAIN_WORDS
            folder = _IN_A_FOLDER.search(text.plain, 0, span.start) is not None
            if (near or capital) and not folder and not is_technique(match["family"]):
                text.take(span)
                found.append(span)
    return found


_PLAIN_WORDS = frozenset(
    [
        "the",
        "our",
        "that",
        "this",
        "with",
        "for",
        "and",
        "train",
        "serve",
        "deploy",
        "host",
        "quantize",
        "compress",
        "merge",
        "finetune",
        "tune",
        "build",
        "pretrain",
        "evaluate",
        "compare",
        "need",
        "want",
        "have",
        "from",
        "using",
        "under",
        "use",
        "run",
        "give",
        "make",
    ]
)


def resized(name: str, parameters: float) -> str | None:
    """The published model of the same name with so many parameters: 70e9 and "llama-3.1-8b" are "llama-3.1-70b"."""
    other = re.sub(r"\d+(?:\.\d+)?b\b", f"{parameters / 1e9:g}b", name)
    return other if other != name and other in spelled() else None


_USUAL = ("llama-3", "qwen3", "gemma-3", "olmo-2", "pythia")
"""Families in whose order a model of a size is looked for where none was named (chosen: dense, open, in many sizes)."""


def nearest_in_size(parameters: float, plain: str) -> str | None:
    """The published dense model that is nearest in size, of the family that the words name, else of a usual one."""
    sizes = {
        name: float(found[1]) for name in spelled() if (found := re.fullmatch(r"[a-z][\w.-]*?-(\d+(?:\.\d+)?)b", name))
    }
    named = {name for name in sizes if re.search(rf"(?<![a-z]){re.match(r'[a-z]+', name)[0]}", plain)}  # type: ignore[index]
    known = named or {name for name in sizes if name.startswith(_USUAL)}

    def order(name: str) -> tuple[float, int, str]:
        place = next((at for at, family in enumerate(_USUAL) if name.startswith(family)), len(_USUAL))
        return abs(math.log(sizes[name] * 1e9 / parameters)), place, name

    return min(known, key=order, default=None)


def is_published(name: str) -> bool:
    """Whether a name is one of knowledge, not a path."""
    return not name.endswith(".json") and bool(published_model(name))
