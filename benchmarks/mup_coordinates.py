"""The coordinate check of muP (arXiv 2203.03466, appendix D.1) on the decoders of `mup.py`: with what power of the width a few updates change each layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aether.models.decoder import Decoder
from aether.stages.train.loop import new_model
from aether.stages.train.optimisers.optimisers import Optimisers
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.recipe import TrainRecipe
from benchmarks.stdlib_bytes import Windows, read

WIDTHS, UPDATES, SEEDS, BATCH = (32, 64, 128, 256), 5, (0, 1, 2), 8


@torch.no_grad()
def seen(model: Decoder, tokens_BT: Tensor) -> dict[str, Tensor]:
    """The stream after each block, and the logits."""
    found: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _, __, out, name=f"block {place}": found.__setitem__(name, out))
        for place, block in enumerate(model.blocks)
    ]
    found["logits"] = model(tokens_BT)
    for hook in hooks:
        hook.remove()
    return found


def changes(recipe: TrainRecipe, stream: np.ndarray, seed: int) -> dict[str, float]:
    """Root mean square of what `UPDATES` updates at the full rate change of a coordinate."""
    context = recipe.model.context_tokens
    data, model = Windows(stream, context, seed), new_model(recipe, seed)
    shown = torch.from_numpy(data.batch(10**6, BATCH)[0])[:, :-1]
    before, optimisers = seen(model, shown), Optimisers(model, recipe.optimiser)
    for step in range(UPDATES):
        tokens = torch.from_numpy(data.batch(BATCH * step, BATCH)[0])
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        optimisers.step(Rates(1.0, recipe.optimiser.muon_momentum))
        model.zero_grad()
    after = seen(model, shown)
    return {name: float((after[name] - before[name]).float().square().mean().sqrt()) for name in before}


def check(kind: str, carried: bool, recipe_of: Callable[[str, bool, int], TrainRecipe]) -> dict[str, Any]:
    """Changes by layer and width, mean over seeds, and the exponents of the width that fit them."""
    stream, by_width = read(held_out=False), {}
    for width in WIDTHS:
        found = [changes(recipe_of(kind, carried, width), stream, seed) for seed in SEEDS]
        by_width[width] = {name: float(np.mean([one[name] for one in found])) for name in sorted(found[0])}
    logs = np.log(WIDTHS)
    powers = {
        name: float(np.polyfit(logs, np.log([by_width[w][name] for w in WIDTHS]), 1)[0]) for name in by_width[WIDTHS[0]]
    }
    return {"kind": kind, "carried": carried, "changes": {str(w): c for w, c in by_width.items()}, "powers": powers}


def markdown(checked: list[dict[str, Any]]) -> str:
    """One table."""
    names = list(checked[0]["powers"])
    lines = [
        "",
        f"Coordinate check: root mean square of what {UPDATES} updates at the full rate change of a coordinate, {len(SEEDS)} seeds, and the power of the width that fits it "
        "(0: alike at every width).",
        "",
        "| optimiser | `base_width` | layer | " + " | ".join(map(str, WIDTHS)) + " | power |",
        "|---|---|---|" + "---|" * (len(WIDTHS) + 1),
    ]
    for one in checked:
        for name in names:
            cells = " | ".join(f"{one['changes'][str(w)][name]:.3f}" for w in WIDTHS)
            told = WIDTHS[0] if one["carried"] else "none"
            lines.append(f"| {one['kind']} | {told} | {name} | {cells} | {one['powers'][name]:+.2f} |")
    return "\n".join(lines) + "\n"
