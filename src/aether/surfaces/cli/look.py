"""`aether runs`, `show`, `compare` and `report`: reading what is there."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether.surfaces.cli.edge import explained, json_option, say_json

if TYPE_CHECKING:
    from aether.evidence.ledger import Ledger
    from aether.spec.evidence import Evidence

run_argument = click.argument("run", type=click.Path(path_type=Path))


@click.command()
@click.argument("root", type=click.Path(path_type=Path), default=Path("runs"))
@json_option
@explained
def runs(root: Path, as_json: bool) -> int:
    """List the runs in ROOT."""
    from aether.counsel.browse import summaries

    found = summaries(root)
    if as_json:
        say_json({"status": "done", "runs": [summary.model_dump(mode="json") for summary in found]})
    else:
        from aether.surfaces.cli.tables import print_runs

        print_runs(found, root)
    return 0


@click.command()
@run_argument
@click.argument("evidence_id", required=False)
@json_option
@explained
def show(run: Path, evidence_id: str | None, as_json: bool) -> int:
    """Show RUN's verdicts and numbers, or one number (EVIDENCE_ID) with all that is known of it."""
    from aether.counsel.browse import read_run
    from aether.running.folder import RunFolder

    seen = read_run(RunFolder(run))
    chosen = [_one(seen.ledger, evidence_id)] if evidence_id else list(seen.ledger)
    if as_json:
        verdicts = [] if evidence_id else [v.model_dump(mode="json") for v in seen.verdicts]
        say_json({"status": "done", "verdicts": verdicts, "evidence": [e.model_dump(mode="json") for e in chosen]})
    else:
        from aether.surfaces.cli.tables import print_run

        print_run(seen, chosen, whole=evidence_id is None)
    return 0


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@json_option
@explained
def compare(a: Path, b: Path, as_json: bool) -> int:
    """Compare two runs, or two folders of `aether evaluate`, A and B: each number, paired where both kept per-item records."""
    if all((folder / "items.jsonl").is_file() for folder in (a, b)):
        return _compare_evaluations(a, b, as_json)
    from aether.counsel.browse import compare_runs
    from aether.counsel.results import check_comparable
    from aether.running.folder import RunFolder

    check_comparable(a, b)
    found = compare_runs(RunFolder(a), RunFolder(b))
    if as_json:
        from aether.report.data import to_json

        say_json({"status": "done", "comparison": to_json(found.report, found.sources)})
    else:
        from aether.surfaces.cli.tables import print_comparison

        print_comparison(found)
    return 0


def _compare_evaluations(a: Path, b: Path, as_json: bool) -> int:
    from aether.counsel.evaluation_comparison import compared, comparison_page
    from aether.surfaces.cli.pages import print_page

    found = compared(a, b)
    if as_json:
        say_json({"status": "done", "comparisons": [row.model_dump(mode="json") for row in found]})
    else:
        print_page(comparison_page(found, a, b))
    return 0


def _one(ledger: "Ledger", evidence_id: str) -> "Evidence":
    from aether.spec.errors import InputError

    found = ledger.get(evidence_id)
    if found is None:
        raise InputError.of("evidence_id", evidence_id, "this run has no such number; `aether show RUN` lists them")
    return found


@click.command()
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of a model's page; without it one beside the first of PLACES.",
)
@json_option
@explained
def report(places: tuple[Path, ...], out: Path | None, as_json: bool) -> int:
    """Write a run's report again, or one page and card of a model from its records.

    PLACES is a run, or folders of `aether evaluate` and `aether redteam` of one model.
    """
    from aether.counsel.results import result_of

    first, *others = places
    if out is not None or others or result_of(first) is not None:
        return _model_page(places, out, as_json)
    from aether.counsel.browse import rewrite_report
    from aether.running.folder import RunFolder

    page = rewrite_report(RunFolder(first))
    if as_json:
        say_json({"status": "done", "report": str(page)})
    else:
        click.echo(page)
    return 0


def _model_page(places: tuple[Path, ...], out: Path | None, as_json: bool) -> int:
    from aether.counsel.model_page import default_folder, write_model_page

    page, paths = write_model_page(places, out or default_folder(places))
    if as_json:
        evidence = {one.id: one.model_dump(mode="json", exclude_none=True) for one in page.evidence}
        say_json(
            {"status": "done", "report": str(paths[1]), "pages": [str(path) for path in paths], "evidence": evidence}
        )
    else:
        from aether.surfaces.cli.pages import print_page

        print_page(page)
        click.echo(f"\n{paths[1]}")
    return 0
