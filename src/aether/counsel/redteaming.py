"""What a red team says of a model: attack success with over-refusal beside it, what the judges are worth, and what was not tried; the card has the same numbers.

Every number is summed up from the items of the folder at the moment of writing (`evidence.redteam`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aether.counsel.citing import Cited
from aether.counsel.identity import identity_text, untested_weights
from aether.counsel.page_parts import CardRow, Parts, page_of_parts, write_parts
from aether.evidence.files import read_json
from aether.evidence.items import Item, read_items
from aether.evidence.redteam import Judged, Rate, Summary, believed, summed_up
from aether.evidence.statistics import Measurement
from aether.evidence.verdicts import decide
from aether.spec.answer import Page
from aether.spec.brief import Target
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence
from aether.spec.metrics import GATES
from aether.spec.report import (
    Block,
    Cite,
    Code,
    Paragraph,
    Section,
    Table,
    Text,
    Verbatim,
    heads,
    text_of,
)

MEANING = {
    "attack_success": "answers to harmful requests that comply",
    "injection_success": "planted orders that were followed",
    "leak_success": "secrets of the system message that were told",
    "over_refusal": "benign requests that were refused",
}

SUBTITLE = "Rates are summed up from the items beside this page. Intervals speak of other requests of the same kind under the same attacks."
WANTS_A_CALL = "injection that wants a tool called"
"""The library's family of them."""


@dataclass(frozen=True)
class RedTeamed:
    """What a run's folder says."""

    folder: Path
    about: dict[str, Any]
    items: Sequence[Item]
    summary: Summary


@dataclass(frozen=True)
class Gate:
    """A bound of the release against what was found: passed only where the whole interval is on the right side."""

    target: Target
    status: str
    reason: str


def read_red_team(folder: Path) -> RedTeamed:
    """The folder of `aether redteam`, summed up again. Raises InputError or DamagedRecord."""
    items = read_items(folder / "items.jsonl")
    about = read_json(folder / "redteam.json")
    known = [Judged.model_validate(row) for row in read_json(folder / "calibrations.json")]
    return RedTeamed(folder, about, items, summed_up(items, known, about["recipe"]["judge"]))


def gates_of(texts: Sequence[str]) -> tuple[Target, ...]:
    """Bounds such as "attack_success <= 10 %". Raises InputError for a metric that no red team measures."""
    found = tuple(Target.model_validate(text) for text in texts)
    for target in found:
        if target.metric not in GATES:
            raise InputError.of("gate", target.metric, f"use one of {', '.join(GATES)}")
    return found


def judge_gates(done: RedTeamed, targets: Sequence[Target]) -> tuple[Gate, ...]:
    """Each bound against its rate. One that was not measured is not met."""
    gates = []
    evidence = {row.metric: row for row in headline(done)}
    for target in targets:
        if target.metric not in evidence:
            gates.append(Gate(target, "unproven", "Nothing of the kind was tried."))
            continue
        rate = done.summary.headline[target.metric]
        if rate.corrected is None and rate.uninformative:
            blind = (
                "The judge was not shown to be better than chance on any labelled reply, so what it saw shows nothing."
            )
            gates.append(Gate(target, "unproven", blind))
            continue
        gates.append(Gate(target, *decide(target, evidence[target.metric])))
    return tuple(gates)


def write_pages(done: RedTeamed, gates: Sequence[Gate] = ()) -> tuple[Path, Path, Path]:
    """report.md, report.html and MODEL_CARD.md in the folder."""
    return write_parts(done.folder, page_of(done, gates), [parts_of(done, gates)])


def page_of(done: RedTeamed, gates: Sequence[Gate] = ()) -> Page:
    """The page of a red team alone; every number on it is evidence."""
    return page_of_parts("Red team on", SUBTITLE, [parts_of(done, gates)])


def parts_of(done: RedTeamed, gates: Sequence[Gate] = ()) -> Parts:
    """What a red team says of its target."""
    rows = headline(done)
    cited = Cited("redteam", evidence=rows)
    summary = done.summary
    sections = [
        _first(done, cited, gates),
        _rates("attacks", "By attack", summary.by_attack, cited, "attack"),
        _rates("categories", "By category of harm", summary.by_category, cited, "category"),
        _rates("planted", "Planted orders and secrets", summary.injections, cited, "where"),
        _rates("refusals", "Over-refusal by kind of benign request", summary.refusals_by_category, cited, "kind"),
        _judges(done, cited),
    ]
    return Parts(
        place=str(done.about.get("place", "")),
        found=[section for section in sections if section is not None],
        cannot=_gives_way(summary),
        untested=_untried(done),
        how=_how(done),
        evidence=cited.evidence,
        rows=[CardRow("aether-redteam", MEANING[row.metric], row.metric, row) for row in rows],
    )


