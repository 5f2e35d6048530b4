"""Does guidellm, as people run it, get what it asks of Aether's server? Every request and every token is counted.

Follows guidellm 0.8.1's own command (`guidellm run`), in an environment of its own. Completions arrive at random (Poisson),
chats come from four clients at once. It checks the protocol, not the speed: no time is recorded. A prompt may be a few tokens
off the length that was asked for, since guidellm makes its prompts from text; outputs must be exact.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from aether.stages.serve.recipe import ServerSettings
from aether.stages.serve.run import running_server
from benchmarks.records import circumstances, write

PROMPT_TOKENS, OUTPUT_TOKENS = 64, 16
PROMPT_TOLERANCE = 4
"""Assumed: the separator in front, a chat's turns, and text that encodes otherwise than the tokens it was made from."""
ASKED = {
    "/v1/completions": ("kind=poisson,rate=4", 30),
    "/v1/chat/completions": ("kind=concurrent,streams=4", 20),
}
"""Endpoint -> (how requests arrive, how many)."""


def ask(guidellm: Path, url: str, model: str, folder: Path, endpoint: str) -> dict[str, Any]:
    """One run of guidellm against one endpoint: its report."""
    profile, count = ASKED[endpoint]
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        words = ["--backend", f"kind=openai_http,target={url},request_format={endpoint},model={model}"]
        words += ["--profile", profile, "--constraint", f"kind=max_requests,count={count}"]
        words += ["--tokenizer", f"kind=huggingface_auto,model={folder}"]
        words += ["--data", f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={OUTPUT_TOKENS}"]
        command = [str(guidellm), "run", *words, "--output", f"kind=json,path={report}"]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
        if done.returncode or not report.exists():
            raise SystemExit(f"guidellm ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
        return json.loads(report.read_text(encoding="utf-8"))


def counted(report: dict[str, Any]) -> dict[str, Any]:
    """Requests by status, and the token counts that the successful ones had."""
    (benchmark,) = report["benchmarks"]
    requests = benchmark["requests"]
    found = {status: len(requests[status] or []) for status in ("successful", "incomplete", "errored")}
    return found | {
        "prompt_tokens": sorted({r["prompt_tokens"] for r in requests["successful"]}),
        "output_tokens": sorted({r["output_tokens"] for r in requests["successful"]}),
    }


def faults(endpoint: str, found: dict[str, Any]) -> list[str]:
    """What is not as asked, in words."""
    told, count = [], ASKED[endpoint][1]
    if found["successful"] != count or found["errored"] or found["incomplete"]:
        told.append(f"{endpoint}: {found} instead of {count} successful requests")
    if found["output_tokens"] != [OUTPUT_TOKENS]:
        told.append(f"{endpoint}: outputs of {found['output_tokens']} tokens, {OUTPUT_TOKENS} were asked for")
    if any(abs(n - PROMPT_TOKENS) > PROMPT_TOLERANCE for n in found["prompt_tokens"]):
        told.append(f"{endpoint}: prompts of {found['prompt_tokens']} tokens, {PROMPT_TOKENS} were asked for")
    return told


def main() -> int:
    """Run both endpoints, write the record, and end with 1 when anything is not as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face folder, such as RUN/model")
    parser.add_argument("--guidellm", type=Path, required=True, help="guidellm's executable in its own environment")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as logs:
        settings = ServerSettings(port=0)
        with running_server(arguments.model, settings, Path(logs) / "log") as server:
            found = {
                endpoint: counted(ask(arguments.guidellm, server.url, server.model, arguments.model, endpoint))
                for endpoint in ASKED
            }
    version = subprocess.run(
        [arguments.guidellm, "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    told = [fault for endpoint, one in found.items() for fault in faults(endpoint, one)]
    words = ["--model", "FOLDER", "--guidellm", "VENV/bin/guidellm"]
    record = {"circumstances": circumstances("benchmarks.guidellm_check", words=words), "guidellm": version}
    write("guidellm", record | {"found": found, "faults": told}, _markdown(record, found, told))
    print("\n".join(told) or "every request succeeded, with the tokens that were asked for")
    return 1 if told else 0


def _markdown(record: dict[str, Any], found: dict[str, Any], told: list[str]) -> str:
    here = record["circumstances"]
    rows = [
        f"| `{endpoint}` | {ASKED[endpoint][0]} | {one['successful']} of {ASKED[endpoint][1]} | "
        f"{', '.join(map(str, one['prompt_tokens']))} | {', '.join(map(str, one['output_tokens']))} |"
        for endpoint, one in found.items()
    ]
    asked = f"{PROMPT_TOKENS} prompt and {OUTPUT_TOKENS} output tokens were asked for"
    return "\n".join(
        [
            "# guidellm against Aether's server\n",
            f"{here['date']}, {record['guidellm']}, {here['machine']['cpu']}, `{here['command']}`; {asked}.\n",
            "| endpoint | arrivals | successful | prompt tokens seen | output tokens seen |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "\n".join(told) or "Nothing is off.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
