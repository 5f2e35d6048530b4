"""Continued training: from a folder that Aether or transformers wrote, checked field by field, judged before and after."""

import json
from pathlib import Path

import pytest
import torch
from parts_toys import random_parts
from tiny_data import VOCABULARY, write_tiny_data
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from aether.evidence.files import read_json
from aether.models.config import DecoderConfig
from aether.models.folders import model_hash
from aether.models.weights import load, save_pretrained
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train.estimate import pin
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.run import run

torch.set_num_threads(1)
CONFIG = DecoderConfig(
    vocab_size=VOCABULARY, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=64, context_tokens=16
)  # fmt: skip
YARN = {"kind": "yarn", "factor": 2, "original_context_tokens": 16}


def recipe(**changes) -> TrainRecipe:
    given = {"model": CONFIG, "steps": 30, "batch_sequences": 4, "precision": "float32", "validation_bytes": 10_000}
    return TrainRecipe(**(given | changes))


def carry_out(out: Path, wanted: TrainRecipe, **inputs: Path):
    return {e.id: e for e in run(wanted, StepContext("train", out, inputs, 0, 1, lambda progress: None))}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """(data, output of a first run that kept its optimiser)."""
    folder = tmp_path_factory.mktemp("first")
    data = write_tiny_data(folder / "data")
    carry_out(folder / "one", recipe(keep_optimiser=True), data=data)
    return data, folder / "one"


def test_old_recipes_say_nothing_of_a_start():
    assert not {"start", "start_sha256", "start_optimiser", "keep_optimiser"} & recipe().model_dump().keys()


def test_it_goes_on_from_the_start_and_tells_both_domains(first, tmp_path):
    data, one = first
    other = write_tiny_data(tmp_path / "other", seed=5)
    found = carry_out(tmp_path / "two", recipe(steps=60), data=other, start=one, old=data)
    told = read_json(tmp_path / "two" / "continued.json")
    assert told["start_sha256"] == model_hash(one / "model")
    for label in ("new", "old"):
        change = found[f"train.bits_per_byte_change.{label}"]
        before, after = (found[f"train.bits_per_byte.{label}-{when}"] for when in ("before", "after"))
        assert change.value == pytest.approx(after.value - before.value) and after.interval is not None
        assert after.value < before.value, "the toy language is the same: more training helps"
    assert found["train.start_weights"].artefact_sha256 == read_json(one / "train.json")["weights_sha256"]
    first_loss = json.loads((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()[0])["loss"]
    assert first_loss < json.loads((one / "metrics.jsonl").read_text().splitlines()[0])["loss"] - 0.5


def test_no_update_leaves_the_weights_of_the_start(first, tmp_path):
    data, one = first
    still = {"muon_lr": 0, "embedding_lr": 0, "gain_lr": 0}
    carry_out(tmp_path / "two", recipe(steps=1, optimiser=still), data=data, start=one)
    ours, theirs = load(tmp_path / "two" / "model"), load(one / "model")
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_carried_optimiser_is_another_run_than_a_fresh_one(first, tmp_path):
    data, one = first
    losses = {}
    for how in ("fresh", "carried"):
        schedule = {"kind": "wsd", "warmup_fraction": 0, "decay_fraction": 0}
        carry_out(tmp_path / how, recipe(steps=2, schedule=schedule, start_optimiser=how), data=data, start=one)
        losses[how] = [json.loads(row)["loss"] for row in (tmp_path / how / "metrics.jsonl").read_text().splitlines()]
    assert losses["fresh"][0] == losses["carried"][0] and losses["fresh"][1] != losses["carried"][1]
    carry_out(tmp_path / "none", recipe(steps=1), data=data)
    with pytest.raises(InputError, match="keep_optimiser"):
        carry_out(tmp_path / "x", recipe(start_optimiser="carried"), data=data, start=tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"layers": 3}, "model.layers"),
        ({"mlp_size": 96}, "model.mlp_size"),
        ({"norm_eps": 1e-5}, "model.norm_eps"),
        ({"context_tokens": 32}, "model.context_tokens"),
        ({"context_tokens": 32, "rope_scaling": YARN | {"original_context_tokens": 20}}, "original_context_tokens"),
    ],
)
def test_a_field_that_differs_is_named(first, tmp_path, changes, field):
    data, one = first
    with pytest.raises(InputError, match=field):
        carry_out(tmp_path / "x", recipe(model=CONFIG.model_dump() | changes), data=data, start=one)


