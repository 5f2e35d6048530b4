"""Which corpora a run reads, in which shares, and what changes over it. Plain choices, no heavy import."""

from pydantic import Field, model_validator

from aether.spec.base import Noun
from aether.spec.errors import InputError


class Source(Noun):
    """One corpus of a mixture: the training split of a step's input."""

    input: str = Field(description="Name of the step's input: the output of a data step, made with the same tokenizer.")
    weight: float = Field(gt=0, description="Share of the windows, as a part of all weights.")
    epochs: float = Field(
        default=1.0,
        gt=0,
        description="How often it may be read. Muennighoff et al., arXiv 2305.16264: up to 4 are nearly as good as new.",
    )


class Phase(Noun):
    """A stretch of the run, the first phase at its start; what follows the last is as the recipe says."""

    steps_fraction: float = Field(gt=0, le=1, description="Share of the steps.")
    weights: tuple[float, ...] | None = Field(
        default=None, description="Of the mixture's sources, in their order; 0 leaves one out. None: their own."
    )
    context_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Each window cut into shorter ones of so many tokens; None: whole. Must divide the model's.",
    )


class Mixture(Noun):
    """The corpora and their curriculum; without sources the step's input `data` alone, without end, as ever."""

    sources: tuple[Source, ...] = ()
    phases: tuple[Phase, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "Mixture":
        names = [source.input for source in self.sources]
        if len(set(names)) < len(names):
            raise InputError.of("mixture.sources.input", names, "name each input once")
        if sum(phase.steps_fraction for phase in self.phases) > 1 + 1e-9:
            raise InputError.of(
                "mixture.phases.steps_fraction", [p.steps_fraction for p in self.phases], "at most 1 in sum"
            )
        for phase in self.phases:
            given = phase.weights
            if given is not None and (len(given) != len(names) or min(given, default=-1) < 0 or not any(given)):
                mend = f"one weight for each of {len(names)} sources, none below zero and one above"
                raise InputError.of("mixture.phases.weights", given, mend)
            if given is None and phase.context_tokens is None:
                raise InputError.of(
                    "mixture.phases", phase.model_dump(), "it changes nothing; give weights or context_tokens"
                )
        return self

    def context_at(self, step: int, steps: int, whole: int) -> int:
        """Tokens of a window at update `step` of `steps`; `whole` where no phase cuts it."""
        return next((p.context_tokens or whole for p, until in self.ends(steps) if step < until), whole)

    def ends(self, steps: int) -> list[tuple[Phase, int]]:
        """Each phase with the first step after it."""
        found, share = [], 0.0
        for phase in self.phases:
            share += phase.steps_fraction
            found.append((phase, round(share * steps)))
        return found
