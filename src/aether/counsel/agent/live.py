"""Conversations that go on while somebody looks at them through a page: what is being written, what waits for a yes, how to stop it.

One `Talk` per conversation, in the event loop of the server that holds it. What was said lies in the session's file, so a page that is
opened later, or after a restart, shows all of it; only a draft and a waiting question live here.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aether.counsel.agent.approval import Ask
from aether.counsel.agent.budget import Budget
from aether.counsel.agent.conversation import Conversation
from aether.counsel.agent.model import Event
from aether.counsel.agent.session import Session, load_session, new_session, sessions, title_of
from aether.spec.base import Noun
from aether.spec.errors import AetherError, InputError

_EVERY_S = 0.1
"""How often a page hears of a draft that grows."""


class Writing(Noun):
    """What a page shows while an answer is being written."""

    draft: str
    """Not checked yet."""
    note: str
    tools: tuple[str, ...]


@dataclass
class Talk:
    """One conversation with the turn that is under way."""

    conversation: Conversation
    draft: str = ""
    note: str = ""
    pending: Ask | None = None
    """What waits for a person's yes."""
    asked: str = ""
    """The question that is being answered."""
    trouble: str = ""
    """Why the last turn has no answer."""
    _task: asyncio.Task[Any] | None = None
    _word: asyncio.Future[bool] | None = None

    def __post_init__(self) -> None:
        self.conversation.on_event = self._hear
        self.conversation.approver = self._put

    @property
    def id(self) -> str:
        """That of its session."""
        return self.conversation.session.id

    @property
    def is_busy(self) -> bool:
        """Whether a turn is under way, waiting for a yes included."""
        return self._task is not None and not self._task.done()

    @property
    def is_writing(self) -> bool:
        """Whether the model is at work, and nobody is waited for."""
        return self.is_busy and self.pending is None

    def start(self, text: str) -> None:
        """Begin a turn. Raises InputError for an empty text, or while another turn is under way."""
        if not text.strip():
            raise InputError.of("text", "", "write what you want to know")
        if self.is_busy:
            raise InputError.of("text", text[:80], "an answer is still being written; wait for it, or stop it")
        self.draft, self.note, self.trouble, self.asked = "", "", "", text.strip()
        self._task = asyncio.create_task(self._carry_out(self.asked))

    async def stop(self) -> None:
        """End the turn; what was said is kept."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def decide(self, digest: str, yes: bool) -> None:
        """The person's word on what waits. Raises InputError when that is not what they were shown."""
        if self.pending is None or self._word is None or self._word.done() or self.pending.hash != digest:
            raise InputError.of("hash", digest[:16], "this question is not open any more; look at the page again")
        self._word.set_result(yes)
        self.pending = None

    async def writing(self) -> AsyncIterator[Writing]:
        """What is being written, whenever it has changed, until the turn is over or waits for a person."""
        last: Writing | None = None
        while self.is_writing:
            now = Writing(draft=self.draft, note=self.note, tools=tuple(self.conversation.used))
            if now != last:
                last = now
                yield now
            await asyncio.sleep(_EVERY_S)

    async def _carry_out(self, text: str) -> None:
        try:
            await self.conversation.turn(text)
        except AetherError as error:
            self.trouble = str(error)
        finally:
            self.draft, self.pending = "", None

    async def _put(self, ask: Ask) -> bool:
        self.pending, self._word = ask, asyncio.get_running_loop().create_future()
        return await self._word

    def _hear(self, event: Event) -> None:
        if event.kind == "sent_back":
            self.note = f"sent back: {event.text.count(chr(10) + '- ')} without support"
        self.draft = self.draft + event.text if event.kind == "draft" else ""


@dataclass
class Talks:
    """The conversations of one folder."""

    root: Path
    model: Any
    """None: no language model is set."""
    budget_usd: float | None = None
    is_free: bool = False
    open: dict[str, Talk] = field(default_factory=dict)

    def listed(self) -> list[tuple[str, str]]:
        """(id, first question) of every conversation, newest first."""
        return [(path.stem, title_of(path)) for path in reversed(sessions(self.root))]

    def begin(self) -> Talk:
        """A new conversation. Raises InputError without a model."""
        return self._talk(new_session(self.root))

    def talk(self, name: str) -> Talk:
        """One by its id, resumed from its file where it is not open. Raises InputError."""
        return self.open.get(name) or self._talk(load_session(self.root, name))

    def _talk(self, session: Session) -> Talk:
        if self.model is None:
            raise InputError.of("--model", "", "start `aether web --model PROVIDER:NAME`, or set AETHER_MODEL")
        made = Talk(Conversation(self.model, self.root, session, budget=Budget(self.budget_usd), is_free=self.is_free))
        self.open[session.id] = made
        return made
