"""Schedule-free AdamW: an average of the iterates instead of a decaying rate (Defazio et al., arXiv 2405.15682, algorithm 1).

The parameters hold y, where gradients are taken; z is the sequence of updates and x their average, y = (1 - beta1) z + beta1 x.
x is what is evaluated: `average` puts it in the parameters at the end. The weight of an iterate in the average is the square of
the largest rate so far, as in the authors' code: those of the warm-up count less, and those after a cut of the rate do not.
A skipped update is none: y, z, x and their weights stay.
"""

import torch
from torch import Tensor

from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.recipe_optimiser import Optimiser


class ScheduleFree:
    """z and second moments for each weight; the counts in float64."""

    def __init__(self, weights: list[Weight], settings: Optimiser) -> None:
        self._weights, self._settings = weights, settings
        self._z = [weight.parameter.detach().clone() for weight in weights]
        self._squares = [torch.zeros_like(weight.parameter) for weight in weights]
        self._counts = torch.zeros(3, dtype=torch.float64)
        """Updates, largest share of the peak rate, sum of the iterates' weights."""

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the parameters' gradients."""
        steps, largest, total = self._counts.tolist()
        steps, largest = steps + 1, max(largest, rates.factor)
        total += largest**2
        self._counts.copy_(torch.tensor((steps, largest, total), dtype=torch.float64))
        share = largest**2 / total if total else 0.0
        beta1, beta2 = self._settings.beta1, self._settings.beta2
        for weight, z, squares in zip(self._weights, self._z, self._squares, strict=True):
            y, grad, lr = weight.parameter, weight.parameter.grad, weight.lr * rates.factor
            if grad is None:
                continue
            squares.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            change = grad / (squares / (1 - beta2**steps)).sqrt_().add_(self._settings.epsilon)
            if weight.weight_decay:
                change.add_(y, alpha=weight.weight_decay)
            y.lerp_(z, share).add_(change, alpha=lr * (beta1 * (1 - share) - 1))
            z.sub_(change, alpha=lr)

    @torch.no_grad()
    def average(self) -> None:
        """Put x in the parameters. No update may follow."""
        for weight, z in zip(self._weights, self._z, strict=True):
            weight.parameter.lerp_(z, 1 - 1 / self._settings.beta1)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name."""
        named = {f"z.{i}": z for i, z in enumerate(self._z)}
        return named | {f"squares.{i}": t for i, t in enumerate(self._squares)} | {"counts": self._counts}
