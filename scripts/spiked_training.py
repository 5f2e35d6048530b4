"""Writes `recipes/logs/spiked.jsonl`: the log of a small training that was made to spike, for `aether diagnose` to read.

    python -m scripts.spiked_training

A recurrent model of bytes learns this machine's `email` package with AdamW; at one step the batch is noise and the rate forty times as high, and
nothing clips the gradient. A few seconds on one core; the numbers depend on the version of Python and torch.
"""

import email
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

STEPS, SPIKE, RATE, BATCH, WINDOW = 240, 150, 3e-3, 16, 48
PLACE = Path(__file__).parents[1] / "recipes" / "logs" / "spiked.jsonl"


class Bytes(nn.Module):
    """The next byte from the bytes before it: (batch, window) -> (batch, window, 256)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.layer = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(self.layer(self.embedding(x))[0])


def main() -> None:
    """Train, and write a line for each step."""
    torch.manual_seed(0)
    folder = Path(email.__file__).parent
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    data = torch.tensor(list(text))
    model = Bytes()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    lines = []
    for step in range(STEPS):
        starts = torch.randint(len(data) - WINDOW - 1, (BATCH,))
        rows = torch.stack([data[i : i + WINDOW + 1] for i in starts.tolist()])
        if step == SPIKE:
            rows = torch.randint(256, rows.shape)
        rate = RATE * (40 if step == SPIKE else min(1.0, (step + 1) / 20))
        optimiser.param_groups[0]["lr"] = rate
        loss = F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        optimiser.step()
        optimiser.zero_grad()
        lines.append({"step": step, "loss": round(loss.item(), 4), "grad_norm": round(norm.item(), 4), "lr": rate})
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
