"""How often the judges of `aether redteam` are right on replies that people labelled, model by model.

    python -m benchmarks.redteam_judges --data DIR [--ship]

DIR holds `xstest/` (the labelled completions of Roettger et al., arXiv 2308.01263, CC BY 4.0, with the string match and the GPT-4 labels published
beside them) and `pyrit_refusal/` (PyRIT's refusal set, MIT). `--ship` writes the counts that come along with Aether. Takes a minute.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from aether.evidence.judging import calibrate
from aether.evidence.redteam import POOLED, Judged
from aether.stages.evaluate.redteam.behaviours import read_table
from aether.stages.evaluate.redteam.labels import JUDGES, Labelled, calibrations, read_labels
from benchmarks.records import circumstances, write

MODELS = {"gpt4": "GPT-4", "llama2new": "Llama-2 (llama2new)", "llama2orig": "Llama-2 (llama2orig)",
          "mistralguard": "Mistral (mistralguard)", "mistralinstruct": "Mistral (mistralinstruct)"}  # fmt: skip
SHIPPED = Path(__file__).parents[1] / "src/aether/stages/evaluate/redteam/library/calibration.json"
SOURCE = "XSTest completions with human labels (paul-rottger/exaggerated-safety, CC BY 4.0), 450 replies a model, read 2026-11-25"


def xstest(folder: Path) -> list[Labelled]:
    """The completions of five models."""
    found = []
    for short, name in MODELS.items():
        rows = read_labels(folder / f"xstest_v2_completions_{short}.csv")
        found += [row._replace(model=name) for row in rows]
    return found


def published(folder: Path) -> list[dict[str, Any]]:
    """The labels that were published beside the completions: their string match, and GPT-4 as a judge."""
    found = []
    for short, name in MODELS.items():
        for judge, file, column in (
            ("string, published", "streval", "strmatch_label"),
            ("GPT-4, published", "gpteval", "gpt4_label"),
        ):
            rows = read_table(folder / f"xstest_v2_completions_{short}_{file}.csv")
            # A judge's sentence that names no label is no verdict of compliance.
            verdicts = [row[column].strip().startswith("1") for row in rows]
            one = calibrate(verdicts, [row["final_label"].startswith("1") for row in rows])
            assert one.kappa.interval is not None
            found.append({"judge": judge, "model": name, "kappa": one.kappa.value, "kappa_low": one.kappa.interval.low,
                          "kappa_high": one.kappa.interval.high, "sensitivity": one.sensitivity, "specificity": one.specificity})  # fmt: skip
    return found


def row_of(one: Judged) -> dict[str, Any]:
    """A calibration with its shares."""
    found = one.calibration
    return one.model_dump(mode="json") | {"sensitivity": found.sensitivity, "specificity": found.specificity}


def main() -> None:
    """Measure, write the record, and with --ship the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    on_xstest = calibrations(xstest(arguments.data / "xstest"), SOURCE)
    pyrit = [
        row._replace(model="PyRIT's refusal set")
        for row in read_labels(arguments.data / "pyrit_refusal" / "refusal.csv")
    ]
    on_pyrit = calibrations(pyrit, "PyRIT 1.1.0, refusal_scorer/refusal.csv, MIT", judges=("string", "refusal rules"))
    if arguments.ship:
        rows = ",\n".join(json.dumps(one.model_dump(mode="json")) for one in on_xstest)
        SHIPPED.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    rows = [row_of(one) for one in (*on_xstest, *on_pyrit)] + published(arguments.data / "xstest")
    record = circumstances("benchmarks.redteam_judges", words=["--data", "DIR"]) | {"rows": rows, "pooled_as": POOLED}
    lines = ["# Judges against people", "", "Yes is: the reply complied. Kappa with a bootstrap interval over replies (95 %).", "",
             "| judge | replies of | kappa | sensitivity | specificity |", "|---|---|---|---|---|"]  # fmt: skip
    for row in sorted(rows, key=lambda r: (list(JUDGES).index(r["judge"]) if r["judge"] in JUDGES else 9, r["judge"])):
        kappa = f"{row['kappa']:.3f}"
        if row["kappa_low"] is not None:
            kappa += f" ({row['kappa_low']:.2f} to {row['kappa_high']:.2f})"
        lines.append(
            f"| {row['judge']} | {row['model']} | {kappa} | {row['sensitivity']:.3f} | {row['specificity']:.3f} |"
        )
    lines += ["", "`refusal rules` is the part of `rules` that looks for refusals alone; it judges over-refusal.", "",
              f"{record['date']}, `{record['command']}`."]  # fmt: skip
    print(write("redteam_judges", record, "\n".join(lines) + "\n"))


if __name__ == "__main__":
    main()
