"""Every published model: exact to the last digit where a count is published, and found under the names people use."""

import re

import pytest

from aether.knowledge.models_library import PublishedModel, published_model, published_models, spelled
from aether.models.accounting import parameters
from aether.spec.errors import InputError

COUNTED = {name: model for name, model in published_models().items() if model.parameters is not None}


@pytest.mark.parametrize("name", COUNTED)
def test_the_count_is_the_published_one(name: str) -> None:
    """To the last digit."""
    assert parameters(COUNTED[name].architecture).total == COUNTED[name].parameters


@pytest.mark.parametrize("name", published_models())
def test_the_size_in_words_fits_the_count(name: str) -> None:
    """Within a quarter, or half a billion: developers round, leave embeddings out, or count a vision tower in."""
    model = published_models()[name]
    number, unit = re.match(r"([\d.]+)([MBT])", model.size).groups()  # pyright: ignore[reportOptionalMemberAccess]
    said = float(number) * {"M": 1e6, "B": 1e9, "T": 1e12}[unit]
    assert parameters(model.architecture).total == pytest.approx(
        said, rel=0.25, abs=0.5e9 if unit == "B" and said >= 1e9 else 0
    )


@pytest.mark.parametrize(
    ("name", "active"),
    [
        ("qwen3-30b-a3b", 3.3e9),
        ("qwen3-235b-a22b", 22e9),
        ("mixtral-8x7b", 12.9e9),
        ("mixtral-8x22b", 39e9),
        ("deepseek-v2", 21e9),
        ("deepseek-v3", 37e9),
        ("kimi-k2", 32e9),
        ("jamba-v0.1", 12e9),
    ],
)
def test_active_parameters_are_those_that_the_developers_say(name: str, active: float) -> None:
    """Within the rounding of the model cards."""
    assert parameters(published_model(name).architecture).active == pytest.approx(active, rel=0.035)


def test_gpt_oss_counts_its_active_parameters_without_the_input_embedding() -> None:
    """5.1B and 3.6B of the model card (arXiv 2508.10925, table 1) leave the embedding look-up out."""
    for name, active in (("gpt-oss-120b", 5.13e9), ("gpt-oss-20b", 3.61e9)):
        counts = parameters(published_model(name).architecture)
        assert counts.active - counts.embedding == pytest.approx(active, rel=0.005)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3.1-405B", "llama-3.1-405b"),
        ("meta-llama/Llama-2-70b-hf", "llama-2-70b"),
        ("LLAMA2-7B", "llama-2-7b"),
        ("Llama 2 13 B", "llama-2-13b"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", "mixtral-8x22b"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistral-7b"),
        ("nvidia/DeepSeek-V3.1-NVFP4", "deepseek-v3"),
        ("MiniMaxAI/MiniMax-M2.5", "minimax-m2"),
        ("RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic", "llama-4-scout"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nemotron-3-nano-30b-a3b"),
        ("GPT3-175B", "gpt-3-175b"),
        ("gpt2", "gpt2"),
        ("moonshotai/Kimi-K2.5", "kimi-k2.5"),
        ("zai-org/GLM-5-FP8", "glm-5"),
    ],
)
def test_names_people_use(spelling: str, name: str) -> None:
    """Owner, case, tuning and number format aside."""
    assert published_model(spelling).name == name


def test_an_unknown_model_names_the_known() -> None:
    """A misspelling gets what is spelled alike, anything else the families."""
    with pytest.raises(InputError, match=r"did you mean llama-3\.1-8b"):
        published_model("llama-3.1-8bb")
    with pytest.raises(InputError, match=r"config\.json; on record are \d+ of bloom, .*, llama, .*, qwen, ") as error:
        published_model("xyz")
    assert len(str(error.value)) < 400


def test_a_count_without_a_source_does_not_load() -> None:
    """Every number has its source."""
    row = published_model("llama-3.1-8b").model_dump()
    with pytest.raises(ValueError, match=r"llama-3\.1-8b"):
        PublishedModel.model_validate({**row, "parameters_source": None})


def test_every_spelling_finds_its_row_and_rows_hold_no_other_spellings():
    """Names and aliases are found in the text of a row, without parsing it."""
    assert set(spelled()) == set(published_models())
    for name, model in published_models().items():
        assert spelled()[name] == [model.name, *model.aliases]
        assert all(published_model(spelling) is model for spelling in spelled()[name])
