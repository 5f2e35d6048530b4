import json

from click.testing import CliRunner

from aether.evidence.items import Item, write_lines
from aether.surfaces.cli.main import main

QUESTIONS = [f"How many {thing} does the farmer number {i} carry to the market on day {i * 3} when it rains" for i, thing in enumerate(["apples", "pears", "plums", "nuts"] * 10)]  # fmt: skip


def said(*words):
    done = CliRunner().invoke(main, ["contamination", *map(str, words), "--json"])
    return done.exit_code, json.loads(done.output)


def evaluation(folder):
    items = []
    for i, question in enumerate(QUESTIONS):
        # Leaked items are answered right, the others half the time.
        right = 1.0 if i < 20 else float(i % 2)
        items.append(
            Item(
                task="t",
                id=str(i),
                cluster=str(i),
                prompt_sha256="0",
                prompt=question,
                answer="a",
                target="b",
                values={"acc": right},
            )
        )
    folder.mkdir()
    (folder / "items.jsonl").write_text(write_lines(items))
    (folder / "evaluation.json").write_text("{}")
    return folder


def test_items_their_places_and_the_score_without_them(tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": f"Quiz. {q}!"}) + "\n" for q in QUESTIONS[:20]))
    code, found = said(evaluation(tmp_path / "done"), tmp_path / "train.jsonl", "--out", tmp_path / "out")
    assert code == 0 and found["bands"] == {"contaminated": 20, "partly": 0, "clean": 20, "too short": 0}
    (score,) = found["scores"]
    assert (score["clean"], score["everything"], score["touched"]) == (0.5, 0.75, 1.0)
    assert score["p_value"] < 0.01 and score["interval"]["high"] < 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "contamination.jsonl").read_text().splitlines()]
    place = rows[3]["place"]
    raw = (json.loads((tmp_path / "train.jsonl").read_text().splitlines()[place["document"] - 1])["text"]).encode()
    assert raw[place["start"] : place["end"]].decode() == QUESTIONS[3]
    assert "clean less touched" in (tmp_path / "out" / "contamination.md").read_text()


def test_what_is_missing_is_asked_for(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"q": "' + QUESTIONS[0] + '"}\n')
    assert said(tmp_path / "t.jsonl")[1]["field"] == "training"
    assert said(tmp_path / "t.jsonl", "--model", tmp_path)[1]["field"] == "control"
    assert said(tmp_path / "none.txt", tmp_path / "t.jsonl")[1]["field"] == "test"
    assert said(tmp_path / "t.jsonl", tmp_path / "t.jsonl", "--field", "zz")[1]["field"] == "fields"
