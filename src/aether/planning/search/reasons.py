"""Why a layout was not offered: a name from an enumeration, a count, and one example of each."""

from collections import Counter
from enum import StrEnum

from aether.spec.fleet import LeftOut


class Reason(StrEnum):
    """The value is what is said to a person."""

    HEADS = "tensor parallelism does not divide the attention heads"
    EXPERTS = "expert parallelism does not divide the experts"
    LAYERS = "pipeline stages do not divide the layers, embedding and head counted"
    DEVICES = "degrees of parallelism do not multiply to the devices that there are"
    DOMAIN = "tensor or expert parallelism would leave the node or NVLink domain"
    BATCH = "replicas times micro-batch do not divide the batch"
    SEQUENCE = "context parallelism below 8,192 tokens of sequence costs more than it frees"
    UNSUPPORTED = (
        "the parts do not work together (weights split by ZeRO-3 inside a pipeline, virtual stages without one)"
    )
    ADAPTERS = "no tool that Aether writes for trains adapters in this layout"
    FORMAT = "the device does not compute in the number format"
    NO_CACHE = "the model keeps no keys and values whose format could be chosen"
    ENGINE = "none of the engines that Aether writes for (vLLM, SGLang, TensorRT-LLM) serves this architecture"
    QUALITY = "published loss of quality is above the brief's bound"
    MEMORY = "weights alone exceed the memory"
    CACHE = "no room for the cache of one request"
    ACTIVATIONS = "weights, states and activations exceed the memory"
    RECOMPUTE = "less recomputation fits already"
    DECODE_BOUND = "reading the active weights once takes longer than the latency target"
    PREFILL_BOUND = "the prompt's FLOPs at the peak rate take longer than the latency target"
    COMPUTE_BOUND = "the FLOPs at the peak rate take longer than the time target"
    RATE = "all replicas together do not keep up with the load"
    ESTIMATE = "estimated to miss a target"
    TOOL = "no tool that Aether writes for can express it"
    COARSE = "a coarse step time ranks it below those that were estimated"
    VARIANT = "a variation of a layout that is not among the best"
    DOMINATED = "another is at least as good in quality, speed, memory, cost and complexity, and better in one"


class Pruned:
    """Counts by reason, each with its first example."""

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self.examples: dict[Reason, str] = {}

    def add(self, reason: Reason, example: str, count: int = 1) -> None:
        """`count` layouts fall to a reason."""
        if count > 0:
            self.counts[reason] += count
            self.examples.setdefault(reason, example)

    def add_all(self, other: "Pruned") -> None:
        """What another search left out."""
        for reason, count in other.counts.items():
            self.add(reason, other.examples[reason], count)

    @property
    def total(self) -> int:
        """All that fell."""
        return self.counts.total()

    def listed(self) -> tuple[LeftOut, ...]:
        """Most frequent first."""
        return tuple(
            LeftOut(reason=reason.name.lower(), meaning=reason.value, count=count, example=self.examples[reason])
            for reason, count in self.counts.most_common()
        )


def degrees(usual: tuple[int, ...], devices: int) -> tuple[int, ...]:
    """Degrees of parallelism to try on that many devices: the usual ones, and divisors of their number in between."""
    divisors = {n for n in range(2, usual[-1] + 1) if devices % n == 0}
    return tuple(n for n in sorted({*usual, *divisors}) if n <= devices)


PLACES = 3
"""Places of a pipeline that the embedding, the head and a prediction layer may take (Megatron-LM counts them as layers on
request; assumed of every engine)."""


def splits_evenly(layers: int, stages: int) -> bool:
    """Whether `stages` can each have the same number of layers, up to the places that something else fills."""
    return stages <= layers and (-layers) % stages <= PLACES
