"""The fitted coefficients of training time and how wrong they were on models and hardware that they had not seen.

Read from `knowledge/training_efficiency.toml`; the command that writes it stands in that file. An interval is conformal: a
quantile of the absolute log errors of leave-one-model-out and leave-one-hardware-out fits (Vovk et al. 2005; grouped as in
Barber et al. 2021), the wider one the less the calibration data know of the setup. Laboratories differ beyond that: who is none of
the calibration's sources gets the quantile over sources left out, each source counting alike (Lee, Barber and Willett 2023).
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal

from aether.knowledge.library import Device
from aether.knowledge.tables import table
from aether.planning.training.setup import TrainingSetup
from aether.planning.training.step import generation, model_class, residual_groups

Familiarity = Literal["known", "new model", "new hardware", "new both"]
"""What the calibration data hold: this model in this framework, only its class on this generation, neither, ..."""
OTHER_MAKER = 1.5
"""Factor on the interval where no run on hardware of that maker and generation was measured (assumed: the generations that were left
out to make the interval were NVIDIA's, and one of Google's)."""

WIDER_BY_DOUBLING = 0.15
"""What each doubling of the devices beyond `_FEW` adds to the interval, relative to that of few: a step waits for the slowest of all, and
networks differ more than devices. From errors of fits without the model, device, generation or source (478 rows): 80 % of them
are below 0.08, 0.09, 0.13 and 0.10 up to 64 devices, and below 0.14, 0.18, 0.19 and 0.21 from 1,024 on, about 1.75 times as much at 2,048."""
_FEW = 64


def relative_width(setup: TrainingSetup) -> float:
    """How wide the interval of a setup is, over that of the same on few devices."""
    return 1.0 + WIDER_BY_DOUBLING * math.log2(max(1.0, setup.devices / _FEW))


def error_classes(setup: TrainingSetup) -> tuple[str, ...]:
    """Whose errors the interval of a setup holds, its own class last: a fine-tuning is wrong like a pretraining of its structure, and by
    packed examples and the small products of adapters beside, which are not modelled."""
    structure = model_class(setup).split()[0]
    return (structure,) if setup.fine_tuning.kind == "none" else (structure, "fine-tuning")


@dataclass(frozen=True)
class Calibration:
    """Everything that was fitted."""

    parameters: dict[str, float]
    effects: dict[str, float]
    """Group -> what its measured runs add to the logarithm of step time."""
    halfwidths: dict[str, float]
    """`class|familiarity` -> 80 % quantile of the absolute log error over `relative_width`; `class|familiarity|90` -> 90 %."""
    source: str
    sources: tuple[str, ...]
    """Who measured the rows of the fit."""

    def correction(self, setup: TrainingSetup, device: Device) -> float:
        """What is added to the logarithm of step time."""
        return sum(self.effects.get(name, 0.0) for name in residual_groups(setup, device))

    def familiarity(self, setup: TrainingSetup, device: Device) -> Familiarity:
        """How much of the setup was measured."""
        coarse, _, named = residual_groups(setup, device)
        model, hardware = named in self.effects, coarse in self.effects
        if model and hardware:
            return "known"
        return "new model" if hardware else ("new hardware" if model else "new both")

    def unmeasured(self, device: Device) -> bool:
        """Whether no run was measured on the device's generation, nor on any of NVIDIA's, whose neighbours were."""
        return device.vendor != "NVIDIA" and not any(f"|{generation(device)}|" in f"{name}|" for name in self.effects)

    def halfwidth(
        self, setup: TrainingSetup, device: Device, level: Literal[80, 90] = 80, source: str | None = None
    ) -> float:
        """Half of the interval, in the logarithm of time. `source` measures: one of `sources`, or anybody else, who differs from them
        as they do from each other."""
        suffix = "" if level == 80 else "|90"
        known = (self.familiarity(setup, device), *(() if source in self.sources else ("new source",)))
        width = max(self.halfwidths[f"{kind}|{name}{suffix}"] for kind in error_classes(setup) for name in known)
        return width * relative_width(setup) * (OTHER_MAKER if self.unmeasured(device) else 1.0)


@functools.cache
def calibration() -> Calibration:
    """The shipped one."""
    data = table("training_efficiency.toml")
    found = Calibration(
        parameters=data["parameters"],
        effects=data["effects"],
        halfwidths=data["interval"],
        source=data["source"],
        sources=tuple(data["sources"]),
    )
    assert all(math.isfinite(value) for table in (found.parameters, found.effects) for value in table.values())
    return found
