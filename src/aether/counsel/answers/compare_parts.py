"""What every comparison of models and devices has: its exact recipe, risks, what is uncertain, and the next experiment."""

from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, note
from aether.counsel.answers.facts import described
from aether.counsel.answers.recipe import DataPart, EvaluationPart, HardwarePart
from aether.counsel.answers.usual_recipes import run_recipe
from aether.spec.architecture import Architecture
from aether.spec.report import Block, Facts, Text, text_of


def comparison_recipe(
    draft: Draft, models: dict[str, Architecture], hardware: HardwarePart, measured_on: Text
) -> list[Block]:
    """The exact recipe of the comparison, with the configuration of every model."""
    (first, architecture), *others = models.items()
    recipe = run_recipe(
        draft,
        described(draft, first, architecture),
        DataPart(
            composition=text_of("none: the published weights, as they are; the same held-out items for each"),
            tokens=text_of("none: nothing is trained"),
        ),
        hardware,
        EvaluationPart(
            measured_on=measured_on,
            method=text_of("several repeats of the load after a warm-up; quality paired by item, with an interval"),
            decided_by=text_of("quality first, by the interval of the paired difference; then cost at this load"),
        ),
    )
    blocks = list(recipe.blocks())
    for called, other in others:
        part = described(draft, called, other)
        rows = tuple((text_of(f.replace("_", " ")), getattr(part, f)) for f in type(part).model_fields)
        blocks.append(Facts(title="The other model", facts=rows))
    return [*blocks, note("Whole recipe of the one that is decided on: ", command('aether ask "serve …"'), ".")]


def closing(draft: Draft) -> None:
    """Risks, what is uncertain, and the next experiment."""
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
