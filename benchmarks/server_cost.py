"""What a running server's steps cost, heard by its clients: a table over rows, the price of a prompt, the way in and out.

Nothing is assumed about the engine but that it takes one token of every running request a step and reads prompts beside
them. Bursts of simultaneous requests give the time between tokens at each number of rows; requests that come late to a burst
give what one request takes from everybody else: the burst lasts that much longer than one to which nobody came late, by the
reading of the prompt and by the server's way in and out, which shares the processor with the engine. Requests that come
alone, after silence, give the way in and out of their own. The same sockets and the same client as in a load test, so what
HTTP and the clients' machine add is in every number.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from aether.stages.serve.client import Exchange, stream_completion

T = TypeVar("T")

ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Simultaneous requests that are timed; between them the table is read by straight lines."""
SHORT, LONG = 16, 192
"""Prompt tokens of the bursts: two, to tell what cached positions cost."""
CHUNKS = (16, 64, 128)
"""Prompt tokens of late requests."""
LATE = 8
"""Late requests to one burst: all of them are answered before it ends."""
PAIRS = 5
"""Bursts with late requests, each beside one without."""
SILENCE_S = 0.25
"""Between lone requests: an idle server's caches and clocks are cold, and at low load it is mostly idle."""


@dataclass(frozen=True)
class ServerCost:
    """A step's seconds, from a table of decoding rows, plus cached positions, plus prompt tokens."""

    rows: tuple[float, ...]
    decode_s: tuple[float, ...]
    """Between tokens at `rows`, each with `held` positions in its cache."""
    held: float
    position_s: float
    prompt_s: float
    """What a request takes from all others beside its tokens: parsing, its stream's start and end."""
    prompt_token_s: float
    front_s: float
    """What a lone request's first token takes beyond the engine's step: connection, parsing, the way back."""
    crowd: tuple[float, ...] = (1.0,)
    crowded: tuple[float, ...] = (1.0,)
    """What a step costs in mixed traffic over what bursts say, at `crowd` running requests."""

    def __call__(self, prompt: float, seen: float, rows: float, positions: float) -> float:
        """One step: `prompt` tokens read, `rows` that decode with a mean of `positions` cached. `seen` costs nothing here."""
        decode = float(np.interp(rows, (0.0, *self.rows), (self.bare_s, *self.decode_s)))
        reading = self.prompt_s + self.prompt_token_s * prompt if prompt else 0.0
        alone = decode + self.position_s * rows * (positions - self.held) + reading
        return alone * float(np.interp(rows, self.crowd, self.crowded))

    @property
    def bare_s(self) -> float:
        """A step in which nobody decodes, from the straight line through the first two of the table."""
        first, second = self.decode_s[:2]
        return max(0.0, first - (second - first) / (self.rows[1] - self.rows[0]) * self.rows[0])

    def as_data(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


@dataclass(frozen=True)
class Asker:
    """Asks a server; prompts are random tokens of `said`."""

    url: str
    model: str
    said: Sequence[int]
    random: np.random.Generator

    def ask(self, prompt: int, output: int) -> Awaitable[Exchange]:
        """One request."""
        body = {
            "model": self.model,
            "prompt": self.random.choice(self.said, prompt).tolist(),
            "max_tokens": output,
            "stream": True,
            "temperature": 0,
            "ignore_eos": True,
        }
        return stream_completion(self.url, body | {"stream_options": {"include_usage": True}}, 60.0)

    async def burst(self, count: int, prompt: int, output: int) -> list[Exchange]:
        """`count` requests at once."""
        return list(await asyncio.gather(*(self.ask(prompt, output) for _ in range(count))))

    async def rate_per_s(self, clients: int, prompt: int, output: int, each: int) -> float:
        """Requests per second of clients that ask `each` times, again as soon as they are answered."""

        async def client() -> None:
            for _ in range(each):
                await self.ask(prompt, output)

        begun_s = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return clients * each / (time.perf_counter() - begun_s)

    async def beside(self, rows: int, prompt: int, late: int) -> list[Exchange]:
        """`rows` requests that decode while `late` others come one after the other and ask for one token each."""
        decoding = [asyncio.ensure_future(self.ask(SHORT, 160)) for _ in range(rows)]
        await asyncio.sleep(0.05)
        for _ in range(late):
            await self.ask(prompt, 1)
            await asyncio.sleep(0.01)
        return list(await asyncio.gather(*decoding))


def shared_gaps_s(found: list[Exchange]) -> list[float]:
    """Gaps between tokens while every request of a burst was decoding."""
    begin, end = max(one.pieces_s[0] for one in found), min(one.pieces_s[-1] for one in found)
    gaps = []
    for one in found:
        times = np.array(one.pieces_s)
        inside = times[(times >= begin) & (times <= end)]
        gaps += np.diff(inside).tolist()
    return gaps


def decoding_s(found: list[Exchange]) -> float:
    """Mean seconds from a request's first token to its last."""
    return statistics.fmean(one.pieces_s[-1] - one.pieces_s[0] for one in found)


def calibrate(asker: Asker, slots: int) -> ServerCost:
    """Ask the server until its cost is known."""
    asyncio.run(asker.burst(2, SHORT, 8))
    rows = tuple(count for count in ROWS if count <= slots)
    output = 48
    table = {count: _decode_s(asker, count, SHORT) for count in rows}
    busy = max(rows)
    slope = (_decode_s(asker, busy, LONG) - table[busy]) / (busy * (LONG - SHORT))
    # One request decodes alone when the server is mostly idle, and then everything is cold: time it so.
    table[1] = _trimmed_mean_s([gap for one in _lone(asker, SHORT, output) for gap in np.diff(one.pieces_s)])
    decode = tuple(float(s) for s in np.maximum.accumulate([table[count] for count in rows]))
    cost = ServerCost(tuple(map(float, rows)), decode, SHORT + output / 2, max(0.0, slope), 0.0, 0.0, 0.0)
    cost = _with_prompts(asker, cost)
    longest = max(CHUNKS)
    fronts = [one.pieces_s[0] - one.started_s - cost(longest, 0, 0, 0) for one in _lone(asker, longest, 2)]
    return ServerCost(**(cost.as_data() | {"front_s": max(0.0, statistics.median(fronts))}))


def _decode_s(asker: Asker, count: int, prompt: int) -> float:
    """The middle one of five bursts: what disturbed one of them says nothing of the server."""
    bursts = [asyncio.run(asker.burst(count, prompt, 48)) for _ in range(5)]
    return statistics.median(_trimmed_mean_s(shared_gaps_s(found)) for found in bursts)


def _trimmed_mean_s(gaps: list[float]) -> float:
    """Without the longest hundredth, in which the machine did something else."""
    return float(np.mean(np.sort(gaps)[: max(1, round(0.99 * len(gaps)))]))


def _lone(asker: Asker, prompt: int, output: int, times: int = 10) -> list[Exchange]:
    async def ask() -> list[Exchange]:
        found = []
        for _ in range(times):
            await asyncio.sleep(SILENCE_S)
            found += await asker.burst(1, prompt, output)
        return found

    return asyncio.run(ask())


def _with_prompts(asker: Asker, cost: ServerCost) -> ServerCost:
    """What a request adds to everybody's steps, by a straight line through the late requests' lengths."""
    added = [statistics.fmean(_added_s(asker, rows, prompt) for rows in (2, 8)) for prompt in CHUNKS]
    slope, fixed = np.polyfit(CHUNKS, added, 1)
    prices = {"prompt_token_s": max(0.0, float(slope)), "prompt_s": max(0.0, float(fixed))}
    return ServerCost(**(cost.as_data() | prices))


def _added_s(asker: Asker, rows: int, prompt: int) -> float:
    """Seconds by which one late request makes a burst longer: the middle one of the pairs."""
    differences = []
    for _ in range(PAIRS):
        disturbed = decoding_s(asyncio.run(asker.beside(rows, prompt, LATE)))
        differences.append(disturbed - decoding_s(asyncio.run(asker.beside(rows, prompt, 0))))
    return statistics.median(differences) / LATE
