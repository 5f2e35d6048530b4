"""How well requests are read: every field of hand-labelled requests against what the reader made of it.

A label is a line of JSON: `text`, `earlier` (texts before it), and the expected fields under the names of `fields_of`; what is not
named is expected not to be read. `unread` holds words that some unread part must contain. Not scored: intended_use, modality and
task, which follow from the rest or are the person's own words.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aether.counsel.reading.request import read_request
from aether.spec.answer import Request
from aether.spec.errors import InputError

_LOAD = ("requests_per_s", "prompt_tokens", "output_tokens")
_MODEL = ("tokens", "sequence_tokens", "batch_tokens")


@dataclass(frozen=True)
class Miss:
    """A field that was not read as labelled."""

    text: str
    field: str
    expected: Any
    found: Any


@dataclass(frozen=True)
class Score:
    """Fields that were right, of all that were expected or read."""

    right: dict[str, int]
    all: dict[str, int]
    misses: tuple[Miss, ...]

    @property
    def accuracy(self) -> float:
        """Share of fields that are right."""
        return sum(self.right.values()) / max(1, sum(self.all.values()))


def fields_of(request: Request) -> dict[str, Any]:
    """What is scored of a request, flat. Targets are fields of their own, "target ttft_p99"."""
    brief = request.brief
    found: dict[str, Any] = {"intent": request.intent}
    if brief.model is not None:
        found["models"] = sorted(n for n in (brief.model.name, *brief.model.others) if n)
        found |= {name: getattr(brief.model, name) for name in _MODEL}
        found["formats"] = sorted(brief.model.formats)
        found["method"] = brief.model.method if brief.model.method != "full" else None
    if brief.hardware is not None:
        found["hardware"] = sorted(brief.hardware.names)
        found["count"] = brief.hardware.count if "count" in brief.hardware.model_fields_set else None
        found |= {f"count of {name}": count for name, count in brief.hardware.counts.items()}
        found["price"] = brief.hardware.price_usd_per_hour
        found |= {f"price of {name}": price for name, price in brief.hardware.prices_usd_per_hour.items()}
    if "load" in brief.model_fields_set:
        found |= {name: getattr(brief.load, name) for name in _LOAD if name in brief.load.model_fields_set}
    found |= {f"target {t.metric}": t.value for t in brief.targets}
    found |= {
        "methods": sorted(request.methods),
        "topics": sorted(request.topics),
        "subjects": sorted(request.subjects),
    }
    if "quality_loss_bound" in brief.model_fields_set:
        found["quality_loss_bound"] = brief.quality_loss_bound
    found |= {"sources": sorted(brief.data.sources), "contradiction": bool(request.contradictions)}
    return {name: value for name, value in found.items() if value not in (None, [], False)}


def score(labels: Iterable[dict[str, Any]]) -> Score:
    """Read every labelled request, and count."""
    right: dict[str, int] = {}
    every: dict[str, int] = {}
    misses: list[Miss] = []
    for label in labels:
        request: Request | None = None
        for text in (*label.get("earlier", ()), label["text"]):
            request = read_request(text, request)
        assert request is not None
        for field, expected, found in _pairs(label, request):
            name = field.split()[0]
            every[name] = every.get(name, 0) + 1
            if _same(expected, found):
                right[name] = right.get(name, 0) + 1
            else:
                misses.append(Miss(label["text"], field, expected, found))
    return Score(right, every, tuple(misses))


def _pairs(label: dict[str, Any], request: Request) -> Iterable[tuple[str, Any, Any]]:
    wanted = {k: v for k, v in label.items() if k not in ("text", "earlier", "targets", "unread")}
    wanted = {k: sorted(v) if isinstance(v, list) else v for k, v in wanted.items()}
    wanted |= {f"target {metric}": value for metric, value in label.get("targets", {}).items()}
    found = fields_of(request)
    for field in dict.fromkeys([*wanted, *found]):
        yield field, wanted.get(field), found.get(field)
    for words in label.get("unread", ()):
        yield "unread", words, next((said for said in request.unread if words.lower() in said.lower()), None) and words


def _same(expected: Any, found: Any) -> bool:
    if isinstance(expected, int | float) and isinstance(found, int | float) and not isinstance(expected, bool):
        return math.isclose(expected, found, rel_tol=1e-3)
    return expected == found


def read_labels(path: Path) -> list[dict[str, Any]]:
    """The labelled requests in a file. Raises InputError naming the line that is none."""
    labels = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label = json.loads(line)
            assert isinstance(label["text"], str)
        except (json.JSONDecodeError, KeyError, TypeError, AssertionError) as error:
            raise InputError.of(f"line {number}", line[:80], 'write {"text": ..., "intent": ..., ...}') from error
        labels.append(label)
    return labels


def table(result: Score) -> str:
    """Accuracy by field, and every miss."""
    lines = [f"{'field':16} {'right':>5} {'of':>5}"]
    lines += [f"{name:16} {result.right.get(name, 0):5} {count:5}" for name, count in sorted(result.all.items())]
    lines.append(f"{'all':16} {sum(result.right.values()):5} {sum(result.all.values()):5}  {result.accuracy:.1%}")
    lines += [f"- {m.text[:90]!r}: {m.field}: expected {m.expected!r}, read {m.found!r}" for m in result.misses]
    return "\n".join(lines)
