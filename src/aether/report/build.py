"""From the facts of a run to its report: which sections, in which order. The last sections say what it cost, where it
ran and how to run it again."""

from aether.report.headline import decision_section, verdict_section
from aether.report.pieces import full, label, name, setting, user
from aether.report.sections import (
    compression_section,
    data_section,
    evaluation_section,
    limits_section,
    serving_section,
    training_section,
)
from aether.report.sources import RunFacts, Sources
from aether.spec.report import (
    Block,
    Code,
    Facts,
    Paragraph,
    Report,
    Section,
    Setting,
    Table,
    Text,
    Verbatim,
    heads,
    text_of,
)


def build_report(facts: RunFacts, sources: Sources | None = None) -> Report:
    """The report of a run. Raises UnsourcedNumber when one of its own sentences has a number without evidence."""
    sources = sources or Sources.of_run(facts)
    withheld: list[str] = []
    made = (
        verdict_section(facts, sources),
        decision_section(facts, sources, withheld),
        data_section(facts, sources),
        training_section(facts, sources),
        compression_section(facts, sources),
        evaluation_section(facts, sources),
        serving_section(facts, sources),
        limits_section(facts, sources),
        _cost_section(facts, sources),
        _provenance_section(facts),
        _again_section(facts),
    )
    manifest = facts.manifest
    subtitle = text_of(
        "Built ",
        Verbatim(role="date", text=_moment(manifest.created_at)),
        " · run ",
        name(manifest.name),
        " · status ",
        manifest.status,
    )
    return Report(
        title=text_of(user(manifest.brief.name)),
        subtitle=subtitle,
        sections=tuple(section for section in made if section is not None),
        withheld=tuple(withheld),
    )


def _moment(iso: str) -> str:
    """ "2026-07-01T10:00:00+00:00" as people write it; anything else unchanged."""
    utc = iso.removesuffix("+00:00")
    return iso if utc == iso else f"{utc.replace('T', ' ')} UTC"


def _cost_section(facts: RunFacts, sources: Sources) -> Section | None:
    if not facts.records:
        return None
    rows = tuple(
        (
            (name(step),),
            (name(record.stage),),
            setting(step, "wall_s"),
            setting(step, "cpu_s"),
            setting(step, "threads"),
        )
        for step, record in facts.records.items()
    )
    columns = heads("step", "stage", "wall seconds", "CPU seconds", "threads")
    whole = tuple((text_of(name(label(e.metric))), full(e.id)) for e in sources.ledger.of_step("run"))
    blocks: list[Block] = [Facts(facts=whole)] if whole else []
    blocks.append(Table(columns=columns, rows=rows, numeric=(2, 3, 4)))
    note = text_of("A step that was found already made, by content, keeps the time that it took when it was made.")
    blocks.append(Paragraph(text=note, tone="note"))
    return Section(key="costs", title="What it cost", blocks=tuple(blocks))


def _provenance_section(facts: RunFacts) -> Section | None:
    if not facts.records:
        return None
    last = list(facts.records)[-1]
    rows = [(text_of(words), setting(last, f"provenance.{path}")) for words, path in _PROVENANCE]
    dirty = facts.records[last].provenance.dirty
    if dirty is not None:
        words = "with uncommitted changes" if dirty else "clean"
        rows.insert(1, (text_of("working tree"), text_of(words)))
    blocks: list[Block] = [Facts(facts=tuple(rows))]
    differing = [s for s, r in facts.records.items() if _place(r) != _place(facts.records[last])]
    if differing:
        names = ", ".join(differing)
        blocks.append(Paragraph(text=text_of("Made elsewhere or with other code: ", name(names)), tone="warning"))
    outputs = tuple(
        ((name(step),), (Setting(step=step, path="fingerprint"),), (Setting(step=step, path="output_sha256"),))
        for step in facts.records
    )
    blocks.append(Table(columns=heads("step", "made from (fingerprint)", "made (SHA-256 of its files)"), rows=outputs))
    return Section(key="provenance", title="Where it comes from", blocks=tuple(blocks))


_PROVENANCE = (
    ("commit", "commit"),
    ("Aether", "aether_version"),
    ("Python", "python"),
    ("platform", "platform"),
    ("processor", "cpu"),
    ("cores", "cores"),
    ("memory in bytes", "memory_bytes"),
    ("accelerator", "accelerator"),
    ("packages (SHA-256 of the lock)", "packages_sha256"),
    ("command", "command"),
)


def _place(record) -> tuple:
    p = record.provenance
    return (p.commit, p.dirty, p.python, p.cpu, p.cores, p.packages_sha256)


def _again_section(facts: RunFacts) -> Section:
    run = facts.manifest.name
    commands = f"aether reproduce {run}\naether show {run}\naether resume {run}"
    text: Text = text_of(
        "The first command executes the recorded recipe again in a fresh store and compares every number: those marked "
        "exact must be equal bit for bit on the same kind of machine with the same packages and threads."
    )
    brief = facts.manifest.brief.model_dump_json(indent=2, exclude_defaults=True)
    blocks: list[Block] = [Paragraph(text=text), Code(language="bash", text=commands)]
    blocks.append(Paragraph(text=text_of("The brief, as it was read:")))
    blocks.append(Code(language="json", text=brief))
    return Section(key="again", title="How to reproduce it", blocks=tuple(blocks))
