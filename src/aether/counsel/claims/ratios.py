"""The order in which a sentence puts two options: "int8 is faster than bf16", against what both have on record."""

import re
from collections.abc import Iterator

from aether.counsel.claims.facts import Fact, Ground
from aether.counsel.claims.wording import is_denied

_SIDE = r"(?:the )?(?P<{}>int4|int8|fp8|bf16|fp16|nvfp4|mxfp4|nf4|tuned|base|old|new)(?:[ -](?:option|model|version|build|variant|weights|files|checkpoint))?\b"
_ORDER = re.compile(
    rf"\b{_SIDE.format('one')} (?:is|are|was|were|runs?|ran|decodes?|serves?|generates?|trains?|needs?|takes?|uses?)\b(?P<how>(?:[^.;,:()]|\.(?=\d)){{0,32}}?)\b"
    rf"(?P<word>faster|slower|quicker|cheaper|smaller|larger|bigger|(?:less|more) memory(?: per \w+| a \w+)?|as (?:fast|slow|quick|cheap|small|large|big)) (?:as|than) {_SIDE.format('other')}",
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
        said = "small" if said.startswith("less") else "large" if said.startswith("more") else said
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
