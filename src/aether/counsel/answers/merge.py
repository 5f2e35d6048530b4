"""The answer about merging models: which method for what is merged, what it needs, and mergekit's configuration.

Methods by their papers: SLERP (Shoemake 1985, of weights), linear averages (model soups, arXiv 2203.05482), TIES (arXiv 2306.01708),
DARE (arXiv 2311.03099). Whether a merge is better than its parents is not predictable: it is measured against each of them.
"""

import re
from dataclasses import dataclass

from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.facts import described
from aether.counsel.answers.files import evaluation_command, merge_config
from aether.counsel.answers.recipe import DataPart, EvaluationPart, ExactRecipe, HardwarePart, untrained
from aether.models.accounting import parameters
from aether.planning.search.problem import architecture_of
from aether.spec.architecture import Architecture
from aether.spec.errors import InputError
from aether.spec.report import Block, Paragraph, Text, text_of


@dataclass(frozen=True)
class Method:
    """A way to merge."""

    merges: str
    needs: str
    complexity: str
    paper: str
    address: str


METHODS: dict[str, Method] = {
    "linear": Method(
        "checkpoints of one run, or of runs from the same start", "the models", "low", "Model soups (Wortsman et al. 2022)", "arXiv 2203.05482"
    ),
    "slerp": Method("two models of one base", "exactly two models", "low", "Shoemake 1985, applied to weights by mergekit", "https://github.com/arcee-ai/mergekit"),
    "task_arithmetic": Method(
        "fine-tunings of one base, whose changes are added at a strength that you sweep", "the base, and a strength", "low",
        "Editing Models with Task Arithmetic (Ilharco et al. 2022)", "arXiv 2212.04089",
    ),
    "ties": Method(
        "several fine-tunings of one base for different tasks", "the base, and a density", "medium", "TIES-Merging (Yadav et al. 2023)", "arXiv 2306.01708"
    ),
    "dare_ties": Method(
        "the same, where changes are many and small", "the base, and a density", "medium", "DARE (Yu et al. 2023)", "arXiv 2311.03099"
    ),
}  # fmt: skip
"""Read from memory of the papers; keys are mergekit's names."""
BASE = "BASE_MODEL"
"""What stands in the file for the common base, which nothing read names."""
_KNOWN = {
    "slerp": "slerp",
    "ties": "ties",
    "dare": "dare_ties",
    "dare-ties": "dare_ties",
    "dare_ties": "dare_ties",
    "linear": "linear",
    "model-soup": "linear",
    "task-arithmetic": "task_arithmetic",
}
_OVER_A_BASE = ("task_arithmetic", "ties", "dare_ties")

USES = frozenset(_KNOWN)


def answer_merge(draft: Draft) -> None:
    """Decision, options, recipe, configuration, risks."""
    models = models_of(draft)
    named = next((_KNOWN[m] for m in draft.request.methods if m in _KNOWN), None)
    decided = named or ("slerp" if len(models) == 2 else "ties")
    if decided == "slerp" and len(models) != 2:
        raise InputError.of(
            "methods", "slerp", f"it merges exactly two models, and {len(models)} are named: use ties or linear"
        )
    base = (_base_of(draft) or BASE) if decided in _OVER_A_BASE else None
    sizes = {model: _architecture(model) for model in (*models, *filter(None, (_base_of(draft),)))}
    _check_shapes(sizes)
    known = next(((model, found) for model, found in sizes.items() if found is not None), None)
    draft.section(
        "decision",
        "Decision",
        Paragraph(text=text_of("Merge with ", name(decided), ", and keep the result only if it beats every parent."), tone="decision"),
        paragraph(f"It is for {METHODS[decided].merges}. Merging costs minutes and no training, so that measuring is the larger part."),
    )  # fmt: skip
    draft.section("options", "Options", *options(draft, known, len(models)))
    if known is not None:
        draft.section("recipe", "Recipe", *_recipe(draft, known, models, decided).blocks())
    draft.section("code", "Code", *_code(models, decided, base))
    _closing(draft)


def models_of(draft: Draft) -> tuple[str, ...]:
    """The models that are named, from the brief and as folders. "./a and ./b, fine-tunes of X": X is their base, no parent."""
    model = draft.brief.model
    names = (model.name, *model.others) if model is not None and model.name is not None else ()
    if _base_of(draft) is not None:
        return draft.request.subjects
    return tuple(dict.fromkeys((*names, *draft.request.subjects)))


