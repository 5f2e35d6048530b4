"""The report of a run folder, in every form, written atomically. Reads what the run left; computes nothing."""

from collections.abc import Mapping
from pathlib import Path

from aether.evidence.files import write_atomically, write_json
from aether.evidence.ledger import LEDGER_NAME, Ledger
from aether.report.build import build_report
from aether.report.card import model_card
from aether.report.data import to_json
from aether.report.html import to_html
from aether.report.markdown import to_markdown
from aether.report.sources import RunFacts, Sources
from aether.spec.evidence import StepRecord
from aether.spec.plan import Plan
from aether.spec.run import RunManifest, Verdict


def write_report(
    folder: Path,
    manifest: RunManifest,
    plan: Plan | None,
    records: Mapping[str, StepRecord],
    verdicts: tuple[Verdict, ...],
) -> dict[str, Path]:
    """Write <folder>/report/report.{html,md,json} and model_card.md; returns form -> path.

    The ledger is <folder>/ledger.jsonl where there is one. Raises UnsourcedNumber, DamagedRecord, EnvironmentFault.
    """
    kept = folder / LEDGER_NAME
    ledger = Ledger.read(kept) if kept.exists() else Ledger.of(records)
    folders = {step: (folder / place).resolve() for step, place in manifest.steps.items()}
    facts = RunFacts(manifest, plan, records, verdicts, ledger, folders)
    sources = Sources.of_run(facts)
    report = build_report(facts, sources)
    out = folder / "report"
    texts = {
        "html": (out / "report.html", to_html(report, sources)),
        "md": (out / "report.md", to_markdown(report, sources)),
        "card": (out / "model_card.md", model_card(facts, sources)),
    }
    data = to_json(report, sources)
    for path, text in texts.values():
        write_atomically(path, text)
    write_json(out / "report.json", data)
    return {form: path for form, (path, _) in texts.items()} | {"json": out / "report.json"}
