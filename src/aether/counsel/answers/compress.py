"""The answer about compressing a published model: formats side by side on the device, with published quality loss, and the files.

Quality comes from published tables only (`planning.scaling.compression`): a model that is not in them is unknown. Memory and
speed are those of `planning.serving` for one closed loop of clients. Pruning and methods below four bits are named, not offered:
their losses on record are larger (the table shows them) and few engines gain speed from them.
"""

from dataclasses import dataclass

from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.facts import described, device_memory, ranks, weights_in
from aether.counsel.answers.files import calibration_recipe, compress_program, evaluation_command
from aether.counsel.answers.methods import FORMATS as NAMED
from aether.counsel.answers.recipe import DataPart, EvaluationPart, ExactRecipe, HardwarePart, untrained
from aether.knowledge.library import Compressed, Device, compressed, device, price_usd_per_hour
from aether.models.accounting import parameters
from aether.planning.exports.serving import export_serving
from aether.planning.scaling.compression import PROTOCOL
from aether.planning.search.problem import architecture_of
from aether.planning.search.quality import BITS, native_format, quality_of
from aether.planning.search.serving_space import FORMATS
from aether.planning.serving.closed_loop import ClosedLoop
from aether.planning.serving.estimate import serving_estimates
from aether.planning.serving.setup import MULTIPLIED_IN, ServingSetup
from aether.spec.architecture import Architecture
from aether.spec.errors import Infeasible, InputError
from aether.spec.plan import Estimate
from aether.spec.report import Block, Bound, Paragraph, Text, text_of

_OFFERED = ("bf16", "fp8", "int8", "nvfp4", "int4")
_CLIENTS = 16
"""Clients in the closed loop that formats are compared under (chosen)."""
_EFFORT = {
    "bf16": ("none", "low"),
    "fp8": ("minutes, no calibration data", "low"),
    "int8": ("calibration on one device", "medium"),
    "nvfp4": ("calibration on one device", "medium"),
    "int4": ("calibration on one device", "medium"),
}
"""What making the checkpoint takes, and how complex it is (assumed, from the methods' own descriptions)."""
_ELSEWHERE = {
    "wanda": "pruning", "sparsegpt": "pruning", "magnitude-pruning": "pruning", "pruning": "pruning", "aqlm": "below four bits",
    "quip-sharp": "below four bits", "nf4": "fine-tuning alone", "gguf": "llama.cpp", "distillation": "training a smaller model",
}  # fmt: skip
"""What is named and not offered here, and what it is for."""
USES = frozenset({*NAMED, *_ELSEWHERE, "quantisation", "bf16"})
SCHEMES = {"fp8": "FP8_DYNAMIC", "int8": "W8A8", "nvfp4": "NVFP4", "int4": "W4A16"}
"""Preset schemes of compressed-tensors."""
_PUBLISHED_SHOWN = 6


@dataclass(frozen=True)
class Format:
    """One format on the device."""

    form: str
    setup: ServingSetup
    quality: Estimate
    served: dict[str, Estimate] | None
    """None: it does not fit."""


def answer_compress(draft: Draft) -> None:
    """Decision, options, published losses, recipe, files, risks. Raises InputError for names that are not known, and Infeasible."""
    brief = draft.brief
    assert brief.model is not None and brief.model.name is not None and brief.hardware is not None
    called, architecture = architecture_of(brief.model.name)
    chosen_device = device(brief.hardware.name)
    named = {NAMED[m] for m in draft.request.methods if m in NAMED} | {
        f for f in brief.model.formats if f in _OFFERED[1:]
    }
    offered = formats_on(draft, called, architecture, chosen_device, named)
    decided = _decided(draft, called, offered, named if len(named) == 1 else set())
    method = next((m for m in draft.request.methods if NAMED.get(m) == decided.form), decided.form)
    _decision(draft, called, decided, chosen_device)
    draft.section("options", "Options", *option_blocks(draft, called, architecture, offered))
    draft.section("published", "What is published", *_published(draft, called, parameters(architecture).total))
    recipe = _recipe(draft, called, architecture, decided)
    draft.section("recipe", "Recipe", *recipe.blocks())
    draft.section("code", "Code", *_code(decided, method))
    _closing(draft, decided)


def formats_on(draft: Draft, called: str, architecture: Architecture, on: Device, named: set[str]) -> list[Format]:
    """Every format that the device computes in, with its numbers; where several were named, those and 16 bits."""
    brief = draft.brief
    assert brief.hardware is not None
    count, size = brief.hardware.count_of(on.name), float(parameters(architecture).total)
    price = price_usd_per_hour(on.name, brief.hardware.prices_usd_per_hour)
    loop = ClosedLoop(
        prompt_tokens=brief.load.prompt_tokens, output_tokens=brief.load.output_tokens, concurrency=_CLIENTS
    )
    found = []
    for form in _OFFERED:
        precision = FORMATS[form]
        if len(named) > 1 and form not in named and form != "bf16":
            continue
        if MULTIPLIED_IN[precision.weights] not in on.flops_per_s or (
            form == "nvfp4" and on.vendor.lower() != "nvidia"
        ):
            continue
        setup = ServingSetup(architecture=architecture, device=on, precision=precision, tp=ranks(architecture, count))
        try:
            served = serving_estimates(setup, loop, price)
        except InputError:
            served = None
        found.append(Format(form, setup, quality_of(called, size, form, "serve"), served))
    return found


