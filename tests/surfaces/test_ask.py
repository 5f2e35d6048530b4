"""`aether ask` at its door: exit codes, JSON, sessions, files, and how long one question takes."""

import json
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aether.counsel.answers.understood import EXAMPLES
from aether.counsel.ask import ask
from aether.counsel.sessions import recall, remember, session_file
from aether.spec.answer import Request
from aether.spec.errors import DamagedRecord, InputError
from aether.surfaces.cli.main import main

SERVE = (
    "serve llama-3.1-8b to 5 requests/s, prompts of 500 tokens, answers of 100, p99 first token below 1 s, on one H100"
)
DOCS = Path(__file__).parents[2] / "docs" / "ask.md"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def run(*args: str, given: str | None = None):
    return CliRunner().invoke(main, ["ask", *args], input=given)


def as_json(*args: str) -> dict:
    return json.loads(run(*args, "--json").stdout)


def test_a_question_is_answered_and_followed():
    first = as_json(SERVE)
    assert first["status"] == "answered" and "H100" in first["markdown"]
    second = as_json("--follow", "what about H200?")
    assert second["status"] == "answered"
    brief = second["request"]["brief"]
    assert brief["hardware"]["name"] == "H200-SXM-141GB" and brief["load"]["requests_per_s"] == 5
    third = as_json("--follow", "--set", "load.requests_per_s=7")
    assert third["request"]["brief"]["load"]["requests_per_s"] == 7
    assert third["request"]["brief"]["hardware"]["name"] == "H200-SXM-141GB"


def test_a_conversation_keeps_what_is_not_said_anew():
    first = ask("serve llama-3.1-8b")
    assert first.status == "needs_input"
    answers = "5 requests/s, 500 token prompts, 100 token answers, p99 TTFT under 1 s, and it runs on one H100"
    second = ask(answers, first.request)
    assert second.status == "answered" and second.request.brief.model.name == "llama-3.1-8b"
    third = ask("and with fp8?", second.request)
    assert third.request.brief.model.formats == ("fp8",) and third.request.brief.load.requests_per_s == 5
    beside = ask("compare it with L40S", third.request)
    assert beside.request.intent == "compare" and beside.status == "answered"
    assert beside.request.brief.hardware.names == ("H100-SXM-80GB", "L40S")
    assert ask("evaluate it", third.request).request.brief.model.name == "llama-3.1-8b"
    fresh = ask("fine-tune mistral-7b on our chats with qlora on a single RTX 4090", third.request)
    assert fresh.request.brief.model.name == "mistral-7b" and not fresh.request.brief.targets


def test_the_line_of_json_has_its_keys():
    found = as_json(SERVE)
    assert set(found) == {"schema_version", "status", "request", "questions", "page", "markdown", "files"}
    assert set(found["page"]) == {"report", "evidence", "brief", "references", "stale"}
    asked = as_json("serve llama-3.1-8b")["questions"]
    assert all(set(q) == {"field", "text", "why", "default", "choices"} for q in asked)
    bad = as_json(SERVE, "--set", "nonsense")
    assert bad["status"] == "bad_input" and bad["field"] == "--set"


def test_what_a_terminal_would_obey_is_not_printed():
    found = run("serve llama-3.1-8b \x1b[31mred\x1b[0m [bold]loud[/bold]")
    assert "\x1b" not in found.output and "[bold]loud[/bold]" in found.output


def test_exit_codes():
    assert run(SERVE).exit_code == 0
    assert run("serve llama-3.1-8b").exit_code == 2
    assert run("lorem ipsum dolor").exit_code == 2
    assert run(SERVE.replace("8b", "70b").replace("H100", "L4")).exit_code == 3
    assert run("build a bot that posts a million fake reviews to deceive voters").exit_code == 4


def test_defaults_are_taken_when_accepted():
    found = run("serve llama-3.1-8b", "--accept-defaults")
    assert found.exit_code == 0 and "Taken where nothing was said" in found.output


def test_text_comes_from_standard_input():
    assert run("-", given=SERVE).output == run(SERVE).output


def test_an_answer_is_written(tmp_path):
    found = run("compress llama-3.1-8b on one H100", "--out", str(tmp_path / "answer"))
    assert found.exit_code == 0 and "written to" in found.output
    assert {"answer.md", "answer.html", "brief.toml", "recipe.yaml"} <= {
        p.name for p in (tmp_path / "answer").iterdir()
    }


def test_a_declined_question_is_not_remembered():
    run("build a bot that posts a million fake reviews to deceive voters")
    assert not session_file().exists()
    found = run("--follow", "and with more of them?")
    assert found.exit_code == 2 and "nothing was asked before" in found.output


def test_sessions_are_apart_and_checked(tmp_path):
    remember(Request(text="one"), "a")
    remember(Request(text="two"), str(tmp_path / "b.json"))
    assert recall("a").text == "one" and recall(str(tmp_path / "b.json")).text == "two"
    with pytest.raises(InputError):
        session_file("../outside")
    session_file("a").write_text('{"text": 3}')
    with pytest.raises(DamagedRecord):
        recall("a")


def test_a_wrong_setting_is_a_sentence():
    found = run(SERVE, "--set", "load.requests_per_s=many")
    assert found.exit_code == 2 and "requests_per_s" in found.output


def test_the_examples_that_are_offered_are_understood():
    for example in EXAMPLES:
        assert ask(example).status in ("answered", "needs_input"), example


def test_the_page_fits_a_hundred_columns():
    lines = run(SERVE).stdout.split("```")[0].splitlines()
    assert max(map(len, lines)) <= 100


def test_the_commands_of_the_page_run():
    commands = re.findall(r"^\$ aether (ask .+)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) >= 3
    for line in commands:
        found = CliRunner().invoke(main, shlex.split(line))
        assert found.exit_code in (0, 3), f"{line}: {found.output[-500:]}"


def test_the_python_of_the_page_runs(capsys):
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    for block in code:
        names: dict = {}
        compiled = compile(block, str(DOCS), "exec")
        exec(compiled, names)
        assert names["second"].request.brief.hardware.name.startswith("A100")
    assert capsys.readouterr().out.startswith("answered")


def test_one_question_takes_about_a_second(tmp_path):
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "aether", "ask", SERVE], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # About one second of the processor; other work on the machine slows that too, but by less than it delays the clock.
    assert min(seconds() for _ in range(3)) < 3.0


def test_asking_loads_neither_torch_nor_pictures():
    code = (
        "import sys; from aether.counsel.ask import ask; "
        f"assert ask({SERVE!r}).status == 'answered'; "
        "sys.exit(bool({'torch', 'matplotlib', 'scipy', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
