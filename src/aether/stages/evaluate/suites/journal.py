"""Every answer of a model, kept as it comes: a killed evaluation goes on where it was, and scores can be made again without the model. No torch.

One JSON line per answer, under the hash of what was asked. A question asked several times (sampled answers) has several lines. A line that a
kill cut in half is dropped and asked again.
"""

import json
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

from aether.evidence.files import explained_os_errors


class Journal:
    """The answers of one evaluation of one model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, list[Any]] = defaultdict(list)
        with explained_os_errors(path):
            raw = path.read_bytes() if path.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]
            if len(whole) < len(raw):
                path.write_bytes(whole)
            for line in whole.splitlines():
                row = json.loads(line)
                self._kept[row["asked"]].append(row["answer"])
            self._file = path.open("a", encoding="utf-8")

    def __len__(self) -> int:
        return sum(len(answers) for answers in self._kept.values())

    def add(self, asked: str, answer: Any) -> None:
        """Keep an answer; it is in the file when this returns."""
        self._kept[asked].append(answer)
        with explained_os_errors(self.path):
            self._file.write(json.dumps({"asked": asked, "answer": answer}, ensure_ascii=False) + "\n")
            self._file.flush()

    def count(self, asked: str) -> int:
        """How many answers there are to it."""
        return len(self._kept.get(asked, ()))

    def reading(self) -> dict[str, deque[Any]]:
        """The answers to take one after the other, in the order they came."""
        return {asked: deque(answers) for asked, answers in self._kept.items()}

    def close(self) -> None:
        """Nothing is added after this."""
        self._file.close()
