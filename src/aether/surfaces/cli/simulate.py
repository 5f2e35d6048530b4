"""`aether simulate`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("model")
@click.argument("traffic", type=click.Path(path_type=Path))
@click.option("--on", required=True, help="The device, by name.")
@click.option("--devices", type=int, default=1, show_default=True, help="How many, over all replicas.")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field of the deployment.")
@json_option
@explained
def simulate(model: str, traffic: Path, on: str, devices: int, settings: tuple[str, ...], as_json: bool) -> int:
    """What users of MODEL see under TRAFFIC: a table of arrivals and lengths (TOML, YAML, JSON) or a trace (CSV)."""
    from aether.planning.search.simulation import simulated
    from aether.report.fleet import said

    found = simulated(model, traffic, on, devices, settings)
    if as_json:
        numbers = {e.metric: e.model_dump(mode="json") for e in found.estimates}
        facts = {"subject": found.subject, "estimates": numbers, "findings": found.findings, "setup": found.setup}
        say_json({"status": "ok", **facts})
        return 0
    click.echo(found.subject)
    for estimate in found.estimates:
        click.echo(f"  {estimate.metric.replace('_', ' '):24} {said(estimate)}")
    for finding in found.findings:
        click.echo(f"- {finding}")
    click.echo("80 % intervals; " + found.estimates[0].formula)
    return 0
