import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aether.models.ngrams import _BASE, _STEP, jaccard, ngram_hashes, shingles, token_hashes
from aether.models.packing import mix64

MASK = (1 << 64) - 1
TOKEN = re.compile(rb"[0-9A-Za-z_\x80-\xff]+|[^\s0-9A-Za-z_\x80-\xff]")


def mixed(value):
    return int(mix64(np.array([value], np.uint64))[0])


def reference_tokens(raw):
    return [
        mixed(sum((b + 1) * pow(int(_BASE), i, 1 << 64) for i, b in enumerate(t)) & MASK) for t in TOKEN.findall(raw)
    ]


@given(st.one_of(st.binary(max_size=60), st.text(alphabet="ab_ .(é\n", max_size=60).map(str.encode)))
def test_tokens_equal_plain_python(raw):
    assert token_hashes(raw).tolist() == reference_tokens(raw)


@given(st.lists(st.integers(0, MASK), max_size=20), st.integers(1, 14))
def test_ngrams_equal_plain_python(tokens, n):
    wanted = []
    for start in range(len(tokens) - n + 1):
        total = 0
        for token in tokens[start : start + n]:
            total = (total * int(_STEP) + token) & MASK
        wanted.append(mixed(total))
    assert ngram_hashes(np.array(tokens, np.uint64), n).tolist() == wanted


def test_place_in_the_file_and_white_space_do_not_matter():
    a = token_hashes(b"def f(x):\n    return x")
    b = token_hashes(b"\n\n\t  def f ( x ) :return   x\n")
    assert (a == b).all() and a.size == 8


def test_different_tokens_have_different_hashes():
    names = [f"name{n}".encode() for n in range(20_000)]
    assert np.unique(token_hashes(b" ".join(names))).size == len(names)
    assert np.unique(token_hashes(b"a aa aaa b ba ab aab")).size == 7


def test_a_short_text_is_one_shingle_and_none_is_empty():
    assert shingles(b"one two", 5).size == 1
    assert shingles(b"  ", 5).size == 0


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_jaccard_equals_its_definition(a, b):
    arrays = [np.array(sorted(s), np.uint64) for s in (a, b)]
    assert jaccard(*arrays) == (len(a & b) / len(a | b) if a | b else 1.0)
