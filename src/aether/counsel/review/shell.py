"""Commands of shell scripts and Dockerfiles as words: continued lines joined, variables and arrays of the script put in. Nothing is executed.

What follows from the script alone is known: `TP=4`, `ARGS=(--tp 4)`, `${TP:-4}`. What a command or the environment gives stays as it is written.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

_JOINED = 400
"""Lines that one statement may have: a quotation that is open longer is a text, such as a here-document."""
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<more>\+?)=(?P<value>.*)", re.DOTALL)
_ARRAY = re.compile(
    r"(?:(?:export|local|readonly|declare|typeset)\s+(?:-\w+\s+)*)?(?P<name>[A-Za-z_]\w*)(?P<more>\+?)=\((?P<value>.*)\)\s*;?$",
    re.DOTALL,
)
_OPENS_ARRAY = re.compile(r"^\s*(?:(?:export|local|readonly|declare|typeset)\s+(?:-\w+\s+)*)?\w+\+?=\((?!.*\)\s*;?$)")
_WHOLE = re.compile(r'"\$\{(?P<quoted>\w+)\[[@*]\]\}"|\$\{(?P<plain>\w+)\[[@*]\]\}')
_NAMED = re.compile(r"\$\{(?P<braced>\w+)(?::?[-=](?P<default>[^{}]*))?\}|\$(?P<bare>[A-Za-z_]\w*)")
_INSTRUCTION = re.compile(
    r"(?P<what>FROM|RUN|CMD|ENTRYPOINT|ENV|ARG|SHELL|HEALTHCHECK)\s+(?P<rest>.*)", re.I | re.DOTALL
)


class Word(str):
    """A word of a command with its line."""

    line: int

    def __new__(cls, text: str, line: int) -> "Word":
        """The word at a line, from one."""
        made = super().__new__(cls, text)
        made.line = line
        return made


@dataclass(frozen=True)
class Command:
    """A command with its words and the line where it starts."""

    words: tuple[str, ...]
    line: int


@dataclass
class _Variables:
    """What the variables of a script hold, as text that is read again."""

    held: dict[str, str] = field(default_factory=dict)

    def put_in(self, text: str) -> str:
        """The text with the variables that are known."""
        text = _WHOLE.sub(lambda m: self.held.get(m["quoted"] or m["plain"], m[0]), text)
        return _NAMED.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        known = self.held.get(match["braced"] or match["bare"])
        if known is not None:
            return known
        return match["default"].strip("\"'") if match["default"] else match[0]

    def take(self, name: str, more: str, value: str) -> None:
        """Remember an assignment; forget the name where a command gives its value."""
        if "$(" in value or "`" in value:
            self.held.pop(name, None)
        else:
            self.held[name] = f"{self.held.get(name, '')} {value}".strip() if more else value


def commands(text: str, dockerfile: bool = False) -> list[Command]:
    """The simple commands of a script. What cannot be read as words is left out."""
    known = _Variables()
    if dockerfile:
        return list(_instructions(text, known))
    return [Command(tuple(words), line) for line, joined in _statements(text) for words in _simple(joined, known)]


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of statements: lines that a backslash, an open quotation or an open array joins."""
    lines = text.splitlines()
    place = 0
    while place < len(lines):
        joined, after = _joined(lines, place)
        yield place + 1, joined
        place = after


def _joined(lines: list[str], place: int) -> tuple[str, int]:
    array = _OPENS_ARRAY.match(lines[place]) is not None
    first, after = _continued(lines, place)
    joined, end = first, after
    while end < min(len(lines), place + _JOINED) and (array or _is_open(joined)):
        part, end = _continued(lines, end)
        joined += " " + (_without_comment(part) if array else part)
        if array and re.search(r"\)\s*;?$", joined):
            return joined, end
    return (first, after) if _is_open(joined) else (joined, end)


def _continued(lines: list[str], place: int) -> tuple[str, int]:
    """A line with those that backslashes join to it, comments between them left out; and the next place."""
    parts: list[str] = []
    while place < len(lines):
        stripped = lines[place].strip()
        place += 1
        if parts and stripped.startswith("#"):
            continue
        parts.append(stripped.removesuffix("\\").strip())
        if not stripped.endswith("\\"):
            break
    return " ".join(parts), place


def _without_comment(line: str) -> str:
    return re.sub(r"(?:^|\s)#[^'\"]*$", "", line)


def _is_open(text: str) -> bool:
    """Whether a quotation is not closed."""
    try:
        shlex.split(text, comments=True)
    except ValueError as error:
        return "quotation" in str(error)
    return False


def _simple(statement: str, known: _Variables) -> Iterator[list[str]]:
    """The simple commands of a statement; assignments are remembered."""
    if array := _ARRAY.match(statement):
        words = _tokens(known.put_in(array["value"]))
        known.take(array["name"], array["more"], shlex.join(words))
        return
    words: list[str] = []
    for token in [*_tokens(known.put_in(statement)), ";"]:
        if re.fullmatch(r"[;|&]+", token):
            if words and not _assigns(words, known):
                yield words
            words = []
        else:
            words.append(token)


def _assigns(words: list[str], known: _Variables) -> bool:
    """Whether a command only sets variables, which are remembered."""
    given = words[1:] if words[0] in ("export", "local", "readonly", "declare") else words
    found = [_ASSIGNED.fullmatch(word) for word in given]
    if not given or not all(found):
        return False
    for one in found:
        assert one is not None
        known.take(one["name"], one["more"], one["value"])
    return True


def _tokens(text: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=";|&")
    reader.whitespace_split, reader.commenters = True, "#"
    try:
        return list(reader)
    except ValueError:
        return []


def _instructions(text: str, known: _Variables) -> Iterator[Command]:
    """The commands of a Dockerfile: those that it runs, and entry point and arguments of each stage as one."""
    image, entry, start = "", [], 1
    for line, joined in _statements(text):
        match = _INSTRUCTION.match(joined)
        if match is None:
            continue
        what, rest = match["what"].upper(), match["rest"]
        if what == "FROM":
            if entry:
                yield Command(tuple(entry), start)
            image, entry = next((w for w in rest.split() if not w.startswith("--")), ""), []
        elif what in ("ENV", "ARG"):
            pairs = [_ASSIGNED.fullmatch(word) for word in _tokens(known.put_in(rest))]
            for one in filter(None, pairs):
                known.take(one["name"], one["more"], one["value"])
        elif what == "ENTRYPOINT":
            entry, start = _form(rest, known), line
        elif what == "CMD":
            given = _form(rest, known)
            alone = not entry and given[:1] and given[0].startswith("-")
            yield Command(("docker", "run", image, *given) if alone else (*entry, *given), line)
            entry = []
        elif what == "RUN":
            yield from (Command(tuple(words), line) for words in _simple(rest, known))
    if entry:
        yield Command(tuple(entry), start)


def _form(rest: str, known: _Variables) -> list[str]:
    """The words of an instruction, written as JSON or as a shell's line."""
    if rest.startswith("["):
        try:
            return [known.put_in(str(word)) for word in json.loads(rest)]
        except ValueError:
            return []
    return next(_simple(rest, known), [])
