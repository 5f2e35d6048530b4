import json

import pytest

from aether.counsel.browse import server_settings
from aether.counsel.keeping import withdraw_model
from aether.running.folder import RunFolder
from aether.running.guarding import guard_identity, keep_guard
from aether.running.runner import Finished
from aether.spec.brief import Brief
from aether.spec.errors import InputError
from aether.stages.serve.guard.settings import GuardSettings, read_guard
from aether.stages.serve.recipe import EngineRecipe
from records import number, record, run_facts


def write_run(path, **conditions):
    """A run that has served, as its folder stands on disk."""
    folder = RunFolder(path / "run")
    folder.start(run_facts(path / "facts").manifest.brief, ("aether", "build"))
    out = path / ".store" / "serve" / "abc"
    out.mkdir(parents=True)
    measured = number("serve.throughput", 900.0, "token/s", repeats="machine").model_copy(
        update={"conditions": conditions}
    )
    config = {"engine": EngineRecipe(slots=7).model_dump(mode="json")}
    made = record("serve", (measured,), out, config=config, threads=3)
    (out / "record.json").write_text(made.model_dump_json())
    folder.note_step("serve", Finished(out, made, False))
    return path / "run"


def test_a_run_is_served_by_the_engine_that_its_load_test_chose(tmp_path):
    found = server_settings(write_run(tmp_path, engine="llama.cpp", dtype="float16"), "127.0.0.1", 0)
    assert (found.engine.engine, found.engine.dtype, found.engine.slots) == ("llama.cpp", "float16", 7)
    assert found.threads == 3 and found.port == 0


def test_a_run_is_served_behind_the_guard_that_it_was_released_with(tmp_path):
    run = write_run(tmp_path, engine="packed")
    for name, text in (
        ("guard.toml", 'rules = true\nclassifier = "c.bin"\nkeys = "keys.toml"\n'),
        ("c.bin", "one"),
        ("other.bin", "two"),
    ):
        (tmp_path / name).write_text(text)
    guard = read_guard(tmp_path / "guard.toml")
    judged = {"target": {"sha256": "0", "guard": guard_identity(guard)}}
    (run / "redteam").mkdir()
    (run / "redteam" / "redteam.json").write_text(json.dumps(judged))
    keep_guard(tmp_path / "guard.toml", run)
    for place in (run, run / "model"):
        found = server_settings(place, "127.0.0.1", 0).guard
        assert (
            found.rules
            and found.keys == str(tmp_path / "keys.toml")
            and found.classifier == str((run / "guard" / "c.bin").resolve())
        )
    given = GuardSettings(canary=True)
    assert server_settings(run, "127.0.0.1", 0, given).guard == given
    (tmp_path / "c.bin").write_text("changed")
    with pytest.raises(InputError, match="it changed after the gates were judged behind it"):
        keep_guard(tmp_path / "guard.toml", run)
    assert (run / "guard" / "c.bin").read_text() == "one"
    withdraw_model(run)
    assert server_settings(run, "127.0.0.1", 0).guard == GuardSettings(), "its brief names none"


def test_a_run_whose_guard_is_gone_is_not_served_bare(tmp_path):
    run = write_run(tmp_path, engine="packed")
    folder, brief = RunFolder(run), RunFolder(run).manifest().brief
    gated = Brief.model_validate(
        brief.model_dump(mode="json") | {"targets": ["attack_success <= 20 %"], "red_team": {"guard": "/g/guard.toml"}}
    )
    folder.save(folder.manifest().model_copy(update={"brief": gated}))
    for place in (run, run / "model"):
        with pytest.raises(InputError, match=r"its gates were judged behind /g/guard.toml; run `aether resume"):
            server_settings(place, "127.0.0.1", 0)


def test_a_folder_that_is_no_run_leaves_the_choice_open(tmp_path):
    assert server_settings(tmp_path, "127.0.0.1", 0).engine == EngineRecipe()
