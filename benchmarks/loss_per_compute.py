"""Bits per byte at equal CPU seconds: Aether's training against other trainers on the same windows and tokenizer.

    python -m venv PEERS && PEERS/bin/pip install torch==2.13.0 litgpt==0.5.13 ai2-olmo-core==3.0.0
    python -m benchmarks.loss_per_compute --data RUN/steps/data --peers-python PEERS/bin/python --work DIR

Peers: Hugging Face Trainer with GPT-2, Llama and Qwen3 configurations; litgpt's GPT as a Llama; OLMo-core's OLMo 2. Same width,
depth, vocabulary, window, tied embedding and shuffled windows for all; one thread and a process of its own for each training;
glibc keeps freed memory for all, as Aether's stage has it. Each peer is tuned first, at the full budget and on a seed that the
comparison does not use: its learning rate to an optimum inside the grid, in the batch that Llama does best with.
Aether's settings are chosen from `AETHER_GRID` on that seed, at `SHORT` of the budget.
Every side is charged by the processor's clock, and its schedule follows the share of the budget that is spent. Aether also
trains for `SHORT` of the budget: what it reaches there is measured, not interpolated. A training that DIR has is not made again,
so the whole may be made in pieces (`--minutes`; exit code 3 while some are left).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aether.models.corpus import choose_documents, read_split
from aether.models.packing import PackedTokens
from aether.stages.train.batches import ShuffledWindows
from benchmarks.equal_compute import Arm, Settings, Shape
from benchmarks.records import circumstances, mean_interval, write

SIZES = {
    "hidden_size": 128,
    "layers": 4,
    "heads": 2,
    "kv_heads": 2,
    "head_size": 64,
    "mlp_size": 352,
    "context_tokens": 256,
}
_RATES = {"muon_lr": 0.02, "embedding_lr": 0.06}
_SHORT_FIRST = {"phases": [{"steps_fraction": 0.5, "context_tokens": 64}]}
AETHER_GRID: tuple[dict[str, Any], ...] = (
    {"batch_sequences": 4, "optimiser": _RATES},
    *({"batch_sequences": size, "optimiser": _RATES, "mixture": _SHORT_FIRST} for size in (4, 6, 8, 12)),
    {"batch_sequences": 8, "optimiser": _RATES | {"muon_lr": 0.014}, "mixture": _SHORT_FIRST},
    {"batch_sequences": 8, "optimiser": _RATES | {"muon_lr": 0.03}, "mixture": _SHORT_FIRST},
)
TRAINER = ("llama", "qwen3", "gpt2")
OUTSIDE = ("litgpt", "olmo-core")
FIRST_RATES = (2e-3, 4e-3)
SHORT = 0.35
BATCHES = (2, 4, 8)
TUNING_SEED = 17
FIRST_SEED = 101
WINDOWS = 12_000
EVALUATED_BYTES = 150_000
KEEP_FREED = {"MMAP_THRESHOLD_": 1 << 25, "TRIM_THRESHOLD_": (1 << 31) - 1, "TOP_PAD_": 1 << 26}
"""glibc's environment variables (mallopt(3)), to what `aether.models.host.keep_freed_memory` sets."""


class Worker:
    """A process that makes trainings, one after another, each in a fork of it."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment()
        )
        self._read("ready")

    def _read(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"{self._process.args}: ended; what it wrote above says why")

    def train(self, arm: Arm) -> dict[str, Any]:
        """The result of one training."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(arm)) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read('{"cpu_s"'))


