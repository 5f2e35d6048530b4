"""Many in each of many: "30 cameras in each of 40 shops", "80 shops with 3 kiosks each", "12 lines per site at 6 sites" are so many in all."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.quantities import Quantity
from aether.counsel.reading.text import Span, Text

WHO = (
    r"(?:users?|agents?|employees?|people|persons?|staff|customers?|clients?|developers?|devs?|engineers?|students?|teachers?|nurses?|doctors?|lawyers?|analysts?|workers?|colleagues?|"
    r"seats?|members?|subscribers?|players?|sellers?|writers?|editors?|reps?|advisors?|bots?|sensors?|tenants?|teams?|sessions?|streams?|sites?|shops?|stores?|cameras?|callers?|operators?|"
    r"kiosks?|terminals?|tills?|registers?|screens?|displays?|tablets?|robots?|scanners?|drones?|cars|vehicles?|microphones?|mics|phones?|handsets?|headsets?|workstations?|desks?|lines?|meters?|cashiers?|drivers?|pupils?|patients?|clerks?|guests?)"
)
"""Who or what asks."""
_PLACE = (
    r"(?:shops?|stores?|sites?|branch(?:es)?|offices?|locations?|rooms?|floors?|schools?|class(?:es|rooms?)?|teams?|departments?|hospitals?|wards?|clinics?|plants?|factor(?:y|ies)|lines?|trucks?|buses|bus|stations?|"
    r"restaurants?|hotels?|warehouses?|farms?|buildings?|regions?|countr(?:y|ies)|cit(?:y|ies)|markets?|depots?|halls?|centers?|centres?|customers?|tenants?|companies|company|firms?|labs?)"
)
"""Where they are."""
_ALL = r"(?:our|the|my|these|those|about|around|roughly|some|all)?\s*"
_KIND = r"(?:[a-z][a-z-]*\s+){0,2}?"
_IN_EACH = Lazy(
    rf"\s*{_KIND}{WHO}\s*,?\s*(?:(?:in|at|on|for|from|by)\s+)?(?:each|every|all)\s+(?:one\s+)?(?:of\s+)?{_ALL}"
    rf"|\s*{_KIND}{WHO}\s*(?:/|per|an?|in (?:each|every)|at (?:each|every)|for (?:each|every))\s*{_KIND}{_PLACE}\s*[,;(x*]?\s*(?:and|at|in|for|with|across|over|times|we have|there are)?\s*{_ALL}"
)
"""From the number of those in one place to the number of places."""
_PLACES = Lazy(rf"\s*{_KIND}{_PLACE}\b\)?")
_EACH_WITH = Lazy(
    rf"\s*{_KIND}{_PLACE}\s*,?\s*(?:each\s+|every one\s+)?(?:with|having|has|have|of|,|x|\*|times|containing|holding|running)?\s*{_ALL}"
)
"""From the number of places to the number of those in one of them."""
_ASKERS = Lazy(rf"\s*{_KIND}{WHO}\b(?P<each>\s*(?:each|apiece|(?:per|a|in each|at each|in every)\s*{_PLACE})\b)?")
PRODUCT = "product"
"""The note of an amount that is a product of two."""
_EACH = Lazy(r"\b(?:each|every one|x|\*|times)\b|[x*]\s*$")


def products(text: Text, found: list[Quantity]) -> list[Quantity]:
    """The amounts, with two that multiply as one that spans both."""
    made = list(_products(text, found))
    return [*made, *(one for one in found if not any(one.span.overlaps(other.span) for other in made))]


def _products(text: Text, found: list[Quantity]) -> Iterator[Quantity]:
    counted = [one for one in found if one.dimension in ("none", "users") and one.high >= 1]
    for first, second in pairwise(counted):
        start, end = _noun_start(text, first), _noun_start(text, second)
        after = _PLACES.match(text.plain, end)
        if after and _IN_EACH.fullmatch(text.plain, start, second.span.start):
            yield _product(first, second, after.end())
            continue
        between = _EACH_WITH.fullmatch(text.plain, start, second.span.start)
        asking = _ASKERS.match(text.plain, end)
        if between and asking and (asking["each"] or _EACH.search(between[0])):
            yield _product(first, second, asking.end())


def _noun_start(text: Text, one: Quantity) -> int:
    """Where the words for what is counted begin: a quantity of users holds them itself."""
    number = re.match(r"[\d.,]+k?|[a-z-]+", text.plain[one.span.start : one.span.end])
    return one.span.start + number.end() if one.dimension == "users" and number else one.span.end


def _product(first: Quantity, second: Quantity, end: int) -> Quantity:
    span = Span(first.span.start, max(end, second.span.end))
    return replace(
        first, low=first.low * second.low, high=first.high * second.high, dimension="users", span=span, note=PRODUCT
    )
