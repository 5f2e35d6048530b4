"""How far served rows lie from fits that had not seen them: the widths of the intervals that ship, and whether they hold.

Widths within a laboratory come from models, devices and tenths of the loads left out. Who is none of the fit's laboratories gets the
quantile over laboratories left out, each counting alike (Lee, Barber and Willett 2023): the next one is a laboratory more, not a row
more. Tails of one laboratory alone widen by the same variance. Used by `fit_inference --cross-validate`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aether.planning.serving.efficiency import Coefficients, Familiarity, Spread
from benchmarks.planner_accuracy.fit_inference import (
    QUANTITIES,
    Sample,
    fit_all,
    fold,
    kind_of,
    log_errors,
    spread_of,
)

_OWN_ROWS = 40
"""Rows that a model or device needs to be left out by itself."""
BySource = dict[str, dict[str, list[float]]]
"""Quantity -> laboratory -> log errors of its rows by fits without it."""


@dataclass
class Errors:
    """Log errors of rows that were left out of the fit, by quantity and by what of their setup was in what was left."""

    found: dict[tuple[str, Familiarity], list[float]] = field(default_factory=dict)

    def of(self, quantity: str) -> Any:
        """All of a quantity; rates are times per token too."""
        names = (quantity, "rate") if quantity == "token" else (quantity,)
        return np.array([e for (name, _), errors in self.found.items() if name in names for e in errors])

    def median(self, quantity: str) -> float:
        """Median absolute relative error."""
        return float(np.median(np.abs(np.expm1(self.of(quantity)))))

    def add(self, other: "Errors") -> None:
        """Pools the errors of another way to leave out."""
        for key, errors in other.found.items():
            self.found.setdefault(key, []).extend(errors)


def named(sample: Sample) -> str:
    """The quantity under which a sample's width is kept: a throughput's apart."""
    return "rate" if sample.quantity == "token" and sample.asked.quantity != "token" else sample.quantity


def left_out(given: list[Sample], fitted: Coefficients, key: Callable[[Sample], str]) -> Errors:
    """Errors where each group is predicted by a fit that never saw it; prints a line for each. Small groups go together."""
    errors = Errors()
    sizes = Counter(key(s) for s in given)
    label = {name: name if rows >= _OWN_ROWS else "the smaller ones" for name, rows in sizes.items()}
    for name in sorted(set(label.values())):
        others, own = [s for s in given if label[key(s)] != name], [s for s in given if label[key(s)] == name]
        found = fit_all(others, fitted)
        line = f"  without {name[:40]:40}"
        for quantity in QUANTITIES:
            alike = [s for s in own if s.quantity == quantity]
            error = log_errors(quantity, own, found)
            for sample, one in zip(alike, error, strict=True):
                familiarity = found.familiarity(*kind_of(sample), sample.case.setup.measured_as)
                errors.found.setdefault((named(sample), familiarity), []).append(float(one))
            if len(error):
                relative = np.expm1(error)
                line += (
                    f"  {quantity} {len(error):4} |e| {np.median(np.abs(relative)):.3f} bias {np.median(relative):+.3f}"
                )
        print(line, flush=True)
    print("  all: " + ", ".join(f"{quantity} {errors.median(quantity):.3f}" for quantity in QUANTITIES), flush=True)
    return errors


def print_inside(errors: Errors, fitted: Coefficients) -> None:
    """Per quantity, the share of left-out rows inside the 80 % intervals that `fitted` ships."""
    inside: dict[str, list[bool]] = {}
    for (quantity, familiarity), rows in errors.found.items():
        width, shift = fitted.width(quantity, familiarity), fitted.shift(quantity, familiarity)
        inside.setdefault(quantity, []).extend(abs(row + shift) <= width for row in rows)
    print("  inside: " + ", ".join(f"{q} {np.mean(held):.3f} of {len(held)}" for q, held in sorted(inside.items())))


def by_source(given: list[Sample], fitted: Coefficients) -> BySource:
    """Errors of each laboratory's rows by a fit without them."""
    errors: BySource = defaultdict(lambda: defaultdict(list))
    for source in sorted({s.source for s in given}):
        own = [s for s in given if s.source == source]
        found = fit_all([s for s in given if s.source != source], fitted)
        for quantity in QUANTITIES:
            alike = [s for s in own if s.quantity == quantity]
            for sample, one in zip(alike, log_errors(quantity, own, found), strict=True):
                errors[named(sample)][source].append(float(one))
    return errors


