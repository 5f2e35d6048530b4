"""Fits the coefficients of training time: `python -m benchmarks.planner_accuracy.fit_training [--rows FILE ...]`.

Robust least squares on log step time with a prior on every parameter, so that a parameter that few rows speak of stays near
what physics says. What remains is a residual per group (generation, precision, model class, framework), shrunk towards zero
by its number of models, and conformal intervals from the errors on groups left out of the fit.
"""

import argparse
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from aether.knowledge.library import Device
from aether.planning.training.calibration import error_classes, relative_width
from aether.planning.training.memory import training_memory
from aether.planning.training.setup import TrainingSetup
from aether.planning.training.step import coefficient_terms, generation, residual_groups, step_terms
from aether.planning.training.work import WORK_FIELDS, training_work
from aether.spec.errors import InputError
from benchmarks.planner_accuracy.setups import Row, device_of, setup_of
from benchmarks.planner_accuracy.sources import measured_by
from benchmarks.planner_accuracy.training import default_rows, family, read_rows, step_from_row

# Parameter -> (mean, standard deviation) of its prior, in logarithms: what a fit says of hardware and kernels that it never saw.
# Best matrix products in bfloat16, of the data sheet: A100 0.869, H100 0.803 (0.709 in fp8), MI300X 0.514 to 0.601, MI325X 0.604
# (github.com/stas00/ml-engineering, compute/accelerator/README.md, read 2026-11-25). Attention: FlashAttention 0.25 to 0.40 and
# FlashAttention-2 0.50 to 0.73 of an A100 (arXiv 2307.08691, as reviewed at zhongzhuzhou.org), FlashAttention-2 0.35 of an H100 and
# its successor 1.5 to 2 times that (arXiv 2407.08608, abstract), cuDNN 0.55 and FlashAttention-4 0.71 of a B200 (ai-primer.com on
# that paper; read 2026-11-25). Blackwell's products 0.768 of the data sheet in bf16, 0.745 in fp8, 0.684 in nvfp4, where an A100 reaches
# 0.815 and an H100 0.809 and 0.797 (operator tables of aiconfigurator_core 0.12.0, `knowledge/serving_efficiency.toml`). NVFP4 keeps the
# last 15 % of layers in bf16 (Nemotron 3 Super, arXiv 2604.12374, as summed up at besthub.dev, read 2026-11-26): 0.64 with, 0.89 without.
# llm-foundry's configurations have the Triton kernel (scripts/train/yamls/pretrain/mpt-7b.yaml, read 2026-11-27), of FlashAttention's kind:
# on an H100 as far below FlashAttention-2 as the 0.43 of both on an A100. Memory traffic: the same operator tables' products and decode
# attention reach 0.780 and 0.753 of an A100's bandwidth, 0.876 of an H100's, 0.804 and 0.919 of a Blackwell's: the lower, since passes
# that also write reach less than reads (a choice).
# Expert traffic: links reach 0.66 to 0.75 of the data sheet (the same tables' all-reduces), between nodes all of it (DeepEP on H800, as
# quoted at flashmla.org/deepseek-deepep, read 2026-11-26). Between two figures stands their geometric mean; the spreads are a choice.
PRIORS: dict[str, tuple[float, float]] = {
    "power": (1 / 3, 0.15),
    "linear.hopper": (np.log(0.803 / 0.869), 0.08),
    "linear.cdna": (np.log(0.56 / 0.869), 0.2),
    "attention.ampere.flash": (np.log(0.43 / 0.55), 0.2),
    "attention.hopper.flash": (np.log(0.25 / 0.55), 0.15),
    "attention.hopper.vendor": (np.log(0.61 / 0.55), 0.2),
    "attention.blackwell.vendor": (np.log(0.62 / 0.55), 0.2),
    "linear": (np.log(0.80), 0.15),
    "linear.blackwell": (np.log(0.768 / 0.815), 0.1),
    "linear.fp8": (np.log(0.93), 0.15),
    "linear.mxfp8": (np.log(0.745 / 0.768), 0.15),
    "linear.nvfp4": (np.log(0.684 / 0.768), 0.25),
    "immature": (-0.25, 0.15),
    "era.moe": (-0.15, 0.15),
    "graphs.layers": (-0.5, 0.5),
    "graphs.step": (-1.5, 0.7),
    "chunk": (np.log(100.0), 0.7),
    "ep_cross": (np.log(1.0), 0.6),
    "expert": (np.log(0.85), 0.2),
    "attention": (np.log(0.55), 0.25),
    "attention_small": (np.log(0.20), 0.7),
    "traffic": (np.log(0.80), 0.15),
    "traffic.ampere": (np.log(0.753 / 0.80), 0.12),
    "traffic.hopper": (np.log(0.876 / 0.80), 0.12),
    "traffic.blackwell": (np.log(0.804 / 0.80), 0.12),
    "score": (np.log(4.0), 0.5),
    "element": (np.log(1.2), 0.4),
    "scan": (np.log(4.8), 0.4),
    "cast": (np.log(1.0), 0.5),
    "dispatch": (np.log(2.0), 0.7),
    "launch": (np.log(20.0), 0.7),
    "expert_launch": (np.log(300.0), 1.0),
    "expert_call": (np.log(10.0), 1.0),
    "tp": (np.log(0.7), 0.5),
    "tp.exposed": (np.log(2.0), 0.3),
    "gather.deepspeed": (np.log(2.0), 0.7),
    "cp": (np.log(0.3), 0.7),
    "ep": (np.log(1.4), 0.6),
    "ep_hidden": (np.log(0.8), 0.3),
    "pp": (np.log(0.5), 0.7),
    "gather": (np.log(1.3), 0.3),
    "gather_hidden": (np.log(0.9), 0.3),
    "dp": (np.log(1.3), 0.3),
    "dp_hidden": (np.log(0.7), 0.5),
    "uneven": (np.log(0.3), 0.7),
    "fixed": (np.log(10.0), 1.0),
}
TOML = Path(__file__).parents[2] / "src/aether/knowledge/training_efficiency.toml"
FOLDS = 10
"""Parts that setups are left out in (a choice)."""
_DIFFERENCE = 1e-6
"""Relative step of the derivatives by coefficients (a choice)."""
NOISE = 0.05
"""Standard deviation of log time between runs of one setup; sets how much data outweighs priors (a choice)."""


