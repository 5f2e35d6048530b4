"""Reading a brief: formats, every problem named, settings, paths, and no traceback whatever the bytes."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.policy.brief_file import MAX_BYTES, apply_settings, load_brief, parse, to_brief
from aether.spec.brief import Brief
from aether.spec.errors import InputError
from aether.spec.metrics import METRICS

TOML = 'name = "m"\nseed = 3\ntargets = ["ttft_p99 <= 250 ms"]\n[data]\nsources = "corpus/*.py"\n'
YAML = "name: m\nseed: 3\ntargets: ['ttft_p99 <= 250 ms']\ndata:\n  sources: corpus/*.py\n"
JSON = json.dumps({"name": "m", "seed": 3, "targets": ["ttft_p99 <= 250 ms"], "data": {"sources": "corpus/*.py"}})


@pytest.mark.parametrize(("suffix", "text"), [(".toml", TOML), (".yaml", YAML), (".yml", YAML), (".json", JSON)])
def test_the_formats_mean_the_same(tmp_path, suffix, text):
    (tmp_path / f"brief{suffix}").write_text(text)
    brief = load_brief(tmp_path)
    assert brief.seed == 3
    assert brief.target("ttft_p99").value == 0.25
    assert brief.data.sources == (str(tmp_path / "corpus/*.py"),)
    assert load_brief(tmp_path / f"brief{suffix}") == brief


def problems(raw: dict) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        to_brief(raw, "brief.toml")
    assert str(caught.value).startswith("brief.toml: ")
    return {p["field"]: p["mend"] for p in caught.value.details["problems"]}


def test_every_problem_is_named_with_its_mend():
    found = problems(
        {
            "nme": "x",
            "seed": -1,
            "modality": "image",
            "targets": ["ttft_p99 <= 5 parsecs", "speed <= 1", 5, {"metric": ["a"], "value": 1}],
            "load": {"requests_per_s": 0},
            "data": {"source": "a"},
        }
    )
    assert "did you mean name?" in found["nme"]
    assert "did you mean data.sources?" in found["data.source"]
    assert found["seed"] == "write a number of at least 0"
    assert found["modality"] == "use one of 'code' or 'text'"
    assert "ms" in found["targets.ttft_p99"]
    assert "bits_per_byte" in found["targets.metric"]
    assert found["load.requests_per_s"] == "write a number above 0.0"
    assert found["targets[3].metric"] == "write text"


@pytest.mark.parametrize(
    ("suffix", "text", "said"),
    [
        (".yaml", "name: a\nname: b\n", "stands twice"),
        (".json", '{"name": "a", "name": "b"}', "stands twice"),
        (".toml", 'name = "a"\nname = "b"\n', "overwrite"),
        (".yaml", "a: &x 1\nb: *x\n", "aliases"),
        (".yaml", "1: a\n", "is not text"),
        (".json", '{"seed": NaN}', "NaN"),
        (".json", "[" * 100_000, "nested"),
        (".yaml", "[1]\n", "a list"),
        (".json", "3", "a number"),
        (".toml", "seed = " + "9" * 5000, "digits"),
    ],
)
def test_broken_files_are_a_sentence(suffix, text, said):
    with pytest.raises(InputError, match=said):
        parse(text, suffix, "brief")


def test_broken_places_are_a_sentence(tmp_path):
    for content, said in ((b"", "empty"), (b"\xff\xfe\x00", "UTF-8"), (b"#" * (MAX_BYTES + 1), "larger")):
        (tmp_path / "brief.toml").write_bytes(content)
        with pytest.raises(InputError, match=said):
            load_brief(tmp_path)
    (tmp_path / "brief.toml").unlink()
    with pytest.raises(InputError, match="it holds no"):
        load_brief(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load_brief(tmp_path / "nowhere.toml")
    (tmp_path / "brief.txt").write_text("x")
    with pytest.raises(InputError, match="name it with"):
        load_brief(tmp_path / "brief.txt")
    (tmp_path / "brief.toml").write_text(TOML)
    (tmp_path / "brief.json").write_text(JSON)
    with pytest.raises(InputError, match="keep one"):
        load_brief(tmp_path)


def test_settings_lie_over_the_file(tmp_path):
    (tmp_path / "brief.toml").write_text(TOML)
    given = ["ttft_p99 <= 100 ms", "targets=build_time <= 2 min; bits_per_byte <= 2", "load.requests=30", "name=7up"]
    given += ["data.sources=here", 'data.include=["*.py", "*.txt"]', "hardware.price_usd_per_hour=0.5"]
    with contextlib.chdir(tmp_path.parent):
        brief = load_brief(tmp_path, given)
    assert brief.target("ttft_p99").value == 0.1
    assert brief.target("build_time").value == 120
    assert brief.load.requests == 30
    assert brief.name == "7up"
    assert brief.data.sources == (str(tmp_path.parent / "here"),)
    assert brief.data.include == ("*.py", "*.txt")
    assert brief.hardware.price_usd_per_hour == 0.5


@pytest.mark.parametrize("setting", ["", "seed", "=3", "a.b.c=1", "targets=ttft <= 1", "name.x=1", "load.requests=[1"])
def test_bad_settings_are_a_sentence(setting):
    with pytest.raises(InputError):
        to_brief(apply_settings({"name": "m"}, [setting]), "x")


def test_settings_leave_the_raw_brief_alone():
    raw = {"data": {"sources": ["a"]}, "targets": ["build_time <= 1 min"]}
    apply_settings(raw, ["data.sources=python:stdlib", "build_time <= 2 min"])
    assert raw == {"data": {"sources": ["a"]}, "targets": ["build_time <= 1 min"]}


_scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_anything = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=12,
)
_keys = st.sampled_from([*Brief.model_fields, "nme", "target"])


@given(st.dictionaries(_keys, _anything, max_size=6))
@settings(max_examples=150, deadline=None)
def test_no_table_gives_a_traceback(raw):
    try:
        to_brief(raw, "x")
    except InputError as error:
        assert error.details["problems"]


@given(st.sampled_from([".toml", ".yaml", ".json"]), st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_no_text_gives_a_traceback(suffix, text):
    try:
        to_brief(parse(text, suffix, "x"), "x")
    except InputError as error:
        assert str(error)


@given(st.lists(st.text(max_size=40), max_size=3))
@settings(max_examples=100, deadline=None)
def test_no_setting_gives_a_traceback(given_settings):
    try:
        to_brief(apply_settings({}, given_settings), "x")
    except InputError as error:
        assert str(error)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
    st.integers(0, 2**31 - 1),
    st.dictionaries(st.sampled_from(sorted(METRICS)), st.floats(1e-6, 1e12), max_size=5),
    st.lists(st.from_regex(r"/[a-z]{1,8}", fullmatch=True), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_a_brief_survives_json(name, seed, bounds, sources):
    targets = [
        {"metric": m, "comparison": "<=" if METRICS[m].better == "lower" else ">=", "value": v}
        for m, v in bounds.items()
    ]
    brief = to_brief({"name": name, "seed": seed, "targets": targets, "data": {"sources": sources}}, "x")
    assert to_brief(parse(json.dumps(brief.model_dump(mode="json")), ".json", "x"), "x") == brief
