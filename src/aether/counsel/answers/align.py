"""The answer about preference tuning: which method fits the feedback that there is, what it costs, and its exact configuration.

What a method needs and how many models it holds follows from its loss (the papers named in `METHODS`); memory is computed from
the model's size. How much better one makes a model is not a number that carries over: it is unknown, and measured.
"""

from dataclasses import dataclass

from aether.counsel.answers.draft import UNKNOWN, Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.facts import described
from aether.counsel.answers.files import TRAINERS, alignment_config, evaluation_command, sharded_launch
from aether.counsel.answers.fleet_recipe import of_choice
from aether.counsel.answers.methods import ALIASES, alignments
from aether.counsel.answers.recipe import DataPart, EvaluationPart, ExactRecipe, HardwarePart, OptimisationPart
from aether.counsel.answers.usual_recipes import split_over
from aether.knowledge.practice import PracticeTask, choice
from aether.models.accounting import parameters
from aether.planning.search.problem import architecture_of
from aether.spec.architecture import Architecture
from aether.spec.report import Block, Paragraph, Table, Text, text_of


@dataclass(frozen=True)
class Method:
    """A way to learn from feedback. `frozen` models stand beside the one that learns; `passes` are of a forward one."""

    needs: str
    frozen: int
    passes: float
    speed: str
    complexity: str
    paper: str
    address: str


METHODS: dict[str, Method] = {
    "dpo": Method(
        "pairs: a better and a worse answer to the same prompt", 1, 4.0, "one run over fixed data", "low",
        "Direct Preference Optimization (Rafailov et al. 2023)", "arXiv 2305.18290",
    ),
    "simpo": Method(
        "pairs, as DPO", 0, 3.0, "one run over fixed data, no reference model", "low",
        "SimPO (Meng et al. 2024)", "arXiv 2405.14734",
    ),
    "kto": Method(
        "single answers, each marked good or bad", 1, 4.0, "one run over fixed data", "low",
        "KTO (Ethayarajh et al. 2024)", "arXiv 2402.01306",
    ),
    "grpo": Method(
        "prompts, and a reward that a program can check", 0, 3.0, "answers are generated while it learns: that takes most of the time",
        "medium", "DeepSeekMath, which introduces GRPO (Shao et al. 2024)", "arXiv 2402.03300",
    ),
    "ppo": Method(
        "prompts, and a reward model trained on pairs", 3, 7.0, "answers are generated while it learns", "high",
        "InstructGPT (Ouyang et al. 2022)", "arXiv 2203.02155",
    ),
}  # fmt: skip
"""By what feedback there is. `frozen`: DPO and KTO keep the reference (KTO and DPO may compute its numbers beforehand); PPO keeps a
reference, a reward model and a value model, of which the last learns. Read from the losses as published, papers from memory."""
_TRAINED_BYTES, _FROZEN_BYTES = 16.0, 2.0
"""A weight that learns by Adam in mixed precision: 2 + 2 bytes, and 12 in float32 (ZeRO, arXiv 1910.02054, section 3.1)."""
NEAR = {
    "ipo": ("IPO", "DPO", "both learn from pairs; IPO is the loss type ipo of the same trainer, to be set in them."),
    "orpo": (
        "ORPO",
        "SimPO",
        "both learn from pairs without a reference model. TRL keeps its trainer of ORPO among the experimental ones.",
    ),
    "rloo": (
        "RLOO",
        "GRPO",
        "both compare the answers to one prompt with each other. TRL has a trainer of its own for it.",
    ),
}
"""A method that was named -> its name, the method whose files are written, and how the two differ."""
_TASKS: dict[str, PracticeTask] = {"dpo": "dpo", "kto": "kto", "simpo": "simpo", "grpo": "grpo"}


def answer_align(draft: Draft) -> None:
    """Decision, options, recipe, files, risks. Raises InputError for a model that is not known."""
    brief = draft.brief
    assert brief.model is not None and brief.model.name is not None
    called, architecture = architecture_of(brief.model.name)
    named = alignments(draft.request.methods)
    feedback = _feedback(draft.request.text)
    asked = next((m for m in named if m in (feedback or METHODS)), feedback[0] if feedback else "dpo")
    decided = "grpo" if asked == "ppo" else asked
    _decision(draft, called, asked, decided, bool(feedback or named))
    draft.section("options", "Options", *options(draft, called, architecture))
    draft.section("recipe", "Recipe", *recipe_of(draft, called, architecture, decided).blocks())
    draft.section("code", "Code", *code_of(draft, architecture, decided))
    _closing(draft)


