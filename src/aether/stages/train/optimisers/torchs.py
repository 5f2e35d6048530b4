"""AdamW and Adafactor: torch's own, with their state made before the first update so that a checkpoint can be loaded into it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.recipe_optimiser import Optimiser


class TorchRule:
    """An optimiser of torch over weights, those of one rate and decay in one group. `start`: the state of a parameter."""

    def __init__(
        self,
        weights: list[Weight],
        make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        start: Callable[[nn.Parameter], dict[str, Tensor]],
    ) -> None:
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for weight in weights:
            groups.setdefault((weight.lr, weight.weight_decay), []).append(weight.parameter)
        self._peaks = [lr for lr, _ in groups]
        self._optimiser = make([{"params": ps, "lr": lr, "weight_decay": wd} for (lr, wd), ps in groups.items()])
        self.parameters = [weight.parameter for weight in weights]
        for parameter in self.parameters:
            self._optimiser.state[parameter] = start(parameter)

    def step(self, rates: Rates) -> None:
        """One update from the parameters' gradients."""
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rates.factor
        self._optimiser.step()

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name."""
        states = [self._optimiser.state[parameter] for parameter in self.parameters]
        return {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}


def adamw(weights: list[Weight], settings: Optimiser) -> TorchRule:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101), fused."""
    betas = (settings.beta1, settings.beta2)

    def start(parameter: nn.Parameter) -> dict[str, Tensor]:
        return {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }

    return TorchRule(weights, lambda g: torch.optim.AdamW(g, betas=betas, eps=settings.epsilon, fused=True), start)


def adafactor(weights: list[Weight]) -> TorchRule:
    """Adafactor (Shazeer and Stern, arXiv 1804.04235) with its paper's constants: no momentum, and rates relative to a weight's size."""

    def start(parameter: nn.Parameter) -> dict[str, Tensor]:
        state = {"step": torch.zeros(())}
        if parameter.ndim < 2:
            return state | {"variance": torch.zeros_like(parameter)}
        rows, columns = parameter.shape[-2:]
        factors = {"row_var": (rows, 1), "col_var": (1, columns)}
        return state | {name: parameter.new_zeros(*parameter.shape[:-2], *shape) for name, shape in factors.items()}

    return TorchRule(weights, torch.optim.Adafactor, start)