@dataclass(frozen=True)
class Bench:
    """Where trainings are made, and those that are finished."""

    data: Path
    work: Path
    peers_python: str
    budget_cpu_s: float
    until: float = float("inf")
    """On the clock of `time.monotonic`: no training starts after it."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)

    def prepare(self, seeds: Sequence[int]) -> None:
        """The windows of every seed and the held-out text, for sides that cannot read Aether's data."""
        self.work.mkdir(parents=True, exist_ok=True)
        described = json.loads((self.data / "data.json").read_text(encoding="utf-8"))
        shape = Shape(vocab_size=described["vocab_size"], **SIZES)
        (self.work / "shape.json").write_text(json.dumps(asdict(shape)), encoding="utf-8")
        for seed in seeds:
            path = self.work / f"windows-{seed}.npy"
            if not path.exists():
                windows = ShuffledWindows(PackedTokens(self.data / "train", shape.context_tokens, seed), seed)
                np.save(path, windows.batch(0, min(WINDOWS, windows.size))[0].astype(np.uint16))
        write_held_out(self.data, shape.context_tokens, self.work / "held-out.npz")
        if self._finished.exists():
            self.rows.extend(map(json.loads, self._finished.read_text(encoding="utf-8").splitlines()))

    @property
    def _finished(self) -> Path:
        return self.work / "finished.jsonl"

    def train(self, side: str, settings: dict[str, Any], seed: int, share: float = 1.0) -> dict[str, Any]:
        """The training of that side, made now or earlier."""
        arm = Arm(side, settings, self.budget_cpu_s * share, seed, str(self.work))
        told = {key: value for key, value in asdict(arm).items() if key != "work"}
        for row in list(self.rows):
            if row["arm"] == told:
                return row
        if time.monotonic() > self.until:
            sys.exit(3)
        row = {"arm": told, **self._worker(side).train(arm)}
        self.rows.append(row)
        with self._finished.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
        sys.stderr.write(f"{json.dumps(told)}: {row['bits_per_byte']:.4f} in {row['cpu_s']:.1f} s\n")
        return row

    def _worker(self, side: str) -> Worker:
        own = (sys.executable, "-m")
        commands = {"aether": (*own, "benchmarks.aether_training", str(self.data))}
        commands |= dict.fromkeys(TRAINER, (*own, "benchmarks.peers_training"))
        commands |= dict.fromkeys(OUTSIDE, (self.peers_python, "-m", "benchmarks.peers_outside"))
        name = commands[side][2]
        if name not in self.workers:
            self.workers[name] = Worker(*commands[side])
        return self.workers[name]

    def batch(self) -> int:
        """Llama's best of `BATCHES`: 4 windows with its tuned rate, the others with what the square root of the batch asks for."""
        four = self.tune("llama", 4)
        tried = [four | {"batch": size, "lr": four["lr"] * (size / 4) ** 0.5} for size in BATCHES]
        return min(tried, key=lambda one: self.train("llama", one, TUNING_SEED)["bits_per_byte"])["batch"]

    def tune(self, side: str, batch: int) -> dict[str, Any]:
        """The best learning rate by factors of two, with a worse one tried on each side of it."""

        def score(rate: float) -> float:
            return self.train(side, asdict(Settings(rate, batch)), TUNING_SEED)["bits_per_byte"]

        rates = {rate: score(rate) for rate in FIRST_RATES}
        while (best := min(rates, key=lambda rate: rates[rate])) in (min(rates), max(rates)):
            rate = best / 2 if best == min(rates) else best * 2
            rates[rate] = score(rate)
        return asdict(Settings(best, batch))

    def choose_aether(self) -> dict[str, Any]:
        """The best of `AETHER_GRID` at the short budget."""
        tried = [self.train("aether", settings, TUNING_SEED, SHORT) for settings in AETHER_GRID]
        return min(tried, key=lambda row: row["bits_per_byte"])["arm"]["settings"]


def environment() -> dict[str, str]:
    """One thread, and freed memory kept."""
    return {"OMP_NUM_THREADS": "1"} | {f"MALLOC_{name}": str(value) for name, value in KEEP_FREED.items()}


def write_held_out(data: Path, context_tokens: int, path: Path) -> None:
    """A fixed draw of validation documents as windows that never cross a document."""
    split = read_split(data, "validation")
    documents = choose_documents(split, EVALUATED_BYTES, 0)
    windows, lengths = [], []
    for ids in map(split.ids, documents):
        for start in range(0, len(ids) - 1, context_tokens):
            window = ids[start : start + context_tokens + 1]
            windows.append(np.pad(window, (0, context_tokens + 1 - len(window))))
            lengths.append(len(window) - 1)
    size_bytes = sum(document.size_bytes for document in documents)
    np.savez(path, windows=np.stack(windows).astype(np.uint16), lengths=np.array(lengths), size_bytes=size_bytes)


