"""Full fine-tuning, LoRA and QLoRA side by side: what each holds in memory, what learns, and the command that plans each.

Memory is of weights, gradients and Adam's states, computed from the model's size; the plan of each has time, cost and activations.
LoRA is Hu et al. (arXiv 2106.09685), QLoRA Dettmers et al. (arXiv 2305.14314).
"""

from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.methods import TUNINGS
from aether.counsel.answers.usual_recipes import tuning_recipe
from aether.models.accounting import parameters
from aether.planning.search.problem import architecture_of
from aether.spec.architecture import Architecture
from aether.spec.report import Block, Paragraph, Text, text_of

USES = frozenset(TUNINGS)
_TRAINED_BYTES = 16.0
"""A weight that learns by Adam in mixed precision: 2 + 2 bytes, and 12 in float32 (ZeRO, arXiv 1910.02054, section 3.1)."""
_FROZEN_BYTES = {"full": 0.0, "lora": 2.0, "qlora": 4.127 / 8}
"""Of a weight that stands still: 16 bits, or NF4 with double quantisation, 4.127 bits (QLoRA, section 3)."""
_WORDS: dict[str, tuple[str, str, str, str]] = {
    "full": ("all weights", "the most room to change, and to forget", "a whole backward pass", "medium: states must be split"),
    "lora": ("low-rank updates of every linear layer", "near full tuning on narrow tasks in its paper, assumed",
             "no gradients of frozen weights", "low"),
    "qlora": ("the same, over four-bit weights", "as LoRA in its paper, assumed; the rounding is one more thing to measure",
              "slower steps: weights are unpacked", "low"),
}  # fmt: skip
"""What learns, accuracy, speed, complexity: in words, from the papers (from memory)."""


def compare_tunings(draft: Draft) -> None:
    """Decision, options, recipe pointers, risks."""
    model = draft.brief.model
    assert model is not None and model.name is not None
    called, architecture = architecture_of(model.name)
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of("Start with LoRA; train all weights only where it is measured to fall short."), tone="decision"
        ),
        paragraph(
            "It holds a fraction of the states, so that it fits fewer devices and more tries fit the budget. QLoRA is for when the "
            "frozen weights themselves do not fit."
        ),
    )
    draft.section("options", "Options", *_options(draft, called, architecture))
    size = parameters(architecture).total
    adapters = tuning_recipe(draft, called, architecture, "lora", size * _FROZEN_BYTES["lora"])
    whole = note(
        "The same of another one, planned for your devices: the commands below. All weights take their own, lower, rate."
    )
    draft.section("recipe", "Recipe", *adapters.blocks(), whole)
    draft.section("code", "Code", draft.code("bash", _commands(called)))
    draft.section(
        "risks",
        "Risks",
        items(
            text_of(
                "Adapters want a higher learning rate than all weights do: the same rate for both is no comparison."
            ),
            text_of("Adapters merged into four-bit weights are not what was trained: merge into the 16-bit ones."),
        ),
    )
    draft.section(
        "uncertain",
        "What is uncertain",
        items(
            text_of(
                "Which is better on your task: ",
                *UNKNOWN,
                ". To settle it: both on the same data, rates swept, paired, three seeds.",
            )
        ),
    )
    draft.section(
        "experiment",
        "Next experiment",
        items(text_of("A tenth of the data with each, three learning rates, judged by your own held-out items.")),
    )


def _options(draft: Draft, called: str, architecture: Architecture) -> list[Block]:
    size = parameters(architecture).total
    rows: list[list[Text]] = []
    for method, (learns, accuracy, speed, complexity) in _WORDS.items():
        held = size * (_TRAINED_BYTES if method == "full" else _FROZEN_BYTES[method])
        source = (
            "parameters * 16 bytes"
            if method == "full"
            else f"parameters * {_FROZEN_BYTES[method]:.3g} bytes, adapters apart"
        )
        memory = draft.number(f"tuning.{called}.{method}.memory", held, "byte", "computed", source)
        more = "" if method == "full" else ", and a few per cent for adapters"
        rows.append(
            [
                text_of(name(method)), text_of(learns), text_of(accuracy), text_of(speed), text_of(memory, f", computed{more}"),
                text_of("in ", command(f"--set model.method={method}")), text_of(complexity),
            ]
        )  # fmt: skip
    draft.refer("LoRA (Hu et al. 2021)", "arXiv 2106.09685", "2026-11-25")
    draft.refer("QLoRA (Dettmers et al. 2023)", "arXiv 2305.14314", "2026-11-25")
    heads = ("method", "what learns", "accuracy", "speed", "memory", "training cost", "complexity")
    return [
        table(heads, rows),
        note("Memory is before it is split over devices; activations come on top, and the plan of each has them."),
    ]


def _commands(called: str) -> str:
    asked = f'aether ask "fine-tune {called} on 100M tokens on 8 H100 within 2 days" --accept-defaults'
    return "".join(f"{asked} --set model.method={method}\n" for method in _WORDS)
