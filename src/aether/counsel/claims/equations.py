"""Sums that a text writes out: "16 x 27.0 h = 432", "77 % (690.4 / 900)", "exp(2.871) = 17.7". Parsed and computed; what their parts are is judged elsewhere.

Both as the digits stand and in canonical units, so that "61 ms + 119 x 9.2 ms = 1.16 s" holds too. One bracket deep, no variables.
"""

import ast
import itertools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+|\s?[x×*]\s?10\^\d+)?"
_NUMBER = rf"\$?{_DIGITS}\s?(?:(?:k|K|M|B|T|bn)(?![A-Za-z/])|thousand|million|billion|trillion|%)?"
_INNER_SIGN = r"[x×*·/÷+−-]"
_BRACKET = rf"\(\s*{_NUMBER}(?:[^()\d]{{0,20}}{_INNER_SIGN}\s*{_NUMBER}){{1,3}}[^()\d]{{0,20}}\)"
_POWER = rf"(?<![\w.,]){_DIGITS}\^\d+(?:\.\d+)?"
_TERM = rf"(?:{_BRACKET}|exp\(\s*{_NUMBER}\s*\)|{_POWER}|(?<![\w.,]){_NUMBER})"
_OPERATOR = r"(?:[x×*·/÷+−-]|\b(?:times|multiplied by|by|divided by|plus|and|minus)\b)"
_GAP = r"[^\d=≈;|()]{0,28}?"
_CHAIN = rf"{_TERM}(?:{_GAP}{_OPERATOR}\s*{_TERM})+"
_IS = r"(?:=|≈|\b(?:equals|is|are|makes?|gives?|comes? to|adds? up to|sums? to|totals?|works? out (?:at|to|as)|leaves?|needs?)\b)"
_SO = r"\s*(?:about|roughly|approximately|around|some|nearly|almost|~|≈)?\s*"
_EQUATION = re.compile(rf"(?P<left>{_CHAIN})[^=≈\d;|]{{0,32}}?(?P<is>{_IS}){_SO}(?P<right>{_NUMBER})", re.IGNORECASE)
_ALONE = re.compile(
    rf"(?P<left>exp\(\s*{_NUMBER}\s*\))[^=≈\d;|]{{0,16}}?(?P<is>{_IS}){_SO}(?P<right>{_NUMBER})", re.IGNORECASE
)
_EXPLAINED = re.compile(
    rf"(?<![\w.,])(?P<right>{_NUMBER})[^\d().;]{{0,48}}(?<![×*/÷+−-])(?<![×*/÷+−x-] )\((?:[^()\d]{{0,24}})?(?P<left>{_CHAIN}|exp\(\s*{_NUMBER}\s*\))[^()=≈]{{0,24}}\)",
    re.IGNORECASE,
)
""" "24 are in flight (4 x 5.9)"."""
_LOOSE = re.compile(r"\b(?:about|around|roughly|some|approximately|nearly|almost)\s*$|[~≈]\s*$", re.IGNORECASE)
_ABOUT = 0.02
_SIDES = re.compile(r"(?<=\^)\d+(?:\.\d+)?|[^^]+(?=\^)")
_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "t": 1e12, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "%": 0.01}  # fmt: skip
_SIGNS = {"x": "*", "×": "*", "*": "*", "·": "*", "times": "*", "multiplied by": "*", "by": "*", "/": "/", "÷": "/", "divided by": "/", "+": "+", "plus": "+", "and": "+", "-": "-", "−": "-", "minus": "-"}  # fmt: skip
_STEPS: dict[str, Callable[[float, float], float]] = {
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
}


@dataclass(frozen=True)
class Part:
    """A number of a sum: where it stands, and its value as its digits and letters say."""

    start: int
    value: float
    step: float
    exponent: bool = False
    inner: tuple["Part", ...] = ()
    """Of a sum in brackets: what it adds."""


@dataclass(frozen=True)
class Equation:
    """A sum with its result, both as written."""

    parts: tuple[Part, ...]
    signs: tuple[str, ...]
    result: Part
    start: int
    end: int
    about: bool

    def holds(self, canonical: Callable[[Part], float]) -> bool:
        """Whether the sum is right, as written or with every number in its canonical unit."""
        for value_of in (lambda part: part.value, canonical):
            found = _evaluated([self._of(part, value_of) for part in self.parts], self.signs)
            wanted = value_of(self.result)
            scale = wanted / self.result.value if self.result.value else 1.0
            if self._fits(found, wanted, abs(0.5 * self.result.step * scale)):
                return True
        return False

    def _fits(self, found: float, wanted: float, slack: float) -> bool:
        slack = max(slack, _ABOUT * abs(wanted) if self.about else 0.0) * (1 + 1e-6) + 1e-12 * abs(wanted)
        factors = (
            (1.0, 100.0, 0.01, 1e3, 1e-3, 1e6, 1e-6, 1e9, 1e-9) if self.result.step < 0.03 * abs(wanted) else (1.0,)
        )
        return any(abs(found * factor - wanted) <= slack for factor in factors)

    @staticmethod
    def _of(part: Part, value_of: Callable[[Part], float]) -> float:
        return math.exp(min(700.0, value_of(part))) if part.exponent else value_of(part)


def equations(text: str) -> Iterator[Equation]:
    """Every sum of a text, in order, right or wrong. "A and b is c" is none: "and" adds only before a sign or a verb of adding."""
    for pattern in (_EQUATION, _ALONE, _EXPLAINED):
        at = 0
        while (match := pattern.search(text, at)) is not None:
            found = _read(text, match)
            at = match.end() if found is not None else match.start() + 1
            if found is not None:
                yield found
                yield from _tails(text, found)


