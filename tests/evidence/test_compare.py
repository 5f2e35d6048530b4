import json

import numpy as np
import pytest

from aether.evidence.compare import DocumentScore, compare, read_scores
from aether.spec.errors import DamagedRecord, InputError


def scores(shift=0.0, n=40, seed=0):
    rng = np.random.default_rng(0)
    size = rng.integers(500, 9000, n)
    rate = rng.normal(1.8, 0.3, n) + shift + np.random.default_rng(seed).normal(0, 0.02, n)
    return [
        DocumentScore(
            id=f"f{i}",
            group=f"g{i // 2}",
            bits=float(size[i] * rate[i]),
            bytes=int(size[i]),
            tokens=100,
            correct_top1=40,
        )
        for i in range(n)
    ]


def test_a_better_run_is_called_better():
    found = compare(scores(-0.1, seed=1), scores(seed=2))
    assert found.conclusion == "a is better" and found.paired.difference == pytest.approx(-0.1, abs=0.02)
    assert compare(scores(0.1, seed=1), scores(seed=2)).conclusion == "b is better"


def test_like_runs_give_no_evidence():
    found = compare(scores(seed=1), scores(seed=2))
    assert found.conclusion == "no evidence of a difference"
    assert "four times in five" in found.sentence() and found.detectable is not None


def test_accuracy_turns_the_direction():
    better = [s.model_copy(update={"correct_top1": 50 + i % 3}) for i, s in enumerate(scores())]
    assert compare(better, scores(), "next_token_accuracy").conclusion == "a is better"


def test_only_shared_documents_count_and_the_others_are_named():
    found = compare(scores(n=40), scores(n=40)[:30])
    assert found.paired.n == 30 and len(found.left_out) == 10
    with pytest.raises(InputError, match="share no document"):
        compare(scores()[:2], scores()[2:])


def test_other_texts_under_one_name_are_refused():
    other = [s.model_copy(update={"bytes": s.bytes + 1}) for s in scores()]
    with pytest.raises(InputError, match="different texts"):
        compare(scores(), other)


def test_scores_are_read_back_or_refused(tmp_path):
    path = tmp_path / "per_document.jsonl"
    path.write_text("".join(json.dumps(s.model_dump()) + "\n" for s in scores()))
    assert read_scores(path) == scores()
    assert read_scores(path, "ood") == []
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DamagedRecord):
        read_scores(path)
