"""A context made four times as long: nothing, position interpolation, NTK-aware scaling and YaRN, before further training and after it.

    python -m benchmarks.length_extension --trainings FILE [--seconds 540] [--tasks recall text]

Two tasks, three seeds: `recall` (a needle that must be found; `recall.py`) and `text` (bytes of the standard library). One decoder of each is trained on short
windows; each kind of scaling is set on its weights, read on windows of 1, 2 and 4 times that length, trained on alike for a few updates on the longest, and
read again. `none` is the control: the same tokens of further training without any scaling. FILE keeps what is finished.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aether.models.decoder import Decoder
from aether.spec.run import StepContext
from aether.stages.train.loop import Batches, Loop, new_state
from aether.stages.train.recipe import TrainRecipe
from benchmarks import recall
from benchmarks.kept import Kept, MoreToDoError, parser_of_pieces
from benchmarks.records import circumstances, mean_interval, write
from benchmarks.stdlib_bytes import Windows, read

SHORT, TIMES, SEEDS = 128, 4, (0, 1, 2)
LENGTHS, DEPTHS = (128, 256, 512), (0.1, 0.5, 0.9)
KINDS = ("none", "linear", "ntk", "yarn")
SHAPES = {
    "recall": {"vocab_size": recall.VOCABULARY, "hidden_size": 64, "heads": 2, "kv_heads": 2, "mlp_size": 128},
    "text": {"vocab_size": 256, "hidden_size": 128, "heads": 4, "kv_heads": 4, "mlp_size": 256},
}
LAYERS, HEAD = 2, 32
UPDATES, BATCH = {"recall": 300, "text": 300}, 8
FURTHER_UPDATES, FURTHER_BATCH, FURTHER_RATES = 40, 4, {"muon_lr": 0.003, "embedding_lr": 0.003, "gain_lr": 0.003}
NEEDLES, TEXTS = 100, 64


def recipe_of(task: str, kind: str, context: int, further: bool) -> TrainRecipe:
    """The short training, or the further one. Linear scaling by 1 is none."""
    scaling = {"kind": "linear", "factor": 1.0, "original_context_tokens": context}
    if kind != "none":
        scaling = {"kind": kind, "factor": TIMES, "original_context_tokens": SHORT}
    model = SHAPES[task] | {"layers": LAYERS, "head_size": HEAD, "context_tokens": context, "rope_scaling": scaling}
    schedule = {"kind": "linear", "warmup_fraction": 0.1} if further else {}
    return TrainRecipe.model_validate(
        {
            "model": model,
            "steps": FURTHER_UPDATES if further else UPDATES[task],
            "batch_sequences": FURTHER_BATCH if further else BATCH,
            "precision": "float32",
            "schedule": schedule,
            "optimiser": FURTHER_RATES if further else {"muon_lr": 0.02},
            "watch": {"cost_share": 0.0},
        }
    )


def data_of(task: str, context: int, seed: int) -> Batches:
    """Windows to train on."""
    return recall.Recall(context, seed) if task == "recall" else Windows(read(held_out=False), context, seed)


def trained(recipe: TrainRecipe, data: Batches, seed: int, start: Decoder | None = None) -> tuple[Decoder, Decoder]:
    """(the model before its first update, after the last)."""
    state = new_state(recipe, seed)
    if start is not None:
        state.model.load_state_dict(start.state_dict())
    before = new_state(recipe, seed).model
    before.load_state_dict(state.model.state_dict())
    with tempfile.TemporaryDirectory() as out:
        Loop(recipe, state, data, StepContext("train", Path(out), {}, seed, 1, lambda progress: None)).run("benchmark")
    return before.eval(), state.model.eval()


@torch.inference_mode()
def nats_of(model: Decoder, tokens_BT: torch.Tensor) -> np.ndarray:
    """[B, T - 1] of every symbol after the first."""
    found = []
    for part in tokens_BT.split(16):
        logits = model(part[:, :-1]).float()
        found.append(torch.nn.functional.cross_entropy(logits.mT, part[:, 1:], reduction="none"))
    return torch.cat(found).numpy()


def places() -> list[tuple[int, int]]:
    """Stretches of a long window."""
    return list(zip((0, *LENGTHS[:-1]), LENGTHS, strict=True))


def text_read(model: Decoder) -> dict[str, Any]:
    """Nats per byte by the place in held-out windows of the longest length."""
    tokens, _ = Windows(read(held_out=True), LENGTHS[-1], seed=1).batch(0, TEXTS)
    nats = nats_of(model, torch.from_numpy(tokens))
    return {f"{a}-{b}": float(nats[:, a:b].mean()) for a, b in places()}


@torch.inference_mode()
def recall_read(model: Decoder) -> dict[str, Any]:
    """Nats per value that was said before, by place; share of needles that are found, by length and depth."""
    tokens, _ = recall.Recall(LENGTHS[-1], seed=999).batch(0, TEXTS)
    nats, marks = nats_of(model, torch.from_numpy(tokens)), recall.repeated(tokens)[:, 1:]
    found = {f"{a}-{b}": float(nats[:, a:b][marks[:, a:b]].mean()) for a, b in places()}
    needles = {}
    for length in LENGTHS:
        for depth in DEPTHS:
            asked = torch.from_numpy(recall.questions(length, depth, NEEDLES, seed=7))
            said = torch.cat([model(part[:, :-1])[:, -1].argmax(-1) for part in asked.split(20)])
            needles[f"{length} at {depth:g}"] = float((said == asked[:, -1]).float().mean())
    return found | {"needles": needles}


def made(task: str, seed: int) -> dict[str, Any]:
    """One short training, and what every kind makes of it."""
    reads = recall_read if task == "recall" else text_read
    _, base = trained(recipe_of(task, "none", SHORT, further=False), data_of(task, SHORT, seed), seed)
    found: dict[str, Any] = {}
    for kind in KINDS:
        recipe = recipe_of(task, kind, LENGTHS[-1], further=True)
        before, after = trained(recipe, data_of(task, LENGTHS[-1], seed + 1000), seed, start=base)
        found[kind] = {"before": reads(before), "after": reads(after)}
    return found


def summary(answers: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each kind, before and after: losses by place with their difference from `none`, and needles."""
    rows = []
    for when in ("before", "after"):
        for kind in KINDS:
            mine, none = ([one[k][when] for one in answers.values()] for k in (kind, "none"))
            row: dict[str, Any] = {"kind": kind, "when": when, "losses": {}, "less_none": {}, "needles": {}}
            for a, b in places():
                name = f"{a}-{b}"
                row["losses"][name] = mean_interval([one[name] for one in mine])
                row["less_none"][name] = mean_interval([x[name] - y[name] for x, y in zip(mine, none, strict=True)])
            for name in mine[0].get("needles", {}):
                row["needles"][name] = mean_interval([one["needles"][name] for one in mine])
            rows.append(row)
    return rows


