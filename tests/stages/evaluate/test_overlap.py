import gzip
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.models.ngrams import word_spans
from aether.spec.errors import InputError
from aether.stages.evaluate.overlap import Overlap, text_of, training_documents

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "sh", "t")]


def sentence(rng, length):
    return " ".join(rng.choice(WORDS) for _ in range(length))


def searched(items, documents):
    overlap = Overlap(items)
    for number, text in enumerate(documents, 1):
        overlap.add(text, "train", number)
    return overlap.finish()


def test_planted_items_are_found_and_no_others():
    rng = random.Random(0)
    items = [sentence(rng, rng.randint(20, 60)) for _ in range(1000)]
    planted = set(range(0, 1000, 5))
    documents = [sentence(rng, 300) for _ in range(600)]
    for number in planted:
        words = items[number].split()
        noisy = [w if rng.random() > 0.03 else rng.choice(WORDS) for w in words] if number % 2 else words
        documents.append(f"{sentence(rng, 100)} {' '.join(noisy).upper()}, {sentence(rng, 100)}")
    rng.shuffle(documents)
    touched = {n for n, one in enumerate(searched(items, documents)) if one.band in ("partly", "contaminated")}
    assert len(touched & planted) >= 0.99 * len(planted)
    assert len(touched - planted) <= 0.01 * (1000 - len(planted))


def test_the_place_is_exact_in_both_texts():
    item = "Ignore me. The quick brown fox jumps over the lazy dog, twice on Sundays and once each Monday."
    document = "été: yes — THE QUICK brown fox; jumps over the lazy dog twice on sundays and nothing else"
    (found,) = searched([item], ["nothing here", document])
    place = found.place
    assert place is not None and (place.file, place.document) == ("train", 2) and found.longest == 13
    assert (
        document.encode()[place.start : place.end].decode()
        == "THE QUICK brown fox; jumps over the lazy dog twice on sundays and"
    )
    assert (
        item.encode()[place.item_start : place.item_end].decode()
        == "The quick brown fox jumps over the lazy dog, twice on Sundays and"
    )
    assert found.coverage == pytest.approx(13 / found.words)


def test_an_item_edited_throughout_is_a_near_copy():
    rng = random.Random(1)
    item = sentence(rng, 60).split()
    edited = [w if i % 16 else "zzz" for i, w in enumerate(item)]
    (found,) = searched([" ".join(item)], [sentence(rng, 60), " ".join(edited)])
    assert found.near >= 0.5 and found.near_place == ("train", 2) and found.band == "contaminated"


def test_a_template_that_items_share_counts_for_nothing():
    rng = random.Random(2)
    template = "Answer the following question by choosing one of the four options that are given below please"
    items = [f"{template} {sentence(rng, 12)}" for _ in range(50)]
    assert {one.band for one in searched(items, [template + " " + sentence(rng, 20)])} == {"clean"}


def test_short_items_are_not_judged():
    rng = random.Random(3)
    found = searched(["yes it is", sentence(rng, 20)], ["yes it is"])
    assert [one.band for one in found] == ["too short", "clean"]
    with pytest.raises(InputError, match="none has 5 words"):
        Overlap(["one two"])


@given(st.text(), st.text(), st.lists(st.sampled_from(WORDS), min_size=6, max_size=30))
def test_an_item_inside_any_text_is_covered_whole(before, after, words):
    item = " ".join(words)
    (found,) = searched([item], [f"{before} {item} {after}"])
    assert found.coverage == 1.0 and found.band == "contaminated"


@given(st.text())
def test_spans_cut_the_words_out(text):
    raw = text.encode()
    hashes, starts, ends = word_spans(raw)
    assert len(hashes) == len(starts) == len(ends) and (starts < ends).all() and (np.diff(starts) > 0).all()
    again = [word_spans(raw[s:e])[0] for s, e in zip(starts, ends, strict=True)]
    assert [h[0] for h in again] == hashes.tolist()


def test_training_files_of_every_kind_are_streamed(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"x": "one", "y": {"z": ["two", 3]}}) + "\n\n")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps({"x": "three"}) + "\n")
    pq.write_table(pa.table({"x": ["four", "five"]}), tmp_path / "c.parquet")
    (tmp_path / "d.txt").write_text("six\nseven")
    texts = [text for text, _, _ in training_documents([tmp_path])]
    assert texts == ["one\ntwo", "three", "four", "five", "six\nseven"]
    assert text_of({"x": "one", "y": "two"}, ["y"]) == "two"
    with pytest.raises(InputError, match="no such file"):
        list(training_documents([tmp_path / "none"]))
    (tmp_path / "bad.jsonl").write_text("{}\nx\n")
    with pytest.raises(InputError, match="line 2"):
        list(training_documents([tmp_path / "bad.jsonl"]))
    with pytest.raises(InputError, match="the row has x"):
        text_of({"x": "1"}, ["y"])


def test_a_passage_over_a_cut_of_plain_text_is_whole_in_one_piece(tmp_path):
    rng = random.Random(4)
    lines = [sentence(rng, 10) for _ in range(30_000)]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    items = [" ".join(lines[i : i + 3]) for i in range(0, 30_000, 500)]
    overlap = Overlap(items)
    for text, file, number in training_documents([tmp_path / "t.txt"]):
        overlap.add(text, file, number)
    assert overlap.documents > 1 and all(one.coverage == 1.0 for one in overlap.finish())
