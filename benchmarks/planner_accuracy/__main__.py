"""Error table of the planner against published measurements: `python -m benchmarks.planner_accuracy [--rows FILE ...]`.

Takes any files of the form of the published rows (`.jsonl`, `.jsonl.gz`), asks each family module for predictions, and prints
errors beside trivial baselines and, with the eight iteration times of Korthikanti et al. 2022, Calculon's published error.
The last line is one line of JSON. Error: |predicted - measured| / measured. Without `--rows` the record is
written too, with `--peers` as `planner_peers`.
No line of a file stops the command: what is not a row, belongs to no family or cannot be predicted is counted by its reason.
"""

import argparse
import importlib
import importlib.util
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from aether.spec.errors import AetherError
from benchmarks import records
from benchmarks.planner_accuracy import peers
from benchmarks.planner_accuracy.korthikanti import korthikanti_rows
from benchmarks.planner_accuracy.peers.hub_config import told
from benchmarks.planner_accuracy.prediction import Prediction
from benchmarks.planner_accuracy.setups import Row
from benchmarks.planner_accuracy.setups import reason as unpredicted
from benchmarks.planner_accuracy.training import UNREADABLE, default_rows, read_rows

MODULES = ("training", "memory", "inference")
CALCULON = 0.0365
"""Calculon's mean absolute error on Korthikanti's eight iteration times (its own validation command)."""


LEFT_OUT = "medians of rows and MFUs of rows are of the other rows (the asked row left out), yet of the same sources:"
"""What the table says of the baselines that are made of measured rows."""


@dataclass(frozen=True)
class Scored:
    """One row that counts, with its prediction or None."""

    row: Row
    family: str
    module: str
    prediction: Prediction | None
    reason: str = ""
    """Why there is no prediction."""

    @property
    def error(self) -> float:
        """Relative and absolute."""
        assert self.prediction is not None
        return abs(self.prediction.value / self.row["value"] - 1)

    @property
    def covered(self) -> bool:
        """Whether the interval holds the measurement."""
        assert self.prediction is not None
        return self.prediction.low <= self.row["value"] <= self.prediction.high


def modules() -> dict[str, ModuleType]:
    """The family modules that are there and whole."""
    names = [f"benchmarks.planner_accuracy.{name}" for name in MODULES]
    found = {name: importlib.import_module(name) for name in names if importlib.util.find_spec(name)}
    needed = ("family", "predict", "baselines")
    return {
        name.rsplit(".", 1)[1]: module
        for name, module in found.items()
        if all(hasattr(module, part) for part in needed)
    }


