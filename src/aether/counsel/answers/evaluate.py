"""The answer about evaluating a model: what to measure, how many items the wanted precision needs, and the commands.

Sizes of samples are computed (`evidence.sample_size`); how models differ item by item is not known before a pilot, so the size of a
paired comparison is given for a stated spread. Follows Miller, arXiv 2411.00640.
"""

import re

from aether.counsel.answers.benchmarks import benchmarks_of, shown_by
from aether.counsel.answers.contamination import contamination_code, contamination_sections
from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.files import evaluation_command
from aether.counsel.answers.recipe import DataPart, EvaluationPart, HardwarePart
from aether.counsel.answers.told_scores import told_scores
from aether.counsel.answers.usual_recipes import model_or_yours, run_recipe
from aether.evidence.sample_size import needed_for_share, needed_pairs
from aether.planning.search.problem import architecture_of
from aether.spec.report import Block, Facts, Paragraph, Text, text_of

_HALF_WIDTHS = (0.01, 0.02, 0.03, 0.05)
_SPREAD = 1 / 3
"""Standard deviation of the difference between two models on one item (assumed; the example of Miller's section 5)."""
TASKS = {
    "code": (("humaneval", "mbpp"), "programs that pass their tests"),
    "text": (("mmlu_pro", "ifeval", "gsm8k"), "knowledge, following instructions, arithmetic"),
}
"""Modality -> tasks of lm-eval 0.4.13, and what they measure."""

USES = frozenset({"contamination", "red-teaming"})
"""Methods that the protocol has."""


def answer_evaluate(draft: Draft) -> None:
    """Decision, options, sample sizes, protocol, commands, risks."""
    tasks, measured = TASKS[draft.brief.modality or "text"]
    named = benchmarks_of(draft.request.text)
    tasks = tuple(one.task for one in named) or tasks
    leaked = "contamination" in draft.request.methods
    if leaked:
        contamination_sections(draft)
    elif told_scores(draft):
        draft.section("options", "Options", _options())
    else:
        _decision(draft, "those that you named" if named else measured)
    shown = (paragraph("What you named:"), shown_by(draft, named, _SPREAD)) if named else ()
    draft.section("items", "How many items", *shown, *_sizes(draft))
    draft.section("recipe", "Recipe", *_recipe(draft, tasks), *_protocol())
    preferred = (
        re.search(r"\b(?:prefer\w*|annotat\w*|rat(?:ers?|ings?)|human)\b", draft.request.text.lower()) is not None
    )
    draft.section(
        "code", "Code", *(contamination_code(draft) if leaked else ()), *(_PAIRS if preferred else ()), *_code(tasks)
    )
    _closing(draft)


def _closing(draft: Draft) -> None:
    """Risks, what is uncertain, and the next experiment."""
    draft.section(
        "risks",
        "Risks",
        items(
            text_of(
                "Items that were in the training text make the number too good: search for long shared runs of words."
            ),
            text_of(
                "One template of the prompt is one sample: answers can move with wording more than between models."
            ),
            text_of(
                "Choosing among many models or settings on the same items overstates the winner: confirm it on items kept apart."
            ),
        ),
    )
    draft.section(
        "uncertain",
        "What is uncertain",
        items(
            text_of(
                "What the model scores: ",
                *UNKNOWN,
                " until it is measured; no number is quoted that nobody measured on your items.",
            ),
            text_of(
                "The interval speaks of more items of the same kind. It covers neither other kinds nor other training seeds."
            ),
        ),
    )
    draft.section(
        "experiment",
        "Next experiment",
        items(
            text_of(
                "A hundred items by hand, both models, blind: where they differ is what the full set should be made of."
            ),
            text_of(
                "From their item-wise differences compute the spread, and with it the number of items from the table again."
            ),
        ),
    )


_PAIRS: tuple[Block, ...] = (
    paragraph(
        "People judge blind pairs in ", command("aether web ."), ", page Annotate: JSON lines with ", command("prompt"), ", ", command("a"), " and ", command("b"),
        ", sides by lot; it gives agreement between raters and the win rate.",
    ),
)  # fmt: skip


def _decision(draft: Draft, measured: str) -> None:
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of(
                "Measure your own task on held-out items first, paired with what you use today; public benchmarks second."
            ),
            tone="decision",
        ),
        paragraph(f"Public tasks ({measured}) place a model among others. They do not say how it does your work."),
    )
    draft.section("options", "Options", _options())


def _options() -> Block:
    rows: list[tuple[str, ...]] = [
        (
            "your task, scored by a program",
            "highest: it is the work",
            "fast",
            "the model's",
            "none",
            "medium: the scorer must be right",
        ),
        ("public benchmark", "comparable; may be contaminated", "fast", "the model's", "none", "low"),
        (
            "a judging model",
            "as good as its agreement with people",
            "medium",
            "two models'",
            "none",
            "medium: measure the agreement",
        ),
        ("people, blind pairs", "the reference for taste and tone", "slow", "the model's", "none", "high"),
    ]
    heads = ("way", "accuracy of the verdict", "speed", "memory", "training cost", "complexity")
    return table(heads, [[text_of(cell) for cell in row] for row in rows])