def test_yarn_takes_a_start_beyond_its_context(first, tmp_path):
    data, one = first
    longer = recipe(model=CONFIG.model_dump() | {"context_tokens": 32, "rope_scaling": YARN}, steps=2)
    carry_out(tmp_path / "two", longer, data=data, start=one)
    config = load(tmp_path / "two" / "model").config
    assert config.context_tokens == 32 and config.rope_scaling is not None


def test_another_tokenizer_is_refused(first, tmp_path):
    _, one = first
    other = write_tiny_data(tmp_path / "other")
    (other / "tokenizer" / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    with pytest.raises(InputError, match="differ in vocab"):
        carry_out(tmp_path / "x", recipe(), data=other, start=one)


def test_a_changed_start_is_refused(first, tmp_path):
    data, one = first
    with pytest.raises(InputError, match="pin the recipe"):
        carry_out(tmp_path / "x", recipe(start=str(one), start_sha256="0" * 64), data=data)
    pinned = pin(recipe(start=str(one), steps=1))
    assert pinned.start == str(one / "model") and pinned.start_sha256 == model_hash(one / "model")
    carry_out(tmp_path / "two", pinned, data=data)


def test_gains_that_are_not_one_must_be_learnt(tmp_path):
    data = write_tiny_data(tmp_path / "data")
    config = CONFIG.model_copy(update={"qk_norm": "none"})
    save_pretrained(random_parts(config), tmp_path / "start", data / "tokenizer")
    with pytest.raises(InputError, match="learn_block_gains"):
        carry_out(tmp_path / "x", recipe(model=config), data=data, start=tmp_path / "start")


_SHAPE = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
THEIRS = {
    "llama": (
        LlamaForCausalLM,
        LlamaConfig(**_SHAPE, num_key_value_heads=1, intermediate_size=64, max_position_embeddings=16, tie_word_embeddings=True),
        {"qk_norm": "none"},
    ),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_inner=64, n_positions=16),
        {"qk_norm": "none", "positions": "learned", "norm": "layer", "activation": "gelu", "bias": True, "kv_heads": 2, "norm_eps": 1e-5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", THEIRS)
def test_a_model_that_transformers_wrote(tmp_path, name):
    kind, config, parts = THEIRS[name]
    data = write_tiny_data(tmp_path / "data")
    torch.manual_seed(0)
    theirs = kind(config)
    theirs.save_pretrained(tmp_path / "start")
    (tmp_path / "start" / "tokenizer.json").write_text("{}")
    wanted = recipe(model=CONFIG.model_dump() | parts, steps=80, optimiser={"learn_block_gains": True})
    found = carry_out(tmp_path / "two", wanted, data=data, start=tmp_path / "start")
    assert found["train.bits_per_byte_change.new"].interval.high < 0
    again = kind.from_pretrained(tmp_path / "two" / "model")
    tokens = torch.arange(1, 17)[None]
    torch.testing.assert_close(again(tokens).logits, load(tmp_path / "two" / "model")(tokens), rtol=1e-4, atol=1e-4)


def test_a_tokenizer_that_transformers_wrote_again_is_the_same(tmp_path):
    from tiny import make_data

    from aether.stages.train.start import check_tokenizer

    data = make_data(tmp_path / "data")
    PreTrainedTokenizerFast.from_pretrained(data / "tokenizer").save_pretrained(tmp_path / "start")
    assert (tmp_path / "start" / "tokenizer.json").read_bytes() != (data / "tokenizer" / "tokenizer.json").read_bytes()
    check_tokenizer(tmp_path / "start", data)