def _attempt(predictor: Callable[[Row], Any], row: Row) -> tuple[Any, str]:
    """A prediction, or None with the kind of trouble where the row cannot be understood."""
    try:
        return predictor(row), ""
    except AetherError as error:
        return None, str(error)
    except (ArithmeticError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        return None, f"malformed: {type(error).__name__}"


def score(rows: Iterable[Row], using: dict[str, ModuleType]) -> tuple[list[Scored], Counter[str]]:
    """Every row that a module calls its own, and how many belong to none, by reason."""
    found, unclaimed = [], Counter()
    for row in rows:
        trouble = ""
        for name, module in using.items():
            family, why = _attempt(module.family, row)
            trouble = trouble or why
            if family is not None:
                found.append(_scored(row, family, name, module))
                break
        else:
            unclaimed[_unclaimed(row, trouble)] += 1
    return found, unclaimed


def _scored(row: Row, family: str, name: str, module: ModuleType) -> Scored:
    prediction, reason = _attempt(module.predict, row)
    if prediction is None:
        why, trouble = ("", "") if reason else _attempt(module.why_not if name == "inference" else unpredicted, row)
        # Without the row's own words, so that alike reasons are counted together.
        words = reason or trouble or why or "not predicted"
        return Scored(row, family, name, None, re.sub(r" '.*?'", "", words))
    if not math.isfinite(prediction.value):
        return Scored(row, family, name, None, "prediction not finite")
    return Scored(row, family, name, prediction)


def _unclaimed(row: Row, trouble: str) -> str:
    """Why a row is in no family."""
    if UNREADABLE in row:
        return str(row[UNREADABLE])
    value = row.get("value")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        return "no positive number for a value"
    return trouble or "metric of no family, or no load stated"


def summary(scored: list[Scored]) -> dict[str, Any]:
    """Errors of the rows that were predicted, and the share that was."""
    done = [item for item in scored if item.prediction is not None]
    if not done:
        return {"rows": len(scored), "predicted_share": 0.0}
    errors = np.array([item.error for item in done])
    return {
        "rows": len(scored),
        "predicted_share": len(done) / len(scored),
        "median_abs_error": float(np.median(errors)),
        "mean_abs_error": float(errors.mean()),
        "p90_abs_error": float(np.quantile(errors, 0.9)),
        "interval_coverage": float(np.mean([item.covered for item in done])),
    }


def baseline_errors(scored: list[Scored], using: dict[str, ModuleType]) -> dict[str, dict[str, float]]:
    """Family -> baseline -> median absolute error. Those with a table of measured rows never see the row they are asked about."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for name, module in using.items():
        own = [item for item in scored if item.module == name]
        understood = [item.row for item in own if item.prediction is not None]
        for label, predictor in module.baselines(understood).items():
            errors = defaultdict(list)
            for item in own:
                value, _ = _attempt(predictor, item.row)
                if value is not None and math.isfinite(value):
                    errors[item.family].append(abs(value / item.row["value"] - 1))
            for family, values in errors.items():
                found[family][label] = float(np.median(values))
    return dict(found)


def by_family(scored: list[Scored]) -> dict[str, list[Scored]]:
    """Family -> its rows, in alphabetical order."""
    groups = defaultdict(list)
    for item in scored:
        groups[item.family].append(item)
    return dict(sorted(groups.items()))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def table(families: dict[str, dict[str, Any]], trivial: dict[str, dict[str, float]]) -> str:
    """Markdown: one row per family, then its baselines."""
    lines = [
        "| family | rows | predicted % | median error % | mean % | p90 % | in 80 % interval % | best baseline, median % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family, found in families.items():
        names = ("predicted_share", "median_abs_error", "mean_abs_error", "p90_abs_error", "interval_coverage")
        cells = [_percent(found.get(name)) for name in names]
        others = sorted(trivial.get(family, {}).items(), key=lambda pair: pair[1])
        best = f"{_percent(others[0][1])} ({others[0][0]})" if others else "-"
        lines.append(f"| {family} | {found['rows']} | {' | '.join(cells)} | {best} |")
    lines += ["", f"Baselines, median absolute error in %; {LEFT_OUT}", ""]
    lines += [
        f"- {family}: " + ", ".join(f"{name} {_percent(value)}" for name, value in found.items())
        for family, found in sorted(trivial.items())
    ]
    return "\n".join(lines)


def korthikanti(using: dict[str, ModuleType]) -> dict[str, Any]:
    """Errors on the eight iteration times, signed too."""
    scored, _ = score(korthikanti_rows(), {"training": using["training"]})
    signed = {item.row["id"]: item.prediction.value / item.row["value"] - 1 for item in scored if item.prediction}
    values = np.abs(list(signed.values()))
    return {
        "mean_abs_error": float(values.mean()),
        "max_abs_error": float(values.max()),
        "calculon": CALCULON,
        "signed": signed,
    }


def left_out(rows: list[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Family -> what was left out of the fit -> errors of step time there, and the share inside 80 % intervals."""
    from benchmarks.planner_accuracy import fit_training as fitting

    some = fitting.cases(rows)
    families = np.array([case.family for case in some])
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    without = {name: fitting.leave_out(some, key) for name, key in fitting.GROUPS.items()}
    for name, errors in without.items():
        relative = np.abs(np.expm1(-errors))
        inside = fitting.coverage(some, errors, fitting.GROUPS[name], without["source"])
        for family in sorted(set(families)):
            chosen = families == family
            held = inside[chosen & ~np.isnan(inside)]
            found[str(family)][name] = _errors(relative[chosen])
            if held.size:
                found[str(family)][name]["interval_coverage"] = float(held.mean())
    return {**found, "memory, training": _memory_left_out(rows)}


def _memory_left_out(rows: list[Row]) -> dict[str, dict[str, float]]:
    from benchmarks.planner_accuracy import leave_out_memory as memory
    from benchmarks.planner_accuracy.memory import HALFWIDTH

    some = memory.scorable(rows)
    found = {}
    for name, key in (("model", memory.model_of), ("source", memory.source_of)):
        errors = memory.left_out(some, key)
        found[name] = _errors(errors) | {"interval_coverage": float(np.mean(errors <= HALFWIDTH["training"]))}
    return found


def _errors(relative: np.ndarray) -> dict[str, float]:
    return {"median_abs_error": float(np.median(relative)), "p90_abs_error": float(np.quantile(relative, 0.9))}


def impossible(scored: list[Scored]) -> dict[str, Any]:
    """Memory rows below what their own configuration must store, and the errors of their family without them."""
    from benchmarks.planner_accuracy.memory import contradicts_itself

    kind = [item for item in scored if item.family == "memory, training" and item.prediction is not None]
    below = [item for item in kind if _attempt(contradicts_itself, item.row)[0]]
    rest = summary([item for item in kind if item not in below]) if below else {}
    return {"rows": [item.row["id"] for item in below], "without_them": rest}


def peers_beside(scored: list[Scored], folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Family -> peer -> errors of both on the rows that the peer answered; and the peers' versions.

    A peer whose environment is not in `folder` is not asked.
    """
    compared: dict[str, dict[str, Any]] = {}
    versions = {}
    for name, (script, module) in peers.SCRIPTS.items():
        python = folder / name / "bin" / "python"
        if not python.exists():
            continue
        versions[name] = peers.version(python, name)
        asked = {f: peers.sampled(i.row for i in items if i.module == module) for f, items in by_family(scored).items()}
        rows = [row for rows in asked.values() for row in rows]
        rows = [told(row) for row in rows] if module == "memory" else rows
        answers = peers.ask(python, Path(peers.__file__).with_name(script), rows, name)
        ours = {item.row["id"]: item.prediction.value for item in scored if item.prediction}
        for family, rows in asked.items():
            if rows:
                compared.setdefault(family, {})[name] = peers.beside(ours, rows, answers)
    return compared, versions


def _files(given: list[Path] | None) -> list[Path]:
    return given or [path for path in map(default_rows, MODULES) if path.exists()]


def main() -> None:
    """Score, print, and write the record when the published rows are the ones scored."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planner_accuracy", description=__doc__)
    parser.add_argument("--rows", type=Path, nargs="+", help="files of rows; the published ones when left out")
    parser.add_argument(
        "--cross-validate", action="store_true", help="also errors with models and devices left out (minutes)"
    )
    parser.add_argument(
        "--peers", type=Path, help="also ask other planners: a folder with one environment for each (minutes)"
    )
    parser.add_argument("--json", action="store_true", help="only the last line")
    given = parser.parse_args()
    using, files = modules(), _files(given.rows)
    if not files:
        parser.error("no rows: give --rows FILE, or set AETHER_TRUTH to the folder that holds them")
    rows = read_rows(files)
    scored, unclaimed = score(rows, using)
    families = {family: summary(items) for family, items in by_family(scored).items()}
    line = {**summary(scored), "families": families, "korthikanti": korthikanti(using)}
    line["in_no_family"] = dict(unclaimed)
    line["not_predicted"] = dict(Counter(item.reason for item in scored if item.prediction is None))
    line["below_their_own_configuration"] = impossible(scored)
    if given.cross_validate:
        line["left_out"] = left_out(rows)
    if given.peers:
        line["peers"], line["peer_versions"] = peers_beside(scored, given.peers)
    if not given.json:
        trivial = baseline_errors(scored, using)
        text = table(families, trivial) + "\n\n" + _notes(line)
        if given.peers:
            text += "\n\nOther planners, on the rows that each answered:\n\n"
            text += peers.markdown(line["peers"], line["peer_versions"])
        print(text)
        if given.rows is None:
            words = ["--cross-validate"] if given.cross_validate else []
            words += ["--peers", "DIR"] if given.peers else []
            head = records.circumstances("benchmarks.planner_accuracy", "scipy", words=words)
            name = "planner_peers" if given.peers else "planner_accuracy"
            records.write(name, {**head, **line, "baselines": trivial}, f"# Planner accuracy\n\n{text}\n")
    print(json.dumps(line))


def _notes(line: dict[str, Any]) -> str:
    eight = line["korthikanti"]
    notes = [
        f"Korthikanti's eight iteration times (never fitted to): mean {_percent(eight['mean_abs_error'])} %, "
        f"largest {_percent(eight['max_abs_error'])} %; Calculon {_percent(eight['calculon'])} %.",
        "The coefficients of training time were fitted to the published training rows: the errors above are where they were "
        "fitted, those below are of fits without the model or the device.",
    ]
    for title, name in (("Rows in no family", "in_no_family"), ("Rows without a prediction", "not_predicted")):
        if line[name]:
            notes.append(f"{title}: " + ", ".join(f"{reason} {count}" for reason, count in line[name].items()) + ".")
    below = line["below_their_own_configuration"]
    if below["rows"]:
        left = below["without_them"]
        notes.append(
            f"Memory rows that hold less than the weights, gradients and states of their own configuration: {', '.join(below['rows'])}; "
            f"without them training memory is {_percent(left['median_abs_error'])} % off, 90th percentile "
            f"{_percent(left['p90_abs_error'])} %."
        )
    cut = line.get("left_out", {})
    if cut:
        notes += [
            "",
            "| family | left out of the fit | median error % | p90 % | in 80 % interval % |",
            "|---|---|---|---|---|",
        ]
    names = ("median_abs_error", "p90_abs_error", "interval_coverage")
    for family, by in cut.items():
        for left, found in by.items():
            notes.append(f"| {family} | {left} | {' | '.join(_percent(found.get(name)) for name in names)} |")
    return "\n".join(notes)


if __name__ == "__main__":
    main()
