"""Trains every variant with every seed into one store, one after the other; what is finished there is not trained again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aether.counsel.ablation.vary import Variant
from aether.evidence.files import read_json
from aether.running.runner import Runner
from aether.spec.errors import InputError
from aether.spec.recipe import Recipe
from aether.spec.run import Listener, Progress
from aether.stages.train.estimate import flops


@dataclass(frozen=True)
class Trained:
    """One training: what it cost, and what it scored or why it has no score."""

    variant: str
    seed: int
    flops: float
    tokens: int
    steps: int
    parameters: int
    bits_per_byte: float | None = None
    loss: float | None = None
    updates_s: float | None = None
    cpu_s: float | None = None
    fingerprint: str = ""
    broke: str = ""
    """The sentence of a training that broke; empty otherwise."""

    @classmethod
    def of(cls, variant: Variant, seed: int, **found: Any) -> "Trained":
        """The training of `variant`, with what was found of it."""
        recipe = variant.recipe
        size = recipe.model.parameters()
        return cls(variant.label, seed, flops(recipe), recipe.tokens(), recipe.steps, size, **found)


Watch = Callable[[Progress], None]


@dataclass
class Trainer:
    """The data made once, and a store that trainings are found in or made in."""

    recipe: Recipe
    out: Path
    listener: Listener

    def __post_init__(self) -> None:
        *self._before, self._step = self.recipe.steps
        self._runner = Runner(self.out / "store", self.listener)

    @property
    def base(self) -> dict[str, Any]:
        """The config of the recipe's own training."""
        return self._step.config

    def prepare(self) -> None:
        """Make what the training needs, or find it."""
        for step in self._before:
            self._runner.run_step(step)

    def train(self, variant: Variant, seed: int, watch: Watch | None = None) -> Trained:
        """One training, found or made. A training that breaks for good is an outcome, not an error.

        `watch` hears its progress too; what it raises ends the training.
        """

        def heard(progress: Progress) -> None:
            self.listener(replace(progress, step=f"{variant.label}, seed {seed}"))
            if watch is not None:
                watch(progress)

        step = self._step.model_copy(update={"config": variant.recipe.model_dump(mode="json"), "seed": seed})
        try:
            done = replace(self._runner, listener=heard).run_step(step)
        except InputError as error:
            return Trained.of(variant, seed, broke=str(error))
        summary = read_json(done.folder / "train.json")
        return Trained.of(
            variant,
            seed,
            bits_per_byte=summary["validation"]["bits_per_byte"],
            loss=summary["validation"]["loss"],
            updates_s=summary["updates_s"],
            cpu_s=done.record.cpu_s,
            fingerprint=done.record.fingerprint,
        )


def train_all(trainer: Trainer, variants: Sequence[Variant], seeds: Sequence[int]) -> list[Trained]:
    """Every variant with every seed, seed by seed, so that a comparison that is cut has whole blocks.

    Raises InputError when the very first training breaks: then the recipe is wrong, not a variant.
    """
    trainer.prepare()
    found: list[Trained] = []
    for seed in seeds:
        for variant in variants:
            one = trainer.train(variant, seed)
            if one.broke and not found:
                raise InputError.of("recipe", variant.label, f"its first training broke: {one.broke}")
            found.append(one)
    return found