@dataclass(frozen=True)
class Case:
    """One row that can be fitted."""

    row: Row
    family: str
    setup: TrainingSetup
    device: Device
    work: dict[str, float]
    terms: dict[str, dict[str, float]]
    log_step: float

    @property
    def model(self) -> str:
        """What leave-one-model-out leaves out: a shape, since one model has several names (GPT-530B and MT-NLG 530B)."""
        return f"{self.setup.architecture.layers} layers of {self.setup.architecture.hidden_size}"

    @property
    def source(self) -> str:
        """What leave-one-source-out leaves out."""
        return measured_by(self.row)

    @property
    def layout(self) -> str:
        """What leave-setups-out leaves out: rows of one model, device, layout and batch, whatever their release and precision."""
        chosen = self.setup.layout.model_dump_json() + f"{self.setup.seq_tokens} {self.setup.global_batch}"
        return f"{self.model} {self.device.name} {chosen} {self.setup.micro_batch}"


def cases(rows: Iterable[Row]) -> list[Case]:
    """Rows whose step time is known and whose setup is understood; GPU-hours and run times include more than steps."""
    found = []
    for row in rows:
        kind = family(row)
        if kind is None or "hours" in kind or "run time" in kind:
            continue
        try:
            setup, device = setup_of(row), device_of(row)
        except InputError:
            continue
        if setup is None or device is None:
            continue
        memory = training_memory(setup, device)
        work = training_work(setup, device, memory.recompute, memory.recomputed_share)
        step_s = step_from_row(row, setup, device)
        if step_s is None:
            continue
        values = {name: getattr(work, name) for name in WORK_FIELDS}
        found.append(Case(row, kind, setup, device, values, coefficient_terms(setup, device), float(np.log(step_s))))
    return found


def prior(name: str) -> tuple[float, float]:
    """Mean and standard deviation."""
    return PRIORS.get(name, (0.0, 0.25 if name.startswith(("launch.", "gather.", "element.")) else 0.12))


