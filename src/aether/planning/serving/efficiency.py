"""How near to the data sheet each kind of operator comes, by generation of device: the fitted coefficients, read from a file.

`knowledge/serving_efficiency.toml` holds them with the command that fits them. Each operator's time is
launch + (compute^p + memory^p)^(1/p): a smooth roofline (Williams, Waterman and Patterson 2009) whose compute term pays for
tiles that are not full. A device of a generation without a fit takes the coefficients of the nearest one that has it.
"""

import functools
from typing import Literal

from pydantic import Field

from aether.knowledge.library import Device
from aether.knowledge.tables import table
from aether.spec.base import Noun
from aether.spec.evidence import Kind

GENERATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("blackwell_workstation", ("RTX-PRO-6000", "RTX PRO 6000", "RTX-50", "RTX 50")),
    ("blackwell", ("B200", "B300", "GB200", "GB300", "B100")),
    ("hopper", ("H100", "H200", "H800", "H20", "GH200")),
    ("ada", ("L40", "L4", "L20", "RTX-4", "RTX 4", "RTX-6000-ADA")),
    ("ampere", ("A100", "A800", "A30", "A40", "A10", "RTX-3", "RTX 3", "RTX-A")),
)
"""Generation by the beginning of the device's name; anything else is `unmeasured`."""
UNMEASURED = "unmeasured"
"""Devices that no operator table covers: AMD's, Google's, Intel's, older and newer ones of NVIDIA. They take the shares of the
data sheet that the oldest fitted generation reaches (assumed: their software has had the least tuning), with a wider interval."""


ENOUGH_ROWS = 10
"""Rows from which a combination counts as measured (a choice)."""


class Roofline(Noun):
    """Coefficients of one kind of operator on one generation in one format."""

    operator: str
    generation: str
    format: str
    compute: float = Field(gt=0)
    """Share of the data sheet's rate that large shapes reach."""
    memory: float = Field(gt=0)
    """Share of the memory bandwidth that large reads reach; above 1 where the tables were measured with warm caches."""
    rows: float = Field(default=0.0, ge=0)
    """Rows (tokens, or positions of attention) that a tile wastes: m counts as m + rows."""
    columns: float = Field(default=0.0, ge=0)
    """Outputs that a tile wastes."""
    order: float = Field(default=1.5, gt=0)
    """p: 1 adds compute and memory, large p takes the greater."""
    launch_s: float = Field(default=3e-6, ge=0)


class Reduction(Noun):
    """All-reduce inside a node: a smooth maximum of its latency and of moving 2 (ranks - 1) / ranks of the message."""

    generation: str
    latency_s: float = Field(ge=0)
    latency_rank_s: float = Field(ge=0)
    """For each rank beyond the first."""
    share: float = Field(gt=0)
    """Share of the link's data sheet."""
    order: float = Field(default=1.0, gt=0)


class EngineCost(Noun):
    """How an engine's whole steps differ from the operators' tables, fitted to served rows; `all` is for any other engine."""

    engine: str
    matrix_scale: float = Field(default=1.0, gt=0)
    expert_scale: float = Field(default=1.0, gt=0)
    attention_scale: float = Field(default=1.0, gt=0)
    """Prompt attention."""
    cache_scale: float = Field(default=1.0, gt=0)
    communication_scale: float = Field(default=1.0, gt=0)
    launch_scale: float = Field(default=1.0, ge=0)
    """Of the operators' fixed times: below 1 where graphs hide them."""
    hidden_copies: float = Field(default=8.0, ge=0)
    """Times that each layer reads or writes the hidden vector of a token beside its matrix products."""
    step_s: float = Field(ge=0)
    """Scheduling, sampling, handing over: once for each step."""
    sequence_s: float = Field(ge=0)
    """For each sequence in the step."""
    layer_s: float = Field(ge=0)
    """Small kernels (norms, rotary embedding, quantisation) for each layer."""
    eager_layer_s: float = Field(ge=0)
    """Added for each layer when kernels are launched from Python."""
    waiting_scale: float = Field(default=1.0, gt=0)
    """Of the simulated time to first token."""
    request_s: float = Field(default=0.0, ge=0)
    """Beside it: transport, tokenisation, handing over, for each request."""
    client_s: float = Field(default=0.0, ge=0)
    """The same for each client, because their requests pass one front end."""
    prompt_token_s: float = Field(default=0.0, ge=0)
    """The same for each token of the prompt."""
    waiting_steps: float = Field(default=0.0, ge=0)
    """Steps that pass before a prompt is taken in and after its token is computed."""


class Residual(Noun):
    """What the physics leaves, by trait: the log of measured over computed, shrunk towards zero where rows are few."""

    quantity: str
    trait: str
    """`name=value`, several joined by `&`."""
    log_ratio: float


Familiarity = Literal["seen", "near", "far", "new source"]
"""What was measured: the model itself on this device; only its class on the engine and generation; not even that. `new source`: by a
laboratory of which no row was in the fit, whatever it measured: its load generator and its servers' settings differ too."""


class Spread(Noun):
    """How far measurements lie from predictions: quantiles of |log ratio| of fits that had seen as little of the setup."""

    quantity: str
    half_width: float = Field(gt=0)
    """The 80 % quantile, about `shift`."""
    rows: int
    familiarity: Familiarity = "near"
    shift: float = 0.0
    """Median log of measured over predicted, where nothing else is fitted (tails)."""


