"""The serving simulator against Aether's own server on this machine, over a sweep of loads it has not seen.

    python -m benchmarks.simulator_accuracy [--shares 0.2 0.4 0.6 0.75] [--rounds 12] [--seconds 15] [--threads 1] [--json]

A decoder with random weights is written and served. Then in every round: 1. `server_cost` asks the server in bursts and alone,
and writes down what its steps cost; closed loops of requests of the same lengths tell what mixed traffic costs beside that.
2. The simulator predicts every load: Poisson arrivals at shares of the capacity that it predicted in the first round, with the
arrival times that the load generator will draw. 3. The loads are measured open loop. Nothing of step 3 goes back to step 2.
Predicted and measured times are pooled over the rounds: a rented machine's speed drifts by a third within minutes, and a cost
that was heard once says what the server was, not what it is when the loads come.

The bar: p50 and p99 of time to first token, between tokens and of the whole within 25 % of the measured. It wants a quiet
machine: what else runs is measured and not predicted. The record says the load average before and after.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aether.planning.serving.arrivals import Clients, Fixed, Trace, Traffic
from aether.planning.serving.simulator import Outcome, Pool, simulate
from aether.planning.serving.simulator_replica import EngineLimits
from aether.spec.brief import Load
from aether.stages.serve.loadtest import LoadPlan, arrivals_s, read_timings
from aether.stages.serve.packed_engine import ALONE_TOKENS
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import running_server
from aether.stages.serve.summary import Timing, latency
from benchmarks.records import circumstances, write
from benchmarks.server_cost import Asker, ServerCost, calibrate

BAR = 0.25
METRICS = ("ttft_p50", "ttft_p99", "itl_p50", "itl_p99", "e2e_p50", "e2e_p99")
LEAST_REQUESTS = 120
"""Of a load in a round (a choice): the 99th percentile of twelve rounds of 120 is the fourteenth largest."""
CROWD = (4, 8, 16, 32)
"""Clients of the closed loops that tell what mixed traffic costs beyond bursts."""


@dataclass(frozen=True)
class Work:
    """What every request of the sweep asks for."""

    prompt_tokens: int = 128
    output_tokens: int = 64
    slots: int = 32
    chunk_tokens: int = 128


def write_model(folder: Path) -> list[int]:
    """A decoder of some 5 M parameters with random weights. Returns the tokens it may say: those that are plain ASCII,
    so that every token is text of its own and becomes an event (the others' embeddings are zero)."""
    import sysconfig

    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from aether.models.config import DecoderConfig
    from aether.models.decoder import Decoder
    from aether.models.weights import save_pretrained
    from aether.stages.serve.detokenize import token_bytes

    config = DecoderConfig(
        vocab_size=2048, hidden_size=256, layers=6, heads=8, kv_heads=4, head_size=32, mlp_size=768, context_tokens=512
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet, end = pre_tokenizers.ByteLevel.alphabet(), "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size, special_tokens=[end], initial_alphabet=alphabet, show_progress=False
    )
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("a*.py"))]
    tokenizer.train_from_iterator(texts, trainer)
    table = folder / "tokenizer"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end)
    fast.save_pretrained(table)
    said = [i for i, raw in enumerate(token_bytes(tokenizer)) if i and raw and max(raw) < 128]
    model = Decoder(config)
    model.initialise(0, embedding_std=0.5, matrix_scale=1.7)
    with torch.no_grad():
        silent = torch.ones(config.vocab_size, dtype=torch.bool)
        silent[said] = False
        model.embedding[silent] = 0.0
    save_pretrained(model, folder / "model", table)
    return said


def pool(cost: ServerCost, work: Work) -> Pool:
    """The server as the simulator sees it."""
    alone = max(work.chunk_tokens, ALONE_TOKENS)
    return Pool(cost, EngineLimits(max_sequences=work.slots, step_tokens=alone, chunk_tokens=work.chunk_tokens))


def closed_per_s(cost: ServerCost, work: Work, clients: int, each: int) -> float:
    """Requests per second of a closed loop, as simulated."""
    prompt, output = Fixed(tokens=work.prompt_tokens), Fixed(tokens=work.output_tokens)
    load = Traffic(arrivals=Clients(clients=clients), prompt=prompt, output=output, requests=each * clients)
    found = simulate(pool(cost, work), load)
    return found.requests / found.end_s


