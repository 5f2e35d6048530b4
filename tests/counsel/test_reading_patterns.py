"""Patterns that are made when they are needed match what they would match if they were always made."""

import functools
import importlib
import json
import pkgutil
import unicodedata
from pathlib import Path

import pytest

import aether.counsel.reading
from aether.counsel.reading import languages, places, quantities, turns
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Text

GOLDEN = Path(__file__).parents[1] / "golden" / "requests.jsonl"
MODULES = [importlib.import_module(f"aether.counsel.reading.{m.name}") for m in pkgutil.iter_modules(aether.counsel.reading.__path__)]  # fmt: skip


def originals() -> list[str]:
    labels = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [text for label in labels for text in (label["text"], *label.get("earlier", ()))]


@functools.cache
def texts() -> tuple[str, ...]:
    return tuple(Text.of(text).plain for text in originals())


def guarded() -> list[Lazy]:
    own = [value for module in MODULES for value in vars(module).values() if isinstance(value, Lazy)]
    several = [*(one for row in turns.TURNS.values() for one in row), *places._CORPUS.values()]
    labelled = [row[0] for row in quantities._LABELLED]
    return [one for one in dict.fromkeys([*own, *several, *labelled]) if one.words != ("",)]


@pytest.mark.parametrize("pattern", guarded(), ids=lambda p: p.words[0])
def test_no_text_has_a_match_without_one_of_the_words(pattern):
    for plain in texts():
        if match := pattern.made.search(plain):
            assert pattern.may_match(plain), (match[0], plain)
            assert any(word in match[0] for word in pattern.words), (match[0], pattern.words)


def test_a_text_with_a_foreign_word_is_known_by_one_of_them():
    for text in originals():
        plain = unicodedata.normalize("NFKC", text).lower()
        if match := languages._foreign().search(plain):
            told = not languages._TELLING.isdisjoint(languages._WORD.findall(plain))
            assert told or languages._EASTERN_LETTER.search(plain), (match[0], plain)


def test_a_pattern_is_made_once_and_only_for_its_words():
    pattern = Lazy(r"\bgo(?:es|ing)? up", "go")
    assert pattern.search("a plain text") is None and "made" not in vars(pattern)
    assert pattern.search("it goes up") and pattern.made is pattern.made
    assert [m[0] for m in pattern.finditer("go up, going up")] == ["go up", "going up"]
    assert pattern.match("x go up", 2) and pattern.fullmatch("go up") and not pattern.fullmatch("go up again")
