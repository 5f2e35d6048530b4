"""Retrieval over a longer context, on a toy on which a small decoder learns it: YaRN against the same training without it.

    python -m benchmarks.long_context_retrieval --trainings FILE [--seconds 540]

Windows hold names, each followed by a value of two symbols, among filler; names that stood before are asked for again, and their value follows. A decoder
learns it over windows of `OLD` tokens, then is trained on for a few updates over windows of `NEW`, once under YaRN and once as it is. The needle check of the
stage `long-context` (`passkey.answer`: is the value said, is it the likeliest of five) asks all of them, and the first decoder turned on as it is, under position
interpolation, NTK and YaRN without training, by length and depth. Exact intervals over trials and seeds together.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aether.evidence.statistics import exact_proportion
from aether.models.decoder import Decoder
from aether.models.weights import model_of, to_qwen3
from aether.spec.run import StepContext
from aether.stages.long_context.passkey import Trial, answer
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.recipe import TrainRecipe
from benchmarks.kept import Kept, MoreToDoError
from benchmarks.records import circumstances, write

OLD, NEW, STEPS, MORE_STEPS, BATCH, SEEDS = 128, 512, 700, 40, 16, (0, 1, 2)
NAMES, SYMBOLS, FILLERS, GIVE, ASK = 32, 16, 8, 0, 1
"""Token ids: two marks, then names, symbols of values, filler."""
VOCABULARY = 2 + NAMES + SYMBOLS + FILLERS
SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "layers": 2, "heads": 2, "kv_heads": 2, "head_size": 32, "mlp_size": 128,
}  # fmt: skip
LENGTHS, DEPTHS, TRIALS, CHOICES = (128, 256, 512), (0.1, 0.5, 0.9), 30, 5
SCALINGS = {"interpolated": "linear", "ntk": "ntk", "yarn": "yarn"}


def filler(start: int, count: int) -> np.ndarray:
    """Counting tokens: nothing to learn in them beyond the first updates."""
    return 2 + NAMES + SYMBOLS + (start + np.arange(count)) % FILLERS


def value(rng: np.random.Generator) -> list[int]:
    """Two symbols."""
    return [int(one) for one in 2 + NAMES + rng.integers(SYMBOLS, size=2)]


class Recall:
    """Windows of names with values, and questions after them; a function of the seed and a window's number."""

    def __init__(self, context: int, seed: int) -> None:
        self.context, self.seed = context, seed

    def batch(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens [n, T + 1], document ids [n, T + 1])."""
        tokens = np.stack([self._window(index) for index in range(first, first + count)])
        return tokens, np.zeros_like(tokens)

    def _window(self, index: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, index))
        names = [int(one) for one in 2 + rng.permutation(NAMES)]
        known: dict[int, list[int]] = {}
        found: list[int] = []
        while len(found) <= self.context:
            if names and (not known or rng.random() < len(names) / NAMES * 0.5):
                name = names.pop()
                known[name] = value(rng)
                found += [GIVE, name, *known[name]]
            else:
                name = list(known)[int(rng.integers(len(known)))]
                found += [ASK, name, *known[name]]
            found += filler(int(rng.integers(FILLERS)), int(rng.integers(0, 6))).tolist()
        return np.array(found[: self.context + 1], np.int64)


def trials(seed: int) -> Iterator[Trial]:
    """A name given at a depth of filler and other names, and asked for at the end."""
    rng = np.random.default_rng((seed, 10**6))
    for length in LENGTHS:
        for depth in DEPTHS:
            for _ in range(TRIALS):
                name, *others = [int(one) for one in 2 + rng.permutation(NAMES)]
                choices = [np.array(value(rng)) for _ in range(CHOICES)]
                key = int(rng.integers(CHOICES))
                needle, question = [GIVE, name, *choices[key].tolist()], [ASK, name]
                room = length - len(needle) - len(question) - 2
                place = round(depth * room)
                text: list[int] = []
                while len(text) < room:
                    if others and rng.random() < 0.1:
                        text += [GIVE, others.pop(), *value(rng)]
                    text += filler(int(rng.integers(FILLERS)), int(rng.integers(2, 6))).tolist()
                prompt = np.array([*text[:place], *needle, *text[place:room], *question])
                yield Trial(length, depth, prompt, tuple(choices), key)


def recipe_of(context: int, steps: int, batch: int, scaling: str | None, rate: float) -> TrainRecipe:
    """One training over windows of `context` tokens, its rates `rate` times the usual."""
    rates = {"muon_lr": 0.02 * rate, "embedding_lr": 0.02 * rate, "gain_lr": 0.02 * rate}
    return TrainRecipe.model_validate(
        {
            "model": SHAPE | {"context_tokens": context, "rope_scaling": rope(scaling)},
            "steps": steps,
            "batch_sequences": batch,
            "precision": "float32",
            "watch": {"cost_share": 0.0},
            "optimiser": rates,
        }
    )


def rope(scaling: str | None) -> dict[str, Any] | None:
    """The recipe's rope_scaling."""
    return None if scaling is None else {"kind": scaling, "factor": NEW / OLD, "original_context_tokens": OLD}


