"""A GGUF file with a byte-level vocabulary of its own and a chat template, as published ones have, small enough for a test."""

from pathlib import Path

import gguf
from tiny_served_model import CONFIG, TEXT
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.gguf_file import finish, write_gguf
from aether.models.weights import to_qwen3

NAMED = ["<|begin|>", "<|end|>", "<|turn|>"]
TEMPLATE = "{% for m in messages %}<|turn|>{{ m.role }}: {{ m.content }}\n{% endfor %}<|turn|>"
ODD = [
    "wait:\n\n1. I'LL 12345 don't  stop...\r\n\tx\n\n\n",
    " 2024-11-26, 3.14 \u00bd y\u2019all (\u4f60\u597d) ?!\n  a   b\n",
]


def vocabulary(size: int) -> tuple[list[str], list[str]]:
    """(tokens, merges): merges that cross every place where splittings differ, since they were learnt on whole texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=NAMED, initial_alphabet=alphabet, show_progress=False, max_token_length=4
    )
    made.train_from_iterator([*TEXT, *ODD * 20], trainer)
    tokens = [made.id_to_token(at) or f"<|unused{at}|>" for at in range(size)]
    known = set(tokens)
    merges = [f"{a[:cut]} {a[cut:]}" for a in tokens for cut in range(1, len(a)) if {a[:cut], a[cut:]} <= known]
    return tokens, merges


def write_chat_gguf(path: Path, pre: str, config: DecoderConfig = CONFIG, seed: int = 0) -> Decoder:
    """Write the file, with weights in float32; gives its decoder."""
    model = Decoder(config)
    model.initialise(seed, embedding_std=0.5, matrix_scale=1.7)
    plain = path.with_suffix(".plain")
    write_gguf(plain, config, to_qwen3(model), "float32")
    read = gguf.GGUFReader(plain)
    writer = gguf.GGUFWriter(path, "qwen3")
    for name, field in read.fields.items():
        if name.startswith("qwen3."):
            writer.add_key_value(name, field.contents(), field.types[0])
    tokens, merges = vocabulary(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in NAMED or token.startswith("<|unused") else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_eot_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for tensor in read.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    finish(writer)
    plain.unlink()
    return model
