"""The HTTP face: routes, limits and errors. `replies` writes the answers; `engine` does the work.

No CORS header, and no login unless `guard.keys` names clients: it is meant for this machine or for behind a proxy. Requests must say that they are JSON,
which keeps a web page elsewhere from sending them through a visitor's browser.
"""

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from jinja2 import TemplateError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from aether.stages.serve.engine import Delta, Engine, Generation, Limits, NotServing, QueueFull
from aether.stages.serve.guard.gate import Gate, turns_of
from aether.stages.serve.loading import Served
from aether.stages.serve.observe import Observations
from aether.stages.serve.protocol import BadRequest, Wish, envelope, read_wish
from aether.stages.serve.recipe import ServerSettings
from aether.stages.serve.replies import Asked, Inbox, Reply, refusal_reply
from aether.stages.serve.sampling import Sampling


class Service:
    """One model behind one engine, and the requests that wait to hear from it."""

    def __init__(self, served: Served, settings: ServerSettings) -> None:
        recipe = settings.engine
        limits = Limits(recipe.max_queue, recipe.chunk_tokens, served.eos_tokens, settings.threads)
        self.served, self.settings = served, settings
        self.engine = served.make_engine(limits, self._hear)
        self.gate = Gate(settings.guard)
        self.seen = Observations()
        self.started_s = int(time.time())
        self._inboxes: dict[Generation, Inbox] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unread: list[Delta] = []
        self._lock = threading.Lock()

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """The engine runs as long as the application does."""
        self._loop = asyncio.get_running_loop()
        self.engine.start()
        yield
        self.engine.stop()
        self.gate.close()

    def _hear(self, news: list[Delta]) -> None:
        """Called by the engine's threads. News that come before the loop has read the last ones cost no second wake-up."""
        assert self._loop is not None
        with self._lock:
            asleep = not self._unread
            self._unread += news
        if asleep:
            self._loop.call_soon_threadsafe(self._dispatch)

    def _dispatch(self) -> None:
        with self._lock:
            news, self._unread = self._unread, []
        for delta in news:
            inbox = self._inboxes.get(delta.generation)
            if inbox is not None:
                inbox.push(delta)

    def submit(self, wish: Wish) -> tuple[Generation, Inbox]:
        """Hand a wish to the engine. Raises BadRequest with the status to answer."""
        generation = self._generation(wish)
        # What is screened must be whole before any of it may leave.
        inbox = Inbox(patient=not wish.stream or self.settings.guard.screens_replies)
        self._inboxes[generation] = inbox
        try:
            self.engine.submit(generation)
        except (QueueFull, NotServing) as refusal:
            del self._inboxes[generation]
            raise overload(refusal, self.engine) from refusal
        return generation, inbox

    def leave(self, generation: Generation, inbox: Inbox) -> None:
        """A request is over for the front end: an unfinished one gives its slot back."""
        self._inboxes.pop(generation, None)
        if not inbox.finished:
            self.engine.cancel(generation)

    def _generation(self, wish: Wish) -> Generation:
        served = self.served
        if wish.model != served.name:
            sentence = f"model = {wish.model!r}: this server has {served.name!r}"
            raise BadRequest(sentence, "model", 404, "model_not_found")
        param = "messages" if wish.chat else "prompt"
        tokens = self._tokens(wish, param)
        room = served.context_tokens - len(tokens)
        if room < 1:
            sentence = f"{param} has {len(tokens)} tokens and the context holds {served.context_tokens}: shorten it"
            raise BadRequest(sentence, param, code="context_length_exceeded")
        max_tokens = wish.max_tokens or room
        if max_tokens > room:
            sentence = (
                f"{param} has {len(tokens)} tokens and max_tokens is {max_tokens}, together more than the context of "
                f"{served.context_tokens}: ask for at most {room}"
            )
            raise BadRequest(sentence, "max_tokens", code="context_length_exceeded")
        sampling = Sampling.of(wish.temperature, wish.top_p, wish.seed)
        return Generation(tokens, max_tokens, sampling, wish.stops, wish.ignore_eos)

    def _tokens(self, wish: Wish, param: str) -> list[int]:
        served = self.served
        if isinstance(wish.prompt, str):
            tokens = served.encode(wish.prompt)
        elif wish.chat:
            messages = [message for message in wish.prompt if isinstance(message, dict)]
            try:
                tokens = served.encode(served.chat_prompt(messages))
            except TemplateError as error:
                raise BadRequest(f"{param}: the model's chat template refuses them ({error})", param) from error
        else:
            tokens = [token for token in wish.prompt if isinstance(token, int)]
            wrong = [token for token in tokens if not 0 <= token < served.model.config.vocab_size]
            if wrong:
                size = served.model.config.vocab_size
                raise BadRequest(f"{param}: token {wrong[0]} is outside the vocabulary of {size}", param)
        if not tokens:
            raise BadRequest(f"{param}: it has no tokens, and the model has no begin token; give some text", param)
        return tokens


def overload(refusal: QueueFull | NotServing, engine: Engine) -> BadRequest:
    """Why a request is not taken, as the answer to give."""
    if isinstance(refusal, QueueFull):
        sentence = f"{engine.running} requests are running and {engine.waiting} wait: try again later"
        return BadRequest(sentence, status=429, code="queue_full")
    return BadRequest(f"the server is {engine.state}: try again later or elsewhere", status=503, code=engine.state)


