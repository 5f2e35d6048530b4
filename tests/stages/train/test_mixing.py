"""Mixtures: exact shares over every prefix, nothing twice before all was read, the same order for every asking, kill and resume."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_data import VOCABULARY, write_tiny_data

from aether.evidence.files import read_json
from aether.models.config import DecoderConfig
from aether.models.packing import PackedTokens
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.train.batches import MixedWindows, ShuffledWindows, cut, windows
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.mixing import MixturePlan, Stretch, Turns, whole_parts
from aether.stages.train.recipe import TrainRecipe
from aether.stages.train.run import run

torch.set_num_threads(1)
CONFIG = DecoderConfig(
    vocab_size=VOCABULARY, hidden_size=32, layers=2, heads=2, kv_heads=1, head_size=16, mlp_size=64, context_tokens=16
)  # fmt: skip
WEIGHTS = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)
TWO = {"sources": [{"input": "data", "weight": 0.7}, {"input": "other", "weight": 0.3, "epochs": 2}]}


def recipe(**changes) -> TrainRecipe:
    return TrainRecipe(**({"model": CONFIG, "steps": 10, "batch_sequences": 4, "precision": "float32"} | changes))


@given(WEIGHTS, st.integers(0, 500))
@settings(max_examples=60)
def test_shares_are_exact_to_less_than_one_sample_over_every_prefix(weights, turns):
    order = Turns(weights)
    seen = [order.source(turn) for turn in range(turns)]
    counts = order.counts(turns)
    for source, weight in enumerate(weights):
        assert counts[source] == seen.count(source)
        assert abs(counts[source] - Fraction(turns * weight, sum(weights))) < 1


@given(WEIGHTS, st.data())
@settings(max_examples=60)
def test_each_source_is_read_in_its_own_order_without_a_gap(weights, data):
    other = data.draw(st.lists(st.integers(0, 9), min_size=len(weights), max_size=len(weights)).filter(any))
    first = data.draw(st.integers(0, 120))
    plan = MixturePlan([Stretch(0, Turns(other)), Stretch(first, Turns(weights))])
    own = [0] * len(weights)
    for index in range(200):
        source, place = plan.at(index)
        assert place == own[source] == plan.counts(index)[source]
        own[source] += 1


def test_weights_are_taken_as_they_are_written():
    assert (
        whole_parts((0.7, 0.2, 0.1)) == (7, 2, 1) and whole_parts((2, 4)) == (1, 2) and whole_parts((0, 0.3)) == (0, 1)
    )
    with pytest.raises(InputError, match="round them"):
        whole_parts((0.123457, 0.5))


@given(st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 3))
def test_shorter_windows_hold_every_target_once(short, rows):
    tokens = torch.arange(rows * 16)[:, None].view(rows, 16)
    tokens = torch.cat((tokens, tokens[:, -1:] + 1), 1)
    inputs, ids = cut(tokens, tokens, short)
    assert inputs.shape == (rows * 16 // short, short + 1) and torch.equal(inputs, ids)
    assert torch.equal(inputs[:, :-1].flatten(), tokens[:, :-1].flatten())
    assert torch.equal(inputs[:, 1:].flatten(), tokens[:, 1:].flatten())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    return {"data": write_tiny_data(folder / "a"), "other": write_tiny_data(folder / "b", documents=12, seed=3)}


def context(out: Path, inputs: dict[str, Path]) -> StepContext:
    return StepContext("train", out, inputs, 0, 1, lambda progress: None)


def test_nothing_is_read_twice_before_all_was_read(inputs):
    mixed = windows(recipe(mixture=TWO), inputs, 0)
    assert isinstance(mixed, MixedWindows)
    own = ShuffledWindows(PackedTokens(inputs["other"] / "train", 16, 0), 0)
    places = []
    for index in range(400):
        source, place = mixed.plan.at(index)
        if source == 1:
            places.append(own.place(place))
            assert np.array_equal(mixed.batch(index, 1)[0][0], own.sample(place)[0])
    assert len(places) > own.size and sorted(places[: own.size]) == list(range(own.size))


def test_the_order_does_not_depend_on_how_it_is_asked_for(inputs):
    one, two = (windows(recipe(mixture=TWO), inputs, 0) for _ in range(2))
    whole, _ = one.batch(5, 24)
    parts = [two.batch(first, 6)[0] for first in (23, 11, 5, 17)]
    assert np.array_equal(whole, np.concatenate([parts[2], parts[1], parts[3], parts[0]]))
    assert not np.array_equal(whole, windows(recipe(mixture=TWO), inputs, 1).batch(5, 24)[0])


def test_more_epochs_than_allowed_are_refused_with_the_count(inputs):
    with pytest.raises(InputError, match=r"data would be read 5.9\d times \(1,120 windows\)"):
        windows(recipe(steps=400, mixture=TWO), inputs, 0)
    with pytest.raises(InputError, match="the step has the inputs data"):
        windows(recipe(mixture=TWO), {"data": inputs["data"]}, 0)


def test_a_run_tells_what_it_read_and_goes_on_to_the_sample(inputs, tmp_path):
    phases = [{"steps_fraction": 0.5, "weights": [1, 0], "context_tokens": 8}]
    wanted = recipe(mixture=TWO | {"phases": phases}, steps=12)
    found = {e.id: e.value for e in run(wanted, context(tmp_path / "whole", inputs))}
    told = {row["input"]: row for row in read_json(tmp_path / "whole" / "mixture.json")}
    assert told["data"]["windows"] == 24 + 17 and told["other"]["windows"] == 7
    assert found["train.source_tokens.other"] == 7 * 16 and found["train.source_epochs.data"] == told["data"]["epochs"]
    whole = new_state(wanted, 0)
    Loop(wanted, whole, windows(wanted, inputs, 0), context(tmp_path / "x", inputs)).run("x")
    half = new_state(wanted, 0)
    loop = Loop(wanted, half, windows(wanted, inputs, 0), context(tmp_path / "y", inputs))
    for _ in range(5):
        loop.update()
    again = new_state(wanted, 0)
    again.from_checkpoint(*half.as_checkpoint())
    loop = Loop(wanted, again, windows(wanted, inputs, 0), context(tmp_path / "y", inputs))
    for _ in range(7):
        loop.update()
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True))


def test_context_follows_the_phases():
    wanted = recipe(
        steps=10,
        mixture={
            "phases": [{"steps_fraction": 0.3, "context_tokens": 4}, {"steps_fraction": 0.2, "context_tokens": 8}]
        },
    )
    assert [wanted.context_at(step) for step in range(10)] == [4] * 3 + [8] * 2 + [16] * 5
    assert "mixture" not in recipe().model_dump()


@pytest.mark.parametrize(
    ("mixture", "field"),
    [
        ({"phases": [{"steps_fraction": 0.5, "context_tokens": 5}]}, "must divide"),
        ({"phases": [{"steps_fraction": 0.5}]}, "changes nothing"),
        (TWO | {"phases": [{"steps_fraction": 0.5, "weights": [1]}]}, "one weight for each"),
        ({"sources": [TWO["sources"][0]] * 2}, "name each input once"),
    ],
)
def test_a_mixture_that_does_not_fit_is_named(mixture, field):
    with pytest.raises((InputError, ValidationError), match=field):
        recipe(mixture=mixture)


def test_another_tokenizer_in_a_mixture_is_refused(inputs, tmp_path):
    other = write_tiny_data(tmp_path / "other")
    (other / "tokenizer" / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(InputError, match="another tokenizer"):
        run(recipe(mixture=TWO), context(tmp_path / "x", inputs | {"other": other}))
