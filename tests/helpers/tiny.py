"""A tiny data output and a tiny trained model, made by hand to the stages' contract. Seconds on one core."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.weights import save_pretrained

SEPARATOR = "<|endoftext|>"


def program(index: int) -> str:
    """A small Python file that differs by its index: regular enough to be learned in seconds."""
    names = ("alpha", "beta", "gamma", "delta", "omega")
    name, other = names[index % 5], names[(index // 5) % 5]
    lines = ["import os", "", ""]
    for part in range(2 + index % 3):
        lines += [f"def {name}_{part}(value):", f'    """Return the {other} of a value, number {index}."""']
        lines += [f"    {other} = os.fspath(value)", f"    return {other} + str({part})", "", ""]
    return "\n".join([*lines, f"{name.upper()} = {name}_0('é{index}')", ""])


def make_data(folder: Path, vocab_size: int = 384, train: int = 120, held: int = 16) -> Path:
    """A data output with splits train, validation, test and ood. Returns `folder`."""
    texts = {
        "train": [program(i) for i in range(train)],
        "validation": [program(1000 + i) for i in range(held)],
        "test": [program(2000 + i) for i in range(held)],
        "ood": [f"Once there was a {i} of things.\nAnd then there were more of them.\n" * 3 for i in range(held)],
    }
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts["train"],
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=[SEPARATOR], initial_alphabet=alphabet, show_progress=False
        ),
    )
    (folder / "tokenizer").mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    known = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SEPARATOR, "eos_token": SEPARATOR}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(known | {"pad_token": SEPARATOR}))
    splits = {name: _write_split(folder / name, name, found, tokenizer) for name, found in texts.items()}
    per_token = splits["train"]["bytes"] / splits["train"]["tokens"]
    summary = {"vocab_size": vocab_size, "dtype": "uint16", "splits": splits, "bytes_per_token": per_token}
    (folder / "data.json").write_text(json.dumps(summary))
    return folder


def _write_split(folder: Path, name: str, texts: list[str], tokenizer: Tokenizer) -> dict:
    folder.mkdir()
    stream: list[int] = []
    rows, kept = [], []
    for index, text in enumerate(texts):
        ids = [0, *tokenizer.encode(text).ids]
        digest = hashlib.sha256(text.encode()).hexdigest()
        row = {"id": f"{name}/{index % 6}/{index}.py", "group": f"{name}/{index % 6}", "bytes": len(text.encode())}
        rows.append(row | {"start": len(stream), "tokens": len(ids), "sha256": digest})
        kept.append({"id": row["id"], "text": text})
        stream += ids
    np.array(stream, dtype="<u2").tofile(folder / "tokens.bin")
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if name != "train":
        (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    return {"documents": len(rows), "bytes": sum(row["bytes"] for row in rows), "tokens": len(stream)}


def tiny_config(vocab_size: int = 384) -> DecoderConfig:
    """A decoder of about 100,000 parameters."""
    return DecoderConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        layers=2,
        heads=2,
        kv_heads=1,
        head_size=32,
        mlp_size=128,
        context_tokens=96,
    )


def make_model(data: Path, out: Path, steps: int = 60) -> Path:
    """A train output whose model has seen the training split for `steps` steps. Returns `out`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = tiny_config(json.loads((data / "data.json").read_text())["vocab_size"])
    model = Decoder(config)
    stream = torch.from_numpy(np.fromfile(data / "train" / "tokens.bin", dtype="<u2").astype(np.int64))
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        starts = torch.randint(0, len(stream) - 97, (8,), generator=generator)
        batch = torch.stack([stream[start : start + 97] for start in starts])
        loss = model.loss(batch[:, :-1], batch[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    save_pretrained(model, out / "model", data / "tokenizer")
    return out
