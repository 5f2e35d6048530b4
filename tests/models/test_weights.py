"""Folders that plain transformers loads, and files that are refused with a sentence."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.weights import load, read_tensors, save_pretrained, write_tensors
from aether.spec.errors import DamagedRecord, InputError

torch.set_num_threads(1)
CONFIG = DecoderConfig(
    vocab_size=50, hidden_size=32, layers=2, heads=4, kv_heads=2, head_size=8, mlp_size=48, context_tokens=32,
    rope_theta=20000.0, norm_eps=1e-5,
)  # fmt: skip


@pytest.fixture
def tokenizer_folder(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def decoder() -> Decoder:
    model = Decoder(CONFIG)
    model.initialise(2, embedding_std=0.3)
    with torch.no_grad():
        model.blocks[0].q_gain.mul_(1.5)
        model.final_gain[::2] = 0.5
    return model.eval()


TOKENS = torch.arange(20).view(2, 10)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_plain_transformers_loads_the_folder_with_equal_logits(tmp_path, tokenizer_folder, dtype):
    model = decoder()
    save_pretrained(model, tmp_path / "model", tokenizer_folder, dtype=dtype)
    names = {p.name for p in (tmp_path / "model").iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    ours = load(tmp_path / "model", torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(ours(TOKENS), theirs(TOKENS).logits, rtol=2e-5, atol=2e-5)
    assert ours.config == CONFIG
    assert load(tmp_path / "model").embedding.dtype == getattr(torch, dtype)


def test_a_round_trip_is_exact_and_transformers_own_folder_loads(tmp_path):
    model = decoder()
    save_pretrained(model, tmp_path / "a")
    again = load(tmp_path / "a")
    for (name, one), two in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two), name
    AutoModelForCausalLM.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "b")(TOKENS), model(TOKENS))


def test_a_cut_or_foreign_weights_file_is_refused(tmp_path):
    save_pretrained(decoder(), tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], whole[:5], b"", b"\x80\x04pickle" * 50):
        path.write_bytes(damage)
        with pytest.raises(DamagedRecord, match=r"not a whole safetensors file"):
            load(tmp_path)
    path.unlink()
    with pytest.raises(DamagedRecord):
        load(tmp_path)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"model_type": "llama"}, "model_type"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "rope_parameters"),
        ({"hidden_size": -4}, "hidden_size"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"num_hidden_layers": 3}, "layers.2"),
        ({"intermediate_size": 40}, "mlp"),
    ],
)
def test_another_architecture_is_refused_by_name(tmp_path, change, field):
    save_pretrained(decoder(), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=field):
        load(tmp_path)


def test_a_missing_or_broken_config_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DamagedRecord):
        load(tmp_path)


def test_an_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(InputError, match="float16"):
        save_pretrained(decoder(), tmp_path, dtype="float16")


def test_tensors_round_trip_and_leave_no_temporary(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros((), dtype=torch.int64)}
    write_tensors(tmp_path / "t.safetensors", tensors)
    again = read_tensors(tmp_path / "t.safetensors")
    assert set(again) == set(tensors) and all(torch.equal(again[n], tensors[n]) for n in tensors)
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]
