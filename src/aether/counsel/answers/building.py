"""The answer about a model that is designed and trained from a brief: which ways there are, what `aether build` will do, and the brief.

Nothing is measured here: `aether plan` probes the machine, trains pilots for minutes and then states its predictions with their
intervals. Until then quality, time and memory are unknown, and said to be.
"""

import re

from aether.counsel.answers.brief_text import brief_toml
from aether.counsel.answers.draft import Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.recipe import (
    DataPart,
    EvaluationPart,
    ExactRecipe,
    HardwarePart,
    ModelPart,
    OptimisationPart,
)
from aether.counsel.explain import cited_text, number_evidence
from aether.knowledge.topics import topic
from aether.spec.report import Bound, Paragraph, Table, Text, text_of
from aether.stages.train.recipe import Optimiser, Schedule

_BY_PLAN = "fixed by the plan before the main run, and kept in plan.json"
_SOURCE = "default of stages.train.recipe, with the source of each in docs/training.md"

_STANDS_ON = (
    "muon", "adamw", "wsd-schedule", "gqa", "swiglu", "rmsnorm", "rope", "minhash-deduplication", "contamination", "scaling-laws", "statistical-significance",
)  # fmt: skip
"""Topics of `aether explain` that the recipe's choices come from, in its order."""
_SOURCES = 2
"""Of each topic; its own page has all."""
USES = frozenset({"muon", "adamw", "gqa", "rope", "minhash-deduplication", "contamination", "quantisation"})
"""Methods that the plan and its stages do."""


def answer_build(draft: Draft) -> None:
    """Decision, options, recipe, the brief, risks, uncertainty and the next step."""
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of("Build it with ", command("aether build brief.toml"), ", after reading ", command("aether plan brief.toml"), "."),
            tone="decision",
        ),
        paragraph(
            "The plan measures this machine, trains small pilots on your data, predicts every target with an interval, and "
            "refuses with its arithmetic what cannot be met, before the main run is paid for."
        ),
    )  # fmt: skip
    draft.section("options", "Options", _options())
    draft.section("recipe", "Recipe", *_recipe(draft).blocks())
    draft.section(
        "why",
        "Why these choices",
        items(*_reasons(draft)),
        note("More of each: ", command("aether explain TOPIC"), "."),
    )
    draft.section(
        "code",
        "Code",
        paragraph("The brief, as ", command("brief.toml"), ":"),
        draft.code("toml", brief_toml(draft.brief)),
        draft.code(
            "bash",
            "aether plan brief.toml    # minutes: probes, pilots, predictions, a decision\n"
            "aether build brief.toml   # goes on from there, and judges every target\n"
            "aether report runs/NAME   # the story with every number's source\n",
        ),
    )
    _closing(draft)


def _reasons(draft: Draft) -> list[Text]:
    """Why each part of the recipe is there, in its topic's first sentence; the topic's first sources join the answer's."""
    reasons: list[Text] = []
    for about in map(topic, _STANDS_ON):
        first = re.split(r"(?<=[.]) ", about.why, maxsplit=1)[0]
        reasons.append((*text_of(name(about.title), ": "), *cited_text(about, first)))
        for number in about.number:
            if f"{{{number.key}}}" in first:
                draft.record(number_evidence(about, number))
        for source in [source for source in about.source if source.kind == "cited"][:_SOURCES]:
            draft.refer(source.title, source.address, (source.read or source.as_of).isoformat())
    return reasons


def _closing(draft: Draft) -> None:
    draft.section(
        "risks",
        "Risks",
        items(
            text_of("A model trained from nothing knows its data and little else: expect it to fail outside it."),
            text_of(
                "Text without a licence, or with personal data in it, is learnt too: decide on both before training."
            ),
            text_of("A machine that is busy while it is measured makes every predicted time too long."),
        ),
    )
    draft.section(
        "uncertain",
        "What is uncertain",
        items(
            text_of(
                "Quality, time, memory and latency: no number is given before something was measured on your machine."
            ),
            text_of(
                "Quality on other text than yours: name some under ",
                name("data.out_of_distribution"),
                " to have it measured.",
            ),
        ),
    )
    draft.section(
        "experiment",
        "Next experiment",
        items(
            text_of(
                "Run the plan, and read its pilots before you start: do the predicted intervals include your targets?"
            ),
            text_of("If not, change the target that binds, or give more time: the plan says what would change it."),
        ),
    )


def _options() -> Table:
    rows: list[list[Text]] = [
        [
            text_of("train from nothing"), text_of("unknown before the pilots; narrow"), text_of("small, so fast"),
            text_of("small"), text_of("the whole run"), text_of("low: one command"),
        ],
        [
            text_of("fine-tune a published model"), text_of("broader from the start; measure it"),
            text_of("that of the published model"), text_of("that of the published model"),
            text_of("a share of its pretraining"), text_of("medium"),
        ],
        [
            text_of("use a published model as it is"), text_of("published, if at all; measure it on your items"),
            text_of("that of the published model"), text_of("that of the published model"), text_of("none"),
            text_of("low"),
        ],
    ]  # fmt: skip
    return table(("way", "accuracy", "speed", "memory", "training cost", "complexity"), rows)


def _recipe(draft: Draft) -> ExactRecipe:
    optimiser, schedule = Optimiser(), Schedule()

    def number(field: str, value: float, unit: str = "count") -> Text:
        return text_of(draft.number(f"build.{field}", value, unit, "assumed", _SOURCE))

    by_plan = text_of(_BY_PLAN)
    sources = draft.brief.data.sources
    return ExactRecipe(
        model=ModelPart(
            model=text_of("a decoder of the planner's ladder (grouped queries, SwiGLU, RMSNorm, RoPE)"),
            hidden_size=by_plan, layers=by_plan, heads=by_plan, vocabulary=by_plan, parameters=by_plan,
        ),
        data=DataPart(
            composition=text_of(name(", ".join(sources)), ", filtered, deduplicated, and split by document"),
            tokens=text_of(_BY_PLAN + ", from the time that there is"),
        ),
        optimisation=OptimisationPart(
            optimiser=text_of("Muon for matrices, AdamW for embeddings and gains"),
            learning_rate=(*number("muon-lr", optimiser.muon_lr), *text_of(" for Muon, "),
                           *number("embedding-lr", optimiser.embedding_lr), *text_of(" for embeddings")),
            schedule=(*text_of("warm-up over "), *number("warmup", schedule.warmup_fraction, "fraction"),
                      *text_of(" of the steps, stable, then down over "),
                      *number("decay", schedule.decay_fraction, "fraction"), *text_of(" of them")),
            weight_decay=number("weight-decay", optimiser.muon_weight_decay),
            gradient_clipping=number("clip", optimiser.clip_norm),
            batch=by_plan, sequence=by_plan,
            precision=text_of("bfloat16 activations and products; weights and states in float32"),
            seed=text_of(Bound(path="seed")),
        ),
        hardware=HardwarePart(
            devices=text_of(name(draft.brief.hardware.name if draft.brief.hardware else "this-machine")),
            parallelism=text_of("none: one machine"),
            software=text_of("Aether's own trainer on PyTorch"),
        ),
        evaluation=EvaluationPart(
            measured_on=text_of("documents held out by source, checked for overlap with the training text"),
            method=text_of("every target of the brief, with its interval, as ", command("aether build"), " records it"),
            decided_by=text_of("met, missed or unproven: the whole interval against each target"),
        ),
    )  # fmt: skip