USES = frozenset({*METHODS, *ALIASES, "lora", "qlora", "sft", "adamw", "full-fine-tuning"})
FEEDBACK: dict[tuple[str, ...], tuple[str, ...]] = {
    ("kto",): (
        "thumbs",
        "upvote",
        "rating",
        "liked",
        "dislike",
        "good or bad",
        "accept or reject",
        "unpaired",
        "binary feedback",
    ),
    ("dpo", "simpo"): ("pairs", "preference", "chosen", "rejected", "side by side", "a/b", "ranked", "comparisons"),
    ("grpo", "ppo"): ("reward", "verifiable", "unit test", "checker", "verifier", "math problems", "correct answer"),
}
"""Methods that learn from a kind of feedback, and words that speak of it."""


def _feedback(text: str) -> tuple[str, ...]:
    """The methods for the feedback that the words speak of; none where they speak of none, or of several kinds."""
    lowered = text.lower()
    found = [methods for methods, words in FEEDBACK.items() if any(word in lowered for word in words)]
    return found[0] if len(found) == 1 else ()


def _decision(draft: Draft, called: str, asked: str, decided: str, told: bool) -> None:
    method = METHODS[decided]
    blocks: list[Block] = [
        Paragraph(text=text_of("Tune ", name(called), " with ", name(decided.upper()), "."), tone="decision"),
        paragraph(
            f"It learns from {method.needs}; that is what decides the method, more than any difference in a benchmark."
        ),
    ]
    if asked == "ppo":
        blocks.append(
            paragraph(
                "You asked for PPO: ", name("TRL 1.16"), " has no trainer for it any more. Its online methods are GRPO and RLOO, "
                "which need no value model; a reward model can be the reward.",
            )
        )  # fmt: skip
    for spoken in draft.request.methods:
        if spoken in NEAR and ALIASES[spoken] == decided:
            wanted, written, differ = NEAR[spoken]
            blocks.append(paragraph(f"You asked for {wanted}. The files are those of {written}: {differ}"))
    if not told:
        blocks.append(
            paragraph(
                "You named neither a method nor your feedback: this takes pairs to be what you have. Single ratings: KTO. A checkable reward: GRPO."
            )
        )
    draft.section("decision", "Decision", *blocks)


def options(draft: Draft, called: str, architecture: Architecture) -> list[Block]:
    """Every method with what it needs, computed memory and relative compute."""
    return [methods_table(draft, called, architecture), note(
        "Memory is of weights, gradients and Adam's states of all models, before it is split over devices; activations come on top. "
        "Adapters shrink the first to a few per cent, and the reference is then the same model without them. Accuracy: no "
        "published difference between these methods holds for other models and data.",
    )]  # fmt: skip


def methods_table(draft: Draft, called: str, architecture: Architecture) -> Table:
    """The table alone."""
    size = parameters(architecture).total
    rows: list[list[Text]] = []
    for key, method in METHODS.items():
        held = size * (_TRAINED_BYTES + _FROZEN_BYTES * method.frozen)
        source = "parameters * (16 bytes for what learns + 2 for each frozen model)"
        memory = draft.number(f"align.{called}.{key}.memory", held, "byte", "computed", source)
        passes = draft.number(
            f"align.{key}.passes",
            method.passes,
            "count",
            "computed",
            "a forward pass is 1, a backward pass 2, a frozen model 1",
        )
        rows.append(
            [
                text_of(name(key.upper() if key != "simpo" else "SimPO")), text_of(method.needs), UNKNOWN,
                text_of(method.speed), text_of(memory, ", computed"), text_of(passes, " passes an answer, computed"), text_of(method.complexity),
            ]
        )  # fmt: skip
        draft.refer(method.paper, method.address, "2026-11-25")
    return table(("method", "feedback it needs", "accuracy", "speed", "memory", "training cost", "complexity"), rows)


