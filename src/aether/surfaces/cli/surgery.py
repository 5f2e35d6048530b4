"""`aether surgery`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("operation")
@click.option(
    "--texts", type=click.Path(path_type=Path), required=True, help="Held-out text (.jsonl or text) to judge on."
)
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/OPERATION]")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of the operation, such as layers=24."
)
@json_option
@explained
def surgery(
    model: Path, operation: str, texts: Path, out: Path | None, settings: tuple[str, ...], as_json: bool
) -> int:
    """Change the vocabulary, depth, heads or width of MODEL, and score held-out texts before and after.

    OPERATION: extend-vocabulary (tokens=...), depth-up-scale (layers=), drop-layers (layers=), drop-heads (kv_heads=),
    widen (hidden_size=, mlp_size=). Sizes are those after it.
    """
    from aether.counsel.carrying import carry_out, surgery_recipe
    from aether.running.folder import RunFolder
    from aether.surfaces.cli.build import command_line, progress_of

    recipe = surgery_recipe(model, operation, texts, settings)
    place = out or Path("runs") / operation
    with progress_of(as_json) as listener:
        ledger = carry_out(recipe, RunFolder(place), command_line(), listener)
    folder = RunFolder(place).output("surgery") / "model"
    if as_json:
        say_json(
            {
                "status": "done",
                "run": str(place),
                "model": str(folder),
                "evidence": {e.id: e.model_dump(mode="json") for e in ledger},
            }
        )
        return 0
    from aether.evidence.files import read_json

    summary = read_json(folder.parent / "surgery.json")
    sizes = summary["parameters"]
    click.echo(f"\n{operation}: {sizes['before']:,} parameters before, {sizes['after']:,} after")
    click.echo(f"held-out texts: {summary['held']['conclusion']}\n{folder}")
    return 0
