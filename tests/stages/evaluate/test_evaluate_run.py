import json
import lzma

import numpy as np
import pytest
import tiny
import torch

from aether.counsel.identity import weights_of
from aether.counsel.redteaming import read_red_team
from aether.evidence.hashing import hash_model
from aether.models import quantized
from aether.models.corpus import choose_documents, read_split, token_bytes
from aether.models.generation import greedy
from aether.models.scoring import score, windows
from aether.spec.errors import DamagedRecord
from aether.spec.metrics import GATES
from aether.spec.run import StepContext
from aether.stages.evaluate.baselines import training_text
from aether.stages.evaluate.completion import is_exact, lines_of
from aether.stages.evaluate.recipe import EvaluateRecipe
from aether.stages.evaluate.run import run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    tiny.make_data(root / "data")
    return root, tiny.make_model(root / "data", root / "model")


def evaluate(made, tmp_path, **choices):
    root, model = made
    inputs = {"data": root / "data", "model": model}
    context = StepContext("evaluate", tmp_path, inputs, seed=0, threads=1, listener=lambda progress: None)
    recipe = EvaluateRecipe.model_validate({"lines": 60, "programs": 20, "program_max_tokens": 32} | choices)
    return {e.id: e for e in run(recipe, context)}


def test_everything_is_measured_with_its_interval(made, tmp_path):
    found = evaluate(made, tmp_path)
    for name in ("bits_per_byte", "next_token_accuracy", "line_accuracy", "parse_rate"):
        one = found[f"evaluate.{name}"]
        assert one.interval is not None and one.interval.low <= one.value <= one.interval.high
    assert found["evaluate.bits_per_byte"].value < found["evaluate.bits_per_byte.xz"].value
    assert found["evaluate.bits_per_byte.ood"].value > found["evaluate.bits_per_byte"].value
    assert found["evaluate.parse_rate"].value <= found["evaluate.parse_rate_ceiling"].value == 1.0
    for name in ("xz", "zstd", "zstd_train", "5gram"):
        assert found[f"evaluate.bits_per_byte_difference.{name}"].interval is not None
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    assert "parse_rate.ood" in summary["dropped"] and summary["splits"]["test"]["documents"] == 16
    rows = [json.loads(line) for line in (tmp_path / "per_document.jsonl").read_text().splitlines()]
    total = sum(r["bits"] for r in rows if r["split"] == "test") / sum(r["bytes"] for r in rows if r["split"] == "test")
    assert total == pytest.approx(found["evaluate.bits_per_byte"].value)