def _decided(draft: Draft, called: str, offered: list[Format], named: set[str]) -> Format:
    """What was named where it fits; else the smallest whose published loss is within the bound; else the most bits below 16."""
    asked = [one for one in offered if one.form in named]
    if named and not any(one.served is not None for one in asked):
        reason = "does not fit" if asked else "is not computed in by this device, or was not among the formats given"
        on = f"{offered[0].setup.devices} x {offered[0].setup.device.name}"
        raise Infeasible(
            f"{called} in {', '.join(sorted(named))} on {on} {reason}; take another format or another device"
        )
    if asked:
        return min((one for one in asked if one.served is not None), key=lambda one: BITS[one.form])
    fit = [one for one in offered if one.served is not None and one.form not in ("bf16", native_format(called))]
    if not fit:
        smallest = min(offered, key=lambda one: BITS[one.form])
        raise Infeasible(
            f"no format of {called} fits: {smallest.form} is the smallest that {smallest.setup.devices} x "
            f"{smallest.setup.device.name} compute in; take more devices or a smaller model"
        )
    bound = draft.brief.quality_loss_bound
    proved = [one for one in fit if one.quality.value is not None and one.quality.value <= bound]
    if proved:
        return min(proved, key=lambda one: (BITS[one.form], one.form))
    unproved = [one for one in fit if one.quality.value is None]
    if not unproved:
        raise Infeasible(
            f"every published loss of {called} is above the bound of {bound:.3g}: loosen quality_loss_bound"
        )
    return max(unproved, key=lambda one: BITS[one.form])


def _decision(draft: Draft, called: str, decided: Format, on: Device) -> None:
    others = [f"{m} ({_ELSEWHERE[m]})" for m in draft.request.methods if m in _ELSEWHERE]
    aside = None
    if others:
        aside = paragraph(
            "You named ", name(", ".join(others)), ": not offered here. Losses on record are larger where fewer than four bits or "
            "half of the weights are left, and few engines run faster for it; what is published stands below.",
        )  # fmt: skip
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of("Compress ", name(called), " to ", name(decided.form), " for ", name(on.name), "."),
            tone="decision",
        ),
        Paragraph(text=_why(draft, decided)),
        aside,
    )


def _why(draft: Draft, decided: Format) -> Text:
    """On which proof the decision rests."""
    loss, bound = decided.quality, Bound(path="quality_loss_bound")
    named = any(NAMED.get(method) == decided.form for method in draft.request.methods)
    head = "You named it. " if named else ""
    if loss.value is None:
        most = "" if named else "It has the most bits of those that save anything here, and so the least to prove. "
        candidate = "Its loss for this model is not published, so that it is a candidate and not a result. "
        return text_of(head, most, candidate, "Accept it when the measured loss is within ", bound, ".")
    published = (*text_of(head, "Its published loss is "), *draft.estimate(f"format-{decided.form}", loss))
    if loss.value > draft.brief.quality_loss_bound:
        return (*published, *text_of(", above the bound of ", bound, ": measure it on your task before you serve it."))
    return (
        *published,
        *text_of(", within the bound of ", bound, "" if named else ", and nothing smaller has that proof", "."),
    )


def option_blocks(draft: Draft, called: str, architecture: Architecture, offered: list[Format]) -> list[Block]:
    """The formats side by side."""
    rows: list[list[Text]] = []
    for one in offered:
        effort, complexity = _EFFORT[one.form]
        served, step = one.served or {}, f"format-{one.form}"
        fits = one.served is not None
        rows.append(
            [
                text_of(name(one.form)),
                draft.estimate(step, one.quality),
                draft.estimate(step, served.get("tpot_p50")) if fits else text_of("does not fit"),
                draft.estimate(step, served.get("throughput")) if fits else text_of("does not fit"),
                weights_in(draft, called, architecture, one.form),
                text_of(effort),
                text_of(complexity),
            ]
        )
    clients = draft.number("formats.clients", _CLIENTS, "count", "assumed", "a load chosen to compare formats")
    heads = (
        "format",
        "accuracy: loss",
        "speed: token",
        "speed: total",
        "memory: weights",
        "cost to make",
        "complexity",
    )
    on = offered[0].setup
    count = draft.number("formats.devices", on.devices, "count", "assumed", "the brief's hardware.count")
    memory = device_memory(draft, on.device)
    told = note(
        "With ", clients, " clients, prompts of ", Bound(path="load.prompt_tokens"), " and answers of ",
        Bound(path="load.output_tokens"), " tokens, on ", count, " ", name(on.device.name), " of ", *memory,
        ", engine vLLM. Training cost: none, nothing is trained.",
    )  # fmt: skip
    return [table(heads, rows), told]


