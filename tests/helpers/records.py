"""A whole made-up run: brief, plan, records with files on disk, ledger, verdicts. For tests of everything that reads records.

`run_facts(folder)` writes the files that the records list, so that hashes agree. Every number is invented.
"""

import json
import math
from pathlib import Path

from aether.evidence.hashing import artefacts_of, hash_artefacts, hash_value
from aether.evidence.ledger import Ledger
from aether.evidence.verdicts import judge, predictions
from aether.report.sources import RunFacts
from aether.spec.brief import Brief
from aether.spec.evidence import Evidence, Interval, Provenance, StepRecord
from aether.spec.plan import Estimate, Option, Plan
from aether.spec.recipe import Recipe, Step
from aether.spec.run import RunManifest

PROVENANCE = Provenance(
    aether_version="0.1.0",
    commit="3f2a9c41b7d05e6688aa10c2f4b19d7e5c3a2b10",
    dirty=True,
    python="3.11.7",
    platform="Linux-6.1.0-x86_64-with-glibc2.36",
    cpu="Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
    cores=2,
    memory_bytes=24_964_493_312,
    accelerator=None,
    packages_sha256=hash_value("packages"),
    command=("aether", "build", "recipes/code/python-autocomplete"),
)

TRAIN_CONFIG = {
    "model": {
        "vocab_size": 4096,
        "hidden_size": 192,
        "layers": 4,
        "heads": 6,
        "kv_heads": 2,
        "head_size": 32,
        "mlp_size": 512,
    },
    "context_tokens": 256,
    "batch_tokens": 8192,
    "steps": 620,
    "optimiser": {"muon_learning_rate": 0.02, "adamw_learning_rate": 0.003, "betas": [0.9, 0.95], "weight_decay": 0.1},
    "schedule": {"warmup_steps": 31, "decay_fraction": 0.3},
    "clip_norm": 1.0,
    "precision": "bfloat16",
    "compile": False,
}


def brief(**changes) -> Brief:
    targets = (
        "bits_per_byte <= 1.9 bit/byte",
        "line_accuracy >= 12 %",
        "ttft_p99 <= 250 ms",
        "throughput >= 200 tokens/s",
        "size_on_disk <= 8 MB",
        "build_time <= 10 min",
        "serving_memory <= 600 MB",
    )
    fields = {
        "name": "python-autocomplete",
        "intended_use": "Complete Python code in an editor, offline, on a laptop's processor",
        "modality": "code",
        "data": {"sources": "python:stdlib", "out_of_distribution": "python:package/pip"},
        "hardware": {"name": "this-machine"},
        "targets": targets,
    }
    return Brief.model_validate(fields | changes)


def number(
    evidence_id: str, value: float, unit: str, within: float | None = None, n: int | None = None, **more
) -> Evidence:
    """Evidence with a symmetric interval of half width `within`."""
    step, _, rest = evidence_id.partition(".")
    metric = rest.split(".", 1)[0]
    interval = None
    if within is not None:
        interval = Interval(
            low=value - within, high=value + within, method=more.pop("method", "cluster-robust ratio, t")
        )
    fields = {"kind": "measured", "source": f"aether {step} on the made-up machine", "seed": 0} | more
    return Evidence(id=evidence_id, metric=metric, value=value, unit=unit, interval=interval, n=n, **fields)


