"""One page of a model from its evaluations and its red team: the numbers of their own pages, on the card too; other models refused."""

import json
import shutil

import pytest
import yaml
from click.testing import CliRunner
from tests.helpers.openai_endpoint import served
from tests.helpers.tiny_served_model import CONFIG, write_model

from aether.counsel import evaluating, redteaming
from aether.counsel.evaluating import read_evaluation
from aether.counsel.identity import identity_text, model_of, untested_weights
from aether.counsel.model_page import model_page
from aether.counsel.redteaming import read_red_team
from aether.evidence.hashing import hash_model
from aether.evidence.items import read_items
from aether.spec.errors import InputError
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam.behaviours import own_behaviours, own_benign
from aether.stages.evaluate.redteam.run import Order as RedTeamOrder
from aether.stages.evaluate.redteam.run import red_team
from aether.stages.evaluate.suites.run import Order, evaluate
from aether.stages.evaluate.suites.suite import Suite
from aether.stages.evaluate.suites.target import Target, check_served
from aether.stages.serve.guard.settings import GuardSettings
from aether.stages.serve.recipe import ServerSettings
from aether.stages.serve.run import running_server
from aether.surfaces.cli.main import main


def _answer(body):
    """Right on even sums and on half of the odd ones; gives way to everything else."""
    asked = body["messages"][-1]["content"]
    if not asked.startswith("Sum "):
        return f"Of course, this is how it is done, step by step. {asked}"
    number = int(asked.split()[1])
    return "yes" if number % 2 == 0 or number % 16 == 1 else "no"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two evaluations and a red team of one model, and of another at the same address a red team."""
    root = tmp_path_factory.mktemp("records")
    rows = [{"q": f"Sum {i} ?", "kind": "odd" if i % 2 else "even"} for i in range(80)]
    (root / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"data": "d.jsonl", "templates": ["{{q}}"], "target": "yes", "slices": ["kind"]}
    with served(_answer) as (base, _):
        target = Target(place=base, model="m", chat=True)
        for name, distribution in (("one", "in"), ("two", "out")):
            tasks = [task | {"name": f"sums-{name}", "distribution": distribution}]
            evaluate(Order(target, Suite.model_validate({"name": name, "tasks": tasks}), root, root / name))
        for name in ("m", "n"):
            recipe = RedTeamRecipe(attacks=("direct", "persona", "leak"))
            asked = Target(place=base.removesuffix("/v1"), model=name)
            red_team(RedTeamOrder(asked, recipe, own_behaviours(), own_benign(), root / f"red-{name}"))
    return root


def test_the_page_and_the_card_have_every_number_of_the_single_pages(records, tmp_path):
    places = [records / name for name in ("one", "two", "red-m")]
    done = CliRunner().invoke(main, ["report", *map(str, places), "--out", str(tmp_path / "page"), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    singles = [evaluating.page_of(read_evaluation(place)) for place in places[:2]]
    singles.append(redteaming.page_of(read_red_team(places[2])))
    expected = {row.id: (row.value, row.interval) for page in singles for row in page.evidence}
    page, _ = model_page(places)
    found = {row.id: (row.value, row.interval) for row in page.evidence}
    assert found.keys() == said["evidence"].keys()
    # Slices are numbered over all tasks, and corrected for how many were looked at.
    shared = [key for key in expected if ".slice." not in key]
    assert {key: found[key] for key in shared} == {key: expected[key] for key in shared}
    assert {key: row["value"] for key, row in said["evidence"].items()} == {key: found[key][0] for key in found}
    front = yaml.safe_load((tmp_path / "page" / "MODEL_CARD.md").read_text().split("---")[1])
    rows = {
        (row["dataset"]["type"], metric["type"]): metric["value"]
        for row in front["model-index"][0]["results"]
        for metric in row["metrics"]
    }
    scores = {(s.task, s.metric): s.found.value for place in places[:2] for s in read_evaluation(place).scores}
    rates = {
        ("aether-redteam", name): found[f"redteam.{name}"][0] for name in read_red_team(places[2]).summary.headline
    }
    assert rows == scores | rates and len(rates) == 3
    items = read_items(records / "one" / "items.jsonl")
    assert scores["sums-one", "exact_match"] == sum(item.values["exact_match"] for item in items) / 80 == 45 / 80


def test_the_page_says_what_it_can_what_it_cannot_and_what_was_not_tested(records):
    page, _ = model_page([records / "red-m", records / "one"])
    titles = [section.title for section in page.report.sections]
    assert titles[0] == "What it can do" and titles.index("Attack success and over-refusal") > 0
    assert titles[-3:] == ["What it can't do", "What was not tested", "How"]
    text = page.report.model_dump_json()
    cannot = next(section for section in page.report.sections if section.key == "cannot").model_dump_json()
    assert "kind = odd" in cannot and "gives way to the attack" in cannot and "direct" in cannot
    assert "no task here tries" not in text and "no red team of it" not in text and "By category of harm" in titles
    alone, _ = model_page([records / "one", records / "two"])
    assert "no red team of it stands beside" in alone.report.model_dump_json()
    only, _ = model_page([records / "red-m"])
    assert "no evaluation of it stands beside" in only.report.model_dump_json()


def test_the_page_says_how_far_the_model_is_known(records, tmp_path):
    page, _ = model_page([records / "red-m", records / "one"])
    text = page.report.model_dump_json()
    assert text.count("known by its address and the name that it gives; weights unseen") == 4, (
        "untested and how, of both"
    )
    told = identity_of({"target": {"sha256": "ab" * 32, "guard": "cd"}})
    assert "abab" in told and "behind its server's defences" in told and "unseen" not in told
    served_by = {
        "target": {"endpoint": "http://h/v1", "model": "m"},
        "served": {"weights_sha256": "ab" * 32, "guarded": False},
    }
    assert "as the endpoint says of itself" in identity_of(served_by) and "defences" not in identity_of(served_by)
    assert model_of(served_by) == ("weights", "ab" * 32) and untested_weights([served_by]) == []
    assert model_of({"recipe": {"judge": "detector"}}) is None


def identity_of(about):
    return "".join(str(getattr(piece, "text", piece)) for piece in identity_text(about) or ())


def test_a_run_stands_for_the_red_team_of_its_build(records, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    assert "this build had no red team" in _refusal(records / "one", tmp_path)
    shutil.copytree(records / "red-m", tmp_path / "steps" / "evaluate" / "redteam")
    page, _ = model_page([records / "one", tmp_path])
    assert "redteam.attack_success" in {row.id for row in page.evidence}


def test_an_endpoint_that_serves_other_weights_by_now_is_refused():
    check_served({}, {"weights_sha256": "b"})
    check_served({"served": {"weights_sha256": "a"}}, {})
    with pytest.raises(InputError, match="when the endpoint said a; choose another folder"):
        check_served({"served": {"weights_sha256": "a"}}, {"weights_sha256": "b"})


@pytest.mark.slow
def test_what_aether_s_server_says_of_its_weights_joins_it_with_local_records(tmp_path):
    """One set of weights asked here and over HTTP, behind a guard: one page, though a card was written in between."""
    write_model(tmp_path / "model", CONFIG.model_copy(update={"context_tokens": 512}))
    (tmp_path / "d.jsonl").write_text('{"q": "def"}\n{"q": "import"}\n')
    task = {"data": "d.jsonl", "templates": ["{{q}}"]}
    bits = Suite.model_validate({"name": "b", "tasks": [task | {"name": "bits", "metric": "bits_per_byte"}]})
    evaluate(Order(Target(place=str(tmp_path / "model")), bits, tmp_path, tmp_path / "local"))
    (tmp_path / "model" / "README.md").write_text("A card.")
    settings = ServerSettings(port=0, guard=GuardSettings(rules=True))
    with running_server(tmp_path / "model", settings, tmp_path / "log") as server:
        asked = Target(place=server.url, model=server.model)
        assert asked.served() == {"weights_sha256": hash_model(tmp_path / "model"), "guarded": True}
        assert Target(place=server.url, model="another").served() == {}
        recipe = RedTeamRecipe(attacks=("direct",), behaviours=3, max_tokens=8)
        red_team(RedTeamOrder(asked, recipe, own_behaviours(), own_benign(), tmp_path / "red"))
    assert asked.served() == {}, "a server that is gone says nothing"
    page, _ = model_page([tmp_path / "local", tmp_path / "red"])
    text = page.report.model_dump_json()
    assert (
        "weights unseen" not in text
        and "as the endpoint says of itself" in text
        and "the evaluations asked without" in text
    )


def _refusal(*words):
    done = CliRunner().invoke(main, ["report", *map(str, words)])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("aether: "), done.output
    return done.stderr


def test_records_that_do_not_go_together_are_refused_in_one_sentence(records, tmp_path):
    one, red = records / "one", records / "red-m"
    assert "a page is of one model" in _refusal(one, records / "red-n")
    assert "two red teams" in _refusal(red, records / "red-n")
    shutil.copytree(one, tmp_path / "again")
    assert "both hold it" in _refusal(one, tmp_path / "again")
    assert "holds no evaluation and no red team" in _refusal(one, tmp_path)
    assert "a page of their own" in _refusal(one, red, "--out", one)
    (tmp_path / "again" / "items.jsonl").unlink()
    assert "not finished" in _refusal(tmp_path / "again", red)
