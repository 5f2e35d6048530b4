"""The exact recipe behind a decided option: of a deployment, and of a training run with the hyperparameters that no search gives.

Layout, batch and format come from the option's setup; learning rates and schedules from `knowledge.practice`.
"""

from typing import Any

from aether.counsel.answers.draft import Draft, command, name
from aether.counsel.answers.facts import described
from aether.counsel.answers.files import dataset_of
from aether.counsel.answers.recipe import (
    DataPart,
    EvaluationPart,
    ExactRecipe,
    HardwarePart,
    OptimisationPart,
    untrained,
)
from aether.evidence.sample_size import needed_for_quantile
from aether.knowledge.practice import Choice, PracticeTask, choice
from aether.models.accounting import parameters
from aether.planning.search.problem import Problem
from aether.planning.serving.setup import ServingSetup
from aether.planning.training.setup import TrainingSetup
from aether.spec.fleet import FleetOption
from aether.spec.report import Bound, Text, text_of

NO_DATA = text_of("none: the published weights are served as they are")


def load_command(problem: Problem, replicas: int) -> str:
    """The load test that measures one replica at its share of the brief's load (guidellm 0.8, options read in its wheel)."""
    load, requests = problem.load, needed_for_quantile(0.99)
    return (
        f"# One of {replicas} replicas at its share of the load; as many requests as bound the 99th percentile.\n"
        "guidellm run \\\n"
        "  --backend kind=openai_http,target=http://localhost:8000 \\\n"
        f"  --profile kind=poisson,rate={load.requests_per_s / replicas:g} \\\n"
        f"  --constraint kind=max_requests,count={max(requests, load.requests)} \\\n"
        f"  --data kind=synthetic_text,prompt_tokens={load.prompt_tokens},output_tokens={load.output_tokens}\n"
    )


def serving_recipe(
    draft: Draft, problem: Problem, option: FleetOption, setup: ServingSetup, software: str
) -> ExactRecipe:
    """Of a deployment."""
    requests = draft.number(
        "evaluation.requests",
        needed_for_quantile(0.99),
        "request",
        "computed",
        "fewest requests whose order statistics bound the ninety-ninth percentile at 95 % (evidence.sample_size)",
    )
    lossless = option.precision == "bf16" or draft_loss(option) == 0.0
    data = NO_DATA
    if not lossless:
        data = text_of(
            "a checkpoint in ", name(option.precision), "; what it was calibrated on must be stated beside it"
        )
    devices = draft.number("recipe.devices", option.devices, "count", "computed", "replicas * devices of a replica")
    return ExactRecipe(
        model=described(draft, problem.model, problem.architecture),
        data=DataPart(composition=data, tokens=text_of("none: nothing is trained")),
        optimisation=untrained(text_of(name(option.precision)), _seed(draft, problem)),
        hardware=HardwarePart(
            devices=text_of(devices, " ", name(option.device), ", ", name(option.name)),
            parallelism=text_of(name(_parallel(setup))),
            software=text_of(name(f"{software}; {option.batch}")),
        ),
        evaluation=EvaluationPart(
            measured_on=_traffic(),
            method=text_of(
                "open loop, Poisson arrivals, at least ", requests, " after a warm-up, several repeats; quality on your own ",
                "items before and after any change of format, paired",
            ),
            decided_by=_targets(draft),
        ),
    )  # fmt: skip


def draft_loss(option: FleetOption) -> float | None:
    """The option's known loss of quality."""
    estimate = option.estimate("quality_loss")
    return None if estimate is None else estimate.value


def _seed(draft: Draft, problem: Problem) -> Text:
    return text_of(draft.number("recipe.seed", problem.brief.seed, "count", "assumed", "the brief's seed"))


def _traffic() -> Text:
    """The brief's load."""
    return text_of(
        Bound(path="load.requests_per_s"), " requests/s, prompts of ", Bound(path="load.prompt_tokens"),
        " tokens, answers of ", Bound(path="load.output_tokens"), " tokens",
    )  # fmt: skip


def _targets(draft: Draft) -> Text:
    found: Text = ()
    for target in draft.brief.targets:
        between = text_of("; ") if found else ()
        found = (*found, *between, *text_of(name(target.metric), " ", Bound(path=f"targets.{target.metric}")))
    return (*found, *text_of(", the whole interval on the right side")) if found else text_of("no target was given")


def _parallel(setup: ServingSetup) -> str:
    return f"tp {setup.tp}, pp {setup.pp}, attention dp {setup.attn_dp}, ep {setup.ep}"


