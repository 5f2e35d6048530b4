"""`aether build`, `plan` and `resume`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aether.spec.errors import Interrupted, NeedsInput
from aether.surfaces.cli.edge import explained, json_option, say_json, uncollected

if TYPE_CHECKING:
    from aether.counsel.engineer import Outcome
    from aether.spec.brief import Brief
    from aether.spec.recipe import Recipe
    from aether.spec.run import Listener

brief_argument = click.argument("brief", type=click.Path(path_type=Path))
out_option = click.option(
    "--out", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/<brief name>]"
)
set_option = click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change or answer a field of the brief."
)


@click.command()
@brief_argument
@out_option
@set_option
@json_option
@explained
def build(brief: Path, out: Path | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Build the model that BRIEF asks for, and judge every target.

    BRIEF is a TOML, YAML or JSON file, or a folder that holds brief.toml (or .yaml, .json). A file with [[steps]] is a recipe:
    its steps are carried out as they are written.
    """
    from aether.counsel import engineer
    from aether.counsel.carrying import recipe_at

    recipe = recipe_at(brief)
    if recipe is not None:
        return _carry_out(recipe, out or Path("runs") / recipe.name, settings, as_json)
    wanted = _read(brief, settings, as_json)
    folder = _folder(out or Path("runs") / wanted.name)
    with progress_of(as_json) as listener:
        outcome = engineer.build(wanted, folder, command_line(), listener)
    return _say_outcome(outcome, as_json)


def _carry_out(recipe: "Recipe", out: Path, settings: tuple[str, ...], as_json: bool) -> int:
    from aether.counsel.carrying import carry_out
    from aether.spec.errors import InputError

    if settings:
        raise InputError.of("--set", settings[0], "it changes a brief; a recipe is carried out as it is written")
    with progress_of(as_json) as listener:
        ledger = carry_out(recipe, _folder(out), command_line(), listener)
    if as_json:
        evidence = {e.id: e.model_dump(mode="json") for e in ledger}
        say_json({"status": "done", "run": str(out), "evidence": evidence})
    else:
        click.echo(f"\n{len(recipe.steps)} steps done in {out}; every number: aether show {out}")
    return 0


@click.command()
@brief_argument
@out_option
@set_option
@json_option
@explained
def plan(brief: Path, out: Path | None, settings: tuple[str, ...], as_json: bool) -> int:
    """Predict what BRIEF will take, decide, and stop before the main run. `aether build` on the same folder goes on."""
    wanted = _read(brief, settings, as_json)
    if wanted.model is not None:
        from aether.surfaces.cli.fleet import plan_fleet

        with uncollected():
            return plan_fleet(wanted, out or Path("runs") / wanted.name, as_json)
    # Its statistics take a second to load, which a plan for a cluster does not need.
    from aether.counsel import engineer

    folder = _folder(out or Path("runs") / wanted.name)
    with progress_of(as_json) as listener:
        made = engineer.plan(wanted, folder, command_line(), listener)
    if as_json:
        say_json({"status": "planned", "run": str(folder.path), "plan": made.model_dump(mode="json")})
    else:
        from aether.surfaces.cli.tables import print_plan

        print_plan(made)
    return 0


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
@explained
def resume(run: Path, as_json: bool) -> int:
    """Go on with RUN where it was stopped."""
    from aether.counsel import engineer

    folder = _folder(run)
    with progress_of(as_json) as listener:
        outcome = engineer.build(folder.manifest().brief, folder, command_line(), listener)
    return _say_outcome(outcome, as_json)


def _folder(path: Path):
    from aether.running.folder import RunFolder

    return RunFolder(path)


def command_line() -> tuple[str, ...]:
    """The command as it was typed, for the run's record."""
    return ("aether", *sys.argv[1:])


def _read(path: Path, settings: tuple[str, ...], as_json: bool) -> "Brief":
    """The brief, complete: in a terminal the open questions are asked one by one."""
    from aether.counsel.fleet import read
    from aether.counsel.intake import check

    answers = list(settings)
    while True:
        wanted = read(path, answers)
        try:
            check(wanted)
        except NeedsInput as error:
            if as_json or not sys.stdin.isatty():
                raise
            answers += _ask(error.details["questions"])
            continue
        return wanted


def _ask(questions: list[dict[str, Any]]) -> list[str]:
    answers = []
    for question in questions:
        click.echo(f"\n{question['text']}\n  {question['why']}")
        if question["choices"]:
            click.echo(f"  one of: {', '.join(question['choices'])}")
        try:
            answers.append(f"{question['field']}={click.prompt('  answer', default=question['default'])}")
        except click.Abort:  # click's word for Ctrl-C and for the end of the input
            raise Interrupted("\nnothing was started; answer in the brief or with --set FIELD=VALUE") from None
    return answers


class _Silent:
    def __enter__(self) -> "Listener":
        return lambda progress: None

    def __exit__(self, *_: object) -> None:
        return None


def progress_of(as_json: bool):
    """A listener for this output: live for eyes, silent for JSON."""
    if as_json:
        return _Silent()
    from rich.console import Console

    from aether.surfaces.cli.live import LiveView

    return LiveView(Console())


def _say_outcome(outcome: "Outcome", as_json: bool) -> int:
    from aether.report.tables import terminal_table

    if as_json:
        say_json(
            {
                "status": "done",
                "run": str(outcome.folder),
                "report": str(outcome.folder / "report" / "report.html"),
                "shut_gates": [f"{v.target}: {v.reason}" for v in outcome.shut_gates],
                "missed": [v.target.metric for v in outcome.verdicts if v.status == "missed"],
                "verdicts": [v.model_dump(mode="json") for v in outcome.verdicts],
                "evidence": {e.id: e.model_dump(mode="json") for e in outcome.ledger},
            }
        )
    else:
        from aether.surfaces.cli.tables import print_outcome

        print_outcome(outcome, terminal_table(outcome.verdicts, outcome.ledger))
    return outcome.exit_code
