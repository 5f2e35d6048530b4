"""What the page of an evaluation calls ability: only a score that is shown to be above picking an option by chance."""

from pathlib import Path

import pytest

from aether.counsel.evaluating import Evaluated, parts_of, slices_of
from aether.evidence.items import Item, scores


def _item(task: str, number: int, metric: str, value: float, **more: object) -> Item:
    fields = {"prompt_sha256": "0" * 64, "prompt": "q", "answer": "a", "target": "a", "cluster": str(number)}
    return Item.model_validate(
        {"task": task, "id": str(number), "values": {metric: value}} | fields | {"distribution": "out"} | more
    )


def _page(items: list[Item]):
    parts = parts_of(Evaluated(Path(), {}, items, scores(items), slices_of(items), [], [], [{}]))
    able = parts.found[0].model_dump_json()
    return able, "".join(block.model_dump_json() for block in parts.cannot), {row.id: row for row in parts.evidence}


def test_a_score_at_chance_is_no_ability():
    guessed = [_item("pairs", n, "acc", float(n % 2), options=2) for n in range(100)]
    known = [_item("four", n, "acc", float(n % 2), options=4) for n in range(100)]
    able, cannot, evidence = _page([*guessed, *known])
    assert '"four"' in able and '"pairs"' not in able
    assert '"pairs"' in cannot and "not shown to be better than chance" in cannot.lower() and '"four"' not in cannot
    assert evidence["evaluate.chance.pairs.acc.out"].value == 0.5
    assert "evaluate.pairs.acc.out" in evidence, "the card keeps the score"


def test_options_of_several_sizes_have_the_mean_chance_and_nothing_else_may_be_left():
    items = [_item("mixed", n, "acc", float(n % 8 < 3), options=2 if n % 2 else 4) for n in range(80)]
    able, cannot, evidence = _page(items)
    assert evidence["evaluate.chance.mixed.acc.out"].value == pytest.approx(0.375)
    assert "no score is above what chance gives" in able and '"mixed"' in cannot


def test_what_was_written_is_no_ability_only_where_nothing_was_right():
    able, cannot, _ = _page([_item("sums", n, "exact_match", float(n % 4 == 0)) for n in range(40)])
    assert '"sums"' in able and '"sums"' not in cannot
    able, cannot, _ = _page([_item("sums", n, "exact_match", 0.0) for n in range(40)])
    assert '"sums"' not in able and '"sums"' in cannot


def test_a_perplexity_is_so_much_per_word():
    items = [_item("text", n, "word_perplexity", -50.0 - n, weights={"word_perplexity": 10.0}) for n in range(30)]
    _, _, evidence = _page(items)
    assert evidence["evaluate.text.word_perplexity.out"].unit == "per word"