def evidence() -> dict[str, tuple[Evidence, ...]]:
    """Step -> what it measured."""
    machine = {"repeats": "machine"}
    ordered = machine | {"method": "order statistics"}
    return {
        "probe": (
            number("probe.matmul_flops_per_s.bfloat16", 2.31e11, "FLOP/s", 6e9, 12, **machine),
            number("probe.memory_bandwidth_bytes_per_s", 1.27e10, "byte/s", 4e8, 12, **machine),
        ),
        "data": (
            number("data.documents.train", 1499, "count"),
            number("data.documents.validation", 84, "count"),
            number("data.documents.test", 117, "count"),
            number("data.documents.ood", 212, "count"),
            number("data.tokens.train", 6_812_345, "token"),
            number("data.tokens.validation", 411_020, "token"),
            number("data.tokens.test", 566_234, "token"),
            number("data.tokens.ood", 711_002, "token"),
            number("data.rejected.encoding", 3, "count"),
            number("data.rejected.generated", 41, "count"),
            number("data.rejected.near_duplicate", 66, "count"),
            number("data.bytes_per_token", 3.62, "byte/token"),
        ),
        "pilot-0": (
            number("pilot-0.parameters", 410_112, "count"),
            number("pilot-0.loss", 4.31, "nat/token", 0.05, 84),
        ),
        "pilot-1": (
            number("pilot-1.parameters", 921_600, "count"),
            number("pilot-1.loss", 4.02, "nat/token", 0.05, 84),
        ),
        "pilot-2": (
            number("pilot-2.parameters", 1_843_200, "count"),
            number("pilot-2.loss", 3.88, "nat/token", 0.05, 84),
        ),
        "train": (
            number("train.parameters", 2_483_904, "count"),
            number("train.loss", 3.207, "nat/token", 0.041, 84),
            number("train.bits_per_byte", 1.278, "bit/byte", 0.017, 84),
            number("train.tokens", 5_079_040, "token"),
            number("train.tokens_per_s", 21_870.0, "token/s", **machine),
            number("train.training_memory", 9.31e8, "byte", **machine),
        ),
        "compress": (
            number("compress.size_on_disk", 3.41e6, "byte"),
            number("compress.size_on_disk.float32", 9.94e6, "byte"),
            number("compress.size_on_disk.int8", 3.41e6, "byte"),
            number("compress.size_on_disk.int4", 2.02e6, "byte"),
            number("compress.bits_per_byte.float32", 1.278, "bit/byte", 0.017, 84),
            number("compress.bits_per_byte.int8", 1.281, "bit/byte", 0.017, 84),
            number("compress.bits_per_byte.int4", 1.334, "bit/byte", 0.019, 84),
            number("compress.quality_loss.int8", 0.0023, "fraction", 0.0011, 84),
            number("compress.quality_loss.int4", 0.0438, "fraction", 0.0042, 84),
        ),
        "evaluate": (
            number("evaluate.bits_per_byte", 1.304, "bit/byte", 0.031, 117),
            number("evaluate.next_token_accuracy", 0.412, "fraction", 0.012, 117),
            number("evaluate.line_accuracy", 0.118, "fraction", 0.021, 400),
            number("evaluate.parse_rate", 0.463, "fraction", 0.05, 200),
            number("evaluate.bits_per_byte.ood", 1.472, "bit/byte", 0.044, 212),
            number("evaluate.next_token_accuracy.ood", 0.371, "fraction", 0.017, 212),
            number("evaluate.bits_per_byte.xz", 1.93, "bit/byte", 0.06, 117),
            number("evaluate.bits_per_byte.zstd", 2.04, "bit/byte", 0.06, 117),
            number("evaluate.bits_per_byte.ngram5", 2.31, "bit/byte", 0.05, 117),
        ),
        "serve": (
            number("serve.ttft_p50", 0.0231, "s", 0.002, 60, **ordered),
            number("serve.ttft_p99", 0.271, "s", 0.019, 60, **ordered),
            number("serve.itl_p50", 0.0041, "s", 0.0003, 1860, **ordered),
            number("serve.itl_p99", 0.0192, "s", 0.003, 1860, **ordered),
            number("serve.e2e_p50", 0.161, "s", 0.012, 60, **ordered),
            number("serve.e2e_p99", 0.611, "s", 0.05, 60, **ordered),
            number("serve.throughput", 912.0, "token/s", 30.0, 60, **machine),
        ),
    }


CONFIGS = {"train": TRAIN_CONFIG, "data": {"vocab_size": 4096, "seed_split": 7}, "serve": {"slots": 16, "queue": 64}}
WALL_S = {"probe": 9.7, "data": 48.2, "train": 231.9, "compress": 17.1, "evaluate": 49.0, "serve": 44.4}


