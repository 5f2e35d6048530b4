"""What a training run is at one moment: weights, optimiser, position in the data, spike statistics, state to rewind to.

`as_checkpoint` and `from_checkpoint` are exact: a run that goes on from one equals, bit for bit, a run that never
stopped. The loop draws no random number (order of data and first weights come from the seed), so none is stored.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aether.models.decoder import Decoder
from aether.stages.train.alerts import Alerts
from aether.stages.train.clipping import Clipper
from aether.stages.train.loss_scale import LossScaler
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.spikes import SpikeGuard


@dataclass
class Snapshot:
    """Copies of every tensor after `step` updates, with the spike statistics of then."""

    step: int
    tensors: dict[str, Tensor]
    guard: dict[str, Any]


@dataclass
class TrainState:
    """The run so far. `step` updates are behind it; `cursor` is the next sample of the data."""

    model: Decoder
    optimisers: Optimisers
    guard: SpikeGuard
    clipper: Clipper
    alerts: Alerts
    scaler: LossScaler | None = None
    step: int = 0
    cursor: int = 0
    snapshot: Snapshot | None = None
    log_bytes: dict[str, int] = field(default_factory=dict)
    """Length of each log at the last checkpoint."""
    blamed: int = 0
    """Batches that were blamed so far."""
    step_s: list[float] = field(default_factory=list)
    """Wall seconds of each update so far, those of earlier processes included."""
    peak_memory_bytes: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Every live tensor of weights and optimiser, by name."""
        named = {f"model.{name}": p.detach() for name, p in self.model.named_parameters()}
        return named | {f"optimiser.{name}": t for name, t in self.optimisers.tensors().items()}

    def take_snapshot(self) -> None:
        """Remember this moment as the one to rewind to."""
        copies = {name: tensor.clone() for name, tensor in self.tensors().items()}
        self.snapshot = Snapshot(self.step, copies, self.guard.state())

    def rewind(self) -> None:
        """Weights, optimiser and statistics of the snapshot; the data goes on behind what broke the run."""
        assert self.snapshot is not None
        self._load_tensors(self.snapshot.tensors)
        self.guard.rewind_to(self.snapshot.guard)
        self.step = self.snapshot.step

    @torch.no_grad()
    def _load_tensors(self, named: dict[str, Tensor]) -> None:
        for name, tensor in self.tensors().items():
            tensor.copy_(named[name])

    def as_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON value) that hold everything."""
        tensors = {name: tensor.cpu() for name, tensor in self.tensors().items()}
        if self.snapshot is not None:
            tensors |= {f"snapshot.{name}": tensor.cpu() for name, tensor in self.snapshot.tensors.items()}
        return tensors, self.plain()

    def plain(self) -> dict[str, Any]:
        """What is no tensor, as JSON."""
        plain: dict[str, Any] = {
            "step": self.step,
            "cursor": self.cursor,
            "guard": self.guard.state(),
            "alerts": self.alerts.state(),
            "clipper": self.clipper.state(),
            "scaler": None if self.scaler is None else self.scaler.state(),
            "log_bytes": self.log_bytes,
            "blamed": self.blamed,
            "step_s": self.step_s,
            "peak_memory_bytes": self.peak_memory_bytes,
        }
        if self.snapshot is not None:
            plain["snapshot"] = {"step": self.snapshot.step, "guard": self.snapshot.guard}
        return plain

    def from_checkpoint(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Become what `as_checkpoint` described."""
        self._load_tensors(tensors)
        self.load_plain(plain)
        held = plain.get("snapshot")
        if held is not None:
            device = self.model.embedding.device
            prefix = "snapshot."
            copies = {n[len(prefix) :]: t.to(device) for n, t in tensors.items() if n.startswith(prefix)}
            self.snapshot = Snapshot(held["step"], copies, held["guard"])

    def load_plain(self, plain: dict[str, Any]) -> None:
        """Take over what is no tensor."""
        self.step, self.cursor = plain["step"], plain["cursor"]
        self.guard.load(plain["guard"])
        self.alerts.load(plain["alerts"])
        self.clipper.load(plain["clipper"])
        if self.scaler is not None:
            self.scaler.load(plain["scaler"])
        self.log_bytes, self.step_s = plain["log_bytes"], list(plain["step_s"])
        self.blamed = plain["blamed"]
        self.peak_memory_bytes = plain["peak_memory_bytes"]
