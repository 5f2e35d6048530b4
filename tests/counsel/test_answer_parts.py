"""Every answer that recommends has every part: decision in bold, options with five trade-offs, an exact recipe, code that parses, and the rest."""

import ast
import json
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml

from aether.counsel.ask import ask
from aether.report.page import page_markdown
from aether.spec.report import Code

ASKED = {
    "serve": "serve llama-3.1-8b on 2 H100 at 2 requests per second, p99 TTFT under 2 s, 1k in, 200 out",
    "pretrain": "pretrain llama-3.2-1b on 100B tokens with 64 H100, data in corpus.jsonl",
    "continue": "continue pretraining llama-3.1-8b on 5B tokens of corpus.jsonl with 16 H100",
    "finetune": "fine-tune llama-3.1-8b with LoRA on 8 H100, 50M tokens, train.jsonl",
    "align": "align llama-3.1-8b with dpo on prefs.jsonl, 4 H100",
    "compress": "compress llama-3.1-8b for one L4",
    "merge": "merge ./math and ./code finetunes of mistral-7b with ties",
    "evaluate": "evaluate llama-3.1-8b and qwen3-8b on our task",
    "contamination": "check our training data for contamination",
    "compare models": "compare llama-3.1-8b and qwen3-8b on one L40S at 5 req/s",
    "compare tunings": "LoRA vs full fine-tuning of llama-3.1-8b",
    "compare alignments": "dpo vs kto",
    "compare formats": "int8 or fp8 for llama-3.1-8b on L40S?",
    "compare topics": "fsdp or zero?",
    "build": "build a small python autocomplete model on my laptop, ttft p99 <= 250 ms, line accuracy at least 5 %, in 10 minutes",
}
RECIPE = (
    "hidden size",
    "layers",
    "heads",
    "vocabulary",
    "tokens",
    "optimiser",
    "schedule",
    "learning rate",
    "parallelism",
    "evaluation",
    "seed",
)


@pytest.fixture(scope="module")
def answers():
    return {kind: ask(text, None, True) for kind, text in ASKED.items()}


@pytest.mark.parametrize("kind", ASKED)
def test_an_answer_that_recommends_has_every_part(answers, kind):
    found = answers[kind]
    text = page_markdown(found.page)
    keys = [section.key for section in found.page.report.sections]
    assert found.status == "answered"
    for part in ("decision", "options", "recipe", "code", "risks", "uncertain", "experiment"):
        assert part in keys, part
    assert "\n**" in text.split("## Options")[0], "the decision is bold"
    assert "## Sources" in text
    table = text.split("## Options")[1].split("\n## ")[0].lower()
    for trade in ("accuracy", "speed", "memory", "training cost", "complexity"):
        assert trade in table or (trade == "accuracy" and "quality" in table), trade
    wanted = (
        RECIPE
        if kind != "compare topics"
        else ("configuration", "tokens", "optimiser", "hyperparameters", "parallelism", "evaluation")
    )
    recipe = text.split("## Recipe")[1].lower()
    assert [word for word in wanted if word not in recipe] == []


def blocks_of(found):
    return [block for section in found.page.report.sections for block in section.blocks if isinstance(block, Code)]


@pytest.mark.parametrize("kind", ASKED)
def test_the_code_of_an_answer_parses(answers, kind):
    blocks = blocks_of(answers[kind])
    assert blocks
    for block in blocks:
        match block.language:
            case "python":
                ast.parse(block.text)
            case "yaml":
                assert yaml.safe_load(block.text)
            case "toml":
                assert tomllib.loads(block.text)
            case "json":
                json.loads(block.text)
            case "bash" | "console" | "sh":
                assert shlex.split(block.text, comments=True)
            case other:
                raise AssertionError(f"nobody parses {other}")


def test_the_program_against_leaked_items_finds_them(answers, tmp_path):
    (tmp_path / "search.py").write_text(
        next(b.text for b in blocks_of(answers["contamination"]) if b.language == "python")
    )
    run = " ".join(f"word{i}" for i in range(20))
    (tmp_path / "items.jsonl").write_text(
        "".join(
            json.dumps({"text": t}) + "\n"
            for t in (f"Ask: {run}?", "too short", "x " + " ".join(f"other{i}" for i in range(20)))
        )
    )
    (tmp_path / "train.jsonl").write_text(
        json.dumps({"text": "before"}) + "\n" + json.dumps({"text": f"It says {run.upper()}, then more."}) + "\n"
    )

    def search(*names):
        return subprocess.run(
            [sys.executable, "search.py", *names], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    done = search("items.jsonl", "train.jsonl")
    assert done.returncode == 1, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"item": 1, "found_in": "train.jsonl:2"}, {"items": 3, "hit": 1, "too_short_to_tell": 1},
    ]  # fmt: skip
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert "line 1" in search("items.jsonl", "bad.jsonl").stderr


def test_the_steps_of_an_alignment_have_the_examples_that_the_recipe_says(answers):
    found = next(yaml.safe_load(b.text) for b in blocks_of(answers["align"]) if b.language == "yaml")
    batch = found["per_device_train_batch_size"] * found["gradient_accumulation_steps"] * 4
    assert batch == 128 and "128" in page_markdown(answers["align"].page).split("- batch: ")[1].split("\n")[0]


def test_states_that_do_not_fit_are_said():
    text = page_markdown(ask("align llama-3.1-70b with dpo on prefs.jsonl, 2 H100", None, True).page)
    assert "states do not fit" in text and "take at least" in text


@pytest.mark.parametrize(
    "text",
    ["fsdp or zero", "LoRA vs full fine-tuning", "vllm vs sglang", "adamw vs muon", "gptq or awq?", "medusa vs eagle"],
)
def test_techniques_stand_side_by_side_without_a_question(text):
    found = ask(text)
    table = page_markdown(found.page).split("## Options")[1].split("\n## ")[0]
    assert found.status == "answered" and not found.questions
    assert len({row.split("|")[1] for row in table.splitlines() if row.startswith("| ")} - {" topic ", " --- "}) == 2


def test_a_sandwich_is_not_understood():
    assert ask("sudo make me a sandwich").status == "not_understood"


@pytest.mark.parametrize(
    "text, method, base, parents",
    [
        (
            "merge ./math and ./code, fine-tunes of llama-3.1-8b, with task arithmetic",
            "task_arithmetic",
            "llama-3.1-8b",
            2,
        ),
        ("merge ./math and ./code, fine-tunes of llama-3.1-8b, with slerp", "slerp", "./math", 2),
        ("merge ./one, ./two and ./three with model soup", "linear", None, 3),
        ("merge llama-3.1-8b, ./math and ./code with ties", "ties", "BASE_MODEL", 3),
    ],
)
def test_a_merge_takes_the_method_that_was_asked_and_the_base_that_was_named(text, method, base, parents):
    found = next(yaml.safe_load(b.text) for b in blocks_of(ask(text, None, True)) if b.language == "yaml")
    assert (found["merge_method"], found.get("base_model"), len(found["models"])) == (method, base, parents)
