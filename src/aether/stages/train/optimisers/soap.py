"""SOAP for matrices: Adam in the eigenbasis of Shampoo's preconditioners (Vyas et al., arXiv 2409.11321, algorithm 3).

As in the authors' code the first gradient only makes the bases, and later bases come from one power iteration and a QR
decomposition, at which the second moments are put in the new order of eigenvalues. Both sides of every matrix are preconditioned.

Shapes: S stacked matrices, R rows, C columns.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.optimisers.stacks import Stack, stacks_of
from aether.stages.train.optimisers.weights import Weight
from aether.stages.train.recipe_optimiser import Optimiser


@dataclass(frozen=True)
class _State:
    momentum_SRC: Tensor
    squares_SRC: Tensor
    """Second moments, in the eigenbases."""
    left_SRR: Tensor
    right_SCC: Tensor
    left_basis_SRR: Tensor
    right_basis_SCC: Tensor

    def portion(self, place: slice) -> "_State":
        """That of some of the matrices, in the same memory."""
        return _State(*(tensor[place] for tensor in vars(self).values()))

    def turned(self, matrices_SRC: Tensor) -> Tensor:
        """Into the eigenbases."""
        return self.left_basis_SRR.mT @ matrices_SRC @ self.right_basis_SCC

    def turned_back(self, matrices_SRC: Tensor) -> Tensor:
        """Out of them."""
        return self.left_basis_SRR @ matrices_SRC @ self.right_basis_SCC.mT


class Soap:
    """Momentum, second moments and two preconditioners with their bases for each stack of one shape."""

    def __init__(self, weights: list[Weight], settings: Optimiser) -> None:
        self._settings, self._stacks = settings, stacks_of(weights)
        self._steps = torch.zeros((), dtype=torch.float64)
        self._states = [self._state_of(stack) for stack in self._stacks]

    @staticmethod
    def _state_of(stack: Stack) -> _State:
        rows, columns = stack.shape
        sides = ((rows, columns), (rows, columns), (rows, rows), (columns, columns), (rows, rows), (columns, columns))
        return _State(*(stack.zeros(*side) for side in sides))

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the parameters' gradients; the very first moves nothing."""
        self._steps += 1
        updates = int(self._steps.item()) - 1
        for stack, states in zip(self._stacks, self._states, strict=True):
            for place, some in stack.portions():
                self._step(some, states.portion(place), updates, rates.factor)

    def _step(self, stack: Stack, state: _State, updates: int, factor: float) -> None:
        grads = stack.gradients()
        if updates:
            self._move(stack, state, grads, updates, factor)
        weight = 1 - self._settings.beta2
        state.left_SRR.lerp_(grads @ grads.mT, weight)
        state.right_SCC.lerp_(grads.mT @ grads, weight)
        if not updates:
            state.left_basis_SRR.copy_(_eigenbasis(state.left_SRR))
            state.right_basis_SCC.copy_(_eigenbasis(state.right_SCC))
        elif updates % self._settings.soap_every_steps == 0:
            _renew(state.left_basis_SRR, state.left_SRR, state.squares_SRC.mT)
            _renew(state.right_basis_SCC, state.right_SCC, state.squares_SRC)

    def _move(self, stack: Stack, state: _State, grads_SRC: Tensor, updates: int, factor: float) -> None:
        beta1, beta2 = self._settings.beta1, self._settings.beta2
        state.momentum_SRC.lerp_(grads_SRC, 1 - beta1)
        state.squares_SRC.lerp_(state.turned(grads_SRC).square_(), 1 - beta2)
        change = state.turned(state.momentum_SRC) / state.squares_SRC.sqrt().add_(self._settings.epsilon)
        corrected = math.sqrt(1 - beta2**updates) / (1 - beta1**updates)
        stack.move(state.turned_back(change), factor, corrected)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by name."""
        named = {f"{i}.{name}": t for i, state in enumerate(self._states) for name, t in vars(state).items()}
        return named | {"steps": self._steps}


def _eigenbasis(matrices_SNN: Tensor) -> Tensor:
    """Eigenvectors as columns, of the largest eigenvalue first."""
    return torch.linalg.eigh(matrices_SNN).eigenvectors.flip(-1)


def _renew(basis_SNN: Tensor, matrices_SNN: Tensor, squares_SMN: Tensor) -> None:
    """One power iteration from the basis before, in place, columns and `squares_SMN` in the new order of eigenvalues."""
    product = matrices_SNN @ basis_SNN
    order_S1N = (basis_SNN * product).sum(-2, keepdim=True).argsort(-1, descending=True)
    basis_SNN.copy_(torch.linalg.qr(product.gather(-1, order_S1N.expand_as(product))).Q)
    squares_SMN.copy_(squares_SMN.gather(-1, order_S1N.expand_as(squares_SMN)))
