"""Aether's server against its peers on the same model, prompts and number of clients, in one run. Ratios first.

    python -m benchmarks.serving --model FOLDER [--engine E --dtype T] [--clients 1 8 32] [--peers-venv DIR] [--json]

Closed loop: each client streams a completion, then asks for the next. Every contender has the same threads, and runs in
turn within each round, so that a slow moment of the machine falls on all. The peers have an environment of their own:

    python3 -m venv DIR && DIR/bin/pip install torch==2.13.0 "transformers[serving]==5.17.0" xllamacpp

FOLDER may be a quantised one: everyone is given the same weights, expanded. Contenders of torch compute in the type that
a bare server's `auto` takes on this processor; llama.cpp's own server is there with float16 and with float32 weights.
Aether is judged with the engine that is named, which a build chooses by measuring; its others run beside it. Output tokens are the
server's own count where it gives one, else events with text. Latency is of whole requests (e2e) and between events (itl).
Contenders named "in process" pay for no HTTP; "static" gets all requests at the same moment.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

import aether
from aether.models import quantized
from aether.models.gguf_file import GgufType, write_gguf
from aether.models.weights import load, save_pretrained, to_qwen3
from aether.stages.serve.client import stream_completion
from aether.stages.serve.loading import multiplies_bfloat16, resolve_dtype
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import running_server
from benchmarks.records import circumstances, write

HERE = Path(__file__).parent
OURS = "aether"
ENGINES = (("packed", "float32"), ("packed", "bfloat16"), ("llama.cpp", "float16"))


@dataclass
class Contender:
    """A server by its URL, or a process that answers lines. `extra` fields keep its outputs full length.

    `takes_tokens`: its prompts are token ids, so that it pays for no tokenizer and needs none that is like ours.
    """

    name: str
    version: str
    url: str | None = None
    model: str = ""
    takes_tokens: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[Any] | None = None


@dataclass(frozen=True)
class Work:
    """What everyone has to do."""

    texts: list[str]
    tokens: list[list[int]]
    marks: list[list[int]]
    """A different beginning for each request: no server may answer from its memory of a prompt."""
    output_tokens: int
    seconds: float


def make_work(model: Path, prompt_tokens: int, output_tokens: int, seconds: float) -> Work:
    """Prompts are beginnings of this interpreter's own library files, cut to about `prompt_tokens` tokens."""
    import sysconfig

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    texts, tokens = [], []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        ids = tokenizer.encode(path.read_text(encoding="utf-8", errors="ignore")[:4000]).ids
        if len(ids) >= prompt_tokens:
            tokens.append(ids[:prompt_tokens])
            texts.append(tokenizer.decode(ids[:prompt_tokens]))
    marks = [tokenizer.encode(f"# {number}\n").ids for number in range(10_000)]
    return Work(texts, tokens, marks, output_tokens, seconds)


async def measure_http(contender: Contender, work: Work, clients: int, seed: int) -> dict[str, Any]:
    """One closed loop over HTTP."""
    assert contender.url is not None
    url, order = contender.url, np.random.default_rng(seed).permutation(len(work.texts)).tolist()
    found, sent = [], 0

    async def ask():
        nonlocal sent
        place, mark = order[sent % len(order)], (seed * 3000 + clients * 60 + sent) % len(work.marks)
        prompt = work.marks[mark] + work.tokens[place] if contender.takes_tokens else f"# {mark}\n" + work.texts[place]
        sent += 1
        body = {"model": contender.model, "prompt": prompt, "max_tokens": work.output_tokens, "stream": True}
        return await stream_completion(url, body | {"temperature": 0} | contender.extra, 120)

    await asyncio.gather(*(ask() for _ in range(clients)))
    started_s = time.perf_counter()

    async def client():
        while time.perf_counter() - started_s < work.seconds:
            found.append(await ask())

    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed_s = time.perf_counter() - started_s
    good = [exchange for exchange in found if exchange.error is None]
    gaps = [b - a for e in good for a, b in zip(e.pieces_s, e.pieces_s[1:], strict=False)]
    return {
        "tokens_per_s": sum(e.output_tokens for e in good) / elapsed_s,
        "e2e_s": [e.ended_s - e.started_s for e in good],
        "ttft_s": [e.pieces_s[0] - e.started_s for e in good if e.pieces_s],
        "itl_s": gaps,
        "errors": [e.error for e in found if e.error is not None],
        "tokens_per_request": statistics.mean(e.output_tokens for e in good) if good else 0,
    }


def measure_process(contender: Contender, work: Work, clients: int) -> dict[str, Any]:
    """The same work handed to a process without HTTP."""
    process = contender.process
    assert process is not None and process.stdin is not None and process.stdout is not None
    request = {"prompts": work.tokens, "output_tokens": work.output_tokens, "clients": clients, "seconds": work.seconds}
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    return {
        "tokens_per_s": answer["tokens"] / answer["seconds"],
        "e2e_s": answer["e2e_s"], "ttft_s": [], "itl_s": [], "errors": [],
        "tokens_per_request": answer["tokens"] / len(answer["e2e_s"]),
    }  # fmt: skip


