"""Checks of mergekit's configurations, models by name or by slices of layers."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from aether.counsel.review.documents import Document, Settings
from aether.counsel.review.known_models import known_model
from aether.counsel.review.registry import Hit, at, on_settings


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_METHODS = {"linear", "slerp", "nuslerp", "multislerp", "task_arithmetic", "ties", "dare_ties", "dare_linear", "breadcrumbs", "breadcrumbs_ties", "model_stock", "della", "della_linear", "passthrough", "nearswap", "arcee_fusion", "karcher", "sce", "core_space", "ram", "ramplus_tl"}  # fmt: skip


def _models(settings: Settings) -> list[dict[str, Any]]:
    given = settings.get("models")
    return [m for m in given if isinstance(m, dict)] if isinstance(given, list) else []


def _slices(settings: Settings) -> list[list[dict[str, Any]]]:
    """The sources of each slice."""
    given = settings.get("slices")
    listed = [s.get("sources") for s in given if isinstance(s, dict)] if isinstance(given, list) else []
    return [[one for one in sources if isinstance(one, dict)] for sources in listed if isinstance(sources, list)]


def _parameter(model: dict[str, Any], name: str) -> Any:
    parameters = model.get("parameters")
    return parameters.get(name) if isinstance(parameters, dict) else None


def _method(settings: Settings) -> str | None:
    """The method that is meant: one that is misspelt is taken for the nearest, so that the rest is looked at too."""
    given = settings.get("merge_method")
    if not isinstance(given, str) or given in _METHODS:
        return given
    return next(iter(difflib.get_close_matches(given, _METHODS, n=1, cutoff=0.8)), given)


@on_settings("AE340", "mergekit")
def _unknown_method(settings: Settings, document: Document) -> Iterator[Hit]:
    method, meant = settings.get("merge_method"), _method(settings)
    if isinstance(method, str) and method not in _METHODS:
        near = f"; {meant} is" if meant != method else ""
        yield at(settings.at("merge_method"), f"merge_method {method} is none of mergekit's{near}")


@on_settings("AE341", "mergekit")
def _no_base(settings: Settings, document: Document) -> Iterator[Hit]:
    method = _method(settings)
    if method in (
        "ties",
        "dare_ties",
        "dare_linear",
        "task_arithmetic",
        "breadcrumbs",
        "breadcrumbs_ties",
        "della",
        "della_linear",
        "model_stock",
        "sce",
    ) and not settings.has("base_model"):
        yield at(settings.at("merge_method"), f"{method} without base_model: it merges differences to a base")


@on_settings("AE342", "mergekit")
def _no_density(settings: Settings, document: Document) -> Iterator[Hit]:
    method = _method(settings)
    if method in ("ties", "dare_ties", "dare_linear", "della", "della_linear") and _models(settings):
        given = [_parameter(m, "density") for m in _models(settings)]
        if not settings.has("parameters.density") and all(d is None for d in given):
            yield at(settings.at("merge_method"), f"{method} without density: nothing is trimmed")
        for density in given:
            if (number := _number(density)) is not None and not 0 < number <= 1:
                yield at(
                    settings.at("models"), f"density = {number:g}: it is the share that is kept, above 0 and at most 1"
                )


@on_settings("AE343", "mergekit")
def _weights(settings: Settings, document: Document) -> Iterator[Hit]:
    weights = [_number(_parameter(m, "weight")) for m in _models(settings)]
    known = [w for w in weights if w is not None]
    if (
        settings.get("merge_method") == "linear"
        and len(known) == len(weights) > 1
        and abs(sum(known) - 1) > 0.01
        and settings.get("parameters.normalize") is False
    ):
        yield at(settings.at("models"), f"weights sum to {sum(known):g}, and normalize is off")


@on_settings("AE344", "mergekit")
def _two_models(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.get("merge_method") != "slerp":
        return
    for models in [_models(settings), *_slices(settings)]:
        if models and len(models) != 2:
            yield at(settings.at("models", "slices"), f"slerp of {len(models)} models: it takes two")
    t = settings.get("parameters.t")
    if t is None and "t:" not in document.text:
        yield at(settings.at("merge_method"), "slerp without parameters.t")
    if (number := _number(t)) is not None and not 0 <= number <= 1:
        yield at(settings.at("parameters.t"), f"t = {number:g}: it lies between 0 and 1")


@on_settings("AE345", "mergekit")
def _half_dtype(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.get("dtype") == "float16" and re.search(r"llama-?3|qwen|gemma|mistral", document.text, re.I):
        yield at(settings.at("dtype"), "dtype float16 for models that were trained in bfloat16")


@on_settings("AE346", "mergekit")
def _other_shapes(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.get("merge_method") == "passthrough":
        return
    named = [*_models(settings), *(one for sources in _slices(settings) for one in sources)]
    names = [m.get("model") for m in named] + [settings.get("base_model")]
    models = [m for n in names if isinstance(n, str) and (m := known_model(n)) is not None]
    shapes = {(m.hidden, m.layers) for m in models}
    if len(shapes) > 1:
        said = ", ".join(dict.fromkeys(f"{m.name} ({m.layers} layers of {m.hidden})" for m in models))
        yield at(settings.at("models", "slices", "base_model"), f"models of different shapes: {said}")
    vocabularies = {m.vocabulary for m in models}
    if len(shapes) == 1 and len(vocabularies) > 1 and not settings.has("tokenizer_source", "tokenizer"):
        yield at(settings.at("models", "slices"), "models with different vocabularies, and no tokenizer_source")


@on_settings("AE347", "mergekit")
def _beyond_the_layers(settings: Settings, document: Document) -> Iterator[Hit]:
    for one in (one for sources in _slices(settings) for one in sources):
        name, span = one.get("model"), one.get("layer_range")
        model = known_model(name) if isinstance(name, str) else None
        last = _number(span[1]) if isinstance(span, list) and len(span) == 2 else None
        if model is not None and last is not None and last > model.layers:
            yield at(settings.at("slices"), f"layer_range up to {last:g}, but {model.name} has {model.layers} layers")
