"""A model folder small enough to serve in a test: random weights, a byte-level BPE tokenizer, written in milliseconds."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from aether.models.config import DecoderConfig
from aether.models.parts.decoder import decoder
from aether.models.weights import save_pretrained

TEXT = ["def main(argument):\n    return argument + 1\n", "import os\n\n# héllo wörld ✓\nclass A:\n    pass\n"] * 20
CONFIG = DecoderConfig(
    vocab_size=320, hidden_size=32, layers=2, heads=4, kv_heads=2, head_size=8, mlp_size=64, context_tokens=96
)


def write_tokenizer(folder: Path, vocab_size: int = 320) -> None:
    """tokenizer.json and tokenizer_config.json as the data stage leaves them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    end = "<|endoftext|>"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end)
    fast.save_pretrained(folder)


def write_model(folder: Path, config: DecoderConfig = CONFIG, seed: int = 0) -> Path:
    """A standard Hugging Face folder. Weights are drawn wide, so that greedy text is not one token repeated."""
    tokenizer = folder.parent / f"{folder.name}-tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, config.vocab_size)
    model = decoder(config)
    model.initialise(seed, embedding_std=0.5, matrix_scale=1.7)
    save_pretrained(model, folder, tokenizer)
    return folder
