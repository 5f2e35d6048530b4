"""A fit to one's own points as data: coefficients with intervals, the optimal exponent, the compute-optimal frontier."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aether.planning.scaling.allocation import Allocation, compute_optimal
from aether.planning.scaling.curves import Curve, fitted_curve
from aether.planning.scaling.fit import LEVEL, LawFit, fit
from aether.planning.scaling.points import Points, read_points
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.spec.evidence import Evidence, Interval
from aether.spec.plan import Estimate
from aether.spec.units import parse_quantity

MOST_RESAMPLES = 10_000


class Coefficient(Noun):
    """One fitted number with its bootstrap interval."""

    name: str
    value: float
    interval: Interval | None
    meaning: str


class Seen(Noun):
    """One point of the file, and what the law says there."""

    parameters: float
    tokens: float
    training_flops: float
    loss: float
    fitted_loss: float


class Prediction(Noun):
    """The loss of one run that was not made."""

    parameters: float
    tokens: float
    training_flops: float
    loss: Estimate
    extrapolated: str | None


class FitReport(Noun):
    """What `aether fit-scaling` says."""

    points: int
    residual_rms: float
    """Relative error of the loss (root mean square of log residuals) on the points themselves."""
    coefficients: tuple[Coefficient, ...]
    frontier: tuple[Allocation, ...]
    """Compute-optimal sizes from the largest budget of the points upwards, by factors of ten."""
    predictions: tuple[Prediction, ...]
    """At the sizes and tokens that were asked for."""
    seen: tuple[Seen, ...]
    warnings: tuple[str, ...]

    def as_evidence(self, step: str) -> tuple[Evidence, ...]:
        """The coefficients, the residual and the predicted losses as records that may be cited."""
        of = f"fitted to {self.points} points"
        found = [
            Evidence(
                id=f"{step}.law.{row.name}",
                metric=_METRICS[row.name],
                value=row.value,
                unit="nat/token" if row.name == "E" else "count",
                kind="computed",
                source=f"{row.meaning}, {of}",
                interval=row.interval,
            )
            for row in self.coefficients
        ]
        found.append(
            Evidence(
                id=f"{step}.law.residual",
                metric="relative_residual",
                value=self.residual_rms,
                unit="fraction",
                kind="computed",
                source=f"root mean square of log residuals, {of}",
                n=self.points,
            )
        )
        for place, one in enumerate(self.predictions):
            record = one.loss.as_evidence(f"{step}.{place}")
            held = {"parameters": one.parameters, "tokens": one.tokens}
            found.append(record.model_copy(update={"conditions": held}))
        return tuple(found)


_MEANING = {
    "E": "irreducible loss, nats per token",
    "A": "size of the parameters' term",
    "B": "size of the tokens' term",
    "alpha": "exponent of parameters",
    "beta": "exponent of tokens",
    "a": "exponent of compute in the optimal parameters, beta / (alpha + beta)",
}
_METRICS = {
    "E": "irreducible_loss",
    "A": "parameters_term",
    "B": "tokens_term",
    "alpha": "alpha",
    "beta": "beta",
    "a": "optimal_exponent",
}


def report_fit(
    path: Path, resamples: int = 400, seed: int = 0, tied: bool = False, at: Sequence[str] = ()
) -> FitReport:
    """Fit the law to the points of a CSV file, and predict `at` "PARAMETERS,TOKENS". Raises InputError for what cannot be used."""
    if not 0 <= resamples <= MOST_RESAMPLES:
        raise InputError.of("resamples", resamples, f"give 0 (no intervals) to {MOST_RESAMPLES}")
    asked = [_asked(text) for text in at]
    points = read_points(path)
    fitted = fit(points, resamples, seed, tied)
    values = {name: getattr(fitted.law, name) for name in ("E", "A", "B", "alpha", "beta")}
    values["a"] = fitted.optimal_exponent
    coefficients = tuple(
        Coefficient(
            name=name,
            value=value,
            interval=fitted.interval(name) if resamples else None,
            meaning=_MEANING[name],
        )
        for name, value in values.items()
    )
    curve = fitted_curve("your fit", fitted, points)
    largest = float(points.flops_P.max())
    warnings = []
    if len(points) < 20:
        warnings.append(f"{len(points)} points: below about 20 the intervals themselves are unreliable")
    if np.corrcoef(np.log(points.parameters_P), np.log(points.tokens_P))[0, 1] > 0.95:
        warnings.append("parameters and tokens vary together: alpha and beta cannot be told apart; vary one at a time")
    if resamples and fitted.interval("a").high - fitted.interval("a").low > 0.2:
        warnings.append(
            f"the optimal exponent is uncertain by more than 0.2 at {LEVEL:.0%}: do not extrapolate a decade"
        )
    return FitReport(
        points=len(points),
        residual_rms=fitted.residual_rms,
        coefficients=coefficients,
        frontier=tuple(compute_optimal(largest * 10.0**decade, curve) for decade in range(4)),
        predictions=tuple(_prediction(curve, fitted.residual_rms, *one) for one in asked),
        seen=_seen(points, fitted),
        warnings=tuple(warnings),
    )


def _seen(points: Points, fitted: LawFit) -> tuple[Seen, ...]:
    predicted_P = fitted.law.loss(points.parameters_P, points.tokens_P)
    columns = (points.parameters_P, points.tokens_P, points.flops_P, points.loss_P, predicted_P)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return tuple(
        Seen(parameters=n, tokens=d, training_flops=c, loss=loss, fitted_loss=found) for n, d, c, loss, found in rows
    )


def _asked(text: str) -> tuple[float, float]:
    size, comma, tokens = text.partition(",")
    if not comma:
        raise InputError.of("--at", text, "write PARAMETERS,TOKENS, such as 70B,15T")
    found = (parse_quantity(size, "count", "--at parameters"), parse_quantity(tokens, "count", "--at tokens"))
    if min(found) <= 0:
        raise InputError.of("--at", text, "give numbers above 0")
    return found


_NORMAL_90 = 1.2816
"""Standard deviations between the middle and the end of an 80 % interval of a normal distribution."""


def _prediction(curve: Curve, residual_rms: float, parameters: float, tokens: float) -> Prediction:
    """One run's loss: the spread of the fits, and of single runs round the law."""
    drawn_R = np.log(np.atleast_1d(curve.loss(parameters, tokens)))
    middle, interval = float(drawn_R[0]), None
    if len(drawn_R) > 1:
        low, high = np.quantile(drawn_R[1:], [0.1, 0.9]).tolist()
        run = _NORMAL_90 * residual_rms
        below, above = np.hypot(max(0.0, middle - low), run), np.hypot(max(0.0, high - middle), run)
        method = f"{curve.spread_source}, and the residuals of single runs"
        ends = (float(np.exp(middle - below)), float(np.exp(middle + above)))
        interval = Interval(low=ends[0], high=ends[1], level=0.8, method=method)
    loss = Estimate(
        metric="loss",
        value=float(np.exp(middle)),
        unit="nat/token",
        interval=interval,
        kind="computed",
        formula="E + A / N^alpha + B / D^beta",
        terms=curve.terms,
    )
    flops = 6.0 * parameters * tokens  # As the points' own.
    return Prediction(
        parameters=parameters,
        tokens=tokens,
        training_flops=flops,
        loss=loss,
        extrapolated=curve.beyond(parameters, tokens),
    )