def test_twice_the_same_gives_the_same_bytes(made, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        evaluate(made, tmp_path / name, lines=10, programs=5)
    for path in (p for p in (tmp_path / "a").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_red_team_leaves_what_gates_are_judged_by(made, tmp_path):
    asked = {"attacks": ("direct", "injection", "leak"), "behaviours": 4, "max_tokens": 8}
    found = evaluate(made, tmp_path, modality="text", baselines=(), red_team=asked)
    for name in GATES:
        one = found[f"evaluate.{name}"]
        assert one.interval and one.value == 0.0 < one.interval.high, (
            "a model of a few thousand weights does nobody harm, and that is not proven"
        )
    done = read_red_team(tmp_path / "redteam")
    items = done.items
    assert weights_of(done.about) == hash_model(made[1] / "model")
    assert len(items) == 4 + 48 + 24 + 4 and {item.task for item in items} == {
        "attack",
        "injection",
        "leak",
        "over-refusal",
    }


def test_text_leaves_out_code_s_metrics_with_a_reason(made, tmp_path):
    found = evaluate(made, tmp_path, modality="text", baselines=())
    assert "evaluate.line_accuracy" not in found and "evaluate.parse_rate" not in found
    assert "prose" in json.loads((tmp_path / "evaluation.json").read_text())["dropped"]["parse_rate"]


def test_the_true_file_s_tokens_are_checked_against_its_text(made, tmp_path):
    _root, model = made
    data = tiny.make_data(tmp_path / "data")
    text = data / "test" / "text.jsonl"
    text.write_text(text.read_text().replace("import os", "import so"))
    with pytest.raises(DamagedRecord, match="not its text"):
        evaluate((tmp_path, model), tmp_path / "out")


def test_a_window_scores_each_token_once_and_equals_one_pass(made):
    _root, folder = made
    model = quantized.load(folder / "model")
    rng = np.random.default_rng(0)
    lengths = [1, 2, 96, 97, 98, 300]
    covered = [
        sorted(i for w in windows(lengths, 96, 40) if w.document == d for i in range(w.score_from, w.end))
        for d in range(6)
    ]
    assert covered == [list(range(1, length)) for length in lengths]
    documents = [np.concatenate([[0], rng.integers(1, 384, n)]) for n in (1, 40, 95, 20)]
    found = score(model, documents, stride=48, batch_tokens=200)
    for document, bits in zip(documents, found, strict=True):
        ids = torch.from_numpy(document)[None]
        with torch.inference_mode():
            loss = torch.nn.functional.cross_entropy(model(ids)[0, :-1], ids[0, 1:], reduction="sum")
        assert bits.bits == pytest.approx(float(loss) / np.log(2), rel=1e-5) and bits.tokens == len(document) - 1


def test_batched_generation_equals_one_at_a_time(made):
    _root, folder = made
    model = quantized.load(folder / "model")
    rng = np.random.default_rng(1)
    prompts = [[0, *rng.integers(1, 384, rng.integers(1, 30)).tolist()] for _ in range(11)]
    together = greedy(model, prompts, 9, lambda index, tokens: len(tokens) > index % 9, batch=4)
    for index, prompt in enumerate(prompts):
        assert greedy(model, [prompt], 9, lambda _, tokens, i=index: len(tokens) > i % 9) == [together[index]]
    long = [[0] * 500]
    assert len(greedy(model, long, 9, end_id=-1)[0]) == 9


def test_token_bytes_give_back_the_text(made):
    root, _ = made
    bytes_of = token_bytes(root / "data")
    split = read_split(root / "data", "test")
    for document in split.documents:
        text = b"".join(bytes_of[t] for t in split.ids(document).tolist())
        assert text.decode() == split.texts()[document.id]
    train = read_split(root / "data", "train")
    assert len(training_text(train, bytes_of, 1000)) == 1000
    assert len(choose_documents(split, 1500, 0)) < 16 and choose_documents(split, 1500, 0) == choose_documents(
        split, 1500, 0
    )


def test_cut_lines_put_back_together_are_the_file_s_lines(made):
    root, _ = made
    bytes_of, split = token_bytes(root / "data"), read_split(root / "data", "test")
    document = split.documents[0]
    content = split.texts()[document.id].encode()
    lines = lines_of(("a", "b"), content, split.ids(document), bytes_of, EvaluateRecipe(), np.random.default_rng(0))
    assert lines
    for line in lines:
        whole = line.line_head.encode() + line.rest
        assert whole in content.split(b"\n") and len(line.rest) >= 4 and line.line_head.strip()
        assert is_exact(line, line.rest + b" \nmore") and not is_exact(line, line.rest) and not is_exact(line, b"\n")


def test_xz_is_the_library_s():
    from aether.stages.evaluate.baselines import _xz

    text = b"abc " * 500
    assert abs(_xz(text) - len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))) < 80


def test_the_estimate_grows_with_the_work():
    from aether.stages.evaluate.estimate import estimate

    shape = tiny.tiny_config()
    small = estimate(EvaluateRecipe(), shape, 3.0, 1e11, 10**6)
    large = estimate(EvaluateRecipe(test_bytes=4_000_000), shape, 3.0, 1e11, 10**6)
    assert small.value is not None and large.value is not None and large.value > small.value
    assert sum(term.value for term in small.terms) == pytest.approx(small.value)
