import numpy as np
import pytest
import torch
from tests.helpers.tiny_served_model import write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from aether.spec.errors import InputError
from aether.stages.evaluate.membership import _log_probabilities, signals

TEXTS = [f"def f{i}(a{i % 7}):\n    return a{i % 5} + {i}\n# note {i * 37 % 101}" for i in range(40)]


@pytest.fixture(scope="module")
def memorised(tmp_path_factory):
    """A tiny model that was trained on the first twenty texts until it knows them."""
    folder = write_model(tmp_path_factory.mktemp("membership") / "model")
    tokenizer, net = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
    )
    torch.manual_seed(0)
    step = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(25):
        for text in TEXTS[:20]:
            ids = tokenizer(text, return_tensors="pt").input_ids
            loss = net(ids, labels=ids).loss
            loss.backward()
            step.step()
            step.zero_grad()
    net.save_pretrained(folder)
    return folder


def test_what_a_model_was_trained_on_stands_out(memorised):
    found = signals(memorised, TEXTS[:20], TEXTS[20:])
    strong, weak = found
    assert (strong.name, weak.name) == ("Min-K%++", "perturbation gap")
    assert strong.area > 0.9 and strong.p_value < 0.001 and weak.area > 0.5
    alike = signals(memorised, TEXTS[20:30], TEXTS[30:])
    assert all(one.p_value > 0.01 for one in alike)


def test_the_scores_are_those_of_the_definition(memorised):
    tokenizer, net = (
        AutoTokenizer.from_pretrained(memorised),
        AutoModelForCausalLM.from_pretrained(memorised, dtype=torch.float32).eval(),
    )
    own, scores = _log_probabilities(net, tokenizer, TEXTS[0])
    ids = tokenizer(TEXTS[0], return_tensors="pt").input_ids
    with torch.inference_mode():
        chance = torch.softmax(net(ids).logits[0, 3].double(), -1).numpy()
    token = int(ids[0, 4])
    mu = float((chance * np.log(chance)).sum())
    sigma = float(np.sqrt((chance * (np.log(chance) - mu) ** 2).sum()))
    assert own[3] == pytest.approx(np.log(chance[token]), abs=1e-4)
    assert scores[3] == pytest.approx((np.log(chance[token]) - mu) / sigma, abs=1e-3)


def test_too_few_texts_are_refused(memorised):
    with pytest.raises(InputError, match="ten texts"):
        signals(memorised, TEXTS[:3], TEXTS[20:])
