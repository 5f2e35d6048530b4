"""What every rule is to the loop: one update from the gradients, and a state of plain tensors."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Rates:
    """What an update uses: the schedule's share of every peak rate, and Muon's momentum."""

    factor: float
    momentum: float


class Rule(Protocol):
    """Moves the weights that it was made with."""

    def step(self, rates: Rates) -> None:
        """One update from the parameters' gradients."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name; the live ones, there from the beginning."""
        ...
