"""Hugging Face Trainer with GPT-2, Llama and Qwen3 configurations on the same windows.

    echo '{"side": "llama", ...}' | python -m benchmarks.peers_training

Sizes, vocabulary and window are Aether's; the rest is Trainer's default unless `Settings` says otherwise. The schedule follows the
processor's clock, through Trainer's own hooks for a scheduler and for stopping.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.equal_compute import Arm, CpuClock, Result, Settings, Shape, bits_per_byte, serve


class Windows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The windows as a map-style data set."""

    def __init__(self, windows: np.ndarray) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = torch.from_numpy(self.windows[index, :-1].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


class Clocked(Trainer):
    """Trainer with a learning rate that follows the share of the budget that is spent."""

    def __init__(self, clock: CpuClock, settings: Settings, **more: Any) -> None:
        super().__init__(**more)
        self.clock, self.settings = clock, settings

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Trainer's hook for a scheduler."""
        chosen = optimizer or self.optimizer
        assert chosen is not None
        factor = self.settings.factor
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(chosen, lambda _: factor(self.clock.share()))
        return self.lr_scheduler


class StopAtBudget(TrainerCallback):
    """Ends the training when the budget is spent."""

    def __init__(self, clock: CpuClock) -> None:
        self.clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """After every update."""
        control.should_training_stop = self.clock.share() >= 1


def build(side: str, shape: Shape) -> PreTrainedModel:
    """A freshly initialised peer of that shape."""
    if side == "gpt2":
        config = GPT2Config(
            vocab_size=shape.vocab_size,
            n_positions=shape.context_tokens,
            n_embd=shape.hidden_size,
            n_layer=shape.layers,
            n_head=shape.heads,
        )
        return GPT2LMHeadModel(config)
    fields: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.mlp_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "max_position_embeddings": shape.context_tokens,
        "tie_word_embeddings": True,
        "attn_implementation": "sdpa",
        "use_cache": False,
    }
    return Qwen3ForCausalLM(Qwen3Config(**fields)) if side == "qwen3" else LlamaForCausalLM(LlamaConfig(**fields))


def train(arm: Arm) -> Result:
    """One training by the processor's clock, and its score."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    settings = Settings(**arm.settings)  # pyright: ignore[reportArgumentType]
    shape, windows = arm.shape, arm.windows()
    clock = CpuClock(arm.budget_cpu_s)
    torch.manual_seed(arm.seed)
    model = build(arm.side, shape)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            max_steps=len(windows) // settings.batch,
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.lr,
            adam_beta2=settings.beta2,
            weight_decay=settings.weight_decay,
            bf16=settings.bf16,
            use_cpu=True,
            seed=arm.seed,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            train_sampling_strategy="sequential",  # the windows are shuffled already
        )
        data = Windows(windows)
        stop = StopAtBudget(clock)
        trainer = Clocked(clock, settings, model=model, args=arguments, train_dataset=data, callbacks=[stop])
        trainer.train()
        spent_s, steps = clock.spent_s(), trainer.state.global_step
    model.eval()
    score = bits_per_byte(lambda tokens: model(input_ids=tokens).logits, Path(arm.work))
    tokens = steps * settings.batch * shape.context_tokens
    return Result(spent_s, steps, tokens, model.num_parameters(), score)


if __name__ == "__main__":
    serve(train)
