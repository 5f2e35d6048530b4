"""From a decision to the exact steps that carry it out: train, compress, evaluate, serve, each with its whole config."""

from collections.abc import Sequence
from typing import Any, Literal

from aether.hardware.compiler import COMPILER
from aether.hardware.machine import Machine
from aether.models.config import DecoderConfig
from aether.spec.brief import Brief
from aether.spec.metrics import GATES, METRICS
from aether.spec.recipe import Recipe, Step
from aether.stages.compress.recipe import CompressRecipe
from aether.stages.data.recipe import DataRecipe
from aether.stages.evaluate.recipe import EvaluateRecipe, RedTeamRecipe, requests_hash
from aether.stages.serve.recipe import ServeRecipe
from aether.stages.train.recipe import TrainRecipe

Precision = Literal["bfloat16", "float32"]
Compile = Literal["off", "blocks"]


def precision_for(machine: Machine) -> Precision:
    """bfloat16 where the probe found it faster than float32, else float32."""
    rates = machine.matmul_flops_per_s
    return "bfloat16" if rates.get("bfloat16", 0.0) > rates.get("float32", 0.0) else "float32"


def serving_threads(machine: Machine) -> int:
    """Threads of the served model: all cores but one, which the web server and the load's clients share."""
    return max(1, machine.cores - 1)


def red_team_of(brief: Brief) -> RedTeamRecipe | None:
    """The red team that the brief's gates ask for; none where it has no bound on a metric of safety. Raises InputError for a missing file."""
    if not any(target.metric in GATES for target in brief.targets):
        return None
    count = None if brief.red_team is None else brief.red_team.requests
    return RedTeamRecipe(max_tokens=64, behaviours=count, requests_sha256=requests_hash(red_team_files(brief)))


def red_team_files(brief: Brief) -> tuple[str | None, str | None]:
    """The files of harmful and of benign requests that the brief names."""
    return (None, None) if brief.red_team is None else (brief.red_team.behaviours, brief.red_team.benign)


def evaluate_recipe(brief: Brief, **fields: Any) -> EvaluateRecipe:
    """The evaluate step of a brief. Where gates are shown behind defences, its model is not tried bare."""
    behind = brief.red_team is not None and brief.red_team.guard is not None
    harmful, benign = (None, None) if behind else red_team_files(brief)
    chosen = None if behind else red_team_of(brief)
    return EvaluateRecipe(**fields, red_team=chosen, harmful_file=harmful, benign_file=benign)


def train_recipe(
    decoder: DecoderConfig, steps: int, sequences: int, precision: Precision, how: Compile = "off"
) -> TrainRecipe:
    """The train stage's defaults with the planner's five choices: shape, steps, batch, precision and torch.compile."""
    return TrainRecipe(model=decoder, steps=steps, batch_sequences=sequences, precision=precision, compile=how)


def compiles(machine: Machine) -> bool:
    """Whether training may be compiled: on a CPU with a C++ compiler that works. On a GPU its worth is not measured."""
    return machine.accelerator is None and COMPILER in machine.supports


def train_step(name: str, recipe: TrainRecipe, brief: Brief, machine: Machine) -> Step:
    """A step of the train stage on the data step's output."""
    device = "cuda" if machine.accelerator else "cpu"
    recipe = recipe.model_copy(update={"device": device})
    return Step(
        name=name,
        stage="train",
        config=recipe.model_dump(mode="json"),
        inputs={"data": "data"},
        seed=brief.seed,
        threads=machine.cores,
    )


def whole_recipe(brief: Brief, machine: Machine, training: TrainRecipe, before: Sequence[Step]) -> Recipe:
    """`before` (what is done already, the data step among it), then train, compress, evaluate and serve."""
    seed, threads = brief.seed, machine.cores
    done = list(before) or [data_step(brief)]
    modality = brief.modality or "text"
    compress = CompressRecipe(quality_loss_bound=brief.quality_loss_bound)
    precision = precision_for(machine)
    device: Literal["cpu", "cuda"] = "cuda" if machine.accelerator else "cpu"
    evaluate = evaluate_recipe(brief, modality=modality, device=device, dtype=precision)
    wanted = tuple(target for target in brief.targets if METRICS[target.metric].stage == "serve")
    serve = ServeRecipe(load=brief.load, targets=wanted)
    return Recipe(
        name=brief.name,
        steps=(
            *done,
            train_step("train", training, brief, machine),
            Step(
                name="compress",
                stage="compress",
                config=compress.model_dump(mode="json"),
                inputs={"data": "data", "model": "train"},
                seed=seed,
                threads=threads,
            ),
            *(
                Step(
                    name=name,
                    stage=name,
                    config=config,
                    inputs={"data": "data", "model": "compress"},
                    seed=seed,
                    threads=count,
                )
                for name, config, count in (
                    ("evaluate", evaluate.model_dump(mode="json"), threads),
                    ("serve", serve.model_dump(mode="json"), serving_threads(machine)),
                )
            ),
        ),
    )


def data_step(brief: Brief) -> Step:
    """The curation that the brief asks for. Its input is a path here; `stages.data.estimate.pin` fixes the content."""
    data = brief.data
    recipe = DataRecipe(
        sources=data.sources,
        out_of_distribution=data.out_of_distribution,
        text_field=data.text_field,
        include=data.include,
        modality=brief.modality or "text",
    )
    return Step(name="data", stage="data", config=recipe.model_dump(mode="json"), seed=brief.seed)
