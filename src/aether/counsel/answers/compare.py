"""The answer about a comparison: models or devices side by side under one load, number formats on a device, or methods of a kind.

Where a load was said, `compare_load` simulates each side at it. Else each pairing takes the fewest
devices of a kind that hold the model, in as many copies as there are devices for where they are counted. Speed, memory and cost are
predictions of `planning.serving` for one closed loop of clients to a copy; accuracy is unknown, since no published number compares models under one protocol on your task.
"""

from dataclasses import dataclass, replace

from aether.counsel.answers import align, compress, tunings
from aether.counsel.answers.brief_text import brief_toml
from aether.counsel.answers.compare_load import compare_at_load, is_loaded
from aether.counsel.answers.compare_parts import closing, comparison_recipe
from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.evaluate import TASKS
from aether.counsel.answers.facts import ranks
from aether.counsel.answers.files import evaluation_command
from aether.counsel.answers.methods import alignments, compared, has_numbers
from aether.counsel.answers.recipe import HardwarePart
from aether.counsel.answers.side_by_side import compare_topics, topics_of
from aether.counsel.reading.methods import methods
from aether.knowledge.library import Device, device, price_usd_per_hour
from aether.planning.search.problem import architecture_of
from aether.planning.search.quality import native_format
from aether.planning.search.serving_space import FORMATS
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.estimate import serving_estimates
from aether.planning.serving.setup import MULTIPLIED_IN, ServingSetup
from aether.spec.architecture import Architecture
from aether.spec.errors import InputError
from aether.spec.plan import Estimate
from aether.spec.report import Block, Bound, Cite, Paragraph, Text, text_of

_CLIENTS = 16
"""Clients in the closed loop that things are compared under (chosen)."""
_COUNTS = (1, 2, 4, 8, 16)
_METRICS = ("tpot_p50", "ttft_p99", "throughput", "device_memory", "cost_per_million_tokens")
_LABELS = {
    "tpot_p50": "speed: token",
    "ttft_p99": "speed: first token p99",
    "throughput": "speed: all clients",
    "device_memory": "memory of a device",
    "cost_per_million_tokens": "cost of M tokens",
}

USES = frozenset(methods())
"""All: a technique that is compared has a part in the answer."""


def answer_compare(draft: Draft) -> None:
    """Methods where methods were named, else models and devices; `asking` has seen to it that there are two things."""
    kind = compared(draft.request.methods)
    topics = topics_of(draft.request.topics or draft.request.methods)
    if len(topics) >= 2 and not has_numbers(kind, draft.request):
        return compare_topics(draft, topics)
    if kind == "alignments":
        return _methods(draft, alignments(draft.request.methods))
    if kind == "formats":
        return compress.answer_compress(draft)
    if kind == "tunings":
        return tunings.compare_tunings(draft)
    model, hardware = draft.brief.model, draft.brief.hardware
    names = (model.name, *model.others) if model is not None and model.name else ()
    devices = [d for d in (hardware.names if hardware is not None else ()) if d != "this-machine"]
    if is_loaded(draft.brief):
        return compare_at_load(draft, names, devices)
    pairs = [(*architecture_of(each), device(on)) for each in names for on in devices]
    _side_by_side(draft, pairs)
    return None


@dataclass(frozen=True)
class Priced:
    """A model on a device under the closed loop. `setup` is None where it does not fit."""

    called: str
    architecture: Architecture
    on: Device
    count: int | None
    """Devices that there are, where it was said."""
    setup: ServingSetup | None
    estimates: dict[str, Estimate]

    @property
    def copies(self) -> int:
        """Copies of the model, each with clients of its own."""
        return self.count // self.setup.devices if self.count and self.setup else 1

    @property
    def devices(self) -> int:
        """All that are paid for."""
        return self.count or (self.setup.devices if self.setup else 0)

    @property
    def step(self) -> str:
        """Under what its numbers are cited."""
        return f"compare-{self.called}-{self.on.name}"


