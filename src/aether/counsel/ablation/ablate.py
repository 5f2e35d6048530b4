"""`aether ablate` from end to end: variants, what they can show, the trainings, the result on disk."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aether.counsel.ablation.page import ablation_page
from aether.counsel.ablation.result import Ablation, ablation_of
from aether.counsel.ablation.run import Trainer, train_all
from aether.counsel.ablation.vary import Equal, Setting, Variant, read_steps, variants
from aether.evidence.ablation import detectable_in_noises
from aether.evidence.extras import need
from aether.evidence.files import write_atomically, write_json
from aether.evidence.provenance import provenance
from aether.report.page import page_html, page_markdown
from aether.running.lock import exclusive
from aether.spec.answer import Page
from aether.spec.errors import InputError
from aether.spec.recipe import Recipe
from aether.spec.report import Text
from aether.spec.run import Listener
from aether.stages.train.estimate import flops


@dataclass(frozen=True)
class Plan:
    """What will be trained, and what it can show, before anything is."""

    recipe: Recipe
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    equal: Equal

    @property
    def flops(self) -> float:
        """Of all trainings."""
        return len(self.seeds) * sum(flops(variant.recipe) for variant in self.variants)

    @property
    def detectable_in_noises(self) -> float | None:
        """The smallest difference that can be relied on to show, in standard deviations of one training; None for one seed."""
        pooled = len(self.seeds) > 1 and len(self.variants) > 1
        return detectable_in_noises(len(self.variants), len(self.seeds)) if pooled else None

    def rows(self) -> list[dict[str, Any]]:
        """Each variant's compute."""
        return [
            {"variant": v.label, "steps": v.recipe.steps, "tokens": v.recipe.tokens(), "flops": flops(v.recipe),
             "parameters": v.recipe.model.parameters()}
            for v in self.variants
        ]  # fmt: skip


def plan_ablation(
    recipe: Path, varied: Sequence[list[Setting]], seeds: Sequence[int], each: bool = False, equal: Equal = "flops"
) -> Plan:
    """The plan for a recipe file or run folder. Raises InputError for what cannot be varied so."""
    need("train")
    if not varied:
        raise InputError.of("vary", "", "name a field and its values, as in --vary model.norm=rms,layer")
    read = read_steps(recipe)
    made = variants(read.steps[-1].config, varied, each, equal)
    return Plan(read, tuple(made), tuple(seeds), equal)


def ablate(plan: Plan, out: Path, listener: Listener, notes: tuple[Text, ...] = ()) -> tuple[Ablation, Page]:
    """Train what is not trained yet, compare, and write ablation.json, ablation.md and ablation.html into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out / ".lock", out):
        trained = train_all(Trainer(plan.recipe, out, listener), plan.variants, plan.seeds)
        found = ablation_of(trained)
        page = ablation_page(found, plan.equal, notes)
        write_json(out / "ablation.json", _record(plan, found))
        write_atomically(out / "ablation.md", page_markdown(page))
        write_atomically(out / "ablation.html", page_html(page))
    return found, page


def _record(plan: Plan, found: Ablation) -> dict[str, Any]:
    return {
        "equal": plan.equal,
        "seeds": list(plan.seeds),
        "baseline": found.rows[0].label,
        "noise": None if found.blocks is None else found.blocks.noise,
        "detectable": None if found.blocks is None else found.blocks.detectable(),
        "rows": [
            {
                "variant": row.label,
                "bits_per_byte": row.mean,
                "difference": row.difference and row.difference.value,
                "interval": row.difference and [row.difference.interval.low, row.difference.interval.high],
                "p": row.difference and row.difference.p_value,
                "finding": row.difference and row.difference.conclusion,
                "flops": row.flops,
                "tokens": row.tokens,
                "parameters": row.parameters,
                "updates_s": row.updates_s,
                "broke": list(row.broke),
            }
            for row in found.rows
        ],
        "trainings": [asdict(one) for one in found.trained],
        "recipes": {variant.label: variant.recipe.model_dump(mode="json") for variant in plan.variants},
        "provenance": provenance().model_dump(mode="json"),
    }
