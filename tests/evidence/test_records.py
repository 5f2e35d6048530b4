from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.evidence.hashing import artefacts_of, hash_artefacts, hash_value
from aether.spec.errors import DamagedRecord, EnvironmentFault

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values, max_size=6))
def test_a_value_hash_ignores_key_order(value):
    assert hash_value(value) == hash_value(dict(reversed(value.items())))


def test_json_survives_writing(tmp_path):
    value = {"a": [1, 2.5, None, "é\u2028"], "b": {}}
    write_json(tmp_path / "deep" / "x.json", value)
    assert read_json(tmp_path / "deep" / "x.json") == value
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.json"], "no temporary is left"


def test_a_half_written_json_is_a_sentence(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1')
    with pytest.raises(DamagedRecord, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_a_full_disk_is_a_sentence():
    with (
        pytest.raises(EnvironmentFault, match="disk is full"),
        explained_os_errors(Path("/dev/full")),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_a_folder_hash_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    first = hash_artefacts(artefacts_of(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    assert hash_artefacts(artefacts_of(tmp_path)) != first
    assert artefacts_of(tmp_path, skip=("b",)) == ()
