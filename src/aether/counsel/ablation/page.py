"""An ablation as a page: a table with intervals, a figure, and what it cannot say. Every number is evidence."""

from aether.counsel.ablation.result import Ablation, Row
from aether.counsel.ablation.vary import Equal
from aether.spec.answer import Page
from aether.spec.evidence import Evidence, Interval
from aether.spec.report import (
    Block,
    Cite,
    Figure,
    Items,
    Mark,
    Piece,
    Report,
    Section,
    Table,
    Text,
    Verbatim,
    Words,
    heads,
    text_of,
)

_EQUAL = {
    "flops": "training FLOPs of the model (matrix products; those of the optimiser are not in it), to whole updates",
    "tokens": "tokens, to whole updates",
    "steps": "updates",
}


def ablation_page(found: Ablation, equal: Equal, notes: tuple[Text, ...] = ()) -> Page:
    """The page. `notes` are sentences of who chose the variants."""
    book = _Book([])
    rows = tuple(_cells(number, row, found, book) for number, row in enumerate(found.rows))
    table = Table(
        columns=heads(
            "variant",
            "bits per byte",
            "less the baseline",
            "p, corrected",
            "finding",
            "tokens",
            "FLOPs",
            "updates took",
        ),
        rows=rows,
        numeric=(1, 2, 3, 5, 6, 7),
    )
    blocks: tuple[Block, ...] = (table, *_figure(found, book))
    sections = (
        Section(key="result", title="Result", blocks=blocks),
        Section(
            key="limits",
            title="What this can and cannot show",
            blocks=(Items(items=(*notes, *_limits(found, equal, book))),),
        ),
    )
    title = text_of("Ablation against ", Verbatim(role="name", text=found.rows[0].label))
    return Page(report=Report(title=title, sections=sections), evidence=tuple(book.rows))


class _Book:
    """The page's evidence as it grows."""

    def __init__(self, rows: list[Evidence]) -> None:
        self.rows = rows

    def cite(self, key: str, value: float | None, unit: str, source: str, interval: Interval | None = None) -> Piece:
        """The number, entered and named; a dash for none."""
        if value is None:
            return Words(text="—")
        kind = "computed" if unit in ("flop", "token") else "measured"
        metric = key.split(".")[-1]
        self.rows.append(
            Evidence(id=key, metric=metric, value=value, unit=unit, kind=kind, source=source, interval=interval)
        )
        return Cite(id=key, show="full" if interval else "value")


def _cells(number: int, row: Row, found: Ablation, book: _Book) -> tuple[Text, ...]:
    key = f"ablate.v{number}"
    told = f"{row.label}: validation text after training, mean over seeds {', '.join(map(str, found.seeds))}"
    apart = row.difference
    finding = (
        "broke" if row.broke else "baseline" if apart is None and number == 0 else apart.conclusion if apart else "—"
    )
    p_told = f"two-sided t with pooled noise, Holm over {len(found.rows) - 1} comparisons"
    return (
        (Verbatim(role="name", text=row.label),),
        (book.cite(f"{key}.bits_per_byte", row.mean, "bit/byte", told),),
        (
            book.cite(
                f"{key}.difference", apart.value if apart else None, "bit/byte", told, apart.interval if apart else None
            ),
        ),
        (book.cite(f"{key}.p", apart.p_value if apart else None, "probability", p_told),),
        (Words(text=finding),),
        (book.cite(f"{key}.tokens", float(row.tokens), "token", "updates x windows x context"),),
        (book.cite(f"{key}.flops", row.flops, "flop", "FLOPs per token x tokens"),),
        (
            book.cite(
                f"{key}.updates", row.updates_s, "s", "wall time of the updates, mean over seeds, on this machine"
            ),
        ),
    )


def _figure(found: Ablation, book: _Book) -> tuple[Figure, ...]:
    told = [number for number, row in enumerate(found.rows) if row.difference is not None]
    if not told:
        return ()
    marks = tuple(Mark(label=found.rows[n].label, y=f"ablate.v{n}.difference") for n in told)
    caption = text_of(
        "Below zero is better than ",
        Verbatim(role="name", text=found.rows[0].label),
        ". Intervals are of each comparison alone.",
    )
    return (
        Figure(
            name="differences",
            form="intervals",
            title="Difference from the baseline",
            x_label="bit/byte",
            caption=caption,
            marks=marks,
        ),
    )


def _limits(found: Ablation, equal: Equal, book: _Book) -> list[Text]:
    said: list[Text] = [
        text_of(
            "Equal for all variants: ",
            Words(text=_EQUAL[equal]),
            ". The same seeds, and with them the same order of the data, were used for each.",
        )
    ]
    if found.blocks is not None:
        source = "pooled over variants, seeds taken out"
        noise = book.cite("ablate.noise.sd", found.blocks.noise, "bit/byte", source)
        seen = book.cite(
            "ablate.noise.detectable",
            found.blocks.detectable(),
            "bit/byte",
            "found four times in five by every comparison, corrected for their number",
        )
        said.append(
            text_of(
                "Noise of one training, seed and variant taken out: ",
                noise,
                "; a difference under ",
                seen,
                " cannot be relied on to show.",
            )
        )
        said.append(
            text_of(
                "The noise is taken to be the same for all variants. One that is less stable than the others deserves seeds of its own."
            )
        )
    else:
        said.append(text_of("One seed, or one variant: no interval, and nothing can be concluded."))
    for row in found.rows:
        said += [
            text_of(Verbatim(role="name", text=row.label), " broke: ", Verbatim(role="user", text=one))
            for one in row.broke
        ]
    said.append(
        text_of(
            "Other settings, the learning rates among them, are the recipe's: a variant that wants others is judged with these. At another scale the order may differ."
        )
    )
    return said
