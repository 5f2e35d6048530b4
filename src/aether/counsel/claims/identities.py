"""Numbers that everybody computes in the same way from what a conversation has on record: steps from tokens and batch, what a fleet costs an hour.

A reply may say them without writing the sum out. Each is of its own words; nothing is concluded from likeness.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from aether.counsel.claims.names import models_in
from aether.counsel.claims.subjects import NAMELESS, of_metric
from aether.counsel.claims.words import content_words
from aether.spec.architecture import Attention

if TYPE_CHECKING:
    from aether.counsel.claims.facts import Fact, Ground

_HOUR, _DAY, _MONTH = 3600.0, 86400.0, 730 * 3600.0


def identities(ground: "Ground") -> tuple["Fact", ...]:
    """The facts that follow; kept until the conversation has more."""
    if ground.implied is None or ground.implied[0] != len(ground.facts):
        ground.implied = (len(ground.facts), tuple(_all(ground)))
    return ground.implied[1]


def fleet_prices(ground: "Ground") -> set[float]:
    """What all devices of the conversation cost an hour, in USD, at the person's price."""
    prices = {f.value for f in ground.facts if f.kind == "person" and f.unit == "USD per hour"}
    return {count * price for count in ground.device_counts if count > 1 for price in prices}


def _all(ground: "Ground") -> Iterator["Fact"]:
    asked = [f for f in ground.facts if f.kind == "person"]
    counts = sorted(c for c in ground.device_counts if c > 1)
    yield from _training(ground, asked)
    yield from _load(ground, asked)
    yield from _pretraining(ground, asked, counts)
    yield from _widths(ground)
    yield from _architecture(ground)


def _fact(value: float, unit: str, words: str, metric: str = "", needed: int = 1) -> "Fact":
    from aether.counsel.claims.facts import Fact

    return Fact(
        value,
        unit,
        content_words(words),
        frozenset(),
        frozenset(),
        needed,
        "record",
        "computed from what is on record",
        of_metric(metric) if metric else NAMELESS,
        seen=False,
    )


def _training(ground: "Ground", asked: list["Fact"]) -> Iterator["Fact"]:
    from aether.counsel.claims.tables import cited

    tokens = {f.value for f in asked if f.unit == "token" and f.value >= 1e6}
    batches = {f.value for f in ground.facts if f.kind == "tool" and f.noun == "sequence" and "batch" in f.words}
    lengths = {
        f.value
        for f in ground.facts
        if f.kind == "tool" and f.unit in ("token", "count") and "sequence" in f.words and f.noun == "token"
    }
    batches |= {f.value for f in asked if f.noun == "sequence"}
    lengths |= {f.value for f in asked if f.unit == "token" and f.value < 1e6}
    for batch in batches:
        for length in lengths:
            if length < 64:
                continue
            yield _fact(batch * length, "token", "step batch update", needed=1)
            yield from (_fact(total / (batch * length), "count", "step update") for total in tokens)
    sizes = {f.value for f in cited() if f.unit == "parameter" and f.names & ground.main}
    yield from (_fact(total / size, "token", "parameter") for total in tokens for size in sizes if size)


