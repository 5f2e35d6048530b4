"""Answers about size and tokens as estimates: compute-optimal, cheapest over a life of serving, with repeated data.

Each answer is an `Allocation` of estimates with intervals from the draws of the law's coefficients, and says when it
leaves the points that the law was fitted to. The laws are of pretraining loss on the fitters' own data and tokenizers:
an absolute loss does not carry over to other data, the sizes and their ratios carry over better. Fit your own points
(`aether fit-scaling`) before you spend. A law without recorded uncertainty gives no interval, never a narrow one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from aether.knowledge.library import constants, power_laws
from aether.planning.intervals import LEVEL
from aether.planning.laws import LossLaw
from aether.planning.scaling.curves import Curve, published_curve
from aether.planning.scaling.repetition import published_half_lives, repeated_loss
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

Floats = NDArray[np.float64]

DEFAULT_LAW = "besiroglu-2024"
"""The replication of Hoffmann et al. with its uncertainty; the original's rounded coefficients disagree with its own points."""

REPETITION_LAW = "muennighoff-2023"


OWN_POINTS = (
    "train four sizes over a factor 30 at four budgets over a factor 100 on your own data, the largest at a hundredth of "
    "the planned compute; `aether fit-scaling` on their final losses; plan with that fit"
)


class Allocation(Noun):
    """A size, its tokens and the loss to expect; `notes` say what the answer does not hold for."""

    law: str
    parameters: Estimate
    tokens: Estimate
    loss: Estimate
    training_flops: Estimate
    extrapolated: bool
    """Outside the points that the law was fitted to: the interval is of the coefficients only, and too narrow."""
    notes: tuple[str, ...] = ()


def predicted_loss(parameters: float, tokens: float, curve: Curve | None = None) -> Allocation:
    """The loss of a model of `parameters` after `tokens` different tokens."""
    _positive(parameters=parameters, tokens=tokens)
    curve = curve or published_curve(DEFAULT_LAW)
    one_R = np.ones_like(curve.E_R)
    formula = f"E + A / N^alpha + B / D^beta, {curve.name}"
    return _allocation(curve, one_R * parameters, one_R * tokens, formula, ())


def compute_optimal(training_flops: float, curve: Curve | None = None) -> Allocation:
    """The size and tokens of the least loss for `training_flops`."""
    _positive(training_flops=training_flops)
    curve = curve or published_curve(DEFAULT_LAW)
    parameters_R, tokens_R = curve.optimum(training_flops)
    formula = (
        f"N = (alpha A / (beta B))^(1 / (alpha + beta)) (C / 6)^(beta / (alpha + beta)), D = C / (6 N), {curve.name}"
    )
    return _allocation(curve, parameters_R, tokens_R, formula, ())


def optimum_by_law(training_flops: float) -> tuple[Estimate, ...]:
    """What other published power laws say of the same budget, k C^a parameters or tokens: how far the field disagrees."""
    _positive(training_flops=training_flops)
    found = []
    for law in power_laws().values():
        formula = f"{law.y} = {law.coefficient:g} C^{law.exponent:g}, {law.name}"
        if law.x_range is None or not law.x_range[0] <= training_flops <= law.x_range[1]:
            formula = f"extrapolation, or of unrecorded range: {formula}"
        term = Term(name="exponent", value=law.exponent, unit="1", kind=law.kind, source=law.source)
        value = law.coefficient * training_flops**law.exponent
        unit = "parameter" if law.quantity == "parameters" else "token"
        found.append(_estimate(law.quantity, value, unit, formula, (term,)))
    return tuple(found)


def inference_aware(loss: float, inference_tokens: float, curve: Curve | None = None) -> Allocation:
    """The size and tokens that reach `loss` (nats per token, of the law) for the least compute over the model's life.

    `inference_tokens` are all tokens that will be read and written in service. The loss must be above E by a tenth of a
    percent at least. Compute is counted at equal cost of training and serving; real serving is dearer per FLOP, which
    makes the best model smaller still.
    """
    _positive(loss=loss)
    if not (math.isfinite(inference_tokens) and inference_tokens >= 0):
        raise InputError.of(
            "inference_tokens", inference_tokens, "give the tokens of the model's whole life, 0 or more"
        )
    curve = curve or published_curve(DEFAULT_LAW)
    floor = float(curve.E_R[0])
    if loss <= floor * 1.001:
        raise InputError.of("loss", loss, f"no model of {curve.name} reaches it: its irreducible loss is {floor:.4g}")
    # Equal quality across draws means an equal distance above each draw's own floor: an absolute loss is not comparable.
    target_R = curve.E_R + (loss - floor)
    parameters_R = curve.least_cost_size(target_R, inference_tokens)
    tokens_R = curve.tokens_for(parameters_R, target_R)
    formula = f"least 6 N D + 2 N T with E + A / N^alpha + B / D^beta = loss, T = {inference_tokens:.4g}, {curve.name}"
    ratio = float(tokens_R[0] / parameters_R[0])
    note = f"{ratio:.3g} tokens per parameter; the compute-optimal model of this loss has {_optimal_ratio(curve, loss):.3g}"
    return _allocation(curve, parameters_R, tokens_R, formula, (note,))


