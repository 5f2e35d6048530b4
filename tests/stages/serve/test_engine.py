import queue
import threading

import pytest
import torch
from serve_engines import TABLE, Running, greedy, request
from tiny_served_model import CONFIG

from aether.models.decoder import Decoder
from aether.models.gguf_file import write_gguf
from aether.models.packed import PackedDecoder
from aether.models.weights import to_qwen3
from aether.stages.serve.engine import Generation, Limits, NotServing, QueueFull
from aether.stages.serve.llama_engine import LlamaEngine, LlamaModel, LlamaSettings
from aether.stages.serve.packed_engine import PackedEngine
from aether.stages.serve.sampling import Sampling


def started(engine, plain, slots=4, max_queue=100, chunk=8, end=0):
    """Either engine, in float32."""
    return Running(lambda limits, deliver: make(engine, plain, slots, limits, deliver), max_queue, chunk, end)


def written(plain):
    return lambda path: write_gguf(path, CONFIG, to_qwen3(plain), "float32")


def make(engine, plain, slots, limits, deliver):
    if engine == "packed":
        return PackedEngine(PackedDecoder(CONFIG, to_qwen3(plain), slots), TABLE, limits, deliver)
    settings = LlamaSettings(slots, limits.chunk_tokens, 1, "float32")
    model = LlamaModel(CONFIG, written(plain), settings)
    return LlamaEngine(model, TABLE, limits, deliver)


