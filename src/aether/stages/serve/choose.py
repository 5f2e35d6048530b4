"""Which engine serves a model: the candidates, and the rule that picks one from what was measured. No torch.

The rule: an engine that meets more of the brief's serving targets in its trial goes first. Among those that meet as
many, the score is tokens per second of the closed loop over the median time of a whole request of the open loop, so that
both a busy server and a lone user count. Within `TIE` of the best score the candidate that is named first stays:
our own decoder, whose seeded draws do not depend on another package.
"""

from collections.abc import Sequence

from aether.evidence.extras import install_command
from aether.spec.base import Noun
from aether.spec.brief import Load, Target
from aether.spec.errors import EnvironmentFault
from aether.stages.serve.recipe import EngineRecipe

TIE = 0.10
"""Relative difference of scores that is taken for noise. Assumed."""


class TrialPlan(Noun):
    """What every candidate has to do. `prompts` are token ids."""

    model: str
    candidates: tuple[EngineRecipe, ...]
    prompts: tuple[tuple[int, ...], ...]
    load: Load
    clients: int
    threads: int
    seed: int


class Trial(Noun):
    """What one candidate did: canonical metrics in canonical units. A latency is absent when a request took too long."""

    engine: EngineRecipe
    """With the engine and the type that were really used."""
    metrics: dict[str, float]
    requests: int

    @property
    def label(self) -> str:
        """For evidence ids."""
        return f"{self.engine.engine}-{self.engine.dtype}".replace(".", "")


def candidates(engine: EngineRecipe, native_bfloat16: bool, llama_is_here: bool) -> tuple[EngineRecipe, ...]:
    """Every engine and type that the recipe leaves open and this machine has, ours first.

    Raises EnvironmentFault when what it asks for is not installed.
    """
    found: list[tuple[str, str]] = []
    if engine.engine in ("auto", "packed"):
        types = ["float32", *(["bfloat16"] if native_bfloat16 else [])] if engine.dtype == "auto" else [engine.dtype]
        found += [("packed", dtype) for dtype in types if dtype != "float16"]
    if engine.engine in ("auto", "llama.cpp") and llama_is_here:
        found.append(("llama.cpp", "float16" if engine.dtype == "auto" else engine.dtype))
    if not found:
        what = f"engine = {engine.engine} with dtype = {engine.dtype}"
        raise EnvironmentFault(f"{what} needs xllamacpp and gguf; run `{install_command('serve')}`")
    return tuple(engine.model_copy(update={"engine": name, "dtype": dtype}) for name, dtype in found)


def missed(trial: Trial, targets: Sequence[Target]) -> int:
    """How many of the targets that a trial can judge it does not meet; a number that is absent meets none."""
    judged = [target for target in targets if target.metric != "serving_memory"]
    return sum(
        target.metric not in trial.metrics or not target.is_met_by(trial.metrics[target.metric]) for target in judged
    )


def score(trial: Trial) -> float:
    """Tokens per second over the median time of a request; 0 when the time is unknown."""
    return trial.metrics["throughput"] / trial.metrics["e2e_p50"] if trial.metrics.get("e2e_p50") else 0.0


def best(trials: Sequence[Trial], targets: Sequence[Target]) -> Trial:
    """By the rule above."""
    fewest = min(missed(trial, targets) for trial in trials)
    left = [trial for trial in trials if missed(trial, targets) == fewest]
    highest = max(score(trial) for trial in left)
    return next(trial for trial in left if score(trial) >= (1 - TIE) * highest)
