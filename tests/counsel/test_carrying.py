"""A recipe file carried out: data, training and continued training on other data, with one tokenizer; then again, reused."""

from pathlib import Path

import pytest
from tiny import program

from aether.counsel.carrying import carry_out, recipe_at
from aether.evidence.files import read_json
from aether.running.folder import RunFolder
from aether.spec.errors import InputError

RECIPE = """
name = "two-domains"

[[steps]]
name = "data"
stage = "data"
[steps.config]
sources = ["old"]
vocab_size = 300

[[steps]]
name = "train"
stage = "train"
inputs = {data = "data"}
[steps.config]
steps = 3
batch_sequences = 2
precision = "float32"
model = {vocab_size = 300, hidden_size = 16, layers = 1, heads = 1, kv_heads = 1, head_size = 16, mlp_size = 16, context_tokens = 16}

[[steps]]
name = "new_data"
stage = "data"
inputs = {tokenizer = "data"}
[steps.config]
sources = ["new"]
vocab_size = 300

[[steps]]
name = "continue"
stage = "train"
inputs = {data = "new_data", old = "data", start = "train"}
[steps.config]
steps = 3
batch_sequences = 2
precision = "float32"
model = {vocab_size = 300, hidden_size = 16, layers = 1, heads = 1, kv_heads = 1, head_size = 16, mlp_size = 16, context_tokens = 16}
"""


def write(folder: Path) -> Path:
    for name, first in (("old", 0), ("new", 500)):
        for index in range(first, first + 80):
            file = folder / name / str(index % 20) / f"m{index}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            words = " + ".join(f"w{(index * 7919 + i * 104729) % 9973}" for i in range(60))
            file.write_text(program(index) + f"\n\ndef unlike_{index}():\n    return (\n        {words}\n    )\n")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder / "recipe.toml"


def test_a_recipe_file_is_carried_out_and_reused(tmp_path):
    recipe = recipe_at(write(tmp_path))
    assert recipe is not None
    run = RunFolder(tmp_path / "runs" / "one")
    ledger = carry_out(recipe, run, ("aether",), lambda progress: None)
    for label in ("new", "old"):
        assert ledger[f"continue.bits_per_byte_change.{label}"].interval is not None
    tokenizers = [(run.output(step) / "tokenizer" / "tokenizer.json").read_bytes() for step in ("data", "new_data")]
    assert tokenizers[0] == tokenizers[1]
    assert "as given" in (run.output("new_data") / "data_card.md").read_text()
    assert read_json(run.path / "run.json")["status"] == "done"
    messages = []
    again = carry_out(recipe, run, ("aether",), lambda progress: messages.append(progress.message))
    assert messages == ["reused"] * 4 and list(again) == list(ledger)


def test_a_brief_is_no_recipe_and_a_wrong_recipe_is_named(tmp_path):
    (tmp_path / "brief.toml").write_text('name = "x"\n')
    assert recipe_at(tmp_path / "brief.toml") is None and recipe_at(tmp_path) is None
    (tmp_path / "bad.toml").write_text(
        'name = "x"\nsteps = [{name = "a", stage = "train", config = {}, inputs = {data = "b"}}]'
    )
    with pytest.raises(InputError, match="no earlier step makes"):
        recipe_at(tmp_path / "bad.toml")
    (tmp_path / "empty.toml").write_text('name = "x"\nsteps = [{name = "a", stage = "train", config = {steps = 0}}]')
    recipe = recipe_at(tmp_path / "empty.toml")
    assert recipe is not None
    with pytest.raises(InputError, match=r"a\.model"):
        carry_out(recipe, RunFolder(tmp_path / "run"), ("aether",), lambda progress: None)
