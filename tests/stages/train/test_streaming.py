"""Text that is tokenised while it trains: every document once an epoch, the same batches with any number of workers, to the sample."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import write_tiny_data
from tiny_training import recipe, same_weights
from tokenizers import Tokenizer

from aether.models.packing import PackedTokens
from aether.spec.errors import InputError
from aether.spec.run import StepContext
from aether.stages.data.tokenizer import save_tokenizer, train_tokenizer
from aether.stages.train.batches import MixedWindows, ShuffledWindows, windows
from aether.stages.train.loop import Loop, new_state
from aether.stages.train.metrics import Logs
from aether.stages.train.mixing import MixturePlan, Stretch, Turns
from aether.stages.train.streaming import StreamedWindows
from aether.stages.train.tokenising import Tokenising

torch.set_num_threads(1)
VOCABULARY = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data step's folder with a real tokenizer, and texts.jsonl beside it."""
    folder = tmp_path_factory.mktemp("streaming")
    write_tiny_data(folder / "data")
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "two words", "<|endoftext|>", "ünïcode", "\n"]
    texts = [" ".join(rng.choice(words, rng.integers(1, 60))) for _ in range(300)]
    save_tokenizer(train_tokenizer(iter(texts), VOCABULARY), folder / "data" / "tokenizer")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def stream(data: Path, workers: int = 0, seed: int = 0, context: int = 16) -> StreamedWindows:
    """Of small blocks."""
    return StreamedWindows(supply(data, workers, seed), 0, context, seed, keep=8)


def supply(data: Path, workers: int = 0, seed: int = 0, files: int = 1) -> Tokenising:
    """`files` times the same file, in blocks of another order each."""
    tokenizer = data / "data" / "tokenizer" / "tokenizer.json"
    return Tokenising([data / "texts.jsonl"] * files, tokenizer, seed, workers, block_bytes=6_000)


def mixed(data: Path, workers: int = 0) -> MixedWindows:
    """Three parts of one text and one of another, of which a second phase takes more, with one part that is packed."""
    texts = supply(data, workers, files=2)
    streams = {f"text {place}": StreamedWindows(texts, place, 16, place, keep=8) for place in range(2)}
    packed = ShuffledWindows(PackedTokens(data / "data" / "train", 16, 0), 0)
    plan = MixturePlan([Stretch(0, Turns((3, 1, 1))), Stretch(200, Turns((1, 4, 0)))])
    return MixedWindows(streams | {"packed": packed}, plan, keep=8)


