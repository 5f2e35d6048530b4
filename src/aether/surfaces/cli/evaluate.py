"""`aether evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from aether.surfaces.cli.edge import explained, json_option, progress, said, say_json

if TYPE_CHECKING:
    from aether.counsel.evaluating import Evaluated
    from aether.stages.evaluate.suites.run import Order


class _Given(TypedDict):
    suite: str
    data: Path
    out: Path | None
    limit: int | None
    against: Path | None
    model: str
    settings: tuple[str, ...]


@click.command()
@click.argument("target")
@click.option("--suite", required=True, help="A suite's TOML file, or the name of one that comes with Aether.")
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path(), help="The folder that holds the suite's files."
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder of the evaluation; an unfinished one goes on.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Only so many items of each task, drawn by lot (of a harness's task, the first).",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="A finished evaluation: items are drawn by lot until each task is shown to be better or worse than there.",
)
@click.option("--model", default="", help="The endpoint's name for the model.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="chat, dtype, device, batch_size, max_length, concurrency.",
)
@json_option
@explained
def evaluate(target: str, as_json: bool, **given: Unpack[_Given]) -> int:
    """Evaluate TARGET: a run, a model folder, a .gguf file, or the address of an OpenAI-compatible endpoint.

    Every answer is kept as it comes, so that the same command goes on after a kill; every score is summed up from the items.
    """
    from aether.evidence.extras import need

    need("suites")
    from aether.stages.evaluate.quiet import offline

    offline()
    from aether.counsel.evaluating import read_evaluation, write_pages
    from aether.stages.evaluate.suites.run import evaluate as run
    from aether.stages.evaluate.suites.sequential import evaluate_until_decided

    order = _order(target, given)
    folder, against = order.out, given["against"]
    count = progress(as_json)
    if against is None:
        run(order, lambda _suite, answers: count(answers))
    else:
        evaluate_until_decided(order, against, told=lambda _suite, answers: count(answers))
    done = read_evaluation(folder)
    pages = write_pages(done)
    if as_json:
        rows = [
            {"task": s.task, "metric": s.metric, "variant": s.variant, "distribution": s.distribution, "value": s.found.value,
             "interval": None if s.found.interval is None else s.found.interval.model_dump(mode="json"), "answers": s.found.n,
             "clusters": s.found.clusters}
            for s in done.scores
        ]  # fmt: skip
        say_json({"status": "done", "folder": str(folder), "scores": rows, "pages": [str(page) for page in pages]})
    else:
        _print(done)
        click.echo(f"\n{pages[1]}")
    return 0


def _order(target: str, given: _Given) -> "Order":
    from aether.spec.errors import InputError
    from aether.stages.evaluate.suites.run import Order
    from aether.stages.evaluate.suites.suite import read_suite
    from aether.stages.evaluate.suites.target import target_of

    limit, against, model = given["limit"], given["against"], given["model"]
    if limit and against:
        raise InputError.of("limit", limit, "with --against the evidence says when to stop; give one of the two")
    chosen, where = read_suite(given["suite"]), target_of(target, model, given["settings"])
    folder = given["out"] or Path("evaluations") / f"{(Path(where.place).name or 'model')}-{chosen.name}"
    options = {"suite": given["suite"], "data": given["data"], "out": folder, "limit": limit, "against": against}
    command = said("evaluate", target, **options, model=model, set=given["settings"])
    return Order(where, chosen, given["data"], folder, limit, command)


def _print(done: "Evaluated") -> None:
    from aether.counsel.evaluating import page_of
    from aether.surfaces.cli.pages import print_page

    print_page(page_of(done))
