"""The answer about a comparison: models or devices side by side under one load, number formats on a device, or methods of a kind.

Each pairing takes the fewest devices of a kind that hold the model. Speed, memory and cost are predictions of `planning.serving` for
one closed loop of clients; accuracy is unknown, since no published number compares models under one protocol on your task.
"""

from aether.counsel.answers import align, compress, tunings
from aether.counsel.answers.brief_text import brief_toml
from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.evaluate import TASKS
from aether.counsel.answers.facts import described, ranks
from aether.counsel.answers.files import evaluation_command
from aether.counsel.answers.methods import alignments, compared, has_numbers
from aether.counsel.answers.recipe import DataPart, EvaluationPart, HardwarePart
from aether.counsel.answers.side_by_side import compare_topics, topics_of
from aether.counsel.answers.usual_recipes import run_recipe
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
from aether.spec.report import Block, Bound, Facts, Paragraph, Text, text_of

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
    pairs = [(*architecture_of(each), device(on)) for each in names for on in devices]
    _side_by_side(draft, pairs)
    return None


def _setup(
    architecture: Architecture, called: str, on: Device, load: ClosedLoop, formats: tuple[str, ...]
) -> tuple[ServingSetup, dict[str, Estimate]] | None:
    """The fewest devices that hold the model in the format that was asked for or that it was published in, where the device computes
    in it; else in 16 bits."""
    form = next((f for f in formats if f in FORMATS), native_format(called))
    if MULTIPLIED_IN[FORMATS[form].weights] not in on.flops_per_s:
        form = "bf16"
    for count in _COUNTS:
        if ranks(architecture, count) != count:
            continue
        setup = ServingSetup(architecture=architecture, device=on, precision=FORMATS[form], tp=count)
        try:
            return setup, serving_estimates(setup, load)
        except InputError:
            continue
    return None


def _side_by_side(draft: Draft, pairs: list[tuple[str, Architecture, Device]]) -> None:
    load = draft.brief.load
    loop = ClosedLoop(prompt_tokens=load.prompt_tokens, output_tokens=load.output_tokens, concurrency=_CLIENTS)
    formats = draft.brief.model.formats if draft.brief.model is not None else ()
    found = [
        (called, architecture, on, _setup(architecture, called, on, loop, formats))
        for called, architecture, on in pairs[:4]
    ]
    priced = []
    for called, architecture, on, made in found:
        prices = draft.brief.hardware.prices_usd_per_hour if draft.brief.hardware else {}
        price = price_usd_per_hour(on.name, prices)
        estimates = serving_estimates(made[0], loop, price) if made and price is not None else (made[1] if made else {})
        priced.append((called, architecture, on, made[0] if made else None, estimates))
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
    _closing(draft)


def _recipe(draft: Draft, priced: list["Priced"]) -> list[Block]:
    """The exact recipe of the comparison, with the configuration of every model."""
    models = {called: architecture for called, architecture, *_ in priced}
    (first, architecture), *others = models.items()
    where = ", ".join(dict.fromkeys(on.name for _, _, on, *_ in priced))
    layouts = {f"tp {setup.tp}" for _, _, _, setup, _ in priced if setup is not None} or {"none that fits"}
    load = draft.brief.load
    recipe = run_recipe(
        draft,
        described(draft, first, architecture),
        DataPart(
            composition=text_of("none: the published weights, as they are; the same held-out items for each"),
            tokens=text_of("none: nothing is trained"),
        ),
        HardwarePart(
            devices=text_of(name(where), ", as many as the table says"),
            parallelism=text_of(name(", ".join(sorted(layouts))), ": tensor parallel over the devices of a copy"),
            software=text_of(name("vLLM")),
        ),
        EvaluationPart(
            measured_on=text_of(
                "closed loop of ", draft.number("compare.clients", _CLIENTS, "count", "assumed", "a load chosen to compare"), " clients, prompts of ",
                draft.number("compare.prompt", load.prompt_tokens, "token", "assumed", "the brief's load"), " and answers of ",
                draft.number("compare.output", load.output_tokens, "token", "assumed", "the brief's load"), "; quality on your own items",
            ),
            method=text_of("several repeats of the load after a warm-up; quality paired by item, with an interval"),
            decided_by=text_of("quality first, by the interval of the paired difference; then cost at this load"),
        ),
    )  # fmt: skip
    blocks = list(recipe.blocks())
    for called, other in others:
        part = described(draft, called, other)
        rows = tuple((text_of(f.replace("_", " ")), getattr(part, f)) for f in type(part).model_fields)
        blocks.append(Facts(title="The other model", facts=rows))
    return [*blocks, note("Whole recipe of the one that is decided on: ", command('aether ask "serve …"'), ".")]


