"""The optimiser: Muon for the blocks' matrices, AdamW for the embedding and the gains.

Muon follows Keller Jordan's post (2024) as torch.optim.Muon does (tested equal), with same-shape matrices of all layers
stacked so that each Newton-Schulz product is one batched product. AdamW is torch's own, fused. Holds no randomness.
Does not cover sharded parameters.

Shapes: S stacked matrices, R rows, C columns.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from aether.stages.train.recipe import Optimiser

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Keller Jordan's Muon post; torch.optim.Muon's default."""
_POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
"""Polar Express, arXiv 2505.16932, algorithm 1: the best quintic of each step for singular values from 1e-3 up."""
_POLAR_SAFETY = 1.01
"""Polar Express, section 4: the argument is divided by this so that rounding does not diverge."""
_NORM_EPSILON = 1e-7
"""torch.optim.Muon's floor of the norm."""


def polynomials(kind: str, steps: int) -> list[tuple[float, float, float]]:
    """The coefficients (a, b, c) of a X + b (X X^T) X + c (X X^T)^2 X for each Newton-Schulz step."""
    if kind == "quintic":
        return [_QUINTIC] * steps
    s = _POLAR_SAFETY
    return [(a / s, b / s**3, c / s**5) for a, b, c in _POLAR_EXPRESS[:steps]]


def orthogonalise(matrices_SRC: Tensor, coefficients: list[tuple[float, float, float]], dtype: torch.dtype) -> Tensor:
    """Each matrix with its singular values moved near 1. Products are in `dtype`: a CPU without bfloat16 instructions
    multiplies bfloat16 about 60 times slower than float32 (measured, Zen 3: 1.3 and 73 GFLOP/s on one core)."""
    x = matrices_SRC.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min_(_NORM_EPSILON)
    for a, b, c in coefficients:
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


@dataclass(frozen=True)
class Rates:
    """What an update uses: the schedule's share of every peak rate, and Muon's momentum."""

    factor: float
    momentum: float


class Muon:
    """Momentum and update of matrices, by stacks of one shape; Newton-Schulz products in `dtype`.

    `matrices` are float32 parameters with gradients, each with the rows of the independent matrices fused in it: query,
    key and value are orthogonalised apart (measured here: 1.759 against 1.776 nats at 30 CPU-seconds, one seed).
    """

    def __init__(
        self,
        matrices: list[tuple[nn.Parameter, list[int]]],
        settings: Optimiser,
        dtype: torch.dtype,
    ) -> None:
        self.settings, self._dtype = settings, dtype
        self._coefficients = polynomials(settings.newton_schulz, settings.newton_schulz_steps)
        stacks: dict[tuple[int, int], list[tuple[nn.Parameter, slice]]] = {}
        for parameter, rows in matrices:
            assert sum(rows) == parameter.shape[0]
            start = 0
            for count in rows:
                part = (parameter, slice(start, start + count))
                stacks.setdefault((count, parameter.shape[1]), []).append(part)
                start += count
        self._stacks = sorted(stacks.items(), key=lambda item: item[0])
        self.momenta = [torch.zeros(len(parts), *shape, device=parts[0][0].device) for shape, parts in self._stacks]

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the parameters' gradients."""
        lr, decay = self.settings.muon_lr * rates.factor, self.settings.muon_weight_decay
        for ((rows, columns), parts), momentum in zip(self._stacks, self.momenta, strict=True):
            grads = torch.stack([p.grad[place] for p, place in parts if p.grad is not None])
            momentum.lerp_(grads, 1 - rates.momentum)
            updates = orthogonalise(grads.lerp_(momentum, rates.momentum), self._coefficients, self._dtype).float()
            scale = -lr * math.sqrt(max(1.0, rows / columns))
            for (parameter, place), update in zip(parts, updates, strict=True):
                if decay:
                    parameter[place].mul_(1 - lr * decay)
                parameter[place].add_(update, alpha=scale)


class Trainable(Protocol):
    """What is optimised: a `Decoder`, or the pieces of one that a process holds."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of its products."""
        ...

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """(name, parameter) of all."""
        ...

    def fused_rows(self) -> dict[str, list[int]]:
        """The rows of each matrix inside a fused parameter, by the parameter's last name."""
        ...

    def freeze_block_gains(self) -> None:
        """Keep the blocks' gains at one."""
        ...


Matrices = list[tuple[nn.Parameter, list[int]]]


class MatrixRule(Protocol):
    """The rule for matrices: `Muon`, or one whose work several processes share."""

    momenta: list[Tensor]

    def step(self, rates: Rates) -> None:
        """One update."""
        ...


class Optimisers:
    """All of a decoder's parameters, each with its rule. `tensors` and `load` are its whole state.

    Newton-Schulz multiplies in the type that the model's own products have: the recipe's precision decides both.
    """

    def __init__(
        self,
        model: Trainable,
        settings: Optimiser,
        rule: Callable[[Matrices, Optimiser, torch.dtype], MatrixRule] = Muon,
    ) -> None:
        if not settings.learn_block_gains:
            model.freeze_block_gains()
        fused = model.fused_rows()
        matrices, gains, tables = [], [], []
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                gains += [parameter] if parameter.requires_grad else []
            elif name.endswith("embedding"):
                tables.append(parameter)
            else:
                matrices.append((parameter, fused.get(name.rsplit(".", 1)[-1], [parameter.shape[0]])))
        # A gradient of 1e-8 is nothing in float16, and only its direction counts.
        products = torch.float32 if model.dtype == torch.float16 else model.dtype
        self.muon = rule(matrices, settings, products)
        self.matrices = [parameter for parameter, _ in matrices]
        groups = [
            {"params": tables, "lr": settings.embedding_lr, "weight_decay": settings.embedding_weight_decay},
            {"params": gains, "lr": settings.gain_lr, "weight_decay": 0.0},
        ]
        # A stage in the middle of a pipeline has matrices alone; torch wants a group all the same.
        groups = [group for group in groups if group["params"]] or groups[:1]
        self._peaks = [group["lr"] for group in groups]
        betas = (settings.beta1, settings.beta2)
        self._adam = torch.optim.AdamW(groups, betas=betas, eps=settings.epsilon, fused=True)
        self.plain = [p for group in groups for p in group["params"]]
        for parameter in self.plain:
            self._adam.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def step(self, rates: Rates) -> None:
        """One update of every parameter from its gradient."""
        self.muon.step(rates)
        for group, peak in zip(self._adam.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rates.factor
        self._adam.step()

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name; the live ones, not copies."""
        named = {f"muon.{i}": t for i, t in enumerate(self.muon.momenta)}
        for i, parameter in enumerate(self.plain):
            named |= {f"adam.{i}.{key}": t for key, t in self._adam.state[parameter].items()}
        return named

    @torch.no_grad()
    def load(self, named: Mapping[str, Tensor]) -> None:
        """Take over a state that `tensors` gave."""
        for name, tensor in self.tensors().items():
            tensor.copy_(named[name])
