"""Whole texts on weights: every window begins as the tokenizer begins a text; without that, lm-eval's own numbers."""

import json
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from tests.helpers.tiny_served_model import TEXT, write_model

from aether.models.gguf_tokenizer import begins
from aether.stages.evaluate.suites.target import Target
from aether.stages.evaluate.suites.weights import Weights, windows

CONTEXT = 16


@pytest.fixture(params=[False, True], ids=["begins with nothing", "begins with its token"])
def model(request, tmp_path) -> Weights:
    folder = write_model(tmp_path / "model")
    if request.param:
        file = folder / "tokenizer.json"
        known = json.loads(file.read_text())
        end = {"id": "<|endoftext|>", "type_id": 0}
        known["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": end}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
        }
        file.write_text(json.dumps(known))
    found: Any = Target(place=str(folder), max_length=CONTEXT, batch_size=4).load()
    assert isinstance(found, Weights) and begins(found.tokenizer) == request.param
    return found


def requests(*texts):
    return [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=at)
        for at, text in enumerate(texts)
    ]


def test_whole_texts(model):
    texts = [TEXT[0] * 5, TEXT[1] * 3, "a", ""]
    found = model.whole_texts(requests(*texts))
    if not begins(model.tokenizer):
        assert found == pytest.approx(model.loglikelihood_rolling(requests(*texts)), rel=1e-6)
    for text, nats in zip(texts, found, strict=True):
        assert nats == pytest.approx(by_hand(model, text), rel=1e-5)


def by_hand(model, text):
    """One window after the other, through the network itself."""
    tokens, total, first = model.tok_encode(text, add_special_tokens=False), 0.0, begins(model.tokenizer)
    for before, scored in windows(tokens, 0, first, CONTEXT):
        assert (before[0] == 0) or not first
        row = torch.tensor([[*before, *scored][:-1]])
        assert row.shape[1] <= CONTEXT
        with torch.no_grad():
            logits = torch.log_softmax(model.model(row).logits[0].double(), -1)
        total += sum(float(logits[len(before) - 1 + at, token]) for at, token in enumerate(scored))
    return total


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 31, 32, 100])
def test_every_token_is_scored_once_with_what_stands_before_it(first, length):
    tokens = list(range(1, length + 1))
    found = list(windows(tokens, 0, first, CONTEXT))
    assert [token for _, scored in found for token in scored] == tokens
    for before, scored in found:
        begun = [token for token in before if token]
        assert begun == list(range(scored[0] - len(begun), scored[0]))
        assert len(before) + len(scored) - 1 <= CONTEXT
        assert scored[0] == 1 or begun
