"""Suites on a tiny model: the scores of lm-eval's and inspect's own command lines, and nothing asked twice after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.helpers.openai_endpoint import served
from tests.helpers.tiny_served_model import write_model

from aether.counsel.evaluating import read_evaluation, write_pages
from aether.evidence.items import read_items
from aether.spec.errors import InputError
from aether.stages.evaluate.suites.journal import Journal
from aether.stages.evaluate.suites.run import Order, evaluate
from aether.stages.evaluate.suites.suite import Suite
from aether.stages.evaluate.suites.target import Target, target_of

INSPECT = """
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, accuracy, includes, mean, scorer, stderr
from inspect_ai.solver import generate

def rows(count):
    return [Sample(input=f"{i} and", target="n", id=i + 1, metadata={"kind": str(i % 2)}) for i in range(count)]

@scorer(metrics=[mean(), stderr()])
def share():
    async def score(state, target):
        return Score(value=sum(map(ord, state.output.completion + state.input_text)) % 97 / 97)
    return score

@scorer(metrics=[accuracy(), stderr()])
def third():
    async def score(state, target):
        return Score(value="C" if (state.epoch + int(state.sample_id)) % 3 else "I")
    return score

@task
def sums():
    return Task(dataset=rows(8), solver=generate(max_tokens=6, top_k=1), scorer=includes())

@task
def graded():
    return Task(dataset=rows(37), solver=generate(max_tokens=6, top_k=1), scorer=share())

@task
def thrice():
    return Task(dataset=rows(11), solver=generate(max_tokens=6, top_k=1), scorer=third(), epochs=3)
"""
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suites")
    write_model(folder / "model")
    # lm-eval's command line would end answers at this limit of the folder, not where the task says.
    settings = json.loads((folder / "model" / "generation_config.json").read_text())
    (folder / "model" / "generation_config.json").write_text(json.dumps(settings | {"max_new_tokens": None}))
    rows = [
        {
            "q": f"def f{i}(",
            "a": "n",
            "options": [f"x{i}", "return", "::"],
            "gold": i % 3,
            "kind": "even" if i % 2 == 0 else "odd",
        }
        for i in range(24)
    ]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sums.py").write_text(INSPECT)
    return folder


def suite(*names):
    tasks = {
        "write": {"name": "write", "data": "d.jsonl", "templates": ["{{q}}"], "target": "{{a}}", "max_tokens": 4},
        "pick": {"name": "pick", "data": "d.jsonl", "templates": ["{{q}}"], "choices": "options", "target": "{{gold}}",
                 "metric": "accuracy", "slices": ["kind"], "cluster": "kind", "distribution": "out"},
        # Some of these texts are longer than the model's context: several windows.
        "bits": {"name": "bits", "data": "d.jsonl", "templates": ["{{(q ~ ' ' ~ options|join(' ') ~ ' ') * (1 + gold * 9)}}"],
                 "metric": "bits_per_byte"},
    }  # fmt: skip
    tasks["words"] = tasks["bits"] | {"name": "words", "metric": "word_perplexity"}
    return Suite.model_validate({"name": "s", "tasks": [tasks[name] for name in names]})


@pytest.fixture(scope="module")
def done(place):
    out = place / "out"
    evaluate(Order(Target(place=str(place / "model")), suite("write", "pick", "bits", "words"), place, out))
    return out


def test_an_item_says_from_how_many_options_its_answer_was_picked(done):
    counted = {(item.task, item.options) for item in read_items(done / "items.jsonl")}
    assert counted == {("write", 0), ("pick", 3), ("bits", 0), ("words", 0)}


def write_tasks(folder, documents):
    """lm-eval's own definitions: of the tasks above, of one by the likelihood of a last word, of one with a BLEU, and of a group."""
    folder.mkdir(exist_ok=True)
    common = {"dataset_path": "json", "test_split": "test", "target_delimiter": " "}
    acc = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    match = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    prompt = {"doc_to_text": "{{aether_prompt}}", "doc_to_target": "{{aether_target}}"}
    pick = {"output_type": "multiple_choice", "doc_to_text": "{{aether_prompt}}", "doc_to_choice": "aether_choices",
            "doc_to_target": "aether_target", "metric_list": acc}  # fmt: skip
    whole = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{aether_prompt}}"}
    write = {
        "output_type": "generate_until",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 4, "do_sample": False},
    }
    last = {"output_type": "loglikelihood", "metric_list": [{"metric": "perplexity"}, acc[0]]}
    tasks = {
        "pick": ("pick", pick),
        "bits": ("bits", whole | {"metric_list": [{"metric": "bits_per_byte"}]}),
        "words": ("words", whole | {"metric_list": [{"metric": "word_perplexity"}]}),
        "write": ("write", prompt | write | {"metric_list": [match]}),
        "last": ("write", prompt | last),
        "bleu": ("write", prompt | write | {"metric_list": [match, {"metric": "bleu"}]}),
        "all_three": ("bits", whole | {"metric_list": [{"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")]}),
    }  # fmt: skip
    for name, (file, config) in tasks.items():
        files = {"data_files": {"test": str(documents / f"{file}-plain.jsonl")}}
        (folder / f"{name}.yaml").write_text(
            yaml.safe_dump({**common, **config, "task": name, "dataset_kwargs": files})
        )
    (folder / "two.yaml").write_text(yaml.safe_dump({"group": "two", "task": ["last", "all_three"]}))