def recipe_of(draft: Draft, called: str, architecture: Architecture, method: str) -> ExactRecipe:
    """All of one method's choices for this model."""
    size = float(parameters(architecture).total)
    own = _TASKS[method]

    def chosen(field: str, of: PracticeTask, after: str = "") -> Text:
        return of_choice(draft, choice(of, field, size), after)

    besides: tuple[tuple[Text, Text], ...] = ((text_of("warm-up"), chosen("warmup", "dpo", " of the steps")),)
    besides += ((text_of("beta"), chosen("beta", own)),)
    if method == "grpo":
        besides += ((text_of("answers of a prompt"), chosen("num_generations", "grpo")),)
        besides += ((text_of("longest answer"), chosen("max_completion_length", "grpo", " tokens")),)
    if method == "simpo":
        besides += ((text_of("margin (gamma)"), chosen("simpo_gamma", "simpo")),)
    sources = draft.brief.data.sources
    seed = draft.number("recipe.seed", draft.brief.seed, "count", "assumed", "the brief's seed")
    adapted = draft.brief.model is not None and draft.brief.model.method != "full"
    held = size * (
        (_FROZEN_BYTES if adapted else _TRAINED_BYTES) + _FROZEN_BYTES * (0 if adapted else METHODS[method].frozen)
    )
    devices, parallelism = split_over(draft, f"align.{called}.{method}", held)
    return ExactRecipe(
        model=described(draft, called, architecture),
        data=DataPart(
            composition=text_of(name(", ".join(sources))) if sources else text_of("yours, to be named: ", METHODS[method].needs),
            tokens=_tokens(draft, chosen("epochs", "dpo", " pass over it, its tokens counted with the model's tokenizer")),
        ),
        optimisation=OptimisationPart(
            optimiser=chosen("optimiser", "full"),
            learning_rate=chosen("learning_rate", own),
            schedule=chosen("schedule", "full"),
            weight_decay=chosen("weight_decay", "full"),
            gradient_clipping=chosen("clip_norm", "full"),
            batch=chosen("batch_sequences", "dpo", " examples a step"),
            sequence=chosen("sequence_tokens", "dpo"),
            precision=text_of("bfloat16 products, float32 weights and states"),
            seed=text_of(seed),
        ),
        hardware=HardwarePart(
            devices=devices,
            parallelism=parallelism,
            software=text_of(name("trl 1.16.0, transformers 5")),
        ),
        evaluation=EvaluationPart(
            measured_on=text_of("held-out prompts of your use, and a general set to see what was lost"),
            method=text_of(
                "blind pairs against the model before, judged by people, or by a model whose agreement with people was measured; order "
                "swapped; answer length reported, since these losses lengthen answers"
            ),
            decided_by=text_of("the interval of the win rate apart from one half, and no loss on the general set beyond its noise"),
        ),
        besides=besides,
    )  # fmt: skip


def _tokens(draft: Draft, passes: Text) -> Text:
    model = draft.brief.model
    if model is None or not model.tokens:
        return passes
    said = draft.number("align.tokens", model.tokens, "token", "assumed", "the brief's model.tokens")
    return (*passes, *text_of("; as you said, ", said))


def code_of(draft: Draft, architecture: Architecture, method: str) -> list[Block]:
    """TRL's configuration, and the command."""
    lora = "lora" in draft.request.methods or (draft.brief.model is not None and draft.brief.model.method != "full")
    file = f"trl_{method}.yaml"
    text = alignment_config(
        method,
        float(parameters(architecture).total),
        draft.brief.seed,
        lora,
        draft.brief.data.sources,
        draft.brief.hardware.count_of(draft.brief.hardware.name) if draft.brief.hardware is not None else 8,
    )
    blocks: list[Block] = [paragraph(command(file), ": fill in what is in capitals."), draft.code("yaml", text)]
    count = draft.brief.hardware.count_of(draft.brief.hardware.name) if draft.brief.hardware is not None else 8
    if method in TRAINERS and count > 1 and not lora:
        blocks.append(
            paragraph(command("accelerate.yaml"), ": weights, gradients and states are sharded over the devices.")
        )
        blocks.append(draft.code("yaml", sharded_launch(count)))
        run = f"accelerate launch --config_file accelerate.yaml -m trl.scripts.{TRAINERS[method]} --config {file}\n"
        blocks.append(draft.code("bash", run))
    elif method in TRAINERS:
        blocks.append(draft.code("bash", f"trl {TRAINERS[method]} --config {file}\n"))
    else:
        blocks.append(
            note(
                "SimPO is ",
                name("trl.experimental.cpo.CPOTrainer"),
                ": experimental in TRL, without a command of its own.",
            )
        )
    blocks += [
        paragraph("What was lost elsewhere, before and after:"),
        draft.code("bash", evaluation_command(("mmlu", "gsm8k", "ifeval"))),
    ]
    return blocks


def _closing(draft: Draft) -> None:
    draft.section(
        "risks",
        "Risks",
        items(
            text_of("The model learns what raters reward, length and flattery included: report both."),
            text_of("Refusals can grow or vanish: test harmful and harmless prompts before and after, and keep guardrails outside the model."),
            text_of("Adapters want a higher learning rate than all weights do: with LoRA, sweep up to ten times the one above."),
            text_of("Pairs made by another model carry its licence and its errors."),
        ),
    )  # fmt: skip
    draft.section(
        "uncertain",
        "What is uncertain",
        items(
            text_of(
                "How much better it gets: ",
                *UNKNOWN,
                ". To settle it: the evaluation above, on a tenth of the data first.",
            ),
            text_of("Prompts unlike the feedback: nothing is learnt there, and something may be lost."),
        ),
    )
    draft.section(
        "experiment",
        "Next experiment",
        items(
            text_of(
                "A tenth of the data, one and three times the learning rate; read twenty answers of each yourself."
            ),
            text_of("Watch rewards of chosen and rejected answers: when both fall, the learning rate is too high."),
        ),
    )
