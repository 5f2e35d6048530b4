import pytest
from toy_plans import demo, run_pilots, toy_facts, toy_machine

from aether.counsel.browse import Summary
from aether.counsel.keeping import KeptPlan
from aether.counsel.launching import begin_plan, launch, proposal
from aether.counsel.toolbox_data import runs, shown
from aether.counsel.toolbox_work import run_state
from aether.planning.decide import make_plan
from aether.policy.brief_file import to_brief
from aether.running.folder import RunFolder
from aether.running.jobs import cancel, report_of
from aether.spec.errors import InputError, NeedsInput
from records import run_facts


def toy_plan():
    machine, facts = toy_machine(), toy_facts()
    return make_plan(demo(), machine, facts, run_pilots(demo(), machine, facts), elapsed_s=120.0)


@pytest.fixture
def planned(tmp_path):
    run = tmp_path / "run"
    RunFolder(run).start(demo(), ("aether", "plan"))
    KeptPlan(made_from="0" * 64, plan=toy_plan()).write(run)
    return run


def test_a_proposal_says_what_it_takes(planned):
    said = proposal(planned)
    assert said.build_time_s > 0 and said.cost_usd > 0 and said.decided and len(said.approve) == 64


def test_another_hash_starts_nothing(planned):
    for wrong in ("", "yes", proposal(planned).approve[:-1] + "x"):
        with pytest.raises(InputError, match="approve its hash"):
            launch(planned, wrong)
    assert report_of(planned).state == "none"


def test_the_hash_follows_the_brief_and_the_recipe(planned):
    before = proposal(planned).approve
    plan = toy_plan()
    step = plan.decision.recipe.steps[0]
    changed = step.model_copy(update={"config": step.config | {"seed": 77}})
    recipe = plan.decision.recipe.model_copy(update={"steps": (changed, *plan.decision.recipe.steps[1:])})
    decided = plan.decision.model_copy(update={"recipe": recipe})
    options = tuple(decided if o.name == decided.name else o for o in plan.options)
    KeptPlan(made_from="0" * 64, plan=plan.model_copy(update={"options": options})).write(planned)
    assert proposal(planned).approve != before


def test_what_is_not_planned_cannot_be_launched(tmp_path):
    with pytest.raises(InputError, match="no plan yet"):
        launch(tmp_path, "0" * 64)


def test_planning_asks_before_it_starts(tmp_path):
    with pytest.raises(NeedsInput):
        begin_plan(to_brief({}, "brief"), tmp_path / "run")
    assert report_of(tmp_path / "run").state == "none"


def test_planning_starts_in_the_background(tmp_path):
    begin_plan(demo(), tmp_path / "run")
    assert report_of(tmp_path / "run").state == "running"
    assert cancel(tmp_path / "run").state == "ended"


def test_what_is_finished_is_not_launched_again(planned):
    folder, approve = RunFolder(planned), proposal(planned).approve
    assert f"approves {approve}" in run_state(planned).text
    folder.save(folder.manifest().model_copy(update={"status": "done"}))
    with pytest.raises(InputError, match="it is finished"):
        launch(planned, approve)
    said = run_state(planned)
    assert said.data.proposal is None and "show_run has its verdicts" in said.text


def test_how_work_stands_is_told_in_little_room(planned):
    assert len(run_state(planned).model_dump_json()) < 12_000


def test_a_run_is_told_by_the_numbers_that_were_judged(tmp_path):
    facts = run_facts(tmp_path)
    said, whole = shown(facts, whole=False), shown(facts, whole=True)
    judged = {number for v in facts.verdicts for number in (v.predicted_id, v.measured_id)}
    assert {e.id for e in said.evidence} <= judged and len(whole.evidence) > len(said.evidence)
    assert "every=true gives them" in said.text and "every=true" not in whole.text


def test_verdicts_of_runs_are_told_in_words(tmp_path):
    one = Summary(
        path=str(tmp_path / "x"), status="done", created_at="now", verdicts={"met": 3, "missed": 0, "unproven": 1}
    )
    assert runs([one], tmp_path).text == "- x: done, now, 3 met, 1 unproven"