@pytest.fixture(scope="module", params=["packed", "llama.cpp"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def plain():
    torch.set_num_threads(1)
    model = Decoder(CONFIG)
    # Of 40 seeds the one whose greedy choices lie furthest apart (0.06): the engines' logits differ by up to 0.0005.
    model.initialise(17, embedding_std=0.5, matrix_scale=1.7)
    return model


def test_batched_text_equals_that_of_the_plain_decoder_alone(name, plain):
    lengths = [(5, 12), (30, 20), (1, 7), (60, 25), (17, 1), (40, 30), (8, 16)]
    with started(name, plain, slots=3) as running:
        wanted = [request(p, o, start=i) for i, (p, o) in enumerate(lengths)]
        for generation in wanted:
            running.engine.submit(generation)
        found = running.finish(wanted)
    for generation in wanted:
        deltas = found[generation]
        text = "".join(delta.text for delta in deltas)
        assert text == greedy(plain, generation.prompt, generation.max_tokens)
        assert deltas[-1].produced == generation.max_tokens and deltas[-1].finish == "length"
        assert [delta.produced for delta in deltas] == list(range(1, generation.max_tokens + 1))


def test_a_seeded_request_says_the_same_alone_and_in_company(name, plain):
    with started(name, plain) as running:
        alone = request(10, 20, seed=5)
        running.engine.submit(alone)
        first = "".join(d.text for d in running.finish([alone])[alone])
        again, others = request(10, 20, seed=5), [request(20, 30, seed=s, start=s) for s in range(6)]
        for generation in [*others[:3], again, *others[3:]]:
            running.engine.submit(generation)
        second = "".join(d.text for d in running.finish([again, *others])[again])
    assert first == second


def test_end_of_text_and_stop_strings_end_a_request(name, plain):
    text = greedy(plain, request(5, 12).prompt, 12)
    stop = text[4:6]
    with started(name, plain) as running:
        generation = request(5, 12, stops=(stop,))
        running.engine.submit(generation)
        deltas = running.finish([generation])[generation]
    assert "".join(d.text for d in deltas) == text[: text.find(stop)]
    assert deltas[-1].finish == "stop"


def test_the_end_token_ends_it_unless_it_is_ignored(name, plain):
    generation = request(5, 12)
    first = int(plain(torch.tensor([generation.prompt]))[0, -1].argmax())
    heeding = request(5, 12, ignore_eos=False)
    with started(name, plain, end=first) as running:
        running.engine.submit(heeding)
        (delta,) = running.finish([heeding])[heeding]
        assert (delta.finish, delta.text, delta.produced) == ("stop", "", 1)
        running.engine.submit(generation)
        assert running.finish([generation])[generation][-1].produced == 12


def test_cancelling_frees_the_slot_and_the_place_in_the_queue(name, plain):
    with started(name, plain, slots=1, max_queue=1) as running:
        engine = running.engine
        long, waiting = request(5, 90), request(5, 3)
        engine.submit(long)
        running.wait(lambda e: e.running == 1)
        engine.submit(waiting)
        with pytest.raises(QueueFull):
            engine.submit(request(5, 3))
        engine.cancel(waiting)
        running.wait(lambda e: e.waiting == 0)
        after = request(5, 3)
        engine.submit(after)
        engine.cancel(long)
        engine.cancel(long)
        found = running.finish([after])
        assert found[after][-1].finish == "length"
        assert engine.counters.cancelled == 2


def test_draining_takes_nothing_new_and_finishes_what_it_has(name, plain):
    with started(name, plain) as running:
        generation = request(5, 40)
        running.engine.submit(generation)
        running.engine.drain()
        with pytest.raises(NotServing):
            running.engine.submit(request(5, 3))
        assert running.finish([generation])[generation][-1].finish == "length"


def test_stopping_tells_everyone(name, plain):
    running = started(name, plain, slots=1)
    running.engine.start()
    generations = [request(5, 90), request(5, 90)]
    for generation in generations:
        running.engine.submit(generation)
    running.wait(lambda e: e.running == 1)
    running.engine.stop()
    found = running.finish(generations)
    assert {deltas[-1].finish for deltas in found.values()} <= {"error", "length"}
    assert found[generations[1]][-1].finish == "error"
    assert running.engine.state == "stopped"


def failure_of(engine, news):
    """What its thread raised when an engine that cannot step was asked once; the request must hear of it."""
    seen = []
    hook, threading.excepthook = threading.excepthook, seen.append
    try:
        engine.start()
        engine.submit(request(5, 3))
        (delta,) = news.get(timeout=10)
        engine.stop()
    finally:
        threading.excepthook = hook
    assert delta.finish == "error" and engine.state == "failed"
    return seen


def test_a_failed_step_leaves_nobody_waiting(plain):
    class Broken(PackedDecoder):
        def step(self, *_arguments):
            raise RuntimeError("out of memory")

    news = queue.SimpleQueue()
    engine = PackedEngine(Broken(CONFIG, to_qwen3(plain), 2), TABLE, Limits(4, 8, frozenset([0])), news.put)
    seen = failure_of(engine, news)
    assert isinstance(seen[0].exc_value, RuntimeError)
    with pytest.raises(NotServing):
        engine.submit(request(5, 3))


def test_a_request_that_llama_cpp_refuses_leaves_nobody_waiting(plain):
    class Short(LlamaModel):
        """Refuses by asking for more context than there is."""

        def complete(self, generation, hear):
            super().complete(Generation([1] * 10 * CONFIG.context_tokens, 1, generation.sampling), hear)

    news = queue.SimpleQueue()
    model = Short(CONFIG, written(plain), LlamaSettings(1, 8, 1, "float32"))
    engine = LlamaEngine(model, TABLE, Limits(4, 8, frozenset([0])), news.put)
    seen = failure_of(engine, news)
    assert "refused" in str(seen[0].exc_value)


def test_the_nucleus_of_llama_cpp_is_ours(plain):
    """A nucleus so small that one token is left is greedy, whatever the temperature: temperature comes first."""
    wanted = [
        Generation([5, 6, 7], 20, Sampling.of(0.0 if greedily else 1.5, 1e-6, 3), (), True) for greedily in (1, 0)
    ]
    with started("llama.cpp", plain) as running:
        for generation in wanted:
            running.engine.submit(generation)
        found = running.finish(wanted)
    first, second = ("".join(delta.text for delta in found[generation]) for generation in wanted)
    assert first == second
