"""The pages of a conversation: each one parse, one call to `counsel.agent.live`, one template. Forms work without scripts.

A page that is open while an answer is written hears of the draft as server-sent events; without scripts it is fetched again every
two seconds. What a model said becomes markup with everything of HTML escaped and without pictures.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route


@functools.cache
def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(["image", "autolink"])
    made.renderer.rules["table_open"] = lambda *_: '<div class="scroll"><table>'  # type: ignore[attr-defined]
    made.renderer.rules["table_close"] = lambda *_: "</table></div>"  # type: ignore[attr-defined]
    return made


def as_markup(text: str) -> Markup:
    """A reply as markup: CommonMark with tables and struck text; HTML in it is text, pictures are links."""
    return Markup(_markdown().render(text))


class ChatPages:
    """The list of conversations, one of them, and what can be done with it."""

    def __init__(
        self, page: Callable[..., Response], form: Callable[[Request], Awaitable[dict[str, str]]], talks: Any
    ) -> None:
        self.page, self.form, self.talks = page, form, talks

    def routes(self) -> list[Route]:
        """Where each page is."""
        return [
            Route("/chat", self.start, methods=["GET", "POST"]), Route("/chat/{id}", self.talk, methods=["GET", "POST"]),
            Route("/chat/{id}/events", self.events), Route("/chat/{id}/stop", self.stop, methods=["POST"]),
            Route("/chat/{id}/decide", self.decide, methods=["POST"]),
        ]  # fmt: skip

    async def start(self, request: Request) -> Response:
        """The conversations of the folder; a question opens a new one."""
        if request.method == "POST" and self.talks is not None:
            fields = await self.form(request)
            talk = self.talks.begin()
            talk.start(fields.get("text", ""))
            return _to(talk.id)
        known = self.talks.listed() if self.talks is not None else []
        return self.page("chat.html.j2", "chat", known=known, talk=None, has_model=self.talks is not None)

    async def talk(self, request: Request) -> Response:
        """One conversation; a question goes on with it. With `part`, only what was said."""
        talk = self._talk(request)
        if request.method == "POST":
            talk.start((await self.form(request)).get("text", ""))
            return _to(talk.id)
        template = "chat_part.html.j2" if "part" in request.query_params else "chat.html.j2"
        turns = [line for line in talk.conversation.session.turns if line.get("kind") in ("turn", "approval")]
        return self.page(template, "chat", known=[], talk=talk, turns=turns, as_markup=as_markup, has_model=True)

    async def events(self, request: Request) -> Response:
        """What is being written, until it is finished, waits for a person, or nobody listens."""
        talk = self._talk(request)

        async def stream():
            async for state in talk.writing():
                if await request.is_disconnected():
                    return
                yield f"data: {state.model_dump_json()}\n\n"
            yield "event: over\ndata: {}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def stop(self, request: Request) -> Response:
        """End the answer under way."""
        await self.form(request)
        talk = self._talk(request)
        await talk.stop()
        return _to(talk.id)

    async def decide(self, request: Request) -> Response:
        """Yes or no to what spends, bound to the hash that was shown."""
        fields = await self.form(request)
        talk = self._talk(request)
        talk.decide(fields.get("hash", ""), fields.get("word") == "yes")
        return _to(talk.id)

    def _talk(self, request: Request) -> Any:
        from aether.spec.errors import InputError

        if self.talks is None:
            raise InputError.of("--model", "", "start `aether web --model PROVIDER:NAME`, or set AETHER_MODEL")
        return self.talks.talk(request.path_params["id"])


def _to(name: str) -> Response:
    return RedirectResponse(f"/chat/{name}#end", 303)
