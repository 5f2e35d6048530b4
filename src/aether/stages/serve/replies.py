"""Answers: server-sent events as the tokens come, or one JSON object at the end. A client that leaves is noticed.

Written against ASGI itself: an event is a few string joins and one send for each wake-up, because at thousands of
tokens per second a framework's response object would cost more than the model.
"""

import asyncio
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from aether.stages.serve.engine import Delta, Generation
from aether.stages.serve.protocol import Wish, envelope, usage

if TYPE_CHECKING:
    from aether.stages.serve.app import Service

WITHHELD = "content_filter"
"""`finish_reason` of an answer that the guard put in another's place (OpenAI's API reference)."""
_FAILED = "the engine failed on this request: see the server's log"


class ClientGone(Exception):
    """Nobody reads the answer any more."""


class Inbox:
    """What the engine has said about one request. One writer, one reader, both on the event loop.

    A `patient` reader is woken only at the end.
    """

    def __init__(self, patient: bool) -> None:
        self._patient, self._news = patient, list[Delta]()
        self._waiter: asyncio.Future[None] | None = None
        self.finished, self.gone = False, False

    def push(self, delta: Delta) -> None:
        """News."""
        self._news.append(delta)
        if delta.finish is not None:
            self.finished = True
        if self.finished or not self._patient:
            self._wake()

    def leave(self) -> None:
        """The client went away."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[Delta]:
        """All news since the last call, at least one piece. Raises ClientGone."""
        while not self.gone and (not self._news or (self._patient and not self.finished)):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.gone:
            raise ClientGone
        news, self._news = self._news, []
        return news


class Asked(NamedTuple):
    """Where a request came in, from whom, and what was said."""

    path: str
    who: str
    turns: list[str]


class Reply:
    """The ASGI answer to one accepted request."""

    def __init__(self, service: "Service", wish: Wish, generation: Generation, inbox: Inbox, asked: Asked) -> None:
        self._service, self._wish, self._generation, self._inbox = service, wish, generation, inbox
        self._asked, self._begun = asked, False
        self._id, self._created = _identity(wish)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(self._watch(receive))
        service, status = self._service, 200
        try:
            async with asyncio.timeout(service.settings.request_timeout_s):
                status = await (self._stream(send) if self._wish.stream else self._whole(scope, receive, send))
        except TimeoutError:
            status = 504
            sentence = f"the request took longer than {service.settings.request_timeout_s:g} s"
            await self._fail(envelope(sentence, status), status, (scope, receive, send))
        except (ClientGone, OSError):
            status = 499
            service.seen.disconnected += 1
        finally:
            watcher.cancel()
            service.leave(self._generation, self._inbox)
            service.seen.answers[self._asked.path, status] += 1

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._inbox.leave()

    def _note_time(self, first: bool, last: bool) -> None:
        elapsed_s = time.monotonic() - self._generation.submitted_s
        if first:
            self._service.seen.first_token.add(elapsed_s)
        if last:
            self._service.seen.whole.add(elapsed_s)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> int:
        news = await self._taken()
        last = news[-1]
        self._note_time(first=False, last=True)
        if last.finish == "error":
            await self._fail(envelope(_FAILED, 503), 503, (scope, receive, send))
            return 503
        text = "".join(delta.text for delta in news)
        count = usage(len(self._generation.prompt), last.produced)
        body = _body(self._wish, (self._id, self._created), text, last.finish, count)
        await JSONResponse(body)(scope, receive, send)
        return 200

    async def _taken(self) -> list[Delta]:
        """The engine's news; where replies are screened, one piece with the whole text, or with the refusal in its place."""
        news = await self._inbox.take()
        guard, last = self._service.settings.guard, news[-1]
        if not guard.screens_replies or last.finish in (None, "error"):
            return news
        text = "".join(delta.text for delta in news)
        withheld = await self._service.gate.reply(self._asked.who, self._asked.turns, text)
        if withheld is not None:
            return [last._replace(text=guard.refusal, finish=WITHHELD)]
        return [last._replace(text=text)]

    async def _stream(self, send: Send) -> int:
        events = _Events(self._wish, self._id, self._created, len(self._generation.prompt))
        first, status = True, 200
        while True:
            news = await self._taken()
            if not self._begun:
                await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
                self._begun = True
            last = news[-1]
            self._note_time(first, last.finish is not None)
            body = (events.opening() if first else "") + "".join(map(events.of, news))
            first = False
            if last.finish is None:
                if body:
                    await send({"type": "http.response.body", "body": body.encode(), "more_body": True})
                continue
            if last.finish == "error":
                status = 503
                body += f"data: {json.dumps(envelope(_FAILED, status))}\n\n"
            else:
                body += events.closing(last)
            await send({"type": "http.response.body", "body": f"{body}data: [DONE]\n\n".encode(), "more_body": False})
            return status

    async def _fail(self, body: dict[str, Any], status: int, asgi: tuple[Scope, Receive, Send]) -> None:
        """An error before anything was sent is an answer of its own; later it is an event at the end of the stream."""
        if not self._begun:
            await JSONResponse(body, status, {"Retry-After": "1"} if status == 503 else None)(*asgi)
            return
        text = f"data: {json.dumps(body)}\n\ndata: [DONE]\n\n"
        await asgi[2]({"type": "http.response.body", "body": text.encode(), "more_body": False})


