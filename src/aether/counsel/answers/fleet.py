"""The answer about a published model on given hardware: which deployment or training run, why, at what cost, and what is not known.

The search of `planning.search` decides; this arranges its plan under the headings of an answer. A brief that cannot be met is
`refused.infeasible`.
"""

from collections.abc import Sequence

from aether.counsel import fleet
from aether.counsel.answers.brief_text import brief_toml
from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.files import complete_sft, complete_torchtitan
from aether.counsel.answers.fleet_recipe import (
    draft_loss,
    hyperparameters,
    load_command,
    serving_recipe,
    training_recipe,
)
from aether.counsel.answers.sizing import loaded, sized
from aether.planning.exports.common import ExportedFile
from aether.planning.search.problem import Problem
from aether.planning.serving.setup import ServingSetup
from aether.planning.training.setup import TrainingSetup
from aether.report.fleet import columns
from aether.spec.fleet import FleetOption, FleetPlan
from aether.spec.report import Block, Bound, Paragraph, Text, text_of

SHOWN = 4
"""Options side by side: what a line of a hundred characters holds."""
CHANGES = 4
"""What would change the decision, the first of them."""
LABELS = {
    "quality_loss": "accuracy: quality loss",
    "ttft_p99": "speed: first token p99",
    "itl_p99": "speed: between tokens p99",
    "build_time": "speed: training time",
    "mfu": "speed: MFU",
    "device_memory": "memory of a device",
    "cost_per_million_tokens": "cost of a million tokens",
    "build_cost": "training cost",
}
"""What a metric is called in the table; another one is a speed."""
LANGUAGES = {"sh": "bash", "yaml": "yaml", "yml": "yaml", "json": "json", "py": "python", "toml": "toml", "txt": "text"}
_SOURCE = "planning.search, written in the plan of this brief"

USES = frozenset(
    [
        "lora",
        "qlora",
        "full-fine-tuning",
        "sft",
        "fp8",
        "int8",
        "int4",
        "mxfp4",
        "nvfp4",
        "bf16",
        "quantisation",
        "kv-cache-quantisation",
        "fsdp",
        "zero",
        "tensor-parallel",
        "pipeline-parallel",
        "expert-parallel",
        "context-parallel",
        "adamw",
        "paged-attention",
        "continuous-batching",
        "chunked-prefill",
        "flash-attention",
        "mixture-of-experts",
        "gqa",
        "mla",
    ]
)
"""Methods that a plan weighs or that the exported engines and trainers do."""


def answer_fleet(draft: Draft) -> None:
    """Decision, options, recipe, files, risks, uncertainty and the next experiment. Raises NeedsInput, Infeasible, InputError."""
    searched: tuple[str, ...] = ()
    if {"hardware", "estimate"} & set(draft.request.sought):
        draft.brief, searched = sized(draft.brief)
    if "load" in draft.request.sought and draft.request.intent == "serve":
        draft.brief, most = loaded(draft.brief)
        searched += most
    problem, plan = fleet.decide(draft.brief)
    option, setup = plan.decision, fleet.setup_of(plan.decision)
    exported, notes = _completed(draft, problem, setup, *fleet.exports(option))
    _decision(draft, plan, searched)
    draft.section("options", "Options", *_options(draft, plan))
    recipe = (
        serving_recipe(draft, problem, option, setup, _software(option, exported))
        if isinstance(setup, ServingSetup)
        else training_recipe(draft, problem, option, setup, _software(option, exported))
    )
    draft.section("recipe", "Recipe", *recipe.blocks())
    draft.section(
        "code", "Code", *_code(draft, problem, exported, option.replicas if isinstance(setup, ServingSetup) else None)
    )
    draft.section("risks", "Risks", *_risks(draft, plan, notes, setup))
    draft.section("uncertain", "What is uncertain", *_uncertain(draft, plan))
    draft.section("experiment", "Next experiment", *_experiment(draft, problem, option))


Exported = Sequence[tuple[str, ExportedFile]]


def _completed(
    draft: Draft, problem: Problem, setup: ServingSetup | TrainingSetup, exported: Exported, notes: Sequence[str]
) -> tuple[Exported, Sequence[str]]:
    """The files with the hyperparameters of the recipe in them, and the notes that still hold; TRL first for fine-tuning."""
    training = problem.training
    if training is None or not isinstance(setup, TrainingSetup):
        return exported, notes
    rates, steps = hyperparameters(draft, problem), max(1, round(training.tokens / setup.tokens_per_step))
    found = []
    for tool, file in exported:
        text = file.text
        if tool == "accelerate":
            text = "".join(line for line in text.splitlines(keepends=True) if "learning rate" not in line)
        if file.name == "trl_sft.yaml":
            text = complete_sft(text, rates | {"max_steps": steps})
        elif file.name == "aether_torchtitan.py":
            warmup = max(1, round(rates["warmup_steps"] * steps))
            text = complete_torchtitan(text, rates["learning_rate"], steps, warmup)
        found.append((tool, file.model_copy(update={"text": text})))
    if problem.task == "finetune":
        found.sort(key=lambda pair: pair[0] != "accelerate")
    written = {tool for tool, _ in found}
    own = [note for note in notes if not written or note.partition(":")[0] in written]
    return found, [note for note in own if "learning rate" not in note]


