"""Loss per CPU-second on Shakespeare's characters: Aether's decoder and optimiser against a nanoGPT-type baseline.

    python -m benchmarks.shakespeare --data FILE --cpu-seconds 30 115 --seeds 3 [--json]

The work is nanoGPT's `shakespeare_char` (first 90% of the characters train, the rest validates) at its CPU size: a
window of 64 and at most 0.85 M parameters, one thread. A run is charged every CPU-second of its process from the first
weight to the last update (no warm-up is left out; nothing is compiled); only scoring is not charged. The quality is the
mean cross-entropy over the whole validation set in windows of 64 that do not overlap. Schedules follow the share of the
budget that is spent, so every run ends within one update of its budget and none is told its number of steps beforehand.

Aether's side is `models.decoder`, `stages.train.optimisers`, `stages.train.schedule` and their recipe; only the loop around
them is this file's, because the stage's own loop counts steps (a result must not depend on the clock there).
The baseline is the GPT-2 type of nanoGPT's README CPU configuration, written here from its description: as it stands
(AdamW 1e-3, cosine, beta2 0.99), and tuned (3e-3, warm-up-stable-decay with the last half falling, beta2 0.95, fused).
Does not measure wall time: the machine may be shared, and both sides are charged by the same clock.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.stages.train.loop import new_state, rate_factor
from aether.stages.train.optimisers.rule import Rates
from aether.stages.train.recipe import RampStage, TrainRecipe
from aether.stages.train.recipe_optimiser import Optimiser, Schedule
from aether.stages.train.schedule import muon_momentum
from benchmarks import records
from benchmarks.equal_compute import CpuClock

CONTEXT_TOKENS = 64
SCORING_BATCH = 64
PROGRESS_STEPS = 100_000
"""The recipe's schedules are functions of a step: the share of the budget is handed to them in this many steps."""


@dataclass(frozen=True)
class Text:
    """The characters as numbers, split as nanoGPT splits them."""

    train: Tensor
    validation: Tensor
    characters: int

    @staticmethod
    def read(path: Path) -> "Text":
        """The file at `path`, its alphabet in sorted order."""
        text = path.read_text(encoding="utf-8")
        index = {character: i for i, character in enumerate(sorted(set(text)))}
        ids = torch.tensor([index[character] for character in text])
        cut = int(0.9 * len(ids))
        return Text(ids[:cut], ids[cut:], len(index))


@dataclass(frozen=True)
class Outcome:
    """One run."""

    side: str
    budget_s: float
    seed: int
    loss: float
    cpu_s: float
    steps: int
    tokens: int
    parameters: int


RECIPE = TrainRecipe(
    model=DecoderConfig(
        vocab_size=65, hidden_size=128, layers=4, heads=2, kv_heads=2, head_size=64, mlp_size=352, context_tokens=64
    ),
    steps=PROGRESS_STEPS,
    batch_sequences=36,
    ramp=(RampStage(steps_fraction=0.12, sequences=12), RampStage(steps_fraction=0.33, sequences=24)),
    schedule=Schedule(kind="linear"),
    optimiser=Optimiser(muon_lr=0.05, embedding_lr=0.037),
)
"""Found by trying on this task, on a 2-core Zen 4: LOG.md has what was tried. The fractions are of CPU-seconds here."""


def shuffled_windows(text: Tensor, seed: int) -> Iterator[int]:
    """Starts of windows, each epoch a new offset and order, so that a character is seen once per epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        offset = int(torch.randint(CONTEXT_TOKENS, (1,), generator=generator))
        count = (len(text) - 1 - offset) // CONTEXT_TOKENS
        yield from (torch.randperm(count, generator=generator) * CONTEXT_TOKENS + offset).tolist()


def windows_at(text: Tensor, starts_B: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and targets [B, CONTEXT_TOKENS]."""
    window = text[starts_B[:, None] + torch.arange(CONTEXT_TOKENS + 1)]
    return window[:, :-1], window[:, 1:]


@torch.no_grad()
def score(logits: Callable[[Tensor], Tensor], text: Tensor) -> float:
    """Mean cross-entropy in nats per character over all of `text`."""
    starts = torch.arange(0, len(text) - CONTEXT_TOKENS, CONTEXT_TOKENS)
    total = 0.0
    for part in starts.split(SCORING_BATCH):
        x_BT, y_BT = windows_at(text, part)
        total += float(F.cross_entropy(logits(x_BT).flatten(0, 1).float(), y_BT.flatten(), reduction="sum"))
    return total / (len(starts) * CONTEXT_TOKENS)


