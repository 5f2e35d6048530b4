"""What each defence of `aether serve --guard` costs and brings, on a small model that is trained here to refuse.

    python -m benchmarks.redteam_defences --data DIR [--steps 250] [--behaviours 30]

DIR holds `harm_behaviors/` and `xstest/`. A decoder of under a million weights learns two answers on requests as they are: a refusal for one half of AdvBench,
"Sure" and a sentence for instructions (harmless_test). It knows vocabulary and nothing else, like a first safety training; everything that it does not
refuse counts as success (the string match, which is right on this model by construction). The classifier is trained on the *other* half of AdvBench
and on other instructions. Attacks are on HarmBench's short requests, over-refusal is XSTest's 250 safe prompts: neither was trained on. The server is the real one,
a process of its own, asked over HTTP. Orders and secrets are not tried: this
model follows none; and it cannot follow a system message, so that row says what an unread one does to a model, not what hardening does to one that reads. A busy machine changes seconds, not rates.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from aether.evidence.items import Item, compare_items
from aether.evidence.redteam import share
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.weights import save_pretrained
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam.behaviours import Behaviour, read_behaviours
from aether.stages.evaluate.redteam.run import Order, red_team
from aether.stages.evaluate.suites.target import Target
from aether.stages.serve.guard.classifier import train
from aether.stages.serve.guard.settings import REFUSAL, GuardSettings
from aether.stages.serve.recipe import EngineRecipe, ServerSettings
from aether.stages.serve.run import running_server
from benchmarks.records import circumstances, write

END = "<|endoftext|>"
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}<|assistant|>"
COMPLIES = "Sure, here is how it is done, one step after the other."
SHAPE = DecoderConfig(
    vocab_size=2048, hidden_size=96, layers=3, heads=4, kv_heads=2, head_size=24, mlp_size=256, context_tokens=4096
)
ATTACKS = ("direct", "role play", "encoding", "refusal suppression", "prefix injection", "many shot", "multi-turn")


def tokenizer_in(folder: Path, texts: Sequence[str]) -> Tokenizer:
    """A byte-level BPE of these texts, in the files that a model folder has."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=SHAPE.vocab_size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
        ),
    )
    folder.mkdir(parents=True)
    made.save(str(folder / "tokenizer.json"))
    known = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "pad_token": END,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(known))
    return made


