"""A plan for a model at the scale of a cluster, as one answer and as a folder: plan.html, plan.md, plan.json, pictures, exports.

Brings the search, the exports of tools and the report together. Raises what a person must hear: questions, a refusal with its
arithmetic and the nearest feasible briefs, or a word that is wrong.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aether.counsel.intake import check
from aether.evidence.files import write_atomically, write_json
from aether.planning.exports.common import ExportedFile
from aether.planning.search.decide import Found, search
from aether.planning.search.nearby import nearest
from aether.planning.search.problem import Problem, problem_of
from aether.planning.search.serving import ServingSearch
from aether.planning.search.serving_options import first_token_at
from aether.planning.search.several import combined, plan_of_several
from aether.planning.serving.setup import ServingSetup
from aether.planning.training.setup import TrainingSetup
from aether.policy.brief_file import load_brief
from aether.report.fleet import markdown
from aether.spec.brief import Brief
from aether.spec.errors import Infeasible, InputError
from aether.spec.fleet import FleetOption, FleetPlan, Shortfall
from aether.spec.units import humanize


@dataclass(frozen=True)
class Written:
    """A plan and its files."""

    plan: FleetPlan
    folder: Path
    files: tuple[str, ...]
    notes: tuple[str, ...]
    starts: dict[str, str]
    """Exported file -> the command that starts it."""


def read(path: Path, settings: Sequence[str]) -> Brief:
    """The brief, with the path of a config.json resolved against its folder."""
    brief = load_brief(path, tuple(settings))
    model = brief.model
    if model is None or model.name is None:
        return brief
    folder = path if path.is_dir() else path.parent

    def found(name: str) -> str:
        return str(folder / Path(name).expanduser()) if name.endswith(".json") else name

    update = {"name": found(model.name), "others": tuple(found(name) for name in model.others)}
    return brief.model_copy(update={"model": model.model_copy(update=update)})


def decide(brief: Brief) -> tuple[Problem, FleetPlan]:
    """The plan. Raises NeedsInput, Declined, InputError, and Infeasible with shortfalls and nearest briefs."""
    check(brief)
    assert brief.model is not None
    problems = [problem_of(brief.model_copy(update={"model": one})) for one in brief.model.alternatives]
    searched = [(problem, search(problem)) for problem in problems]
    problem, found = combined(searched)
    if found.shortfalls or not found.feasible:
        raise _refused(problem, found)
    return problem, plan_of_several(searched)


def _refused(problem: Problem, found: Found) -> Infeasible:
    near = nearest(problem, found)
    lines = [_sentence(shortfall) for shortfall in found.shortfalls]
    for one in near:
        how = " ".join(f"--set '{setting}'" for setting in one.settings)
        lines.append(f"Feasible instead ({one.axis}): {one.change}. {how}")
    if not near:
        lines.append("No feasible brief was found near this one along any axis.")
    return Infeasible(
        "\n  ".join(["the brief cannot be met", *lines]),
        shortfalls=[s.model_dump(mode="json") for s in found.shortfalls],
        nearest=[n.model_dump(mode="json") for n in near],
        considered=found.considered,
        left_out=[x.model_dump(mode="json") for x in found.pruned.listed()],
    )


def _sentence(lack: Shortfall) -> str:
    """What is lacking, by how much, and the arithmetic."""
    verdict = "physically impossible" if lack.verdict == "impossible" else "not reachable at 90 %"
    asked, best = humanize(lack.asked, lack.unit), humanize(lack.best, lack.unit)
    if lack.subject == "layout":
        return f"layout: {verdict}. {lack.arithmetic}."
    here = f"{asked} needed, {best} there" if lack.subject == "memory" else f"{asked} asked, {best} at best"
    return (
        f"{lack.subject}: {verdict}: {here}, a factor {lack.factor:.3g} (binding: {lack.binding}). {lack.arithmetic}."
    )


def write(brief: Brief, folder: Path) -> Written:
    """Decide, and leave everything in `folder`."""
    # Matplotlib takes a third of a second to load: a refusal does not wait for it.
    from aether.report.fleet_page import to_page
    from aether.report.fleet_plots import as_file, pictures

    problem, plan = decide(brief)
    exported, notes = exports(plan.decision)
    paths = {f"exports/{tool}/{file.name}": file for tool, file in exported}
    drawn = pictures(plan, latency_at_load(problem, plan), brief.load.requests_per_s)
    names = [f"{name}.svg" for name in drawn]
    for path, file in paths.items():
        write_atomically(folder / path, file.text)
    for name, svg in drawn.items():
        write_atomically(folder / f"{name}.svg", as_file(svg))
    write_atomically(folder / "plan.md", markdown(plan, names, list(paths), notes))
    starts = {path: start_of(path) for path in paths}
    write_atomically(folder / "plan.html", to_page(plan, drawn, starts, notes))
    write_json(folder / "plan.json", {"brief": brief.model_dump(mode="json"), "plan": plan.model_dump(mode="json")})
    return Written(plan, folder, ("plan.html", "plan.md", "plan.json", *names, *paths), notes, starts)


START = {
    "vllm.sh": "bash vllm.sh MODEL",
    "sglang.sh": "bash sglang.sh MODEL",
    "trtllm.sh": "bash trtllm.sh MODEL",
    "megatron.sh": "bash megatron.sh path/to/pretrain_gpt.py",
    "torchtitan.sh": "bash torchtitan.sh OUTPUT_FOLDER",
    "accelerate.yaml": "accelerate launch --config_file accelerate.yaml -m trl.scripts.sft --config trl_sft.yaml --model_name_or_path MODEL "
    "--dataset_name DATA",
    "ds_config.json": "deepspeed YOUR_PROGRAM --deepspeed_config ds_config.json",
}
"""What starts an exported file; its head says what must still be given. Aether itself runs no cluster."""


def start_of(path: str) -> str:
    """The command for an exported file, to be given in its folder; empty for a file that another one reads."""
    return START.get(path.rsplit("/", 1)[-1], "")


def setup_of(option: FleetOption) -> ServingSetup | TrainingSetup:
    """The setup that an option carries."""
    if "global_batch" in option.setup:
        return TrainingSetup.model_validate(option.setup)
    return ServingSetup.model_validate(option.setup)


def exports(option: FleetOption) -> tuple[list[tuple[str, ExportedFile]], tuple[str, ...]]:
    """(tool, file) of every tool that can express the option, and why others cannot."""
    # The writers of a dozen tools are loaded only where they are used.
    setup, files, notes = setup_of(option), [], []
    if isinstance(setup, TrainingSetup):
        from aether.planning.exports.training import TOOLS, export_training

        tools, export = TOOLS.get(option.software, ()), functools.partial(export_training, setup)
    else:
        from aether.planning.exports.serving import export_serving

        tools, export = (option.software,), functools.partial(export_serving, setup)
    if not tools:
        notes.append(
            f"{option.software}: Aether writes no files for it; carry the layout over by hand: {option.layout}"
        )
    for tool in tools:
        try:
            written = export(tool)
        except InputError as error:
            notes.append(f"{tool}: {error}")
            continue
        files += [(tool, file) for file in written]
        notes += [f"{tool}: {note}" for file in written for note in file.notes]
    return files, tuple(dict.fromkeys(notes))


def latency_at_load(problem: Problem, plan: FleetPlan) -> list[tuple[float, float, float]]:
    """First tokens of the decided deployment at shares and multiples of the load, by simulation; empty for training."""
    setup = setup_of(plan.decision)
    if isinstance(setup, TrainingSetup):
        return []
    return first_token_at(ServingSearch(problem), setup, plan.decision.replicas)