@pytest.mark.slow
def test_scores_are_those_of_lm_eval_s_own_command_line_to_the_last_digit(place, done):
    tasks = place / "tasks"
    write_tasks(tasks, done / "documents")
    model = f"pretrained={place / 'model'},dtype=float32"
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", model, "--device", "cpu", "--batch_size", "8", "--tasks",
               "pick,bits,words,write,bleu,two", "--include_path", str(tasks), "--output_path", str(place / "theirs"), "--log_samples"]  # fmt: skip
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    theirs = json.loads(next((place / "theirs").rglob("results_*.json")).read_text())["results"]
    rows = next((place / "theirs").rglob("samples_write_*.jsonl")).read_text().splitlines()
    answers = {row["doc_id"]: row["resps"][0][0] for row in map(json.loads, rows)}
    written = [item.answer for item in read_items(done / "items.jsonl") if item.task == "write"]
    assert written == [answers[number] for number in sorted(answers)] and len(set(written)) > 2
    ours = {(s.task, s.metric): s.found.value for s in read_evaluation(done).scores}
    assert ours == {(task, metric): theirs[task][f"{metric},none"] for task, metric in ours} and len(ours) == 5
    named = [{"name": name, "harness": name, "include": str(tasks)} for name in ("bleu", "two")]
    asked = Suite.model_validate({"name": "theirs", "tasks": named})
    evaluate(Order(Target(place=str(place / "model")), asked, place, place / "of_theirs"))
    found = read_evaluation(place / "of_theirs")
    ours = {(s.task.split("/")[-1], s.metric): s.found.value for s in found.scores}
    assert ours == {(task, metric): theirs[task][f"{metric},none"] for task, metric in ours}
    assert {metric for task, metric in ours if task == "all_three"} == {
        "word_perplexity",
        "byte_perplexity",
        "bits_per_byte",
    }
    assert ("last", "perplexity") in ours and ("bleu", "exact_match") in ours and len(ours) == 6
    assert "bleu (bleu)" in write_pages(found)[0].read_text(), "what is no mean over items is named"


@pytest.mark.slow
def test_scores_are_those_of_inspect_s_own_command_line_to_the_last_digit(place, tmp_path):
    """Of a share of right answers, of a mean of graded ones, and of three answers to each question."""
    how = {"sums": ("accuracy", 8), "graded": ("mean", 37), "thrice": ("accuracy", 33)}
    which = [f"{place}/sums.py@{task}" for task in how]
    tables = [
        f'[[tasks]]\nname = "{task}"\ninspect = "{one}"\nslices = ["kind"]\n'
        for task, one in zip(how, which, strict=True)
    ]
    (tmp_path / "i.toml").write_text('name = "i"\n' + "".join(tables))
    ours = [sys.executable, "-m", "aether", "evaluate", str(place / "model"), "--suite", str(tmp_path / "i.toml"), "--out",
            str(tmp_path / "out"), "--json"]  # fmt: skip
    said = json.loads(subprocess.run(ours, env=ENVIRONMENT, capture_output=True, cwd=tmp_path).stdout)
    assert said["status"] == "done", said
    command = [sys.executable, "-m", "inspect_ai", "eval", *which, "--model", "hf/local", "-M", f"model_path={place / 'model'}", "-M",
               f"tokenizer_path={place / 'model'}", "--log-dir", str(tmp_path / "logs"), "--log-format", "json", "--display", "none"]  # fmt: skip
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, cwd=tmp_path)
    logs = {
        log["eval"]["task"]: log
        for log in (json.loads(path.read_text()) for path in (tmp_path / "logs").glob("*.json"))
    }
    scores, items = {row["task"]: row for row in said["scores"]}, read_items(tmp_path / "out" / "items.jsonl")
    for task, (metric, answers) in how.items():
        log, own = logs[task], [item for item in items if item.task == task]
        assert scores[task]["value"] == log["results"]["scores"][0]["metrics"][metric]["value"]
        assert scores[task]["answers"] == answers == len(own)
        assert [item.answer for item in own] == [
            s["output"]["choices"][0]["message"]["content"] for s in log["samples"]
        ]
    assert len({value for item in items if item.task == "graded" for value in item.values.values()}) > 8
    assert 0.0 < scores["thrice"]["value"] < 1.0 and scores["thrice"]["clusters"] == 11
    again = json.loads(subprocess.run(ours, env=ENVIRONMENT, check=True, capture_output=True, cwd=tmp_path).stdout)
    assert again == said


