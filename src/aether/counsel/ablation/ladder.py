"""`aether scaling`: sizes of one recipe at several budgets, a law fitted to them, and a larger training predicted before it is made.

Shapes keep the recipe's proportions (width over depth, size of a head, inner over outer width), so that size is all that changes. N is all
parameters, the embedding once, and a budget is 6 N D (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aether.counsel.ablation.run import Trained, Trainer
from aether.counsel.ablation.vary import Variant, read_steps, training
from aether.evidence.extras import need
from aether.evidence.files import write_atomically, write_json
from aether.evidence.provenance import provenance
from aether.models.config import DecoderConfig
from aether.planning.scaling.report import FitReport, Prediction, report_fit
from aether.report.scaling_plot import scaling_svg
from aether.running.lock import exclusive
from aether.spec.errors import InputError
from aether.spec.run import Listener
from aether.stages.train.recipe import TrainRecipe

_GRAIN = 32
"""The inner width is a multiple of it, as in the planner's ladder."""
RESAMPLES = 200


@dataclass(frozen=True)
class Held:
    """The training that was predicted, then made."""

    predicted: Prediction
    measured: Trained

    @property
    def inside(self) -> bool | None:
        """Whether the measured loss lies in the predicted 80 % interval; None when the training broke."""
        interval = self.predicted.loss.interval
        if self.measured.loss is None or interval is None:
            return None
        return interval.low <= self.measured.loss <= interval.high


@dataclass(frozen=True)
class Ladder:
    """What was trained, the fit, and the check of it."""

    trained: tuple[Trained, ...]
    fitted: FitReport
    held: Held


def scaled(model: DecoderConfig, factor: float) -> DecoderConfig:
    """The model with `factor` times the width and depth, heads of the same size. Raises InputError when no head is left."""
    heads = round(model.heads * factor)
    if heads < 1:
        raise InputError.of("sizes", factor, f"the recipe has {model.heads} heads; give a factor that leaves one")
    groups = model.heads // model.kv_heads
    return model.model_copy(
        update={
            "heads": heads,
            "kv_heads": heads // groups if heads % groups == 0 else heads,
            "hidden_size": heads * (model.hidden_size // model.heads),
            "layers": max(1, round(model.layers * factor)),
            "mlp_size": max(_GRAIN, round(model.mlp_size * heads / model.heads / _GRAIN) * _GRAIN),
        }
    )


def rung(base: TrainRecipe, model: DecoderConfig, budget: float) -> Variant:
    """The training of `model` for 6 N D = `budget` FLOPs, to whole updates. Raises InputError for none."""
    steps = round(budget / (6.0 * model.parameters() * base.tokens() / base.steps))
    if steps < 1:
        raise InputError.of(
            "budgets", budget, "it pays for no update of this size; give larger budgets or smaller sizes"
        )
    recipe = base.model_copy(update={"model": model, "steps": steps})
    return Variant(f"{model.parameters():,} parameters, {recipe.tokens():,} tokens", recipe)


def rungs(base: TrainRecipe, budgets: Sequence[float], sizes: Sequence[float]) -> Iterator[Variant]:
    """Every size at every budget; both are factors of the recipe's own."""
    own = 6.0 * base.model.parameters() * base.tokens()
    for budget in sorted(budgets):
        for size in sorted(sizes):
            yield rung(base, scaled(base.model, size), budget * own)


def climb(
    recipe: Path, budgets: Sequence[float], sizes: Sequence[float], beyond: float, out: Path, listener: Listener
) -> Ladder:
    """Train the ladder, fit it, predict the rung of `beyond` times the largest budget, then train that too.

    Leaves points.csv, prediction.json (written before that training begins), scaling.json and scaling.svg in `out`.
    Raises InputError for a ladder with too few rungs, or when a rung breaks.
    """
    need("train")
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out / ".lock", out):
        trainer = Trainer(read_steps(recipe), out, listener)
        base = training(trainer.base)
        planned = list(rungs(base, budgets, sizes))
        trainer.prepare()
        trained = tuple(_whole(trainer.train(one, seed=0)) for one in planned)
        write_atomically(out / "points.csv", _points(trained))
        last = _best_beyond(out / "points.csv", base, sizes, beyond * max(budgets))
        at = f"{last.recipe.model.parameters()},{last.recipe.tokens()}"
        fitted = report_fit(out / "points.csv", RESAMPLES, tied=True, at=[at])
        write_json(out / "prediction.json", fitted.predictions[0].model_dump(mode="json"))
        held = Held(fitted.predictions[0], trainer.train(last, seed=0))
        write_json(out / "scaling.json", _record(trained, fitted, held))
        write_atomically(out / "scaling.svg", _picture(fitted))
    return Ladder(trained, fitted, held)


def _whole(trained: Trained) -> Trained:
    if trained.broke:
        raise InputError.of("recipe", trained.variant, f"this rung broke: {trained.broke}")
    return trained


def _points(trained: Sequence[Trained]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("parameters", "tokens", "loss"))
    rows.writerows((one.parameters, one.tokens, one.loss) for one in trained)
    return text.getvalue()


def _best_beyond(points: Path, base: TrainRecipe, sizes: Sequence[float], budget: float) -> Variant:
    """Of the sizes up to twice the largest, the one of the least predicted loss at `budget` times the recipe's own."""
    own = 6.0 * base.model.parameters() * base.tokens()
    models = [scaled(base.model, size * grown) for size in sizes for grown in (1.0, 1.5, 2.0)]
    different = {model.parameters(): model for model in models}
    candidates = [rung(base, different[size], budget * own) for size in sorted(different)]
    at = [f"{one.recipe.model.parameters()},{one.recipe.tokens()}" for one in candidates]
    predicted = report_fit(points, 0, tied=True, at=at).predictions
    ranked = sorted(zip(predicted, candidates, strict=True), key=lambda pair: pair[0].loss.value or 0.0)
    return ranked[0][1]


def _record(trained: Sequence[Trained], fitted: FitReport, held: Held) -> dict[str, Any]:
    return {
        "trainings": [asdict(one) for one in (*trained, held.measured)],
        "fit": fitted.model_dump(mode="json"),
        "held": {"measured_loss": held.measured.loss, "inside": held.inside, "broke": held.measured.broke},
        "provenance": provenance().model_dump(mode="json"),
    }


def _picture(fitted: FitReport) -> str:
    seen = [(one.training_flops, one.loss) for one in fitted.seen]
    frontier = [(row.training_flops.value or 0.0, row.loss) for row in fitted.frontier]
    return scaling_svg(seen, frontier, [(one.training_flops, one.loss) for one in fitted.predictions])


def factors(text: str, field: str) -> list[float]:
    """Numbers above 0 between commas. Raises InputError."""
    try:
        found = [float(json.loads(one)) for one in text.split(",")]
        assert found and min(found) > 0 and len(set(found)) == len(found)
    except (ValueError, TypeError, AssertionError) as error:
        raise InputError.of(field, text, "give different numbers above zero between commas, as in 0.5,1,2") from error
    return found
