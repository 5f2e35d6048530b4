"""One candidate as a whole option: every metric of a brief predicted, each with interval and terms, and its exact recipe."""

from collections.abc import Sequence
from dataclasses import dataclass

from aether.hardware.machine import Machine
from aether.planning.budget import Budget, OtherStages, build_cost, build_time, other_stages
from aether.planning.candidates import Candidate, Knowledge
from aether.planning.facts import PilotResult
from aether.planning.intervals import LEVEL
from aether.planning.quality import predict_accuracy, predict_bits_per_byte, unknown, unpredicted
from aether.planning.recipes import serving_threads, whole_recipe
from aether.spec.brief import Brief, Target
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Option, Term
from aether.spec.recipe import Step
from aether.spec.units import humanize
from aether.stages.compress import estimate as compress_estimate
from aether.stages.compress.recipe import CompressRecipe
from aether.stages.serve import estimate as serve_estimate
from aether.stages.serve.recipe import ServeRecipe
from aether.stages.train import estimate as train_estimate
from aether.stages.train.recipe import TrainRecipe

_MEMORY_SPREAD = 0.25
"""Relative half-width of LEVEL for training memory (assumed)."""


@dataclass(frozen=True)
class Scene:
    """Everything that options of one plan share."""

    brief: Brief
    machine: Machine
    known: Knowledge
    pilots: Sequence[PilotResult]
    budget: Budget
    price_usd_per_hour: float | None
    before: Sequence[Step]

    def other(self, candidate: Candidate) -> OtherStages:
        """What follows training, for this candidate's shape."""
        return other_stages(candidate.decoder, self.brief, self.machine, self.known.facts)


def option_of(candidate: Candidate, scene: Scene) -> Option:
    """The candidate with its estimates and its recipe."""
    decoder = candidate.decoder
    per_step = humanize(candidate.recipe.batch_tokens(), "count")
    return Option(
        name=name_of(candidate),
        summary=(
            f"{humanize(decoder.parameters(), 'count')} parameters ({decoder.layers} layers, width {decoder.hidden_size}), "
            f"{humanize(candidate.tokens, 'count')} tokens in {candidate.recipe.steps:,} steps of {per_step}, "
            f"about {humanize(candidate.training_s, 's')} of training"
        ),
        recipe=whole_recipe(scene.brief, scene.machine, candidate.recipe, scene.before),
        estimates=estimates(candidate, scene),
    )


def name_of(candidate: Candidate) -> str:
    """Depth, width and steps: unique in a plan."""
    return f"{candidate.decoder.layers}x{candidate.decoder.hidden_size}-{candidate.recipe.steps}"


def estimates(candidate: Candidate, scene: Scene) -> tuple[Estimate, ...]:
    """One estimate per metric that a brief may bound."""
    spread = scene.known.step_time.spread(candidate.recipe)
    time = build_time(scene.budget, candidate.training_s, spread, scene.other(candidate))
    return (
        *_quality(candidate, scene),
        *_serving(candidate, scene),
        training_memory(candidate.recipe, scene.pilots),
        _size_on_disk(candidate, scene),
        _parameters(candidate),
        time,
        build_cost(time, scene.price_usd_per_hour),
    )


def _quality(candidate: Candidate, scene: Scene) -> tuple[Estimate, ...]:
    loss = candidate.loss
    if loss is None:
        pilots = "run the pilots of planning.pilots, which the loss curve is fitted to"
        return (
            unknown("bits_per_byte", "bit/byte", pilots),
            unknown("next_token_accuracy", "fraction", pilots),
            *unpredicted(scene.brief),
        )
    curve = scene.known.curve
    assert curve is not None
    asymptote, alpha, beta = curve.exponents
    terms = [
        Term(name=n, value=v, unit=u, kind="computed", source="posterior mean, planning.forecast")
        for n, v, u in (("E", asymptote, "nat/token"), ("alpha", alpha, "1"), ("beta", beta, "1"))
    ]
    terms += [
        Term(
            name="N",
            value=float(candidate.decoder.matrix_parameters()),
            unit="count",
            kind="computed",
            source="the blocks' matrices",
        ),
        Term(name="D", value=float(candidate.tokens), unit="token", kind="computed", source="steps * batch"),
    ]
    predicted = Estimate(
        metric="loss",
        value=loss.value,
        unit="nat/token",
        interval=loss.interval,
        kind="computed",
        formula="(E + A / N^alpha + B / D^beta - interaction) * transient",
        terms=tuple(terms),
        binding="D" if candidate.tokens < 20 * candidate.decoder.parameters() else "N",
    )
    bytes_lost = scene.brief.quality_loss_bound
    return (
        predicted,
        predict_bits_per_byte(loss, scene.known.facts, bytes_lost),
        predict_accuracy(loss, scene.pilots),
        *unpredicted(scene.brief),
    )


