"""What `knowledge` lets a reply state: every number of its tables with what it is of, every source, every release that was looked up."""

import functools
import re
from collections.abc import Iterator

from aether.counsel.claims.conditions import conditions_in, of_unit
from aether.counsel.claims.facts import Fact
from aether.counsel.claims.names import benchmarks_in, models_in
from aether.counsel.claims.normal import plain
from aether.counsel.claims.rows import AGAIN
from aether.counsel.claims.words import content_words
from aether.knowledge.library import compressed, constants, devices, laws, mixture_laws, power_laws, prices
from aether.knowledge.models_library import published_models
from aether.knowledge.topics import heads, topic

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])\b")
"""How many parameters a model's name says that it has."""


@functools.cache
def cited() -> tuple[Fact, ...]:
    """Every number of the tables of `knowledge` that a reply may state, with what it is of."""
    return (*_models(), *_devices(), *_rows(), *_topics())


def _fact(value: float | None, unit: str, words: str, name: str, source: str, needed: int = 1) -> Iterator[Fact]:
    if value:
        benches = benchmarks_in(f"{words} {name}")
        yield Fact(float(value), unit, content_words(words), models_in(name), benches, needed, "cited", source)


def _models() -> Iterator[Fact]:
    for model in published_models().values():
        arch, name, source = model.architecture, model.name, model.source
        yield from _fact(model.parameters, "parameter", "parameters params weights size model", name, source)
        if own := _SIZE.search(name):
            said = float(own[1]) * {"b": 1e9, "m": 1e6}[own[2]]
            yield from _fact(said, "parameter", "parameters params weights size model", name, source)
        yield from _fact(arch.layers, "count", "layers", name, source)
        yield from _fact(arch.hidden_size, "count", "hidden size width dimension", name, source)
        yield from _fact(arch.vocab_size, "token", "vocabulary vocab", name, source)
        yield from _fact(arch.context_tokens, "token", "context window length positions", name, source)
        for group in arch.groups:
            yield from _fact(getattr(group.mixer, "heads", None), "count", "heads query attention", name, source)
            yield from _fact(
                getattr(group.mixer, "kv_heads", None), "count", "kv key value groups heads", name, source, 2
            )
            yield from _fact(
                getattr(group.mixer, "head_size", None), "count", "head size dimension dim", name, source, 2
            )
            yield from _fact(getattr(group.mlp, "count", None), "count", "experts", name, source)
            yield from _fact(getattr(group.mlp, "active", None), "count", "active experts", name, source)
            yield from _fact(
                getattr(group.mlp, "size", None), "count", "feed forward intermediate inner size", name, source
            )


def _devices() -> Iterator[Fact]:
    for known in devices().values():
        name, source = known.name, known.source
        yield from _fact(known.memory_bytes, "byte", "memory hbm vram", name, source)
        if own := re.search(r"-(\d+)GB$", name):
            yield from _fact(float(own[1]) * 1e9, "byte", "memory hbm vram device gb all", name, source)
        as_sold = round(known.memory_bytes / 2**30) * 1e9  # 24 GiB are sold as 24 GB
        yield from _fact(as_sold, "byte", "memory hbm vram device gb all has", name, source)
        yield from _fact(known.memory_bandwidth_bytes_per_s, "byte/s", "bandwidth memory", name, source)
        for form, peak in known.flops_per_s.items():
            yield from _fact(peak, "FLOP/s", f"peak dense tensor flops {form}", name, source)
    for price in prices().values():
        yield from _fact(price.usd_per_hour, "USD", "price cost hour rent list", price.name, price.source)


def _rows() -> Iterator[Fact]:
    tables = (laws(), mixture_laws(), power_laws(), constants())
    for row in (*(row for table in tables for row in table.values()), *compressed()):
        for key, value in row.model_dump().items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                words = content_words(f"{key} {row.name}") - {"value"}
                benches = benchmarks_in(f"{key} {row.name}")
                yield Fact(float(value), "count", words, models_in(str(row.name)), benches, 1, "cited", row.source)


def _topics() -> Iterator[Fact]:
    for name in heads():
        about = topic(name)
        called = content_words(plain(" ".join((name.replace("-", " "), about.title, *about.aliases))))
        of = called - _COMPARING - _COMMON
        first = ""
        for number in about.number:
            claim = plain(number.claim)
            if AGAIN.match(claim):
                claim = f"{claim} {first}"
            else:
                first = claim
            words = content_words(f"{claim} {number.key} {about.title}") - _COMPARING
            names, benches = models_in(claim), benchmarks_in(claim)
            held = conditions_in(f"{plain(number.claim)}; {number.where}") | of_unit(number.unit)
            yield Fact(
                number.value,
                number.unit,
                words | of,
                names,
                benches,
                2,
                "cited",
                number.source,
                one_of=of,
                conditions=held,
            )


_COMPARING = content_words(
    "less more most least fewer better worse lower higher below above under over than without typically usually often "
    "about almost only best worst use used using need needs"
)
"""Words of any comparison: two sentences that share them need not be about the same."""
_COMMON = content_words(
    "token model llm training data dataset loss quality accuracy error value size time memory cost batch long few level"
)
"""Words in the names of topics that every topic speaks of: alone they do not name one."""


@functools.cache
def known_sources() -> tuple[str, ...]:
    """Every source that `knowledge` cites, title and address. A source from memory is none that was read."""
    found: list[str] = []
    for row in (
        *published_models().values(),
        *devices().values(),
        *prices().values(),
        *laws().values(),
        *mixture_laws().values(),
        *power_laws().values(),
        *constants().values(),
        *compressed(),
    ):
        found.append(row.source)
    for name in heads():
        found += [f"{s.title} {s.address} {s.as_of.year}" for s in topic(name).source if s.kind == "cited"]
    return tuple(dict.fromkeys(found))


@functools.cache
def known_versions() -> frozenset[str]:
    """Releases of implementations that were looked up."""
    return frozenset(one.version for name in heads() for one in topic(name).implementation)
