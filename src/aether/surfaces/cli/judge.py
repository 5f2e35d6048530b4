"""`aether judge`."""

from pathlib import Path

import click

from aether.surfaces.cli.edge import explained, json_option, progress, said, say_json


@click.command()
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--judge", "place", required=True, help="A model folder, a .gguf file, or the address of an endpoint.")
@click.option("--model", default="", help="The endpoint's name for the judge.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("judged"), show_default=True, help="The folder of the judgement; an unfinished one goes on.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="chat, dtype, device, batch_size, max_length, concurrency; short=true: the verdict alone, for small judges.")  # fmt: skip
@json_option
@explained
def judge(places: tuple[Path, ...], place: str, model: str, out: Path, settings: tuple[str, ...], as_json: bool) -> int:
    """Let a language model judge pairs of answers: PLACES is a file of pairs, or two folders of `aether evaluate`.

    Each pair is asked in both orders. What people said of the same pairs in `aether web` is held against it.
    """
    from aether.evidence.extras import need

    need("suites")
    from aether.stages.evaluate.quiet import offline

    offline()
    from aether.counsel import judging
    from aether.stages.evaluate.judging import Judging, judge_settings
    from aether.stages.evaluate.judging import judge as run
    from aether.stages.evaluate.suites.target import target_of

    pairs = judging.pairs_to_judge(places)
    rest, short = judge_settings(settings)
    target = target_of(place, model, rest)
    command = said("judge", *places, judge=place, out=out, model=model, set=settings)
    run(Judging(pairs, target, out, command, judging.file_for_people(places, out), short), progress(as_json))
    judging.write_pairs(places, pairs, out)
    done = judging.read_judged(out)
    page = judging.page_of(done)
    report, votes = judging.write_pages(done, page), judging.write_votes(done)
    if as_json:
        rows = [
            {"pair": i, "a_first": v.a_first, "b_first": v.b_first, "verdict": v.combined}
            for i, v in enumerate(done.verdicts)
        ]
        evidence = {e.id: e.model_dump(mode="json", exclude_none=True) for e in page.evidence}
        say_json({"status": "done", "folder": str(out), "verdicts": rows, "evidence": evidence, "votes": votes and str(votes)})  # fmt: skip
    else:
        from aether.surfaces.cli.pages import print_page

        print_page(page)
        click.echo(f"\n{report}")
    return 0
