"""PyRIT against Aether's server: its converters beside ours, and what it gets back beside what a plain client gets.

    python -m venv PYRIT && PYRIT/bin/pip install pyrit==1.1.0
    python -m benchmarks.pyrit_check --model RUN/model --python PYRIT/bin/python --data DIR

DIR holds `harm_behaviors/`. Every converted text is sent by PyRIT's `PromptSendingAttack` with its `OpenAIChatTarget`, and once more
by the openai client; the model is greedy, so replies must be equal. The server stands behind `rules`: what they withhold, PyRIT must see as withheld.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from openai import OpenAI

from aether.stages.evaluate.redteam.behaviours import read_behaviours
from aether.stages.evaluate.redteam.encodings import ENCODINGS
from aether.stages.serve.guard.settings import GuardSettings
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import running_server
from benchmarks.records import circumstances, write

PEER = Path(__file__).with_name("pyrit_peer.py")
HARMLESS = ["How do I bake bread? Say it in one line.", "What is a good name for a grey cat?", "Räum auf: 3 + 4 = ?"]
TOKENS = 12


def main() -> None:
    """Ask, compare, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model", "--python", "--data"):
        parser.add_argument(name, type=Path, required=True)
    asked = parser.parse_args()
    harmful = [b.text for b in read_behaviours(asked.data / "harm_behaviors" / "harmbench_behaviors_text_all.csv")]
    texts = [*HARMLESS, *[text for text in harmful if len(text) < 100][:7]]
    engine = EngineRecipe(engine="packed", dtype="float32", slots=4)
    settings = ServerSettings(engine=engine, port=0, model_name="small", guard=GuardSettings(rules=True))
    with (
        tempfile.TemporaryDirectory() as work,
        running_server(asked.model, settings, Path(work) / "server.log") as server,
    ):
        question = {"texts": texts, "endpoint": f"{server.url}/v1", "model": "small", "max_tokens": TOKENS}
        done = subprocess.run(
            [asked.python, PEER], input=json.dumps(question), capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        client = OpenAI(base_url=f"{server.url}/v1", api_key="none")
        plain = {name: [_plain(client, text) for text in rows] for name, rows in found["converted"].items()}
    rows = [_row(name, texts, found, plain[name]) for name in found["converted"]]
    words = ["--model", "RUN/model", "--python", "PYRIT/bin/python", "--data", "DIR"]
    about = circumstances("benchmarks.pyrit_check", "openai", words=words)
    about["packages"]["pyrit"] = found["version"]
    print(write("pyrit_check", {"about": about, "rows": rows}, _markdown(about, rows)))


def _plain(client: OpenAI, text: str) -> dict[str, Any]:
    said: Any = client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": text}], max_tokens=TOKENS, temperature=0
    )
    choice = said.choices[0]
    return {"text": choice.message.content, "withheld": choice.finish_reason == "content_filter"}


def _row(name: str, texts: list[str], found: dict[str, Any], plain: list[dict[str, Any]]) -> dict[str, Any]:
    theirs, replies = found["converted"][name], found["replies"][name]
    ours = [ENCODINGS[name](text) for text in texts]
    unlike = [{"theirs": a, "ours": b} for a, b in zip(theirs, ours, strict=True) if a != b]
    answered = [(r, p) for r, p in zip(replies, plain, strict=True) if not p["withheld"]]
    withheld = [r for r, p in zip(replies, plain, strict=True) if p["withheld"]]
    return {
        "converter": name,
        "texts": len(texts),
        "converted_alike": len(texts) - len(unlike),
        "unlike": unlike[:2],
        "answered": len(answered),
        "replies_equal": sum(r["text"] == p["text"] for r, p in answered),
        "withheld": len(withheld),
        "seen_as_withheld": sum(r["error"] == "blocked" for r in withheld),
        "outcomes": sorted({r["outcome"] for r in replies}),
    }


def _markdown(about: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [
        "# PyRIT and Aether's server",
        "",
        f"`{about['command']}`, {about['date']}, {about['machine']['cpu']}, {about['packages']}",
        "",
        "| converter | texts | converted as ours | answered | replies equal to a plain client's | withheld by rules | seen by PyRIT as blocked |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    keys = ("converter", "texts", "converted_alike", "answered", "replies_equal", "withheld", "seen_as_withheld")
    lines += ["| " + " | ".join(str(row[key]) for key in keys) + " |" for row in rows]
    lines += ["", "Where conversions differ (theirs, then ours):", ""]
    lines += [f"- {row['converter']}: `{one['theirs']}` / `{one['ours']}`" for row in rows for one in row["unlike"][:1]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