def _alike(errors: list[list[float]]) -> float:
    """The 80 % quantile of |error| where every laboratory counts alike."""
    values = np.abs(np.concatenate([np.array(one) for one in errors]))
    weights = np.concatenate([np.full(len(one), 1 / len(one)) for one in errors])
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(share, 0.8)), len(values) - 1)])


def between(errors: BySource, spread: tuple[Spread, ...]) -> tuple[Spread, ...]:
    """Widths for a laboratory of which nothing was in the fit; a tail's is that of its own rows and the variance between others."""
    within = {row.quantity: row for row in spread if row.familiarity == "near"}
    found = []
    for quantity, sources in errors.items():
        own = within[quantity].half_width
        base = quantity.split(",")[0]
        width = max(own, _alike(list(errors[base].values())))
        if len(sources) < 2:
            width = (own**2 + max(0.0, width**2 - within[base].half_width ** 2)) ** 0.5
        rows = sum(map(len, sources.values()))
        half = float(f"{width:.4g}")
        found.append(
            Spread(
                quantity=quantity, half_width=half, rows=rows, familiarity="new source", shift=within[quantity].shift
            )
        )
    return tuple(found)


def print_sources(errors: BySource) -> None:
    """Per quantity and laboratory, the share of rows within the width that the other laboratories give."""
    for quantity, sources in errors.items():
        if len(sources) < 2:
            print(f"  {quantity}: one laboratory, no other to judge it by")
            continue
        inside = {}
        for name, rows in sources.items():
            width = _alike([other for one, other in sources.items() if one != name])
            inside[name] = np.abs(rows) <= width
        shares = ", ".join(f"{name} {np.mean(held):.2f} of {len(held)}" for name, held in inside.items())
        rows = np.mean(np.concatenate(list(inside.values())))
        print(
            f"  {quantity}: {rows:.3f} of rows, {np.mean([np.mean(h) for h in inside.values()]):.3f} by source; {shares}"
        )


def cross_validated(found: list[Sample], fitted: Coefficients) -> tuple[Spread, ...]:
    """Prints the errors with each source, engine, device, model and tenth of the loads left out, and the share of them inside the
    intervals of `fitted`; keeps how far the rows of the last three and of the first lay off."""
    for name, key in {"source": lambda s: s.source, "engine": lambda s: s.case.setup.engine}.items():
        print(f"leaving out one {name}:")
        print_inside(left_out(found, fitted, key), fitted)
    errors = Errors()
    ways: dict[str, Callable[[Sample], str]] = {
        "device": lambda s: s.case.setup.device.name,
        "model": lambda s: s.case.setup.architecture.name,
        "tenth of the loads": fold,
    }
    for name, key in ways.items():
        print(f"leaving out one {name}:")
        some = left_out(found, fitted, key)
        print_inside(some, fitted)
        errors.add(some)
    spread = []
    for (quantity, familiarity), rows in sorted(errors.found.items()):
        if len(rows) >= _OWN_ROWS:
            shift = -float(np.median(rows)) if "tail" in quantity else 0.0
            spread.append(spread_of(quantity, np.array(rows) + shift, familiarity, shift))
    print("leaving out one source, within the width that the others give:")
    apart = by_source(found, fitted)
    print_sources(apart)
    return (*spread, *between(apart, tuple(spread)))
