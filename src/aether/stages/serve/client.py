"""One streamed completion over a raw socket, with the arrival time of every piece. For measuring, not for general use.

A client that parses while it measures measures itself: here bytes are only stamped when they arrive, and are read as
HTTP/1.1 chunks and server-sent events after the request is over. One connection per request, as independent users have.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_DONE = b"data: [DONE]"


@dataclass
class Exchange:
    """What came back, in seconds of `time.perf_counter`. `pieces_s` has one time per event that carries text."""

    started_s: float
    status: int = 0
    pieces_s: list[float] = field(default_factory=list)
    ended_s: float = 0.0
    output_tokens: int = 0
    prompt_tokens: int = 0
    finish: str | None = None
    text: str = ""
    error: str | None = None


class _Recorder(asyncio.Protocol):
    """Stamps bytes as they arrive; `over` is set when the server is done or gone."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.body = payload, bytearray()
        self.stamps: list[tuple[int, float]] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.payload)

    def data_received(self, data: bytes) -> None:
        self.body += data
        self.stamps.append((len(self.body), time.perf_counter()))
        if _DONE in data or self.body.find(_DONE, max(0, len(self.body) - len(data) - len(_DONE))) >= 0:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def stream_completion(
    url: str, body: dict[str, Any], timeout_s: float, path: str = "/v1/completions"
) -> Exchange:
    """Send `body` (with `stream` true) and wait for its end. Failures are in `error`; nothing is raised for them."""
    address = urlsplit(url)
    assert address.hostname is not None and address.port is not None
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    head += f"Accept: text/event-stream\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    exchange = Exchange(started_s=time.perf_counter())
    recorder: _Recorder | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, recorder = await asyncio.get_running_loop().create_connection(
                lambda: _Recorder(head.encode() + content), address.hostname, address.port
            )
            await recorder.over
    except TimeoutError:
        exchange.error = f"no end within {timeout_s:g} s"
    except OSError as error:
        exchange.error = f"{type(error).__name__}: {error}"
    finally:
        if recorder is not None and recorder.transport is not None:
            recorder.transport.abort()
    exchange.ended_s = time.perf_counter()
    if recorder is not None:
        _read(exchange, recorder)
    return exchange


def _read(exchange: Exchange, recorder: _Recorder) -> None:
    """Fill the exchange from the recorded bytes."""
    raw = bytes(recorder.body)
    head_end = raw.find(b"\r\n\r\n") + 4
    if head_end < 4:
        exchange.error = exchange.error or "the connection closed without an answer"
        return
    head = raw[:head_end].decode("latin-1").lower()
    exchange.status = int(head.split(" ", 2)[1])
    if "transfer-encoding: chunked" in head:
        content, origins = dechunk(raw, head_end)
    else:
        content, origins = raw[head_end:], [(0, head_end)]
    if exchange.status != 200:
        exchange.error = exchange.error or f"HTTP {exchange.status}: {content[:200].decode('utf-8', 'replace')}"
        return
    if recorder.stamps:
        exchange.ended_s = min(exchange.ended_s, recorder.stamps[-1][1])
    _events(exchange, content, origins, recorder.stamps)


def dechunk(raw: bytes, at: int) -> tuple[bytes, list[tuple[int, int]]]:
    """The content of HTTP/1.1 chunks from offset `at`, with (offset in content, offset in raw) of each chunk's start.

    A cut stream gives what is there.
    """
    content, origins = bytearray(), []
    while True:
        line_end = raw.find(b"\r\n", at)
        if line_end < 0:
            return bytes(content), origins
        size = int(raw[at:line_end].split(b";")[0] or b"0", 16)
        if size == 0:
            return bytes(content), origins
        origins.append((len(content), line_end + 2))
        content += raw[line_end + 2 : line_end + 2 + size]
        at = line_end + 2 + size + 2


def _events(
    exchange: Exchange, content: bytes, origins: list[tuple[int, int]], stamps: list[tuple[int, float]]
) -> None:
    """Read server-sent events; each one's time is that of the bytes that completed it."""
    at, chunk, stamp, texts = 0, 0, 0, []
    done = False
    while (end := content.find(b"\n\n", at)) >= 0 or (end := content.find(b"\r\n\r\n", at)) >= 0:
        line, start = content[at:end].strip(), at
        at = end + (4 if content[end : end + 1] == b"\r" else 2)
        if not line.startswith(b"data:"):
            continue
        if line == _DONE:
            done = True
            break
        while chunk + 1 < len(origins) and origins[chunk + 1][0] <= start:
            chunk += 1
        last = origins[chunk][1] + (end - origins[chunk][0])
        while stamp + 1 < len(stamps) and stamps[stamp][0] < last:
            stamp += 1
        _event(exchange, json.loads(line[5:]), stamps[stamp][1], texts)
    exchange.text = "".join(texts)
    if not exchange.output_tokens:
        exchange.output_tokens = len(exchange.pieces_s)
    # Some servers close the stream after the last event instead of saying [DONE].
    if not done and exchange.finish is None:
        exchange.error = exchange.error or "the stream was cut before [DONE]"


def _event(exchange: Exchange, event: dict[str, Any], time_s: float, texts: list[str]) -> None:
    if "error" in event:
        exchange.error = json.dumps(event["error"])
    for choice in event.get("choices") or ():
        text = choice.get("text") or (choice.get("delta") or {}).get("content")
        if text:
            texts.append(text)
            exchange.pieces_s.append(time_s)
        exchange.finish = choice.get("finish_reason") or exchange.finish
    usage = event.get("usage")
    if usage:
        exchange.output_tokens = usage["completion_tokens"]
        exchange.prompt_tokens = usage["prompt_tokens"]
