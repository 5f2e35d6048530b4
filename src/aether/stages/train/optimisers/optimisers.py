"""All of a decoder's learnt parameters, each with its rule, as `optimiser` in the recipe says."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from aether.stages.train.optimisers.lion import Lion
from aether.stages.train.optimisers.muon import Muon
from aether.stages.train.optimisers.rule import Rates, Rule
from aether.stages.train.optimisers.schedule_free import ScheduleFree
from aether.stages.train.optimisers.soap import Soap
from aether.stages.train.optimisers.torchs import TorchRule, adafactor, adamw
from aether.stages.train.optimisers.weights import Trainable, Weight, weights_of
from aether.stages.train.recipe_optimiser import Optimiser


class Optimisers:
    """Every rule of a run. `tensors` and `load` are their whole state.

    `muon` makes the rule of that name: Newton-Schulz multiplies in the type that the model's own products have. Raises InputError
    for a group of weights that matches none.
    """

    def __init__(
        self,
        model: Trainable,
        settings: Optimiser,
        muon: Callable[[list[Weight], Optimiser, torch.dtype], Rule] = Muon,
    ) -> None:
        if not settings.learn_block_gains:
            model.freeze_block_gains()
        self.weights = weights_of(model, settings)
        if settings.kind in ("muon", "soap"):
            matrices = [w for w in self.weights if w.kind in ("matrices", "routers")]
            rule = muon(matrices, settings, model.dtype) if settings.kind == "muon" else Soap(matrices, settings)
            self.matrices = [w.parameter for w in matrices]
            rest = [w for w in self.weights if w.kind not in ("matrices", "routers")]
            # A stage in the middle of a pipeline may have nothing but matrices.
            self.rules: dict[str, Rule] = {settings.kind: rule} | ({"adam": adamw(rest, settings)} if rest else {})
        else:
            name = "adam" if settings.kind == "adamw" else settings.kind
            self.matrices, self.rules = [], {name: _for_all(self.weights, settings)}

    @property
    def plain(self) -> list[nn.Parameter]:
        """The parameters that AdamW updates."""
        rule = self.rules.get("adam")
        return rule.parameters if isinstance(rule, TorchRule) else []

    def step(self, rates: Rates) -> None:
        """One update of every parameter from its gradient."""
        for rule in self.rules.values():
            rule.step(rates)

    def finish(self) -> None:
        """After the last update: put in the parameters what is scored and exported, where that is not what was updated."""
        for rule in self.rules.values():
            if isinstance(rule, ScheduleFree):
                rule.average()

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name; the live ones, not copies."""
        return {f"{kind}.{name}": t for kind, rule in self.rules.items() for name, t in rule.tensors().items()}

    @torch.no_grad()
    def load(self, named: Mapping[str, Tensor]) -> None:
        """Take over a state that `tensors` gave."""
        for name, tensor in self.tensors().items():
            tensor.copy_(named[name])


def _for_all(weights: list[Weight], settings: Optimiser) -> Rule:
    """The one rule of a kind that has no other for some weights."""
    if settings.kind == "adamw":
        return adamw(weights, settings)
    if settings.kind == "adafactor":
        return adafactor(weights)
    return Lion(weights, settings) if settings.kind == "lion" else ScheduleFree(weights, settings)
