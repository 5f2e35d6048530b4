"""The loss of mixtures of experts by a published law, inside the runs that it was fitted to; outside it the experiment to do.

Follows Ludziejewski et al. 2025 (arXiv 2502.05172): at a fixed number of experts their law has the form of Hoffmann et al.,
so `mixture_curve` is a `Curve` like any other, and `compute_optimal` and `inference_aware` take it. The law is of experts as
large as a dense feed-forward part with one active per token: fine-grained experts, several active ones and shared ones
(arXiv 2402.07871, 2507.17702) are not in it, and no coefficients for them are on record. Absolute losses are of the authors'
data; what carries over better is the distance to the dense model of the same law, which is one of the terms.
"""

import math
from statistics import NormalDist

import numpy as np

from aether.knowledge.library import MixtureLaw, mixture_laws
from aether.planning.scaling.allocation import LEVEL, predicted_loss
from aether.planning.scaling.curves import Curve
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term

MIXTURE_LAW = "ludziejewski-2025"


def mixture_curve(experts: int) -> Curve:
    """The law at `experts` experts as a curve in active parameters and tokens; 1 is the dense model.

    Raises InputError for a number of experts outside the runs.
    """
    law = mixture_laws()[MIXTURE_LAW]
    if not law.experts_range[0] <= experts <= law.experts_range[1]:
        low, high = law.experts_range
        raise InputError.of("experts", experts, f"{law.name} was fitted to {low} to {high} experts: give one of those")
    log_e = math.log(_effective_experts(law, experts))
    values = {
        "E": law.c,
        "A": law.a * math.exp(law.delta * log_e),
        "B": law.b * math.exp(law.omega * log_e),
        "alpha": -(law.alpha + law.gamma * log_e),
        "beta": -(law.beta + law.zeta * log_e),
    }
    units = {"E": "nat/token", "A": "nat/token", "B": "nat/token", "alpha": "1", "beta": "1"}
    terms = (
        *(
            Term(name=key, value=values[key], unit=unit, kind=law.kind, source=law.source)
            for key, unit in units.items()
        ),
        Term(name="experts", value=experts, unit="1", kind="assumed", source="the question"),
    )
    return Curve(
        name=f"{law.name} with {experts} experts",
        E_R=np.array([values["E"]]),
        log_A_R=np.log([values["A"]]),
        log_B_R=np.log([values["B"]]),
        alpha_R=np.array([values["alpha"]]),
        beta_R=np.array([values["beta"]]),
        parameters_range=law.parameters_range,
        tokens_range=law.tokens_range,
        terms=terms,
        spread_source=None,
    )


def _effective_experts(law: MixtureLaw, experts: int) -> float:
    """Equation 4: few experts cost more than they bring, very many bring less and less."""
    start = 1.0 / (1.0 / law.experts_start - 1.0 / law.experts_most)
    return 1.0 / (1.0 / (experts - 1 + start) + 1.0 / law.experts_most)


def mixture_of_experts(parameters: float, tokens: float, experts: int, active: int = 1) -> Estimate:
    """The loss of a mixture with `parameters` active and `experts` experts per layer, `active` of them, after `tokens`.

    Outside the runs of the law there is no number, and the protocol is the experiment that would give one. The interval is
    the published error of the fit, nothing more: not of other data, nor of other kinds of experts.
    """
    law = mixture_laws()[MIXTURE_LAW]
    protocol = (
        f"train dense and {experts}-expert models at three active sizes and three token counts on your data, matched in "
        "active parameters, three seeds at the smallest; fit L(N, D) to each and compare them at equal FLOP, with the "
        f"interval of the bootstrap, before planning {parameters:.3g} active parameters on {tokens:.3g} tokens"
    )
    _check(parameters, tokens, experts)
    low, high = law.experts_range
    if active != 1:
        outside = f"{active} experts active; {law.name} is of one"
    elif not low <= experts <= high:
        outside = f"{experts} experts; {law.name} was fitted to {low} to {high}"
    else:
        outside = mixture_curve(experts).beyond(parameters, tokens)
    if outside is not None:
        return Estimate(
            metric="loss",
            value=None,
            unit="nat/token",
            interval=None,
            kind="computed",
            formula=f"unknown: {outside}",
            protocol=protocol,
        )
    found = predicted_loss(parameters, tokens, mixture_curve(experts)).loss
    dense = predicted_loss(parameters, tokens, mixture_curve(1)).loss
    assert found.value is not None and dense.value is not None
    margin = NormalDist().inv_cdf((1.0 + LEVEL) / 2) * law.rms_error
    interval = Interval(
        low=found.value - margin,
        high=found.value + margin,
        level=LEVEL,
        method="published error of the fit on its runs",
    )
    terms = (
        *found.terms,
        Term(
            name="dense model of that active size",
            value=dense.value,
            unit="nat/token",
            kind="computed",
            source=law.name,
        ),
        Term(name="error of the fit", value=law.rms_error, unit="nat/token", kind=law.kind, source=law.source),
    )
    formula = f"{found.formula}; {law.experts_are}"
    return found.model_copy(update={"interval": interval, "terms": terms, "formula": formula, "protocol": protocol})


def _check(parameters: float, tokens: float, experts: int) -> None:
    for name, value in (("parameters", parameters), ("tokens", tokens)):
        if not (math.isfinite(value) and value > 0):
            raise InputError.of(name, value, "give a number above 0")
    if experts < 1:
        raise InputError.of("experts", experts, "give a whole number from 1 (dense)")