def _serving(candidate: Candidate, scene: Scene) -> tuple[Estimate, ...]:
    recipe, decoder = ServeRecipe(load=scene.brief.load), candidate.decoder
    threads = serving_threads(scene.machine)
    rates = serve_estimate.MachineRates.of(scene.machine, recipe.engine.dtype, decoder.hidden_size, threads)
    found = serve_estimate.estimate(recipe, decoder, rates, scene.brief.seed)
    served, step = scene.machine.served_ttft_p50_s, scene.machine.launch_overhead_s
    if served is None or step is None:
        return found
    front = Term(
        name="HTTP",
        value=max(0.0, served - step),
        unit="s",
        kind=scene.machine.kind,
        source="served_ttft_p50_s - launch_overhead_s of the probe",
    )
    return tuple(_behind(e, front) if e.metric.startswith(("ttft_", "e2e_")) else e for e in found)


def _behind(estimate: Estimate, front: Term) -> Estimate:
    """An engine's latency as a client sees it: the web server in front of it added."""
    if estimate.value is None or estimate.interval is None:
        return estimate
    low, high = estimate.interval.low + front.value, estimate.interval.high + front.value
    return estimate.model_copy(
        update={
            "value": estimate.value + front.value,
            "interval": estimate.interval.model_copy(update={"low": low, "high": high}),
            "formula": f"{estimate.formula} + HTTP",
            "terms": (*estimate.terms, front),
        }
    )


def training_memory(recipe: TrainRecipe, pilots: Sequence[PilotResult]) -> Estimate:
    """The train stage's ledger, shifted by what the pilots held beyond theirs: one process holds what came before, too."""
    parts = train_estimate.memory_bytes(recipe)
    beyond = max((p.memory_bytes - sum(train_estimate.memory_bytes(p.recipe).values()) for p in pilots), default=0.0)
    value = sum(parts.values()) + max(0.0, beyond)
    terms = [
        Term(name=n, value=v, unit="byte", kind="computed", source="stages.train.estimate") for n, v in parts.items()
    ]
    if pilots:
        terms.append(
            Term(name="beyond the ledger", value=max(0.0, beyond), unit="byte", kind="measured", source="the pilots")
        )
    return Estimate(
        metric="training_memory",
        value=value,
        unit="byte",
        interval=Interval(
            low=value * (1 - _MEMORY_SPREAD), high=value * (1 + _MEMORY_SPREAD), level=LEVEL, method="assumed spread"
        ),
        kind="computed",
        formula=" + ".join(parts),
        terms=tuple(terms),
        binding=max(parts, key=lambda name: parts[name]),
    )


def _size_on_disk(candidate: Candidate, scene: Scene) -> Estimate:
    """The smallest candidate may fail the quality test: the value is the second smallest, the interval spans bfloat16 down."""
    recipe = CompressRecipe()
    sized = [
        compress_estimate.size_on_disk(c, candidate.decoder, scene.known.facts.tokenizer_bytes)
        for c in recipe.candidates
        if c.kind != "float32"
    ]
    values = sorted(e.value for e in sized if e.value is not None)
    middle = next(e for e in sized if e.value == values[min(1, len(values) - 1)])
    method = "from the smallest compression to bfloat16: which one passes the quality test is not foreseen"
    interval = Interval(low=values[0], high=values[-1], level=LEVEL, method=method)
    return middle.model_copy(update={"interval": interval})


def _parameters(candidate: Candidate) -> Estimate:
    value = float(candidate.decoder.parameters())
    return Estimate(
        metric="parameters",
        value=value,
        unit="count",
        interval=Interval(low=value, high=value, level=0.99, method="exact"),
        kind="computed",
        formula="vocab * width + layers * (attention + MLP + norms) + final norm",
    )


def misses(option: Option, targets: Sequence[Target]) -> tuple[list[Target], list[Target]]:
    """Targets whose whole interval is on the wrong side, and those whose value is (the first among them)."""
    whole, value = [], []
    for target in targets:
        found = option.estimate(target.metric)
        if found is None or found.value is None:
            continue
        if not target.is_met_by(found.value):
            value.append(target)
            if found.interval is None or not (
                target.is_met_by(found.interval.low) or target.is_met_by(found.interval.high)
            ):
                whole.append(target)
    return whole, value
