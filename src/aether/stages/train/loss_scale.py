"""The loss scale of float16 training, and whether a machine multiplies in float16 at all.

Small gradients vanish below float16's range, so the loss is multiplied before the backward pass and the gradients, which
are float32 like the weights, are divided after it. The scale moves as in torch.amp.GradScaler (tested equal), which cannot be used as it is:
it wraps torch's optimisers, and its overflow is not told apart from a spike.
"""

import math
from typing import Any

import torch

from aether.stages.train.recipe_watch import LossScale


class LossScaler:
    """The scale of now, how many updates it held, and how often it was too high."""

    def __init__(self, settings: LossScale) -> None:
        self.settings = settings
        self.scale = settings.initial
        self.overflowed = 0
        self._held = 0

    def overflows(self, grad_norm: float) -> bool:
        """Move the scale for an update's gradient norm. True: it is not finite, and a lower scale may mend that; pass it over.

        At a scale of 1 nothing is left to lower: what is not finite then is not the scale's doing.
        """
        if math.isfinite(grad_norm):
            self._held += 1
            if self._held == self.settings.growth_steps:
                self.scale, self._held = self.scale * self.settings.growth_factor, 0
            return False
        lowest = self.scale <= 1.0
        self.scale, self._held = max(1.0, self.scale * self.settings.backoff_factor), 0
        self.overflowed += not lowest
        return not lowest

    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {"scale": self.scale, "held": self._held, "overflowed": self.overflowed}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self.scale, self._held, self.overflowed = state["scale"], state["held"], state["overflowed"]


def half_fault(device: str) -> str | None:
    """Why float16 products would not be the machine's own here; None where they are.

    On a CPU: whether oneDNN multiplies in float16 (AVX512-FP16 or AMX-FP16); elsewhere they are emulated, slower than float32.
    """
    if device == "cuda":
        # Tensor cores since 7.0 (CUDA C++ programming guide, compute capabilities).
        able = torch.cuda.get_device_capability() >= (7, 0)
        return None if able else "this GPU has no float16 tensor cores"
    able = torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return None if able else "this processor has no float16 products (AVX512-FP16 or AMX-FP16)"