class Measured(Noun):
    """How many rows of an engine, a generation and a class of model the fit has seen together."""

    engine: str
    generation: str
    model_class: str
    rows: int
    models: tuple[str, ...] = ()
    """Those that were measured there, each with its device."""


class Coefficients(Noun):
    """The whole file."""

    kind: Kind
    source: str
    as_of: str
    command: str
    """What fits them."""
    roofline: tuple[Roofline, ...]
    reduction: tuple[Reduction, ...]
    engine: tuple[EngineCost, ...]
    residual: tuple[Residual, ...] = ()
    spread: tuple[Spread, ...] = ()
    measured: tuple[Measured, ...] = ()
    laboratories: tuple[str, ...] = ()
    """Who measured the served rows."""
    expert_skew: float = Field(default=1.0, gt=0, le=1)
    """Skewed routing reaches as many experts as this share of the tokens would, were they spread evenly."""

    @functools.cached_property
    def residuals(self) -> dict[str, dict[str, float]]:
        """Quantity -> trait -> log ratio."""
        found: dict[str, dict[str, float]] = {"token": {}, "ttft": {}}
        for row in self.residual:
            found[row.quantity][row.trait] = row.log_ratio
        return found

    @functools.cached_property
    def rooflines(self) -> dict[tuple[str, str, str], Roofline]:
        """(operator, generation, format) -> its roofline."""
        return {(row.operator, row.generation, row.format): row for row in self.roofline}

    def spread_of(self, quantity: str, familiarity: Familiarity = "near") -> Spread | None:
        """The spread of a quantity; where too few rows told one familiarity apart, the next that knows less, then any."""
        rows = {row.familiarity: row for row in self.spread if row.quantity == quantity}
        order: tuple[Familiarity, ...] = ("seen", "near", "far", "new source")
        nearest = (*order[order.index(familiarity) :], *reversed(order))
        return next((rows[name] for name in nearest if name in rows), None)

    def width(self, quantity: str, familiarity: Familiarity = "near") -> float:
        """Half of the 80 % interval, in logs; 0.5 where nothing was measured (assumed)."""
        found = self.spread_of(quantity, familiarity)
        return found.half_width if found else 0.5

    def shift(self, quantity: str, familiarity: Familiarity = "near") -> float:
        """Median log of measured over predicted of a quantity to which nothing else is fitted."""
        found = self.spread_of(quantity, familiarity)
        return found.shift if found else 0.0

    def familiarity(self, engine: str, where: str, model_class: str, model: str) -> Familiarity:
        """What of a setup was measured; `ENOUGH_ROWS` rows of the combination count."""
        if self.rows_of(engine, where, model_class) < ENOUGH_ROWS:
            return "far"
        wanted = (engine, where, model_class)
        known = {
            name
            for row in self.measured
            if (row.engine, row.generation, row.model_class) == wanted
            for name in row.models
        }
        return "seen" if model in known else "near"

    def rows_of(self, engine: str, where: str, model_class: str) -> int:
        """Rows that were measured with all three together."""
        wanted = (engine, where, model_class)
        return sum(row.rows for row in self.measured if (row.engine, row.generation, row.model_class) == wanted)

    def of(self, operator: str, generation: str, stored_as: str) -> Roofline:
        """The roofline of an operator; a missing format falls back to bf16, a missing generation to the nearest fitted one."""
        for where in (generation, *NEAREST[generation]):
            for what in (stored_as, *SIMILAR.get(stored_as, ()), "bf16"):
                found = self.rooflines.get((operator, where, what))
                if found is not None:
                    return found
        raise AssertionError(f"no roofline of {operator}")

    def link(self, generation: str) -> Reduction:
        """The all-reduce of a generation, or of the nearest fitted one."""
        found = {row.generation: row for row in self.reduction}
        return next(found[where] for where in (generation, *NEAREST[generation]) if where in found)

    def cost(self, engine: str) -> EngineCost:
        """The engine's cost, or that of `all`."""
        found = {row.engine: row for row in self.engine}
        return found.get(engine, found["all"])


NEAREST: dict[str, tuple[str, ...]] = {
    "blackwell": ("hopper", "ampere", "ada"),
    "blackwell_workstation": ("ada", "blackwell", "hopper", "ampere"),
    "hopper": ("blackwell", "ampere", "ada"),
    "ada": ("blackwell_workstation", "ampere", "hopper"),
    "ampere": ("ada", "hopper", "blackwell"),
    UNMEASURED: ("ampere", "ada", "hopper", "blackwell"),
}
"""Where a generation without a fit looks (assumed: by kinship of the cores and of the memory)."""

SIMILAR: dict[str, tuple[str, ...]] = {
    "fp8_block": ("fp8",),
    "fp8": ("fp8_block",),
    "int8": ("fp8",),
    "mxfp4": ("int4",),
    "int4": ("mxfp4",),
    "int8_weight": ("int4",),
    "int6": ("int4",),
    "int5": ("int4",),
    "int3": ("int4",),
    "int2": ("int4",),
    "nvfp4": ("fp8",),
}


def generation(device: Device) -> str:
    """The generation of a device, by its name."""
    name = device.name.upper()
    return next((which for which, starts in GENERATIONS if any(name.startswith(s) for s in starts)), UNMEASURED)


@functools.cache
def coefficients() -> Coefficients:
    """The fitted coefficients."""
    return Coefficients.model_validate(table("serving_efficiency.toml"))
