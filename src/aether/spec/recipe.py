"""Every choice that defines a result, exact and frozen. Identity (a learning rate) is in here; circumstance (a path) is not."""

from pydantic import Field, model_validator

from aether.spec.base import Noun


class Step(Noun):
    """One stage to carry out. `config` is that stage's own recipe as plain data; the stage validates it."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    stage: str
    """A key of `aether.stages.STAGES`."""
    config: dict
    inputs: dict[str, str] = {}
    """Input name as the stage knows it -> name of the earlier step that makes it."""
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)


class Recipe(Noun):
    """Steps in the order in which they run. The same value whether a person, the planner or an agent wrote it."""

    name: str
    steps: tuple[Step, ...]

    @model_validator(mode="after")
    def _ordered(self) -> "Recipe":
        seen: set[str] = set()
        for step in self.steps:
            missing = set(step.inputs.values()) - seen
            if missing:
                raise ValueError(f"step {step.name!r} needs {', '.join(sorted(missing))}, which no earlier step makes")
            if step.name in seen:
                raise ValueError(f"two steps are named {step.name!r}")
            seen.add(step.name)
        return self

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(s for s in self.steps if s.name == name)
