import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.counsel.review.documents import kind_of
from aether.counsel.review.engine import Selection, review, review_text
from aether.counsel.review.fixes import apply_edits, fix_files
from aether.counsel.review.output import text_lines, to_sarif
from aether.counsel.review.shell import commands
from aether.knowledge.review_rules import rules
from aether.spec.errors import InputError
from aether.spec.review import Edit

BAD = 'import torch\nstate = torch.load("m.pt")\nother = torch.load("n.pt")  # aether: ignore[AE105] made here\n'


def test_a_folder_is_reviewed_and_what_is_silenced_is_counted(tmp_path):
    (tmp_path / "a.py").write_text(BAD)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "b.py").write_text(BAD)
    (tmp_path / "notes.txt").write_text("torch.load")
    found = review([tmp_path])
    assert [(f.rule, f.line) for f in found.findings] == [("AE105", 2)] and found.silenced == 1
    assert len(found.files) == 1 and "broken.py is not readable python" in found.unread[0]
    said = "\n".join(text_lines(found))
    assert (
        "a.py:2:9 AE105 error [fixable]" in said and "1 error in 1 file; 1 fixable" in said and "not reviewed" in said
    )


def test_a_comment_on_the_line_before_silences():
    text = 'import torch\n# aether: ignore[AE105] our own file\nstate = torch.load("m.pt")\n'
    assert review_text(text, "a.py") == ()
    assert review_text(text.replace("AE105", "AE106"), "a.py")


def test_fixing_twice_changes_nothing_more(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(BAD)
    assert fix_files(review([path]).findings) == 1
    once = path.read_text()
    assert "weights_only=True" in once and fix_files(review([path]).findings) == 0 and path.read_text() == once


def test_edits_after_letters_of_several_bytes(tmp_path):
    text = 'import torch\nx = "äöü€"; state = torch.load("m.pt")\n'
    (finding,) = review_text(text, "a.py")
    assert apply_edits(text, [finding.edit]) == text.replace('"m.pt")', '"m.pt", weights_only=True)')


def test_selection():
    assert review_text(BAD, "a.py", Selection(select=("AE4",))) == ()
    assert review_text(BAD, "a.py", Selection(ignore=("AE105",))) == ()
    with pytest.raises(InputError, match="no rule begins so"):
        Selection(select=("XX",))
    with pytest.raises(InputError, match="no such file"):
        review([Path("absent")])


def test_sarif_names_rules_places_and_fixes(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(BAD)
    log = to_sarif(review([path]))
    (run,) = log["runs"]
    (result,) = run["results"]
    assert log["version"] == "2.1.0" and result["ruleId"] == "AE105" and result["level"] == "error"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "AE105"
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 2, "startColumn": 9}
    assert (
        result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"] == ", weights_only=True"
    )
    json.dumps(log)


def test_nothing_of_a_reviewed_file_runs(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nimport os\nos._exit(7)\n")
    (tmp_path / "a.yaml").write_text("!!python/object/apply:os.system ['touch ran']\n")
    review([tmp_path])
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_too_long_is_said(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("x = 1\n" * 400_000)
    assert "more than" in review([path]).unread[0]


@given(
    st.text(max_size=300),
    st.sampled_from(["a.py", "a.yaml", "a.json", "a.toml", "a.sh", "requirements.txt", "Dockerfile"]),
)
def test_no_text_breaks_it(text, name):
    review_text(text, name)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(0, 5), st.text(max_size=3)), max_size=5))
def test_edits_never_reach_beyond_their_places(given_edits):
    text = "abcdefgh\nijklmnop\nqrstuvwx\n"
    edits = [Edit(line=line, column=c, end_line=line, end_column=c + n, text=new) for line, c, n, new in given_edits]
    apply_edits(text, edits)


def test_commands_over_several_lines():
    text = "# a comment\nvllm serve m \\\n  --tensor-parallel-size 8 \\\n  # inside\n  --port 1 && echo done\n"
    first, second = commands(text)
    assert first.line == 2 and first.words == ("vllm", "serve", "m", "--tensor-parallel-size", "8", "--port", "1")
    assert second.words == ("echo", "done")


def test_kinds():
    assert kind_of("x/requirements-dev.txt") == "requirements" and kind_of("Dockerfile.gpu") == "shell"
    assert kind_of("a.sbatch") == "shell" and kind_of("README.md") == "other"


