"""One conversation: policy before the model, tools with evidence, approvals by hash, the claim check after, everything on disk."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from aether.counsel.agent.approval import (
    Approver,
    Ask,
    AsyncApprover,
    ask_for,
    decide,
    deny_all,
    only_tells,
    says_yes,
    settle_ended,
)
from aether.counsel.agent.budget import Budget
from aether.counsel.agent.model import (
    Call,
    ContextExceeded,
    Event,
    Mind,
    Said,
    ToolsRefused,
    as_tool,
    check_messages,
    interrupted,
    measured_pace,
)
from aether.counsel.agent.pace import BRIEF, LEAST, READ_S, Pace
from aether.counsel.agent.quoting import MAX_CHARACTERS, quoted, without_controls
from aether.counsel.agent.reproducibility import completed
from aether.counsel.agent.sandbox import isolation, run_python
from aether.counsel.agent.session import Session, damaged
from aether.counsel.claims.check import check
from aether.counsel.claims.facts import Ground
from aether.counsel.reply import Reply
from aether.counsel.toolbox import Toolbox
from aether.policy.judgement import judge_request
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence

UNTRUSTED = frozenset(
    {"diagnose", "review", "show_run", "compare_runs", "list_runs", "run_status", "list_results", "show_results"}
)
"""Tools whose text holds lines of files: it is quoted, and only its records count as evidence."""
ROUNDS = 6
"""How many times in one turn a person is asked."""


@dataclass(frozen=True)
class Turn:
    """What a person is shown."""

    text: str
    """Markdown; what nothing supports is struck."""
    unverified: tuple[str, ...] = ()
    declined: bool = False
    tools: tuple[str, ...] = ()
    stopped: bool = False
    """By the person, before its end."""


@dataclass
class Conversation:
    """A mind with its tools, its ground and its file."""

    model: Any
    root: Path
    session: Session
    approver: Approver | AsyncApprover = deny_all
    budget: Budget = field(default_factory=Budget)
    on_event: Callable[[Event], None] = lambda event: None
    """Hears pieces of the reply as they are written, before any check, and the tools that are called."""
    is_free: bool = False
    """A model that costs nothing to ask: a server of one's own."""
    read_s: float = READ_S
    """How long such a server may read before it writes, in seconds."""

    def __post_init__(self) -> None:
        self.toolbox = Toolbox(self.root)
        self.ground = Ground()
        self.history: list[Any] = []
        self.unpriced = False
        self.draft, self.used = "", []
        self.pace: Pace | None = None
        """What a server without tools manages, once it was measured."""
        self.last: Turn | None = None
        """The newest turn, one that was stopped included."""
        self._restore()
        self._kept = self.history
        """The messages as the session's file has them."""
        self.mind = self._mind(with_tools=True)
        self.has_tools = True

    def _mind(self, *, with_tools: bool) -> Mind:
        persona = files("aether.knowledge").joinpath("persona.md").read_text(encoding="utf-8")
        free = [as_tool(tool, self._heard) for tool in self.toolbox.reading] if with_tools else []
        guarded = [as_tool(tool, self._heard) for tool in self.toolbox.working] if with_tools else []
        return Mind(self.model, persona, free, guarded, self._objection, self._noted)

    def _brief_mind(self, pace: Pace) -> Mind:
        """For a slow server: few words of persona, a bounded reply, and nothing sent back."""
        return Mind(self.model, BRIEF, [], [], lambda reply: None, self._noted, max_tokens=pace.tokens)

    def _noted(self, event: Event) -> None:
        event = replace(event, text=without_controls(event.text))
        if event.kind == "tool":
            self.used.append(event.text)
        self.draft = self.draft + event.text if event.kind == "draft" else ""
        self.on_event(event)

    async def turn(self, text: str) -> Turn:
        """Answer the person. Raises EnvironmentFault when the model cannot be reached; the session keeps what was said.

        Cancelled, it keeps what the model had said by then, checked like any reply, in the session and in `last`.
        """
        judgement = judge_request(text)
        if judgement.decision == "refuse":
            self.session.append(kind="turn", person=text, reply=judgement.sentence, declined=True)
            self.last = Turn(judgement.sentence, declined=True)
            return self.last
        self._settle()
        await self._may_go_on()
        self.ground.add_person(text)
        self.draft, self.used, before = "", [], self.history
        try:
            said = await self._answered(text)
        except asyncio.CancelledError:
            self.history = interrupted(before, text, self.draft)
            self._close(text, self._shown(self.draft or "Stopped before anything was said."), (0, 0), stopped=True)
            raise
        self.history = said.messages
        shown = self._shown(said.text or "The work that was asked for still waits for a person's word.")
        if judgement.decision == "dual_use":
            shown = replace(shown, text=f"{shown.text.rstrip()}\n\n## Risks and mitigations\n\n{judgement.sentence}\n")
        return self._close(text, shown, said.tokens)

    async def _answered(self, text: str) -> Said:
        """The model's last word of this turn, after every tool and every approval."""
        said = await self._say(text)
        for _ in range(ROUNDS):
            if not said.waiting:
                break
            answers = {call.id: await self._decide(call) for call in said.waiting}
            said = await self.mind.say(None, said.messages, answers)
            self._pay(said.cost_usd)
        return said

    async def _say(self, text: str) -> Said:
        """The first word. To a model whose server takes no tools, the counsel's own answer is given along, as much of it as the context holds."""
        if self.has_tools:
            try:
                said = await self.mind.say(text, self.history)
                self._pay(said.cost_usd)
                return said
            except ToolsRefused:
                self.mind, self.has_tools = self._mind(with_tools=False), False
                self.pace = await measured_pace(self.model, self.read_s) if self.is_free else None
        if self.pace is not None and self.pace.characters < MAX_CHARACTERS:
            return await self._briefly(text, self.pace)
        self._noted(Event("tool", "ask"))
        told = self._heard("ask", self.toolbox.ask(text))
        for limit in (MAX_CHARACTERS, MAX_CHARACTERS // 2, MAX_CHARACTERS // 4):
            answer = quoted(told["text"], "the answer of the tool ask", limit)
            try:
                said = await self.mind.say(f"{text}\n\n{answer}", self.history)
            except ContextExceeded as error:
                full = error
            else:
                self._pay(said.cost_usd)
                return said
        raise full

    async def _briefly(self, text: str, pace: Pace) -> Said:
        """To a slow server: this question alone, with as much of the counsel's answer as it reads while a person waits."""
        self._noted(Event("tool", "ask"))
        told = self._heard("ask", self.toolbox.ask(text))
        room = max(LEAST, pace.characters - len(BRIEF) - len(text))
        said = await self._brief_mind(pace).say(
            f"{text}\n\n{quoted(told['text'], 'the answer of the tool ask', room)}", []
        )
        self._pay(said.cost_usd)
        return said

    def _close(self, person: str, turn: Turn, tokens: tuple[int, int], *, stopped: bool = False) -> Turn:
        """Write the turn down: of the messages, those that the turns before do not hold."""
        self.last = replace(turn, tools=tuple(self.used), stopped=stopped)
        keeps = next(
            (i for i, (old, new) in enumerate(zip(self._kept, self.history, strict=False)) if old != new),
            min(len(self._kept), len(self.history)),
        )
        self._kept = self.history
        self.session.append(
            kind="turn", person=person, reply=turn.text, unverified=turn.unverified, keeps=keeps, messages=self.history[keeps:], tools=self.used,
            spent_usd=self.budget.spent_usd, reserved=self.budget.reserved, runs=self.budget.runs, settled=self.budget.settled, tokens=tokens, **({"stopped": True} if stopped else {}),
        )  # fmt: skip
        return self.last

    def _shown(self, reply: str) -> Turn:
        checked = check(completed(without_controls(reply)), self.ground)
        self.ground.said_before = checked.said
        return Turn(
            without_controls(_with_runs(checked.struck())), tuple(f"{p.words}: {p.why}" for p in checked.problems)
        )

    def _objection(self, reply: str) -> str | None:
        checked = check(reply, self.ground)
        return None if checked.is_supported else checked.feedback()

    def _heard(self, tool: str, reply: Reply[Any]) -> dict[str, Any]:
        """What the model is told of a tool's reply; its evidence becomes ground to stand on."""
        self.ground.tools.add(tool)
        if tool in UNTRUSTED:
            self.ground.add_evidence(reply.evidence)
            text = quoted(reply.text, tool)
        else:
            self.ground.add_reply(reply)
            text = reply.text
        evidence = [e.model_dump(mode="json") for e in reply.evidence]
        self.session.append(
            kind="tool",
            tool=tool,
            status=reply.status,
            text=reply.text,
            evidence=evidence,
            trusted=tool not in UNTRUSTED,
        )
        questions = [q.model_dump(mode="json", exclude_none=True) for q in reply.questions]
        session = getattr(reply.data, "session", None)
        return {
            "status": reply.status,
            "text": text,
            "questions": questions,
            **({"session": session} if session else {}),
        }

    async def _decide(self, call: Call) -> str | None:
        if only_tells(call.tool, call.arguments):
            return None
        ask = ask_for(call.tool, call.arguments, self.root, self.budget)
        refused = await decide(ask, self.approver, self.budget)
        self.session.append(kind="approval", tool=call.tool, hash=ask.hash, cost_usd=ask.cost_usd, refused=refused)
        return refused

    def _settle(self) -> None:
        """Count what launched builds that have ended really came to."""
        for run, usd in settle_ended(self.root, self.budget):
            self.session.append(kind="settled", run=run, cost_usd=usd)

    def _pay(self, cost_usd: float | None) -> None:
        """Count what the model's answer cost; an unknown price is remembered, and asked about before the next turn."""
        if cost_usd is not None:
            self.budget.spent_usd += cost_usd
        elif not self.is_free:
            self.unpriced = True

    async def _may_go_on(self) -> None:
        """Raise InputError when the budget is used up, or a price is unknown and the person does not accept that."""
        if self.budget.limit_usd is None:
            return
        if (self.budget.left_usd or 0.0) <= 0:
            raise InputError.of(
                "--budget", self.budget.limit_usd, f"{self.budget.spent_usd:.2f} USD are spent; give more to go on"
            )
        if self.unpriced:
            ask = Ask(
                "model", "one more answer of the language model", None, None, "model", self.budget.objection(None)
            )
            if not await says_yes(ask, self.approver):
                raise InputError.of(
                    "--budget", self.budget.limit_usd, "the model's price is unknown, and going on was not approved"
                )

    def _restore(self) -> None:
        """Take over what the session's file holds. Raises DamagedRecord for a line that is not one of ours."""
        for number, line in enumerate(self.session.turns, 1):
            try:
                self._take_over(line)
            except (KeyError, TypeError, ValueError) as error:
                raise damaged(self.session.path, number) from error
        if replies := [line["reply"] for line in self.session.turns if line.get("kind") == "turn"]:
            self.ground.said_before = check(replies[-1], self.ground).said

    def _take_over(self, line: dict[str, Any]) -> None:
        if line.get("kind") == "turn":
            self.ground.add_person(line["person"])
            if not isinstance(line["reply"], str):
                raise TypeError("a reply is text")
            if "messages" in line:
                self.history = check_messages(self.history[: line.get("keeps", 0)] + line["messages"])
            self.budget.spent_usd = float(line.get("spent_usd", self.budget.spent_usd))
            for name in ("reserved", "runs", "settled"):
                setattr(self.budget, name, dict(line.get(name, getattr(self.budget, name))))
        elif line.get("kind") == "tool":
            self.ground.tools.add(line["tool"])
            evidence = tuple(Evidence.model_validate(e) for e in line["evidence"])
            if line["trusted"]:
                self.ground.add_told(line["text"], evidence)
            else:
                self.ground.add_evidence(evidence)


_RUN = re.compile(r"^```python run\n(?P<code>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


def _with_runs(reply: str) -> str:
    """Snippets that are marked to be run, each followed by what came of it, as data."""

    def ran(match: re.Match[str]) -> str:
        done = run_python(match["code"], isolation())
        if done.code is None:
            return f"{match[0]}\n\n*(not run: {done.why})*"
        output = done.output.replace("```", "~~~")
        return f"{match[0]}\n\nRun here, exit code {done.code}:\n\n```text\n{output}\n```"

    return _RUN.sub(ran, reply)


def as_line(turn: Turn) -> str:
    """A turn as one line of JSON."""
    return json.dumps(
        {
            "status": "declined" if turn.declined else "answered",
            "text": turn.text,
            "unverified": turn.unverified,
            "tools": turn.tools,
            "stopped": turn.stopped,
        },
        ensure_ascii=False,
    )