_TOLD = {"none": "none (control)", "linear": "position interpolation", "ntk": "NTK-aware", "yarn": "YaRN"}
_TITLES = {
    "recall": ("Recall: nats per value that was said before, by place", "exp(nats) is perplexity"),
    "text": ("Text: nats per byte, by place", "exp(nats) is perplexity"),
}


def markdown(task: str, rows: list[dict[str, Any]]) -> str:
    """Losses, differences from the control and, for recall, needles."""
    names = [f"{a}-{b}" for a, b in places()]
    title, note = _TITLES[task]
    lines = [
        "",
        f"## {title}",
        "",
        f"95 % over seeds, {note}; in brackets less the control at the same moment, paired by seed.",
        "",
    ]
    lines += ["| further training | scaling | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for row in rows:
        cells = []
        for name in names:
            less = row["less_none"][name]
            cell = f"{row['losses'][name]['mean']:.3f}"
            if row["kind"] != "none":
                cell += f" ({less['mean']:+.3f}: {less['low']:+.3f} to {less['high']:+.3f})"
            cells.append(cell)
        lines.append(f"| {row['when']} | {_TOLD[row['kind']]} | {' | '.join(cells)} |")
    if rows[0]["needles"]:
        found = list(rows[0]["needles"])
        lines += [
            "",
            f"Needles found, of {NEEDLES} for each seed, by length and depth (a guess among a name's values: {1 / recall.VALUES:.2f}), mean over seeds:",
            "",
        ]
        lines += ["| further training | scaling | " + " | ".join(found) + " |", "|---|---|" + "---|" * len(found)]
        for row in rows:
            cells = (f"{row['needles'][name]['mean']:.2f}" for name in found)
            lines.append(f"| {row['when']} | {_TOLD[row['kind']]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def record_it(task: str, rows: list[dict[str, Any]]) -> None:
    """Write the record of a task."""
    here = circumstances("benchmarks.length_extension", words=["--trainings", "FILE", "--tasks", task])
    head = f"""# A context of {SHORT} made {TIMES} times as long

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`

{LAYERS} layers of {SHAPES[task]["hidden_size"]}, heads of {HEAD}, float32, {UPDATES[task]} updates of {BATCH} windows of {SHORT} by Muon;
further training: {FURTHER_UPDATES} updates of {FURTHER_BATCH} windows of {LENGTHS[-1]}, alike for every kind. {len(SEEDS)} seeds.
"""
    record = here | {"shape": SHAPES[task], "updates": UPDATES[task], "further_updates": FURTHER_UPDATES, "rows": rows}
    write(f"length_extension_{task}", record, head + markdown(task, rows))


def main() -> None:
    """Train what is missing; record each task when all of it is there."""
    parser = parser_of_pieces()
    parser.add_argument("--tasks", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = Kept(options.trainings, options.seconds)
    try:
        for task in options.tasks:
            asked = {seed: {"task": task, "seed": seed} for seed in SEEDS}
            record_it(task, summary({seed: kept.of(one, lambda one=one: made(**one)) for seed, one in asked.items()}))
    except MoreToDoError:
        sys.exit("more to do: the same command again")


if __name__ == "__main__":
    main()
