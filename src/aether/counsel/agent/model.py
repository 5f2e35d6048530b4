"""The agent on pydantic-ai. Only this module and `providers` import it, since it changes often.

Its tools are those of the toolbox. A reply is heard piece by piece while it is written; one that the claim check refuses is sent back,
and what comes again is struck by the conversation. A scripted model is here too, for tests and for trying the chat without a provider.
"""

import asyncio
import functools
import inspect
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pydantic_ai
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelRetry,
    RunContext,
    Tool,
    ToolDenied,
    UsageLimits,
)
from pydantic_ai.exceptions import AgentRunError, ModelHTTPError, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.settings import ModelSettings

from aether.counsel.agent.pace import PROBE, PROBE_TOKENS, Pace, pace_of
from aether.spec.errors import EnvironmentFault

pydantic_ai.BANNER_ENABLED = False  # the terminal is the conversation's

RETRIES = 2
"""How often a reply is sent back before what fails is struck."""
REQUESTS = 40
"""Requests to the model in one turn, at most."""


@dataclass(frozen=True)
class Event:
    """Something that happens during a turn, for whoever watches."""

    kind: Literal["draft", "tool", "sent_back"]
    """A piece of a reply as it is written and not yet checked; a tool that is called; the draft so far was refused by the check."""
    text: str


class ToolsRefused(Exception):
    """The model's server takes no tools."""


class ContextExceeded(EnvironmentFault):
    """What was said to the model is longer than its context holds."""


@dataclass(frozen=True)
class Call:
    """A tool that waits for a person's word."""

    id: str
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """The end of one run: a reply, or calls that wait."""

    text: str
    waiting: tuple[Call, ...]
    messages: list[Any]
    """The whole history as plain data, for the session's file."""
    tokens: tuple[int, int]
    """Read and written."""
    cost_usd: float | None
    """None where the model's price is unknown."""


class Mind:
    """A model with tools and a check of what it says."""

    def __init__(
        self,
        model: Model | str,
        persona: str,
        free: Sequence[Callable],
        guarded: Sequence[Callable],
        objection: Callable[[str], str | None],
        on_event: Callable[[Event], None] = lambda event: None,
        max_tokens: int | None = None,
    ) -> None:
        """`max_tokens`: of one reply, where it is bounded; the likeliest words are then taken, as small models need."""
        self._on_event = on_event
        tools = [Tool(t, takes_ctx=False) for t in free] + [
            Tool(t, takes_ctx=False, requires_approval=True) for t in guarded
        ]
        try:
            self._agent = Agent(
                model, instructions=persona, tools=tools, output_type=[str, DeferredToolRequests], retries=RETRIES,
                model_settings=None if max_tokens is None else ModelSettings(max_tokens=max_tokens, temperature=0.0),
            )  # fmt: skip
        except (UserError, ImportError) as error:
            raise EnvironmentFault(f"the model cannot be used: {error}") from error

        @self._agent.output_validator
        def check(ctx: RunContext[object], output: str | DeferredToolRequests) -> str | DeferredToolRequests:
            if isinstance(output, str) and ctx.retry < RETRIES and (said := objection(output)) is not None:
                on_event(Event("sent_back", said))
                raise ModelRetry(said)
            return output

    async def say(
        self,
        text: str | None,
        history: list[Any],
        answers: dict[str, str | None] | None = None,
    ) -> Said:
        """One run. `answers`: call id -> None for a yes, or why not.

        Raises EnvironmentFault when the model cannot be reached (ContextExceeded when that is why), ToolsRefused when its server takes none.
        """
        results = None
        if answers is not None:
            results = DeferredToolResults(
                approvals={key: True if why is None else ToolDenied(why) for key, why in answers.items()}
            )
        messages = ModelMessagesTypeAdapter.validate_python(history)
        try:
            async with (
                self._agent,
                self._agent.iter(
                    text,
                    message_history=messages,
                    deferred_tool_results=results,
                    usage_limits=UsageLimits(request_limit=REQUESTS),
                ) as run,
            ):
                async for node in run:
                    if Agent.is_model_request_node(node):
                        async with node.stream(run.ctx) as stream:
                            async for event in stream:
                                self._hear(event)
                    for part in getattr(getattr(node, "model_response", None), "parts", ()):
                        if isinstance(part, ToolCallPart):
                            self._on_event(Event("tool", part.tool_name))
        except ModelHTTPError as error:
            if 400 <= error.status_code < 500 and "tool" in str(error.body).lower():
                raise ToolsRefused(str(error)) from error
            if "context_length_exceeded" in str(error.body):
                raise ContextExceeded(f"the model did not answer: {error}") from error
            mend = "; is it the address that ends in /v1, and the name that its server gives?"
            said = f"the model did not answer: {error}"
            raise EnvironmentFault(said + (mend if error.status_code == 404 else "")) from error
        except (AgentRunError, UserError) as error:
            address = getattr(self._agent.model, "base_url", None)
            where = f" at {address}; does a server listen there?" if address else ""
            raise EnvironmentFault(f"the model did not answer: {str(error).rstrip('.')}{where}") from error
        assert run.result is not None
        return _said(run.result)

    def _hear(self, event: Any) -> None:
        text = ""
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            text = event.part.content
        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            text = event.delta.content_delta
        if text:
            self._on_event(Event("draft", text))


