import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_served_model import write_tokenizer
from tokenizers import Tokenizer, decoders

from aether.spec.errors import InputError
from aether.stages.serve.detokenize import Detokenizer, token_bytes


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder / "tokenizer.json"


@pytest.fixture(scope="module")
def table(reference):
    return token_bytes(reference)


@pytest.fixture(scope="module")
def reference(tokenizer_file):
    return Tokenizer.from_file(str(tokenizer_file))


@given(st.text(max_size=60))
def test_text_comes_back_whole_however_it_is_cut(table, reference, text):
    detokenizer = Detokenizer(table)
    pieces = [detokenizer.push(token) for token in reference.encode(text).ids]
    assert "".join(pieces) + detokenizer.finish() == text
    assert not any("�" in piece for piece in pieces if "�" not in text)


@given(st.lists(st.integers(0, 319), max_size=40))
def test_any_tokens_decode_as_the_tokenizer_decodes_them(table, reference, tokens):
    detokenizer = Detokenizer(table)
    text = "".join(detokenizer.push(token) for token in tokens) + detokenizer.finish()
    assert text == reference.decode(tokens, skip_special_tokens=True)


@settings(max_examples=200)
@given(
    st.text(alphabet="abé✓", max_size=30),
    st.lists(st.text(alphabet="abé✓", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_a_stop_string_ends_the_text_exactly_before_its_first_occurrence(text, stops):
    singles = [bytes([byte]) for byte in range(256)]
    detokenizer = Detokenizer(singles, stops)
    shown = ""
    for byte in text.encode():
        shown += detokenizer.push(byte)
        assert text.startswith(shown), "text that was shown cannot be taken back"
        if detokenizer.stopped:
            break
    shown += detokenizer.finish()
    # Found as early as it can be known: at the shortest beginning of the text that holds a stop string.
    ends = [end for end in range(len(text) + 1) if any(stop in text[:end] for stop in stops)]
    if not ends:
        assert shown == text and not detokenizer.stopped
    else:
        seen = text[: ends[0]]
        assert shown == seen[: min(seen.find(stop) for stop in stops if stop in seen)]
        assert detokenizer.stopped


def test_special_tokens_have_no_text_and_unknown_ones_neither(table):
    detokenizer = Detokenizer(table)
    assert detokenizer.push(0) + detokenizer.push(10**6) + detokenizer.finish() == ""


def test_another_kind_of_tokenizer_is_refused(tokenizer_file):
    other = Tokenizer.from_file(str(tokenizer_file))
    other.decoder = decoders.Metaspace()
    with pytest.raises(InputError, match="byte-level"):
        token_bytes(other)
