"""`aether ablate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether.surfaces.cli.edge import explained, json_option, say_json

if TYPE_CHECKING:
    from aether.counsel.ablation.ablate import Plan


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--vary", multiple=True, metavar="FIELD=A,B", help="Values of a field of the training, the first is the baseline; A+OTHER=C sets what goes with it."
)  # fmt: skip
@click.option(
    "--search",
    multiple=True,
    metavar="FIELD=log:LOW:HIGH",
    help="Look for the best value first, with Optuna; also lin:LOW:HIGH.",
)
@click.option("--trials", type=click.IntRange(min=2), default=20, show_default=True, help="Trainings of the search.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings of each variant.")
@click.option("--each", is_flag=True, help="One field at a time away from the baseline, not all combinations.")
@click.option(
    "--equal",
    type=click.Choice(["flops", "tokens", "steps"]),
    default="flops",
    show_default=True,
    help="What all variants get the same of.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("ablation"),
    show_default=True,
    help="Where the trainings and the result lie.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be trained and what it could show; train nothing.")
@json_option
@explained
def ablate(
    recipe: Path, vary: tuple[str, ...], search: tuple[str, ...], trials: int, seeds: int, out: Path, as_json: bool, **rest: bool | str
) -> int:  # fmt: skip
    """Train variants of RECIPE at equal compute with the same seeds, and say which differences are more than noise.

    RECIPE is a TOML or JSON file of steps, or a run's folder; its last training is varied. Trainings that are finished in OUT are not
    run again.
    """
    from aether.counsel.ablation.ablate import ablate as carry_out
    from aether.counsel.ablation.ablate import plan_ablation
    from aether.counsel.ablation.vary import parse_vary
    from aether.surfaces.cli.build import progress_of

    notes = ()
    if search:
        from aether.counsel.ablation.search import searched

        with progress_of(as_json) as listener:
            best = searched(recipe, search, trials, out, listener)
        varied, notes = best.settings(), best.notes()
    else:
        varied = [parse_vary(one) for one in vary]
    compared = range(1, seeds + 1) if search else range(seeds)  # the search trained with seed 0
    plan = plan_ablation(recipe, varied, compared, bool(rest["each"]), rest["equal"])  # pyright: ignore[reportArgumentType]
    if rest["dry_run"]:
        return _say_plan(plan, as_json)
    if not as_json:
        _say_plan(plan, False)
    with progress_of(as_json) as listener:
        _, page = carry_out(plan, out, listener, notes)
    if as_json:
        from aether.evidence.files import read_json

        say_json({"status": "done", "folder": str(out), **read_json(out / "ablation.json")})
        return 0
    from aether.surfaces.cli.pages import print_page

    print_page(page)
    click.echo(f"\n{out / 'ablation.html'}")
    return 0


def _say_plan(plan: "Plan", as_json: bool) -> int:
    from aether.spec.units import humanize

    seen = plan.detectable_in_noises
    if as_json:
        rows = plan.rows()
        say_json({"status": "planned", "variants": rows, "seeds": list(plan.seeds), "equal": plan.equal, "flops": plan.flops, "detectable_in_noises": seen})  # fmt: skip
        return 0
    for row in plan.rows():
        click.echo(
            f"  {row['variant']}: {row['steps']:,} updates, {humanize(row['tokens'], 'token')}, {humanize(row['flops'], 'flop')}"
        )
    click.echo(
        f"{len(plan.variants)} variants x {len(plan.seeds)} seeds, {humanize(plan.flops, 'flop')} together; how long that takes, the first training will show."
    )
    if seen is None:
        click.echo("With one seed, or one variant, nothing can be concluded.")
    else:
        click.echo(
            f"A difference under {seen:.2g} standard deviations of one training's noise cannot be relied on to show."
        )
    return 0
