import pytest
from toy_plans import demo, run_pilots, toy_facts, toy_machine

from aether.counsel.keeping import KeptPlan
from aether.counsel.launching import begin_plan, launch, proposal
from aether.planning.decide import make_plan
from aether.policy.brief_file import to_brief
from aether.running.folder import RunFolder
from aether.running.jobs import cancel, report_of
from aether.spec.errors import InputError, NeedsInput


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