def test_every_token_is_an_input_once_in_an_epoch_and_never_over_its_document(data):
    tokenizer = Tokenizer.from_file(str(data / "data" / "tokenizer" / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    texts = [json.loads(line)["text"] for line in (data / "texts.jsonl").read_text().splitlines()]
    wanted = sorted((0, *tokenizer.encode(text).ids) for text in texts)
    total = sum(map(len, wanted))
    own, rows = stream(data), []
    for index in range(total // 16 + 1):
        tokens, ids = own.batch(index, 1)
        rows.append((own._at(index).place.epoch, ids[0], tokens[0], index, own.documents(index)))
    inputs = [
        (int(i) + epoch * 300, int(t))
        for epoch, ids, tokens, *_ in rows
        for i, t in zip(ids[:-1], tokens[:-1], strict=True)
    ]
    found: dict[int, list[int]] = {}
    for number, token in inputs:
        found.setdefault(number, []).append(token)
    # Windows come shuffled within a block, so that a document's pieces do: as bags.
    bags = sorted(tuple(sorted(document)) for number, document in found.items() if number < 300)
    missing = [bag for bag in map(tuple, map(sorted, wanted)) if bag not in bags]
    assert len(bags) == 300 and len(missing) <= 1, (
        "all documents, but for the end of the one that the next window goes on with"
    )
    named = rows[3][4]
    assert named[0].id.startswith("texts.jsonl:") and named[0].size_bytes > 0


@pytest.mark.slow
@pytest.mark.parametrize("make", [stream, mixed])
def test_batches_are_the_same_with_any_number_of_workers(data, make):
    """Over more than an epoch."""
    one = make(data)
    wanted = [one.batch(first, 8) for first in range(0, 1200, 8)]
    for workers in (1, 2):
        other = make(data, workers)
        for first, (tokens, ids) in zip(range(0, 1200, 8), wanted, strict=True):
            got = other.batch(first, 8)
            assert np.array_equal(got[0], tokens) and np.array_equal(got[1], ids), (workers, first)
        other.close()
    assert not np.array_equal(stream(data, seed=1).batch(0, 8)[0], wanted[0][0])


@pytest.mark.parametrize("make", [stream, mixed])
@pytest.mark.parametrize("cursor", [0, 5, 123, 400, 1100])
def test_a_state_goes_on_at_its_sample(data, cursor, make):
    one = make(data)
    for first in range(0, cursor, 5):
        one.batch(first, min(5, cursor - first))
    again = make(data)
    again.load(json.loads(json.dumps(one.state(cursor))))
    for first in range(cursor, cursor + 60, 6):
        for a, b in zip(again.batch(first, 6), one.batch(first, 6), strict=True):
            assert np.array_equal(a, b)


def test_a_run_goes_on_to_the_sample(data, tmp_path):
    config = recipe().model.model_copy(update={"vocab_size": VOCABULARY})
    wanted = recipe(model=config, texts=str(data / "texts.jsonl"), workers=0, steps=12)
    inputs = {"data": data / "data"}

    def loop(out: str) -> Loop:
        context = StepContext("train", tmp_path / out, inputs, 0, 1, lambda progress: None)
        batches = stream(data, context=config.context_tokens)
        return Loop(wanted, new_state(wanted, 0), batches, context)

    assert wanted.batch_sequences <= 8 and isinstance(windows(wanted, inputs, 0), StreamedWindows)

    whole, cut, again = loop("whole"), loop("cut"), loop("again")
    whole.run("x")
    for _ in range(5):
        cut.update()
    cut._save(Logs(tmp_path / "again", {}), "x")
    shutil.copytree(cut.folder, again.folder)
    again.run("x")
    assert same_weights(whole.state, again.state)


def test_what_is_no_document_is_named_and_what_does_not_go_together_refused(data, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"words": "b"}\n')
    own = Tokenising([tmp_path / "bad.jsonl"], data / "data" / "tokenizer" / "tokenizer.json", 0, 0)
    with pytest.raises(InputError, match="line 2 is not an object"):
        StreamedWindows(own, 0, 16, 0, 8).batch(0, 1)
    two = {"sources": [{"input": "data", "weight": 1, "epochs": 99}, {"input": "web", "weight": 1}]}
    for texts, mixture, mend in (
        ("x.jsonl", two, "give a file for some of the sources data, web"),
        ({"web": "x.jsonl"}, {}, "without a mixture give one file"),
        ({"wob": "x.jsonl"}, two, "no source of the mixture has that name"),
    ):
        with pytest.raises(InputError, match=mend):
            recipe(texts=texts, mixture=mixture)
    texts, inputs = str(data / "texts.jsonl"), {"data": data / "data"}
    with pytest.raises(InputError, match="texts has it too"):
        windows(recipe(texts={"data": texts}, mixture=two), inputs, 0)
    config = recipe().model.model_copy(update={"vocab_size": VOCABULARY})
    with pytest.raises(InputError, match=r"web would be read 1\.\d+ times \(1,280 windows\)"):
        windows(recipe(model=config, steps=640, texts={"web": texts}, mixture=two), inputs, 0)
    assert not {"texts", "workers"} & set(recipe().model_dump())
    assert isinstance(windows(recipe(), {"data": data / "data"}, 0)._packed, PackedTokens)


KILLED = """
import os, signal, sys
from pathlib import Path
from aether.stages.train.tokenising import Tokenising

if __name__ == "__main__":
    data = Path(sys.argv[1])
    texts = Tokenising([data / "texts.jsonl"], data / "data" / "tokenizer" / "tokenizer.json", 0, workers=2, block_bytes=6_000)
    for _ in range(int(sys.argv[2])):
        texts.next(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("blocks", [1, 3])
def test_workers_do_not_outlive_a_killed_training(data, tmp_path, blocks):
    """Killed while they start (the first block is made beside them), and amid their work."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    training = subprocess.Popen([sys.executable, script, data, str(blocks)], start_new_session=True)
    assert training.wait(60) == -signal.SIGKILL
    until = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):  # the workers are of its process group
        while time.monotonic() < until:
            os.killpg(training.pid, 0)
            time.sleep(0.2)
