"""Files to documents, one at a time: plain text, JSON Lines (plain, gzip, zstd) and Parquet by row group.

Library: `pyarrow` for Parquet and zstd, loaded only when such a file is there. What cannot be read
comes out as a named rejection, never as an exception and never silently. Does not judge content (that is `filters`).
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from aether.spec.errors import InputError
from aether.stages.data.filters import Finding, Reason
from aether.stages.data.recipe import DataRecipe
from aether.stages.data.sources import InputFile

_LINE_BYTES_PER_TEXT_BYTE = 8
"""A JSON line is at most this many times the document bound: six for \\uXXXX escapes, the rest for other fields."""
_PARQUET_ROWS = 64
"""Rows decoded at a time: at the largest document, 64 MiB (computed)."""


@dataclass(frozen=True)
class Item:
    """A document, or a rejection. `parts` is its place: folders, file, and piece or row; the split opens it from the left."""

    id: str
    parts: tuple[str, ...]
    text: str = ""
    group: str | None = None
    """The value of `group_field`: such rows stay together whatever their place."""
    rejection: Finding | None = None


def read_items(file: InputFile, recipe: DataRecipe) -> Iterator[Item]:
    """Every document of a file in order. Damage in the middle ends the file with one `unreadable` item.

    Raises InputError when a Parquet file has no column of the recipe's name.
    """
    parts = tuple(file.id.split("/"))
    if file.problem is not None:
        yield Item(file.id, parts, rejection=(Reason.UNREADABLE, file.problem))
        return
    name = file.path.name.lower()
    plain = name.removesuffix(".gz").removesuffix(".zst")
    if plain.endswith((".jsonl", ".ndjson")):
        items = _jsonl(file, parts, recipe)
    elif name.endswith(".parquet"):
        items = _parquet(file, parts, recipe)
    elif recipe.modality == "text":
        items = _pieces(file, parts, recipe)
    else:
        items = _whole(file, parts, recipe)
    try:
        yield from items
    except _damage(name) as error:
        yield Item(file.id, parts, rejection=(Reason.UNREADABLE, f"reading stopped: {str(error)[:200]}"))


def _damage(name: str) -> tuple[type[Exception], ...]:
    """What a reader may raise over a damaged file of this name."""
    errors: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
    if name.endswith(".parquet"):
        import pyarrow

        errors += (pyarrow.ArrowException,)
    return errors


def _open(path: Path) -> IO[bytes]:
    """The decompressed bytes of a file, streamed."""
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.name.lower().endswith(".zst"):
        import pyarrow

        # Not `zstandard`: its stream reader takes a cut file for a whole one.
        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path), "rb"), "zstd"))  # type: ignore[arg-type]
    return open(path, "rb")


def clean(raw: bytes) -> str | Finding:
    """Bytes as text with `\\n` line ends and no byte order mark, or why they are not text."""
    if (at := raw.find(b"\0")) >= 0:
        return Reason.ENCODING, f"NUL byte at {at}"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Reason.ENCODING, f"byte 0x{raw[error.start]:02x} at {error.start} is not UTF-8"
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _item(item_id: str, parts: tuple[str, ...], raw: bytes, group: str | None = None) -> Item:
    cleaned = clean(raw)
    if isinstance(cleaned, str):
        return Item(item_id, parts, cleaned, group)
    return Item(item_id, parts, group=group, rejection=cleaned)


def _too_long(recipe: DataRecipe, seen: str) -> Finding:
    return Reason.TOO_LONG, f"{seen}, at most {recipe.filters.max_bytes}"


def _whole(file: InputFile, parts: tuple[str, ...], recipe: DataRecipe) -> Iterator[Item]:
    limit = recipe.filters.max_bytes
    with _open(file.path) as stream:
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        yield Item(file.id, parts, rejection=_too_long(recipe, f"more than {limit} bytes"))
    else:
        yield _item(file.id, parts, raw)


def _pieces(file: InputFile, parts: tuple[str, ...], recipe: DataRecipe) -> Iterator[Item]:
    """A short file whole; a long one cut at the first blank line after `piece_bytes`, or a quarter later at any line."""
    size = recipe.piece_bytes
    with _open(file.path) as stream:
        piece: list[bytes] = []
        piece_bytes = number = 0
        while line := _line(stream, size):
            piece.append(line)
            piece_bytes += len(line)
            if piece_bytes >= size and (not line.strip() or piece_bytes >= size * 1.25):
                number += 1
                yield _piece(file.id, parts, number, piece)
                piece, piece_bytes = [], 0
        if number == 0:
            yield _item(file.id, parts, b"".join(piece))
        elif piece:
            yield _piece(file.id, parts, number + 1, piece)


def _line(stream: IO[bytes], limit: int) -> bytes:
    """A line, or `limit` bytes of a longer one, cut where a character ends."""
    line = stream.readline(limit)
    for _ in range(3):
        if line.endswith(b"\n") or not line or line[-1] < 0x80 or _is_whole(line):
            break
        line += stream.read(1)
    return line


def _is_whole(line: bytes) -> bool:
    """Whether the last UTF-8 character is complete (or not UTF-8 at all, which the decoder will say)."""
    for back in range(1, 5):
        if back > len(line):
            return True
        byte = line[-back]
        if byte >= 0xC0:
            return back >= (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
        if byte < 0x80:
            return True
    return True


def _piece(file_id: str, parts: tuple[str, ...], number: int, lines: list[bytes]) -> Item:
    name = f"#{number:06d}"
    return _item(file_id + name, (*parts, name), b"".join(lines))


def _jsonl(file: InputFile, parts: tuple[str, ...], recipe: DataRecipe) -> Iterator[Item]:
    limit = recipe.filters.max_bytes * _LINE_BYTES_PER_TEXT_BYTE
    with _open(file.path) as stream:
        number = 0
        while line := stream.readline(limit):
            number += 1
            name = f"#{number:09d}"
            if len(line) == limit and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = stream.readline(limit)
                yield Item(file.id + name, (*parts, name), rejection=_too_long(recipe, f"a line of over {limit} bytes"))
            elif line.strip():
                yield _json_row(file.id + name, (*parts, name), line, recipe)


def _json_row(item_id: str, parts: tuple[str, ...], line: bytes, recipe: DataRecipe) -> Item:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError):
            return Item(item_id, parts, rejection=(Reason.ENCODING, f"not UTF-8: {error.reason}"))
        return Item(item_id, parts, rejection=(Reason.MALFORMED, f"not JSON: {str(error)[:120]}"))
    if not isinstance(row, dict):
        return Item(item_id, parts, rejection=(Reason.MALFORMED, f"a JSON {type(row).__name__}, not an object"))
    return _row(item_id, parts, row, recipe)


def _row(item_id: str, parts: tuple[str, ...], row: dict[str, Any], recipe: DataRecipe) -> Item:
    text = row.get(recipe.text_field)
    if not isinstance(text, str | bytes):
        found = "no such field" if recipe.text_field not in row else f"a {type(text).__name__}"
        return Item(item_id, parts, rejection=(Reason.MALFORMED, f"{recipe.text_field}: {found}, wanted a string"))
    group = None
    if recipe.group_field is not None:
        if recipe.group_field not in row:
            return Item(item_id, parts, rejection=(Reason.MALFORMED, f"{recipe.group_field}: no such field"))
        group = f"{recipe.group_field}={row[recipe.group_field]}"
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        return Item(item_id, parts, rejection=(Reason.ENCODING, f"a lone surrogate at {error.start}"))
    return _item(item_id, parts, raw, group)


def _parquet(file: InputFile, parts: tuple[str, ...], recipe: DataRecipe) -> Iterator[Item]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file.path, buffer_size=1 << 20) as table:
        columns = [recipe.text_field] + ([recipe.group_field] if recipe.group_field else [])
        for column in columns:
            if column not in table.schema_arrow.names:
                mend = f"{file.id} has the columns {', '.join(table.schema_arrow.names)}; name one of them"
                raise InputError.of("data.text_field", column, mend)
        number = 0
        for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=columns, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                name = f"#{number:09d}"
                yield _row(file.id + name, (*parts, name), row, recipe)
