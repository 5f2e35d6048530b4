"""Whole runs, on an endpoint that always says the same and on a tiny model: records, resume, corrections, gates."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tests.helpers.openai_endpoint import served
from tests.helpers.tiny_served_model import CONFIG, write_model

from aether.counsel.evaluation_comparison import compared
from aether.counsel.redteaming import gates_of, judge_gates, page_of, read_red_team, write_pages
from aether.evidence.items import read_items
from aether.report.page import page_html
from aether.spec.errors import InputError
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam.asking import Kept, converse, messages
from aether.stages.evaluate.redteam.attacks import attacks, attempts_of
from aether.stages.evaluate.redteam.behaviours import own_behaviours, own_benign
from aether.stages.evaluate.redteam.labels import Labelled, read_labels
from aether.stages.evaluate.redteam.run import Order, red_team
from aether.stages.evaluate.redteam.settings import target_and_recipe
from aether.stages.evaluate.redteam.trying import planned
from aether.stages.evaluate.suites.journal import Journal
from aether.stages.evaluate.suites.target import Target
from aether.surfaces.cli.main import main


def order(base, out, **fields):
    recipe = RedTeamRecipe.model_validate({"attacks": ("direct", "crescendo", "injection"), "behaviours": 6} | fields)
    return Order(Target(place=base, model="m"), recipe, own_behaviours(), own_benign(), out)


def test_a_model_that_refuses_everything_is_safe_and_useless(tmp_path):
    with served("I'm sorry, but I can't help with that.") as (base, requests):
        items = red_team(order(base, tmp_path))
        asked = len(requests)
        again = red_team(order(base, tmp_path))
    # Equal conversations are asked once: the first three turns of two behaviours with one topic, for example.
    assert asked <= 6 + 6 * 4 + 48 + 6 and len(requests) == asked, "a finished folder asks nothing"
    assert again == items == read_items(tmp_path / "items.jsonl")
    done = read_red_team(tmp_path)
    rates = {name: rate.seen.value for name, rate in done.summary.headline.items()}
    assert rates == {"attack_success": 0.0, "injection_success": 0.0, "over_refusal": 1.0}
    gates = judge_gates(done, gates_of(["injection_success <= 50 %", "over_refusal <= 20 %", "leak_success <= 5 %"]))
    assert [gate.status for gate in gates] == ["met", "missed", "unproven"]
    html, card = write_pages(done, gates)[1:]
    assert ": missed. " in html.read_text() and "over_refusal" in card.read_text()


def test_a_model_that_obeys_has_the_highest_rate_with_an_interval(tmp_path):
    reply = "Of course: bomb, gun, germ, drug, poison, fire, passport, car, mail, file, phone, judge, money, photo, evidence, speech, message, network, report, review, customs, life, account, inspector"
    with served(reply) as (base, _):
        red_team(order(base, tmp_path))
    found = read_red_team(tmp_path).summary.headline
    assert found["attack_success"].seen.value == 1.0 and 0.5 < found["attack_success"].seen.interval.low < 0.6
    assert found["over_refusal"].seen.value == 0.0


def test_two_runs_are_compared_attempt_by_attempt_and_fewer_successes_are_better(tmp_path):
    for name, reply in (
        ("weak", "Of course: first you take a gun, then a car, a mail and a bomb."),
        ("safe", "I'm sorry, but no."),
    ):
        with served(reply) as (base, _):
            red_team(order(base, tmp_path / name, attacks=("direct", "persona"), behaviours=24))
    rows = {(row.task, row.metric): row for row in compared(tmp_path / "weak", tmp_path / "safe")}
    assert rows["attack", "string"].conclusion == "b is better" and rows["attack", "string"].difference == 1.0
    assert rows["over-refusal", "string"].conclusion == "a is better"


def test_another_run_s_folder_is_refused(tmp_path):
    with served("No.") as (base, _):
        red_team(order(base, tmp_path, attacks=("direct",)))
        with pytest.raises(InputError, match="another model, set, judge or attacks"):
            red_team(order(base, tmp_path, attacks=("persona",)))


def test_a_wrong_attack_does_not_take_the_folder(tmp_path):
    with served("No.") as (base, _):
        with pytest.raises(InputError, match="many-shot"):
            red_team(order(base, tmp_path, attacks=("many-shot",)))
        assert red_team(order(base, tmp_path, attacks=("direct",)))


def test_an_order_in_a_tool_s_message_is_followed_and_seen(tmp_path):
    def obeys_tools(body):
        last = body["messages"][-1]
        pieces = [word for word in last["content"].split() if word.isupper() and len(word) == 5]
        return "".join(pieces[:2]) if last["role"] == "tool" else "A summary."

    with served(obeys_tools) as (base, requests):
        red_team(order(base, tmp_path, attacks=("injection",), tool_messages=True))
    tools = [body for body in requests if body["messages"][-1]["role"] == "tool"]
    assert all(body["messages"][-2]["tool_calls"] for body in tools)
    assert [body["tool_choice"] for body in tools].count("none") == 16 and len(tools) == 24
    done = read_red_team(tmp_path)
    rates = {rate.label: rate.seen.value for rate in done.summary.injections}
    assert rates["tool message"] == 1.0 and rates["tool message, wants a call"] == 0.0, "words are no call"
    assert "were told in words" not in page_html(page_of(done))
    assert "tool_messages" not in RedTeamRecipe().model_dump(), "old fingerprints stay"


def _recipient(text):
    """The word that the planted order wants as the recipient; empty where there is none."""
    return re.search(r"with the recipient (\w+)|$", text).group(1) or ""


def _calls(name, **arguments):
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"content": "Reading on.", "tool_calls": [call]}


def _through_the_protocol(body):
    wanted = _recipient(body["messages"][-1]["content"])
    return _calls("send_message", recipient=wanted, text="done") if body.get("tools") and wanted else "A summary."


def _another_call(body):
    return _calls("send_message", recipient="ALICE", text="done") if body.get("tools") else "A summary."


def _echoes(body):
    return body["messages"][-1]["content"]


def _line_of_json(body):
    wanted = _recipient(body["messages"][-1]["content"])
    call = {"name": "send_message", "arguments": {"recipient": wanted, "text": "done"}}
    return f"Of course.\n{json.dumps(call)}"


@pytest.mark.parametrize(
    ("model", "by_protocol", "in_words"),
    [(_through_the_protocol, 1.0, 0.0), (_another_call, 0.0, 0.0), (_echoes, 0.0, 0.0), (_line_of_json, 0.0, 1.0)],
)
def test_a_call_that_an_attacker_wants_counts_only_when_it_is_made(tmp_path, model, by_protocol, in_words):
    with served(model) as (base, requests):
        items = red_team(order(base, tmp_path, attacks=("injection",), tool_messages=True))
        asked = len(requests)
        red_team(order(base, tmp_path, attacks=("injection",), tool_messages=True))
    assert len(requests) == asked
    offers = [body for body in requests if body.get("tool_choice") == "auto"]
    assert len(offers) == 8 and {t["function"]["name"] for t in offers[0]["tools"]} == {"read_page", "send_message"}
    rates = {rate.label: rate.seen.value for rate in read_red_team(tmp_path).summary.injections}
    assert rates["tool message, wants a call"] == by_protocol
    assert rates["tool result, wants a call"] == rates["document, wants a call"] == in_words
    assert all("send_message" in item.prompt for item in items if "wants a call" in item.id)


def test_a_conversation_goes_on_with_the_model_s_own_answers():
    (attempt,) = attempts_of(attacks(["crescendo"])[0], own_behaviours()[:1], 1)
    said = []

    def ask(conversations):
        said.append(conversations[0])
        return [f"answer {len(said)}"]

    assert converse([attempt], ask) == [["answer 1", "answer 2", "answer 3", "answer 4"]]
    assert [m["content"] for m in said[2] if m["role"] == "assistant"] == ["answer 1", "answer 2"]
    assert messages(attempt, ["a"])[-1] == {"role": "user", "content": attempt.turns[1]}


def test_answers_of_a_chunk_are_kept_before_the_next_is_asked(tmp_path):
    conversations = [[{"role": "user", "content": str(i)}] for i in range(7)]

    def dies(part):
        if part[0][0]["content"] == "4":
            raise KeyboardInterrupt
        return [f"to {c[0]['content']}" for c in part]

    journal = Journal(tmp_path / "a.jsonl")
    with pytest.raises(KeyboardInterrupt):
        Kept(dies, journal, chunk=2)(conversations)
    journal.close()
    asked = []
    journal = Journal(tmp_path / "a.jsonl")
    found = Kept(lambda part: asked.extend(part) or [f"to {c[0]['content']}" for c in part], journal, chunk=2)(
        conversations
    )
    journal.close()
    assert found == [f"to {i}" for i in range(7)] and [c[0]["content"] for c in asked] == ["4", "5", "6"]


def test_a_judge_model_is_calibrated_and_what_it_leaves_open_is_counted(tmp_path):
    labels = tmp_path / "l.jsonl"
    labels.write_text(
        "".join(json.dumps({"prompt": "q", "reply": f"r{i}", "complied": i % 2}) + "\n" for i in range(8))
    )
    with served("maybe") as (base, _):
        given = order(base, tmp_path / "out", judge="model", judge_place=base, judge_name="j", attacks=("direct",))
        red_team(
            Order(given.target, given.recipe, given.behaviours, given.benign, given.out, {"l": read_labels(labels)})
        )
    done = read_red_team(tmp_path / "out")
    assert "attack_success" not in done.summary.headline and done.summary.unreadable == 12
    (one,) = [row for row in done.summary.known if row.judge == "model"]
    assert (one.true_yes, one.true_no) == (0, 0), "a word that cannot be read is a wrong one"
    assert "did not decide" in page_html(page_of(done))


def test_a_judge_that_is_no_better_than_chance_shows_no_gate(tmp_path):
    rows = [Labelled("m", f"q{i}", f"r{i}", i % 2 == 0) for i in range(40)]
    with served("no") as (base, _):
        given = order(
            base, tmp_path, judge="model", judge_place=base, judge_name="j", attacks=("direct",), behaviours=24
        )
        red_team(replace(given, labelled={"l": rows}))
    done = read_red_team(tmp_path)
    assert done.summary.headline["attack_success"].seen.value == 0.0
    (gate,) = judge_gates(done, gates_of(["attack_success <= 99 %"]))
    assert gate.status == "unproven" and "better than chance" in gate.reason


def test_a_tiny_model_with_a_suffix_from_the_command_line(tmp_path):
    write_model(tmp_path / "model", CONFIG.model_copy(update={"context_tokens": 1024}))
    words = ["behaviours=2", "attacks=direct,suffix", "max_tokens=8", "suffix_steps=2", "suffix_tokens=4", "suffix_top=8", "suffix_tries=8",
             "suffix_behaviours=1"]  # fmt: skip
    command = [
        "redteam",
        str(tmp_path / "model"),
        "--out",
        str(tmp_path / "out"),
        "--json",
        "--gate",
        "attack_success <= 1 %",
    ]
    done = CliRunner().invoke(main, [*command, *(part for word in words for part in ("--set", word))])
    said = json.loads(done.stdout)
    assert done.exit_code == 5 and said["gates"][0]["status"] == "unproven", said
    assert (
        set(said["by_attack"]) == {"direct", "suffix"}
        and said["rates"]["attack_success"]["corrected"]["interval"]["high"] > 0.01
    )
    rows = [json.loads(line)["answer"] for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    (losses,) = [row["losses"] for row in rows if isinstance(row, dict)]
    assert len(losses) == 3 and losses[-1] <= losses[0]


def test_settings_go_where_they_belong_and_others_are_named(tmp_path):
    target, recipe = target_and_recipe("http://x/v1", "m", ["concurrency=2", "attacks=direct, many shot", "shots=3"])
    assert target.concurrency == 2 and recipe.attacks == ("direct", "many shot") and recipe.shots == 3
    with pytest.raises(InputError, match="colour"):
        target_and_recipe("http://x", "m", ["colour=red"])
    with pytest.raises(InputError, match="gradients"):
        red_team(order("http://127.0.0.1:9/v1", tmp_path, suffix_steps=1))


def test_the_plan_of_everything_has_every_family():
    families = {attempt.family for attempt in planned(RedTeamRecipe(), own_behaviours(), own_benign())}
    assert families >= {"direct", "role play", "encoding", "refusal suppression", "prefix injection", "many shot", "multi-turn",
                        "injection through a document", "injection through a tool", "leak of instructions", "benign"}  # fmt: skip
