"""Muon for matrices: momentum, then an update whose singular values are all near one.

Follows Keller Jordan's post (2024) as torch.optim.Muon does (tested equal), with same-shape matrices of all layers
stacked, so that each Newton-Schulz product is one batched product, of as many matrices as a `portion` has. Holds no randomness. Does not cover
sharded parameters.

Shapes: S stacked matrices, R rows, C columns.
"""

import math

import torch
from torch import Tensor

from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.stacks import Stack, stacks_of
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.recipe_optimiser import Optimiser

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


class Muon:
    """Momentum and update of matrices, by stacks of one shape; Newton-Schulz products in `dtype`.

    Matrices that are fused in one parameter are orthogonalised apart: for query, key and value 1.759 against 1.776 nats at 30
    CPU-seconds (measured here, one seed).
    """

    def __init__(self, weights: list[Weight], settings: Optimiser, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._coefficients = polynomials(settings.newton_schulz, settings.newton_schulz_steps)
        self._stacks = stacks_of(weights)
        self.momenta = [stack.zeros(*stack.shape) for stack in self._stacks]

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the parameters' gradients."""
        for stack, momenta in zip(self._stacks, self.momenta, strict=True):
            for place, some in stack.portions():
                self._move(some, momenta[place], rates)

    def _move(self, stack: Stack, momentum_SRC: Tensor, rates: Rates) -> None:
        grads, (rows, columns) = stack.gradients(), stack.shape
        momentum_SRC.lerp_(grads, 1 - rates.momentum)
        updates = orthogonalise(grads.lerp_(momentum_SRC, rates.momentum), self._coefficients, self._dtype)
        stack.move(updates, rates.factor, math.sqrt(max(1.0, rows / columns)))

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name."""
        return {str(i): momentum for i, momentum in enumerate(self.momenta)}
