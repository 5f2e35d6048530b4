"""`aether chat`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether.spec.errors import AetherError
from aether.surfaces.cli.edge import explained, say_json

if TYPE_CHECKING:
    from aether.counsel.agent.approval import Ask
    from aether.counsel.agent.conversation import Conversation
    from aether.surfaces.cli.draft import DraftView

_NEWEST = "newest"
_UNCHANGED = """\
Nothing in these words changes what was asked, so the answer above stands. Say what is to be different, as in "and on 4 L4?"; \
its reasons are under Decision, and `aether explain TOPIC` explains a term.\
"""


@click.command()
@click.option(
    "--model",
    help="PROVIDER:NAME, as in anthropic:..., openai:..., vllm:..., ollama:..., llama.cpp:...  [default: AETHER_MODEL]",
)
@click.option("--base-url", help="A server of the OpenAI protocol: vLLM, Ollama, llama.cpp.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=_NEWEST,
    metavar="[ID]",
    help="Go on with a conversation, by default the newest.",
)
@click.option("--list", "as_list", is_flag=True, help="The conversations of this folder.")
@click.option("--once", metavar="TEXT", help="One question, one answer.")
@click.option("--budget", type=float, metavar="USD", help="What may be spent; an unknown price is asked about.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON, for one question or the list.")
@explained
def chat(
    model: str | None,
    base_url: str | None,
    resume: str | None,
    as_list: bool,
    once: str | None,
    budget: float | None,
    as_json: bool,
) -> int:
    """Talk to the engineer. With a language model it decides words and tools decide numbers; without one, this is `aether ask` in turns.

    A reply is a draft while it is written. Then it is checked: what no record, tool or cited fact supports is struck. What spends is asked first.
    """
    from aether.counsel.agent.session import load_session, new_session, sessions

    root = Path.cwd()
    if as_list:
        found = [path.stem for path in sessions(root)]
        if as_json:
            say_json({"status": "ok", "conversations": found})
        else:
            click.echo("\n".join(found) or "no conversations here")
        return 0
    name = model or os.environ.get("AETHER_MODEL", "")
    if not name:
        return _counsel(once, as_json)
    from aether.evidence.extras import need

    need("agent")
    from rich.console import Console

    from aether.counsel.agent.budget import Budget
    from aether.counsel.agent.conversation import Conversation
    from aether.counsel.agent.providers import is_local, model_of
    from aether.surfaces.cli.draft import DraftView

    session = new_session(root) if resume is None else load_session(root, "" if resume == _NEWEST else resume)
    view = DraftView(Console(), Console(stderr=True, quiet=as_json))

    def asked(ask: "Ask") -> bool:
        view.wipe()
        return _ask_person(ask)

    talk = Conversation(
        model_of(name, base_url), root, session, asked, Budget(budget),
        (lambda event: None) if as_json else view, is_free=is_local(name, base_url),
    )  # fmt: skip
    return _loop(talk, view) if once is None else _once(talk, view, once, as_json)


def _once(talk: "Conversation", view: "DraftView", text: str, as_json: bool) -> int:
    from aether.counsel.agent.conversation import as_line

    try:
        with view:
            turn = asyncio.run(talk.turn(text))
    except KeyboardInterrupt:
        if talk.last is not None:
            click.echo(as_line(talk.last)) if as_json else _print(talk.last.text)
        raise
    click.echo(as_line(turn)) if as_json else _print(turn.text)
    return 4 if turn.declined else 0


def _loop(talk: "Conversation", view: "DraftView") -> int:
    if asked := [line["person"] for line in talk.session.turns if line.get("kind") == "turn"]:
        click.echo(f"the last question of {len(asked)}: {' '.join(asked[-1].split())[:100]}", err=True)
    click.echo(
        f"conversation {talk.session.id}; Ctrl-C stops an answer; an empty line or Ctrl-D ends it; `aether chat --resume` goes on",
        err=True,
    )
    while text := _line():
        talk.last = None
        try:
            with view:
                asyncio.run(talk.turn(text))
        except KeyboardInterrupt:
            click.echo("\nstopped; what was said is kept", err=True)
        except AetherError as error:
            click.echo(f"aether: {error}", err=True)
        if talk.last is not None:
            _print(talk.last.text)
    return 0


def _counsel(once: str | None, as_json: bool) -> int:
    """Without a language model: the answers of `aether ask`, each going on from the one before."""
    from aether.counsel.answering import EXIT_CODES
    from aether.counsel.ask import ask, changes_nothing
    from aether.report.page import page_markdown
    from aether.surfaces.cli.pages import print_page

    if once is not None:
        answer = ask(once)
        say_json({"status": answer.status, "text": page_markdown(answer.page)}) if as_json else print_page(answer.page)
        return EXIT_CODES[answer.status]
    click.echo(
        "No language model is set (--model, or AETHER_MODEL): answers come from `aether ask`. An empty line ends it.",
        err=True,
    )
    earlier = None
    while text := _line():
        try:
            answer = ask(text, earlier)
        except AetherError as error:
            click.echo(f"aether: {error}", err=True)
            continue
        if earlier is not None and changes_nothing(answer.request, earlier):
            click.echo(_UNCHANGED)
            continue
        earlier = answer.request
        print_page(answer.page)
    return 0


def _line() -> str:
    try:
        return (
            click.prompt("", prompt_suffix="> ", default="", show_default=False).strip()
            if sys.stdin.isatty()
            else sys.stdin.readline().strip()
        )
    except click.Abort:
        return ""


def _print(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    Console(width=100 if not sys.stdout.isatty() else None).print(Markdown(text))


def _ask_person(ask: "Ask") -> bool:
    cost = "unknown" if ask.cost_usd is None else f"{ask.cost_usd:.2f} USD"
    time = "unknown" if ask.time_s is None else f"{ask.time_s / 60:.1f} min"
    click.echo(
        f"\n{ask.tool}: {ask.what}\n  cost {cost}, time {time}, hash {ask.hash[:16]}"
        + (f"\n  {ask.objection}" if ask.objection else ""),
        err=True,
    )
    if not sys.stdin.isatty():
        click.echo("  nobody can be asked here: denied", err=True)
        return False
    return click.confirm("  carry it out?", default=False, err=True)
