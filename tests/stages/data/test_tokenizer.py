import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import aether.stages.data.tokenizer as module
from aether.spec.errors import InputError
from aether.stages.data.recipe import END_OF_TEXT
from aether.stages.data.tokenizer import Encoder, save_tokenizer, train_tokenizer

TEXTS = [
    Path(p).read_text(encoding="utf-8")
    for p in (json.__file__, json.decoder.__file__, subprocess.__file__, module.__file__)
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(TEXTS), 1024)


@given(st.text())
@example("def f(x):\n\n        return x  \n\t\r\n \r é 漢字 ١٢٣ \u0301 a\u200b😀")
@example(f"a {END_OF_TEXT} b{END_OF_TEXT}")
@example("  leading, trailing   ")
def test_any_text_comes_back_exactly_and_has_no_special_token(tokenizer, text):
    (ids,) = Encoder(tokenizer).encode([text])
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert 0 not in ids


def test_transformers_loads_it_and_gives_the_same_ids(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    encoder = Encoder(tokenizer)
    for loaded in (AutoTokenizer.from_pretrained(tmp_path), PreTrainedTokenizerFast.from_pretrained(tmp_path)):
        assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (0, 0, 0)
        assert loaded.vocab_size == len(loaded) == 1024
        for text in [*TEXTS, "  x\n\n\ty 漢字 😀 'll  "]:
            assert loaded(text, add_special_tokens=False)["input_ids"] == encoder.encode([text])[0]
            assert loaded(text)["input_ids"] == encoder.encode([text])[0]
            assert loaded.decode(encoder.encode([text])[0]) == text
        assert loaded(END_OF_TEXT)["input_ids"] == [0]


def test_the_end_of_a_line_is_a_token_boundary_that_takes_the_indentation(tokenizer):
    text = "class A:\n    def f(self):\n        return self\n"
    (ids,) = Encoder(tokenizer).encode([text])
    pieces = [tokenizer.decode([i]) for i in ids]
    assert all("\n" not in piece.lstrip() for piece in pieces)
    assert "\n        " in pieces


@pytest.mark.parametrize("threads", ["1", "4"])
def test_training_is_the_same_for_any_number_of_threads(tokenizer, threads, tmp_path):
    code = (
        "import json, sys\nfrom aether.stages.data.tokenizer import *\nuse_threads(int(sys.argv[1]))\n"
        "print(train_tokenizer(iter(json.load(sys.stdin)), 1024).to_str())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, threads],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
        env={"RAYON_NUM_THREADS": threads, "PYTHONPATH": ":".join(sys.path)},
    )
    assert json.loads(done.stdout) == json.loads(tokenizer.to_str())


def test_too_little_text_for_the_vocabulary_says_what_it_allows():
    with pytest.raises(InputError, match=r"data.vocab_size = 4096: .* set vocab_size to at most \d+"):
        train_tokenizer(iter(["a few words, a few words"]), 4096)
