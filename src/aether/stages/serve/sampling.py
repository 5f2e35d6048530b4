"""Choosing the next token of every row at once: greedy, temperature and nucleus (top-p, arXiv 1904.09751).

A row's randomness is its own: one uniform number per token from the request's generator, turned into a token by the
inverse of the cumulative distribution. So a seed gives the same tokens whoever shares the batch, as far as the logits
are the same. No top-k, no penalties, no beams.

Shapes: R rows, V vocabulary, k candidates.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

_CANDIDATES = 256
"""How many of the most probable tokens a nucleus is sought in before the whole vocabulary is sorted. Assumed."""


@dataclass(frozen=True)
class Sampling:
    """How one request chooses. `temperature` 0 is greedy; `seed` None draws one."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    source: random.Random = field(default_factory=random.Random, compare=False)

    @classmethod
    def of(cls, temperature: float, top_p: float, seed: int | None) -> "Sampling":
        """With its own generator."""
        return cls(temperature, top_p, seed, random.Random(seed))


def choose(logits_RV: Tensor, samplings: Sequence[Sampling]) -> list[int]:
    """One token for each row. `logits_RV` is float32 on the CPU."""
    tokens: list[int] = logits_RV.argmax(dim=-1).tolist()
    drawn = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if not drawn:
        return tokens
    rows_RV = logits_RV if len(drawn) == len(tokens) else logits_RV[drawn]
    temperature_R1 = torch.tensor([[samplings[row].temperature] for row in drawn])
    uniform_R1 = torch.tensor([[samplings[row].source.random()] for row in drawn], dtype=torch.float64)
    # Subtracting the largest logit first keeps a tiny temperature from overflowing.
    scaled_RV = (rows_RV - rows_RV.amax(dim=-1, keepdim=True)) / temperature_R1
    probability_RV = torch.softmax(scaled_RV, dim=-1)
    nucleus = [index for index, row in enumerate(drawn) if samplings[row].top_p < 1]
    chosen = _invert(probability_RV, uniform_R1)
    if nucleus:
        top_p_R1 = torch.tensor([[samplings[drawn[index]].top_p] for index in nucleus], dtype=torch.float64)
        chosen[nucleus] = _nucleus(probability_RV[nucleus], top_p_R1, uniform_R1[nucleus])
    for row, token in zip(drawn, chosen.tolist(), strict=True):
        tokens[row] = token
    return tokens


def _invert(weight_RV: Tensor, uniform_R1: Tensor) -> Tensor:
    """The index at which the running sum of unnormalised weights passes `uniform` of their total."""
    total_RV = weight_RV.cumsum(dim=-1, dtype=torch.float64)
    last_R1 = total_RV[:, -1:]
    # Rounding may make the product equal to the total, which would fall on a token of weight zero.
    aim_R1 = torch.minimum(uniform_R1 * last_R1, torch.nextafter(last_R1, torch.zeros_like(last_R1)))
    return torch.searchsorted(total_RV, aim_R1, right=True).squeeze(-1)


def _nucleus(probability_RV: Tensor, top_p_R1: Tensor, uniform_R1: Tensor) -> Tensor:
    """Draw from the smallest set of most probable tokens whose sum reaches top_p."""
    vocabulary = probability_RV.shape[-1]
    best_Rk, token_Rk = probability_RV.topk(min(_CANDIDATES, vocabulary), dim=-1)
    sum_Rk = best_Rk.cumsum(dim=-1, dtype=torch.float64)
    if best_Rk.shape[-1] < vocabulary and bool((sum_Rk[:, -1:] < top_p_R1).any()):
        best_Rk, token_Rk = probability_RV.sort(dim=-1, descending=True)
        sum_Rk = best_Rk.cumsum(dim=-1, dtype=torch.float64)
    outside_Rk = sum_Rk - best_Rk >= top_p_R1
    outside_Rk[:, 0] = False
    chosen_R = _invert(best_Rk.masked_fill(outside_Rk, 0.0), uniform_R1)
    return token_Rk.gather(-1, chosen_R.unsqueeze(-1)).squeeze(-1)