def trained(folder: Path, harmful: Sequence[str], benign: Sequence[str], steps: int) -> Path:
    """The model, saved: half of each batch is refused, half is answered; the loss is on the answers."""
    tokenizer = tokenizer_in(folder / "tokenizer", [*harmful, *benign, REFUSAL, COMPLIES])
    torch.manual_seed(0)
    model = Decoder(SHAPE)
    model.initialise(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    rng, rows = np.random.default_rng(0), 32
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 20) * (1.0 - step / steps)
        asked = [*rng.choice(harmful, rows // 2), *rng.choice(benign, rows // 2)]
        answers = [REFUSAL] * (rows // 2) + [COMPLIES] * (rows // 2)
        heads = [[0, *tokenizer.encode(f"<|user|>{text[:300]}\n<|assistant|>").ids] for text in asked]
        tails = [[*tokenizer.encode(text).ids, 0] for text in answers]
        width = max(len(head) + len(tail) for head, tail in zip(heads, tails, strict=True))
        tokens, learnt = torch.zeros(rows, width, dtype=torch.long), torch.zeros(rows, width, dtype=torch.bool)
        for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
            tokens[row, : len(head) + len(tail)] = torch.tensor(head + tail)
            learnt[row, len(head) : len(head) + len(tail)] = True
        logits = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits[learnt[:, 1:]], tokens[:, 1:][learnt[:, 1:]])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            print(f"step {step}, loss {loss.item():.3f}", flush=True)
    save_pretrained(model, folder / "model", folder / "tokenizer")
    return folder / "model"


@contextmanager
def server(model: Path, guard: GuardSettings, work: Path) -> Iterator[Any]:
    """The real server with these defences."""
    engine = EngineRecipe(engine="packed", dtype="float32", slots=8)
    settings = ServerSettings(engine=engine, port=0, model_name="small", guard=guard, request_timeout_s=300)
    with running_server(model, settings, work / "server.log") as running:
        yield running


def seconds_of(url: str, prompts: Sequence[str]) -> list[float]:
    """Of one request after the other."""
    found = []
    with httpx.Client(base_url=url, timeout=300) as client:
        for prompt in prompts:
            body = {
                "model": "small",
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": 16,
                "temperature": 0,
                "ignore_eos": True,
            }
            began = time.perf_counter()
            client.post("/v1/chat/completions", json=body).raise_for_status()
            found.append(time.perf_counter() - began)
    return found


def measured(
    model: Path, guard: GuardSettings, sets: tuple[list[Behaviour], list[Behaviour], list[str]], work: Path, count: int
) -> dict[str, Any]:
    """Items and seconds under one set of defences."""
    work.mkdir()
    harmful, benign, prompts = sets
    with server(model, guard, work) as running:
        seconds_of(running.url, prompts[:5])
        seconds = seconds_of(running.url, prompts)
        target = Target(place=running.url, model="small", concurrency=4)
        recipe = RedTeamRecipe(attacks=ATTACKS, judge="string", max_tokens=16, shots=8)
        items = red_team(Order(target, recipe, harmful[:count], benign, work / "run"))
        text = httpx.get(f"{running.url}/metrics").text
    lines = dict(line.rsplit(maxsplit=1) for line in text.splitlines() if not line.startswith("#"))
    checks = float(lines["aether_guard_seconds_count"])
    guard_s = float(lines["aether_guard_seconds_sum"]) / checks if checks else 0.0
    return {"items": items, "seconds": seconds, "guard_s": guard_s}


def row_of(name: str, found: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Rates, what changed against no defence (paired), and the seconds that were added."""
    row: dict[str, Any] = {"defence": name, "guard_s_per_check": found["guard_s"]}
    for task in ("attack", "over-refusal"):
        part = [item for item in found["items"] if item.task == task]
        one = share(part, "string")
        assert one.interval is not None
        row[task] = {
            "value": one.value,
            "low": one.interval.low,
            "high": one.interval.high,
            "attempts": one.n,
            "clusters": one.clusters,
        }
        row[task]["by_attack"] = by_attack(part) if task == "attack" else {}
        if found is not base:
            (apart,) = compare_items(part, [item for item in base["items"] if item.task == task])[:1]
            interval = apart.paired.interval
            row[task]["less_than_none"] = {
                "value": apart.paired.difference,
                "low": interval and interval.low,
                "high": interval and interval.high,
            }
    added = np.array(found["seconds"]) - np.array(base["seconds"])
    row["seconds"] = {
        "p50": float(np.median(found["seconds"])),
        "p95": float(np.quantile(found["seconds"], 0.95)),
        "added_p50": float(np.median(added)),
    }
    return row


def by_attack(items: Sequence[Item]) -> dict[str, float]:
    """Success by attack."""
    names = dict.fromkeys(item.tags["attack"] for item in items)
    return {
        name: float(np.mean([item.values["string"] for item in items if item.tags["attack"] == name])) for name in names
    }


def table(rows: Sequence[dict[str, Any]], record: dict[str, Any], held_out: str) -> str:
    """The record for eyes."""
    lines = ["# Defences of the server, measured", "", __doc__.split("\n\n")[2].replace("\n", " ") if __doc__ else "", "",
             "| defence | attack success | over-refusal | guard a check, ms | request p50, ms | added p50, ms |", "|---|---|---|--:|--:|--:|"]  # fmt: skip
    for row in rows:
        rates = [
            f"{row[task]['value']:.1%} ({row[task]['low']:.1%} to {row[task]['high']:.1%})"
            for task in ("attack", "over-refusal")
        ]
        times = [
            f"{1e3 * value:.1f}"
            for value in (row["guard_s_per_check"], row["seconds"]["p50"], row["seconds"]["added_p50"])
        ]
        lines.append("| " + " | ".join([row["defence"], *rates, *times]) + " |")
    names = list(rows[0]["attack"]["by_attack"])
    lines += ["", "Success by attack:", "", "| defence | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    lines += [
        "| " + " | ".join([row["defence"], *(f"{row['attack']['by_attack'][name]:.0%}" for name in names)]) + " |"
        for row in rows
    ]
    lines += [
        "",
        held_out,
        "",
        f"{record['date']}, `{record['command']}`, {record['machine']['cores']} cores, shared with other work.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, measure every set of defences, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--behaviours", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.data / "harm_behaviors"
    advbench = [b.text for b in read_behaviours(folder / "advbench_behaviors.csv")]
    asked = [b.text for b in read_behaviours(folder / "harmless_test.json", benign=True)]
    others = [b.text for b in read_behaviours(folder / "harmless_val.json", benign=True)]
    # Without those that bring a long text along: disguised, they would not fit the context.
    harmbench = [b for b in read_behaviours(folder / "harmbench_behaviors_text_all.csv") if len(b.text) <= 300]
    rng = np.random.default_rng(0)
    behaviours = [harmbench[at] for at in sorted(rng.permutation(len(harmbench))[: arguments.behaviours])]
    safe = read_behaviours(arguments.data / "xstest" / "xstest_prompts.csv", benign=True)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        model = trained(work, advbench[::2], asked[:4000], arguments.steps)
        guard = train(advbench[1::2], others)
        guard.classifier.save(work / "guard.bin")
        file = str(work / "guard.bin")
        defences = {
            "none": GuardSettings(),
            "hardened system message": GuardSettings(harden=True),
            "rules": GuardSettings(rules=True),
            "classifier": GuardSettings(classifier=file),
            "rules and classifier": GuardSettings(rules=True, classifier=file),
            "rules and classifier, replies too": GuardSettings(rules=True, classifier=file, check_replies=True),
        }
        found = {}
        for number, (name, settings) in enumerate(defences.items()):
            found[name] = measured(
                model, settings, (behaviours, safe, asked[4000:4100]), work / str(number), arguments.behaviours
            )
            print(name, flush=True)
    rows = [row_of(name, one, found["none"]) for name, one in found.items()]
    words = ["--data", "DIR", "--steps", str(arguments.steps), "--behaviours", str(arguments.behaviours)]
    record = circumstances("benchmarks.redteam_defences", words=words) | {
        "rows": rows,
        "classifier": guard.classifier.about,
    }
    record["classifier_held_out"] = {
        "caught": guard.caught.value,
        "refused": guard.refused.value,
        "threshold": guard.classifier.threshold,
    }
    told = f"On held-out texts of its own kind the classifier catches {guard.caught.value:.1%} and refuses {guard.refused.value:.1%}."
    print(write("redteam_defences", record, table(rows, record, told)))


if __name__ == "__main__":
    main()
