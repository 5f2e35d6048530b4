"""`aether contamination`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, say_json


@click.command()
@click.argument("test", type=click.Path(path_type=Path))
@click.argument("training", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--field", "fields", multiple=True, help="A field of TEST's rows to look for; without it all their texts."
)
@click.option(
    "--model", type=click.Path(path_type=Path), help="A model folder: does it know TEST better than the control texts?"
)
@click.option(
    "--control", type=click.Path(path_type=Path), help="A .jsonl file of texts that the model cannot have seen."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("contamination"),
    show_default=True,
    help="The folder to write.",
)
@json_option
@explained
def contamination(
    test: Path,
    training: tuple[Path, ...],
    fields: tuple[str, ...],
    model: Path | None,
    control: Path | None,
    out: Path,
    as_json: bool,
) -> int:
    """Which items of TEST (.jsonl, or a folder of `aether evaluate`) the TRAINING files hold, where, and whether the score is due to it."""
    from aether.evidence.extras import need
    from aether.spec.errors import InputError

    if not training and model is None:
        raise InputError.of("training", 0, "give training files, or --model with --control")
    if (model is None) != (control is None):
        raise InputError.of("control", str(control), "--model and --control go together: a signal alone says nothing")
    need("train")
    from aether.stages.evaluate.quiet import offline

    offline()
    from aether.counsel.contamination import page_of, write_pages
    from aether.stages.evaluate import contaminated as work

    items = work.read_test(test, fields)
    said: dict[str, object] = {"status": "done", "items": len(items)}
    if training:
        found, documents = work.search(items, training)
        scores = work.subset_scores(test, items, found) if test.is_dir() else []
        out.mkdir(parents=True, exist_ok=True)
        rows = work.write_findings(out, items, found)
        page = page_of(test, items, found, documents, scores)
        pages = write_pages(out, page)
        bands = {
            band: sum(one.band == band for one in found) for band in ("contaminated", "partly", "clean", "too short")
        }
        said |= {"bands": bands, "documents": documents, "findings": str(rows), "page": str(pages[1])}
        said["scores"] = [
            {**vars(one), "interval": one.interval and one.interval.model_dump(mode="json")} for one in scores
        ]
        if not as_json:
            from aether.surfaces.cli.pages import print_page

            print_page(page)
            click.echo(f"\n{rows}")
    if model is not None and control is not None:
        said["signals"] = _signals(
            model, [item.text for item in items], [c.text for c in work.read_test(control, fields)], as_json
        )
    if as_json:
        say_json(said)
    return 0


def _signals(model: Path, suspected: list[str], control: list[str], as_json: bool) -> list[dict[str, object]]:
    from aether.stages.evaluate.membership import signals
    from aether.stages.evaluate.quiet import quiet

    with quiet():
        found = signals(model, suspected, control)
    if not as_json:
        for one in found:
            click.echo(f"{one.name}: area {one.area:.3f} (0.5 tells nothing), p {one.p_value:.2g}")
        click.echo(
            "A difference is evidence only where the control is alike in topic, form and date; no difference is no proof of a clean model."
        )
    return [
        {
            "name": s.name,
            "area": s.area,
            "p_value": s.p_value,
            "suspected": s.suspected.value,
            "control": s.control.value,
        }
        for s in found
    ]
