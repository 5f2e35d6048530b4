"""A pass key hidden at a depth of a text of some length: is it said, and is it preferred to other keys?

Shapes: B keys, T tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from aether.evidence.statistics import exact_proportion
from aether.models.decoder import Decoder
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.long_context.recipe import PassKey


@dataclass(frozen=True)
class Trial:
    """One text with its key at the place `key` of `choices`, all as ids without the question's answer."""

    length: int
    depth: float
    prompt: NDArray[np.int64]
    choices: tuple[NDArray[np.int64], ...]
    key: int


def trials(
    settings: PassKey, tokenizer: Tokenizer, fillers: Sequence[NDArray[np.int64]], lengths: Sequence[int], seed: int
) -> Iterator[Trial]:
    """Every length and depth, `trials` times; `fillers` are ids of long documents. Raises InputError when a length has no room."""
    rng = np.random.default_rng(seed)
    question = tokenizer.encode(settings.question, add_special_tokens=False).ids
    for length in lengths:
        for depth in settings.depths:
            for trial in range(settings.trials):
                numbers = rng.choice(9 * 10 ** (settings.digits - 1), settings.choices, replace=False) + 10 ** (
                    settings.digits - 1
                )
                choices = tuple(np.array(tokenizer.encode(str(n), add_special_tokens=False).ids) for n in numbers)
                key = int(rng.integers(settings.choices))
                needle = tokenizer.encode(settings.needle.format(key=numbers[key]), add_special_tokens=False).ids
                room = length - len(needle) - len(question) - max(len(one) for one in choices)
                if room < len(needle):
                    raise InputError.of("pass_key.needle", settings.needle, f"no room for it in {length} tokens")
                filler = fillers[trial % len(fillers)][:room].tolist()
                cut = 1 + round(depth * (room - 1))
                prompt = np.array([*filler[:cut], *needle, *filler[cut:], *question])
                yield Trial(length, depth, prompt, choices, key)


@torch.inference_mode()
def answer(model: Decoder, trial: Trial) -> tuple[bool, bool]:
    """(the key is said greedily, the key is the likeliest of the choices)."""
    start, width = len(trial.prompt), max(len(one) for one in trial.choices)
    tokens_BT = torch.zeros(len(trial.choices), start + width, dtype=torch.int64)
    tokens_BT[:, :start] = torch.from_numpy(trial.prompt)
    for row, one in enumerate(trial.choices):
        tokens_BT[row, start : start + len(one)] = torch.from_numpy(one)
    hidden = model.hidden(tokens_BT[:, :-1])[:, start - 1 :]
    log_p = model.logits(hidden, model.embedding.to(model.dtype)).log_softmax(-1)
    scores = []
    for row, one in enumerate(trial.choices):
        ids = torch.from_numpy(one)
        scores.append(float(log_p[row, torch.arange(len(one)), ids].sum()))
    own = torch.from_numpy(trial.choices[trial.key])
    said = bool((log_p[trial.key, : len(own)].argmax(-1) == own).all())
    return said, int(np.argmax(scores)) == trial.key


def pass_keys(
    models: dict[str, Decoder], asked: Sequence[Trial], settings: PassKey, context: StepContext
) -> tuple[list[Evidence], list[dict[str, Any]]]:
    """Evidence for each model, length and depth (exact intervals), and a row for each trial."""
    rows: list[dict[str, Any]] = []
    for name, model in models.items():
        for place, trial in enumerate(asked):
            context.tell(place, len(asked), "texts", f"pass keys, {name}")
            said, chosen = answer(model, trial)
            rows.append({"model": name, "length": trial.length, "depth": trial.depth, "said": said, "chosen": chosen})
    evidence = []
    for name in models:
        for length, depth in dict.fromkeys((trial.length, trial.depth) for trial in asked):
            cell = [r for r in rows if (r["model"], r["length"], r["depth"]) == (name, length, depth)]
            for metric, field in (("passkey_said", "said"), ("passkey_chosen", "chosen")):
                found = exact_proportion(sum(r[field] for r in cell), len(cell))
                told = f"{name}: {settings.digits} digits at {depth:.0%} of {length} tokens"
                told += f", of {settings.choices} keys" if field == "chosen" else ", greedy"
                label = f"{name}:{length}:{round(100 * depth)}"
                evidence.append(
                    context.measured(
                        metric, found.value, "fraction", told, label=label, interval=found.interval, n=len(cell)
                    )
                )
    return evidence, rows