def _software(option: FleetOption, exported: Exported) -> str:
    """The engine or trainer with the release that its files were written for."""
    lines = (line for _, file in exported[:1] for line in file.text.splitlines() if line.startswith("# for "))
    return next((line.removeprefix("# for ").partition(";")[0] for line in lines), option.software)


def _decision(draft: Draft, plan: FleetPlan, searched: tuple[str, ...]) -> None:
    """`searched`: settings of the hardware that was looked through, where hardware is what was asked for."""
    option = plan.decision
    verb = {"serve": "Serve", "pretrain": "Train", "finetune": "Fine-tune"}[plan.task]
    many: Text = ()
    if searched:
        count = draft.number("plan.devices", option.devices, "count", "computed", _SOURCE)
        many = text_of(": ", count, " devices" if option.devices > 1 else " device")
    decided = text_of(f"{verb} ", name(option.model), " as ", name(option.name))
    decided = Paragraph(text=(*decided, *many, *text_of(".")), tone="decision")
    why = Paragraph(text=draft.sentence("plan", plan.because, _SOURCE))
    changes = [draft.sentence("plan", change, _SOURCE) for change in plan.would_change[:CHANGES]]
    blocks: list[Block] = [decided, why]
    if (time := option.estimate("build_time")) is not None:
        blocks.append(paragraph("It takes ", *draft.estimate(step_of(option), time), "."))
    if "load" in draft.request.sought and (answer := option.estimate("e2e_p50")) is not None and answer.value:
        blocks.append(_at_once(draft, answer.value))
    if searched:
        blocks.append(note("Searched, since you asked: ", command(", ".join(searched)), "."))
    if changes:
        blocks += [paragraph("What would change it:"), items(*changes)]
    draft.section("decision", "Decision", *blocks)


def _at_once(draft: Draft, answer_s: float) -> Block:
    """The load as requests in flight, by Little's law."""
    rate = draft.brief.load.requests_per_s
    many = draft.number(
        "plan.at_once", rate * answer_s, "count", "computed", "requests per second * median seconds of an answer"
    )
    return paragraph("At ", Bound(path="load.requests_per_s"), " requests/s about ", many, " are in flight at once.")


def _options(draft: Draft, plan: FleetPlan) -> Sequence[Block]:
    shown = plan.options[:SHOWN]
    heads: list[str | Text] = ["", *(text_of(name(str(i))) for i in range(1, len(shown) + 1))]
    rows: list[list[Text]] = [[text_of("what"), *(text_of(name(o.name)) for o in shown)]]
    for metric in columns(plan):
        label = LABELS.get(metric, f"speed: {metric.replace('_', ' ')}")
        bound = text_of(" ", Bound(path=f"targets.{metric}")) if draft.brief.target(metric) else ()
        cells = [draft.estimate(step_of(o), o.estimate(metric)) for o in shown]
        rows.append([(*text_of(label), *bound), *cells])
    if plan.task == "serve":
        rows.append([text_of("training cost"), *(text_of("none: nothing is trained") for _ in shown)])
    rows.append([text_of("complexity"), *(text_of(o.complexity) for o in shown)])
    rows.append([text_of("targets"), *(text_of(o.standing.replace("_", " ")) for o in shown)])
    more = len(plan.options) - len(shown)
    rest = draft.number("plan.more", more, "count", "computed", _SOURCE) if more else None
    weighed = draft.number("plan.considered", plan.considered, "count", "computed", _SOURCE)
    told = note(
        weighed, " layouts weighed",
        *(("; ", rest, " more that no other beats are in ") if rest else ("; all that no other beats are shown; more in ",)),
        command("aether plan brief.toml"), ". Intervals hold eight times in ten.",
    )  # fmt: skip
    return table(heads, rows), told


def step_of(option: FleetOption) -> str:
    """Under what an option's estimates are cited."""
    return f"option-{option.name}"


def _code(draft: Draft, problem: Problem, exported: Exported, replicas: int | None) -> list[Block]:
    blocks: list[Block] = []
    first = exported[0][0] if exported else ""
    starts = []
    for tool, file in exported:
        if tool == first:
            blocks.append(paragraph(command(file.name), ":"))
            blocks.append(draft.code(LANGUAGES.get(file.name.rsplit(".", 1)[-1], "text"), file.text))
            # The completed file names its data itself.
            starts.append(fleet.start_of(file.name).replace(" --dataset_name DATA", ""))
    if any(starts):
        blocks += [paragraph("To start it:"), draft.code("bash", "".join(f"{start}\n" for start in starts if start))]
    others = [file.name for tool, file in exported if tool != first]
    if others:
        told = ("Other tools take this layout, too: ", command("aether plan brief.toml"), " writes ")
        blocks.append(note(*told, name(", ".join(others)), "."))
    if replicas is not None:
        blocks += [paragraph("The load test that holds the prediction to account:")]
        blocks.append(draft.code("bash", load_command(problem, replicas)))
    blocks += [paragraph("The brief as it was read:"), draft.code("toml", brief_toml(draft.brief))]
    return blocks


