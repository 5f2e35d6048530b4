"""Training peers on the same tokens: Hugging Face Trainer with a GPT-2 and with a Llama configuration.

Sizes, vocabulary and window are Aether's; everything else is the peer's own default unless an argument says otherwise.
"""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from aether.models.config import DecoderConfig
from aether.models.packing import PackedTokens


@dataclass(frozen=True)
class PeerSettings:
    """What can be tuned of a Trainer run."""

    architecture: str  # "gpt2" or "llama"
    steps: int
    batch: int = 8
    lr: float = 1e-3
    beta2: float = 0.999
    weight_decay: float = 0.0
    schedule: str = "cosine"  # or "linear", "warmup_stable_decay"
    warmup_share: float = 0.05
    bf16: bool = False
    seed: int = 0


class Windows(torch.utils.data.Dataset):
    """The packed stream as a map-style data set: the same windows, in the same order, that Aether trains on."""

    def __init__(self, packed: PackedTokens, count: int) -> None:
        self.packed, self.count = packed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens, _ = self.packed.sample(index)
        ids = torch.from_numpy(tokens[:-1])
        return {"input_ids": ids, "labels": ids}


def build(architecture: str, shape: DecoderConfig) -> torch.nn.Module:
    """A freshly initialised peer of that shape."""
    if architecture == "gpt2":
        config = GPT2Config(
            vocab_size=shape.vocab_size,
            n_positions=shape.context_tokens,
            n_embd=shape.hidden_size,
            n_layer=shape.layers,
            n_head=shape.heads,
        )
        return GPT2LMHeadModel(config)
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.mlp_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        max_position_embeddings=shape.context_tokens,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def train(settings: PeerSettings, shape: DecoderConfig, data: Path) -> torch.nn.Module:
    """Train a peer for `settings.steps` steps and return it."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.manual_seed(settings.seed)
    np.random.seed(settings.seed)
    model = build(settings.architecture, shape)
    packed = PackedTokens(data / "train", shape.context_tokens, settings.seed)
    more = {"num_decay_steps": settings.steps // 2} if settings.schedule == "warmup_stable_decay" else None
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.lr,
            adam_beta2=settings.beta2,
            weight_decay=settings.weight_decay,
            lr_scheduler_type=settings.schedule,
            lr_scheduler_kwargs=more,
            warmup_steps=max(1, int(settings.warmup_share * settings.steps)),
            bf16=settings.bf16,
            use_cpu=True,
            seed=settings.seed,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            train_sampling_strategy="sequential",  # the stream is shuffled already
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=Windows(packed, settings.steps * settings.batch))
        trainer.train()
    return model.eval()
