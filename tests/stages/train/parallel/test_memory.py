"""What a process of several is said to hold, against what processes of every layout held."""

import json
from pathlib import Path

import pytest
from team_runs import toy_recipe

from aether.models.config import DecoderConfig
from aether.models.config_parts import Mixture
from aether.stages.train import estimate
from aether.stages.train.parallel.memory import memory_bytes
from aether.stages.train.parallel.recipe import Parallel

RECORD = json.loads((Path(__file__).parents[4] / "benchmarks" / "records" / "parallel.json").read_text())
MEASURED = {row["layout"]: row["measured"] for row in RECORD["layouts"]}
SHAPE = DecoderConfig(
    vocab_size=2048, hidden_size=256, layers=4, heads=8, kv_heads=4, head_size=32, mlp_size=704, context_tokens=256
)  # fmt: skip
EXPERTS = SHAPE.model_copy(update={"experts": Mixture(count=8, active=2), "mlp_size": 256})
LAYOUTS = {
    "1": {}, "shard 2": {"shard": 2}, "replicate 2": {"replicate": 2}, "tensor 2": {"tensor": 2}, "ring 2": {"context": 2},
    "pipeline 2": {"pipeline": 2}, "experts 1": {}, "experts 2": {"expert": 2}, "shard 4": {"shard": 4},
    "shard 2 x tensor 2": {"shard": 2, "tensor": 2}, "ring 4": {"context": 4}, "experts 4": {"expert": 4},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_states_are_to_the_byte_nearly_and_peaks_within_a_sixth(name):
    """The record's trainings: 8 windows, float32, Muon."""
    parallel, model = Parallel(**LAYOUTS[name]), EXPERTS if name.startswith("experts") else SHAPE
    windows = 1 if parallel.pipeline > 1 else 8 // parallel.readers
    parts = memory_bytes(model, parallel, windows, 4)
    state = parts["weights"] + parts["gradients"] + parts["optimiser"]
    assert state == pytest.approx(MEASURED[name]["state_bytes"], rel=0.002)
    peak = sum(value for part, value in parts.items() if part not in ("snapshot", "checkpoint"))
    assert peak == pytest.approx(MEASURED[name]["largest_peak_bytes"], rel=1 / 6)


def test_a_recipe_of_several_processes_is_predicted_as_one_of_them():
    parts = [estimate.memory_bytes(toy_recipe(parallel={"shard": n}, batch_sequences=12)) for n in (2, 4)]
    assert parts[1]["weights"] == parts[0]["weights"] / 2 and parts[1]["activations"] == parts[0]["activations"] / 2
