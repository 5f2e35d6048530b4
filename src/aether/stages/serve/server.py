"""The server as a process: it takes a port, says its address as one JSON line, serves, and leaves in order when asked.

    python -m aether.stages.serve.server --model FOLDER --port 0

uvicorn runs the event loop. SIGTERM or Ctrl-C: no new requests (503), those in hand go on for `drain_s`, then exit 0.
"""

import argparse
import asyncio
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch
import uvicorn
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from aether.spec.errors import AetherError, EnvironmentFault, InputError
from aether.stages.serve import lifeline
from aether.stages.serve.app import Service, build
from aether.stages.serve.loading import load_served
from aether.stages.serve.recipe import ServerSettings

Announce = Callable[[dict], None]


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises EnvironmentFault when the port or the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sentence = f"port {port} on {host} is in use; stop what listens there, or use --port 0 for a free one"
        else:
            sentence = f"cannot listen on {host} port {port} ({error.strerror or error}); choose another host or port"
        raise EnvironmentFault(sentence, host=host, port=port) from error


class _Server(uvicorn.Server):
    """uvicorn, with the engine told to take no more as soon as a signal comes."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.engine.drain()
        super().handle_exit(sig, frame)


def serve_forever(model_folder: Path, settings: ServerSettings, announce: Announce | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C. `announce` is given url, model, pid and dtype once requests are answered.

    Raises EnvironmentFault (port), InputError or DamagedRecord (model), before anything is served.
    """
    listening = bind(settings.host, settings.port)
    try:
        torch.set_num_threads(settings.threads)
        # numpy's BLAS has threads of its own, which torch's number does not hold for.
        threadpool_limits(settings.threads, user_api="blas")
        service = Service(
            load_served(Path(model_folder), settings.engine, settings.model_name, settings.threads), settings
        )
    except BaseException:
        listening.close()
        raise
    config = uvicorn.Config(
        build(service),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        server_header=False,
    )
    # uvicorn raises the signal again when it is done, for whoever started it; leaving in order is not dying of it.
    previous = {sig: signal.signal(sig, lambda *_: None) for sig in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(_serve(_Server(config, service), service, listening, announce))
    finally:
        for sig, handler in previous.items():
            signal.signal(sig, handler)


async def _serve(server: _Server, service: Service, listening: socket.socket, announce: Announce | None) -> None:
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not running.done():
        await asyncio.sleep(0.005)
    if server.started and announce is not None:
        announce(address(service, listening))
    await running


def address(service: Service, listening: socket.socket) -> dict:
    """What a client needs to know."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    served = service.served
    return {
        "url": f"http://{shown}:{port}",
        "model": served.name,
        "pid": os.getpid(),
        "guarded": service.settings.guard.screens,
        "engine": served.engine,
        "dtype": served.dtype,
        "context_tokens": served.context_tokens,
        "slots": served.model.slots,
        "cache_bytes": served.model.cache_bytes,
    }


def _say(line: dict) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> int:
    """The command line. Errors are one JSON line on stderr and the error's own exit code."""
    parser = argparse.ArgumentParser(prog="python -m aether.stages.serve.server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face model folder")
    parser.add_argument("--port", type=int, help="0 picks a free one")
    parser.add_argument("--settings", default="{}", help="JSON of ServerSettings")
    parser.add_argument("--lifeline", action="store_true", help="leave when stdin is closed")
    arguments = parser.parse_args()
    if arguments.lifeline:
        lifeline.hold()
    try:
        raw = json.loads(arguments.settings) | ({} if arguments.port is None else {"port": arguments.port})
        serve_forever(arguments.model, ServerSettings.model_validate(raw), _say)
    except (json.JSONDecodeError, ValidationError) as error:
        return _refuse(InputError.of("settings", arguments.settings, str(error)))
    except AetherError as error:
        return _refuse(error)
    return 0


def _refuse(error: AetherError) -> int:
    sys.stderr.write(json.dumps({"status": error.status, "error": str(error)}) + "\n")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
