"""What no software can beat: bounds from data sheets alone, and the verdict on a target against bound and prediction.

A token needs every active weight and the sequence's cache from memory once, at the full bandwidth of all ranks; a prompt needs
its FLOPs at the full rate. Nothing fitted enters. A target beyond a bound is `impossible`; one that is possible but outside
the 80 % interval's better end (10 % of cases, so 90 % confidence) is `out_of_reach`. Speculative decoding changes the tokens
of a step: it is not covered by the bound on the time per token.
"""

from dataclasses import dataclass
from typing import Literal

from aether.models.accounting import cache_bytes, flops_per_token, parameters
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.rooflines import peak_flops_per_s
from aether.planning.serving.setup import STORED_BYTES, Format, ServingSetup
from aether.spec.plan import Estimate

Verdict = Literal["impossible", "out_of_reach", "reachable"]


@dataclass(frozen=True)
class Bounds:
    """Least times in seconds and the greatest rate, of one replica, each with its arithmetic."""

    token_s: float
    ttft_s: float
    tokens_per_s: float
    token_source: str
    ttft_source: str
    rate_source: str


def active_bytes(setup: ServingSetup) -> float:
    """Bytes of the weights that one token passes; the look-up of its embedding reads one row and counts nothing."""
    counts, precision = parameters(setup.architecture), setup.precision
    head = counts.embedding if setup.architecture.tied else counts.head
    taken = counts.active - (counts.total - counts.experts)
    dense = STORED_BYTES[precision.weights] * counts.mlp
    mixing = STORED_BYTES[precision.attention_format] * (counts.attention + counts.recurrence)
    return dense + mixing + STORED_BYTES[precision.expert_format] * taken + STORED_BYTES[precision.head] * head


def fastest_flops_per_s(setup: ServingSetup) -> float:
    """The greatest rate that any part of the model may run at."""
    precision = setup.precision
    formats: tuple[Format, ...] = (precision.weights, precision.expert_format, precision.attention_format)
    return max(peak_flops_per_s(setup.device, stored) for stored in formats)


def bounds(setup: ServingSetup, traffic: ClosedLoop) -> Bounds:
    """The bounds for requests of the traffic's shortest lengths."""
    prompt = max(1, int(traffic.prompt_tokens * (1 - traffic.spread)))
    bandwidth = setup.device.memory_bandwidth_bytes_per_s
    cache = cache_bytes(setup.architecture, prompt, STORED_BYTES[setup.precision.cache])
    read = active_bytes(setup)
    ranks = setup.tp * setup.attn_dp
    token_s = read / (bandwidth * ranks) + cache / (bandwidth * setup.tp)
    fresh = prompt * (1 - setup.prefix_share)
    flops = fresh * (flops_per_token(setup.architecture, prompt).total - 2.0 * parameters_of_head(setup))
    rate = fastest_flops_per_s(setup)
    ttft_s = flops / (rate * ranks * setup.pp)
    per_token = flops_per_token(setup.architecture, 1).total
    tokens_per_s = rate * setup.devices / per_token
    return Bounds(
        token_s,
        ttft_s,
        tokens_per_s,
        f"({read:.3g} bytes of active weights over {ranks} ranks + {cache:.3g} of cache over {setup.tp}) / {bandwidth:.3g} B/s",
        f"{flops:.3g} FLOP / ({rate:.3g} FLOP/s x {ranks * setup.pp} devices)",
        f"{rate:.3g} FLOP/s x {setup.devices} devices / {per_token:.3g} FLOP",
    )


def parameters_of_head(setup: ServingSetup) -> float:
    """Values of the output head, which only the last prompt token needs."""
    return float(setup.architecture.vocab_size * setup.architecture.hidden_size)


def verdict(target: float, bound: float, estimate: Estimate, better: Literal["lower", "higher"]) -> Verdict:
    """Whether a target can be met: beyond the hard bound, beyond the interval, or within."""
    assert estimate.interval is not None, "only an estimate with a value is judged"
    if better == "lower":
        if target < bound:
            return "impossible"
        return "out_of_reach" if target < estimate.interval.low else "reachable"
    if target > bound:
        return "impossible"
    return "out_of_reach" if target > estimate.interval.high else "reachable"
