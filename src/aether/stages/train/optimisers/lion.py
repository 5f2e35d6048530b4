"""Lion: the sign of an interpolation of momentum and gradient (Chen et al., arXiv 2302.06675, algorithm 2)."""

import torch
from torch import Tensor

from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.recipe_optimiser import Optimiser


class Lion:
    """One momentum for each weight."""

    def __init__(self, weights: list[Weight], settings: Optimiser) -> None:
        self._weights, self._betas = weights, (settings.beta1, settings.lion_beta2)
        self._momenta = [torch.zeros_like(weight.parameter) for weight in weights]

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the parameters' gradients."""
        beta1, beta2 = self._betas
        for weight, momentum in zip(self._weights, self._momenta, strict=True):
            grad, lr = weight.parameter.grad, weight.lr * rates.factor
            if grad is None:
                continue
            if weight.weight_decay:
                weight.parameter.mul_(1 - lr * weight.weight_decay)
            weight.parameter.add_(momentum.lerp(grad, 1 - beta1).sign_(), alpha=-lr)
            momentum.lerp_(grad, 1 - beta2)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name."""
        return {str(i): momentum for i, momentum in enumerate(self._momenta)}