@contextmanager
def alone(chosen: Contender, contenders: Sequence[Contender]) -> Iterator[None]:
    """The others stand still: some servers spin while they wait for requests, and would slow whoever is measured."""
    others = [psutil.Process(c.process.pid) for c in contenders if c is not chosen and c.process is not None]
    for other in others:
        other.suspend()
    try:
        yield
    finally:
        for other in others:
            other.resume()


@contextmanager
def process(command: list[str], threads: int, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A peer's process, ended by its id."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    with log.open("w") as errors:
        found = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        try:
            yield found
        finally:
            found.terminate()
            try:
                found.wait(10)
            except subprocess.TimeoutExpired:
                found.kill()


GGUF_TYPES: dict[str, GgufType] = {"f16": "float16", "f32": "float32"}
COUNTED = {"ignore_eos": True, "stream_options": {"include_usage": True}}


def ours(
    stack: ExitStack, model: Path, arguments: argparse.Namespace, slots: int, scratch: Path
) -> Iterator[Contender]:
    """Aether with the engine that is judged, then with its others."""
    first = (arguments.engine, arguments.dtype)
    others = [pair for pair in ENGINES if pair != first and (pair[1] != "bfloat16" or multiplies_bfloat16())]
    for number, (engine, dtype) in enumerate([first, *others]):
        recipe = EngineRecipe.model_validate({"engine": engine, "dtype": dtype, "slots": slots})
        settings = ServerSettings(engine=recipe, port=0, threads=arguments.threads, model_name="model")
        server = stack.enter_context(running_server(model, settings, scratch / f"aether-{number}.log"))
        name = f"aether, {engine}, {dtype}" if number else OURS
        said = f"aether {aether.__version__}, {server.facts['engine']}, {server.facts['dtype']}"
        yield Contender(name, said, server.url, "model", True, COUNTED, server.process)


def llama(stack: ExitStack, venv: Path, model: Path, threads: int, slots: int, scratch: Path) -> Iterator[Contender]:
    """llama.cpp's own server, with weights of two types."""
    python = str(venv / "bin" / "python")
    context = json.loads((model / "config.json").read_text())["max_position_embeddings"]
    decoder = load(model)
    for dtype, kind in GGUF_TYPES.items():
        path = scratch / f"model-{dtype}.gguf"
        write_gguf(path, decoder.config, to_qwen3(decoder), kind)
        command = [python, str(HERE / "serving_peers.py"), "llama", str(path), str(threads), str(slots), str(context)]
        server = stack.enter_context(process(command, threads, scratch / f"llama-{dtype}.log"))
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        version = f"xllamacpp {said['version']}"
        yield Contender(f"xllamacpp {dtype}", version, said["url"], path.name, True, COUNTED, server)


def transformers(stack: ExitStack, venv: Path, model: Path, threads: int, scratch: Path) -> Iterator[Contender]:
    """transformers' servers, each in its best setting that keeps it alive, and its `generate` without a server."""
    dtype = str(resolve_dtype("auto")).removeprefix("torch.")
    cache = ["--cb-block-size", "32", "--cb-num-blocks", "640", "--cb-max-batch-tokens", "256"]
    for name, flags in (
        ("transformers serve", []),
        ("transformers serve, continuous batching", ["--continuous-batching", *cache]),
    ):
        port = free_port()
        command = [str(venv / "bin" / "transformers"), "serve", str(model), "--device", "cpu", "--dtype", dtype]
        command += ["--host", "127.0.0.1", "--port", str(port), *flags]
        server = stack.enter_context(process(command, threads, scratch / f"{name}.log"))
        url = f"http://127.0.0.1:{port}"
        await_health(url)
        yield Contender(name, f"transformers 5.17.0, {dtype}", url, str(model), process=server)
    for kind in sorted({dtype, "float32"}):
        command = [str(venv / "bin" / "python"), str(HERE / "serving_peers.py"), "generate", str(model), kind]
        worker = stack.enter_context(process([*command, str(threads)], threads, scratch / f"generate-{kind}.log"))
        assert worker.stdout is not None
        said = json.loads(worker.stdout.readline())
        name = f"generate, static batch, in process, {kind}"
        yield Contender(name, f"transformers {said['version']}, {kind}", process=worker)


def free_port() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def await_health(url: str, patience_s: float = 180.0) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit(f"{url} did not come up")


def quantile_ms(values: list[float], share: float) -> float | None:
    """In milliseconds."""
    return round(float(np.quantile(values, share, method="higher")) * 1e3, 2) if values else None


def pool(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """All rounds of one contender at one number of clients."""
    e2e, ttft, itl = ([value for one in rounds for value in one[key]] for key in ("e2e_s", "ttft_s", "itl_s"))
    rates = [one["tokens_per_s"] for one in rounds]
    return {
        "tokens_per_s": round(statistics.median(rates), 1),
        "tokens_per_s_rounds": [round(rate, 1) for rate in rates],
        "e2e_p50_ms": quantile_ms(e2e, 0.5),
        "e2e_p99_ms": quantile_ms(e2e, 0.99),
        "ttft_p50_ms": quantile_ms(ttft, 0.5),
        "ttft_p99_ms": quantile_ms(ttft, 0.99),
        "itl_p50_ms": quantile_ms(itl, 0.5),
        "itl_p99_ms": quantile_ms(itl, 0.99),
        "requests": len(e2e),
        "errors": sum(len(one["errors"]) for one in rounds),
        "first_error": next((error for one in rounds for error in one["errors"]), None),
        "tokens_per_request": round(statistics.mean(one["tokens_per_request"] for one in rounds), 1),
    }


def table(results: dict[str, dict[str, Any]], clients: list[int]) -> list[str]:
    """Markdown: ratios first, then what they are made of."""
    lines = ["| clients | peer | our tokens/s over theirs | their e2e p99 over ours | their itl p99 over ours |"]
    lines.append("|--:|---|--:|--:|--:|")
    for count in clients:
        mine = results[OURS][str(count)]
        for name, found in results.items():
            theirs = found[str(count)]
            if name == OURS:
                continue
            cells = [ratio(mine["tokens_per_s"], theirs["tokens_per_s"])]
            cells += [ratio(theirs[key], mine[key]) for key in ("e2e_p99_ms", "itl_p99_ms")]
            lines.append(f"| {count} | {name} | {' | '.join(cells)} |")
    keys = ["tokens_per_s", "ttft_p50_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p99_ms", "e2e_p50_ms", "e2e_p99_ms"]
    keys += ["requests", "errors", "tokens_per_request"]
    lines += ["", f"| clients | server | {' | '.join(keys)} |", f"|--:|---|{'--:|' * len(keys)}"]
    for count in clients:
        for name, found in results.items():
            cells = ["-" if found[str(count)][key] is None else str(found[str(count)][key]) for key in keys]
            lines.append(f"| {count} | {name} | {' | '.join(cells)} |")
    return lines


def ratio(above: float | None, below: float | None) -> str:
    return "-" if not above or not below else f"{above / below:.2f}"


def compete(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start everyone, take turns, stop everyone."""
    work = make_work(arguments.model, arguments.prompt_tokens, arguments.output_tokens, arguments.seconds)
    slots, threads, venv = max(arguments.clients), arguments.threads, arguments.peers_venv
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scratch = Path(folder)
        model = scratch / "model"
        save_pretrained(quantized.load(arguments.model), model, arguments.model)
        contenders = list(ours(stack, model, arguments, slots, scratch))
        if venv is not None:
            contenders += llama(stack, venv, model, threads, slots, scratch)
            if not arguments.llama_only:
                contenders += transformers(stack, venv, model, threads, scratch)
        rounds: dict[str, dict[str, list]] = {c.name: {str(n): [] for n in arguments.clients} for c in contenders}
        loads = []
        for turn in range(arguments.rounds):
            for count in arguments.clients:
                for contender in contenders:
                    loads.append(psutil.getloadavg()[0])
                    with alone(contender, contenders):
                        if contender.url is None:
                            found = measure_process(contender, work, count)
                        else:
                            found = asyncio.run(measure_http(contender, work, count, turn))
                    rounds[contender.name][str(count)].append(found)
                    print(
                        f"{turn} {count:3} {contender.name:45} {found['tokens_per_s']:9.1f} tokens/s", file=sys.stderr
                    )
        versions = {contender.name: contender.version for contender in contenders}
    results = {name: {count: pool(found) for count, found in by.items()} for name, by in rounds.items()}
    return record(arguments, versions, {"median": statistics.median(loads), "max": max(loads)}, results)


def record(arguments: argparse.Namespace, versions: dict, load: dict, results: dict) -> dict[str, Any]:
    """The results with their circumstances. Folders are named, not located: where they lie says nothing."""
    raw = json.loads((arguments.model / "config.json").read_text())
    shape = (
        "model_type",
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    told = circumstances("benchmarks.serving", "starlette", "uvicorn")
    told["command"] = " ".join(Path(word).name if "/" in word else word for word in told["command"].split())
    return told | {
        "load_average": load,
        "threads": arguments.threads,
        "work": {"prompt_tokens": arguments.prompt_tokens, "output_tokens": arguments.output_tokens},
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "model": {key: raw[key] for key in (*shape, "head_dim", "intermediate_size", "max_position_embeddings")},
        "contenders": versions,
        "results": results,
    }


def markdown(found: dict[str, Any], clients: list[int]) -> str:
    """The record for people."""
    head = [f"# Serving, {found['date']}", "", f"`{found['command']}`", ""]
    skip = ("date", "command", "results")
    head += [f"- {key}: {json.dumps(value)}" for key, value in found.items() if key not in skip]
    return "\n".join([*head, "", *table(found["results"], clients)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--peers-venv", type=Path)
    parser.add_argument("--engine", choices=["packed", "llama.cpp"], default="packed", help="the one that is judged")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--llama-only", action="store_true", help="leave the other peers out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = compete(arguments)
    text = markdown(found, arguments.clients)
    write(f"serving-{found['date']}", found, text)
    print(json.dumps(found) if arguments.json else text)


if __name__ == "__main__":
    main()
