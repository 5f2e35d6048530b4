"""Work that is done in pieces: each answer is a line of a file, and the next call of the same command goes on after it."""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parser_of_pieces() -> argparse.ArgumentParser:
    """With the options of a benchmark that is made in pieces: `--trainings FILE` and `--seconds`, after which none is begun."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trainings", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=math.inf)
    return parser


class MoreToDoError(Exception):
    """The seconds of this call are over before the work is."""


class Kept:
    """Answers by their question, in a file. `seconds`: after these no new one is begun."""

    def __init__(self, file: Path, seconds: float) -> None:
        self._file, self._until = file, time.monotonic() + seconds
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self._known = {json.dumps(one["question"]): one["answer"] for one in map(json.loads, lines)}

    def of(self, question: dict[str, Any], answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Question and answer in one row; `answer` is called where it is not known. Raises MoreToDoError when the time is over."""
        key = json.dumps(question)
        if key not in self._known:
            if time.monotonic() > self._until:
                raise MoreToDoError
            self._known[key] = answer()
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"question": question, "answer": self._known[key]}) + "\n")
            print(question, {name: v for name, v in self._known[key].items() if not isinstance(v, list)}, flush=True)
        return question | self._known[key]