def _base_of(draft: Draft) -> str | None:
    """The published model beside two folders or more, where the words say that they come from it."""
    model = draft.brief.model
    if model is None or model.name is None or model.others or len(draft.request.subjects) < 2:
        return None
    return model.name if _COMES_FROM.search(draft.request.text) else None


_COMES_FROM = re.compile(
    r"\b(?:fine-?\s?tun\w+|tunes?|tuned|trained|versions?|variants?|checkpoints?|adaptations?)\s+(?:of|from|on top of)\b|\bbase\b|\bbased on\b",
    re.IGNORECASE,
)


def _architecture(model: str) -> tuple[str, Architecture] | None:
    try:
        return architecture_of(model)
    except InputError:
        return None


def _check_shapes(sizes: dict[str, tuple[str, Architecture] | None]) -> None:
    """Models of different shapes have no common weights to merge."""
    shapes = {(a.hidden_size, a.layers, a.vocab_size): called for called, a in filter(None, sizes.values())}
    if len(shapes) > 1:
        listed = "; ".join(f"{called}: hidden {s[0]}, {s[1]} layers, vocabulary {s[2]}" for s, called in shapes.items())
        raise InputError.of("model.name", ", ".join(sizes), f"only models of one shape can be merged ({listed})")


def options(draft: Draft, known: tuple[str, tuple[str, Architecture]] | None, count: int) -> list[Block]:
    """The methods side by side for `count` models, of which the shape of one may be known."""
    memory: Text = UNKNOWN
    if known is not None:
        total = 2.0 * parameters(known[1][1]).total * (count + 1)
        memory = text_of(
            draft.number("merge.disk", total, "byte", "computed", "(models + result) * parameters * 2 bytes"),
            ", computed",
        )
    rows: list[list[Text]] = []
    for key, method in METHODS.items():
        draft.refer(method.paper, method.address, "2026-11-25")
        rows.append(
            [
                text_of(name(key)), text_of(method.merges), text_of(method.needs), UNKNOWN, text_of("as one parent"), memory,
                text_of("none: minutes on a processor"), text_of(method.complexity),
            ]
        )  # fmt: skip
    heads = ("method", "for", "needs", "accuracy", "speed", "memory on disk", "training cost", "complexity")
    return [table(heads, rows), note("Accuracy of a merge cannot be told from its parents': it is measured.")]


def _recipe(
    draft: Draft, known: tuple[str, tuple[str, Architecture]], models: tuple[str, ...], method: str
) -> ExactRecipe:
    seed = draft.number("recipe.seed", draft.brief.seed, "count", "assumed", "the brief's seed")
    return ExactRecipe(
        model=described(draft, *known[1]),
        data=DataPart(composition=text_of("none: the weights of ", name(", ".join(models))), tokens=text_of("none: nothing is trained")),
        optimisation=untrained(text_of("merged in bfloat16"), text_of(seed, ", for DARE's drops")),
        hardware=HardwarePart(
            devices=text_of("a processor with memory for one model at least"), parallelism=text_of("none"), software=text_of(name("mergekit 0.1.5")),
        ),
        evaluation=EvaluationPart(
            measured_on=text_of("each parent's own tasks, and yours"),
            method=text_of("paired over items against every parent, with an interval; several densities are several tries: correct for them"),
            decided_by=text_of(f"{method} is kept when it is better than the best parent on your task beyond its interval, and loses on none"),
        ),
    )  # fmt: skip


def _code(models: tuple[str, ...], method: str, base: str | None) -> list[Block]:
    return [
        paragraph(command("merge.yaml"), ": write folders or repositories where a name is not one."),
        Draft.code("yaml", merge_config(method, models, base)),
        Draft.code(
            "bash", "mergekit-yaml merge.yaml merged/\n" + evaluation_command(("mmlu", "gsm8k", "ifeval"), "merged/")
        ),
    ]


def _closing(draft: Draft) -> None:
    draft.section(
        "risks",
        "Risks",
        items(
            text_of("Licences add up: the result is bound by every parent's."),
            text_of("Tokens and chat templates must agree, or the merge speaks neither."),
            text_of(
                "Public merges are often chosen on the benchmarks that they are then reported on: measure on your own items."
            ),
        ),
    )
    draft.section(
        "uncertain",
        "What is uncertain",
        items(
            text_of(
                "Quality: ", *UNKNOWN, ". To settle it: evaluate every parent and the merge on the same items, paired."
            )
        ),
    )
    draft.section(
        "experiment",
        "Next experiment",
        items(
            text_of(
                "Merge at three settings, evaluate all with the parents on one half of the items, and the winner once on the other half."
            )
        ),
    )
