# pyright: reportMissingImports=false
"""litgpt and OLMo-core on the same windows, each in an environment of its own without Aether.

    echo '{"side": "litgpt", ...}' | python -m benchmarks.peers_outside      # a training
    python -m benchmarks.peers_outside turns litgpt SHAPE BATCH THREADS      # an update for every line of standard input

The model, its first weights, the optimiser and the loss are the project's own; the loop is theirs written plainly: clip at 1,
their learning-rate field, their weight decay of 0.1 and beta2 of 0.95 (litgpt's config_hub, OLMo-core's cookbook).
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from litgpt.config import Config
from litgpt.model import GPT
from litgpt.pretrain import initialize_weights
from litgpt.utils import chunked_cross_entropy
from olmo_core.nn.transformer import TransformerBlockType, TransformerConfig
from olmo_core.optim import OptimGroupOverride, SkipStepAdamWConfig
from torch import Tensor, nn

from benchmarks.equal_compute import Arm, CpuClock, Result, Settings, Shape, batches, bits_per_byte, serve


@dataclass(frozen=True)
class Peer:
    """A model, its optimiser, and the loss that its own trainer would take."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    loss: Callable[[Tensor], Tensor]
    skips: bool = False

    def update(self, tokens: Tensor, factor: float, precision: AbstractContextManager[Any]) -> float:
        """One update on windows [B, T + 1] at `factor` of every group's peak rate. Returns the loss."""
        with precision:
            loss = self.loss(tokens)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if self.skips:
            self.optimiser.latest_loss, self.optimiser.latest_grad_norm = loss.detach(), norm  # pyright: ignore
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss.item()


def litgpt(shape: Shape, settings: Settings, seed: int) -> Peer:
    """`litgpt.GPT` as a Llama, with the first weights, loss and AdamW of `litgpt pretrain`."""
    config = Config(
        name="llama-like",
        block_size=shape.context_tokens,
        vocab_size=shape.vocab_size,
        padded_vocab_size=shape.vocab_size,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_query_groups=shape.kv_heads,
        head_size=shape.head_size,
        n_embd=shape.hidden_size,
        intermediate_size=shape.mlp_size,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    fabric.seed_everything(seed)
    model = GPT(config)
    model.lm_head.weight = model.transformer.wte.weight
    initialize_weights(fabric, model, n_layer=config.n_layer, n_embd=config.n_embd)
    decay = settings.weight_decay
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=decay, betas=(0.9, settings.beta2), fused=True
    )
    for group in optimiser.param_groups:
        group["initial_lr"] = settings.lr
    return Peer(model, optimiser, lambda tokens: chunked_cross_entropy(model(tokens[:, :-1]), tokens[:, 1:]))


def olmo_core(shape: Shape, settings: Settings, seed: int) -> Peer:
    """OLMo-core's OLMo 2 (norms after, QK-norm) with its cookbook's SkipStepAdamW and z-loss."""
    config = TransformerConfig.llama_like(
        d_model=shape.hidden_size,
        vocab_size=shape.vocab_size,
        n_layers=shape.layers,
        n_heads=shape.heads,
        n_kv_heads=shape.kv_heads,
        head_dim=shape.head_size,
        hidden_size_multiple_of=32,
        block_name=TransformerBlockType.reordered_norm,
        qk_norm=True,
        rope_theta=500_000,
        layer_norm_eps=1e-6,
        tie_word_embeddings=True,
        init_seed=seed,
    )
    model = config.build(init_device="cpu")
    model.init_weights(max_seq_len=shape.context_tokens, device=torch.device("cpu"))
    optimiser = SkipStepAdamWConfig(
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        betas=(0.9, settings.beta2),
        group_overrides=[OptimGroupOverride(params=["embeddings.weight"], opts={"weight_decay": 0.0})],
    ).build(model)

    def loss(tokens: Tensor) -> Tensor:
        return model(tokens[:, :-1], labels=tokens[:, 1:], z_loss_multiplier=1e-5).loss

    return Peer(model, optimiser, loss, skips=True)


BUILDERS = {"litgpt": litgpt, "olmo-core": olmo_core}


def precision_of(settings: Settings) -> AbstractContextManager[Any]:
    """Autocast: what both trainers do on one device for bf16-mixed."""
    return torch.autocast("cpu", torch.bfloat16) if settings.bf16 else nullcontext()


def train(arm: Arm) -> Result:
    """One training by the processor's clock, and its score."""
    settings = Settings(**arm.settings)  # pyright: ignore[reportArgumentType]
    windows, shape = arm.windows(), arm.shape
    peer = BUILDERS[arm.side](shape, settings, arm.seed)
    clock = CpuClock(arm.budget_cpu_s)
    steps, source = 0, batches(windows, settings.batch)
    while (share := clock.share()) < 1:
        peer.update(next(source), settings.factor(share), precision_of(settings))
        steps += 1
    spent_s = clock.spent_s()
    parameters = sum(p.numel() for p in peer.model.parameters())
    tokens = steps * settings.batch * shape.context_tokens
    peer.model.eval()
    return Result(spent_s, steps, tokens, parameters, bits_per_byte(peer.model, Path(arm.work)))


def turns(side: str, shape: Shape, batch: int, threads: int) -> None:
    """An update on random tokens for each line of standard input; its seconds on the wall and of the processor come back."""
    torch.set_num_threads(threads)
    settings = Settings(lr=1e-3, batch=batch)
    peer = BUILDERS[side](shape, settings, 0)
    generator = torch.Generator().manual_seed(0)
    print("ready", flush=True)
    for _ in sys.stdin:
        tokens = torch.randint(shape.vocab_size, (batch, shape.context_tokens + 1), generator=generator)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        peer.update(tokens, 1.0, precision_of(settings))
        print(time.perf_counter() - wall_s, time.process_time() - cpu_s, flush=True)


def main() -> None:
    """Trainings from standard input, or `turns SIDE SHAPE BATCH THREADS`."""
    if not sys.argv[1:]:
        serve(train)
        return
    side, shape, batch, threads = sys.argv[2:]
    turns(side, Shape(**json.loads(shape)), int(batch), int(threads))


if __name__ == "__main__":
    main()
