"""Every row of every data file has a kind, a source and a date; a cited one has an address. Counts come from the rows."""

import re
import tomllib
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import pytest

from aether.knowledge.addresses import has_address
from aether.knowledge.library import Device
from aether.knowledge.models_library import PublishedModel, published_model
from aether.knowledge.sources import shares, tables

WHOLE = {
    "serving_efficiency.toml",
    "training_efficiency.toml",
    "misuse_words.toml",
    "misuse_harms.toml",
    "misuse_research.toml",
    "misuse_rules.toml",
    "misuse_aims.toml",
    "intents.toml",
    "intent_examples.toml",
    "methods.toml",
    "machines.toml",
    "training_symptoms.toml",
    "training_alerts.toml",
    "training_logs.toml",
}
"""Written by a fit, or all from one source: the whole file has one kind, source and date at its head."""


def _data_files(folder: Traversable) -> Iterator[Traversable]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "topics":  # their sources are tables of their own, which test_topics reads
            yield from _data_files(entry)
        elif entry.name.endswith(".toml"):
            yield entry


FILES = {file.name: file for file in _data_files(files("aether.knowledge"))}


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_every_file_is_sourced(name: str) -> None:
    """Read from the files themselves, so that a new table cannot be forgotten."""
    data = tomllib.loads(FILES[name].read_text(encoding="utf-8"))
    rows = [data] if name in WHOLE else [row for table in data.values() for row in table]
    assert rows
    for row in rows:
        title = row.get("name", name)
        assert row["kind"] in ("cited", "assumed", "measured", "computed"), title
        assert len(row["source"]) >= 10, title
        assert date(2010, 1, 1) <= date.fromisoformat(row["as_of"]) <= date(2026, 12, 31), title
        assert row["kind"] != "cited" or has_address(row["source"]), f"{title}: {row['source']}"
        if row.get("parameters_kind") == "cited":
            assert has_address(row["parameters_source"]), title


@pytest.mark.parametrize(
    ("source", "opens"),
    [
        ("arXiv 2203.15556, section 3.3", True),
        ("litgpt==0.5.13, litgpt/config.py", True),
        ("github.com/EleutherAI/pythia, models/1B", True),
        ("docs.cloud.google.com/tpu/docs/v5e", True),
        ("from memory of the vendor's data sheet", False),
        ("GPTQ paper, table 3", False),
        ("Sapphire Rapids at 2.0 GHz, 1.5 times as fast", False),
    ],
)
def test_an_address_is_something_to_open(source: str, opens: bool) -> None:
    """A page, a paper, a repository or a release."""
    assert has_address(source) is opens


def test_the_shares_are_those_of_the_rows() -> None:
    """Counted again from the tables; printed by `python -m benchmarks.knowledge_sources`."""
    for share in shares():
        rows = tables()[share.table]
        assert share.rows == len(rows) == sum(share.kinds.values()) > 0
        assert share.kinds.get("cited", 0) == sum(row.kind == "cited" for row in rows)
        assert share.fields_unread <= share.fields


def test_the_tables_are_all_that_the_files_hold() -> None:
    """No file of rows is left out of the count but the failures of clusters, which planning reads for itself."""
    written = 0
    for name, file in FILES.items():
        if name not in WHOLE | {"reliability.toml"}:
            written += sum(len(table) for table in tomllib.loads(file.read_text(encoding="utf-8")).values())
    assert written == sum(share.rows for share in shares())


def _examples() -> list[dict[str, list[dict[str, Any]]]]:
    page = (Path(__file__).parents[2] / "docs" / "knowledge.md").read_text(encoding="utf-8")
    return [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)]


def test_the_examples_of_the_page_load_as_they_stand() -> None:
    """The device and the model of docs/knowledge.md, unknown fields refused, and the shape that the model's source has."""
    (device,), (model,) = (next(iter(example.values())) for example in _examples())
    assert Device.model_validate(device).unread == ("power_w", "flops_per_s.float8")
    architecture = {"name": model["name"], **model["architecture"]}
    loaded = PublishedModel.model_validate({**model, "architecture": architecture})
    expected = published_model("llama-3.2-1b").architecture
    assert loaded.architecture.model_copy(update={"name": expected.name}) == expected
