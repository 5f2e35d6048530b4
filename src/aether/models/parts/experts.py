"""Mixture of experts: each token goes to the few experts that its router scores highest, and to the shared ones.

Routing by softmax (Mixtral, arXiv 2401.04088) or by sigmoid (DeepSeek-V3, arXiv 2412.19437, section 2.1.2); the load-balance loss of
Switch (arXiv 2101.03961, equations 4 to 6) pooled over layers as transformers pools it; the router z-loss of ST-MoE (arXiv 2202.08906,
equation 5); or no loss but a bias that only chooses (arXiv 2408.15664). Tokens are sorted by expert, and each projection is one grouped
product (`torch.nn.functional.grouped_mm`). Dropless unless a capacity is asked for; experts that choose tokens are `routing`'s too.

Shapes: N tokens, C hidden size, E experts, A active experts, M = N * A, F expert size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.config_parts import Mixture
from aether.models.parts.activations import activate
from aether.models.parts.feed_forward import FeedForward
from aether.models.parts.routing import (
    CUTOFF_WEIGHT,
    Tally,
    capacity,
    first_of_each,
    taken_by_cutoff,
    taken_by_experts,
)
from aether.models.seams import as_is


@dataclass(frozen=True)
class Routed:
    """What one layer's router did with N tokens."""

    logits_NE: Tensor
    scores_NE: Tensor
    counts_E: Tensor
    """Tokens of each expert, dropped ones included; they add up to N * A unless experts took them by a cutoff."""
    dropped: Tensor
    """How many of them an expert's capacity left out, []."""


class RouterLog:
    """What the routers of one pass did, layer by layer. A class of its own: FSDP2 hands a layer copies of lists."""

    def __init__(self) -> None:
        self.layers: list[Routed] = []

    def append(self, one: Routed) -> None:
        """Of the next layer."""
        self.layers.append(one)


def route(logits_NE: Tensor, bias_E: Tensor | None, mixture: Mixture) -> tuple[Tensor, Tensor, Tensor]:
    """(scores [N, E], chosen experts [N, A], their weights [N, A]), in float32. The bias chooses; it weighs nothing."""
    scores_NE = logits_NE.softmax(-1) if mixture.router == "softmax" else logits_NE.sigmoid()
    wanted_NE = scores_NE if bias_E is None else scores_NE + bias_E
    if mixture.active_groups < mixture.groups:
        wanted_NE = _within_groups(wanted_NE, mixture)
    chosen_NA = wanted_NE.topk(mixture.active, dim=-1).indices
    weights_NA = scores_NE.gather(-1, chosen_NA)
    if mixture.normalise:
        # Sigmoids may all be near zero: DeepSeek-V3's class adds the same.
        weights_NA = weights_NA / (weights_NA.sum(-1, keepdim=True) + (0.0 if mixture.router == "softmax" else 1e-20))
    return scores_NE, chosen_NA, weights_NA * mixture.scale


