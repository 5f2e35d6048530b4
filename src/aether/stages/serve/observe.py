"""What a running server counts, in Prometheus' text format (version 0.0.4). No client library: a page of text."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Counts of durations below each bound."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(_BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def lines(self, name: str, meaning: str) -> Iterable[str]:
        """In Prometheus' own words."""
        yield f"# HELP {name} {meaning}"
        yield f"# TYPE {name} histogram"
        running = 0
        for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), self.buckets, strict=True):
            running += count
            yield f'{name}_bucket{{le="{bound}"}} {running}'
        yield f"{name}_sum {self.total_s:.6f}"
        yield f"{name}_count {running}"


class Observations:
    """What the front end sees of its requests."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.first_token, self.whole = Histogram(), Histogram()
        self.disconnected = 0

    def page(self, values: dict[str, tuple[str, str, float]]) -> str:
        """The page; `values` has the engine's own numbers as name -> (type, meaning, value)."""
        lines = ["# HELP aether_requests_total Requests by path and status.", "# TYPE aether_requests_total counter"]
        for (path, status), count in sorted(self.answers.items()):
            lines.append(f'aether_requests_total{{path="{path}",status="{status}"}} {count}')
        for name, (kind, meaning, value) in values.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {value:g}"]
        lines += self.first_token.lines("aether_time_to_first_token_seconds", "From request to first token.")
        lines += self.whole.lines("aether_request_seconds", "From request to last token.")
        return "\n".join(lines) + "\n"
