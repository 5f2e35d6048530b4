"""Parsed tables are kept beside the byte code: the same content, never of another text, and never needed."""

import json
import sys
import tomllib

import pytest

from aether.knowledge import tables

FILES = sorted(path.relative_to(tables.FOLDER).parts for path in tables.FOLDER.rglob("*.toml"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path


def text_of(value: str) -> str:
    return f'what = "{value}"\n' + "# words\n" * 400


@pytest.mark.parametrize("name", FILES, ids="/".join)
def test_every_table_is_the_same_after_it_was_kept(name):
    parsed = tomllib.loads(tables.FOLDER.joinpath(*name).read_text(encoding="utf-8"))
    assert json.loads(json.dumps(parsed, allow_nan=False)) == parsed == tables.table(*name)


def test_what_is_kept_is_read_again_and_goes_with_its_text(folder):
    (folder / "a.toml").write_text(text_of("old"), encoding="utf-8")
    assert tables.table("a.toml") == {"what": "old"}
    (kept,) = folder.rglob("a.*.json")
    kept.write_text('{"what": "kept"}', encoding="utf-8")
    assert tables.table("a.toml") == {"what": "kept"}
    (folder / "a.toml").write_text(text_of("new"), encoding="utf-8")
    assert tables.table("a.toml") == {"what": "new"}
    assert [other.name for other in folder.rglob("a.*.json")] != [kept.name] and not kept.exists()


def test_what_is_damaged_is_parsed_and_kept_again(folder):
    (folder / "a.toml").write_text(text_of("x"), encoding="utf-8")
    tables.table("a.toml")
    (kept,) = folder.rglob("a.*.json")
    kept.write_text('{"what": ', encoding="utf-8")
    assert tables.table("a.toml") == {"what": "x"} == json.loads(kept.read_text(encoding="utf-8"))


def test_nothing_is_kept_where_no_byte_code_is(folder, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (folder / "a.toml").write_text(text_of("x"), encoding="utf-8")
    assert tables.table("a.toml") == {"what": "x"}
    assert not list(folder.rglob("a.*.json"))


def test_a_folder_that_cannot_be_written_keeps_nothing(folder):
    (folder / "a.toml").write_text(text_of("x"), encoding="utf-8")
    (folder / "__pycache__").write_text("a file where the folder would be", encoding="utf-8")
    assert tables.table("a.toml") == {"what": "x"}
