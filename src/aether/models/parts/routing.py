"""Which tokens experts take where tokens do not simply take their best: a capacity that drops, and experts that choose.

Capacity (Switch, arXiv 2101.03961, section 2.2): an expert takes the first tokens that want it and no more. Expert choice (arXiv
2202.09368, section 3.2): each expert takes the tokens that score highest with it. Both look at all tokens of a pass, so both are
for training passes. Expert choice looks at later tokens too, which a causal model has not when it decodes. Every other pass, scoring and
decoding alike, therefore takes by a cutoff: a token goes to the experts whose score is at least the lowest score that they took in
training, smoothed over updates. That depends on nothing but the token.

Shapes: N tokens, E experts, A experts that a token takes in the mean, M pairs of a token and an expert, sorted by expert.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

CUTOFF_WEIGHT = 0.9
"""Weight of the past in an expert's cutoff at each update (assumed: about ten updates)."""


class Pairs(NamedTuple):
    """Tokens by the experts that take them."""

    token_M: Tensor
    weight_M: Tensor
    counts_E: Tensor


def capacity(tokens: int, active: int, count: int, factor: float) -> int:
    """Tokens that one expert takes at most (arXiv 2101.03961, equation 3; `active` choices of each token)."""
    return max(1, math.ceil(factor * tokens * active / count))


def first_of_each(counts_E: Tensor, most: int) -> Tensor:
    """Which of M choices, sorted by expert and then by token, are among the first `most` of their expert: [M], boolean."""
    begins_E = counts_E.cumsum(0) - counts_E
    begin_M = begins_E.repeat_interleave(counts_E)
    return torch.arange(begin_M.shape[0], device=counts_E.device) - begin_M < most


def taken_by_experts(scores_NE: Tensor, active: int) -> tuple[Pairs, Tensor]:
    """(the N A / E tokens that score highest with each expert, the lowest score [E] that each took)."""
    tokens, count = scores_NE.shape
    most = -(-tokens * active // count)
    weight_EM, token_EM = scores_NE.t().topk(most, dim=-1)
    counts_E = torch.full((count,), most, device=scores_NE.device)
    return Pairs(token_EM.flatten(), weight_EM.flatten(), counts_E), weight_EM[:, -1].detach()


def taken_by_cutoff(scores_NE: Tensor, cutoff_E: Tensor) -> Pairs:
    """The tokens that reach each expert's cutoff."""
    taken_EN = (scores_NE >= cutoff_E).t()
    expert_M, token_M = taken_EN.nonzero(as_tuple=True)
    return Pairs(token_M, scores_NE[token_M, expert_M], taken_EN.sum(1))


@dataclass
class Tally:
    """What a layer's router did since the last update: sums over tokens, on the device."""

    wanted_E: Tensor
    """Tokens that each expert was to have, dropped ones included."""
    dropped: Tensor
    entropy: Tensor
    square: Tensor
    tokens: int = 0

    @classmethod
    def empty(cls, count: int, device: torch.device | str = "cpu") -> "Tally":
        """Nothing yet."""
        dropped, entropy, square = torch.zeros(3, device=device)
        return cls(torch.zeros(count, device=device), dropped, entropy, square)

    @torch.no_grad()
    def add(self, logits_NE: Tensor, scores_NE: Tensor, counts_E: Tensor, dropped: Tensor) -> "Tally":
        """With one more pass."""
        shares_NE = scores_NE / scores_NE.sum(-1, keepdim=True).clamp_min(1e-20)
        return Tally(
            self.wanted_E.to(counts_E.device) + counts_E,
            self.dropped.to(counts_E.device) + dropped,
            self.entropy.to(counts_E.device) + torch.special.entr(shares_NE).sum(),
            self.square.to(counts_E.device) + logits_NE.logsumexp(-1).square().sum(),
            self.tokens + logits_NE.shape[0],
        )


def statistics(tallies: list[Tally]) -> dict[str, float]:
    """The routers of all layers in five numbers.

    `load_entropy`: of the experts' shares of the choices over its largest value, mean over layers (1: equal loads).
    `load_max_over_mean`: the fullest expert over the mean, largest over layers. `dropped_share`: choices beyond a capacity.
    `router_entropy`: of a token's scores over its largest value, mean. `router_z`: mean of logsumexp(logits)^2 (arXiv 2202.08906).
    """
    loads_LE = torch.stack([one.wanted_E for one in tallies]).double().cpu()
    shares_LE = loads_LE / loads_LE.sum(1, keepdim=True)
    most = math.log(loads_LE.shape[1])
    tokens = sum(one.tokens for one in tallies)
    return {
        "load_entropy": round(float(torch.special.entr(shares_LE).sum(1).mean()) / most, 6),
        "load_max_over_mean": round(float(shares_LE.max()) * loads_LE.shape[1], 4),
        "dropped_share": round(sum(float(one.dropped) for one in tallies) / float(loads_LE.sum()), 6),
        "router_entropy": round(sum(float(one.entropy) for one in tallies) / tokens / most, 6),
        "router_z": round(sum(float(one.square) for one in tallies) / tokens, 6),
    }