def test_a_finished_folder_is_scored_again_without_the_model(place, done):
    before = (done / "items.jsonl").read_bytes()
    order = Order(Target(place=str(place / "model")), suite("write", "pick", "bits", "words"), place, done)
    evaluate(order, load=lambda: pytest.fail("the model was loaded"))
    assert (done / "items.jsonl").read_bytes() == before


def test_another_evaluation_s_folder_is_refused(place, done):
    with pytest.raises(InputError, match="another model, suite, data or limit"):
        evaluate(Order(Target(place=str(place / "model")), suite("write"), place, done))


def test_the_pages_say_what_the_items_say(done):
    found = read_evaluation(done)
    _, html, card = write_pages(found)
    acc = next(s for s in found.scores if (s.task, s.metric) == ("pick", "acc"))
    assert str(acc.found.value) in card.read_text() and "out of distribution" in card.read_text()
    assert "What was not tested" in html.read_text()


def test_after_a_kill_no_finished_item_is_asked_again(place):
    out = place / "killed"
    (place / "s.toml").write_text(
        'name = "k"\n[[tasks]]\nname = "write"\ndata = "d.jsonl"\ntemplates = ["{{q}}"]\ntarget = "x"\nmax_tokens = 24\n'
    )
    command = [sys.executable, "-m", "aether", "evaluate", str(place / "model"), "--suite", str(place / "s.toml"), "--data", str(place),
               "--out", str(out), "--json", "--set", "batch_size=1"]  # fmt: skip
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers = out / "answers.jsonl"
    end = time.monotonic() + 120
    while (not answers.exists() or answers.read_bytes().count(b"\n") < 5) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = answers.read_bytes()[: answers.read_bytes().rfind(b"\n") + 1]
    assert 5 <= kept.count(b"\n") < 24, "it was killed in the middle"
    answers.write_bytes(kept + b'{"asked": "cut in ha')
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    whole = answers.read_bytes()
    assert whole.startswith(kept) and whole.count(b"\n") == 24
    asked = [json.loads(line)["asked"] for line in whole.splitlines()]
    assert len(set(asked)) == 24
    assert len(read_items(out / "items.jsonl")) == 24


def test_an_endpoint_is_asked_over_http_and_not_again(place, tmp_path):
    asked = 'name = "e"\n[[tasks]]\nname = "write"\ndata = "d.jsonl"\ntemplates = ["{{q}}"]\ntarget = "n"\nextract = "(n)$"\n'
    (tmp_path / "e.toml").write_text(asked)
    with served("return n") as (address, requests):
        command = [sys.executable, "-m", "aether", "evaluate", address, "--model", "m", "--suite", str(tmp_path / "e.toml"), "--data",
                   str(place), "--out", str(tmp_path / "out"), "--set", "chat=true", "--json"]  # fmt: skip
        said = json.loads(subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True).stdout)
        assert len(requests) == 24 and said["scores"][0]["value"] == 1.0
        assert json.loads(subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True).stdout) == said
        assert len(requests) == 24


def test_a_journal_drops_the_line_that_a_kill_cut(tmp_path):
    path = tmp_path / "a.jsonl"
    journal = Journal(path)
    journal.add("x", [1.5, True])
    journal.add("x", "second")
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"asked": "y", "ans')
    again = Journal(path)
    assert (again.count("x"), again.count("y"), len(again)) == (2, 0, 2)
    assert list(again.reading()["x"]) == [[1.5, True], "second"]
    again.close()


@pytest.mark.parametrize("settings", [("colour=1",), ("batch_size",), ("batch_size=none",), ("place=x",)])
def test_a_bad_setting_is_named(settings):
    with pytest.raises(InputError):
        target_of("model", "", settings)


def test_a_run_means_its_model(place, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert Path(target_of(str(tmp_path), "", ()).place) == tmp_path / "model"
    assert target_of("http://127.0.0.1:1", "m", ("chat=true",)).chat
    with pytest.raises(InputError, match="no such folder"):
        Target(place=str(tmp_path / "none")).load()
    with pytest.raises(InputError, match="--model"):
        Target(place="http://127.0.0.1:1").load()