def test_a_usual_script_is_reviewed_at_once():
    text = "\n".join(row.bad for row in rules().values() if row.file.endswith(".py"))
    started = time.perf_counter()
    review_text(text, "a.py")
    assert time.perf_counter() - started < 5


def test_the_page_lists_every_rule():
    page = (Path(__file__).parents[2] / "docs" / "review.md").read_text(encoding="utf-8")
    for rule in rules().values():
        assert re.search(rf"\| {rule.name} \| {rule.severity} \| {re.escape(rule.title)} \|", page), (
            f"{rule.name}: run python -m scripts.review_table"
        )


def test_sources_are_counted_as_they_are():
    kinds = [rule.kind for rule in rules().values()]
    assert set(kinds) <= {"cited", "measured", "computed", "assumed"}
    assert kinds.count("assumed") <= 10, "a rule's source is read before the rule is added"


@pytest.mark.parametrize(
    ("rule", "name", "text", "expected"),
    [
        ("AE210", "a.py", "TrainingArguments(output_dir='o', warmup_ratio=0.1)", True),
        ("AE210", "a.py", "SFTConfig(output_dir='o', overwrite_output_dir=True)", True),
        ("AE210", "a.py", "SFTConfig(output_dir='o', warmup_steps=0.1)", False),
        ("AE207", "a.py", "SFTConfig(packing=True, packing_strategy='wrapped')", True),
        ("AE207", "a.py", "SFTConfig(packing=True, packing_strategy='bfd')", False),
        ("AE205", "a.py", "SFTConfig(load_best_model_at_end=True, eval_strategy='steps', save_strategy='best')", False),
        ("AE205", "a.py", "SFTConfig(load_best_model_at_end=True, save_strategy='best')", True),
        ("AE306", "ds_config.json", '{"train_micro_batch_size_per_gpu": 1, "optimizer": {"type": "AdamW"}}', False),
        (
            "AE322",
            "a.yaml",
            "base_model: m\ndatasets: []\nadapter: qlora\nload_in_4bit: true\nload_in_8bit: true\n",
            True,
        ),
        ("AE322", "a.yaml", "base_model: m\ndatasets: []\nadapter: lora\nload_in_4bit: true\n", False),
        ("AE340", "m.yaml", "merge_method: ram\nmodels:\n  - model: a\n  - model: b\n", False),
        ("AE345", "m.yaml", "merge_method: linear\nmodels:\n  - model: a\n  - model: b\n", False),
        ("AE604", "requirements.txt", "torch==2.9.1\n", True),
        ("AE604", "requirements.txt", "torch==2.10.0\n", False),
        ("AE609", "requirements.txt", "torch==2.12.0\ntorchaudio==2.11.0\n", False),
        ("AE610", "requirements.txt", "litellm==1.106.0\npydantic-ai-slim[anthropic]==2.66.0\n", False),
        ("AE610", "requirements.txt", "litellm==1.106.0\npydantic-ai==2.66.0\n", True),
    ],
)
def test_rules_follow_the_releases_that_were_read(rule, name, text, expected):
    """transformers 5.17, TRL 1.16, DeepSpeed 0.19.8, Axolotl 0.19, mergekit 0.1.5, and the metadata of released wheels."""
    assert any(f.rule == rule for f in review_text(text, name)) is expected


PACKED = "base_model: m\ndatasets: []\nmicro_batch_size: 2\nval_set_size: 0.05\nsample_packing: true\n"


@pytest.mark.parametrize("attention", ["flex_attention", "flash_attention_2", "sdpa", "eager"])
def test_attention_that_keeps_packed_examples_apart_is_taken_by_its_name(attention):
    assert any(f.rule == "AE320" for f in review_text(PACKED, "a.yaml"))
    assert not any(f.rule == "AE320" for f in review_text(f"{PACKED}attn_implementation: {attention}\n", "a.yaml"))


def test_tokens_that_another_function_adds_are_not_of_this_adapter():
    one = "from peft import LoraConfig\n\ndef a(t):\n    t.add_tokens(['x'])\n    return LoraConfig(r=8)\n"
    two = "from peft import LoraConfig\n\ndef a(t):\n    t.add_tokens(['x'])\n\ndef b():\n    return LoraConfig(r=8)\n"
    assert any(f.rule == "AE218" for f in review_text(one, "a.py"))
    assert not any(f.rule == "AE218" for f in review_text(two, "a.py"))
