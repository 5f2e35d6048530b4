"""`aether estimate train|serve|memory|quality`."""

from typing import TYPE_CHECKING

import click

from aether.surfaces.cli.edge import explained, json_option, say_json

if TYPE_CHECKING:
    from aether.planning.search.question import Kind

_SHOWN = 5


@click.command()
@click.argument("question", type=click.Choice(["train", "serve", "memory", "quality"]))
@click.argument("model", required=False)
@click.option("--on", help="The device, by name (not for quality).")
@click.option("--devices", type=int, default=1, show_default=True, help="How many.")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field of the setup or the load."
)
@click.option("--explain", is_flag=True, help="Every term with its kind and source.")
@json_option
@explained
def estimate(
    question: "Kind",
    model: str | None,
    on: str | None,
    devices: int,
    settings: tuple[str, ...],
    explain: bool,
    as_json: bool,
) -> int:
    """How fast MODEL trains or serves, what it holds in memory, or what loss it reaches by the published laws.

    MODEL is a published name or a config.json. `aether estimate quality --set training_flops=1e23` is about a budget.
    """
    from aether.planning.search.question import answer
    from aether.report.fleet import said
    from aether.spec.units import humanize

    found = answer(question, model, on, devices, settings)
    if as_json:
        numbers = {e.metric: e.model_dump(mode="json") for e in found.estimates}
        say_json(
            {
                "status": "ok",
                "question": question,
                "subject": found.subject,
                "estimates": numbers,
                "setup": found.setup,
                "notes": found.notes,
            }
        )
        return 0
    parts = [f"{e.metric.replace('_', ' ')} {said(e)}" for e in found.estimates[:_SHOWN]]
    binding = found.estimates[0].binding
    click.echo(f"{found.subject}: {', '.join(parts)}; 80 % intervals" + (f"; binding: {binding}" if binding else ""))
    for note in found.notes:
        click.echo(f"  {note}")
    if explain:
        for one in found.estimates:
            click.echo(f"\n{one.metric} = {said(one)} [{one.kind}] {one.formula}")
            if one.protocol:
                click.echo(f"  to settle it: {one.protocol}")
            for term in one.terms:
                value = humanize(term.value, term.unit, 4) if term.value else f"0 {term.unit}"
                click.echo(f"  {term.name}: {value} [{term.kind}] {term.source}")
    return 0