def compare(
    bench: Bench, own: dict[str, Any], tuned: dict[str, dict[str, Any]], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Every side and seed, by turns of the seeds; one row for each side and budget."""
    plan = [("aether", own, 1.0), ("aether", own, SHORT), *((side, tuned[side], 1.0) for side in tuned)]
    made = [[bench.train(side, settings, seed, share) for side, settings, share in plan] for seed in seeds]
    rows = []
    for (side, settings, share), runs in zip(plan, zip(*made, strict=True), strict=True):
        means = {key: mean_interval([run[key] for run in runs]) for key in ("bits_per_byte", "cpu_s", "tokens")}
        rows.append({"side": side, "settings": settings, "share": share, **means, "runs": list(runs)})
    return rows


def verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Aether against each peer: loss at the full budget, and at `SHORT` of it with the share of CPU seconds it took."""
    full, short = rows[:2]
    return [
        {
            "peer": row["side"],
            "bits_ratio": full["bits_per_byte"]["mean"] / row["bits_per_byte"]["mean"],
            "short_bits_ratio": short["bits_per_byte"]["mean"] / row["bits_per_byte"]["mean"],
            "short_compute": short["cpu_s"]["mean"] / row["cpu_s"]["mean"],
            "seeds_won": sum(
                a["bits_per_byte"] < b["bits_per_byte"] for a, b in zip(full["runs"], row["runs"], strict=True)
            ),
        }
        for row in rows[2:]
    ]


def markdown(record: dict[str, Any]) -> str:
    """The record for a person, ratios first."""
    around = record["circumstances"]
    lines = [
        "# Loss per compute",
        "",
        "Bits per byte of held-out text, Aether over the peer (below 1: Aether is ahead).",
        "",
    ]
    lines += ["| against | same CPU seconds | share of them | there | seeds ahead |", "|---|---|---|---|---|"]
    for row in record["verdicts"]:
        lines.append(
            f"| {row['peer']} | {row['bits_ratio']:.3f} | {row['short_compute']:.1%} | {row['short_bits_ratio']:.3f} "
            f"| {row['seeds_won']} of {around['seeds']} |"
        )
    lines += ["", "| side | CPU s | bit/byte, mean (95 % over seeds) | each seed | tokens | parameters |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in record["rows"]:
        bits, each = row["bits_per_byte"], ", ".join(f"{run['bits_per_byte']:.4f}" for run in row["runs"])
        between = f" ({bits['low']:.4f} to {bits['high']:.4f})" if "low" in bits else ""
        lines.append(
            f"| {row['side']} | {row['cpu_s']['mean']:.1f} | {bits['mean']:.4f}{between} | {each} "
            f"| {row['tokens']['mean']:,.0f} | {row['runs'][0]['parameters']:,} |"
        )
    lines += ["", f"Tuning, seed {TUNING_SEED}, which the comparison does not use:", ""]
    lines += ["| side | settings | CPU s | bit/byte |", "|---|---|---|---|"]
    for row in record["tuning"]:
        settings = ", ".join(f"{key} {value}" for key, value in row["arm"]["settings"].items())
        lines.append(f"| {row['arm']['side']} | {settings} | {row['cpu_s']:.1f} | {row['bits_per_byte']:.4f} |")
    versions = ", ".join(f"{name} {version}" for name, version in around["packages"].items())
    machine = around["machine"]
    lines += [
        "",
        f"{around['date']}, {machine['cpu']}, {machine['cores']} cores, one thread a training; `{around['command']}`.",
    ]
    return "\n".join([*lines, f"Versions: {versions}.", ""])


def versions_of(python: str, names: Sequence[str]) -> dict[str, str]:
    """The installed versions in another environment."""
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    found = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    return dict(zip(names, found.stdout.split(), strict=True))


def main() -> None:
    """Tune, compare, write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="output folder of a data step")
    parser.add_argument("--peers-python", required=True, help="interpreter of the peers' environment")
    parser.add_argument("--work", type=Path, required=True, help="folder of the windows and the finished trainings")
    parser.add_argument("--cpu-seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no training after them")
    parser.add_argument("--json", action="store_true", help="last line: the record's verdicts")
    given = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + given.seeds)
    until = time.monotonic() + 60 * given.minutes
    bench = Bench(given.data.resolve(), given.work.resolve(), given.peers_python, given.cpu_seconds, until)
    bench.prepare([*seeds, TUNING_SEED])
    batch = bench.batch()
    tuned = {side: bench.tune(side, batch) for side in (*TRAINER, *OUTSIDE)}
    rows = compare(bench, bench.choose_aether(), tuned, seeds)
    words = ["--data", "RUN/steps/data", "--peers-python", "PEERS/bin/python", "--work", "DIR"]
    words += ["--cpu-seconds", f"{given.cpu_seconds:g}", "--seeds", str(given.seeds)]
    around = circumstances("benchmarks.loss_per_compute", "transformers", "accelerate", "tokenizers", words=words)
    around["packages"] |= versions_of(given.peers_python, ("litgpt", "lightning", "ai2-olmo-core"))
    record = {
        "circumstances": around | {"seeds": given.seeds},
        "sizes": SIZES,
        "verdicts": verdicts(rows),
        "rows": rows,
        "tuning": [row for row in bench.rows if row["arm"]["seed"] == TUNING_SEED],
    }
    write("loss_per_compute", record, markdown(record))
    if given.json:
        print(json.dumps({"verdicts": record["verdicts"]}))


if __name__ == "__main__":
    main()
