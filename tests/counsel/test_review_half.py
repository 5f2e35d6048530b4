"""Weights in float16 by way of a loader, and an evaluation that sets the model to train()."""

import pytest

from aether.counsel.review.engine import review

LOADED = (
    'model = AutoModelForCausalLM.from_pretrained("x", dtype={dtype}).cuda()\n{more}\nTrainer(model=model, args=args)\n'
)


def rules_of(folder, text):
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    return {finding.rule for finding in review([path]).findings}


@pytest.mark.parametrize(
    "dtype, more, found",
    [
        ("torch.float16", "", True),
        ('"float16"', "", True),
        ("torch.bfloat16", "", False),
        ("torch.float16", "model = get_peft_model(model, config)", False),
    ],
)
def test_a_model_that_is_loaded_in_float16_and_trained(tmp_path, dtype, more, found):
    assert ("AE101" in rules_of(tmp_path, LOADED.format(dtype=dtype, more=more))) == found


def test_an_evaluation_in_training_mode(tmp_path):
    text = "def perplexity(model, loader):\n    model.{mode}()\n    with torch.no_grad():\n        for batch in loader:\n            model(batch)\n"
    assert "AE113" in rules_of(tmp_path, text.format(mode="train"))
    assert "AE113" not in rules_of(tmp_path, text.format(mode="eval"))


LOOP = (
    "{head}\nfor batch in loader:\n    {scope}\n    loss.backward()\n    optimizer.step()\n    optimizer.zero_grad()\n"
)


@pytest.mark.parametrize(
    "head, found",
    [
        ('model = AutoModelForCausalLM.from_pretrained("x").half().cuda()', True),
        ('net = AutoModel.from_pretrained("x").to(dtype=torch.float16)', True),
        ("images = batch.pixels.half()", False),
        ('model = AutoModelForCausalLM.from_pretrained("x").to(torch.bfloat16)', False),
    ],
)
def test_a_model_made_half_where_it_is_loaded(tmp_path, head, found):
    assert ("AE101" in rules_of(tmp_path, LOOP.format(head=head, scope="loss = model(batch).loss"))) == found


@pytest.mark.parametrize(
    "head, scope, found",
    [
        ("from torch.cuda.amp import autocast", "with autocast(): loss = model(batch).loss", True),
        ("import torch", 'with torch.autocast("cuda"): loss = model(batch).loss', True),
        ("import torch", 'with torch.autocast("cuda", torch.bfloat16): loss = model(batch).loss', False),
        ("import torch", 'with torch.autocast("cpu"): loss = model(batch).loss', False),
        ("scaler = torch.amp.GradScaler()", 'with torch.autocast("cuda"): loss = model(batch).loss', False),
    ],
)
def test_the_dtype_that_autocast_takes_when_none_is_given(tmp_path, head, scope, found):
    assert ("AE102" in rules_of(tmp_path, LOOP.format(head=head, scope=scope))) == found


def test_a_server_in_a_container_that_is_run_by_hand(tmp_path):
    path = tmp_path / "serve.sh"
    image = "ghcr.io/huggingface/text-generation-inference:3.3.4"
    run = "docker run --gpus all -p 8080:80 {} --model-id mistralai/Mistral-7B-Instruct-v0.3 --num-shard {}\n"
    path.write_text(run.format(image, 5), encoding="utf-8")
    assert "AE401" in {finding.rule for finding in review([path]).findings}
    path.write_text(run.format(image, 4), encoding="utf-8")
    assert "AE401" not in {finding.rule for finding in review([path]).findings}
