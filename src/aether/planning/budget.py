"""What time and money are left for training: the tighter of two bounds, less what is spent and what the other stages need."""

from dataclasses import dataclass

from aether.hardware.machine import Machine
from aether.models.config import DecoderConfig
from aether.planning.facts import DataFacts
from aether.planning.intervals import LEVEL
from aether.planning.recipes import red_team_files, red_team_of
from aether.spec.brief import Brief
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term
from aether.stages.compress import estimate as compress_estimate
from aether.stages.compress.recipe import CompressRecipe
from aether.stages.evaluate import estimate as evaluate_estimate
from aether.stages.evaluate.recipe import EvaluateRecipe
from aether.stages.serve.estimate import choice_s
from aether.stages.serve.recipe import EngineRecipe, Saturation

STARTS_S = {"compress": 4.0, "evaluate": 3.0, "serve": 8.0, "report": 4.0}
"""What each step takes besides its own arithmetic: imports, loading, a server's start, plots (assumed)."""

STARTS_SPREAD = 0.5
"""Relative half-width of LEVEL for those (assumed)."""


@dataclass(frozen=True)
class Budget:
    """Seconds of one build: the bound, which target set it, and what is spent already."""

    limit_s: float
    limit_metric: str
    elapsed_s: float

    def training_s(self, other: "OtherStages") -> float:
        """What training may take, the other stages at the high end of their interval."""
        return max(0.0, self.limit_s - self.elapsed_s - other.high_s)


@dataclass(frozen=True)
class OtherStages:
    """Seconds that compress, evaluate, serve and report take for one shape."""

    value_s: float
    high_s: float
    parts: tuple[Term, ...]


def budget_of(brief: Brief, elapsed_s: float, price_usd_per_hour: float | None) -> Budget:
    """The budget of a brief. Raises InputError when neither time nor money is bounded."""
    limits: list[tuple[float, str]] = []
    if time := brief.target("build_time"):
        limits.append((time.value, "build_time"))
    cost = brief.target("build_cost")
    if cost is not None and price_usd_per_hour:
        limits.append((cost.value / price_usd_per_hour * 3600.0, "build_cost"))
    if not limits:
        raise InputError.of("targets", None, 'bound the time: add "build_time <= 10 min"')
    limit_s, metric = min(limits)
    return Budget(limit_s, metric, elapsed_s)


def load_test_s(brief: Brief) -> float:
    """Seconds of the load test: the brief's own arrivals, then the closed-loop phase."""
    return brief.load.requests / brief.load.requests_per_s + Saturation().seconds


def other_stages(decoder: DecoderConfig, brief: Brief, machine: Machine, facts: DataFacts) -> OtherStages:
    """The time of everything after training, from each stage's own estimate."""
    rate = machine.matmul_flops_per_s.get("float32", machine.peak_flops_per_s("train"))
    compress = compress_estimate.wall_time(CompressRecipe(), decoder, rate)
    harmful, benign = red_team_files(brief)
    modality = brief.modality or "code"
    recipe = EvaluateRecipe(modality=modality, red_team=red_team_of(brief), harmful_file=harmful, benign_file=benign)
    evaluate = evaluate_estimate.estimate(recipe, decoder, facts.bytes_per_token, rate, facts.train_tokens)
    starts, load, choice = sum(STARTS_S.values()), load_test_s(brief), choice_s(EngineRecipe())
    parts = [Term(name="starts", value=starts, unit="s", kind="assumed", source="planning.budget")]
    parts.append(Term(name="load test", value=load, unit="s", kind="computed", source="the brief's load"))
    parts.append(Term(name="choice of an engine", value=choice, unit="s", kind="computed", source="its trials"))
    value, upward = starts + load + choice, (starts * STARTS_SPREAD) ** 2
    for name, one in (("compress", compress), ("evaluate", evaluate)):
        assert one.value is not None and one.interval is not None
        parts.append(Term(name=name, value=one.value, unit="s", kind=one.kind, source=one.formula))
        value += one.value
        upward += (one.interval.high - one.value) ** 2
    return OtherStages(value, value + upward**0.5, tuple(parts))


def build_time(budget: Budget, training_s: float, training_spread: float, other: OtherStages) -> Estimate:
    """Wall time of the whole build: what is spent, training, and the other stages."""
    value = budget.elapsed_s + training_s + other.value_s
    half = ((1.2816 * training_spread * training_s) ** 2 + (other.high_s - other.value_s) ** 2) ** 0.5
    low = max(budget.elapsed_s, value - half)
    return Estimate(
        metric="build_time",
        value=value,
        unit="s",
        interval=Interval(low=low, high=value + half, level=LEVEL, method="spreads of the stages combined"),
        kind="computed",
        formula="spent + train + compress + evaluate + serve + report",
        terms=(
            Term(name="spent", value=budget.elapsed_s, unit="s", kind="measured", source="this build so far"),
            Term(name="train", value=training_s, unit="s", kind="computed", source="planning.timing"),
            *other.parts,
        ),
        binding="train" if training_s >= other.value_s else "other stages",
    )


def build_cost(time: Estimate, price_usd_per_hour: float | None) -> Estimate:
    """Time times price; without a price there is no number, and zero would be a lie."""
    if price_usd_per_hour is None:
        return Estimate(
            metric="build_cost",
            value=None,
            unit="USD",
            interval=None,
            kind="assumed",
            formula="build_time / 3600 * price_usd_per_hour",
            protocol="set hardware.price_usd_per_hour to what this machine costs",
        )
    assert time.value is not None and time.interval is not None
    each = price_usd_per_hour / 3600.0
    interval = time.interval.model_copy(update={"low": time.interval.low * each, "high": time.interval.high * each})
    return Estimate(
        metric="build_cost",
        value=time.value * each,
        unit="USD",
        interval=interval,
        kind="computed",
        formula="build_time / 3600 * price_usd_per_hour",
        terms=(
            Term(name="build_time", value=time.value, unit="s", kind="computed", source=time.formula),
            Term(name="price_usd_per_hour", value=price_usd_per_hour, unit="USD", kind="assumed", source="the brief"),
        ),
        binding="build_time",
    )


def working_price(brief: Brief, machine: Machine) -> float | None:
    """USD per hour of the machine: the brief's, or the machine's own; None when nobody said."""
    said = brief.hardware.price_usd_per_hour if brief.hardware is not None else None
    return said if said is not None else machine.price_usd_per_hour
