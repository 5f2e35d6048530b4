"""A search for the best value of a field before it is compared: Optuna's sampler, and trainings that fall behind ended early.

The value that looked best was chosen for it, so its score flatters it (the winner's curse). It is trained again with seeds that the
search never used, beside the recipe's own value, and only that comparison counts. Nothing of Optuna's is kept: a search that was cut is
made again from the same sampler's seed, and finds in the store the trainings that it repeats.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aether.counsel.ablation.run import Trainer
from aether.counsel.ablation.vary import Setting, read_steps, value_at, variants
from aether.evidence.extras import need
from aether.evidence.files import write_json
from aether.running.lock import exclusive
from aether.spec.errors import InputError
from aether.spec.report import Text, Verbatim, text_of
from aether.spec.run import Listener, Progress

if TYPE_CHECKING:
    import optuna

SEED = 0
"""Of the search's trainings and of its sampler; what is found is compared with other seeds."""
_RANGE = re.compile(r"(?P<scale>log|lin|int):(?P<low>[^:]+):(?P<high>[^:]+)")


@dataclass(frozen=True)
class Range:
    """A field and where its value may lie, both ends included."""

    field: str
    scale: Literal["log", "lin", "int"]
    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> "Range":
        """From `FIELD=log:LOW:HIGH`. Raises InputError."""
        field, _, rest = text.partition("=")
        match = _RANGE.fullmatch(rest.strip())
        mend = "write FIELD=log:LOW:HIGH, lin: or int:, with LOW below HIGH, as in optimiser.muon_lr=log:0.003:0.1"
        try:
            assert match is not None
            low, high = float(match["low"]), float(match["high"])
            assert low < high and (match["scale"] != "log" or low > 0)
        except (AssertionError, ValueError) as error:
            raise InputError.of("search", text, mend) from error
        return cls(field.strip(), match["scale"], low, high)  # pyright: ignore[reportArgumentType]

    def drawn(self, trial: "optuna.Trial") -> float | int:
        """The value that the sampler asks for."""
        if self.scale == "int":
            return trial.suggest_int(self.field, round(self.low), round(self.high))
        return self.trained(trial.suggest_float(self.field, self.low, self.high, log=self.scale == "log"))

    def trained(self, value: float | int) -> float | int:
        """What is trained for a value of the sampler's: four digits of it."""
        return value if self.scale == "int" else float(f"{value:.4g}")


@dataclass(frozen=True)
class Found:
    """The best point of a search, and what it was chosen from."""

    best: dict[str, Any]
    own: dict[str, Any]
    """The recipe's values of the same fields."""
    finished: int
    ended_early: int
    broke: int

    def settings(self) -> list[list[Setting]]:
        """What to compare: the recipe's own values and the best ones."""
        return [[_setting("own", self.own), _setting("found", self.best)]]

    def notes(self) -> tuple[Text, ...]:
        """For the page: how the second variant was found."""
        counts = f"{self.finished} finished, {self.ended_early} ended early, {self.broke} broke"
        told = text_of(
            "The second variant is the best of a search (trainings: ",
            Verbatim(role="name", text=counts),
            "). Its score there was chosen for being low and is not shown; the trainings here use seeds that the search did not.",
        )
        return (told,)


def searched(recipe: Path, ranges: Sequence[str], trials: int, out: Path, listener: Listener) -> Found:
    """The best of `trials` trainings by bits per byte, written to search.json in `out`.

    Raises InputError when a range is none, or when every training broke.
    """
    need("train", "search")
    import optuna

    wanted = [Range.parse(one) for one in ranges]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=SEED, multivariate=False),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=30),
    )
    with exclusive(out / ".lock", out):
        trainer = Trainer(read_steps(recipe), out, listener)
        trainer.prepare()
        study.optimize(lambda trial: _score(trial, wanted, trainer), n_trials=trials, catch=(_Broke,))
        states = [trial.state.name for trial in study.trials]
        if "COMPLETE" not in states:
            raise InputError.of("search", list(ranges), "every training of it broke; look at other ranges")
        rows = [{"values": t.params, "bits_per_byte": t.value, "state": t.state.name.lower()} for t in study.trials]
        write_json(out / "search.json", {"seed": SEED, "trials": rows})
    best = {one.field: one.trained(study.best_params[one.field]) for one in wanted}
    own = {one.field: value_at(trainer.base, one.field) for one in wanted}
    return Found(best, own, states.count("COMPLETE"), states.count("PRUNED"), states.count("FAIL"))


class _Broke(Exception):
    """A training that broke: no score, and no reason to end the search."""


def _score(trial: "optuna.Trial", wanted: Sequence[Range], trainer: Trainer) -> float:
    import optuna

    values = {one.field: one.drawn(trial) for one in wanted}
    own = _setting("own", {one.field: value_at(trainer.base, one.field) for one in wanted})
    label = " ".join(f"{field}={value:g}" for field, value in values.items())
    variant = variants(trainer.base, [[own, _setting(label, values)]], each=True, equal="flops")[1]

    def watch(progress: Progress) -> None:
        if progress.unit == "steps" and "loss" in progress.numbers:
            trial.report(progress.numbers["loss"], round(100 * progress.done / progress.total))
            if trial.should_prune():
                raise optuna.TrialPruned

    trained = trainer.train(variant, SEED, watch)
    if trained.bits_per_byte is None:
        raise _Broke(trained.broke)
    return trained.bits_per_byte


def _setting(label: str, values: dict[str, Any]) -> Setting:
    shown = " ".join(f"{field}={json.dumps(value)}" for field, value in values.items())
    return Setting(f"{label} {shown}" if label in ("own", "found") else label, tuple(values.items()))
