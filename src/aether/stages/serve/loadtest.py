"""The load generator: its own process, so that measuring does not take the server's time or its interpreter lock.

    python -m aether.stages.serve.loadtest plan.json

First warm-up requests, not counted; then an open loop with Poisson arrivals drawn before it begins (the arrivals never
wait for answers); then a closed loop of clients that keep the server busy. Writes a line per request to requests.jsonl
and both phases to load.json, and says where it is as JSON lines on stdout.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from pydantic import Field

from aether.spec.base import Noun
from aether.spec.brief import Load
from aether.stages.serve import lifeline
from aether.stages.serve.client import Exchange, stream_completion
from aether.stages.serve.recipe import Saturation
from aether.stages.serve.summary import Timing


class LoadPlan(Noun):
    """Everything that the load generator needs. Prompts are lines of {"id", "prompt"}: text or token ids."""

    url: str
    model: str
    prompts_path: str
    out: str
    load: Load = Load()
    saturation: Saturation | None = Saturation()
    warmup_requests: int = Field(default=4, ge=0)
    seed: int = 0
    timeout_s: float = Field(default=60.0, gt=0)
    body: dict = {"temperature": 0, "ignore_eos": True, "stream_options": {"include_usage": True}}
    """Fields of every request besides model, prompt, max_tokens and stream."""


Send = Callable[[dict], Awaitable[Exchange]]
Prompt = dict


def arrivals_s(load: Load, seed: int) -> list[float]:
    """When each request is due, from the start of the phase: a Poisson process, the first one at its own gap."""
    gaps = np.random.default_rng(seed).exponential(1.0 / load.requests_per_s, load.requests)
    return np.cumsum(gaps).tolist()


class Generator:
    """Carries out one plan."""

    def __init__(self, plan: LoadPlan, prompts: list[Prompt]) -> None:
        assert prompts, "no prompts"
        self.plan, self._prompts, self._next = plan, prompts, 0
        self._order = np.random.default_rng(plan.seed + 1).permutation(len(prompts)).tolist()

    def _draw(self) -> Prompt:
        prompt = self._prompts[self._order[self._next % len(self._order)]]
        self._next += 1
        return prompt

    async def _send(self, prompt: Prompt) -> Exchange:
        body = {"model": self.plan.model, "prompt": prompt["prompt"], "max_tokens": self.plan.load.output_tokens}
        return await stream_completion(self.plan.url, body | {"stream": True} | self.plan.body, self.plan.timeout_s)

    async def warm_up(self) -> None:
        """Requests that are not counted, two at a time."""
        for _ in range(0, self.plan.warmup_requests, 2):
            await asyncio.gather(self._send(self._draw()), self._send(self._draw()))

    async def open_loop(self) -> list[Timing]:
        """Send each request when it is due, whatever became of the others."""
        due = arrivals_s(self.plan.load, self.plan.seed)
        prompts = [self._draw() for _ in due]
        found: list[Timing] = []
        zero_s = time.perf_counter() + 0.1

        async def one(index: int) -> None:
            await asyncio.sleep(max(0.0, zero_s + due[index] - time.perf_counter()))
            exchange = await self._send(prompts[index])
            found.append(_timing("open", index, prompts[index], due[index], exchange, zero_s))
            if len(found) % max(1, len(due) // 20) == 0:
                say("open loop", len(found), len(due))

        await asyncio.gather(*(one(index) for index in range(len(due))))
        return sorted(found, key=lambda timing: timing.index)

    async def closed_loop(self, saturation: Saturation) -> tuple[list[Timing], tuple[float, float]]:
        """Clients that send again as soon as they are answered; and the window in which all of them were at it."""
        found: list[Timing] = []
        zero_s = time.perf_counter()
        began: list[float] = []

        async def client(number: int) -> None:
            first = True
            while first or time.perf_counter() < end_s:
                prompt = self._draw()
                started_s = time.perf_counter() - zero_s
                exchange = await self._send(prompt)
                found.append(_timing("closed", len(found), prompt, started_s, exchange, zero_s))
                if first:
                    began.append(exchange.pieces_s[0] - zero_s if exchange.pieces_s else exchange.ended_s - zero_s)
                first = False
                if exchange.error is not None:
                    # A server that refuses at once would be asked thousands of times a second.
                    await asyncio.sleep(0.05)
                if number == 0:
                    say("closed loop", min(time.perf_counter() - zero_s, saturation.seconds), saturation.seconds)

        # The first wave fills the server; tokens count from when all have begun, or from a fifth of the time.
        end_s = zero_s + saturation.seconds * 1.2
        await asyncio.gather(*(client(number) for number in range(saturation.clients)))
        start_s = min(max(began), saturation.seconds * 0.2)
        return found, (start_s, start_s + saturation.seconds)


def _timing(phase, index: int, prompt: Prompt, due_s: float, exchange: Exchange, zero_s: float) -> Timing:
    return Timing(
        phase=phase,
        index=index,
        prompt=prompt["id"],
        due_s=due_s,
        started_s=exchange.started_s - zero_s,
        ended_s=exchange.ended_s - zero_s,
        pieces_s=tuple(round(piece - zero_s, 6) for piece in exchange.pieces_s),
        prompt_tokens=exchange.prompt_tokens,
        output_tokens=exchange.output_tokens,
        status=exchange.status,
        finish=exchange.finish,
        error=exchange.error,
    )


def say(message: str, done: float, total: float) -> None:
    """Progress for whoever started this process."""
    sys.stdout.write(json.dumps({"message": message, "done": done, "total": total}) + "\n")
    sys.stdout.flush()


async def carry_out(plan: LoadPlan) -> None:
    """All phases of a plan, and its two files."""
    lines = Path(plan.prompts_path).read_text(encoding="utf-8").splitlines()
    generator = Generator(plan, [json.loads(line) for line in lines])
    await generator.warm_up()
    timings = await generator.open_loop()
    window = None
    if plan.saturation is not None:
        closed, window = await generator.closed_loop(plan.saturation)
        timings += closed
    out = Path(plan.out)
    text = "".join(json.dumps(timing.as_line()) + "\n" for timing in timings)
    (out / "requests.jsonl").write_text(text, encoding="utf-8")
    (out / "load.json").write_text(json.dumps({"window_s": window}), encoding="utf-8")


def read_timings(path: Path) -> list[Timing]:
    """The requests that a load test wrote."""
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Timing(**line | {"pieces_s": tuple(line["pieces_s"])}) for line in raw]


def main() -> int:
    """The command line: one plan. Ends with the process that started it."""
    lifeline.hold()
    plan = LoadPlan.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    asyncio.run(carry_out(plan))
    return 0


if __name__ == "__main__":
    sys.exit(main())