def run_aether(text: Text, budget_s: float, seed: int) -> Outcome:
    """One run of Aether's side. Gradients are not clipped and spikes not watched for: the baseline has clipping."""
    clock = CpuClock(budget_s)
    shape = RECIPE.model.model_copy(update={"vocab_size": text.characters})
    state = new_state(RECIPE.model_copy(update={"model": shape}), seed)
    starts = shuffled_windows(text.train, seed)
    steps = tokens = 0
    while (share := clock.share()) < 1:
        at = int(share * PROGRESS_STEPS)
        batch = torch.tensor([next(starts) for _ in range(RECIPE.sequences_at(at))])
        x_BT, y_BT = windows_at(text.train, batch)
        state.model.loss(x_BT, y_BT).backward()
        momentum = muon_momentum(RECIPE.optimiser, at, PROGRESS_STEPS)
        state.optimisers.step(Rates(rate_factor(RECIPE, at), momentum))
        for parameter in state.model.parameters():
            parameter.grad = None
        steps, tokens = steps + 1, tokens + x_BT.numel()
    cpu_s = clock.spent_s()
    loss = score(state.model, text.validation)
    return Outcome("aether", budget_s, seed, loss, cpu_s, steps, tokens, shape.parameters())


class GptBlock(nn.Module):
    """A GPT-2 block without biases: attention and a GELU MLP, each behind a LayerNorm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        batch, tokens, width = x_BTC.shape
        q, k, v = (
            part.view(batch, tokens, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norms[0](x_BTC)).split(width, dim=2)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x_BTC + self.out(attended)
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Gpt(nn.Module):
    """GPT-2 at nanoGPT's README CPU size: 4 layers, 4 heads, 128 wide, tied head, no dropout."""

    def __init__(self, characters: int, width: int = 128, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(characters, width), nn.Embedding(CONTEXT_TOKENS, width)
        self.blocks = nn.ModuleList(GptBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                writes_to_stream = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if writes_to_stream else 0.02)

    def forward(self, x_BT: Tensor) -> Tensor:
        x = self.tokens(x_BT) + self.positions.weight[: x_BT.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)


@dataclass(frozen=True)
class GptSettings:
    """What is tuned of the baseline. `decay_share` None: cosine to a tenth over the whole run."""

    name: str
    lr: float
    beta2: float
    decay_share: float | None
    warmup_share: float = 0.05
    batch: int = 12
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    fused: bool = False

    def factor(self, share: float) -> float:
        """Share of the peak learning rate at that share of the budget."""
        if share < self.warmup_share:
            return share / self.warmup_share
        if self.decay_share is None:
            done = (share - self.warmup_share) / (1 - self.warmup_share)
            return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return min(1.0, (1 - share) / self.decay_share)


README = GptSettings("nanogpt-readme", lr=1e-3, beta2=0.99, decay_share=None)
TUNED = GptSettings("nanogpt-tuned", lr=3e-3, beta2=0.95, decay_share=0.5, fused=True)


def run_gpt(settings: GptSettings, text: Text, budget_s: float, seed: int) -> Outcome:
    """One run of the baseline, windows drawn at random as nanoGPT does."""
    clock = CpuClock(budget_s)
    torch.manual_seed(seed)
    model = Gpt(text.characters)
    decayed = [p for p in model.parameters() if p.ndim == 2]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, settings.beta2), fused=settings.fused)
    steps = tokens = 0
    while (share := clock.share()) < 1:
        x_BT, y_BT = windows_at(text.train, torch.randint(len(text.train) - CONTEXT_TOKENS, (settings.batch,)))
        F.cross_entropy(model(x_BT).flatten(0, 1), y_BT.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * settings.factor(share)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        steps, tokens = steps + 1, tokens + x_BT.numel()
    cpu_s = clock.spent_s()
    parameters = sum(p.numel() for p in model.parameters())
    return Outcome(settings.name, budget_s, seed, score(model, text.validation), cpu_s, steps, tokens, parameters)


SIDES: dict[str, Callable[[Text, float, int], Outcome]] = {
    "aether": run_aether,
    README.name: lambda text, budget_s, seed: run_gpt(README, text, budget_s, seed),
    TUNED.name: lambda text, budget_s, seed: run_gpt(TUNED, text, budget_s, seed),
}


class Finished:
    """The runs that a file has, one a line; none is made again."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        self._outcomes = [Outcome(**json.loads(line)) for line in lines]

    def find(self, side: str, budget_s: float, seed: int) -> Outcome | None:
        """That run, if it is there."""
        asked = (side, budget_s, seed)
        return next((o for o in self._outcomes if (o.side, o.budget_s, o.seed) == asked), None)

    def add(self, outcome: Outcome) -> None:
        """Keep a run that was just made."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(asdict(outcome)) + "\n")


def run_all(text: Text, arguments: argparse.Namespace, tell: Callable[[str], None]) -> list[Outcome]:
    """Every side, budget and seed; the sides take turns so that a busy machine is busy for all of them."""
    outcomes, finished = [], Finished(arguments.finished)
    for seed in range(1, arguments.seeds + 1):
        for budget_s in sorted(arguments.cpu_seconds):
            for side, run in SIDES.items():
                baseline = side != "aether"
                if baseline and (seed > arguments.baseline_seeds or budget_s < max(arguments.cpu_seconds)):
                    continue
                outcome = finished.find(side, budget_s, seed)
                if outcome is None:
                    outcome = run(text, budget_s, seed)
                    finished.add(outcome)
                tell(f"{side:15} {budget_s:5.0f} s  seed {seed}  loss {outcome.loss:.4f}  {outcome.steps} steps")
                outcomes.append(outcome)
    return outcomes


def summarise(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """One row per side and budget: mean loss with its interval over seeds, and what a run was."""
    rows = []
    for side in SIDES:
        for budget_s in sorted({o.budget_s for o in outcomes}):
            runs = [o for o in outcomes if (o.side, o.budget_s) == (side, budget_s)]
            if not runs:
                continue
            rows.append(
                {
                    "side": side,
                    "cpu_budget_s": budget_s,
                    "loss_nats_per_character": records.mean_interval([o.loss for o in runs]),
                    "losses": [o.loss for o in runs],
                    "cpu_s": [o.cpu_s for o in runs],
                    "steps": [o.steps for o in runs],
                    "tokens": [o.tokens for o in runs],
                    "parameters": runs[0].parameters,
                }
            )
    return rows


def as_markdown(record: dict[str, Any]) -> str:
    """The record for people."""
    lines = [
        "# Shakespeare's characters: loss per CPU-second",
        "",
        f"{record['date']}, `{record['command']}`, {record['machine']['cpu']}, one thread, "
        f"torch {record['packages']['torch']}. Mean cross-entropy in nats per character over the whole validation set, "
        "with a Student-t 95% interval over seeds.",
        "",
        "| side | CPU-seconds | loss | 95% interval | each seed | updates | parameters |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        loss = row["loss_nats_per_character"]
        interval = f"{loss['low']:.4f} to {loss['high']:.4f}" if "low" in loss else "one seed"
        seeds = ", ".join(f"{value:.4f}" for value in row["losses"])
        updates = f"{min(row['steps'])} to {max(row['steps'])}"
        lines.append(
            f"| {row['side']} | {row['cpu_budget_s']:.0f} | {loss['mean']:.4f} | {interval} | {seeds} "
            f"| {updates} | {row['parameters']:,} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, write the record, print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the text (tinyshakespeare's input.txt)")
    parser.add_argument("--cpu-seconds", type=float, nargs="+", default=[30.0, 115.0], help="budgets of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--baseline-seeds", type=int, default=3, help="of the baselines, at the largest budget only")
    parser.add_argument("--finished", type=Path, help="file of finished runs: they are not made again")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = Text.read(arguments.data)
    tell = (lambda line: None) if arguments.json else (lambda line: print(line, flush=True))
    outcomes = run_all(text, arguments, tell)
    budgets = [f"{budget:g}" for budget in arguments.cpu_seconds]
    words = ["--data", "tinyshakespeare/input.txt", "--cpu-seconds", *budgets, "--seeds", str(arguments.seeds)]
    words += ["--baseline-seeds", str(arguments.baseline_seeds)]
    record: dict[str, Any] = records.circumstances("benchmarks.shakespeare", words=words)
    record |= {"threads": 1, "recipe": RECIPE.model_dump(mode="json"), "rows": summarise(outcomes)}
    markdown = as_markdown(record)
    path = records.write("shakespeare", record, markdown)
    print(json.dumps(record) if arguments.json else f"{markdown}\n{path}")


if __name__ == "__main__":
    main()
