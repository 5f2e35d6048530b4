import json
import warnings

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.evidence.hashing import artefacts_of
from aether.models import quantized
from aether.models.quantized import Scheme
from aether.spec.errors import DamagedRecord, InputError
from aether.spec.run import StepContext
from aether.stages.compress.candidates import Refused
from aether.stages.compress.recipe import Candidate, CompressRecipe
from aether.stages.compress.run import run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("compress")
    tiny.make_data(root / "data")
    return {"data": root / "data", "model": tiny.make_model(root / "data", root / "train")}


def compress(made, out, **choices):
    out.mkdir(exist_ok=True)
    context = StepContext("compress", out, made, seed=0, threads=1, listener=lambda progress: None)
    with warnings.catch_warnings():
        # transformers probes torchao on import, which warns about itself.
        warnings.simplefilter("ignore")
        found = run(CompressRecipe(**choices), context)
    return {e.id: e for e in found}, {
        row["name"]: row for row in json.loads((out / "candidates.json").read_text())["candidates"]
    }


def test_the_smallest_that_passes_is_kept(made, tmp_path):
    found, rows = compress(made, tmp_path / "out", quality_loss_bound=0.2)
    assert rows["int4"]["kept"] and sum(row["kept"] for row in rows.values()) == 1
    assert {rows[n]["refused"] for n in ("float32", "bfloat16", "int8")} == {Refused.LARGER}
    sizes = [rows[name]["size_bytes"] for name in ("int4", "int8", "bfloat16", "float32")]
    assert sizes == sorted(sizes) and found["compress.size_on_disk"].value == sizes[0]
    assert rows["int4"]["layers_changed"] == 14
    losses = [abs(found[f"compress.quality_loss.{name}"].value) for name in ("bfloat16", "int8", "int4")]
    assert losses == sorted(losses)
    names = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "README.md"}
    assert not (tmp_path / "out" / "tmp").exists()


def test_a_bound_of_nothing_keeps_what_was_trained(made, tmp_path):
    _, rows = compress(
        made,
        tmp_path / "out",
        quality_loss_bound=0.0,
        candidates=CompressRecipe().candidates[:1] + CompressRecipe().candidates[3:],
    )
    assert rows["float32"]["kept"] and rows["int4"]["refused"] == Refused.QUALITY


def test_groups_that_do_not_fit_are_refused_by_name(made, tmp_path):
    odd = Candidate(name="odd", kind="integer", bits=4, group_size=48)
    _, rows = compress(made, tmp_path / "out", candidates=(CompressRecipe().candidates[0], odd))
    assert rows["odd"]["refused"] == Refused.SHAPE and rows["float32"]["kept"]


def test_twice_the_same_gives_the_same_bytes_after_a_kill_too(made, tmp_path):
    compress(made, tmp_path / "a", quality_loss_bound=0.2)
    (tmp_path / "b" / "tmp" / "int8").mkdir(parents=True)
    (tmp_path / "b" / "tmp" / "int8" / "half").write_text("left by a kill")
    compress(made, tmp_path / "b", quality_loss_bound=0.2)
    assert artefacts_of(tmp_path / "a") == artefacts_of(tmp_path / "b")


@pytest.mark.parametrize("scheme", [Scheme(8), Scheme(4, 32), Scheme(4)])
def test_transformers_reads_the_same_weights(made, tmp_path, scheme):
    from transformers import AutoModelForCausalLM

    quantized.write_quantized(made["model"] / "model", tmp_path, scheme)
    ids = torch.arange(1, 40)[None]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()(ids).logits
        ours = quantized.load(tmp_path)(ids)
    assert torch.allclose(theirs.float(), ours, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([4, 8]), st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**31))
def test_packing_is_the_format_s_own_and_loses_nothing(bits, rows, columns, seed):
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    top = 2 ** (bits - 1)
    codes = torch.from_numpy(np.random.default_rng(seed).integers(-top, top, (rows, columns)).astype(np.int8))
    words = quantized.pack(codes, bits)
    assert torch.equal(words, pack_to_int32(codes, bits))
    assert torch.equal(quantized.unpack(words, bits, columns), codes)


def test_rounding_is_no_worse_than_the_plain_scale():
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    restored = quantized.dequantize(*quantized.quantize(weight, Scheme(4, 32)))
    groups = weight.reshape(16, 2, 32)
    scale = (groups.abs().amax(-1, keepdim=True) / 7).bfloat16().float()
    plain = ((groups / scale).round().clamp(-8, 7) * scale).reshape(16, 64)
    assert (restored - weight).square().sum() < (plain - weight).square().sum()
    zeros = torch.zeros(4, 32)
    assert torch.equal(quantized.dequantize(*quantized.quantize(zeros, Scheme(4, 32))), zeros)


def test_damaged_and_foreign_folders_are_sentences(made, tmp_path):
    quantized.write_quantized(made["model"] / "model", tmp_path, Scheme(8))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedRecord):
        quantized.load(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "awq"}}))
    with pytest.raises(InputError, match="pack-quantized"):
        quantized.load(tmp_path)


def test_recipes_say_what_is_wrong():
    with pytest.raises(InputError, match="keep the float32 one"):
        CompressRecipe(candidates=(Candidate(name="a", kind="bfloat16"),))
    with pytest.raises(InputError, match="4 or 8"):
        Candidate(name="a", kind="integer")


def test_the_estimated_size_is_the_tensors_size(made, tmp_path):
    from aether.stages.compress.estimate import size_on_disk, wall_time, weight_bytes

    shape = tiny.tiny_config()
    _, rows = compress(made, tmp_path / "out")
    tokenizer_bytes = sum(
        (made["model"] / "model" / n).stat().st_size for n in ("tokenizer.json", "tokenizer_config.json")
    )
    for candidate in CompressRecipe().candidates:
        estimate = size_on_disk(candidate, shape, tokenizer_bytes)
        assert estimate.interval is not None
        assert estimate.interval.low <= rows[candidate.name]["size_bytes"] <= estimate.interval.high
        assert weight_bytes(candidate, shape) < rows[candidate.name]["size_bytes"]
    assert (wall_time(CompressRecipe(), shape, 1e11).value or 0) > 0