def _within_groups(wanted_NE: Tensor, mixture: Mixture) -> Tensor:
    """Scores with those of experts outside the best groups at minus infinity (arXiv 2412.19437, section 2.1.2)."""
    by_group = wanted_NE.view(-1, mixture.groups, mixture.count // mixture.groups)
    best_NG = by_group.topk(2, dim=-1).values.sum(-1).topk(mixture.active_groups, dim=-1).indices
    outside = torch.ones(by_group.shape[:2], dtype=torch.bool, device=wanted_NE.device).scatter_(1, best_NG, False)
    return by_group.masked_fill(outside[..., None], float("-inf")).flatten(1)


def grouped(x_MI: Tensor, matrices_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Rows up to ends[0] times the first matrix, and so on: [M, O]. `matrices_EOI` as nn.Linear keeps them."""
    if x_MI.dtype == torch.float64:
        # grouped_mm has no float64.
        begins = [0, *ends_E.tolist()]
        rows = zip(begins[:-1], begins[1:], matrices_EOI, strict=True)
        return torch.cat([F.linear(x_MI[begin:end], matrix) for begin, end, matrix in rows])
    return F.grouped_mm(x_MI, matrices_EOI.mT, offs=ends_E)


def through(
    kind: str,
    rows_MC: Tensor,
    matrices: tuple[Tensor, Tensor],
    counts_E: Tensor,
    biases: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Rows sorted by expert, each through its own: [M, C]. `matrices` and `biases`: up and down of the experts, below each other."""
    ends_E, count, width = counts_E.cumsum(0).to(torch.int32), counts_E.shape[0], rows_MC.shape[-1]
    up_EOC = matrices[0].to(rows_MC.dtype).view(count, -1, width)
    down_ECF = matrices[1].to(rows_MC.dtype).view(count, width, -1)
    up_MO = _biased(grouped(rows_MC, up_EOC, ends_E), None if biases is None else biases[0], counts_E)
    out_MC = grouped(activate(kind, up_MO).contiguous(), down_ECF, ends_E)
    return _biased(out_MC, None if biases is None else biases[1], counts_E)


def _biased(rows_MO: Tensor, bias: Tensor | None, counts_E: Tensor) -> Tensor:
    """Each row with the bias of its expert added."""
    if bias is None:
        return rows_MO
    bias_EO = bias.to(rows_MO.dtype).view(counts_E.shape[0], -1)
    return rows_MO + bias_EO.repeat_interleave(counts_E, dim=0, output_size=rows_MO.shape[0])


class MixtureOfExperts(nn.Module):
    """The feed-forward part of one layer. Experts lie below each other in one matrix, so that the optimiser sees matrices."""

    def __init__(self, config: DecoderConfig, mixture: Mixture) -> None:
        super().__init__()
        self.mixture, self.kind, self.size, self.gated = mixture, config.activation, config.mlp_size, config.gated
        width, count = config.hidden_size, mixture.count
        self.router = nn.Parameter(torch.empty(count, width))
        self.router_bias = nn.Parameter(torch.zeros(count), requires_grad=False) if mixture.bias_rate else None
        chooses = mixture.router == "expert_choice"
        self.router_cutoff = nn.Parameter(torch.full((count,), 1 / count), requires_grad=False) if chooses else None
        name = "expert_gate_up" if self.gated else "expert_up"
        self.register_parameter(name, nn.Parameter(torch.empty(count * self.size * (2 if self.gated else 1), width)))
        self.expert_down = nn.Parameter(torch.empty(count * width, self.size))
        biased = config.bias
        self.router_shift = nn.Parameter(torch.zeros(count)) if biased else None
        """A learnt bias of the logits; `router_bias` is none of them and chooses alone."""
        inner = self.size * (2 if self.gated else 1)
        self.expert_up_bias = nn.Parameter(torch.zeros(count * inner)) if biased else None
        self.expert_down_bias = nn.Parameter(torch.zeros(count * width)) if biased else None
        self.shared = FeedForward(config, mixture.shared_size) if mixture.shared_size else None
        self.total = as_is
        """Counts of this process to those of all that share a batch."""
        self.elsewhere: nn.Module | None = None
        """(rows sorted by expert, counts) to what experts make of them, where several processes hold the experts."""
        self.tally = Tally.empty(count)
        self.lowest: list[Tensor] = []
        """What `taken_by_experts` took least, of each pass since the last update."""

    def forward(self, x_BTC: Tensor, routed: RouterLog, learning: bool = False) -> Tensor:
        """x [..., C] to [..., C]; what the router did is added to `routed`. `learning`: a training pass."""
        x_NC = x_BTC.flatten(0, -2)
        shift = None if self.router_shift is None else self.router_shift.float()
        logits_NE = F.linear(x_NC.float(), self.router.float(), shift)
        form = self._chosen if self.mixture.router == "expert_choice" else self._taken
        out_NC = form(x_NC, logits_NE, routed, learning)
        if self.shared is not None:
            out_NC = out_NC + self.shared(x_NC)
        return out_NC.view(x_BTC.shape)

    def _taken(self, x_NC: Tensor, logits_NE: Tensor, routed: RouterLog, learning: bool) -> Tensor:
        """Each token's best experts; in training passes as far as their capacity goes."""
        mixture = self.mixture
        scores_NE, chosen_NA, weights_NA = route(logits_NE, self.router_bias, mixture)
        wanted_E = counts_E = torch.bincount(chosen_NA.flatten(), minlength=mixture.count)
        order_M = chosen_NA.flatten().argsort(stable=True)
        if learning and mixture.capacity_factor is not None:
            most = capacity(x_NC.shape[0], mixture.active, mixture.count, mixture.capacity_factor)
            order_M, counts_E = order_M[first_of_each(wanted_E, most)], wanted_E.clamp_max(most)
        # Copies first, then each at most once: each row has one gradient, so no sum depends on threads.
        copies_MC = x_NC[:, None].expand(-1, mixture.active, -1).reshape(-1, x_NC.shape[-1])
        if self.elsewhere is None:
            out_MC = through(self.kind, copies_MC[order_M], self.matrices(), counts_E, self.biases())
        else:
            out_MC = self.elsewhere(copies_MC[order_M], counts_E)
        routed.append(Routed(logits_NE, scores_NE, self.total(wanted_E), wanted_E.sum() - counts_E.sum()))
        if order_M.shape[0] == copies_MC.shape[0]:
            back_MC = out_MC[order_M.argsort()]
        else:
            back_MC = torch.zeros_like(copies_MC).index_copy(0, order_M, out_MC)
        back_NAC = back_MC.view(-1, mixture.active, x_NC.shape[-1])
        return (back_NAC * weights_NA[..., None].to(back_NAC.dtype)).sum(1)

    def _chosen(self, x_NC: Tensor, logits_NE: Tensor, routed: RouterLog, learning: bool) -> Tensor:
        """Each expert's best tokens; beyond training passes those that reach its cutoff."""
        assert self.router_cutoff is not None
        scores_NE = logits_NE.softmax(-1)
        if learning:
            pairs, lowest_E = taken_by_experts(scores_NE, self.mixture.active)
            self.lowest.append(lowest_E)
        else:
            pairs = taken_by_cutoff(scores_NE, self.router_cutoff)
        routed.append(Routed(logits_NE, scores_NE, pairs.counts_E, pairs.counts_E.new_zeros(())))
        out_MC = through(self.kind, x_NC.index_select(0, pairs.token_M), self.matrices(), pairs.counts_E)
        weighed_MC = out_MC * (pairs.weight_M * self.mixture.scale)[:, None].to(out_MC.dtype)
        return torch.zeros_like(x_NC).index_add(0, pairs.token_M, weighed_MC)

    def matrices(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Up (with the gate's) and down of all experts."""
        up = self.expert_gate_up if self.gated else self.expert_up
        assert isinstance(up, nn.Parameter)
        return up, self.expert_down

    def biases(self) -> tuple[nn.Parameter, nn.Parameter] | None:
        """Those of up and down of all experts."""
        if self.expert_up_bias is None or self.expert_down_bias is None:
            return None
        return self.expert_up_bias, self.expert_down_bias

    def count(self, one: Routed) -> None:
        """Remember what a training pass did here."""
        self.tally = self.tally.add(one.logits_NE, one.scores_NE, one.counts_E, one.dropped)

    @torch.no_grad()
    def settle(self, applied: bool) -> Tally:
        """After an update: move the bias by its rate towards equal loads (arXiv 2408.15664, algorithm 1) and the cutoffs towards what
        experts took, and count anew. What was counted."""
        told, self.tally = self.tally, Tally.empty(self.mixture.count)
        lowest, self.lowest = self.lowest, []
        if self.router_bias is not None and applied:
            load_E = told.wanted_E.to(self.router_bias.device)
            self.router_bias.add_((load_E.mean() - load_E).sign(), alpha=self.mixture.bias_rate)
        if self.router_cutoff is not None and applied and lowest:
            self.router_cutoff.lerp_(torch.stack(lowest).mean(0), 1 - CUTOFF_WEIGHT)
        return told


def router_loss(routed: list[Routed], mixture: Mixture) -> Tensor:
    """Load-balance and z-loss with their coefficients, over all layers of one pass."""
    total = torch.zeros((), device=routed[0].logits_NE.device)
    if mixture.balance_loss:
        rows = sum(one.logits_NE.shape[0] for one in routed)
        shares = [one.scores_NE / one.scores_NE.sum(-1, keepdim=True) for one in routed]
        mean_E = torch.stack([share.sum(0) for share in shares]).sum(0) / rows
        counts_E = torch.stack([one.counts_E for one in routed]).sum(0)
        taken_E = counts_E / (counts_E.sum() // mixture.active)
        total = total + mixture.balance_loss * mixture.count * (taken_E * mean_E).sum()
    if mixture.z_loss:
        squares = torch.stack([one.logits_NE.logsumexp(-1).square().mean() for one in routed])
        total = total + mixture.z_loss * squares.mean()
    return total
