"""Tokens to text while they are still arriving: never half a character, never past a stop string.

For byte-level BPE (the byte alphabet of GPT-2, which `tokenizers` calls ByteLevel): a token is a few bytes, so text is
the incremental UTF-8 decoding of bytes; broken bytes become U+FFFD just as the tokenizer's own `decode` makes them.
Not for SentencePiece tokenizers, whose tokens depend on their neighbours: `token_bytes` refuses those.
"""

import codecs
import json
from collections.abc import Sequence

from tokenizers import Tokenizer

from aether.spec.errors import InputError


def _byte_alphabet() -> dict[str, int]:
    """Printable stand-in -> byte, as GPT-2's byte-level BPE defines it (openai/gpt-2, encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """Token id -> its bytes. Special tokens are empty: they are not part of the text.

    Raises InputError when the tokenizer is not byte-level.
    """
    raw = json.loads(tokenizer.to_str())
    decoder = raw.get("decoder") or {}
    if decoder.get("type") != "ByteLevel":
        raise InputError.of("tokenizer.decoder", decoder.get("type"), "serving needs a byte-level BPE tokenizer")
    alphabet = _byte_alphabet()
    vocabulary: dict[str, int] = raw["model"]["vocab"]
    added = {entry["id"]: entry for entry in raw.get("added_tokens", [])}
    table = [b""] * (max([*vocabulary.values(), *added], default=-1) + 1)
    for text, index in vocabulary.items():
        if index not in added:
            table[index] = bytes(alphabet[character] for character in text)
    for index, entry in added.items():
        table[index] = b"" if entry["special"] else entry["content"].encode()
    return table


class Detokenizer:
    """One request's text so far. `push` returns what may be shown now; `stopped` says that a stop string was met."""

    def __init__(self, table: Sequence[bytes], stops: Sequence[str] = ()) -> None:
        self._table = table
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that this token settles. A token beyond the tokenizer's vocabulary has no text."""
        piece = self._table[token] if token < len(self._table) else b""
        return self._release(self._decoder.decode(piece))

    def finish(self) -> str:
        """The rest: bytes that never became a character are U+FFFD, and text held for a stop string is let go."""
        text = self._release(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""
        return text if self.stopped else text + rest

    def _release(self, fresh: str) -> str:
        if self.stopped:
            return ""
        if not self._stops:
            return fresh
        text = self._held + fresh
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        hold = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
