"""The floors of latency, tried for real: the smallest decoder's step, and its first token through an HTTP server.

The decoder has the parts of the real one (RMSNorm, attention over a cache, gated MLP, tied head, argmax) at the smallest
size that the planner ever proposes, so no model that Aether builds answers faster on this machine. The server is
Starlette on uvicorn with the decoder in a thread of its own, which is how Aether serves; without that extra installed
there is no served floor. Weights are random: nothing here says anything about quality.

Shapes: T tokens, C width, V vocabulary, H heads, S cached positions, D head size.
"""

import asyncio
import importlib.util
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from aether.hardware.sampling import Sampled, Timer

SMALLEST_LAYERS = 2
SMALLEST_WIDTH = 64
_HEADS = 2
_VOCAB = 512
_CACHED = 64
_PROMPT_TOKENS = 32
_REQUESTS = 250


def minimal_decoder(torch: Any, device: str, layers: int) -> Callable[[Any], int]:
    """A greedy step over a fixed cache: token ids (T,) in, the next token id out."""
    functional, width = torch.nn.functional, SMALLEST_WIDTH
    random = torch.Generator().manual_seed(0)

    def weight(*shape: int) -> Any:
        return (torch.randn(*shape, generator=random) * 0.1).to(device)

    blocks = [
        (weight(3 * width, width), weight(width, width), weight(4 * width, width), weight(width, 2 * width))
        for _ in range(layers)
    ]
    embedding_VC = weight(_VOCAB, width)
    head_size = width // _HEADS
    key_HSD, value_HSD = weight(_HEADS, _CACHED, head_size), weight(_HEADS, _CACHED, head_size)

    def step(ids_T: Any) -> int:
        x_TC = functional.embedding(ids_T, embedding_VC)
        tokens = x_TC.shape[0]
        for qkv, out, up, down in blocks:
            h_TC = functional.rms_norm(x_TC, (width,))
            q, k, v = functional.linear(h_TC, qkv).view(tokens, 3, _HEADS, head_size).permute(1, 2, 0, 3)
            keys, values = torch.cat((key_HSD, k), 1), torch.cat((value_HSD, v), 1)
            mixed = functional.scaled_dot_product_attention(q[None], keys[None], values[None])
            x_TC = x_TC + functional.linear(mixed[0].transpose(0, 1).reshape(tokens, width), out)
            a, b = functional.linear(functional.rms_norm(x_TC, (width,)), up).chunk(2, -1)
            x_TC = x_TC + functional.linear(functional.silu(a) * b, down)
        return int(functional.linear(x_TC[-1:], embedding_VC).argmax())

    return step


def decode_floors(torch: Any, device: str, timer: Timer) -> tuple[Sampled, float]:
    """The smallest decoder's one-token step (sampled), and the seconds that one more layer adds."""
    deeper = SMALLEST_LAYERS + 4
    one = torch.zeros(1, dtype=torch.int64, device=device)
    with torch.inference_mode():
        smallest = minimal_decoder(torch, device, SMALLEST_LAYERS)
        deep = minimal_decoder(torch, device, deeper)
        short, long = timer.samples(lambda: smallest(one)), timer.samples(lambda: deep(one))
    return short, max(0.0, (long.value - short.value) / (deeper - SMALLEST_LAYERS))


class _Engine(threading.Thread):
    """The decoder in a thread of its own: takes (loop, reply queue), answers with one token."""

    def __init__(self, torch: Any, device: str) -> None:
        super().__init__(daemon=True)
        self.waiting: queue.Queue[tuple[Any, Any] | None] = queue.Queue()
        self._torch, self._device = torch, device

    def run(self) -> None:
        step = minimal_decoder(self._torch, self._device, SMALLEST_LAYERS)
        prompt_T = self._torch.zeros(_PROMPT_TOKENS, dtype=self._torch.int64, device=self._device)
        with self._torch.inference_mode():
            while (request := self.waiting.get()) is not None:
                loop, reply = request
                loop.call_soon_threadsafe(reply.put_nowait, step(prompt_T))


def served_floor(torch: Any, device: str) -> tuple[Sampled, Sampled] | None:
    """Median and 99th percentile of the time to a first streamed token, one idle client. None without the serve extra."""
    if importlib.util.find_spec("starlette") is None or importlib.util.find_spec("uvicorn") is None:
        return None
    import uvicorn

    engine = _Engine(torch, device)
    engine.start()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(_application(engine), log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    try:
        if not _came_up(server, thread):
            return None
        return _first_tokens(listening.getsockname()[1])
    finally:
        server.should_exit = True
        engine.waiting.put(None)
        thread.join(timeout=5)
        listening.close()


def _came_up(server: Any, thread: threading.Thread) -> bool:
    deadline = time.monotonic() + 5.0
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(server.started)


def _application(engine: _Engine) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def complete(request: Request) -> StreamingResponse:
        await request.json()
        reply: asyncio.Queue[int] = asyncio.Queue()

        async def stream():
            engine.waiting.put((asyncio.get_running_loop(), reply))
            yield f"data: {json.dumps({'token': await reply.get()})}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    return Starlette(routes=[Route("/", complete, methods=["POST"])])


def _first_tokens(port: int) -> tuple[Sampled, Sampled] | None:
    body = json.dumps({"prompt": "x" * 4 * _PROMPT_TOKENS}).encode()
    head = f"POST / HTTP/1.1\r\nHost: probe\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    taken: list[float] = []
    for _ in range(_REQUESTS):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                before = time.perf_counter()
                client.sendall(head.encode() + body)
                received = b""
                while b"data:" not in received:
                    part = client.recv(4096)
                    if not part:
                        return None
                    received += part
                taken.append(time.perf_counter() - before)
        except OSError:
            return None
    settled = sorted(taken[_REQUESTS // 10 :])
    return Sampled.of(settled), Sampled.of_quantile(settled, 0.99)
