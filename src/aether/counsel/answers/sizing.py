"""Which hardware, how much of it, and how much load it takes: found, where that is what a request asks for.

Serving: the search may use as many devices as a bound of arithmetic says are certainly enough, and what it decides is the cheapest that holds the load.
Training: the fewest devices of each kind that keep the deadline, of the counts that are rented. Where no device was named, some that are often
rented are weighed, all with a known price: without one nothing is the cheapest.
"""

import math

from aether.knowledge import library
from aether.knowledge.library import Device
from aether.models.accounting import flops_per_token, parameters
from aether.planning.search.decide import Found, search
from aether.planning.search.extents import fewest, most_load
from aether.planning.search.problem import Problem, architecture_of, problem_of
from aether.spec.architecture import Architecture
from aether.spec.brief import Brief, Hardware

_ENOUGH = 16.0
"""Devices that may be used, over those that would do at the peak of their arithmetic (chosen: what is decided on reaches a sixteenth of it and more)."""
_LEAST, _MOST = 8, 1024
"""Devices of one kind that a search may use (chosen)."""
SERVERS = ("L4", "L40S", "RTX-4090", "A100-SXM-80GB", "H100-SXM-80GB", "H200-SXM-141GB", "B200")
"""Devices that are weighed for serving where none was named (chosen: often rented, small ones too, with a known price)."""
TRAINERS = ("H100-SXM-80GB", "H200-SXM-141GB", "B200")
"""Devices that a training is sized on where none was named (chosen: rented by the node, with a known price)."""


def sized(brief: Brief) -> tuple[Brief, tuple[str, ...]]:
    """The brief with hardware to search, and the settings that say so; as it is where hardware is counted. Raises InputError."""
    model, hardware = brief.model, brief.hardware
    assert model is not None and model.name is not None
    named = () if hardware is None or hardware.name == "this-machine" else hardware.names
    if hardware is not None and named and all(map(hardware.is_counted, named)):
        return brief, ()
    _, architecture = architecture_of(model.name)
    base = hardware or Hardware()
    if model.task == "serve":
        names = named or SERVERS
        count = max(_enough(architecture, brief, library.device(name)) for name in names)
        chosen = base.model_copy(update={"name": names[0], "others": names[1:], "count": count, "counts": {}})
        settings = (*_naming(names if not named else ()), f"hardware.count={count}")
        return brief.model_copy(update={"hardware": chosen}), settings
    found = {name: count for name in named or TRAINERS if (count := fewest(_only(brief, name))) is not None}
    names = tuple(found) or named or TRAINERS
    counts = found or {names[0]: _LEAST}
    chosen = base.model_copy(update={"name": names[0], "others": names[1:], "counts": counts})
    settings = tuple(f"hardware.counts.{name}={count}" for name, count in counts.items())
    return brief.model_copy(update={"hardware": chosen}), (*_naming(names if not named else ()), *settings)


def loaded(brief: Brief) -> tuple[Brief, tuple[str, ...]]:
    """The brief at the most load that its devices take, and the setting that says so; as it is where a load was given. Raises InputError."""
    model, hardware = brief.model, brief.hardware
    assert model is not None and model.name is not None and hardware is not None
    if "requests_per_s" in brief.load.model_fields_set:
        return brief, ()
    _, architecture = architecture_of(model.name)
    of_one = brief.load.model_copy(update={"requests_per_s": 1.0})
    needed_at_peak = _at_peak(architecture, brief.model_copy(update={"load": of_one}), library.device(hardware.name))
    beyond = hardware.count_of(hardware.name) / needed_at_peak
    rate = most_load(brief, beyond) or beyond
    load = brief.load.model_copy(update={"requests_per_s": rate})
    return brief.model_copy(update={"load": load}), (f"load.requests_per_s={rate:g}",)


def with_count(brief: Brief, count: int) -> Brief:
    """So many of the brief's one kind of device."""
    assert brief.hardware is not None
    return brief.model_copy(update={"hardware": brief.hardware.model_copy(update={"count": count, "counts": {}})})


def needed(brief: Brief) -> tuple[Problem, Found]:
    """The brief's one kind of device, as many as serve its load at the least cost, and what was found; where none do, as many as a search may
    use. Raises InputError."""
    assert brief.model is not None and brief.model.name is not None and brief.hardware is not None
    _, architecture = architecture_of(brief.model.name)
    problem = problem_of(with_count(brief, _enough(architecture, brief, library.device(brief.hardware.name))))
    found = search(problem, wanted="decision")
    if not found.feasible or found.shortfalls:
        return problem, found
    return problem_of(with_count(brief, found.options[0].devices)), found


def _only(brief: Brief, name: str) -> Brief:
    base = brief.hardware or Hardware()
    return brief.model_copy(update={"hardware": base.model_copy(update={"name": name, "others": ()})})


def _naming(names: tuple[str, ...]) -> tuple[str, ...]:
    return (f"hardware.name={', '.join(names)}",) if names else ()


def _at_peak(architecture: Architecture, brief: Brief, device: Device) -> float:
    """Devices that the arithmetic of the load would keep busy at their peak."""
    tokens = brief.load.requests_per_s * (brief.load.prompt_tokens + brief.load.output_tokens)
    flops = flops_per_token(architecture, brief.load.prompt_tokens).total
    return tokens * flops / max(device.flops_per_s.values())


def _enough(architecture: Architecture, brief: Brief, device: Device) -> int:
    """A power of two of devices that is certainly enough for the weights and for the arithmetic of the load."""
    memory = 2.0 * parameters(architecture).total / device.memory_bytes
    wanted = max(_ENOUGH * _at_peak(architecture, brief, device), 2.0 * memory, float(_LEAST))
    if wanted > _MOST:
        return _MOST
    return 1 << math.ceil(math.log2(wanted))