def training_recipe(
    draft: Draft, problem: Problem, option: FleetOption, setup: TrainingSetup, software: str
) -> ExactRecipe:
    """Of a training run."""
    assert problem.training is not None
    task: PracticeTask = "pretrain" if problem.task == "pretrain" else "full"
    rate_task: PracticeTask = "lora" if problem.training.method in ("lora", "qlora") else task
    size = float(parameters(problem.architecture).total)

    def chosen(field: str, of: PracticeTask | None = None, after: str = "") -> Text:
        return of_choice(draft, choice(of or task, field, size), after)

    sequence = draft.number("recipe.sequence", setup.seq_tokens, "token", "assumed", "the brief's, or the usual length")
    batch = draft.number("recipe.batch", setup.global_batch, "count", "computed", "tokens of a step / sequence")
    besides: tuple[tuple[Text, Text], ...] = ((text_of("warm-up"), chosen("warmup", after=" of the steps")),)
    if rate_task == "lora":
        rank = draft.number(
            "recipe.rank", setup.fine_tuning.rank, "count", "assumed", "default of TRL, read in its wheel"
        )
        besides += (
            (text_of("adapter rank"), text_of(rank, " on every linear layer")),
            (text_of("adapter scale"), chosen("lora_alpha", "lora")),
            (text_of("adapter dropout"), chosen("lora_dropout", "lora")),
        )
    return ExactRecipe(
        model=described(draft, problem.model, problem.architecture),
        data=DataPart(composition=composition(draft), tokens=_tokens(draft, problem)),
        optimisation=OptimisationPart(
            optimiser=chosen("optimiser"),
            learning_rate=chosen("learning_rate", rate_task, " at its peak"),
            schedule=chosen("schedule"),
            weight_decay=chosen("weight_decay"),
            gradient_clipping=chosen("clip_norm"),
            batch=text_of(batch, " sequences a step"),
            sequence=text_of(sequence),
            precision=text_of(name(option.precision), ", master weights and optimiser states in float32"),
            seed=_seed(draft, problem),
        ),
        hardware=HardwarePart(
            devices=text_of(
                draft.number("recipe.devices", option.devices, "count", "computed", "devices of the layout"),
                " ",
                name(option.device),
            ),
            parallelism=text_of(name(option.layout), ", ", name(option.batch)),
            software=text_of(name(software)),
        ),
        evaluation=training_evaluation(),
        besides=besides,
    )


def hyperparameters(draft: Draft, problem: Problem) -> dict[str, Any]:
    """The same choices in the words of TRL: what completes an exported file."""
    assert problem.training is not None
    task: PracticeTask = "pretrain" if problem.task == "pretrain" else "full"
    adapters = problem.training.method in ("lora", "qlora")
    size = float(parameters(problem.architecture).total)

    def value(field: str, of: PracticeTask) -> float:
        found = choice(of, field, size).value
        assert found is not None
        return found

    rates: dict[str, Any] = {
        "model_name_or_path": "MODEL",
        "datasets": [dataset_of(source) for source in draft.brief.data.sources],
        "test_split_size": 0.01,
        "eval_strategy": "steps",
        "eval_steps": 100,
        "output_dir": "output",
        "learning_rate": value("learning_rate", "lora" if adapters else task),
        "lr_scheduler_type": "cosine" if task == "pretrain" else "linear",
        "warmup_steps": value("warmup", task),
        "weight_decay": value("weight_decay", task),
        "max_grad_norm": value("clip_norm", task),
        "seed": problem.brief.seed,
        "logging_steps": 1,
        "save_steps": 500,
        "save_total_limit": 3,
    }
    if adapters:
        rates |= {"lora_alpha": int(value("lora_alpha", "lora")), "lora_dropout": value("lora_dropout", "lora")}
    return rates


def training_evaluation() -> EvaluationPart:
    """How a trained model is judged."""
    return EvaluationPart(
        measured_on=text_of(
            "documents held out by source and checked for overlap with the training text, and your own task's items"
        ),
        method=text_of(
            "bits per byte on held-out text; your task paired with the model before training; three seeds where the budget "
            "allows, else the interval over items and the remark that seeds are not covered; tasks with ",
            command("lm_eval"),
        ),
        decided_by=text_of("the interval of the paired difference, not the difference"),
    )


def composition(draft: Draft) -> Text:
    """Sources and their shares."""
    sources = draft.brief.data.sources
    assert sources, "a recipe without data is not asked for"
    if len(sources) == 1:
        return text_of(name(sources[0]), ", all of it from this one source")
    return text_of(name(", ".join(sources)), ", each in proportion to its tokens")


def _tokens(draft: Draft, problem: Problem) -> Text:
    assert problem.training is not None
    value = draft.number("recipe.tokens", problem.training.tokens, "token", "assumed", "the brief's model.tokens")
    return text_of(value, " seen in training, repeats counted")


def of_choice(draft: Draft, row: Choice, after: str = "") -> Text:
    """A row of practice: its number or its words, what comes after it, and its kind."""
    draft.refer_row(row)
    if row.value is None:
        return text_of(name(f"{row.text}"), f"{after}, {row.kind}")
    where = f"{row.source}, as of {row.as_of}"
    cited = draft.number(f"practice.{row.task}.{row.field}", row.value, row.unit, row.kind, where)
    return text_of(cited, f"{after}, {row.kind}")