def _priced(draft: Draft, called: str, architecture: Architecture, on: Device, loop: ClosedLoop) -> Priced:
    """The fewest devices that hold the model in the format that was asked for or that it was published in, where the device computes
    in it, else in 16 bits; as many such copies as there are devices for."""
    brief = draft.brief
    assert brief.hardware is not None
    formats = brief.model.formats if brief.model is not None else ()
    form = next((f for f in formats if f in FORMATS), native_format(called))
    if MULTIPLIED_IN[FORMATS[form].weights] not in on.flops_per_s:
        form = "bf16"
    price = price_usd_per_hour(on.name, brief.hardware.prices_usd_per_hour)
    given = brief.hardware.count_of(on.name) if brief.hardware.is_counted(on.name) else None
    for count in _COUNTS:
        if ranks(architecture, count) != count or count > (given or count):
            continue
        setup = ServingSetup(architecture=architecture, device=on, precision=FORMATS[form], tp=count)
        try:
            estimates = serving_estimates(setup, loop, price)
        except InputError:
            continue
        return _of_all(Priced(called, architecture, on, given, setup, estimates))
    return Priced(called, architecture, on, given, None, {})


def _of_all(one: Priced) -> Priced:
    """Tokens of all copies, and their cost with the devices that stand by."""
    assert one.setup is not None
    idle = one.devices / (one.copies * one.setup.devices)
    scaled = {
        "throughput": _times(one.estimates["throughput"], one.copies, "copies"),
        "cost_per_million_tokens": _times(one.estimates["cost_per_million_tokens"], idle, "devices / devices in use"),
    }
    return replace(one, estimates=one.estimates | scaled)


def _times(estimate: Estimate, factor: float, what: str) -> Estimate:
    if estimate.value is None or factor == 1:
        return estimate
    ends = estimate.interval
    within = ends and ends.model_copy(update={"low": factor * ends.low, "high": factor * ends.high})
    formula = f"({estimate.formula}) * {what}"
    return estimate.model_copy(update={"value": factor * estimate.value, "interval": within, "formula": formula})


def _side_by_side(draft: Draft, pairs: list[tuple[str, Architecture, Device]]) -> None:
    load = draft.brief.load
    loop = ClosedLoop(prompt_tokens=load.prompt_tokens, output_tokens=load.output_tokens, concurrency=_CLIENTS)
    priced = [_priced(draft, called, architecture, on, loop) for called, architecture, on in pairs[:4]]
    _decide(draft, priced)
    draft.section("options", "Options", *_table(draft, priced))
    draft.section("recipe", "Recipe", *_recipe(draft, priced))
    draft.section(
        "code",
        "Code",
        paragraph("Quality, on the same items for each:"),
        draft.code("bash", evaluation_command(TASKS[draft.brief.modality or "text"][0])),
        paragraph("The brief as it was read:"),
        draft.code("toml", brief_toml(draft.brief)),
    )
    closing(draft)


def _recipe(draft: Draft, priced: list[Priced]) -> list[Block]:
    load = draft.brief.load
    measured_on = text_of(
        "closed loop of ", draft.number("compare.clients", _CLIENTS, "count", "assumed", "a load chosen to compare"),
        " clients for each copy, prompts of ",
        draft.number("compare.prompt", load.prompt_tokens, "token", "assumed", "the brief's load"), " and answers of ",
        draft.number("compare.output", load.output_tokens, "token", "assumed", "the brief's load"), "; quality on your own items",
    )  # fmt: skip
    layouts = {f"tp {one.setup.tp}" for one in priced if one.setup is not None} or {"none that fits"}
    kinds = name(", ".join(dict.fromkeys(one.on.name for one in priced)))
    hardware = HardwarePart(
        devices=text_of(kinds, ", as many as the table says"),
        parallelism=text_of(name(", ".join(sorted(layouts))), ": tensor parallel over the devices of a copy"),
        software=text_of(name("vLLM")),
    )
    return comparison_recipe(draft, {one.called: one.architecture for one in priced}, hardware, measured_on)


