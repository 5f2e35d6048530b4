"""What if: a brief for serving by a handful of knobs, its verdict, what binds, and the options that no other beats.

The search is `planning.search`; answers are kept by their knobs, since a person moves back and forth. Draws nothing.
"""

import functools

from pydantic import Field

from aether.counsel.fleet import decide
from aether.knowledge.library import devices
from aether.knowledge.models_library import spelled
from aether.policy.brief_file import to_brief
from aether.report.fleet import said
from aether.spec.base import Noun
from aether.spec.errors import AetherError, Infeasible
from aether.spec.fleet import Standing

KEPT = 256
"""Answers that are kept (chosen)."""


class Knobs(Noun):
    """What can be moved. A bound of 0 is none."""

    model: str = "llama-3.1-70b"
    device: str = "H100-SXM-80GB"
    devices: int = Field(default=8, ge=1, le=1024)
    requests_per_s: float = Field(default=4.0, gt=0, le=10_000)
    prompt_tokens: int = Field(default=2000, ge=1, le=200_000)
    output_tokens: int = Field(default=300, ge=1, le=32_000)
    ttft_p99_ms: float = Field(default=500.0, ge=0, le=600_000)
    itl_p99_ms: float = Field(default=0.0, ge=0, le=60_000)
    cost_usd: float = Field(default=0.0, ge=0, le=10_000)
    """Per million output tokens."""
    formats: str = ""
    """Number formats that may be used, by commas; empty: all."""


class Point(Noun):
    """An option in the plot and in the table."""

    name: str
    standing: Standing
    complexity: str
    quality: str
    ttft: str
    itl: str
    memory: str
    cost: str
    x: float | None
    """Cost per million output tokens, USD."""
    y: float | None
    """Time to first token at p99, seconds."""


class Way(Noun):
    """A brief nearby that can be met, as knobs."""

    axis: str
    change: str
    knobs: Knobs


class WhatIf(Noun):
    """The answer to one setting of the knobs."""

    knobs: Knobs
    verdict: str
    """feasible, at_risk, impossible, out_of_reach, or bad_input."""
    headline: str
    lines: tuple[str, ...] = ()
    """The binding constraint with its arithmetic, or what would change the decision."""
    points: tuple[Point, ...] = ()
    ways: tuple[Way, ...] = ()


def choices() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(models, devices) that can be chosen."""
    return tuple(spelled()), tuple(name for name in devices() if not name.startswith(("EPYC", "Xeon")))


def explore(knobs: Knobs) -> WhatIf:
    """The verdict for these knobs. Never raises what a person could mend: that is an answer too."""
    return _explored(knobs.model_dump_json())


@functools.lru_cache(maxsize=KEPT)
def _explored(text: str) -> WhatIf:
    knobs = Knobs.model_validate_json(text)
    targets = [f"ttft_p99 <= {knobs.ttft_p99_ms} ms"] if knobs.ttft_p99_ms else []
    targets += [f"itl_p99 <= {knobs.itl_p99_ms} ms"] if knobs.itl_p99_ms else []
    targets += [f"cost_per_million_tokens <= {knobs.cost_usd} USD"] if knobs.cost_usd else []
    raw = {
        "model": {"name": knobs.model, "task": "serve", **({"formats": knobs.formats} if knobs.formats else {})},
        "hardware": {"name": knobs.device, "count": knobs.devices},
        "load": {
            "requests_per_s": knobs.requests_per_s,
            "prompt_tokens": knobs.prompt_tokens,
            "output_tokens": knobs.output_tokens,
        },
        "targets": targets,
    }
    try:
        _, plan = decide(to_brief(raw, "the knobs"))
    except Infeasible as error:
        return _infeasible(knobs, error)
    except AetherError as error:
        return WhatIf(knobs=knobs, verdict="bad_input", headline=str(error))
    points = tuple(_point(option) for option in plan.options)
    met = plan.decision.standing == "met"
    return WhatIf(
        knobs=knobs,
        verdict="feasible" if met else "at_risk",
        headline=f"{'Feasible' if met else 'At risk'}: {plan.decided}",
        lines=(plan.because, *plan.would_change[:3]),
        points=points,
    )


def _point(option) -> Point:
    def text(metric: str) -> str:
        return said(option.estimate(metric))

    def value(metric: str) -> float | None:
        found = option.estimate(metric)
        return found.value if found else None

    return Point(
        name=option.name, standing=option.standing, complexity=option.complexity, quality=text("quality_loss"), ttft=text("ttft_p99"),
        itl=text("itl_p99"), memory=text("device_memory"), cost=text("cost_per_million_tokens"), x=value("cost_per_million_tokens"),
        y=value("ttft_p99"),
    )  # fmt: skip


def _infeasible(knobs: Knobs, error: Infeasible) -> WhatIf:
    lacks = error.details.get("shortfalls", [])
    first, *lines = str(error).split("\n")
    hard = any(lack["verdict"] == "impossible" for lack in lacks)
    ways = tuple(w for near in error.details.get("nearest", []) if (w := _way(knobs, near)) is not None)
    kept = tuple(line.strip() for line in lines if not line.strip().startswith("Feasible instead"))
    return WhatIf(
        knobs=knobs,
        verdict="impossible" if hard else "out_of_reach",
        headline="Physically impossible" if hard else "Not reachable at 90 %",
        lines=kept or (first,),
        ways=ways,
    )


_FIELDS = {
    "hardware.count": "devices", "hardware.name": "device", "model.name": "model", "load.requests_per_s": "requests_per_s",
    "load.prompt_tokens": "prompt_tokens", "load.output_tokens": "output_tokens", "model.formats": "formats",
}  # fmt: skip
_TARGETS = {
    "ttft_p99": ("ttft_p99_ms", 1e3),
    "itl_p99": ("itl_p99_ms", 1e3),
    "cost_per_million_tokens": ("cost_usd", 1.0),
}


def _way(knobs: Knobs, near: dict) -> Way | None:
    """A nearby brief as knobs; None where it changes what is no knob."""
    changes: dict[str, object] = {}
    for setting in near["settings"]:
        field, _, value = setting.partition("=")
        if field in _FIELDS:
            changes[_FIELDS[field]] = value.strip("\"'[]")
            continue
        wanted = to_brief({"targets": [setting.removeprefix("targets=")]}, "a nearby brief").targets
        for target in wanted:
            if target.metric not in _TARGETS:
                return None
            name, factor = _TARGETS[target.metric]
            changes[name] = float(f"{target.value * factor:.6g}")
    return Way(axis=near["axis"], change=near["change"], knobs=Knobs.model_validate({**knobs.model_dump(), **changes}))
