"""Every layout of a served model, and the hard bounds that throw most of them out for nothing.

A layout is a device, a number format, the degrees of parallelism of one replica (Megatron-LM's tensor and pipeline
parallelism; attention groups that share experts, as the engines do for mixtures of experts), an engine and its batch limits.
The bounds here are arithmetic on the data sheet: what they throw out, no software can do. Nothing is estimated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from aether.models.accounting import flops_per_token, parameters
from aether.planning.search.problem import Priced, Problem
from aether.planning.search.quality import native_format, quality_of
from aether.planning.search.reasons import Pruned, Reason, degrees, splits_evenly
from aether.planning.serving.rooflines import peak_flops_per_s
from aether.planning.serving.setup import MULTIPLIED_IN, STORED_BYTES, Engine, Format, Precision
from aether.spec.architecture import Architecture, Attention, Experts, LatentAttention, Recurrence
from aether.spec.plan import Estimate

ENGINES: tuple[Engine, ...] = ("vllm", "sglang", "trtllm")
SEQUENCES = (16, 64, 256, 1024)
"""Most sequences of a step in one replica."""
CHUNKS = (512, 2048, 8192)
"""Most tokens of a step in one attention group."""
VARIANTS = len(ENGINES) * len(SEQUENCES) * len(CHUNKS)
"""Layouts that differ only in engine and batch limits."""
_TENSOR, _GROUPS, _PIPELINE = (1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16)
"""Degrees that are always tried; divisors of the devices that there are come to them."""

FORMATS: dict[str, Precision] = {
    "bf16": Precision(),
    "fp8": Precision(weights="fp8"),
    "fp8-kv8": Precision(weights="fp8", cache="fp8"),
    "int8": Precision(weights="int8"),
    "int4": Precision(weights="int4"),
    "mxfp4": Precision(weights="bf16", experts="mxfp4"),
    "nvfp4": Precision(weights="nvfp4"),
}
"""What a format means: of weights, and of the cache where it is named. `mxfp4` is of experts alone, as gpt-oss has it."""


@dataclass(frozen=True)
class Layout:
    """One replica, without engine and batch limits."""

    priced: Priced
    form: str
    tp: int
    groups: int
    """Attention groups that share the experts."""
    ep: int
    pp: int
    converted: bool = False
    """Whether the weights are stored otherwise than they were published."""

    @property
    def devices(self) -> int:
        """Of one replica."""
        return self.tp * self.groups * self.pp

    @property
    def text(self) -> str:
        """In the words of the engines."""
        parts = [f"tp{self.tp}"] + [
            f"{name}{n}" for name, n in (("dp", self.groups), ("ep", self.ep), ("pp", self.pp)) if n > 1
        ]
        return " ".join(parts)

    @property
    def named(self) -> str:
        """The same, with device and format."""
        return f"{self.priced.device.name} {self.form} {self.text}"


@dataclass(frozen=True)
class Bytes:
    """Weights of a model in one format."""

    dense: float
    experts: float
    active_experts: float


class ServingSpace:
    """The layouts of a problem that pass the hard bounds; the others are counted by reason."""

    def __init__(self, problem: Problem, pruned: Pruned, bounded: bool = True) -> None:
        """`bounded` False: targets throw nothing out, so that what comes nearest to them can be seen."""
        self.problem, self.pruned, self.bounded = problem, pruned, bounded
        self.arch: Architecture = problem.architecture
        self.considered = 0
        self.quality: dict[str, Estimate] = {
            form: quality_of(problem.model, problem.counts.total, form, "serve") for form in problem.formats
        }

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """Attention heads of each group of layers."""
        mixers = [g.mixer for g in self.arch.groups]
        return tuple(m.heads for m in mixers if isinstance(m, Attention | LatentAttention))

    @cached_property
    def engines(self) -> tuple[Engine, ...]:
        """Engines that have the architecture: Mamba alone is in vLLM 0.32.0 and SGLang 0.5.23, RWKV and RetNet in neither (read: the
        models of their wheels, 2026-11-25); that TensorRT-LLM has only hybrids is assumed."""
        if self.heads:
            return ENGINES
        forms = {g.mixer.form for g in self.arch.groups if isinstance(g.mixer, Recurrence)}
        return ("vllm", "sglang") if forms <= {"mamba", "mamba2"} else ()

    @cached_property
    def experts(self) -> int:
        """Routed experts of a layer; 0 without."""
        return max((g.mlp.count for g in self.arch.groups if isinstance(g.mlp, Experts)), default=0)

    def layouts(self) -> Iterator[Layout]:
        """Each layout that the bounds leave."""
        for priced in self.problem.hardware:
            for form in self.problem.formats:
                every = list(self._shapes(priced, form))
                self.considered += VARIANTS * len(every)
                whole = self.forbids(priced, form)
                if whole is not None:
                    self.pruned.add(whole, f"{priced.device.name} {form}", VARIANTS * len(every))
                    continue
                for layout in every:
                    reason = self._structure(layout) or self._bound(layout)
                    if reason is None:
                        yield layout
                    else:
                        self.pruned.add(reason, layout.named, VARIANTS)

    def _shapes(self, priced: Priced, form: str) -> Iterator[Layout]:
        native = native_format(self.problem.model)
        for tp in degrees(_TENSOR, priced.count):
            for pp in (n for n in degrees(_PIPELINE, priced.count) if n <= self.arch.layers):
                for groups in degrees(_GROUPS, priced.count) if self.experts else (1,):
                    if tp * pp * groups > priced.count:
                        continue
                    for ep in sorted({1, tp * groups}) if self.experts else (1,):
                        yield Layout(priced, form, tp, groups, ep, pp, form != native)

    def forbids(self, priced: Priced, form: str) -> Reason | None:
        """What forbids a format on a device in any layout."""
        if not self.engines:
            return Reason.ENGINE
        if not self.heads and FORMATS[form].cache != "bf16":
            return Reason.NO_CACHE
        precision, rates = FORMATS[form], priced.device.flops_per_s
        wanted: set[Format] = {precision.weights, precision.expert_format}
        wanted.discard("bf16")
        if any(MULTIPLIED_IN[each] != "bfloat16" and MULTIPLIED_IN[each] not in rates for each in wanted):
            return Reason.FORMAT
        if form == "nvfp4" and priced.device.vendor.lower() != "nvidia":
            return Reason.FORMAT
        if form == "mxfp4" and (not self.experts or native_format(self.problem.model) != "mxfp4"):
            return Reason.FORMAT
        lost = self.quality[form].value
        if lost is not None and lost > self.problem.brief.quality_loss_bound:
            return Reason.QUALITY
        return None

    def _structure(self, layout: Layout) -> Reason | None:
        if any(heads % layout.tp for heads in self.heads):
            return Reason.HEADS
        if self.experts and self.experts % layout.ep:
            return Reason.EXPERTS
        if not splits_evenly(self.arch.layers, layout.pp):
            return Reason.LAYERS
        if layout.tp * layout.groups > (layout.priced.device.devices_per_node or 1):
            return Reason.DOMAIN
        return None

    def _bound(self, layout: Layout) -> Reason | None:
        stored, device = self.bytes_of(layout.form), layout.priced.device
        per_device = (stored.dense / layout.tp + stored.experts / (layout.tp * layout.groups)) / layout.pp
        if per_device > device.memory_bytes:
            return Reason.MEMORY
        token_s = self.token_bound_s(layout)
        first_s = self.prompt_bound_s(layout)
        for target in self.problem.targets if self.bounded else ():
            kind = target.metric.partition("_")[0]
            if kind in ("itl", "tpot") and token_s > target.value:
                return Reason.DECODE_BOUND
            if kind == "ttft" and first_s > target.value:
                return Reason.PREFILL_BOUND
            if kind == "e2e" and first_s + token_s * (self.problem.load.output_tokens - 1) > target.value:
                return Reason.DECODE_BOUND
        return None

    def token_bound_s(self, layout: Layout) -> float:
        """Reading the active weights of one token once at the data sheet's bandwidth; stages come one after the other."""
        stored, bandwidth = self.bytes_of(layout.form), layout.priced.device.memory_bandwidth_bytes_per_s
        return (stored.dense / layout.tp + stored.active_experts / (layout.tp * layout.groups)) / bandwidth

    def prompt_bound_s(self, layout: Layout) -> float:
        """The FLOPs of one prompt at the peak rate of all devices of the replica."""
        return self.prompt_flops / (self.peak_flops_per_s(layout) * layout.devices)

    def peak_flops_per_s(self, layout: Layout) -> float:
        """The fastest rate of the format on one device."""
        precision = FORMATS[layout.form]
        formats: tuple[Format, ...] = (precision.weights, precision.expert_format)
        return max(peak_flops_per_s(layout.priced.device, each) for each in formats)

    @cached_property
    def prompt_flops(self) -> float:
        """Of one prompt, without the head."""
        flops = flops_per_token(self.arch, self.problem.load.prompt_tokens)
        return self.problem.load.prompt_tokens * (flops.total - flops.head)

    def bytes_of(self, form: str) -> Bytes:
        """Weights in a format, the embedding left out where it is not the head."""
        return self._bytes[form]

    @cached_property
    def _bytes(self) -> dict[str, Bytes]:
        counts, found = parameters(self.arch), {}
        for form in self.problem.formats:
            precision = FORMATS[form]
            head = STORED_BYTES[precision.head] * self.arch.vocab_size * self.arch.hidden_size
            matrices = counts.attention + counts.mlp + counts.recurrence
            dense = STORED_BYTES[precision.weights] * matrices + head
            each = STORED_BYTES[precision.expert_format]
            idle = counts.total - counts.active
            found[form] = Bytes(dense, each * counts.experts, each * (counts.experts - idle))
        return found
