import gzip
import json

import pyarrow
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import write_table

from aether.spec.errors import InputError
from aether.stages.data.filters import Reason
from aether.stages.data.readers import clean, read_items
from aether.stages.data.recipe import DataRecipe
from aether.stages.data.sources import find_files


def items(path, **fields):
    recipe = DataRecipe(sources=(str(path),), **fields)
    return [item for file in find_files(recipe) for item in read_items(file, recipe)]


def reasons(found):
    return [item.rejection[0] if item.rejection else item.text for item in found]


def test_plain_file_loses_its_mark_and_carriage_returns(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"\xef\xbb\xbfx = 1\r\ny = 2\r\n")
    assert [(i.id, i.text, i.parts) for i in items(path)] == [("a.py", "x = 1\ny = 2\n", ("a.py",))]


@pytest.mark.parametrize("raw, word", [(b"caf\xe9 = 1", "0xe9 at 3"), (b"x\0y", "NUL byte at 1")])
def test_broken_utf8_and_nul_are_encoding(tmp_path, raw, word):
    path = tmp_path / "a.py"
    path.write_bytes(raw)
    (found,) = items(path)
    assert found.rejection is not None and found.rejection[0] is Reason.ENCODING and word in found.rejection[1]


def test_too_long_is_not_read_whole(tmp_path):
    path = tmp_path / "a.py"
    with open(path, "wb") as stream:
        stream.truncate(1 << 34)
    assert reasons(items(path)) == [Reason.TOO_LONG]


def test_jsonl_each_bad_row_has_its_name(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        b'{"text": "one"}',
        b"not json",
        b"[1]",
        b'{"other": 1}',
        b'{"text": 5}',
        b"",
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'{"text": "a\\u0000b"}',
    ]
    path.write_bytes(b"\n".join(rows))
    found = items(path)
    malformed = [Reason.MALFORMED] * 4
    assert reasons(found) == ["one", *malformed, Reason.ENCODING, Reason.ENCODING, Reason.ENCODING]
    assert found[0].id == "a.jsonl#000000001" and found[5].id == "a.jsonl#000000007"


def test_a_jsonl_line_without_end_is_skipped_in_blocks_and_the_next_row_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "x" * 40_000}) + "\n" + json.dumps({"text": "next"}) + "\n")
    assert reasons(items(path, filters={"max_bytes": 1024})) == [Reason.TOO_LONG, "next"]


def test_compressed_rows_equal_plain_ones(tmp_path):
    raw = b"".join(json.dumps({"text": f"row {n}"}).encode() + b"\n" for n in range(50))
    (tmp_path / "a.jsonl").write_bytes(raw)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(raw[:300]) + gzip.compress(raw[300:]))
    packer = zstandard.ZstdCompressor()
    (tmp_path / "c.jsonl.zst").write_bytes(packer.compress(raw[:300]) + packer.compress(raw[300:]))
    write_table(pyarrow.table({"text": [f"row {n}" for n in range(50)]}), tmp_path / "d.parquet", row_group_size=7)
    texts = [[i.text for i in items(path)] for path in sorted(tmp_path.iterdir())]
    assert len(texts) == 4 and all(t == texts[0] and len(t) == 50 for t in texts)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_damaged_file_is_unreadable_after_the_rows_that_could_be_read(tmp_path, name):
    raw = b"".join(json.dumps({"text": f"row {n} " + str(n**40)}).encode() + b"\n" for n in range(2000))
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(raw)[:-2000])
    elif name.endswith("zst"):
        path.write_bytes(zstandard.ZstdCompressor().compress(raw)[:-100])
    else:
        path.write_bytes(b"PAR1" + raw[:1000])
    found = items(path)
    assert found[-1].rejection is not None and found[-1].rejection[0] is Reason.UNREADABLE
    assert found[-1].id == name


def test_parquet_without_the_column_names_those_that_are_there(tmp_path):
    write_table(pyarrow.table({"content": ["x"], "repo": ["r"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="content, repo"):
        items(tmp_path / "a.parquet")
    found = items(tmp_path / "a.parquet", text_field="content", group_field="repo")
    assert [(i.text, i.group) for i in found] == [("x", "repo=r")]


def test_group_field_missing_is_malformed(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    assert reasons(items(tmp_path / "a.jsonl", group_field="repo")) == [Reason.MALFORMED]


@given(st.text(alphabet="aé漢😀\n ", max_size=6000))
def test_pieces_of_a_long_text_are_the_text(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("pieces") / "book.txt"
    path.write_bytes(text.encode())
    found = items(path, modality="text", piece_bytes=1024)
    assert all(item.rejection is None for item in found)
    assert "".join(item.text for item in found) == text
    assert all(len(item.text.encode()) <= 1024 * 1.25 + 1024 + 3 for item in found)
    assert len(found) == 1 or [i.parts for i in found] == [("book.txt", f"#{n:06d}") for n in range(1, len(found) + 1)]


@given(st.binary(max_size=200))
def test_clean_gives_text_or_a_reason_for_any_bytes(raw):
    found = clean(raw)
    if isinstance(found, str):
        assert "\0" not in found
        assert found == raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").decode()
    else:
        assert found[0] is Reason.ENCODING