async def read_body(request: Request, settings: ServerSettings) -> object:
    """The JSON of a request, within the limits on its type, size and patience."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest(f"content-type = {kind!r}: send application/json", "content-type", 415)
    limit, content = settings.max_body_bytes, bytearray()
    try:
        async with asyncio.timeout(settings.request_timeout_s):
            async for piece in request.stream():
                content += piece
                if len(content) > limit:
                    raise BadRequest(f"the body is larger than {limit} bytes: send less", status=413)
    except TimeoutError as error:
        raise BadRequest("the body did not arrive in time", status=408) from error
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON ({error})") from error


def refuse(refusal: BadRequest, service: Service) -> Response:
    """The error envelope of a refusal."""
    headers = {}
    if refusal.status in (429, 503):
        headers["Retry-After"] = str(refusal.retry_after_s or _retry_after_s(service))
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = envelope(str(refusal), refusal.status, refusal.param, refusal.code)
    return JSONResponse(body, refusal.status, headers)


def _retry_after_s(service: Service) -> int:
    """Whole seconds until a waiting place is likely free: the mean time of a request so far, at least one."""
    whole = service.seen.whole
    count = sum(whole.buckets)
    return max(1, math.ceil(whole.total_s / count)) if count else 1


def build(service: Service) -> Starlette:
    """The application of a service."""

    def generate(chat: bool) -> Callable[[Request], Awaitable[Response | ASGIApp]]:
        async def endpoint(request: Request) -> Response | ASGIApp:
            try:
                # Before the body is read: refusing clients and shedding load must stay cheap.
                who = service.gate.admit(request)
                if service.engine.refusal is not None:
                    raise overload(service.engine.refusal, service.engine)
                wish = read_wish(await read_body(request, service.settings), chat)
                turns = turns_of(wish, service.served.decode)
                withheld = await service.gate.request(who, turns)
                if withheld is not None:
                    service.seen.answers[request.url.path, 200] += 1
                    return refusal_reply(wish, service.settings.guard.refusal)
                generation, inbox = service.submit(service.gate.screen.prepared(wish))
            except BadRequest as refusal:
                service.seen.answers[request.url.path, refusal.status] += 1
                return refuse(refusal, service)
            except ClientDisconnect:
                service.seen.disconnected += 1
                return Response(status_code=400)
            return Reply(service, wish, generation, inbox, Asked(request.url.path, who, turns))

        return endpoint

    async def failed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse(envelope(error.detail, error.status_code), error.status_code)

    async def broken(_request: Request, _error: Exception) -> Response:
        # Starlette raises the error again after this answer, so it also reaches the log.
        return JSONResponse(envelope("an error of the server's own: see its log", 500), 500)

    routes = [
        Route("/v1/completions", generate(chat=False), methods=["POST"]),
        Route("/v1/chat/completions", generate(chat=True), methods=["POST"]),
        *pages(service),
    ]
    handlers = {HTTPException: failed, Exception: broken}
    return Starlette(routes=routes, lifespan=service.lifespan, exception_handlers=handlers)


def pages(service: Service) -> list[Route]:
    """What can be read of a service: its model, whether it is well, its numbers."""

    def known(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The handler for clients with a key, where keys are asked for."""

        async def endpoint(request: Request) -> Response:
            try:
                if service.gate.clients:
                    service.gate.admit(request)
            except BadRequest as refusal:
                return refuse(refusal, service)
            return await handler(request)

        return endpoint

    async def models(_request: Request) -> Response:
        served = service.served
        kind = "base" if served.template is None else "chat"
        entry = {"id": served.name, "object": "model", "created": service.started_s, "owned_by": "aether"}
        entry |= {"max_model_len": served.context_tokens, "kind": kind, "dtype": served.dtype, "engine": served.engine}
        entry |= {"weights_sha256": served.sha256, "guarded": service.settings.guard.screens}
        return JSONResponse({"object": "list", "data": [entry]})

    async def health(_request: Request) -> Response:
        state = service.engine.state
        return JSONResponse({"status": "ok" if state == "serving" else state}, 200 if state == "serving" else 503)

    async def metrics(_request: Request) -> Response:
        page = service.seen.page(engine_numbers(service)) + "".join(f"{line}\n" for line in service.gate.lines())
        return PlainTextResponse(page, media_type="text/plain; version=0.0.4")

    return [Route("/v1/models", known(models)), Route("/health", health), Route("/metrics", known(metrics))]


def engine_numbers(service: Service) -> dict[str, tuple[str, str, float]]:
    """The engine's counters under Prometheus names: (type, meaning, value)."""
    engine, counters = service.engine, service.engine.counters
    numbers: dict[str, tuple[str, str, float]] = {
        "aether_requests_running": ("gauge", "Requests that hold a slot.", engine.running),
        "aether_requests_waiting": ("gauge", "Requests that wait for a slot.", engine.waiting),
        "aether_slots": ("gauge", "Slots.", engine.slots),
        "aether_cache_bytes": ("gauge", "Bytes of the key-value cache.", engine.cache_bytes),
        "aether_prompt_tokens_total": ("counter", "Prompt tokens read.", counters.prompt_tokens),
        "aether_output_tokens_total": ("counter", "Tokens generated.", counters.output_tokens),
        "aether_busy_seconds_total": ("counter", "Time spent in steps.", counters.busy_s),
        "aether_cancelled_total": ("counter", "Requests stopped before their end.", counters.cancelled),
        "aether_disconnected_total": ("counter", "Clients that went away.", service.seen.disconnected),
    }
    if counters.steps is not None:
        numbers["aether_steps_total"] = ("counter", "Steps of the engine.", counters.steps)
    return numbers