def _decide(draft: Draft, priced: list[Priced]) -> None:
    fits = [one for one in priced if one.setup is not None]
    costs = [one for one in fits if one.estimates["cost_per_million_tokens"].value]
    if not fits:
        text = text_of("None of these holds the model: take more devices of a kind, or a format of fewer bits.")
        return draft.section("decision", "Decision", Paragraph(text=text, tone="decision"))
    if not costs:
        text = text_of("No price of these devices is known: choose by the table, or give hardware.price_usd_per_hour.")
        return draft.section("decision", "Decision", Paragraph(text=text, tone="decision"))
    best = min(costs, key=lambda one: one.estimates["cost_per_million_tokens"].value or 0.0)
    one_model = len({one.called for one in priced}) == 1
    unpriced = len(fits) - len(costs)
    why = (
        "Devices without a known price are left out of this: give hardware.prices_usd_per_hour to have them in."
        if unpriced
        else "The model is the same everywhere, so that quality does not enter; the interval of each cost stands in the table."
        if one_model
        else "This is on cost at equal load alone. Which model does your work better is not known here, and decides first."
    )
    if len(fits) < len(priced):
        why = f"Where the table says so, the model does not fit. {why}"
    text = text_of(
        "Cheapest at this load" + (" of what has a price: " if unpriced else ": "),
        name(best.called),
        " on ",
        _count(draft, best, "compare"),
        " ",
        name(best.on.name),
        ".",
    )
    return draft.section("decision", "Decision", Paragraph(text=text, tone="decision"), paragraph(why))


def _count(draft: Draft, one: Priced, step: str) -> Cite:
    if one.count:
        return draft.number(f"{step}.given", one.count, "count", "assumed", "the brief's count of these devices")
    return draft.number(f"{step}.devices", one.devices, "count", "computed", "fewest devices that hold the model")


def _table(draft: Draft, priced: list[Priced]) -> list[Block]:
    heads: list[str | Text] = ["", *(text_of(name(one.called)) for one in priced)]
    rows: list[list[Text]] = [[text_of("on"), *(_where(draft, one) for one in priced)]]
    rows.append([text_of("accuracy"), *(UNKNOWN for _ in priced)])
    for metric in _METRICS:
        cells = [
            draft.estimate(one.step, one.estimates.get(metric)) if one.setup else text_of("does not fit")
            for one in priced
        ]
        rows.append([text_of(_LABELS[metric]), *cells])
    rows.append([text_of("training cost"), *(text_of("none") for _ in priced)])
    complexity = (text_of("low" if one.setup is not None and one.devices == 1 else "medium") for one in priced)
    rows.append([text_of("complexity"), *complexity])
    clients = draft.number("compare.clients", _CLIENTS, "count", "assumed", "a load chosen to compare")
    told = note(
        clients, " clients for each copy, prompts of ", Bound(path="load.prompt_tokens"), " and answers of ",
        Bound(path="load.output_tokens"), " tokens, vLLM, intervals that hold eight times in ten.",
    )  # fmt: skip
    return [table(heads, rows), told]


def _where(draft: Draft, one: Priced) -> Text:
    if one.setup is None:
        counted = (_count(draft, one, one.step), " ") if one.count else ()
        return text_of(*counted, name(one.on.name), ": does not fit")
    form = name(one.setup.precision.weights)
    where = text_of(_count(draft, one, one.step), " ", name(one.on.name), ", ", form)
    if one.copies == 1 and one.devices == one.setup.devices:
        return where
    copies = draft.number(f"{one.step}.copies", one.copies, "count", "computed", "devices / devices of a copy")
    each = draft.number(
        f"{one.step}.each", one.setup.devices, "count", "computed", "fewest devices that hold the model"
    )
    return (*where, *text_of(", copies: ", copies, ", devices of each: ", each))


def _methods(draft: Draft, methods: list[str]) -> None:
    model = draft.brief.model
    called, architecture = architecture_of(model.name if model is not None and model.name else "llama-3.1-8b")
    told = [f"{m.upper()} learns from {align.METHODS[m].needs}." for m in dict.fromkeys(methods)]
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of("The feedback that you have decides between these, more than any benchmark."), tone="decision"
        ),
        items(*(text_of(line) for line in told)),
    )
    draft.section("options", "Options", *align.options(draft, called, architecture))
    first = next((m for m in dict.fromkeys(methods) if m != "ppo"), "dpo")
    told = note("Of ", name(first.upper()), "; of another one: ", command('aether ask "align … with …"'), ".")
    draft.section("recipe", "Recipe", *align.recipe_of(draft, called, architecture, first).blocks(), told)
    draft.section("code", "Code", *align.code_of(draft, architecture, first))
    closing(draft)
