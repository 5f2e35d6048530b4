"""Short ways to write the pieces of a report, and tables that arrange evidence by what its id says."""

from collections.abc import Iterable, Sequence

from aether.report.sources import Sources, metric_of
from aether.spec.evidence import Evidence
from aether.spec.report import Cite, Piece, Setting, Table, Text, Verbatim, Words, heads

EMPTY: Text = (Words(text="—"),)
NO_SLICE = "all"


def name(text: str) -> Verbatim:
    """A name: of a step, a file format, a model."""
    return Verbatim(role="name", text=text)


def user(text: str) -> Verbatim:
    """What the person wrote."""
    return Verbatim(role="user", text=text)


def full(evidence_id: str) -> Text:
    """Value and interval of a number."""
    return (Cite(id=evidence_id, show="full"),)


def setting(step: str, path: str) -> Text:
    """A value that a record states."""
    return (Setting(step=step, path=path),)


def joined(texts: Iterable[Text], between: str = ", ") -> Text:
    """Texts in a row with words between them."""
    found: list[Piece] = []
    for text in texts:
        if found:
            found.append(Words(text=between))
        found += text
    return tuple(found)


def slice_of(evidence: Evidence) -> str:
    """The part of an id after "<step>.<metric>", or "all"."""
    step, _, rest = evidence.id.partition(".")
    assert step
    return rest.removeprefix(evidence.metric).removeprefix(".") or NO_SLICE


def pivot(evidences: Sequence[Evidence], corner: str, whole: str = NO_SLICE) -> Table | None:
    """Evidence as a table of metric by slice, the longer side down the page; `whole` names what has no slice.

    None when there is none.
    """
    if not evidences:
        return None
    metrics = list(dict.fromkeys(e.metric for e in evidences))
    slices = list(dict.fromkeys(slice_of(e) for e in evidences))
    cells = {(e.metric, slice_of(e)): full(e.id) for e in evidences}
    if slices == [NO_SLICE]:
        rows = tuple(((name(label(m)),), cells[m, NO_SLICE]) for m in metrics)
        return Table(columns=heads(corner, "value"), rows=rows, numeric=(1,))
    if len(slices) > len(metrics):
        columns = heads(corner, *((name(label(m)),) for m in metrics))
        rows = tuple(((name(_spoken(s, whole)),), *(cells.get((m, s), EMPTY) for m in metrics)) for s in slices)
    else:
        columns = heads(corner, *((name(_spoken(s, whole)),) for s in slices))
        rows = tuple(((name(label(m)),), *(cells.get((m, s), EMPTY) for s in slices)) for m in metrics)
    return Table(columns=columns, rows=rows, numeric=tuple(range(1, len(columns))))


def _spoken(part: str, whole: str) -> str:
    return whole if part == NO_SLICE else label(part)


def label(metric: str) -> str:
    """A metric's name with spaces."""
    return metric.replace("_", " ")


def meaning(metric: str) -> Text:
    """What a metric is, in a few words."""
    return (name(metric_of(metric)),)


def if_known(sources: Sources, evidence_id: str) -> Text:
    """Value and interval of a number, or a dash where nothing measured it."""
    return full(evidence_id) if evidence_id in sources.ledger else EMPTY