def _pretraining(ground: "Ground", asked: list["Fact"], counts: list[int]) -> Iterator["Fact"]:
    """What a training takes by the rate of its devices, and the operations of 6 N D."""
    from aether.counsel.claims.tables import cited

    prices = {f.value for f in asked if f.unit == "USD per hour"}
    tokens = {f.value for f in asked if f.unit == "token" and f.value >= 1e6}
    records = [f for f in ground.facts if f.kind == "record" and not f.end and f.value]
    rates = [f.value for f in records if f.unit == "token/s" and "per_device" in f.source]
    steps = [f.value for f in records if f.unit == "s" and f.group == "step_time"]
    for rate in (each * count for each in rates for count in counts):
        yield _fact(rate, "token/s", "all across together total cluster fleet gpu", "throughput")
        yield from (_fact(rate * step, "token", "step batch global update") for step in steps)
        yield from (_fact(total / (rate * step), "count", "step update") for step in steps for total in tokens)
    for each, total, count in itertools.product(rates, tokens, counts):
        seconds = total / (each * count)
        yield _fact(seconds, "s", "run train training take token day hour time gpu")
        yield _fact(seconds * count, "s", "gpu device card accelerator hour")
        yield from (_fact(seconds * count / _HOUR * price, "USD", "cost total run training") for price in prices)
    times = [f.value for f in records if f.unit == "s" and f.group == "build_time" and not f.ran]
    ran = [f.value for f in records if f.ran and f.unit == "s" and f.group in ("build_time", "wall_clock")]
    read = [f.value for f in records if f.ran and f.unit == "token/s" and "training" in f.words]
    yield from (_fact(rate * seconds, "token", "token training run process") for rate in read for seconds in ran)
    for total, seconds in itertools.product(tokens, times):
        yield _fact(total / seconds, "token/s", "all across together total overall token", "throughput")
    sizes = {f.value for f in cited() if f.unit == "parameter" and f.names & ground.main}
    runs = {(size, total) for size in sizes for total in tokens}
    runs |= {
        (held["size"], held["tokens"]) for f in records if (held := dict(f.conditions)).keys() >= {"size", "tokens"}
    }
    yield from (_fact(6 * float(size) * float(total), "count", "flop compute operation") for size, total in runs)


def _architecture(ground: "Ground") -> Iterator["Fact"]:
    """Bytes of the weights in each width, and of one token's keys and values, of the models that the person named."""
    from aether.knowledge.models_library import published_models

    for model in published_models().values():
        if model.parameters is None or not models_in(model.name) & ground.main:
            continue
        for bits, words in ((32, "fp32"), (16, "bf16 fp16"), (8, "int8 fp8"), (4, "int4 nf4")):
            yield _fact(model.parameters * bits / 8, "byte", f"weight bit {words}")
        attending = [(g.count, g.mixer) for g in model.architecture.groups if isinstance(g.mixer, Attention)]
        cached = sum(2 * layers * mixer.kv_heads * mixer.head_size for layers, mixer in attending)
        yield from (_fact(cached * width, "byte", "kv cache key value") for width in (1.0, 2.0) if cached)


def _widths(ground: "Ground") -> Iterator["Fact"]:
    """How wide the interval of each record is."""
    ends = [f for f in ground.facts if f.kind == "record" and f.end]
    for low, high in itertools.pairwise(ends):
        if low.source == high.source and low.group == high.group:
            yield replace(low, value=high.value - low.value, words=content_words("width wide spread"), end=False)


def _load(ground: "Ground", asked: list["Fact"]) -> Iterator["Fact"]:
    rates = {f.value for f in asked if f.unit == "request/s"}
    lengths = {
        f.value
        for f in asked
        if f.value < 1e6 and (f.unit == "token" or (f.unit == "count" and f.noun in ("in", "out", "prompt", "output")))
    }
    answered = {f.value for f in asked if f.noun in ("out", "output", "answer") and f.value < 1e6}
    prices = {
        f.value: f.subject
        for f in ground.facts
        if f.kind == "record" and not f.end and f.group.startswith("cost_per_million")
    }
    for price, rate, length in itertools.product(prices, rates, answered):
        hour = price * rate * length * _HOUR / 1e6
        for hours, words in ((1, "hour"), (24, "day"), (24 * 30, "month 30"), (730, "month 730")):
            yield replace(_fact(hours * hour, "USD", words, "cost"), subject=prices[price])
    yield from (
        _fact(a + b, "token", "conversation request sequence context") for a, b in itertools.combinations(lengths, 2)
    )
    for rate in rates:
        for length in lengths:
            yield _fact(rate * length, "token/s", "output prompt input generate second token throughput")
            yield _fact(rate * length * _HOUR, "token", "hour")
            yield _fact(rate * length * _DAY, "token", "day")
