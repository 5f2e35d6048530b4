"""An engine under test: requests to it, what it says, and what one request alone should get."""

import queue
import time

import torch
from tiny_served_model import CONFIG

from aether.stages.serve.engine import Generation, Limits
from aether.stages.serve.sampling import Sampling

TABLE = [bytes([index % 256]) for index in range(CONFIG.vocab_size)]


class Running:
    """An engine, made from limits and where news go, and what it said."""

    def __init__(self, make, max_queue=100, chunk=8, end=0):
        self.news = queue.SimpleQueue()
        self.engine = make(Limits(max_queue, chunk, frozenset([end])), self.news.put)

    def __enter__(self):
        self.engine.start()
        return self

    def __exit__(self, *_):
        self.engine.stop()

    def finish(self, generations):
        """Deltas of each generation until all are finished."""
        found, left = {g: [] for g in generations}, set(generations)
        while left:
            for delta in self.news.get(timeout=20):
                found.setdefault(delta.generation, []).append(delta)
                if delta.finish is not None:
                    left.discard(delta.generation)
        return found

    def wait(self, condition):
        deadline = time.monotonic() + 10
        while not condition(self.engine):
            assert time.monotonic() < deadline
            time.sleep(0.002)


def request(length, output, seed=None, start=1, ignore_eos=True, stops=()):
    prompt = [(start * 37 + 11 * i) % (CONFIG.vocab_size - 1) + 1 for i in range(length)]
    sampling = Sampling.of(0 if seed is None else 0.9, 1, seed)
    return Generation(prompt, output, sampling, stops, ignore_eos)


def greedy(plain, prompt, count):
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(plain(torch.tensor([tokens]))[0, -1].argmax()))
    return bytes(token % 256 for token in tokens[len(prompt) :]).decode("utf-8", "replace")
