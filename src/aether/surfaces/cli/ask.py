"""`aether ask`."""

import os
import sys
from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json, uncollected


@click.command()
@click.argument("text", nargs=-1)
@click.option("--follow", is_flag=True, help="Go on from what was asked before: keep all that is not said anew.")
@click.option("--accept-defaults", is_flag=True, help="Take the default of every open question, and say so.")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change or answer a field.")
@click.option("--session", default="last", show_default=True, help="A session by name, or a file ending in .json.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the answer, the brief and its files to a folder.")
@json_option
@explained
def ask(
    text: tuple[str, ...],
    follow: bool,
    accept_defaults: bool,
    settings: tuple[str, ...],
    session: str,
    out: Path | None,
    as_json: bool,
) -> int:
    """Answer TEXT about building, training, aligning, compressing, serving or evaluating a model; no LLM takes part.

    "-" reads the text from standard input. What is missing is asked (exit code 2); what cannot be met is said with its arithmetic
    (3); what is not helped with is declined (4).
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no product here is worth the threads that numpy would start
    words = sys.stdin.read() if text == ("-",) else " ".join(text)
    with uncollected():
        from aether.counsel import ask as door
        from aether.counsel.answering import EXIT_CODES
        from aether.counsel.sessions import recall, remember

        earlier = recall(session) if follow else None
        answer = door.ask(words, earlier, accept_defaults, settings)
    if answer.status != "declined":
        remember(answer.request, session)
    written: tuple[str, ...] = ()
    if out is not None:
        from aether.counsel.answer_files import write_answer

        written = write_answer(answer, out)
    if as_json:
        from aether.report.page import page_markdown

        say_json({**answer.model_dump(mode="json"), "markdown": page_markdown(answer.page), "files": written})
    else:
        from aether.surfaces.cli.pages import print_page

        print_page(answer.page)
        if written:
            click.echo(f"\nwritten to {out}: {', '.join(written)}")
    return EXIT_CODES[answer.status]