@dataclass(frozen=True)
class Design:
    """The cases as arrays: work by field, and for each coefficient the weights of its parameters."""

    names: tuple[str, ...]
    work: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]

    @classmethod
    def of(cls, some: list[Case], names: tuple[str, ...]) -> "Design":
        """Arrays over `some`, with parameters in the order of `names`."""
        index = {name: i for i, name in enumerate(names)}
        work = {field: np.array([case.work[field] for case in some]) for field in WORK_FIELDS}
        weights = {}
        for coefficient in some[0].terms:
            matrix = np.zeros((len(some), len(names)))
            for i, case in enumerate(some):
                for key, weight in case.terms[coefficient].items():
                    if key in index:
                        matrix[i, index[key]] = weight
            weights[coefficient] = matrix
        return cls(names, work, weights)

    def log_step(self, theta: np.ndarray) -> np.ndarray:
        """Predicted log step times."""
        by = {name: np.exp(matrix @ theta) for name, matrix in self.weights.items()}
        return self._log(by)

    def _log(self, by: dict[str, np.ndarray]) -> np.ndarray:
        return np.log(sum(step_terms(self.work, by).values()))

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of the log step times by the parameters, which only enter through the coefficients."""
        by = {name: np.exp(matrix @ theta) for name, matrix in self.weights.items()}
        here, found = self._log(by), np.zeros((len(next(iter(by.values()))), len(self.names)))
        for name, matrix in self.weights.items():
            moved = self._log(by | {name: by[name] * (1 + _DIFFERENCE)})
            found += ((moved - here) / _DIFFERENCE)[:, None] * matrix
        return found


def parameter_names(some: Iterable[Case]) -> tuple[str, ...]:
    """Every parameter that a case mentions."""
    return tuple(sorted({key for case in some for weights in case.terms.values() for key in weights}))


def fit(some: list[Case]) -> dict[str, float]:
    """Parameters by robust penalised least squares, from the means of the priors: a fit never starts from one that saw more."""
    names = parameter_names(some)
    design = Design.of(some, names)
    observed = np.array([case.log_step for case in some])
    mean, deviation = (np.array(column) for column in zip(*(prior(name) for name in names), strict=True))
    # Sources repeat a setup release after release: a model on a device counts as the square root of its rows.
    repeats = Counter((case.model, case.device.name) for case in some)
    weight = np.array([repeats[(case.model, case.device.name)] ** -0.25 for case in some])

    def residuals(theta: np.ndarray) -> np.ndarray:
        data = weight * (design.log_step(theta) - observed) / NOISE
        robust = np.sign(data) * np.sqrt(2 * (np.sqrt(1 + data**2 / 4) - 1)) * np.sqrt(2)
        return np.concatenate([robust, (theta - mean) / deviation])

    def slopes(theta: np.ndarray) -> np.ndarray:
        data = np.maximum(np.abs(weight * (design.log_step(theta) - observed) / NOISE), 1e-6)
        root = np.sqrt(1 + data**2 / 4)
        robust = data / (4 * root * np.sqrt(root - 1)) * weight / NOISE
        return np.vstack([robust[:, None] * design.slope(theta), np.diag(1 / deviation)])

    by_hand: Any = slopes
    solved = least_squares(residuals, mean, jac=by_hand, max_nfev=40)
    return dict(zip(names, (float(x) for x in solved.x), strict=True))


SHRINKAGE = (1.0, 1.0, 1.0)
"""Pairs of model and device that a group must have measured for half of its mean residual to count, coarse to fine (a choice)."""


def residuals_by_group(some: list[Case], parameters: dict[str, float]) -> dict[str, float]:
    """Group -> shrunk mean of what the fit leaves of log time, level by level."""
    left = np.array([case.log_step for case in some]) - predicted(some, parameters)
    groups = [residual_groups(case.setup, case.device) for case in some]
    effects: dict[str, float] = {}
    for level, half in enumerate(SHRINKAGE):
        members: dict[str, list[int]] = defaultdict(list)
        for i, names in enumerate(groups):
            members[names[level]].append(i)
        for name, rows in members.items():
            pairs: dict[tuple[str, ...], list[float]] = defaultdict(list)
            for i in rows:
                pairs[(some[i].model, some[i].device.name)].append(float(left[i]))
            mean = float(np.median([np.median(values) for values in pairs.values()]))
            effects[name] = mean * len(pairs) / (len(pairs) + half)
            for i in rows:
                left[i] -= effects[name]
    return effects


def corrected(some: list[Case], parameters: dict[str, float], effects: dict[str, float]) -> np.ndarray:
    """Log step times with the effects of the groups."""
    extra = [sum(effects.get(name, 0.0) for name in residual_groups(case.setup, case.device)) for case in some]
    return predicted(some, parameters) + np.array(extra)


def predicted(some: list[Case], parameters: dict[str, float]) -> np.ndarray:
    """Log step times of cases by fitted parameters."""
    names = tuple(parameters)
    return Design.of(some, names).log_step(np.array([parameters[name] for name in names]))


def leave_out(some: list[Case], key: Callable[[Case], str]) -> np.ndarray:
    """Predicted minus observed log step time of each case by a fit without its group."""
    names, errors = parameter_names(some), np.zeros(len(some))
    for group in sorted({key(case) for case in some}):
        kept = [case for case in some if key(case) != group]
        held = [i for i, case in enumerate(some) if key(case) == group]
        parameters = {**{name: prior(name)[0] for name in names}, **fit(kept)}
        effects = residuals_by_group(kept, parameters)
        cases_held = [some[i] for i in held]
        observed = np.array([case.log_step for case in cases_held])
        errors[held] = corrected(cases_held, parameters, effects) - observed
    return errors


def fold(case: Case) -> str:
    """The part of a case: setups of one layout stay together."""
    return str(zlib.crc32(case.layout.encode()) % FOLDS)


GROUPS: dict[str, Callable[[Case], str]] = {
    "setup": fold,
    "model": lambda case: case.model,
    "device": lambda case: case.device.name,
    "generation": lambda case: generation(case.device),
    "source": lambda case: case.source,
}
"""What is left out, one at a time."""


def cross_validate(some: list[Case]) -> dict[str, np.ndarray]:
    """Log errors of every case by what was left out of the fit, and with its model and its generation left out together."""
    errors = {name: leave_out(some, key) for name, key in GROUPS.items()}
    errors["model and generation"] = _leave_both(some)
    return errors


def _leave_both(some: list[Case]) -> np.ndarray:
    """Errors of fits that saw neither the model of a case nor its generation."""
    names, errors = parameter_names(some), np.zeros(len(some))
    for pair in sorted({(case.model, generation(case.device)) for case in some}):
        kept = [case for case in some if case.model != pair[0] and generation(case.device) != pair[1]]
        held = [i for i, case in enumerate(some) if (case.model, generation(case.device)) == pair]
        parameters = {**{name: prior(name)[0] for name in names}, **fit(kept)}
        cases_held = [some[i] for i in held]
        errors[held] = corrected(cases_held, parameters, residuals_by_group(kept, parameters))
        errors[held] -= np.array([case.log_step for case in cases_held])
    return errors


FAMILIARITY = {
    "known": "setup",
    "new model": "model",
    "new hardware": "generation",
    "new both": "model and generation",
}
"""Familiarity of a setup -> what was left out of the fits whose errors make its interval."""


def halfwidths(some: list[Case], errors: dict[str, np.ndarray]) -> dict[str, float]:
    """Quantiles of absolute log errors by class and familiarity, each model and device pair counting as the root of its rows."""
    found: dict[str, float] = {}
    between = {80: 0.0, 90: 0.0}
    errors = {name: one / _relative_widths(some) for name, one in errors.items()}
    for kind in ("dense", "moe", "fine-tuning"):
        rows = [i for i, case in enumerate(some) if _kind(case) == kind]
        alike, weight = [some[i] for i in rows], _pair_weights([some[i] for i in rows])
        for level in (80, 90):
            suffix, narrower = ("" if level == 80 else f"|{level}"), 0.0
            for name, left in FAMILIARITY.items():
                # Knowing less never narrows an interval: the samples differ by chance.
                width = max(narrower, _quantile(np.abs(errors[left][rows]), weight, level / 100))
                found[f"{kind}|{name}{suffix}"] = width
                narrower = width if name == "known" else narrower
            both = max(found[f"{kind}|{name}{suffix}"] for name in ("new model", "new hardware", "new both"))
            found[f"{kind}|new both{suffix}"] = both
            if len({case.source for case in alike}) > 1:
                width = max(both, _quantile(np.abs(errors["source"][rows]), _source_weights(alike), level / 100))
                between[level] = width**2 - both**2
            else:
                # One source cannot say how far two lie apart: as far as those of the other class, in variances.
                width = (both**2 + between[level]) ** 0.5
            found[f"{kind}|new source{suffix}"] = width
    return found


def _relative_widths(some: list[Case]) -> np.ndarray:
    return np.array([relative_width(case.setup) for case in some])


def _kind(case: Case) -> str:
    return error_classes(case.setup)[-1]


def _pair_weights(some: list[Case]) -> np.ndarray:
    pair = [(case.model, case.device.name, case.source) for case in some]
    repeats = Counter(pair)
    return np.array([repeats[p] ** -0.5 for p in pair])


def _source_weights(some: list[Case]) -> np.ndarray:
    """Every source counts alike, whatever its number of rows: who measures next is a source more, not a row more."""
    weight, total = _pair_weights(some), Counter()
    for case, one in zip(some, weight, strict=True):
        total[case.source] += one
    return weight / np.array([total[case.source] for case in some])


def coverage(
    some: list[Case], errors: np.ndarray, key: Callable[[Case], str], without_source: np.ndarray
) -> np.ndarray:
    """Whether each case lies within the 80 % quantile of the left-out errors of all other groups of its class: an interval is
    judged on groups that had no part in it. A group with whom its source leaves the fit is judged as the planner would say it,
    by the errors `without_source` where these are wider. Not a number where its class has no other group."""
    kinds, groups, sources = (np.array([of(case) for case in some]) for of in (_kind, key, GROUPS["source"]))
    errors, without_source = (np.abs(one) / _relative_widths(some) for one in (errors, without_source))
    inside = np.full(len(some), np.nan)
    for i, case in enumerate(some):
        widths = []
        for kind in error_classes(case.setup):
            if (others := (groups != groups[i]) & (kinds == kind)).any():
                weight = _source_weights(_chosen(some, others)) if key is GROUPS["source"] else np.ones(others.sum())
                widths.append(_quantile(errors[others], weight, 0.8))
            elsewhere = (sources != sources[i]) & (kinds == kind)
            if sources[i] not in sources[groups != groups[i]] and elsewhere.any():
                weight = _source_weights(_chosen(some, elsewhere))
                widths.append(_quantile(without_source[elsewhere], weight, 0.8))
        if widths:
            inside[i] = errors[i] <= max(widths)
    return inside


def _chosen(some: list[Case], mask: np.ndarray) -> list[Case]:
    return [case for case, taken in zip(some, mask, strict=True) if taken]


def _quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """The conformal one: what comes next is one value more, and may be the largest (Vovk et al. 2005)."""
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / (weights.sum() + weights.mean())
    return float(values[order][min(int(np.searchsorted(share, level)), len(values) - 1)])


def as_toml(parameters: dict[str, float], effects: dict[str, float], widths: dict[str, float], some: list[Case]) -> str:
    """The calibration as the file that ships."""
    sources = sorted({case.source for case in some})
    lines = [
        "# Fitted coefficients of training time. Written by: python -m benchmarks.planner_accuracy.fit_training",
        "# parameters: natural logarithms; their meaning is in aether/planning/training/step.py. effects: mean of what the fit",
        "# leaves of log step time in a group, shrunk. interval: quantiles (80 %, and 90 % where named) of absolute log errors",
        "# of fits without the setup, the model, the generation of hardware, or both, or the source (each counting alike), over the",
        "# relative width of the setup (planning/training/calibration.py).",
        'kind = "computed"',
        f'source = "robust fit with priors to {len(some)} published training measurements: NVIDIA Megatron-Bridge, NeMo and Megatron-LM, MosaicML llm-foundry, MaxText; benchmarks/planner_accuracy/fit_training.py"',
        f'as_of = "{datetime.now(UTC).date().isoformat()}"',
        f"sources = {json.dumps(sources)}",
    ]
    for title, table in (("parameters", parameters), ("effects", effects), ("interval", widths)):
        lines += ["", f"[{title}]", *(f"{json.dumps(key)} = {value:.5f}" for key, value in sorted(table.items()))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit, cross-validate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, nargs="+", default=[default_rows("training")])
    parser.add_argument("--out", type=Path, default=TOML)
    given = parser.parse_args()
    some = cases(read_rows(given.rows))
    parameters = fit(some)
    effects = residuals_by_group(some, parameters)
    observed = np.array([case.log_step for case in some])
    inside = corrected(some, parameters, effects) - observed
    widths = halfwidths(some, cross_validate(some))
    # What no row speaks of but a publication does is shipped at the mean of its prior.
    published = {name: float(mean) for name, (mean, _) in PRIORS.items() if name.startswith(("linear.", "attention."))}
    given.out.write_text(as_toml(published | parameters, effects, widths, some), encoding="utf-8")
    print(f"{given.out}: {len(some)} rows, median error {100 * np.median(np.abs(np.expm1(inside))):.1f} % where fitted")


if __name__ == "__main__":
    main()