def _gives_way(summary: Summary) -> tuple[Block, ...]:
    """Attacks, categories and kinds whose whole interval is above none: of judged ones, without the judge's errors."""
    rows: list[tuple[Text, ...]] = []
    groups: tuple[tuple[str, str, Sequence[Rate], bool], ...] = (
        ("attacks", "gives way to the attack", summary.by_attack, True),
        ("categories", "helps with harm of the category", summary.by_category, True),
        ("planted", "follows or tells what was planted", summary.injections, False),
        ("refusals", "refuses benign requests of the kind", summary.refusals_by_category, True),
    )
    for key, told, found, is_judged in groups:
        for number, rate in enumerate(found):
            shown = rate.corrected if is_judged else rate.seen
            if shown is not None and shown.interval is not None and shown.interval.low > 0.0:
                which = "corrected" if is_judged else "seen"
                cell: Text = (Cite(id=f"redteam.{key}.{number}.{which}", show="full"),)
                rows.append((text_of(told), (Verbatim(role="name", text=rate.label),), cell))
    if not rows:
        told = "No attack, order or kind of request was shown to make it fail: every interval begins at none, or the judge's errors are not known."
        return (Paragraph(text=text_of(told)),)
    note = "Where it was shown to fail: the whole interval is above none, without the judge's errors where there was a judge."
    table = Table(columns=heads("it", "which", "share"), rows=tuple(rows), numeric=(2,))
    return Paragraph(text=text_of(note), tone="note"), table


def headline(done: RedTeamed) -> list[Evidence]:
    """The rates of the run as evidence, each with the interval that a gate looks at."""
    rows = []
    for name, found in done.summary.headline.items():
        shown = believed(found)
        corrected = found.corrected is not None
        told = "corrected for the judge's errors with each calibration" if corrected else "as seen"
        rows.append(
            Evidence(
                id=f"redteam.{name}",
                metric=name,
                value=shown.value,
                unit="fraction",
                kind="measured",
                source=f"items.jsonl, {found.seen.n} attempts, {MEANING[name]}, {told}",
                interval=shown.interval,
                n=max(1, found.seen.clusters),
                conditions={"seen": found.seen.value, "note": found.seen.note},
            )
        )
    return rows


def _first(done: RedTeamed, cited: Cited, gates: Sequence[Gate]) -> Section:
    rows = []
    for name, found in done.summary.headline.items():
        seen = cited(
            f"{name}.seen",
            found.seen.value,
            "fraction",
            found.seen.interval,
            "items.jsonl, as the judge saw it",
            max(1, found.seen.clusters),
        )
        kept: Text = (
            (Cite(id=f"redteam.{name}", show="full"),)
            if found.corrected
            else text_of("mechanical" if name in ("injection_success", "leak_success") else "not known")
        )
        rows.append((text_of(MEANING[name]), seen, kept, (Cite(id=f"redteam.{name}", show="n"),)))
    columns = heads("share of", "seen", "without the judge's errors", "requests")
    blocks: list[Block] = [Table(columns=columns, rows=tuple(rows), numeric=(1, 2, 3)), *_beside(done.summary, cited)]
    for gate in gates:
        bound = Verbatim(role="user", text=str(gate.target))
        reason = Verbatim(role="name", text=gate.reason)
        tone = "note" if gate.status == "met" else "warning"
        blocks.append(Paragraph(text=text_of("Gate ", bound, f": {gate.status}. ", reason), tone=tone))
    return Section(key="rates", title="Attack success and over-refusal", blocks=tuple(blocks))


def _beside(summary: Summary, cited: Cited) -> list[Block]:
    """What the headline does not say: any attack, other kinds of request, the string match, what the judge left open."""
    blocks: list[Block] = []
    if summary.any_attack is not None:
        found = summary.any_attack
        share = cited(
            "any.attack",
            found.value,
            "fraction",
            found.interval,
            "requests on which at least one attack succeeded, as seen",
            found.n,
        )
        blocks.append(
            Paragraph(
                text=text_of(
                    "Harmful requests on which at least one attack succeeded, as the judge saw it: ", *share, "."
                )
            )
        )
    if summary.over_kinds is not None:
        found = summary.over_kinds
        share = cited(
            "kinds.refusal",
            found.value,
            "fraction",
            found.interval,
            "over-refusal, kinds of request as clusters",
            found.clusters,
        )
        blocks.append(
            Paragraph(text=text_of("Over-refusal as an estimate for other kinds of request than these: ", *share, "."))
        )
    for name, found in summary.string.items():
        share = cited(
            f"string.{name}",
            found.seen.value,
            "fraction",
            found.seen.interval,
            "items.jsonl, string match",
            max(1, found.seen.clusters),
        )
        blocks.append(
            Paragraph(text=text_of("By the string match alone, ", MEANING[name], ": ", *share, "."), tone="note")
        )
    if summary.unreadable:
        count = cited(
            "judge.unreadable",
            summary.unreadable,
            "count",
            None,
            "attempts on which the judge's word was neither yes nor no",
        )
        blocks.append(
            Paragraph(text=text_of("Attempts that the judge did not decide, in no rate: ", *count, "."), tone="warning")
        )
    return blocks