async def measured_pace(model: Model | str, read_s: float) -> Pace | None:
    """The pace of a server that may read for `read_s` seconds, from one short question; None where it does not answer that."""
    agent = Agent(model, model_settings=ModelSettings(max_tokens=PROBE_TOKENS, temperature=0.0))
    begun = time.monotonic()
    first, pieces = None, 0
    try:
        async with agent.run_stream(PROBE) as stream:
            async for _ in stream.stream_text(delta=True, debounce_by=None):
                first = first or time.monotonic()
                pieces += 1
    except (AgentRunError, UserError):
        return None
    first = first or time.monotonic()
    return pace_of(len(PROBE), first - begun, pieces - 1, time.monotonic() - first, read_s)


def check_messages(history: list[Any]) -> list[Any]:
    """The history. Raises ValueError where it is none."""
    ModelMessagesTypeAdapter.validate_python(history)
    return history


def interrupted(history: list[Any], asked: str, so_far: str) -> list[Any]:
    """The history after a turn that a person stopped: the question, and what had been said by then."""
    messages = ModelMessagesTypeAdapter.validate_python(history)
    messages += [
        ModelRequest(parts=[UserPromptPart(asked)]),
        ModelResponse(parts=[TextPart(so_far or "(stopped before anything was said)")], state="interrupted"),
    ]
    return json.loads(ModelMessagesTypeAdapter.dump_json(messages))


def _said(result: Any) -> Said:
    output, usage = result.output, result.usage
    waiting: tuple[Call, ...] = ()
    if isinstance(output, DeferredToolRequests):
        waiting = tuple(Call(c.tool_call_id, c.tool_name, c.args_as_dict()) for c in output.approvals)
    history = json.loads(ModelMessagesTypeAdapter.dump_json(result.all_messages()))
    return Said(
        output if isinstance(output, str) else "",
        waiting,
        history,
        (usage.input_tokens, usage.output_tokens),
        _cost(result),
    )


def _cost(result: Any) -> float | None:
    """What the responses cost at list prices; None where one of them has no known price."""
    total = Decimal(0)
    for message in result.new_messages():
        if isinstance(message, ModelResponse):
            try:
                total += message.cost().total_price
            except (LookupError, AssertionError, ValueError, AttributeError):
                return None
    return float(total)


Step = str | tuple[str, dict[str, Any]] | Callable[[str], "Step"]
"""What a scripted model does: says a text, calls a tool with arguments, or decides from the last thing it was told."""


class ScriptedModel(FunctionModel):
    """A model that follows a script: for tests and for trying the chat without a provider. Nothing is sent anywhere."""

    def __init__(self, *steps: Step, pause_s: float = 0.0) -> None:
        self.steps = list(steps)
        self.pause_s = pause_s
        """Between two words of a streamed reply."""
        self.heard: list[str] = []
        """Everything that it was told, in order."""
        super().__init__(function=self._answer, stream_function=self._stream)

    def _next(self, messages: list[ModelMessage]) -> Step:
        told = "\n".join(str(getattr(part, "content", "")) for part in messages[-1].parts)
        self.heard.append(told)
        step = self.steps.pop(0) if self.steps else "Nothing more to say."
        return step(told) if callable(step) else step

    def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        step = self._next(messages)
        if isinstance(step, str):
            return ModelResponse(parts=[TextPart(step)])
        assert isinstance(step, tuple)
        return ModelResponse(parts=[ToolCallPart(step[0], step[1])])

    async def _stream(
        self, messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        step = self._next(messages)
        if isinstance(step, str):
            for word in re.findall(r"\S+\s*|^\s+", step):
                await asyncio.sleep(self.pause_s)
                yield word
        else:
            assert isinstance(step, tuple)
            yield {0: DeltaToolCall(step[0], json.dumps(step[1]))}


def as_tool(tool: Callable[..., Any], heard: Callable[[str, Any], Any]) -> Callable[..., Any]:
    """A toolbox's function for the model: `heard` makes what the model is told from the reply."""

    @functools.wraps(tool)
    def run(*args: Any, **options: Any) -> Any:
        return heard(tool.__name__, tool(*args, **options))

    run.__signature__ = inspect.signature(tool).replace(return_annotation=dict)  # type: ignore[attr-defined]
    run.__annotations__ = {**tool.__annotations__, "return": dict}
    return run
