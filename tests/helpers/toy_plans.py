"""A pretend machine, a pretend corpus and pretend pilots that follow a known curve: shipped values, nothing patched."""

from aether.hardware.machine import Machine
from aether.planning.facts import DataFacts, PilotResult
from aether.planning.laws import LossLaw
from aether.planning.pilots import pilot_steps
from aether.policy.brief_file import to_brief
from aether.spec.brief import Brief
from aether.spec.evidence import Interval
from aether.stages.train.estimate import flops_per_step
from aether.stages.train.recipe import TrainRecipe

DEMO = {
    "name": "demo",
    "intended_use": "an experiment",
    "modality": "code",
    "data": {"sources": "python:stdlib"},
    "hardware": {"name": "this-machine", "price_usd_per_hour": 0.1},
    "targets": [
        "bits_per_byte <= 2.2",
        "ttft_p99 <= 250 ms",
        "throughput >= 100 tokens/s",
        "serving_memory <= 1.5 GB",
        "training_memory <= 6 GB",
        "size_on_disk <= 12 MB",
        "line_accuracy >= 5 %",
        "build_time <= 10 min",
        "build_cost <= 0.05 USD",
    ],
    "load": {"output_tokens": 24},
}

TRUTH = LossLaw(E=1.0, A=20.0, B=12.0, alpha=0.3, beta=0.13)


def toy_machine(**changes) -> Machine:
    given = {
        "name": "toy",
        "cpu": "toy",
        "cores": 2,
        "threads": 2,
        "memory_bytes": 24 * 10**9,
        "memory_available_bytes": 20 * 10**9,
        "disk_free_bytes": 50 * 10**9,
        "matmul_flops_per_s": {"float32": 2e11, "bfloat16": 4e11, "int8": 8e11},
        "memory_bandwidth_bytes_per_s": 3e10,
        "launch_overhead_s": 1.4e-4,
        "layer_overhead_s": 6e-5,
        "served_ttft_p50_s": 1.1e-3,
        "served_ttft_p99_s": 1.6e-3,
        "runtime_memory_bytes": 230_000_000,
        "price_usd_per_hour": 0.1,
        "intervals": {"served_ttft_p99_s": Interval(low=1.3e-3, high=2.2e-3, method="a test")},
        "source": "a test",
    }
    return Machine(**(given | changes))


def demo(*settings: str, without: tuple[str, ...] = ()) -> Brief:
    targets = [t for t in DEMO["targets"] if t.split()[0] not in (*without, *(s.split()[0] for s in settings))]
    return to_brief(DEMO | {"targets": [*targets, *settings]}, "test")


def toy_facts() -> DataFacts:
    return DataFacts(
        vocab_size=4096,
        bytes_per_token=3.4,
        test_bytes_per_token=3.4,
        train_tokens=7_000_000,
        validation_tokens=200_000,
        test_tokens=300_000,
        tokenizer_bytes=250_000,
    )


def run_pilots(brief: Brief, machine: Machine, facts: DataFacts, rate: float = 1.8e11) -> tuple[PilotResult, ...]:
    """What the pilots would say on a machine that reaches `rate` and on data that follow TRUTH."""
    found = []
    for step in pilot_steps(brief, machine, facts):
        recipe = TrainRecipe.model_validate(step.config)
        found.append(
            PilotResult(
                name=step.name,
                recipe=recipe,
                loss=float(TRUTH.loss(recipe.model.matrix_parameters(), recipe.tokens())),
                seconds_per_step=flops_per_step(recipe) / rate + recipe.model.layers * 3e-4,
                fixed_s=2.0,
                memory_bytes=600_000_000,
            )
        )
    return tuple(found)