def _sizes(draft: Draft) -> list[Block]:
    rows: list[list[Text]] = []
    for width in _HALF_WIDTHS:
        at = f"sizes.at-{round(width * 100)}"
        wanted = draft.number(f"{at}.width", width, "fraction", "assumed", "precisions to choose among")
        share = draft.number(
            f"{at}.share",
            needed_for_share(width),
            "count",
            "computed",
            "z^2 * p (1 - p) / width^2 with p = 0.5, level 95 %",
        )
        pairs = draft.number(
            f"{at}.pairs",
            needed_pairs(_SPREAD, width),
            "count",
            "computed",
            "((z95 + z80) * spread / difference)^2, Miller, arXiv 2411.00640, equation 9",
        )
        rows.append([text_of(wanted), text_of(share), text_of(pairs)])
    draft.refer("Adding Error Bars to Evals (Miller 2024)", "arXiv 2411.00640", "2026-11-25")
    spread = draft.number(
        "sizes.spread", _SPREAD, "count", "assumed", "the example of Miller, arXiv 2411.00640, section 5"
    )
    told = note(
        "First column: half of the interval of one model's accuracy, or the difference to be found between two. The second needs a "
        "spread of item-wise differences, here ", spread, "; similar models differ less and need fewer. Items that belong "
        "together (one document, one conversation) count as less than their number.",
    )  # fmt: skip
    heads = ("precision", "items for one model", "items for a paired comparison, found eight times in ten")
    return [table(heads, rows), told]


def _recipe(draft: Draft, tasks: tuple[str, ...]) -> list[Block]:
    """The exact recipe for the first model that was named; the configuration of every other beside it."""
    model = draft.brief.model
    names = [n for n in ((model.name, *model.others) if model is not None else ()) if n]
    known = [architecture_of(called) for called in names]
    hardware = draft.brief.hardware
    where = name(hardware.name) if hardware is not None else "any that runs the format"
    recipe = run_recipe(
        draft,
        model_or_yours(draft, *(known[0] if known else (None, None))),
        DataPart(
            composition=text_of(
                "held-out items of your task; then ", name(", ".join(tasks)), ", as lm-eval ships them"
            ),
            tokens=text_of("none: nothing is trained; items by the table above"),
        ),
        HardwarePart(
            devices=text_of(where, ", the same for all that is compared: batch and kernels move answers a little"),
            parallelism=text_of("data parallel over items: one copy of the model on each device that holds it"),
            software=text_of(name("lm-eval 0.4.13")),
        ),
        EvaluationPart(
            measured_on=text_of(
                "items by source and time apart from all training text; frozen and hashed before the first run"
            ),
            method=text_of(
                "greedy, three templates at least, scored by a program; clustered and paired standard errors"
            ),
            decided_by=text_of("the interval of the paired difference; “no evidence of a difference” is an answer"),
        ),
    )
    blocks = list(recipe.blocks())
    for called, architecture in known[1:]:
        part = model_or_yours(draft, called, architecture)
        rows = tuple((text_of(f.replace("_", " ")), getattr(part, f)) for f in type(part).model_fields)
        blocks.append(Facts(title="The other model", facts=rows))
    return blocks


def _protocol() -> list[Block]:
    rows: list[tuple[Text, Text]] = [
        (
            text_of("items"),
            text_of("by source and time apart from all training text; frozen and hashed before the first run"),
        ),
        (
            text_of("contamination"),
            text_of("overlap of long word runs with the training text, reported; results with and without"),
        ),
        (
            text_of("prompts"),
            text_of("three templates at least, the chat template applied; the spread between them is reported"),
        ),
        (
            text_of("decoding"),
            text_of("greedy, or temperature with several samples an item; the length limit and the seed stated"),
        ),
        (
            text_of("scoring"),
            text_of("a program where one can decide; a judging model only with measured agreement, order swapped"),
        ),
        (
            text_of("statistics"),
            text_of("clustered and paired standard errors, intervals; Holm's correction over several comparisons"),
        ),
        (text_of("apart"), text_of("by topic, length and language, and a set that is out of distribution by design")),
    ]

    return [Facts(title="Protocol", facts=tuple(rows))]


def _code(tasks: tuple[str, ...]) -> list[Block]:
    command_line = evaluation_command(tasks)
    if "humaneval" in tasks:
        # Programs that a model wrote are run: in a container without a network.
        command_line = command_line.rstrip("\n") + " --confirm_run_unsafe_code\n"
    return [
        paragraph(
            "Run it for both models with ", command("--log_samples"), ", so that they can be compared item by item:"
        ),
        Draft.code("bash", command_line),
        note(
            "Compare two of Aether's own runs with ",
            command("aether compare RUN_A RUN_B"),
            ": paired where both kept their items.",
        ),
    ]
