"""What looking ahead gives experts that choose tokens in training, and what is left of it in use.

    python -m benchmarks.expert_choice [--steps 400]

Small decoders on bytes of the standard library, with experts that choose (arXiv 2202.09368) and with tokens that choose (softmax, dropless, with the
load-balance loss of 0.01): equal sizes, equal active experts in the mean, three seeds. The same held-out windows are scored twice: as in training, where an expert sees
all tokens of a pass before it takes its own, and as in use, by each expert's cutoff. The gap is paired by seed.
"""

import argparse
from typing import Any

import numpy as np
import torch

from aether.models.decoder import Decoder
from aether.stages.train.recipe import TrainRecipe
from benchmarks.records import circumstances, mean_interval, write
from benchmarks.stdlib_bytes import Windows, read, train

SHAPE = {
    "vocab_size": 256, "hidden_size": 64, "layers": 2, "heads": 2, "kv_heads": 2, "head_size": 32, "mlp_size": 64,
    "context_tokens": 64,
}  # fmt: skip
ROUTERS = {
    "expert_choice": {"router": "expert_choice", "normalise": False},
    "softmax": {"router": "softmax", "balance_loss": 0.01},
}
SEEDS, BATCH, HELD_OUT = (0, 1, 2), 16, 160


def losses(model: Decoder, stream: np.ndarray) -> dict[str, float]:
    """Nats per byte of the held-out windows, as in training and as in use, and the experts of a token in use."""
    tokens = torch.from_numpy(Windows(stream, SHAPE["context_tokens"], seed=1).batch(0, HELD_OUT)[0])
    found: dict[str, list[float]] = {"training": [], "use": []}
    for part in tokens.split(BATCH):
        for name, learning in (("training", True), ("use", False)):
            with torch.set_grad_enabled(learning):
                found[name].append(model.loss(part[:, :-1], part[:, 1:]).item())
    return {name: float(np.mean(values)) for name, values in found.items()}


def measure(router: str, steps: int) -> dict[str, Any]:
    """One row: three trainings."""
    experts = {"count": 8, "active": 2} | ROUTERS[router]
    recipe = TrainRecipe.model_validate(
        {"model": SHAPE | {"experts": experts}, "steps": steps, "batch_sequences": BATCH, "precision": "float32"}
    )
    text, held = read(held_out=False), read(held_out=True)
    found = []
    for seed in SEEDS:
        found.append(losses(train(recipe, Windows(text, SHAPE["context_tokens"], seed), seed).model, held))
        print(router, seed, found[-1], flush=True)
    return {
        "router": router,
        "training": mean_interval([one["training"] for one in found]),
        "use": mean_interval([one["use"] for one in found]),
        "gap": mean_interval([one["use"] - one["training"] for one in found]),
        "by_seed": found,
    }


def told(value: dict[str, float | int], sign: str = "") -> str:
    """A mean with its interval."""
    return f"{value['mean']:{sign}.4f} ({value['low']:{sign}.4f} to {value['high']:{sign}.4f})"


def main() -> None:
    """Train, score, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=120)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(router, options.steps) for router in ROUTERS]
    here = circumstances("benchmarks.expert_choice")
    lines = ["| router | loss as in training | loss in use | gap |", "|---|---|---|---|"]
    lines += [f"| {r['router']} | {told(r['training'])} | {told(r['use'])} | {told(r['gap'], '+')} |" for r in rows]
    head = f"""# Experts that choose tokens: training against use

{here["machine"]["cpu"]}, one thread, {here["date"]}, torch {here["packages"]["torch"]}. `{here["command"]}`

Two layers of width {SHAPE["hidden_size"]}, 8 experts, 2 for a token in the mean, {options.steps} updates of {BATCH} windows of {SHAPE["context_tokens"]} bytes of the standard
library, {len(SEEDS)} seeds, {HELD_OUT} held-out windows in passes of {BATCH}. Nats per byte, 95 %; the gap is paired by seed.

"""
    write(
        "expert_choice", here | {"shape": SHAPE, "steps": options.steps, "rows": rows}, head + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