_FORMULA = re.compile(
    rf"(?<![\w.,)^])(?P<left>\((?:[\d.\s()^x×*·/÷+−-]|,(?=\d{{3}}))*[)\d])\s*(?P<is>[=≈]){_SO}(?P<right>{_NUMBER})"
)
_AS_CODE = str.maketrans({"×": "*", "x": "*", "·": "*", "÷": "/", "−": "-", ",": None})


def formulas(text: str) -> Iterator[Equation]:
    """Sums of bare numbers with powers and brackets in brackets: "(1 - 0.8^5) / (1 - 0.8) = 3.36". Only their results are judged by them."""
    for match in _FORMULA.finditer(text):
        try:
            value = _of_tree(ast.parse(match["left"].translate(_AS_CODE).replace("^", "**"), mode="eval").body)
        except (SyntaxError, ArithmeticError, ValueError, RecursionError):
            continue
        shown = re.match(_NUMBER, match["right"], re.IGNORECASE)
        if "^" in match["left"] and shown is not None:
            result = _part(shown, match.start("right"))
            yield Equation(
                (Part(match.start(), value, 0.0),), (), result, match.start(), match.end(), match["is"] == "≈"
            )


def _of_tree(node: ast.expr) -> float:
    """The value of an expression of numbers."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_of_tree(node.operand)
    steps = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
    if isinstance(node, ast.BinOp) and type(node.op) in steps:
        return _STEPS[steps[type(node.op)]](_of_tree(node.left), _of_tree(node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return float(math.pow(_of_tree(node.left), _of_tree(node.right)))
    raise ValueError(ast.dump(node))


def _tails(text: str, whole: Equation) -> Iterator[Equation]:
    """What is left of a sum from each "and" or comma on: "160 GB each, and 2 x 53 = 106"."""
    for place in range(1, len(whole.parts) - 1):
        between = text[whole.parts[place - 1].start : whole.parts[place].start]
        if re.search(r"\band\b|[,:]\s", between):
            yield replace(whole, parts=whole.parts[place:], signs=whole.signs[place:], start=whole.parts[place].start)


def _read(text: str, match: re.Match[str]) -> Equation | None:
    left, start = match["left"], match.start("left")
    terms = list(re.finditer(_TERM, left, re.IGNORECASE))
    between = [left[a.end() : b.start()] for a, b in itertools.pairwise(terms)]
    signs = [_sign(words) for words in between]
    verb = match.groupdict().get("is", "=").lower()
    if not all(signs) or ("and" in left.lower().split() and verb in ("is", "are")):
        return None
    parts = tuple(_part(term, start) for term in terms)
    right = re.match(_NUMBER, match["right"], re.IGNORECASE)
    assert right is not None
    result = _part(right, match.start("right"))
    loose = verb == "≈" or _LOOSE.search(text, 0, match.start("right")) is not None
    return Equation(parts, tuple(map(str, signs)), result, match.start(), match.end(), loose)


def _sign(words: str) -> str | None:
    found = re.findall(_OPERATOR, words, re.IGNORECASE)
    return _SIGNS[found[-1].lower()] if found else None


def _part(match: re.Match[str], offset: int) -> Part:
    if match[0].startswith("("):
        return _bracket(match, offset)
    if re.fullmatch(_POWER, match[0]) and not match[0].startswith("10^"):
        base, power = (_part(one, offset + match.start()) for one in _SIDES.finditer(match[0]))
        return Part(base.start, base.value**power.value, 0.0, inner=(base, power))
    shown = re.search(rf"({_DIGITS})\s?([A-Za-z]+|%)?", match[0])
    assert shown is not None
    power = re.search(r"[x×*]\s?10\^(\d+)", shown[1])
    digits = re.sub(r"\s?[x×*]\s?10\^\d+|,", "", shown[1])
    scale = _SCALES.get((shown[2] or "").lower(), 1.0) * (10.0 ** int(power[1]) if power else 1.0)
    value = float(digits) * scale
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    zeros = 0 if decimals else max(0, len(mantissa) - max(3, len(mantissa.rstrip("0"))))
    step = 10.0 ** (zeros - decimals) * 10.0 ** int(exponent or 0) * scale
    return Part(offset + match.start() + shown.start(1), value, step, match[0].lower().startswith("exp"))


def _bracket(match: re.Match[str], offset: int) -> Part:
    numbers = list(re.finditer(_NUMBER, match[0], re.IGNORECASE))
    inner = tuple(_part(one, offset + match.start()) for one in numbers)
    signs = tuple(
        _SIGNS[re.findall(_INNER_SIGN, match[0][a.end() : b.start()])[-1]] for a, b in itertools.pairwise(numbers)
    )
    return Part(inner[0].start, _evaluated([one.value for one in inner], signs), 0.0, inner=inner)


def _evaluated(values: list[float], signs: tuple[str, ...]) -> float:
    """Products and quotients first, from left to right."""
    rest, open_signs = [values[0]], []
    for sign, value in zip(signs, values[1:], strict=True):
        if sign in "*/":
            rest[-1] = _STEPS[sign](rest[-1], value)
        else:
            rest.append(value)
            open_signs.append(sign)
    total = rest[0]
    for sign, value in zip(open_signs, rest[1:], strict=True):
        total = _STEPS[sign](total, value)
    return total
