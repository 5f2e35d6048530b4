"""Numbers of a page: each is kept as evidence under a prefix, and what the page holds is the piece that cites it."""

import re
from collections.abc import Sequence

from aether.spec.evidence import Evidence, Interval, Kind
from aether.spec.report import Cite


class Cited:
    """Keeps each number as evidence and gives the piece that cites it. `evidence`: what was kept before."""

    def __init__(
        self, prefix: str, source: str = "", kind: Kind = "measured", evidence: Sequence[Evidence] = ()
    ) -> None:
        self.prefix, self.source = prefix, source
        self.kind: Kind = kind
        self.evidence: list[Evidence] = list(evidence)

    def __call__(
        self,
        name: str,
        value: float,
        unit: str,
        interval: Interval | None = None,
        source: str = "",
        n: int | None = None,
        metric: str = "",
    ) -> tuple[Cite]:
        """`name` has parts between dots, made fit for an id; `metric` is its last part unless it is given."""
        parts = [self.prefix, *(re.sub(r"[^A-Za-z0-9_:-]+", "-", part).strip("-") or "x" for part in name.split("."))]
        key = ".".join(parts)
        self.evidence.append(
            Evidence(id=key, metric=metric or parts[-1], value=value, unit=unit, kind=self.kind, source=source or self.source,
                     interval=interval, n=n)
        )  # fmt: skip
        return (Cite(id=key, show="full"),)