def crowded(cost: ServerCost, asker: Asker, work: Work) -> ServerCost:
    """The cost with what closed loops of `work` show beyond the bursts. Open loops, which are predicted, are not asked."""
    ratios = []
    for clients in CROWD:
        each = max(6, 200 // clients)
        asked = asyncio.run(asker.rate_per_s(clients, work.prompt_tokens, work.output_tokens, each))
        ratios.append(closed_per_s(cost, work, clients, each) / asked)
    return replace(cost, crowd=tuple(map(float, CROWD)), crowded=tuple(ratios))


Samples = dict[str, np.ndarray]
"""Seconds: `ttft` and `e2e` of each request, `itl` of each gap between tokens."""


def predict(cost: ServerCost, load: Load, work: Work, seed: int) -> Samples:
    """The times of one load."""
    rows = tuple((at, load.prompt_tokens, load.output_tokens) for at in arrivals_s(load, seed))
    found: Outcome = simulate(pool(cost, work), Trace(rows=rows))
    return {
        "ttft": found.ttft_s + cost.front_s,
        "itl": np.concatenate(found.gaps_s),
        "e2e": found.e2e_s + cost.front_s,
    }


def quantiles(rounds: list[Samples]) -> dict[str, float]:
    """The metrics of one load, of all rounds together."""
    pooled = {kind: np.concatenate([one[kind] for one in rounds]) for kind in rounds[0]}
    return {
        f"{kind}_p{share}": float(np.quantile(values, share / 100))
        for kind, values in pooled.items()
        for share in (50, 99)
    }


@contextmanager
def generator(plan: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The load generator's process."""
    command = [sys.executable, "-m", "aether.stages.serve.loadtest", str(plan)]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(10)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def measure(url: str, model: str, load: Load, said: list[int], folder: Path, seed: int) -> list[Timing]:
    """One open-loop load test of the server."""
    random = np.random.default_rng(seed + 2)
    prompts = [{"id": str(i), "prompt": random.choice(said, load.prompt_tokens).tolist()} for i in range(load.requests)]
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")
    plan = LoadPlan(
        url=url, model=model, prompts_path=str(path), out=str(folder), load=load, saturation=None, seed=seed
    )
    (folder / "plan.json").write_text(plan.model_dump_json(), encoding="utf-8")
    log = folder / "loadtest.log"
    with generator(folder / "plan.json", log) as process:
        assert process.stdout is not None
        process.stdout.read()
        if process.wait() != 0:
            raise SystemExit(log.read_text(encoding="utf-8")[-500:])
    return read_timings(folder / "requests.jsonl")


def measured(timings: list[Timing]) -> dict[str, Any]:
    """The metrics of one load, of all rounds together."""
    report = latency(timings, 0.95, 0)
    found: dict[str, Any] = {name: report.metrics[name].value for name in METRICS}
    return found | {"errors": report.errors, "client_lag_p99_s": report.client_lag_p99_s}


def loads(most_per_s: float, arguments: argparse.Namespace, work: Work) -> list[Load]:
    """What is asked in every round, at shares of the predicted capacity."""
    rates = [share * most_per_s for share in arguments.shares]
    return [
        Load(
            requests_per_s=rate,
            prompt_tokens=work.prompt_tokens,
            output_tokens=work.output_tokens,
            requests=max(LEAST_REQUESTS, round(rate * arguments.seconds)),
        )
        for rate in rates
    ]


def sweep(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rounds of calibrating, predicting and measuring."""
    work = Work()
    guessed: list[list[Samples]] = [[] for _ in arguments.shares]
    timings: list[list[Timing]] = [[] for _ in arguments.shares]
    costs: list[ServerCost] = []
    asked: list[Load] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        said = write_model(folder)
        engine = EngineRecipe(engine="packed", slots=work.slots, chunk_tokens=work.chunk_tokens, dtype=arguments.dtype)
        settings = ServerSettings(engine=engine, port=0, threads=arguments.threads, model_name="model")
        with running_server(folder / "model", settings, folder / "server.log") as server:
            asker = Asker(server.url, server.model, said, np.random.default_rng(1))
            for turn in range(arguments.rounds):
                costs.append(crowded(calibrate(asker, work.slots), asker, work))
                asked = asked or loads(closed_per_s(costs[0], work, work.slots, 10), arguments, work)
                for index, load in enumerate(asked):
                    seed = turn * len(asked) + index
                    guessed[index].append(predict(costs[-1], load, work, seed))
                    timings[index] += measure(server.url, server.model, load, said, folder, seed)
    rows = [
        {"share": share, "load": load.model_dump(), "predicted": quantiles(guess), "measured": measured(real)}
        for share, load, guess, real in zip(arguments.shares, asked, guessed, timings, strict=True)
    ]
    return {"costs": [cost.as_data() for cost in costs], "rows": rows}


def markdown(found: dict[str, Any]) -> str:
    """Predicted over measured, then what it is made of."""
    lines = [f"# Simulator against server, {found['date']}", "", f"`{found['command']}`", ""]
    keys = ("machine", "packages", "threads", "dtype", "rounds", "load_average", "costs", "within")
    lines += [f"- {key}: {json.dumps(found[key])}" for key in keys]
    lines += ["", f"| share | requests/s | n | {' | '.join(METRICS)} | client lag p99 ms |"]
    lines.append(f"|--:|--:|--:|{'--:|' * len(METRICS)}--:|")
    for row in found["rows"]:
        cells = []
        for name in METRICS:
            guess, real = row["predicted"][name], row["measured"][name]
            cells.append(f"{guess / real:.2f} ({guess * 1e3:.1f} / {real * 1e3:.1f} ms)")
        load, lag = row["load"], row["measured"]["client_lag_p99_s"] * 1e3
        rate, count = load["requests_per_s"], load["requests"] * found["rounds"]
        lines.append(f"| {row['share']} | {rate:.1f} | {count} | {' | '.join(cells)} | {lag:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.75])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load in each round, at least")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--no-record", action="store_true", help="print only: a trial, not for the record")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    settings = {name: getattr(arguments, name) for name in ("threads", "dtype", "rounds")}
    found = circumstances("benchmarks.simulator_accuracy", "scipy") | settings | sweep(arguments)
    found["load_average"] = {"before": before, "after": os.getloadavg()[0]}
    ratios = [row["predicted"][name] / row["measured"][name] for row in found["rows"] for name in METRICS]
    close = sum(abs(ratio - 1.0) <= BAR for ratio in ratios)
    found["within"] = {"bar": BAR, "metrics": len(ratios), "within_bar": close}
    text = markdown(found)
    if not arguments.no_record:
        write(f"simulator-accuracy-{found['date']}", found, text)
    print(json.dumps(found) if arguments.json else text)


if __name__ == "__main__":
    main()