def refusal_reply(wish: Wish, text: str) -> Response:
    """An answer with the refusal, in the form that was asked for; the model was not asked. `finish_reason` is content_filter, as elsewhere."""
    identity, created = _identity(wish)
    if not wish.stream:
        return JSONResponse(_body(wish, (identity, created), text, WITHHELD, usage(0, 0)))
    events = _Events(wish, identity, created, 0)
    whole = events.opening() + events.withheld(text) + events.counted(0)
    headers = {name.decode(): value.decode() for name, value in _STREAM_HEADERS}
    return Response(f"{whole}data: [DONE]\n\n", headers=headers)


def _identity(wish: Wish) -> tuple[str, int]:
    return f"{'chatcmpl' if wish.chat else 'cmpl'}-{uuid.uuid4().hex}", int(time.time())


def _body(
    wish: Wish, identity: tuple[str, int], text: str, finish: str | None, count: dict[str, int]
) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": finish}
    if wish.chat:
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    return {
        "id": identity[0],
        "object": "chat.completion" if wish.chat else "text_completion",
        "created": identity[1],
        "model": wish.model,
        "choices": [choice],
        "usage": count,
    }


_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class _Events:
    """Server-sent events of one stream; what never changes is written once."""

    def __init__(self, wish: Wish, identity: str, created: int, prompt_tokens: int) -> None:
        self._wish, self._prompt_tokens = wish, prompt_tokens
        kind = "chat.completion.chunk" if wish.chat else "text_completion"
        head = {"id": identity, "object": kind, "created": created, "model": wish.model}
        self._head = f"data: {json.dumps(head)[:-1]}, "
        self._pending_usage = ', "usage": null' if wish.include_usage else ""

    def opening(self) -> str:
        """A chat's first event has the role."""
        return self._event('"delta": {"role": "assistant", "content": ""}', "null", 0) if self._wish.chat else ""

    def of(self, delta: Delta) -> str:
        """The event of one token; empty when the token settled no text and nobody asked for counts."""
        finish = delta.finish if delta.finish != "error" else None
        if not delta.text and finish is None and not self._wish.usage_always:
            return ""
        return self._said(delta.text, finish, delta.produced)

    def withheld(self, text: str) -> str:
        """The events of a refusal that stands in the answer's place."""
        return self._said(text, WITHHELD, 0)

    def _said(self, words: str, finish: str | None, produced: int) -> str:
        text = json.dumps(words)
        if not self._wish.chat:
            return self._event(f'"text": {text}, "logprobs": null', json.dumps(finish), produced)
        event = self._event(f'"delta": {{"content": {text}}}', "null", produced) if words else ""
        return event if finish is None else event + self._event('"delta": {}', json.dumps(finish), produced)

    def closing(self, last: Delta) -> str:
        """The event with the counts, when it was asked for."""
        return self.counted(last.produced)

    def counted(self, produced: int) -> str:
        """The same, from the number of tokens."""
        if not self._wish.include_usage:
            return ""
        return f'{self._head}"choices": [], "usage": {json.dumps(usage(self._prompt_tokens, produced))}}}\n\n'

    def _event(self, content: str, finish: str, produced: int) -> str:
        count = self._pending_usage
        if self._wish.usage_always:
            count = f', "usage": {json.dumps(usage(self._prompt_tokens, produced))}'
        return f'{self._head}"choices": [{{"index": 0, {content}, "finish_reason": {finish}}}]{count}}}\n\n'
