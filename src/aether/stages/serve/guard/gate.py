"""The defences of a running server in one place: admits clients, screens texts off the event loop, counts, and writes the log."""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from starlette.requests import Request

from aether.evidence.files import explained_os_errors
from aether.stages.serve.guard.access import RateLimit, client_of
from aether.stages.serve.guard.screen import Screen, Withheld
from aether.stages.serve.guard.settings import GuardSettings, read_clients
from aether.stages.serve.observe import Histogram
from aether.stages.serve.protocol import BadRequest, Wish


class Gate:
    """Made once, before anything is served. Raises InputError when a file that the settings name cannot be read."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings, self.screen = settings, Screen(settings)
        self.clients = read_clients(Path(settings.keys)) if settings.keys else ()
        limited = [settings.requests_per_minute, *(client.requests_per_minute for client in self.clients)]
        self._limits = {rate: RateLimit(rate, settings.burst) for rate in limited if rate is not None}
        self.decisions: Counter[tuple[str, str]] = Counter()
        """By (request or reply or access, what was decided)."""
        self.seconds = Histogram()
        self._log = _opened(Path(settings.log)) if settings.log else None

    @property
    def screens_requests(self) -> bool:
        """Whether any check looks at requests."""
        settings = self.settings
        return settings.rules or settings.classifier is not None or settings.guard_model is not None

    def admit(self, request: Request) -> str:
        """Who asks. Raises BadRequest 401 or 429."""
        name, rate = request.client.host if request.client else "unknown", self.settings.requests_per_minute
        try:
            if self.clients:
                client = client_of(request.headers.get("authorization"), self.clients)
                name, rate = client.name, client.requests_per_minute or rate
            if rate is not None:
                self._limits[rate].take(name)
        except BadRequest as refusal:
            self._note("access", "no key" if refusal.status == 401 else "too often", name, "")
            raise
        return name

    async def request(self, who: str, turns: list[str]) -> Withheld | None:
        """Whether what was said is let in."""
        if not self.screens_requests:
            return None
        began = time.perf_counter()
        found = await asyncio.to_thread(self.screen.request, turns)
        self.seconds.add(time.perf_counter() - began)
        self._note("request", found.check if found else "let through", who, "\n".join(turns), found)
        return found

    async def reply(self, who: str, turns: list[str], text: str) -> Withheld | None:
        """Whether an answer is let out."""
        began = time.perf_counter()
        found = await asyncio.to_thread(self.screen.reply, turns, text)
        self.seconds.add(time.perf_counter() - began)
        self._note("reply", found.check if found else "let through", who, text, found)
        return found

    def lines(self) -> Iterable[str]:
        """For the page of metrics."""
        yield "# HELP aether_guard_decisions_total What the guard decided, by what it looked at."
        yield "# TYPE aether_guard_decisions_total counter"
        for (what, decision), count in sorted(self.decisions.items()):
            yield f'aether_guard_decisions_total{{what="{what}",decision="{decision}"}} {count}'
        yield from self.seconds.lines("aether_guard_seconds", "Time of the guard's checks of one text.")

    def close(self) -> None:
        """The log is whole when this returns."""
        if self._log is not None:
            self._log.close()

    def _note(self, what: str, decision: str, who: str, text: str, found: Withheld | None = None) -> None:
        self.decisions[what, decision] += 1
        if self._log is None or (found is None and what != "access"):
            return
        row = {"time": round(time.time(), 3), "who": who, "what": what, "decision": decision, "why": found.why if found else "",
               "characters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}  # fmt: skip
        self._log.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._log.flush()


def _opened(path: Path) -> TextIO:
    with explained_os_errors(path):
        # It stays open as long as the server runs; `close` ends it.
        return path.open("a", encoding="utf-8")


def turns_of(wish: Wish, decode: Callable[[list[int]], str]) -> list[str]:
    """What the client's people said: every user turn of a chat, or the prompt as text."""
    if isinstance(wish.prompt, str):
        return [wish.prompt]
    if wish.chat:
        return [m["content"] for m in wish.prompt if isinstance(m, dict) and m["role"] == "user"]
    return [decode([token for token in wish.prompt if isinstance(token, int)])]
