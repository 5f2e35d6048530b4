"""One question about size, tokens and loss, answered by the published laws: of a model, or of a compute budget.

A model and its tokens: the loss to expect, beside what the same compute would reach at the size that suits it best. A
budget alone: that size. With `inference_tokens` the size that is cheapest over the model's life, with `unique_tokens` what
repeating is worth. The loss is of the law's own data and tokenizer (`allocation` says what carries over).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aether.models.accounting import parameters
from aether.planning.scaling import allocation
from aether.planning.scaling.allocation import Allocation
from aether.planning.scaling.mixtures import mixture_of_experts
from aether.spec.architecture import Architecture, Experts
from aether.spec.errors import InputError
from aether.spec.plan import Estimate
from aether.spec.units import humanize, parse_quantity

FIELDS = ("tokens", "training_flops", "inference_tokens", "unique_tokens")


@dataclass(frozen=True)
class SizeAnswer:
    """What is asked about in words, the estimates (the most important first), and what they do not hold for."""

    subject: str
    estimates: tuple[Estimate, ...]
    notes: tuple[str, ...]


def size_answer(model: tuple[str, Architecture] | None, settings: Sequence[str]) -> SizeAnswer:
    """The numbers for `model` (its name and architecture) or, with None, for a budget of `training_flops`.

    Raises InputError for an unknown field, a number that is none, or a question with too little in it.
    """
    given = _read(settings)
    if model is None:
        return _of_budget(given)
    name, architecture = model
    if "tokens" not in given:
        raise InputError.of("tokens", None, f"say how many {name} trains on: --set tokens=15T")
    if "training_flops" in given:
        mend = "a model and its tokens fix the compute: leave one of the three out"
        raise InputError.of("training_flops", given["training_flops"], mend)
    return _of_model(name, architecture, given)


def _read(settings: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or name not in FIELDS:
            raise InputError.of("--set", setting, f"write FIELD=VALUE with one of {', '.join(FIELDS)}")
        found[name] = parse_quantity(text, "count", name)
        if found[name] <= 0:
            raise InputError.of(name, text, "give a number above 0")
    if {"inference_tokens", "unique_tokens"} <= found.keys():
        mend = "they are answered by laws fitted to different text: ask with one of the two at a time"
        raise InputError.of("unique_tokens", found["unique_tokens"], mend)
    return found


def _of_budget(given: Mapping[str, float]) -> SizeAnswer:
    flops = given.get("training_flops")
    if flops is None:
        mend = "name a model and its tokens, or give a budget: --set training_flops=1e23"
        raise InputError.of("training_flops", None, mend)
    if "tokens" in given:
        raise InputError.of("tokens", given["tokens"], "without a model the law chooses them: leave them out")
    best = allocation.compute_optimal(flops)
    found = [*_named(best), *_others(flops)]
    notes = list(best.notes)
    if "inference_tokens" in given:
        notes += _life(best, given["inference_tokens"], found)
    if "unique_tokens" in given:
        limited = allocation.data_constrained(flops, given["unique_tokens"])
        found += _named(limited, "data_limited_")
        notes += limited.notes
    return SizeAnswer(f"{flops:.3g} training FLOP by {best.law}", tuple(found), tuple(dict.fromkeys(notes)))


def _of_model(name: str, architecture: Architecture, given: Mapping[str, float]) -> SizeAnswer:
    counts, tokens = parameters(architecture), given["tokens"]
    subject = f"{name} ({counts.total:,} parameters) on {humanize(tokens, 'token')}"
    mixture = next((g.mlp for g in architecture.groups if isinstance(g.mlp, Experts)), None)
    if mixture is not None:
        loss = mixture_of_experts(float(counts.active), tokens, mixture.count, mixture.active)
        notes = [f"a mixture of {mixture.count} experts, {humanize(counts.active, 'parameter')} active"]
        if loss.value is None:
            notes.append(f"to settle it: {loss.protocol}")
        return SizeAnswer(subject, (loss,), tuple(notes))
    unique_tokens = given.get("unique_tokens")
    if unique_tokens is None:
        own = allocation.predicted_loss(float(counts.total), tokens)
        best = allocation.compute_optimal(_value(own.training_flops))
    else:
        own = allocation.repeating(float(counts.total), tokens, unique_tokens)
        best = allocation.data_constrained(_value(own.training_flops), unique_tokens)
    found = [own.loss, own.training_flops, *_named(best, "compute_optimal_")]
    notes = [*own.notes, *best.notes]
    ratio = tokens / counts.total
    best_ratio = _value(best.tokens) / _value(best.parameters)
    notes.append(f"{ratio:.3g} tokens per parameter, where {best_ratio:.3g} make the most of the training compute")
    if "inference_tokens" in given:
        notes += _life(own, given["inference_tokens"], found)
    return SizeAnswer(f"{subject} by {own.law}", tuple(found), tuple(dict.fromkeys(notes)))


def _life(reached: Allocation, inference_tokens: float, found: list[Estimate]) -> tuple[str, ...]:
    """Adds the size that reaches the same loss for the least compute of training and service; returns its notes."""
    whole = allocation.inference_aware(_value(reached.loss), inference_tokens)
    found += _named(whole, "cheapest_over_life_")
    return whole.notes


def _named(one: Allocation, prefix: str = "") -> list[Estimate]:
    each = (one.parameters, one.tokens, one.loss)
    return [estimate.model_copy(update={"metric": prefix + estimate.metric}) for estimate in each]


def _others(flops: float) -> list[Estimate]:
    """What other published laws say of the same budget, each under its law's name."""
    found = allocation.optimum_by_law(flops)
    return [e.model_copy(update={"metric": f"{e.metric} by law {place}"}) for place, e in enumerate(found, 1)]


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value