def _rates(key: str, title: str, found: Sequence[Rate], cited: Cited, head: str) -> Section | None:
    if not found:
        return None
    rows, some = [], any(rate.corrected for rate in found)
    for number, rate in enumerate(found):
        cells: list[Text] = [(Verbatim(role="name", text=rate.label),)]
        cells.append(
            cited(
                f"{key}.{number}.seen",
                rate.seen.value,
                "fraction",
                rate.seen.interval,
                f"{rate.label}, as seen",
                max(1, rate.seen.n),
            )
        )
        if some:
            cells.append(_corrected(cited, f"{key}.{number}.corrected", rate.label, rate.corrected))
        cells.append((Cite(id=f"redteam.{key}.{number}.seen", show="n"),))
        rows.append(tuple(cells))
    names = [head, "seen", *(["without the judge's errors"] if some else []), "attempts"]
    table = Table(columns=heads(*names), rows=tuple(rows), numeric=tuple(range(1, len(names))))
    return Section(key=key, title=title, blocks=(table,))


def _corrected(cited: Cited, key: str, label: str, found: Measurement | None) -> Text:
    if found is None:
        return text_of("not known")
    return cited(key, found.value, "fraction", found.interval, f"{label}, corrected with each calibration")


def _judges(done: RedTeamed, cited: Cited) -> Section:
    rows = []
    for number, one in enumerate(done.summary.known):
        found, interval = one.calibration, one.calibration.kappa.interval
        kappa = (
            text_of("not defined")
            if one.kappa is None
            else cited(f"judges.{number}.kappa", one.kappa, "", interval, one.source)
        )
        rows.append(
            (
                (Verbatim(role="name", text=one.judge),),
                (Verbatim(role="name", text=one.model),),
                kappa,
                cited(f"judges.{number}.sensitivity", found.sensitivity, "fraction", None, one.source),
                cited(f"judges.{number}.specificity", found.specificity, "fraction", None, one.source),
            )
        )
    if not rows:
        told = "The judge was held against no labelled reply: rates are as it saw them. Give labelled replies with --labels."
        return Section(
            key="judges", title="What the judges are worth", blocks=(Paragraph(text=text_of(told), tone="warning"),)
        )
    table = Table(
        columns=heads("judge", "replies of", "kappa", "sees compliance", "sees refusal"),
        rows=tuple(rows),
        numeric=(2, 3, 4),
    )
    told = (
        "Against people's labels of other models' replies. A judge that is good on one model can be bad on the next, so the corrected rates span "
        "all of these; labels of this model's own replies would make them shorter."
    )
    blind = sorted({name for rate in done.summary.headline.values() for name in rate.uninformative})
    blocks: list[Block] = [Paragraph(text=text_of(told), tone="note"), table]
    if blind:
        names = Verbatim(role="name", text=", ".join(blind))
        blocks.append(
            Paragraph(text=text_of("Not shown to be better than chance, and left out: ", names, "."), tone="warning")
        )
    return Section(key="judges", title="What the judges are worth", blocks=tuple(blocks))


def _untried(done: RedTeamed) -> list[Text]:
    families = {item.tags["family"] for item in done.items}
    told = [
        *untested_weights([done.about]),
        text_of(
            "Attacks that adapt to the answers, and people who try for hours: success here is a lower bound of what an attacker reaches."
        ),
        text_of("Languages other than English, pictures and sound."),
        text_of("Whether an answer that complies is right, and so of use to anybody."),
    ]
    if "optimised suffix" not in families:
        told.append(text_of("Suffixes optimised on the weights (--set suffix_steps)."))
    if not any(item.task == "over-refusal" for item in done.items):
        told.append(
            text_of("Over-refusal: no benign request was asked, so a model that refuses everything would look best.")
        )
    if all(item.cluster.startswith(("own-", "twin-", "material-", "secret-")) for item in done.items):
        told.append(
            text_of(
                "A published set of behaviours: only the small one that comes along was tried (--behaviours, --benign)."
            )
        )
    if not any(item.tags["attack"].startswith("tool message") for item in done.items):
        words = "results of tools, and the tools that could be called, were told in words"
        told.append(text_of(f"The protocol of tools (--set tool_messages=true): {words}."))
    if not any(item.tags["family"] == WANTS_A_CALL for item in done.items):
        told.append(text_of("Calls that an attacker wants made."))
    return told


def _how(done: RedTeamed) -> list[Block]:
    fingerprint = Verbatim(role="hash", text=str(done.about.get("fingerprint", "")))
    kept = ". The answers are kept in answers.jsonl; the same command judges them again, without the model."
    if not (done.folder / "answers.jsonl").is_file():
        kept = ". Each answer stands in items.jsonl with its verdicts; the command asks anew."
    text = text_of("Red team, fingerprint ", fingerprint, kept)
    which, command = identity_text(done.about), str(done.about.get("command", ""))
    blocks: list[Block] = [] if which is None else [Paragraph(text=which)]
    return [*blocks, Paragraph(text=text), Code(language="console", text=command)]
