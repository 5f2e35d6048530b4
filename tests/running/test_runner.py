import multiprocessing
from pathlib import Path

import pytest

from aether.evidence.records import read_record
from aether.running.runner import Runner
from aether.spec.errors import DamagedRecord, InputError
from aether.spec.recipe import Recipe, Step
from aether.stages import Stage

STAGES = {"counting": Stage("counting_stage:CountingRecipe", "counting_stage:run")}


def runner(store: Path, heard: list | None = None) -> Runner:
    return Runner(store, (heard if heard is not None else []).append, STAGES)


def step(name="count", inputs=None, **config) -> Step:
    return Step(name=name, stage="counting", config=config, inputs=inputs or {})


def test_a_step_leaves_a_record_beside_its_output(tmp_path):
    done = runner(tmp_path).run_step(step())
    record = read_record(done.folder)
    assert record == done.record
    assert [a.path for a in record.artefacts] == ["count"]
    assert record.evidence[0].id == "count.count" and record.evidence[0].value == 5
    assert record.config["until"] == 5, "the record holds the resolved recipe, defaults included"


def test_unchanged_work_is_found_again(tmp_path):
    first = runner(tmp_path).run_step(step())
    again = runner(tmp_path).run_step(step(note="elsewhere"))
    assert again.reused and again.folder == first.folder, "circumstance does not change the fingerprint"


@pytest.mark.parametrize("change", [{"until": 6}, {"name": "other"}])
def test_identity_changes_the_fingerprint(tmp_path, change):
    first = runner(tmp_path).run_step(step())
    assert runner(tmp_path).run_step(step(**change)).folder != first.folder


@pytest.mark.parametrize("change", [{"seed": 1}, {"threads": 2}])
def test_seed_and_threads_are_identity(tmp_path, change):
    first = runner(tmp_path).run_step(step())
    assert runner(tmp_path).run_step(step().model_copy(update=change)).folder != first.folder


def test_inputs_flow_and_a_changed_input_redoes_what_follows(tmp_path):
    def chain(until):
        return Recipe(name="chain", steps=(step("a", until=until), step("b", {"before": "a"}, until=1)))

    first = runner(tmp_path).run(chain(2))["b"]
    assert first.record.evidence[0].value == 3
    second = runner(tmp_path).run(chain(4))["b"]
    assert not second.reused and second.record.evidence[0].value == 5


def _killed(store):
    runner(store).run_step(step(die_at=3))


def test_a_killed_step_has_no_record_and_goes_on_from_its_checkpoint(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path,))
    process.start()
    process.join(30)
    assert process.exitcode == -9
    assert not list(tmp_path.rglob("record.json"))
    done = runner(tmp_path).run_step(step(die_at=3))
    assert done.record.evidence[0].conditions["started_from"] == 3
    assert not (done.folder / "checkpoint").exists()


def test_a_changed_output_is_not_believed(tmp_path):
    done = runner(tmp_path).run_step(step())
    (done.folder / "count").write_text("6")
    with pytest.raises(DamagedRecord, match="count"):
        runner(tmp_path).run_step(step())


def test_bad_recipes_name_the_field(tmp_path):
    with pytest.raises(InputError, match=r"counting\.unti"):
        runner(tmp_path).run_step(step(unti=3))
    with pytest.raises(InputError, match="stage = 'none'"):
        runner(tmp_path).run_step(Step(name="x", stage="none", config={}))


def test_progress_is_told(tmp_path):
    heard: list = []
    runner(tmp_path, heard).run_step(step())
    assert heard[0].message == "started" and heard[-1].message == "done"
    assert [p.done for p in heard if p.unit == "counts"] == [0, 1, 2, 3, 4]