def _risks(draft: Draft, plan: FleetPlan, notes: Sequence[str], setup: ServingSetup | TrainingSetup) -> list[Block]:
    option = plan.decision
    found: list[Text] = []
    if option.standing == "at_risk":
        found.append(text_of("A target is at risk: the bad end of its interval is on the wrong side."))
    if draft_loss(option) is None:
        found.append(text_of("The quality of this format is not known for this model: measure it before you serve it."))
    if isinstance(setup, ServingSetup):
        found += _serving_risks(draft, option)
    else:
        found.append(
            text_of(
                "Loss spikes and failing devices: keep checkpoints, skip steps whose gradient norm is far outside its recent "
                "range, and watch loss, gradient norm and tokens per second from the first step."
            )
        )
        if draft.request.intent == "continue":
            found.append(
                text_of(
                    "Continued training forgets: mix text of the original kind in, warm the learning rate up again, and measure "
                    "what the model could do before as well as what it learns."
                )
            )
        found.append(
            text_of("Held-out text that overlaps the training text makes every number too good: deduplicate first.")
        )
    found += [draft.sentence("export", line, "the exported file's own note") for line in notes]
    return [items(*found)]


def _serving_risks(draft: Draft, option: FleetOption) -> list[Text]:
    found = [
        text_of(
            "The prediction is for prompts and answers of one length. Long tails of lengths raise the ninety-ninth percentile: "
            "replay your own traffic with ",
            command("aether simulate"),
            ".",
        )
    ]
    if option.replicas > 1:
        one = draft.number("risk.replicas", option.replicas, "count", "computed", _SOURCE)
        share = option.replicas / (option.replicas - 1) - 1
        more = draft.number("risk.failover", share, "fraction", "computed", "replicas / (replicas - 1) - 1")
        found.append(
            text_of("If one of ", one, " replicas fails, each other one carries ", more, " more: there is no spare.")
        )
    else:
        found.append(text_of("One replica is a single point of failure: a restart is an outage."))
    return found


def _uncertain(draft: Draft, plan: FleetPlan) -> list[Block]:
    option = plan.decision
    found: list[Text] = []
    for metric in columns(plan):
        estimate = option.estimate(metric)
        if estimate is not None and estimate.value is None:
            head = text_of(f"{metric.replace('_', ' ')}: ", *UNKNOWN, ". ")
            found.append((*head, *draft.sentence("unknown", f"To settle it: {estimate.protocol}", _SOURCE)))
        elif estimate is not None and estimate.interval is not None:
            bound_by = (
                f", decided by {estimate.binding.removesuffix('_bytes').replace('_', ' ')}" if estimate.binding else ""
            )
            cited = draft.estimate(step_of(option), estimate)
            method = draft.sentence("interval", f" ({estimate.interval.method}).", _SOURCE)
            found.append((*text_of(f"{metric.replace('_', ' ')}: "), *cited, *text_of(bound_by), *method))
    by_protocol: dict[str, list[str]] = {}
    for estimate in plan.unknown:
        by_protocol.setdefault(estimate.protocol or "", []).append(estimate.formula)
    for protocol, formulas in by_protocol.items():
        text = f"Unknown: {_together(formulas)}. To settle it: {protocol}."
        found.append(draft.sentence("unknown", text, _SOURCE))
    outside = note(
        "In distribution: devices, engines and models like those that the speed model was fitted to, and text like that which ",
        "the model was trained on. Other languages, domains and lengths are outside, and nothing here speaks for them.",
    )
    return [items(*found), outside]


def _together(formulas: Sequence[str]) -> str:
    """ "nothing published covers X in fp8", "... in int8" as one clause."""
    parts = [formula.rpartition(" in ") for formula in dict.fromkeys(formulas)]
    if len({head for head, *_ in parts}) == 1 and parts[0][0]:
        return f"{parts[0][0]} in {', '.join(tail for *_, tail in parts)}"
    return "; ".join(dict.fromkeys(formulas))


def _experiment(draft: Draft, problem: Problem, option: FleetOption) -> list[Block]:
    if problem.task == "serve":
        first = draft.estimate(step_of(option), option.estimate("ttft_p99"))
        return [
            items(
                text_of("Start one replica with the file above, and send it its share of the load with the load test."),
                (*text_of("Compare the measured first token p99 with the prediction of "), *first, *text_of(".")),
                text_of(
                    "Outside the interval, the plan is wrong for your case: plan again with what you measured before you buy."
                ),
            )
        ]
    step = draft.estimate(step_of(option), option.estimate("step_time"))
    rate = text_of("a third, one and three times the learning rate above")
    return [
        items(
            (
                *text_of("Run a hundred steps in the decided layout and compare the step time with "),
                *step,
                *text_of("."),
            ),
            (
                *text_of("On a hundredth of the tokens, try "),
                *rate,
                *text_of("; keep the best by held-out loss, with its noise."),
            ),
            text_of("Only then start the long run; keep its record so that it can be made again."),
        )
    ]
