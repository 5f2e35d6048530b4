"""A data stage's output in small: counted token runs as documents, with every file that later stages read."""

import json
from pathlib import Path

import numpy as np

VOCABULARY = 64


def document(rng: np.random.Generator, tokens: int) -> list[int]:
    """A run that counts up from a random start, with the separator first: easy to learn, hard to guess."""
    start = int(rng.integers(1, VOCABULARY))
    return [0, *(1 + (start + i) % (VOCABULARY - 1) for i in range(tokens - 1))]


def write_tiny_data(folder: Path, documents: int = 60, seed: int = 0) -> Path:
    """Write tokenizer/, data.json and the splits train, validation, test and ood below `folder`."""
    rng = np.random.default_rng(seed)
    (folder / "tokenizer").mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "tokenizer" / name).write_text("{}")
    splits = {}
    for split, count in (("train", documents), ("validation", 6), ("test", 6), ("ood", 3)):
        (folder / split).mkdir()
        rows, texts, stream = [], [], []
        for index in range(count):
            ids = document(rng, int(rng.integers(10, 90)))
            rows.append(
                {
                    "id": f"{split}/{index}", "group": split, "bytes": 2 * (len(ids) - 1), "start": len(stream),
                    "tokens": len(ids), "sha256": "0" * 64,
                }
            )  # fmt: skip
            texts.append({"id": f"{split}/{index}", "text": " ".join(map(str, ids[1:]))})
            stream += ids
        np.array(stream, "<u2").tofile(folder / split / "tokens.bin")
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / split / "documents.jsonl").write_text(lines)
        (folder / split / "text.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
        splits[split] = {"documents": count, "bytes": sum(r["bytes"] for r in rows), "tokens": len(stream)}
    summary = {"vocab_size": VOCABULARY, "dtype": "uint16", "splits": splits, "bytes_per_token": 2.0}
    (folder / "data.json").write_text(json.dumps(summary))
    return folder
