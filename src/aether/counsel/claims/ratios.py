"""Ratios that a sentence says of two options: of a number in it to that of the decided option, of one option that it names to another."""

import re
from collections.abc import Iterator

from aether.counsel.claims.around import FORMATS
from aether.counsel.claims.facts import Fact, Ground
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.subjects import subject_of
from aether.counsel.claims.support import supported
from aether.counsel.claims.values import close
from aether.counsel.claims.wording import is_denied


def of_the_decided(ratio: Said, said: list[Said], text: str, context: str, ground: Ground) -> bool:
    """Whether a ratio is that of a number in the sentence to the same number of the decided option."""
    if _of_another(ratio, text, context, ground):
        return True
    for number in said:
        if number.ratio or not supported(number, text, context, ground):
            continue
        subject = subject_of(text, number.start, number.start + len(number.words), context)
        if subject.family is None:
            subject = subject_of(text, ratio.start, ratio.start + len(ratio.words), context)
        for fact in ground.facts:
            same = (
                fact.kind == "record" and fact.unit == number.unit and fact.subject.family == subject.family is not None
            )
            if same and number.high and fact.value and subject.agrees(fact.subject.bare()):
                share = number.high / fact.value
                if close(ratio.high, share, 0.02 * share) or close(ratio.high, 1 / share, 0.02 / share):
                    return True
    return False


def _of_another(ratio: Said, text: str, context: str, ground: Ground) -> bool:
    """ "Half the price" of an option whose traits the sentence names, against the decided one."""
    subject = subject_of(text, ratio.start, ratio.start + len(ratio.words), "")
    traits = subject.traits - ground.decided
    if not subject.traits:
        return False
    if subject.family is None:
        return _of_two_options(ratio, subject.traits, text, ground)
    if not traits:
        return False
    same = [
        f for f in ground.facts if f.subject.family == subject.family and f.unit in ("USD", "s", "byte") and not f.end
    ]
    bare = subject.bare()
    own = [f.value for f in same if f.kind == "record" and f.value and bare.agrees(f.subject.bare())]
    others = [f.value for f in same if f.kind == "tool" and traits <= f.subject.traits]
    return any(
        close(ratio.high, b / a, 0.04 * ratio.high) or close(ratio.high, a / b, 0.04 * ratio.high)
        for a in own
        for b in others
        if a and b
    )


_SPEEDS = frozenset({"tpot", "itl", "ttft", "throughput", "e2e"})


def _of_two_options(ratio: Said, traits: frozenset[str], text: str, ground: Ground) -> bool:
    """ "1.7 times as fast in FP8": one metric of the option that is named against the same metric of another."""
    if not re.search(r"\b(?:fast|faster|slow|slower|speed|quick|quicker)\b", text):
        return False
    speeds = [
        f
        for f in ground.facts
        if f.kind in ("tool", "record")
        and f.subject.family in _SPEEDS
        and not f.end
        and f.value
        and f.unit in ("s", "token/s")
    ]
    traits = traits & FORMATS - {"vllm", "sglang", "trtllm", "lmdeploy"}
    own = [f for f in speeds if traits & f.subject.traits]
    others = own if len(traits) > 1 else [f for f in speeds if not traits & f.subject.traits] or speeds
    step = max(ratio.step, 0.04 * ratio.high)
    return any(
        close(ratio.high, max(a.value, b.value) / min(a.value, b.value), step)
        for a in own
        for b in others
        if a.unit == b.unit
        and a.subject.bare() == b.subject.bare()
        and (len(traits) < 2 or a.subject.traits & traits != b.subject.traits & traits)
    )


_SIDE = r"(?:the )?(?P<{}>int4|int8|fp8|bf16|fp16|nvfp4|mxfp4|nf4|tuned|base|old|new)(?:[ -](?:option|model|version|build|variant|weights|files|checkpoint))?\b"
_ORDER = re.compile(
    rf"\b{_SIDE.format('one')} (?:is|are|was|were|runs?|ran|decodes?|serves?|generates?|trains?)\b(?P<how>(?:[^.;,:()]|\.(?=\d)){{0,32}}?)\b"
    rf"(?P<word>faster|slower|quicker|cheaper|smaller|larger|bigger|as (?:fast|slow|quick|cheap|small|large|big)) (?:as|than) {_SIDE.format('other')}",
    re.IGNORECASE,
)
_TURNED = re.compile(r"\b(?:half|third|quarter|not|no|never|nearly|almost)\b|n't\b|\b0\.", re.IGNORECASE)
"""Words with which "as fast as" says slower, or nothing."""
_UNITS_OF = {"fast": ("s", "token/s"), "slow": ("s", "token/s"), "quick": ("s", "token/s"), "cheap": ("USD",)}
_SIZES = ("byte",)
_GROWS = frozenset({("fast", "token/s"), ("quick", "token/s"), ("slow", "s"), ("large", "byte"), ("big", "byte")})
"""Where what is more so has the larger value."""


def wrong_orders(text: str, ground: Ground) -> Iterator[tuple[str, str]]:
    """(words, why) of "bf16 is twice as fast as int4" where every metric that both have on record says the other way round."""
    for match in _ORDER.finditer(text):
        if _TURNED.search(match["how"]) or is_denied(text):
            continue
        said = match["word"].lower().removeprefix("as ")
        word = next(
            stem for stem in ("fast", "slow", "quick", "cheap", "small", "large", "big") if said.startswith(stem)
        )
        units = _UNITS_OF.get(word, _SIZES)
        one, other = match["one"].lower(), match["other"].lower()
        pairs = [
            (a, b)
            for a in _of_side(one, other, units, ground)
            for b in _of_side(other, one, units, ground)
            if (a.group, a.unit, a.subject.bare()) == (b.group, b.unit, b.subject.bare()) and a.value != b.value
        ]
        if pairs and all((a.value > b.value) != ((word, a.unit) in _GROWS) for a, b in pairs):
            yield match[0], "what is on record says the other way round"


def _of_side(one: str, other: str, units: tuple[str, ...], ground: Ground) -> list[Fact]:
    named = ((f, f.labels | f.subject.traits) for f in ground.facts if f.kind in ("record", "tool"))
    return [
        f for f, words in named if f.unit in units and not f.end and f.group and one in words and other not in words
    ]