Priced = tuple[str, Architecture, Device, ServingSetup | None, dict[str, Estimate]]


def _decide(draft: Draft, priced: list[Priced]) -> None:
    costs = {
        i: e["cost_per_million_tokens"].value
        for i, (*_, e) in enumerate(priced)
        if e and e["cost_per_million_tokens"].value
    }
    if not costs:
        text = text_of("No price of these devices is known: choose by the table, or give hardware.price_usd_per_hour.")
        return draft.section("decision", "Decision", Paragraph(text=text, tone="decision"))
    best = min(costs, key=lambda i: costs[i] or 0.0)
    called, _, on, setup, _ = priced[best]
    assert setup is not None
    one_model = len({p[0] for p in priced}) == 1
    unpriced = len(priced) - len(costs)
    why = (
        "Devices without a known price are left out of this: give hardware.prices_usd_per_hour to have them in."
        if unpriced
        else "The model is the same everywhere, so that quality does not enter; the interval of each cost stands in the table."
        if one_model
        else "This is on cost at equal load alone. Which model does your work better is not known here, and decides first."
    )
    count = draft.number("compare.devices", setup.devices, "count", "computed", "fewest devices that hold the model")
    text = text_of(
        "Cheapest at this load" + (" of what has a price: " if unpriced else ": "),
        name(called),
        " on ",
        count,
        " ",
        name(on.name),
        ".",
    )
    return draft.section("decision", "Decision", Paragraph(text=text, tone="decision"), paragraph(why))


def _table(draft: Draft, priced: list[Priced]) -> list[Block]:
    heads: list[str | Text] = ["", *(text_of(name(called)) for called, *_ in priced)]
    rows: list[list[Text]] = [[text_of("on"), *(_where(draft, p) for p in priced)]]
    rows.append([text_of("accuracy"), *(UNKNOWN for _ in priced)])
    for metric in _METRICS:
        cells = [draft.estimate(_step(p), p[4].get(metric)) if p[4] else text_of("does not fit") for p in priced]
        rows.append([text_of(_LABELS[metric]), *cells])
    rows.append([text_of("training cost"), *(text_of("none") for _ in priced)])
    rows.append(
        [
            text_of("complexity"),
            *(text_of("low" if p[3] is not None and p[3].devices == 1 else "medium") for p in priced),
        ]
    )
    clients = draft.number("compare.clients", _CLIENTS, "count", "assumed", "a load chosen to compare")
    told = note(
        clients, " clients, prompts of ", Bound(path="load.prompt_tokens"), " and answers of ", Bound(path="load.output_tokens"),
        " tokens, vLLM, intervals that hold eight times in ten.",
    )  # fmt: skip
    return [table(heads, rows), told]


def _step(priced: Priced) -> str:
    return f"compare-{priced[0]}-{priced[2].name}"


def _where(draft: Draft, priced: Priced) -> Text:
    _, _, on, setup, _ = priced
    if setup is None:
        return text_of(name(on.name), ": does not fit")
    count = draft.number(
        f"{_step(priced)}.count", setup.devices, "count", "computed", "fewest devices that hold the model"
    )
    form = name(setup.precision.weights)
    return text_of(count, " ", name(on.name), ", ", form)


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
    _closing(draft)


def _closing(draft: Draft) -> None:
    draft.section(
        "risks",
        "Risks",
        items(
            text_of(
                "A benchmark table from several papers compares protocols as much as models: measure both under one."
            ),
            text_of("Licences, languages and context lengths differ too, and are not in the table."),
        ),
    )
    draft.section(
        "uncertain",
        "What is uncertain",
        items(
            text_of(
                "Accuracy on your task: ",
                *UNKNOWN,
                ". To settle it: the same held-out items for each, paired, with an interval.",
            ),
            text_of("Where two intervals overlap, no difference is shown."),
        ),
    )
    draft.section(
        "experiment",
        "Next experiment",
        items(
            text_of(
                "A hundred of your items through each, blind; then the number of items that ",
                command('aether ask "evaluate …"'),
                " computes.",
            )
        ),
    )
