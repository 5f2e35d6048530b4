"""What every command shares: errors as one sentence (or one line of JSON) with the right exit code, and the JSON line."""

import functools
import gc
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from aether.spec.errors import AetherError, Interrupted

json_option = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of text.")


def say_json(value: dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def said(*words: object, **options: object) -> str:
    """The command that a person could type again: words as they are, options that were given, quoted for a shell. A tuple is an option several times."""
    found = ["aether", *map(str, words)]
    for name, value in options.items():
        for one in value if isinstance(value, tuple) else (value,):
            found += [f"--{name}", str(one)] if one not in (None, "") else []
    return shlex.join(found)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector: a second of work leaves no cycles worth collecting, and it would take a tenth of it, and as much again
    when the process ends. What is there afterwards is left alone until the next such work."""
    gc.unfreeze()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def progress(as_json: bool) -> Callable[[int], None]:
    """Tells every fiftieth answer of a model, on the standard error of now: libraries' own words to it are kept off while they run."""
    stream = sys.stderr

    def count(answers: int) -> None:
        if not as_json and answers % 50 == 0:
            click.echo(f"{answers} answers", file=stream)

    return count


def explained(command: Callable[..., int | None]) -> Callable[..., None]:
    """Run a command; turn a person's errors into a sentence and an exit code. Ours stay tracebacks."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        as_json = bool(options.get("as_json"))
        try:
            code = command(*args, **options) or 0
        except KeyboardInterrupt:
            stop = Interrupted("stopped; what is finished is kept, and `aether resume` goes on from there")
            code = _tell(stop, as_json)
        except AetherError as error:
            code = _tell(error, as_json)
        sys.exit(code)

    return run


def _tell(error: AetherError, as_json: bool) -> int:
    if as_json:
        say_json({"status": error.status, "message": str(error), **error.details})
    else:
        click.echo(f"aether: {error}", err=True)
    return error.exit_code
