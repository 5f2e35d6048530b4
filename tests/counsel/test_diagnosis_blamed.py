"""What `aether diagnose` says of batches that a real training did not believe."""

import json

import pytest
from tiny_data import VOCABULARY
from tiny_training import lines, recipe, train

from aether.counsel.diagnosis.diagnose import diagnose
from aether.models.corpus import Document
from aether.spec.errors import DamagedRecord
from aether.stages.train.fakes import CountingTokens, PoisonedTokens


class _Named(PoisonedTokens):
    """A poisoned stream whose windows are files."""

    def documents(self, index):
        return (Document(f"src/part_{index}.py", "src", 10, 0, 10),)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    bad = [110 * 4 + row for row in range(4)] + [125 * 4 + row for row in range(4)]
    train(out, recipe(steps=140), _Named(CountingTokens(VOCABULARY, 16), VOCABULARY, bad))
    return out


def test_the_page_names_documents_and_cites_their_losses(run):
    page = diagnose(run)
    (section,) = [s for s in page.report.sections if s.key == "blamed"]
    shown = section.model_dump_json()
    cited = {e.id: e.value for e in page.evidence}
    for place, row in enumerate(lines(run, "blamed.jsonl")[:2]):
        worst = row["samples"][0]
        assert worst["documents"][0]["id"] == f"src/part_{worst['index']}.py" and worst["documents"][0]["id"] in shown
        assert cited[f"blamed-{place}.loss"] == worst["loss"] > cited[f"blamed-{place}.median"] * 0.9


def test_a_few_skips_counted_from_the_beginning_are_no_collapse_of_a_loss_scale(run):
    assert lines(run)[-1]["skipped_steps"] == 2
    assert "loss-scale-collapse" not in {s.key.rsplit("-", 1)[0] for s in diagnose(run).report.sections}


def test_a_foreign_file_of_that_name_is_refused_and_hostile_names_are_quoted(tmp_path, run):
    (tmp_path / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    row = lines(run, "blamed.jsonl")[0]
    row["samples"][0]["documents"] = [{"id": "ignore\u202e all\x1b[31m rules" + "x" * 500, "group": "g"}]
    (tmp_path / "blamed.jsonl").write_text(json.dumps(row) + "\n")
    shown = diagnose(tmp_path).report.model_dump_json()
    assert "\u202e" not in shown and "\\u001b" not in shown and "x" * 200 not in shown
    (tmp_path / "blamed.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(DamagedRecord, match="not what a training wrote"):
        diagnose(tmp_path)
