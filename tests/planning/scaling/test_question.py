"""Size, tokens and loss as one question: of a model, of a budget, over a life of serving, with data that repeats."""

import pytest

from aether.planning.scaling.allocation import compute_optimal, data_constrained, inference_aware, predicted_loss
from aether.planning.scaling.question import size_answer
from aether.planning.search.problem import architecture_of
from aether.spec.errors import InputError


def numbers(model, *settings):
    found = size_answer(None if model is None else architecture_of(model), settings)
    return {e.metric: e.value for e in found.estimates}, found.notes


def test_a_model_and_its_tokens_beside_the_best_use_of_the_same_compute() -> None:
    found, notes = numbers("llama-2-7b", "tokens=2T")
    assert found["loss"] == pytest.approx(predicted_loss(6_738_415_616, 2e12).loss.value)
    assert found["training_flops"] == pytest.approx(6 * 6_738_415_616 * 2e12)
    best = compute_optimal(found["training_flops"])
    assert found["compute_optimal_parameters"] == pytest.approx(best.parameters.value)
    assert found["compute_optimal_loss"] < found["loss"]
    assert any("297 tokens per parameter" in note for note in notes)
    assert any("extrapolation" in note for note in notes)


def test_a_life_of_serving_wants_a_smaller_model_for_the_same_loss() -> None:
    found, _ = numbers(None, "training_flops=1e23", "inference_tokens=10T")
    loss = compute_optimal(1e23).loss.value
    assert found["cheapest_over_life_loss"] == pytest.approx(loss, rel=1e-6)
    assert found["cheapest_over_life_parameters"] < found["parameters"]
    assert found["cheapest_over_life_parameters"] == pytest.approx(inference_aware(loss, 1e13).parameters.value)


def test_repeats_are_worth_less_and_both_sides_are_by_one_law() -> None:
    scarce, notes = numbers("llama-2-7b", "tokens=2T", "unique_tokens=20B")
    plenty, _ = numbers("llama-2-7b", "tokens=2T", "unique_tokens=2T")
    assert scarce["loss"] > plenty["loss"]
    best = data_constrained(scarce["training_flops"], 2e10)
    assert scarce["compute_optimal_loss"] == pytest.approx(best.loss.value)
    assert any(note.startswith("100 epochs") for note in notes) and any("worthless" in note for note in notes)


def test_other_laws_stand_beside_a_budget() -> None:
    found, _ = numbers(None, "training_flops=1e21")
    assert sum(name.startswith("parameters by law") for name in found) >= 2


@pytest.mark.parametrize(
    ("model", "settings", "field"),
    [
        ("llama-2-7b", (), "tokens"),
        ("llama-2-7b", ("tokens=1T", "training_flops=1e22"), "training_flops"),
        ("llama-2-7b", ("tokens=-1",), "tokens"),
        ("llama-2-7b", ("tokens=many",), "tokens"),
        ("llama-2-7b", ("tokens=1T", "colour=red"), "--set"),
        ("llama-2-7b", ("tokens=1T", "unique_tokens=1B", "inference_tokens=1T"), "unique_tokens"),
        (None, (), "training_flops"),
        (None, ("training_flops=1e22", "tokens=1T"), "tokens"),
    ],
)
def test_a_question_that_cannot_be_answered_names_the_field(model, settings, field) -> None:
    with pytest.raises(InputError, match=field):
        numbers(model, *settings)