def data_constrained(training_flops: float, unique_tokens: float) -> Allocation:
    """The size and tokens of the least loss for `training_flops` when only `unique_tokens` differ."""
    _positive(training_flops=training_flops, unique_tokens=unique_tokens)
    curve, lives = published_curve(REPETITION_LAW), published_half_lives()
    law = _plain(curve)
    middle, _ = (float(x[0]) for x in curve.optimum(training_flops))
    size_G = middle * np.geomspace(1e-3, 1e2, 4001)
    tokens_G = training_flops / constants()["flops_per_parameter_token"].value / size_G
    loss_G = repeated_loss(law, lives, size_G, tokens_G, unique_tokens)
    best = int(np.argmin(loss_G))
    formula = f"least L(N', D') over 6 N D = C, N' and D' with repeats fading as exp(-k / R*), {curve.name}"
    sized = "size and tokens have no interval: the points hardly bound the half-lives (docs/scaling-laws.md)"
    return _repeating(curve, (float(size_G[best]), float(tokens_G[best])), unique_tokens, formula, (sized,))


def repeating(parameters: float, tokens: float, unique_tokens: float) -> Allocation:
    """The loss of a model of `parameters` after `tokens`, of which only `unique_tokens` differ."""
    _positive(parameters=parameters, tokens=tokens, unique_tokens=unique_tokens)
    curve = published_curve(REPETITION_LAW)
    formula = f"L(N', D') with repeats fading as exp(-k / R*), {curve.name}"
    return _repeating(curve, (parameters, tokens), unique_tokens, formula, ())


def _repeating(
    curve: Curve, size: tuple[float, float], unique_tokens: float, formula: str, notes: tuple[str, ...]
) -> Allocation:
    """The allocation of `size`, which is (parameters, tokens)."""
    parameters, tokens = size
    loss = float(repeated_loss(_plain(curve), published_half_lives(), parameters, tokens, unique_tokens))
    epochs = max(1.0, tokens / unique_tokens)
    low, high = constants()["repetition_residual_low"], constants()["repetition_residual_high"]
    interval = Interval(
        low=loss * math.exp(low.value),
        high=loss * math.exp(high.value),
        level=LEVEL,
        method="log residuals of the law on its own points",
    )
    terms = (
        *curve.terms,
        _constant_term("R_D*", "repeated_data_half_life"),
        _constant_term("R_N*", "repeated_parameters_half_life"),
        Term(name="unique tokens", value=unique_tokens, unit="token", kind="assumed", source="the question"),
        Term(name="epochs", value=epochs, unit="1", kind="computed", source="tokens / unique tokens"),
    )
    outside = [note for note in (curve.beyond(parameters, tokens),) if note]
    if epochs > _MOST_EPOCHS:
        most = f"{_MOST_EPOCHS:.0f}"
        outside.append(f"extrapolation: {epochs:.3g} epochs; the paper finds repeats nearly worthless beyond {most}")
    flops = constants()["flops_per_parameter_token"].value * parameters * tokens
    return Allocation(
        law=curve.name,
        parameters=_estimate("parameters", parameters, "parameter", formula, terms),
        tokens=_estimate("tokens", tokens, "token", formula, terms),
        loss=_estimate("loss", loss, "nat/token", formula, terms, interval),
        training_flops=_estimate("training_flops", flops, "FLOP", "6 N D", ()),
        extrapolated=bool(outside),
        notes=(f"{epochs:.3g} epochs of {unique_tokens:.4g} unique tokens", *notes, *outside),
    )


_MOST_EPOCHS = 40.0
"""Published: arXiv 2305.16264, abstract and section 6: beyond about 40 epochs repeating is worthless."""


def _allocation(
    curve: Curve, parameters_R: Floats, tokens_R: Floats, formula: str, notes: tuple[str, ...]
) -> Allocation:
    flops_R = constants()["flops_per_parameter_token"].value * parameters_R * tokens_R
    outside = curve.beyond(float(parameters_R[0]), float(tokens_R[0]))
    no_spread = () if curve.spread_source else (f"no interval: nobody has recorded the uncertainty of {curve.name}",)

    def estimate(metric: str, value_R: Floats, unit: str) -> Estimate:
        return _estimate(metric, float(value_R[0]), unit, formula, curve.terms, _interval(curve, value_R))

    return Allocation(
        law=curve.name,
        parameters=estimate("parameters", parameters_R, "parameter"),
        tokens=estimate("tokens", tokens_R, "token"),
        loss=estimate("loss", curve.loss(parameters_R, tokens_R), "nat/token"),
        training_flops=estimate("training_flops", flops_R, "FLOP"),
        extrapolated=outside is not None,
        notes=(*notes, *no_spread, *(() if outside is None else (outside,))),
    )


def _interval(curve: Curve, value_R: Floats) -> Interval | None:
    if curve.spread_source is None:
        return None
    low, high = np.quantile(value_R[1:], [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return Interval(low=float(low), high=float(high), level=LEVEL, method=curve.spread_source)


def _estimate(
    metric: str,
    value: float | None,
    unit: str,
    formula: str,
    terms: tuple[Term, ...],
    interval: Interval | None = None,
    protocol: str = OWN_POINTS,
) -> Estimate:
    return Estimate(
        metric=metric,
        value=value,
        unit=unit,
        interval=interval,
        kind="computed",
        formula=formula,
        terms=terms,
        protocol=protocol,
    )


def _plain(curve: Curve) -> LossLaw:
    A, B = math.exp(curve.log_A_R[0]), math.exp(curve.log_B_R[0])
    return LossLaw(float(curve.E_R[0]), A, B, float(curve.alpha_R[0]), float(curve.beta_R[0]))


def _optimal_ratio(curve: Curve, loss: float) -> float:
    target_R = curve.E_R + (loss - float(curve.E_R[0]))
    parameters_R = curve.least_cost_size(target_R, 0.0)
    return float(curve.tokens_for(parameters_R, target_R)[0] / parameters_R[0])


def _constant_term(symbol: str, name: str) -> Term:
    row = constants()[name]
    return Term(name=symbol, value=row.value, unit=row.unit, kind=row.kind, source=row.source)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError.of(name, value, "give a number above 0")
