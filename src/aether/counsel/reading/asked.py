"""What a text asks for of what a person otherwise gives: hardware ("which GPU", "how many H100", "cheapest setup"), a load ("how many users can it
take"), or a verdict, a time or a cost ("does it fit", "how long does it take"), for which what was not said may be taken as usual."""

from aether.counsel.reading.patterns import Lazy
from aether.spec.answer import Sought

_THING = r"(?:gpus?|hardware|cards?|accelerators?|devices?|machines?|boxes|instances?|nodes?|servers?|cluster|chips?)"
_ASKS = Lazy(
    rf"\b(?:what|which|whats|what's|how (?:much|many|big|large|few)|number of|count of)(?: \w+){{0,3}} {_THING}\b(?![\s-]*(?:memory|vram|hours?|hrs?|util))"
    rf"|\b(?:cheapest|smallest|fewest|minimum|minimal|min|least)(?: \w+){{0,2}} (?:{_THING}|setup|set-up|option|way|deployment|config(?:uration)?)\b"
    r"|\b(?:siz(?:e|ing)|capacity plan(?:ning)?|provision(?:ing)?)\b(?: \w+){0,3} (?:for|a|the|of)\b"
)
_MANY = Lazy(r"\b(?:how many|number of|how few)(?: \w+){0,2}\s*$")
"""Before a device: "how many H100", "the number of rented L40S"."""


_VERDICT = Lazy(
    r"^\W*(?:(?:so|and|ok|okay|hi|hello|hey|quick question|question)\b[,:.!\s]*)*(?:can|could|will|would|does|do|is|are)\b(?:[^.;?]|\.\w)*?"
    r"\b(?:run|fit|fits|serve|host|handle|hold|train|pre-?train|fine-?tune|finetune|enough|possible|feasible|squeeze|get)\b[^?]*\?"
    r"|\b(?:will|does|would) (?:it|they|this|that) (?:all )?(?:fit|run|work)\b"
)
_ESTIMATE = Lazy(
    r"\bhow (?:long|fast|expensive|costly|quickly)\b|\bhow much (?:\w+ ){0,4}?(?:cost|time)\b|\bhow many (?:(?:gpu|device|accelerator)[\s-]*)?(?:minutes?|hours?|days?|weeks?|months?)\b(?! of\b)"
    r"|\bwhat (?:\w+ ){0,3}?(?:ttft|latency|throughput|speed|cost)\b(?:[^.;?]|\.\w)*\b(?:expect|get|see)\b"
)


_LOAD = Lazy(
    r"\bhow (?:many|much) (?:\w+ ){0,2}?(?:requests?|users?|clients?|sessions?|rps|qps|queries|chats|conversations|streams|people|traffic|load|throughput|tokens (?:per|a) second|tok/s)\b"
    r"(?:[^.;?]|\.\w)*\b(?:can|could|will|would|does|do|take|handle|serve|sustain|support|get|fit)\b"
    r"|\b(?:max(?:imum|imal)?|highest|largest|peak) (?:\w+ )?(?:load|rate|rps|qps|requests?|throughput|concurrency|users)\b"
    r"|\bwhat (?:load|rate|rps|qps|throughput|concurrency)\b"
)


def sought(plain: str, devices: list[tuple[int, int]]) -> tuple[Sought, ...]:
    """`devices`: where devices are named in `plain`, start and end."""
    hardware = _ASKS.search(plain) or any(_MANY.search(plain[:start]) for start, _ in devices)
    found: dict[Sought, object] = {
        "hardware": hardware,
        "load": _LOAD.search(plain),
        "estimate": _VERDICT.search(plain) or _ESTIMATE.search(plain),
    }
    return tuple(name for name, said in found.items() if said)
