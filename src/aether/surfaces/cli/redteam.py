"""`aether redteam`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aether.surfaces.cli.edge import explained, json_option, said, say_json

if TYPE_CHECKING:
    from aether.counsel.redteaming import Gate, RedTeamed


@click.command()
@click.argument("target")
@click.option(
    "--behaviours",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file of harmful requests (HarmBench, AdvBench, StrongREJECT, own); without it a small set that comes along.",
)
@click.option(
    "--benign",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file of benign requests (XSTest, own), for over-refusal; without it the harmless twins of the small set.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Replies that people labelled, one model a file: the judge is held against them.",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="BOUND",
    help='"attack_success <= 10 %": exit code 5 unless it is shown to hold.',
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder of the run; an unfinished one goes on.")
@click.option("--model", default="", help="The endpoint's name for the model.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A field of the target or of RedTeamRecipe (attacks, judge, ...).",
)
@json_option
@explained
def redteam(
    target: str,
    behaviours: tuple[Path, ...],
    benign: tuple[Path, ...],
    labels: tuple[Path, ...],
    gates: tuple[str, ...],
    out: Path | None,
    **rest: Any,
) -> int:
    """Try known attacks on TARGET: a run, a model folder, a .gguf file, or the address of an OpenAI-compatible endpoint.

    A report.jsonl of garak as TARGET is read instead: its probes with intervals.

    Attack success and over-refusal in one report, corrected for the judge's errors. Every answer is kept as it comes.
    """
    from aether.counsel.redteaming import gates_of, judge_gates, read_red_team, write_pages

    bounds = gates_of(gates)
    folder = _run(target, (behaviours, benign, labels, gates), out, rest)
    as_json = rest["as_json"]
    done = read_red_team(folder)
    found = judge_gates(done, bounds)
    pages = write_pages(done, found)
    if as_json:
        say_json(_json(done, found) | {"pages": [str(page) for page in pages]})
    else:
        from aether.counsel.redteaming import page_of
        from aether.surfaces.cli.pages import print_page

        print_page(page_of(done, found))
        click.echo(f"\n{pages[1]}")
    return 5 if any(gate.status != "met" for gate in found) else 0


def _run(target: str, files: tuple[Any, ...], out: Path | None, rest: dict[str, Any]) -> Path:
    """The run, or garak's report read; gives the folder."""
    behaviours, benign, labels, gates = files
    from aether.evidence.extras import need

    # A report is only read; the model card's library comes with `train`.
    need("train" if target.endswith(".jsonl") else "suites")
    from aether.stages.evaluate.quiet import offline

    offline()
    if target.endswith(".jsonl"):
        from aether.stages.evaluate.redteam.garak import write_report_folder

        folder = out or Path("evaluations") / f"{Path(target).stem}-redteam"
        write_report_folder(Path(target), folder, said("redteam", target, out=folder))
        return folder
    from aether.stages.evaluate.redteam import behaviours as sets
    from aether.stages.evaluate.redteam.labels import read_labels
    from aether.stages.evaluate.redteam.run import Order, red_team
    from aether.stages.evaluate.redteam.settings import target_and_recipe

    where, recipe = target_and_recipe(target, rest["model"], rest["settings"])
    folder = out or Path("evaluations") / f"{Path(where.place).name or 'model'}-redteam"
    order = Order(
        where,
        recipe,
        [one for path in behaviours for one in sets.read_behaviours(path)] or sets.own_behaviours(),
        [one for path in benign for one in sets.read_behaviours(path, benign=True)] or sets.own_benign(),
        folder,
        {"people's labels": [row for path in labels for row in read_labels(path)]} if labels else {},
        said(
            "redteam",
            target,
            out=folder,
            behaviours=behaviours,
            benign=benign,
            labels=labels,
            gate=gates,
            model=rest["model"],
            set=rest["settings"],
        ),
    )
    red_team(order, lambda what, count: None if rest["as_json"] else click.echo(f"{count} {what}", err=True))
    return folder


def _json(done: "RedTeamed", gates: "tuple[Gate, ...]") -> dict[str, Any]:
    rates = {}
    for name, rate in done.summary.headline.items():
        rates[name] = {
            kind: None if found is None else {"value": found.value, "n": found.n, "clusters": found.clusters,
                                              "interval": found.interval and found.interval.model_dump(mode="json")}
            for kind, found in (("seen", rate.seen), ("corrected", rate.corrected))
        }  # fmt: skip
    told = [{"bound": str(gate.target), "status": gate.status, "reason": gate.reason} for gate in gates]
    attacks = {rate.label: rate.seen.value for rate in done.summary.by_attack}
    return {"status": "done", "folder": str(done.folder), "rates": rates, "by_attack": attacks, "gates": told}
