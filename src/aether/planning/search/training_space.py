"""Every layout of a training run, and the hard bounds that throw most of them out for nothing.

Degrees are those of Megatron-LM (tensor, pipeline with virtual stages, context, expert and data parallelism) and the stages of
ZeRO; what does not divide or does not fit by its weights and states alone is counted and gone. What passes is ordered by a
coarse step time from the data sheet, so that only the promising are estimated.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from aether.knowledge.library import Device
from aether.models.accounting import training_flops_per_token
from aether.planning.search.problem import Priced, Problem
from aether.planning.search.reasons import Pruned, Reason, degrees, splits_evenly
from aether.planning.training.memory import STATE_BYTES
from aether.planning.training.setup import FineTuning, Framework, Layout, Precision, Recompute, Software, TrainingSetup
from aether.planning.training.work import peak_flops_per_s
from aether.spec.architecture import Attention, Experts, LatentAttention

RECOMPUTE: tuple[Recompute, ...] = ("none", "selective", "full")
"""From the fastest to the smallest."""
MICRO_BATCHES = (1, 2, 4, 8)
VARIANTS = len(RECOMPUTE) * len(MICRO_BATCHES)
LONG_SEQUENCE = 8192
"""Tokens from which context parallelism is tried (assumed: below, attention is a small part of the memory)."""
_TENSOR, _PIPELINE, _VIRTUAL, _CONTEXT = (1, 2, 4, 8), (1, 2, 4, 8, 16, 32), (1, 2, 4), (1, 2, 4, 8)
_EXPERT = (1, 4, 8, 16, 32, 64)
_CALL_S = 5e-6
"""One kernel of one expert, for the coarse ranking (assumed)."""
_ZERO = (0, 1, 3)
"""Stage 2 is left out: with gradients in one buffer it saves what stage 1 does not, but Megatron-LM has it no more."""


@dataclass(frozen=True)
class TrainingLayout:
    """Degrees of parallelism on a device, in a precision, with a micro-batch."""

    priced: Priced
    precision: Precision
    layout: Layout
    micro_batch: int
    coarse_s: float
    """A coarse step time, for ranking only."""

    @property
    def text(self) -> str:
        """In the words of the frameworks."""
        one, names = self.layout, ("tp", "pp", "virtual_stages", "cp", "ep", "dp")
        short = {"virtual_stages": "vp"}
        parts = [f"{short.get(name, name)}{getattr(one, name)}" for name in names if getattr(one, name) > 1]
        return " ".join([*(parts or ["one device"]), f"zero{one.zero_stage}"])

    @property
    def named(self) -> str:
        """The same, with device and precision."""
        return f"{self.priced.device.name} {self.precision} {self.text}"


class TrainingSpace:
    """The layouts of a problem that pass the hard bounds; the others are counted by reason."""

    def __init__(self, problem: Problem, pruned: Pruned, bounded: bool = True) -> None:
        """`bounded` False: targets throw nothing out, so that what comes nearest to them can be seen."""
        assert problem.training is not None
        self.problem, self.pruned, self.training, self.bounded = problem, pruned, problem.training, bounded
        self.considered = 0
        self.counts = problem.counts
        mixers = [g.mixer for g in problem.architecture.groups]
        self.heads = {m.heads for m in mixers if isinstance(m, Attention | LatentAttention)}
        self.experts = {g.mlp.count for g in problem.architecture.groups if isinstance(g.mlp, Experts)}

    @cached_property
    def token_flops(self) -> float:
        """Of one trained token at least: no recomputation, adapters of no size."""
        adapters = None if self.training.method == "full" else 0.0
        return training_flops_per_token(self.problem.architecture, self.training.sequence_tokens, adapters)

    def least_s(self, priced: Priced, form: str) -> float:
        """The whole run at the peak rate of every device."""
        return (
            self.training.tokens
            * self.token_flops
            / (priced.count * peak_flops_per_s(priced.device, precision_of(form)))
        )

    def layouts(self) -> Iterator[TrainingLayout]:
        """Each layout that the bounds leave."""
        for priced in self.problem.hardware:
            for form in self.problem.formats:
                precision = precision_of(form)
                whole = self.forbids(priced, form) or self._too_slow(priced, precision)
                for tried in self._degrees(priced):
                    count = VARIANTS * len(_ZERO) * len(_VIRTUAL)
                    self.considered += count
                    name = f"{priced.device.name} {precision} tp{tried[0]} pp{tried[1]} cp{tried[2]} ep{tried[3]}"
                    reason = whole or self._structure(priced, tried)
                    if reason is None:
                        yield from self._shards(priced, precision, tried)
                    else:
                        self.pruned.add(reason, name, count)

    def _degrees(self, priced: Priced) -> Iterator[tuple[int, int, int, int]]:
        for tp in degrees(_TENSOR, priced.count):
            for pp in (n for n in degrees(_PIPELINE, priced.count) if tp * n <= priced.count):
                for cp in (n for n in _CONTEXT if tp * pp * n <= priced.count):
                    for ep in _EXPERT if self.experts else (1,):
                        yield tp, pp, cp, ep

    def forbids(self, priced: Priced, form: str) -> Reason | None:
        """What forbids a precision on a device in any layout."""
        return Reason.FORMAT if lacks(priced.device, precision_of(form)) else None

    def _too_slow(self, priced: Priced, precision: Precision) -> Reason | None:
        bound = self.problem.target("build_time")
        if self.bounded and bound is not None and self.least_s(priced, precision) > bound.value:
            return Reason.COMPUTE_BOUND
        return None

    def _structure(self, priced: Priced, degrees: tuple[int, int, int, int]) -> Reason | None:
        tp, pp, cp, ep = degrees
        if priced.count % (tp * pp * cp):
            return Reason.DEVICES
        if any(heads % tp for heads in self.heads):
            return Reason.HEADS
        dp = priced.count // (tp * pp * cp)
        if any(count % ep for count in self.experts) or (tp * cp * dp) % ep:
            return Reason.EXPERTS
        if not splits_evenly(self.problem.architecture.layers, pp):
            return Reason.LAYERS
        if tp > (priced.device.devices_per_node or 1):
            return Reason.DOMAIN
        if cp > 1 and (self.training.sequence_tokens < LONG_SEQUENCE or self.training.sequence_tokens % cp):
            return Reason.SEQUENCE
        return None

    def _shards(
        self, priced: Priced, precision: Precision, degrees: tuple[int, int, int, int]
    ) -> Iterator[TrainingLayout]:
        tp, pp, cp, ep = degrees
        dp = priced.count // (tp * pp * cp)
        for virtual in _VIRTUAL:
            for zero in _ZERO:
                named = f"tp{tp} pp{pp} vp{virtual} cp{cp} ep{ep} dp{dp} zero{zero}"
                if (virtual > 1 and pp == 1) or (zero == 3 and pp > 1):
                    self.pruned.add(Reason.UNSUPPORTED, named, VARIANTS)
                    continue
                if self.training.method != "full" and not self._trains_adapters(degrees, zero):
                    self.pruned.add(Reason.ADAPTERS, named, VARIANTS)
                    continue
                if not splits_evenly(self.problem.architecture.layers, pp * virtual):
                    self.pruned.add(Reason.LAYERS, named, VARIANTS)
                    continue
                layout = Layout(tp=tp, pp=pp, virtual_stages=virtual, cp=cp, ep=ep, dp=dp, zero_stage=zero)
                if self._stored_bytes(layout) > priced.device.memory_bytes:
                    self.pruned.add(Reason.MEMORY, f"{priced.device.name} {named}", VARIANTS)
                    continue
                for micro in MICRO_BATCHES:
                    if self.training.global_batch % (dp * micro):
                        self.pruned.add(Reason.BATCH, f"{named}, micro-batch {micro}", len(RECOMPUTE))
                        continue
                    coarse_s = self._coarse_s(priced, precision, layout, micro)
                    yield TrainingLayout(priced, precision, layout, micro, coarse_s)

    def _trains_adapters(self, degrees: tuple[int, int, int, int], zero: int) -> bool:
        """TRL with PEFT copies the model to each device or shards it (not in four bits); torchtitan splits tensors too."""
        if zero == 0:
            return degrees == (1, 1, 1, 1)
        return zero == 3 and self.training.method == "lora" and degrees[1] == degrees[2] == 1

    def _stored_bytes(self, layout: Layout) -> float:
        """Weights, gradients and states: less than any framework keeps, so that what is thrown out is impossible."""
        counts, ranks = self.counts, layout.dp * layout.cp
        local = ((counts.total - counts.experts) / layout.tp + counts.experts / layout.ep) / layout.pp
        if self.training.method != "full":
            return local * (0.5 if self.training.method == "qlora" else 2.0) / (ranks if layout.zero_stage == 3 else 1)
        weights, gradients, states = 2.0, 2.0, STATE_BYTES["adamw"] + 4.0
        shards = [ranks if layout.zero_stage >= stage else 1 for stage in (3, 2, 1)]
        return local * (weights / shards[0] + gradients / shards[1] + states / shards[2])

    def _coarse_s(self, priced: Priced, precision: Precision, layout: Layout, micro: int) -> float:
        """Compute with its bubble, and each parallelism's bytes over its link."""
        device, counts = priced.device, self.counts
        fast, slow = device.intra_node_bytes_per_s or 32e9, device.inter_node_bytes_per_s or 25e9
        rounds = self.training.global_batch // (layout.dp * micro)
        bubble = 1 + (layout.pp - 1) / (layout.virtual_stages * rounds)
        step_flops = self.training.global_batch * self.training.sequence_tokens * self.token_flops
        compute_s = 2.0 * bubble * step_flops / priced.count / peak_flops_per_s(device, precision)
        rows = micro * self.training.sequence_tokens / layout.cp
        moved = 2.0 * rows * self.problem.architecture.hidden_size * self.problem.architecture.layers / layout.pp
        tensor_s = 10 * moved * (1 - 1 / layout.tp) / fast
        routed = 8 * moved * 4 / layout.tp if layout.ep > 1 else 0.0
        expert_s = routed / (fast if layout.ep * layout.tp <= (device.devices_per_node or 1) else slow)
        local = ((counts.total - counts.experts) / layout.tp + counts.experts / layout.ep) / layout.pp
        calls = sum(self.experts) / layout.ep * self.problem.architecture.layers / layout.pp
        # Each micro-batch reads the weights three times, and each expert is a kernel of its own.
        read_s = 3 * (2.0 * local / device.memory_bandwidth_bytes_per_s + _CALL_S * calls)
        ranks = layout.dp * layout.cp * layout.tp
        link = fast if ranks <= (device.devices_per_node or 1) else slow
        replicas_s = 6.0 * local / link if layout.dp * layout.cp > 1 else 0.0
        # Weights that are gathered for each micro-batch hide behind its arithmetic; what remains is the longer of the two.
        if layout.zero_stage == 3:
            return max(compute_s, rounds * replicas_s) + rounds * (tensor_s + expert_s + read_s)
        return compute_s + rounds * bubble * (tensor_s + expert_s + read_s) + 0.5 * replicas_s

    def setup_of(self, one: TrainingLayout, recompute: Recompute) -> TrainingSetup:
        """The layout as the estimators take it."""
        method = self.training.method
        kind = "none" if self.problem.task == "pretrain" else method
        sharded: Framework = "torchtitan" if one.layout.tp > 1 else "fsdp"
        framework: Framework = sharded if one.layout.zero_stage == 3 or method != "full" else "megatron"
        if one.priced.device.vendor == "Google":
            framework = "maxtext"  # Megatron-LM and torchtitan do not run on TPUs.
        return TrainingSetup(
            architecture=self.problem.architecture,
            device=one.priced.device.name,
            devices=one.priced.count,
            seq_tokens=self.training.sequence_tokens,
            global_batch=self.training.global_batch,
            micro_batch=one.micro_batch,
            precision=one.precision,
            layout=one.layout,
            recompute=recompute,
            fine_tuning=FineTuning(kind=kind, frozen_bits=4.127 if method == "qlora" else 16.0),
            software=Software(framework=framework, compiled=framework != "megatron"),
        )

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return math.ceil(self.training.tokens / (self.training.global_batch * self.training.sequence_tokens))


def lacks(device: Device, precision: Precision) -> bool:
    """Whether a device's matrix units cannot multiply in an eight- or four-bit format; block scales came with four bits."""
    needed = {"fp8": ("float8",), "mxfp8": ("float8", "float4"), "nvfp4": ("float4",)}.get(precision, ())
    return any(rate not in device.flops_per_s for rate in needed)


def precision_of(form: str) -> Precision:
    """The format as the estimators name it."""
    found: dict[str, Precision] = {"bf16": "bf16", "fp8": "fp8", "mxfp8": "mxfp8", "nvfp4": "nvfp4"}
    return found[form]
