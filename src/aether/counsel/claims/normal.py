"""A reply as it is checked: cut into units (sentences, table rows, list items, code), each in plain characters.

Whatever a reader would see as a number is one: digits of any script, full-width forms, fractions, digits with marks, tags or
invisible characters between them. A unit keeps its place in the reply, so that it can be struck as a whole. Judges nothing.
"""

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Kind = Literal["sentence", "row", "code"]
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<!--.*?-->", re.DOTALL)
_BLOCK = re.compile(
    r"</?(?:table|tr|td|th|thead|tbody|li|ul|ol|p|br|div|summary|details|h[1-6]|dt|dd|dl|section|article|caption)\b[^<>]{0,200}>",
    re.IGNORECASE,
)
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]*)(?:\s+\"([^\"]*)\")?\)")
_MARKS = re.compile(r"\*\*|__|~~|(?<=\d)[*_]+(?=[\d.])|(?<=[\w])\*+(?=\w)|[*_](?=\w)|(?<=[\w.%)])[*_]|\\(?=[%$*_#])|`")
_FENCE = re.compile(
    r"^(?P<mark>```+|~~~+)(?P<language>[^\n`]*)\n(?P<code>.*?)(?:^(?P=mark)[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_END = re.compile(r"(?<=[.!?。！？])[\"')\]]*(?:\s+|(?=[A-Z\u4e00-\u9fff])(?<=[。！？]))|\n+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:al|e\.g|i\.e|vs|approx|fig|sec|no|eq|cf|dr|st|resp|incl|ca|ch|vol|pp|p)\.|(?<!/)(?<!\d )\b[A-Z]\.)\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Unit:
    """A part of a reply that stands or falls together. `context`: the heading, table head and list that it stands under, in plain text."""

    kind: Kind
    start: int
    end: int
    plain: str
    context: str = ""
    language: str = ""


def plain(text: str) -> str:
    """The characters that a reader sees, in their simplest form: tags, marks and invisible characters gone, digits as 0 to 9."""
    text = _INVISIBLE.sub("", html.unescape(html.unescape(text)))
    text = _BLOCK.sub(" ", text)
    text = _TAG.sub("", text)
    text = _LINK.sub(lambda m: f"{m[1]} {m[2]} {m[3] or ''} ", text)
    text = re.sub(r"(?<=[A-Za-z\d])_(?=[A-Za-z])|(?<=[A-Za-z])_(?=\d)", " ", text)
    text = _MARKS.sub("", text)
    return _INVISIBLE.sub("", "".join(map(_simple, text)))


def _simple(character: str) -> str:
    if character.isascii():
        return character
    if (digit := unicodedata.digit(character, None)) is not None:
        return str(digit)
    value = unicodedata.numeric(character, None)
    name = unicodedata.name(character, "")
    if value is not None and "CJK" not in name:
        return f" {value:g} "
    if character in "٪﹪％":
        return "%"
    if character in "−–—‐‑":
        return "-"
    folded = unicodedata.normalize("NFKC", character)
    return (
        "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
        if folded != character
        else _alike(character)
    )


_ALIKE = str.maketrans("АВЕКМНОРСТХаеорсухіЅѕΟοΑΒΕΗΙΚΜΝΡΤΧ٫٬", "ABEKMHOPCTXaeopcyxiSsOoABEHIKMNPTX.,")


def _alike(character: str) -> str:
    """Letters of other scripts that look like Latin ones, and other separators of decimals."""
    return character.translate(_ALIKE)


def units(reply: str) -> list[Unit]:
    """The units of a reply in order."""
    found: list[Unit] = []
    at = 0
    for match in _FENCE.finditer(reply):
        found += _prose(reply, at, match.start())
        found.append(Unit("code", match.start(), match.end(), match["code"], "", match["language"].strip().lower()))
        at = match.end()
    return found + _prose(reply, at, len(reply))


def _prose(reply: str, start: int, end: int) -> list[Unit]:
    found: list[Unit] = []
    heading, table, before = "", "", ""
    at = start
    for line in reply[start:end].splitlines(keepends=True):
        text = line.strip()
        simple = plain(text)
        if re.match(r"#{1,6}\s", text):
            heading, table = simple, ""
            found.append(Unit("sentence", at, at + len(line.rstrip("\n")), simple))
        elif text.startswith("|") or (text.count("|") >= 2 and table):
            if not re.fullmatch(r"[|\s:-]+", text):
                found.append(Unit("row", at, at + len(line.rstrip("\n")), simple, f"{heading} {before} {table}"))
                table = table or simple
        elif text:
            table = ""
            found += _sentences(
                reply, at, at + len(line), f"{heading} {before if line[:1] in ' -*+' or text[:1] in '-*+' else ''}"
            )
            before = (
                simple if simple.endswith(":") else before if text[:1] in "-*+" or re.match(r"\d+[.)]", text) else ""
            )
        at += len(line)
    return found


def _sentences(reply: str, start: int, end: int, context: str) -> list[Unit]:
    found: list[Unit] = []
    at = start
    for match in _END.finditer(reply, start, end):
        piece = reply[at : match.start()]
        if "\n" not in match[0] and (_ABBREVIATION.search(piece) or re.search(r"^\s*(?:[-*+]\s*)?\d+\.$", piece)):
            continue
        found.append(Unit("sentence", at, match.start(), plain(piece), context))
        at = match.end()
    if reply[at:end].strip():
        found.append(Unit("sentence", at, at + len(reply[at:end].rstrip()), plain(reply[at:end]), context))
    return [unit for unit in found if unit.plain.strip()]