def write_files(step: str, folder: Path) -> None:
    """The files of a step that a report reads."""
    folder.mkdir(parents=True, exist_ok=True)
    if step == "train":
        rows = []
        for i in range(0, 621, 4):
            loss = 3.12 + 5.2 * math.exp(-i / 90) + 0.04 * math.sin(i * 1.7)
            rows.append({"step": i, "tokens": i * 8192, "loss": round(loss, 4)})
            if i % 60 == 0:
                rows.append({"step": i, "tokens": i * 8192, "validation_loss": round(loss + 0.06, 4)})
        (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model" / "model.safetensors").write_bytes(b"weights")
    if step == "serve":
        times = [0.018 + 0.0006 * i + 0.15 * (i / 60) ** 6 for i in range(60)]
        rows = [
            {
                "phase": "open",
                "index": i,
                "due_s": i / 2,
                "pieces_s": [i / 2 + t, i / 2 + t + 0.004],
                "ended_s": i / 2 + t + 0.13 + 0.002 * i,
                "error": None,
            }
            for i, t in enumerate(times)
        ]
        rows.append(rows[0] | {"index": 60, "pieces_s": [], "error": "timed out"})
        (folder / "requests.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    if step == "evaluate":
        rows = []
        for i in range(117):
            size = 2000 + 37 * i
            bits = size * (1.304 + 0.2 * math.sin(i))
            row = {"id": f"lib/{i % 23}/{i}.py", "group": f"lib/{i % 23}", "split": "test", "bits": bits, "bytes": size}
            rows.append(row | {"tokens": size // 4, "correct_top1": size // 10})
        (folder / "per_document.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def record(step: str, numbers: tuple[Evidence, ...], folder: Path, **changes) -> StepRecord:
    write_files(step, folder)
    artefacts = artefacts_of(folder)
    config = CONFIGS.get(step, {"kind": step})
    fields = {
        "step": step,
        "stage": "train" if step.startswith("pilot") else step,
        "fingerprint": hash_value([step, config]),
        "config": config,
        "inputs": {},
        "seed": 0,
        "threads": 2,
        "artefacts": artefacts,
        "output_sha256": hash_artefacts(artefacts),
        "evidence": numbers,
        "started_at": "2026-07-01T10:00:00+00:00",
        "wall_s": WALL_S.get(step, 23.5),
        "cpu_s": WALL_S.get(step, 23.5) * 1.8,
        "provenance": PROVENANCE,
    }
    return StepRecord.model_validate(fields | changes)


def estimate(metric: str, value: float, unit: str, share: float, binding: str | None = None) -> Estimate:
    interval = Interval(low=value * (1 - share), high=value * (1 + share), level=0.9, method="fit of the pilots")
    return Estimate(
        metric=metric,
        value=value,
        unit=unit,
        interval=interval,
        kind="computed",
        formula=f"law of {metric}",
        binding=binding,
    )


def option(name: str, summary: str, factor: float, refused: str | None = None) -> Option:
    estimates = (
        estimate("bits_per_byte", 1.33 / factor**0.1, "bit/byte", 0.05, "training tokens"),
        estimate("ttft_p99", 0.16 * factor, "s", 0.3, "processor"),
        estimate("throughput", 900 / factor, "token/s", 0.3, "memory bandwidth"),
        estimate("serving_memory", 4.1e8, "byte", 0.1),
        estimate("training_memory", 9e8 * factor, "byte", 0.1),
        estimate("size_on_disk", 3.4e6 * factor, "byte", 0.02),
        estimate("build_time", 460 * factor, "s", 0.08, "training FLOPs"),
        estimate("loss", 3.26 / factor**0.1, "nat/token", 0.04),
    )
    steps = (Step(name="data", stage="data", config={}), Step(name="train", stage="train", config=TRAIN_CONFIG))
    return Option(
        name=name,
        summary=summary,
        recipe=Recipe(name=name, steps=steps),
        estimates=estimates,
        refused_because=refused,
    )


def plan() -> Plan:
    return Plan(
        options=(
            option("balanced", "the size that the pilots' curve puts lowest within the time", 1.0),
            option("small", "faster to serve, weaker", 0.5),
            option("large", "stronger, were there more time", 2.0, "it needs 15.3 min against a bound of 10 min"),
        ),
        decided="balanced",
        because="It is predicted to reach 1.33 bit/byte in 460 s, inside the bound of 10 min, with p99 at 160 ms.",
        would_change=("A bound on build_time above 15.3 min would make the large option the better one.",),
    )


def run_facts(folder: Path, **changes) -> RunFacts:
    """The facts of a finished made-up run whose files lie in `folder`."""
    asked, decided = changes.pop("brief", brief()), changes.pop("plan", plan())
    folders = {step: folder / step for step in evidence()}
    records = {step: record(step, numbers, folders[step]) for step, numbers in evidence().items()}
    of_the_run = (
        *predictions(decided),
        number("run.build_time", 498.0, "s", repeats="machine", source="wall clock of the build, all sessions"),
    )
    ledger = Ledger.of(records, of_the_run)
    manifest = RunManifest(
        name="python-autocomplete",
        brief=asked,
        command=PROVENANCE.command,
        created_at="2026-07-01T10:00:00+00:00",
        steps={step: step for step in records},
        status="done",
    )
    facts = {
        "manifest": manifest,
        "plan": decided,
        "records": records,
        "verdicts": judge(asked, ledger),
        "ledger": ledger,
        "folders": folders,
    }
    return RunFacts(**(facts | changes))
