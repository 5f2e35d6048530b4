"""`aether guard`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("harmful", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--benign", type=click.Path(path_type=Path), multiple=True, required=True, help="A file of benign requests."
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("guard.bin"), show_default=True, help="The file to write."
)
@click.option(
    "--refused",
    type=click.FloatRange(min=0.0, max=0.5),
    default=0.02,
    show_default=True,
    help="The share of held-out benign requests that may be refused: it sets the threshold.",
)
@json_option
@explained
def guard(harmful: tuple[Path, ...], benign: tuple[Path, ...], out: Path, refused: float, as_json: bool) -> int:
    """Train a classifier of requests from files of HARMFUL and benign ones, for the server. Takes seconds."""
    from aether.evidence.extras import need

    need("serve")
    from aether.stages.evaluate.redteam.behaviours import read_behaviours
    from aether.stages.serve.guard.classifier import train

    bad = [one.text for path in harmful for one in read_behaviours(path)]
    good = [one.text for path in benign for one in read_behaviours(path, benign=True)]
    done = train(bad, good, refused)
    done.classifier.save(out)
    if as_json:
        rows = {name: {"value": found.value, "n": found.n, "interval": found.interval and found.interval.model_dump(mode="json")}
                for name, found in (("caught", done.caught), ("refused", done.refused))}  # fmt: skip
        say_json({"status": "done", "file": str(out), "threshold": done.classifier.threshold, **rows})
        return 0
    interval = done.caught.interval
    assert interval is not None
    told = f"{done.caught.value:.1%} of {len(bad)} held-out harmful requests caught ({interval.low:.1%} to {interval.high:.1%})"
    click.echo(f"{out}: {told} where {done.refused.value:.1%} of {len(good)} benign ones are refused.")
    click.echo("Held out means of the same files: measure it on other ones with aether redteam.")
    return 0
