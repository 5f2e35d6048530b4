"""The topics of `aether explain`: each holds together, is found by its names, and renders with every number sourced."""

import re
import shlex
from datetime import date, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.counsel.explain import explain, listing, page_of
from aether.knowledge.topic_lookup import find
from aether.knowledge.topics import groups, heads, problems, shelf_life, topic
from aether.report.page import page_html, page_markdown
from aether.spec.errors import InputError
from aether.surfaces.cli.main import main

TODAY = date(2026, 11, 25)


def test_the_library_holds_together():
    assert problems() == []


@pytest.mark.parametrize("name", heads())
def test_a_topic_renders_with_every_number_sourced(name):
    about = topic(name)
    page = page_of(about, TODAY)
    text = page_markdown(page)
    assert about.title in text.replace("\\", "") and "## Sources" in text
    assert all(evidence.kind in ("cited", "assumed") and evidence.source for evidence in page.evidence)
    page_html(page)


@pytest.mark.parametrize("name", heads())
def test_a_topic_is_found_by_each_of_its_names(name):
    assert all(find(spelling) == name for spelling in heads()[name].spellings())


@pytest.mark.parametrize("name", [name for name in heads() if topic(name).command])
def test_the_command_to_try_exists(name):
    words = shlex.split(topic(name).command)
    assert words[0] == "aether"
    command = main.get_command(click.Context(main), words[1])
    assert command is not None
    with click.Context(command) as context:
        command.make_parser(context).parse_args(words[2:])


def test_what_is_old_says_so_and_what_is_not_does_not():
    about = topic("flash-attention")
    days, _ = shelf_life(about)
    read = max(source.read for source in about.source if source.read)
    assert not [s for s in page_of(about, read).stale if "read" in s]
    later = page_of(about, read + timedelta(days=days + 1))
    assert later.stale and "Check again" in page_markdown(later)


def test_a_topic_that_is_not_there_names_the_nearest():
    with pytest.raises(InputError, match="nearest are"):
        explain("flush retention engine", TODAY)
    assert find("flashatention") == "flash-attention"


@given(st.text(max_size=60))
def test_no_words_break_the_lookup(words):
    try:
        assert find(words) in heads()
    except InputError:
        return


def test_the_listing_has_every_topic_once():
    named = [name for names in listing().values() for name in names]
    assert sorted(named) == sorted(heads())
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in groups())


@pytest.mark.parametrize("name, words", [("xlstm", "No command of Aether tries this alone"), ("wanda", "aether ask")])
def test_a_page_says_how_to_try_it_or_that_no_command_does(name, words):
    section = next(s for s in page_of(topic(name), TODAY).report.sections if s.title == "Try it")
    assert words in str(section)
