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