def go(recipe: TrainRecipe, seed: int, start: Decoder | None) -> Decoder:
    """Train, from a decoder or from the seed."""
    state = new_state(recipe, seed)
    if start is not None:
        state.model.load_state_dict(model_of(recipe.model, to_qwen3(start)).state_dict())
    with tempfile.TemporaryDirectory() as out:
        context = StepContext("train", Path(out), {}, seed, 1, lambda progress: None)
        Loop(recipe, state, Recall(recipe.model.context_tokens, seed if start is None else seed + 1000), context).run(
            "x"
        )
    return state.model


def turned(start: Decoder, scaling: str | None) -> Decoder:
    """The same weights over the longer context."""
    return model_of(recipe_of(NEW, 1, 1, scaling, 1.0).model, to_qwen3(start))


def asked(seed: int) -> dict[str, Any]:
    """Of every decoder of a seed: how often the value was said and chosen, by length and depth."""
    first = go(recipe_of(OLD, STEPS, BATCH, None, 1.0), seed, None)
    models = {"plain": turned(first, None)} | {name: turned(first, kind) for name, kind in SCALINGS.items()}
    for name, kind in (("plain, trained on", None), ("yarn, trained on", "yarn")):
        models[name] = go(recipe_of(NEW, MORE_STEPS, BATCH * OLD // NEW, kind, 0.3), seed, first)
    found: dict[str, list[list[float]]] = {}
    for name, model in models.items():
        counts: dict[tuple[int, float], list[int]] = {}
        for trial in trials(seed):
            said, chosen = answer(model.eval(), trial)
            cell = counts.setdefault((trial.length, trial.depth), [0, 0])
            cell[0], cell[1] = cell[0] + said, cell[1] + chosen
        found[name] = [[length, depth, *cell] for (length, depth), cell in counts.items()]
    return {"cells": found, "parameters": first.config.parameters()}


def markdown(rows: list[dict[str, Any]]) -> str:
    """Said and chosen by length, over depths and seeds."""
    lines = [
        "| decoder | "
        + " | ".join(f"said at {n}" for n in LENGTHS)
        + " | "
        + " | ".join(f"chosen at {n}" for n in LENGTHS)
        + " |"
    ]
    lines.append("|---|" + "---|" * (2 * len(LENGTHS)))
    for name in rows[0]["cells"]:
        cells = [cell for row in rows for cell in row["cells"][name]]
        told = []
        for column in (2, 3):
            for length in LENGTHS:
                hits = int(sum(cell[column] for cell in cells if cell[0] == length))
                share = exact_proportion(hits, TRIALS * len(DEPTHS) * len(rows))
                assert share.interval is not None
                told.append(f"{share.value:.2f} ({share.interval.low:.2f} to {share.interval.high:.2f})")
        lines.append(f"| {name} | " + " | ".join(told) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, ask, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trainings", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=math.inf)
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = Kept(options.trainings, options.seconds)
    try:
        rows = [kept.of({"seed": seed}, lambda seed=seed: asked(seed)) for seed in SEEDS]
    except MoreToDoError:
        sys.exit("more to do: the same command again")
    here = circumstances("benchmarks.long_context_retrieval", words=["--trainings", "FILE"])
    head = f"""# Retrieval over a longer context, with YaRN and without

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`

A decoder of {rows[0]["parameters"]:,} parameters, {STEPS} updates of {BATCH} windows of {OLD} tokens with names and values, then {MORE_STEPS} of {BATCH * OLD // NEW} windows of {NEW};
{len(SEEDS)} seeds, {TRIALS} trials for each length and depth ({", ".join(f"{d:.0%}" for d in DEPTHS)}). Exact 95 % intervals over all of them; one in {CHOICES} is chosen by chance.

"""
    write("long_context_retrieval", here | {"shape": SHAPE, "rows": rows}, head + markdown(rows))


if __name__ == "__main__":
    main()
