"""`aether power`."""

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("items", type=click.IntRange(min=2))
@click.option(
    "--difference", type=float, help="A gain in accuracy, as 0.03 for three points: how likely is it to be found?"
)
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of the design; without it, what is usual."
)
@json_option
@explained
def power(items: int, difference: float | None, settings: tuple[str, ...], as_json: bool) -> int:
    """What a comparison of two models on ITEMS questions can show, before it is run.

    Fields: accuracy, correlation, answers, within_share, cluster_size, intraclass_correlation, level, power, tests.
    """
    from aether.evidence.sample_size import design_of

    plan = design_of(items, settings)
    smallest = plan.smallest_detectable
    found = None if difference is None else plan.power_for(difference)
    needed = None if difference is None else plan.items_for(difference)
    if as_json:
        say_json(
            {"status": "ok", "items": items, "smallest_detectable": smallest, "power": found, "items_needed": needed}
        )
        return 0
    click.echo(f"{items} items cannot be relied on to see a gain under {100 * smallest:.1f} points", nl=False)
    click.echo(
        f" ({plan.power:.0%} power at {plan.level:.0%}, accuracy {plan.accuracy:g}, scores correlated {plan.correlation:g})."
    )
    if difference is not None:
        click.echo(
            f"A gain of {100 * difference:g} points is found with probability {found:.0%}; {needed:,} items find it {plan.power:.0%} of the time."
        )
    return 0