def _published(draft: Draft, called: str, size: float) -> list[Block]:
    """Measured losses on record for this model, else for those nearest in size."""
    rows = compressed()
    same = [row for row in rows if row.model.lower() == called.lower()]
    near = same or sorted(
        (r for r in rows if r.bits <= 8), key=lambda row: max(row.parameters / size, size / row.parameters)
    )
    shown = near[:_PUBLISHED_SHOWN]
    cells = [[text_of(name(r.method)), text_of(name(r.model)), *_before_after(draft, r)] for r in shown]
    told = None
    if not same:
        told = note("None of these is ", name(called), ": out of distribution, and shown for orientation alone.")
    heads = ("method", "model", "metric", "before", "after", "evaluation")
    return [block for block in (told, table(heads, cells)) if block is not None]


def _before_after(draft: Draft, row: Compressed) -> tuple[Text, ...]:
    unit = "fraction" if row.metric == "accuracy" and row.baseline <= 1 else "count"
    before = draft.known(f"published.{row.name}.before", row.baseline, unit, row)
    after = draft.known(f"published.{row.name}.after", row.compressed, unit, row)
    return text_of(row.metric), text_of(before), text_of(after), text_of(name(row.evaluation))


def _recipe(draft: Draft, called: str, architecture: Architecture, decided: Format) -> ExactRecipe:
    seed = draft.number("recipe.seed", draft.brief.seed, "count", "assumed", "the brief's seed")
    data, tokens = text_of("none: scales come from the weights, and at run time from the activations"), text_of("none")
    if decided.form != "fp8":
        samples = draft.number(
            "recipe.samples", 512, "count", "cited", "default of llmcompressor 0.14.0.1's oneshot, read in its wheel"
        )
        length = draft.number("recipe.length", 2048, "token", "assumed", "a usual length of calibration samples")
        data = text_of(
            name("calibration.jsonl"), ": your own prompts with answers, drawn like the traffic that is served"
        )
        tokens = text_of(samples, " samples of at most ", length)
    count = draft.number("formats.devices", decided.setup.devices, "count", "assumed", "the brief's hardware.count")
    return ExactRecipe(
        model=described(draft, called, architecture),
        data=DataPart(composition=data, tokens=tokens),
        optimisation=untrained(
            text_of(name(SCHEMES[decided.form]), " for linear layers; embeddings and head in bf16"), text_of(seed)
        ),
        hardware=HardwarePart(
            devices=text_of(count, " ", name(decided.setup.device.name)),
            parallelism=text_of("tensor parallelism over all of them"),
            software=text_of(name("llmcompressor 0.14, vLLM 0.32")),
        ),
        evaluation=EvaluationPart(
            measured_on=text_of("the same held-out items before and after: your task, and text for perplexity"),
            method=text_of("paired over items, with an interval; the protocol of ", command('aether ask "evaluate …"')),
            decided_by=text_of("the bad end of the interval within ", Bound(path="quality_loss_bound")),
        ),
    )


def _code(decided: Format, method: str) -> list[Block]:
    blocks: list[Block] = [paragraph(command("recipe.yaml"), ", for llm-compressor:")]
    draft_code = Draft.code
    blocks.append(draft_code("yaml", calibration_recipe(method, SCHEMES[decided.form], decided.setup.architecture)))
    blocks += [paragraph(command("compress.py"), ":"), draft_code("python", compress_program(decided.form != "fp8"))]
    served = export_serving(decided.setup, "vllm")
    for file in served:
        blocks += [paragraph(command(file.name), ", to serve what was written:"), draft_code("bash", file.text)]
    blocks += [
        paragraph("Quality, before and after:"),
        draft_code("bash", evaluation_command(("mmlu", "gsm8k", "ifeval"))),
    ]
    return blocks


def _closing(draft: Draft, decided: Format) -> None:
    calibrated = text_of("Calibration text that is unlike your traffic costs quality where you need it.")
    draft.section(
        "risks",
        "Risks",
        items(
            text_of(
                "An average hides its parts: long answers, code, arithmetic and rare languages lose first. Measure them apart."
            ),
            *((calibrated,) if decided.form != "fp8" else ()),
            text_of("AutoGPTQ and AutoAWQ are no longer maintained; the files here are for llm-compressor."),
        ),
    )
    unknown = paragraph("Quality loss of this model: ", *UNKNOWN, f". To settle it: {PROTOCOL}.")
    spread = paragraph(
        "Speed intervals hold eight times in ten on models and devices that the fit had not seen. Published losses hold for "
        "their model, calibration and evaluation; yours may differ."
    )
    draft.section("uncertain", "What is uncertain", unknown if decided.quality.value is None else None, spread)
    draft.section(
        "experiment",
        "Next experiment",
        items(
            text_of("Make the checkpoint, and run the evaluation on both with the same items and seeds."),
            text_of("Accept by the interval of the paired difference; on a miss, take the next format with more bits."),
        ),
    )
