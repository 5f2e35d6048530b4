from aether.counsel.browse import server_settings
from aether.running.folder import RunFolder
from aether.running.runner import Finished
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


def test_a_folder_that_is_no_run_leaves_the_choice_open(tmp_path):
    assert server_settings(tmp_path, "127.0.0.1", 0).engine == EngineRecipe()
