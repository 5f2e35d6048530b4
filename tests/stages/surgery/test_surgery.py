"""Operations on trained models: exact where the papers say so, refused where a part cannot take them, judged before and after."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from parts_toys import random_parts, shape, tokens_of
from tiny import make_data, make_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from aether.models.weights import load, save_pretrained
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.surgery.estimate import pin
from aether.stages.surgery.heads import drop_heads, importance
from aether.stages.surgery.layers import angular_distances, depth_up_scale, drop_layers
from aether.stages.surgery.opened import Opened, open_model
from aether.stages.surgery.recipe import SurgeryRecipe
from aether.stages.surgery.run import run
from aether.stages.surgery.vocabulary import extend_vocabulary
from aether.stages.surgery.width import widen

torch.set_num_threads(1)
GEMMA = {"norm_place": "sandwich", "activation": "geglu", "scale_embedding": True, "window": 6, "logit_softcap": 3.0}
GPT2 = {"positions": "learned", "norm": "layer", "qk_norm": "none", "activation": "gelu", "bias": True, "kv_heads": 4}
KINDS = {
    "qwen3": {"sink_logits": True},
    "llama": {"qk_norm": "none", "bias": True},
    "olmo2": {"norm_place": "post", "qk_norm": "full"},
    "gemma": GEMMA,
    "gpt2": GPT2 | {"head_size": 12},
    "dyt": {"norm": "dyt", "positions": "alibi"},
}


def opened(**parts) -> Opened:
    config = shape(**parts)
    model = random_parts(config)
    return Opened(config, {name: p.detach().clone() for name, p in model.named_parameters()})


def logits(one: Opened) -> torch.Tensor:
    with torch.no_grad():
        return one.model()(tokens_of(one.config))


def texts_of(one: Opened, count: int = 6) -> list[np.ndarray]:
    return [row.numpy() for row in tokens_of(one.config, batch=count, tokens=24)]


@pytest.mark.parametrize("kind", KINDS)
def test_wider_is_the_same_function(kind):
    before = opened(**KINDS[kind])
    for sizes in ((None, 131), (96, None), (144, 100)):
        after = widen(before, *sizes, seed=3)
        assert after.config.parameters() > before.config.parameters()
        torch.testing.assert_close(logits(after), logits(before), rtol=2e-4, atol=2e-4)


def test_copies_of_a_unit_learn_apart():
    model = widen(opened(qk_norm="none"), 96, 160, seed=0).model()
    tokens = tokens_of(model.config)
    model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    gradient = model.embedding.grad
    assert not torch.allclose(gradient[:, :48], gradient[:, 48:]), "copies of the stream are read unequally"
    again = model.blocks[0].mlp
    copied = [row for row in range(80) if torch.equal(again.gate_up[row], again.gate_up[80])]
    assert copied and not torch.allclose(again.gate_up.grad[copied[0]], again.gate_up.grad[80])


def test_depth_is_solars_stack():
    before = opened(layers=4, qk_norm="none")
    after = depth_up_scale(before, 6)
    order = [0, 1, 2, 1, 2, 3]
    assert after.config.layers == 6
    for place, layer in enumerate(order):
        assert torch.equal(after.tensors[f"blocks.{place}.qkv"], before.tensors[f"blocks.{layer}.qkv"])
    for wrong in (5, 4, 10):
        with pytest.raises(InputError, match="even number from 5 to 8"):
            depth_up_scale(before, wrong)


def test_layers_that_do_nothing_are_the_ones_that_go():
    before = opened(layers=5, qk_norm="none")
    for layer in (2, 3):
        for name in ("out", "mlp.down"):
            before.tensors[f"blocks.{layer}.{name}"].zero_()
    distances = angular_distances(before, 2, texts_of(before))
    # arccos near 1 keeps half of the digits.
    assert (
        len(distances) == 4 and distances[2] == pytest.approx(0, abs=1e-6) and min(distances[:2] + distances[3:]) > 0.01
    )
    after, told = drop_layers(before, 3, texts_of(before))
    assert told["dropped"] == [2, 3]
    torch.testing.assert_close(logits(after), logits(before))


def test_the_distance_is_the_papers():
    before = opened(layers=2, qk_norm="none")
    ids = texts_of(before, 1)[0]
    model, seen = before.model().eval(), []
    for block in model.blocks:
        block.register_forward_hook(lambda m, given, out: seen.append((given[0][0, -1], out[0, -1])))
    with torch.no_grad():
        model.hidden(torch.from_numpy(ids)[None])
    for layer, (a, b) in enumerate(seen):
        angle = torch.arccos((a.double() @ b.double()) / (a.double().norm() * b.double().norm())) / torch.pi
        assert angular_distances(before, 1, [ids])[layer] == pytest.approx(float(angle), rel=1e-6)


def test_heads_that_do_nothing_are_the_ones_that_go():
    before = opened(heads=6, kv_heads=3, bias=True, sink_logits=True)
    for layer in range(3):
        group = (layer + 1) % 3
        before.tensors[f"blocks.{layer}.out"][:, group * 24 : (group + 1) * 24] = 0
    after, told = drop_heads(before, 2, texts_of(before))
    assert told["kept"] == [[0, 2], [0, 1], [1, 2]] and after.config.heads == 4 and after.config.kv_heads == 2
    torch.testing.assert_close(logits(after), logits(before))


def test_importance_is_the_gradient_of_a_factor():
    before = opened(heads=4, kv_heads=2, layers=2, qk_norm="none")
    ids = texts_of(before, 2)
    found = importance(before, ids)
    totals = torch.zeros(2, 2)
    for one in ids:
        factors = torch.ones(2, 4, requires_grad=True)
        model = before.model()
        for layer, block in enumerate(model.blocks):
            factor = factors[layer].repeat_interleave(12)
            out = block.out.detach() * factor
            del block.out
            block.out = out
        tokens = torch.from_numpy(one)[None]
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        totals += factors.grad.abs().view(2, 2, 2).sum(-1)
    expected = totals / totals.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(np.stack(found), expected.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("parts", "operate", "field"),
    [
        ({"qk_norm": "full"}, lambda one: drop_heads(one, 1, texts_of(one)), "qk_norm"),
        ({"positions": "alibi"}, lambda one: drop_heads(one, 1, texts_of(one)), "positions"),
        ({"qk_norm": "none"}, lambda one: drop_heads(one, 2, texts_of(one)), "kv_heads"),
        ({"window": 6, "full_attention_every": 3}, lambda one: depth_up_scale(one, 4), "full_attention_every"),
        (
            {"window": 6, "full_attention_every": 3},
            lambda one: drop_layers(one, 2, texts_of(one)),
            "full_attention_every",
        ),
        ({"experts": {"count": 2, "active": 1}}, lambda one: widen(one, None, 160, 0), "experts"),
        ({"positions": "sinusoidal"}, lambda one: widen(one, 96, None, 0), "sinusoidal"),
        ({"qk_norm": "none"}, lambda one: widen(one, 72, None, 0), "multiple"),
        ({"qk_norm": "none"}, lambda one: widen(one, None, 80, 0), "mlp_size"),
    ],
)
def test_what_the_architecture_cannot_take_is_refused(parts, operate, field):
    with pytest.raises(InputError, match=field):
        operate(opened(**parts))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    data = make_data(folder / "data")
    return data, make_model(data, folder / "one", steps=60)


@pytest.mark.parametrize("rows", ["pieces", "mean"])
def test_a_wider_vocabulary_leaves_the_old_logits(trained, rows):
    _, one = trained
    before = open_model(one / "model")
    tokenizer = Tokenizer.from_file(str(one / "model" / "tokenizer.json"))
    after, wider, told = extend_vocabulary(before, tokenizer, ("def alpha_0(value)", "日本"), rows)
    assert after.config.vocab_size == 386 and told["first_new_id"] == 384
    tokens = torch.from_numpy(np.arange(1, 60)[None])
    with torch.no_grad():
        torch.testing.assert_close(after.model()(tokens)[..., :384], before.model()(tokens), rtol=0, atol=1e-6)
    ids = tokenizer.encode("日本").ids
    pieces = before.tensors["embedding"][torch.tensor(ids)].mean(0)
    expected = pieces if rows == "pieces" else before.tensors["embedding"].mean(0)
    torch.testing.assert_close(after.tensors["embedding"][385], expected)
    assert wider.encode("日本").ids == [385] and wider.decode([385]) == "日本"
    assert wider.encode("import os").ids == tokenizer.encode("import os").ids
    with pytest.raises(InputError, match="must be new"):
        extend_vocabulary(before, tokenizer, ("new", "new"), rows)


def carry_out(out: Path, inputs: dict[str, Path], **given):
    recipe = pin(SurgeryRecipe(**given))
    return {e.id: e for e in run(recipe, StepContext("surgery", out, inputs, 0, 1, lambda progress: None))}


def test_the_stage_leaves_a_model_that_transformers_loads(trained, tmp_path):
    data, one = trained
    inputs = {"data": data, "model": one}
    found = carry_out(tmp_path / "wide", inputs, operation="widen", hidden_size=128, mlp_size=200)
    assert found["surgery.bits_per_byte_change.held"].value == pytest.approx(0, abs=1e-4)
    assert found["surgery.bits_per_byte.held-before"].interval is not None
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "wide" / "model")
    tokens = torch.arange(1, 40)[None]
    torch.testing.assert_close(theirs(tokens).logits, load(one / "model")(tokens), rtol=1e-3, atol=1e-3)
    shallow = carry_out(tmp_path / "less", inputs, operation="drop-layers", layers=1)
    assert shallow["surgery.bits_per_byte_change.held"].value > 0
    summary = json.loads((tmp_path / "less" / "surgery.json").read_text())
    assert summary["dropped"] in ([0], [1]) and "worse after" in summary["held"]["conclusion"]
    carry_out(tmp_path / "words", inputs, operation="extend-vocabulary", tokens=("os.fspath(value)",))
    words = AutoTokenizer.from_pretrained(tmp_path / "words" / "model")
    assert words.encode("os.fspath(value)") == [384]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "words" / "model").config.vocab_size == 385


def test_a_class_that_transformers_knows_stays_that_class(tmp_path, trained):
    data, _ = trained
    config = shape(vocab_size=384, qk_norm="none", kv_heads=4)
    save_pretrained(random_parts(config), tmp_path / "llama", data / "tokenizer")
    carry_out(tmp_path / "out", {"data": data}, operation="drop-heads", kv_heads=3, model=str(tmp_path / "llama"))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert type(theirs).__name__ == "LlamaForCausalLM" and theirs.config.num_attention_heads == 3


def test_texts_of_a_file_and_what_changed_since(trained, tmp_path):
    data, one = trained
    file = tmp_path / "held.jsonl"
    file.write_text((data / "test" / "text.jsonl").read_text())
    given = {"operation": "depth-up-scale", "layers": 4, "model": str(one), "texts": str(file)}
    found = carry_out(tmp_path / "deep", {}, **given)
    assert found["surgery.parameters"].value == load(tmp_path / "deep" / "model").config.parameters()
    wanted = pin(SurgeryRecipe(**given))
    file.write_text(file.read_text() + "\n")
    with pytest.raises(InputError, match="texts_sha256"):
        run(wanted, StepContext("surgery", tmp_path / "x", {}, 0, 1, lambda progress: None))


def test_fields_of_another_operation_are_refused():
    with pytest.raises(InputError, match="has no such field"):
        SurgeryRecipe(operation="widen", layers=3, mlp_size=4)
    with pytest.raises(InputError, match="needs it"):
        SurgeryRecipe(operation="drop-layers")
