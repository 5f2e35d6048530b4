"""What a tool gives to a client that is a program: a status, text for reading, typed data, and open questions as data.

An error that a person could act on is a reply too, with the words and the details of `spec.errors`, so that a client needs no
second way to hear "needs input", "infeasible" or "declined". Our own bugs stay exceptions.
"""

from typing import Any, Generic, TypeVar

from aether.spec.base import Noun
from aether.spec.brief import Question
from aether.spec.errors import AetherError
from aether.spec.evidence import Evidence

Data = TypeVar("Data", bound=Noun)


class Reply(Noun, Generic[Data]):
    """The result of one tool."""

    status: str
    """done, started, running, needs_input, bad_input, infeasible, declined, busy, environment, damaged."""
    text: str
    """For reading, in Markdown. Numbers in it stand in `data` or `evidence`."""
    questions: tuple[Question, ...] = ()
    """What must be answered first, each with its reason and a default that may be accepted."""
    details: dict[str, Any] = {}
    """Of an error: field, value and mend; or the shortfalls and the nearest feasible briefs."""
    data: Data | None = None
    evidence: tuple[Evidence, ...] = ()
    """Every number that the text says, with its source."""


def compact(reply: dict[str, Any]) -> dict[str, Any]:
    """A reply as data without what it says twice or not at all: the footnotes of its text, each of which stands in `evidence` under
    its number, and what is empty."""
    text, mark, _ = reply["text"].rpartition("\n## Evidence\n")
    if mark and reply.get("evidence"):
        reply = reply | {"text": f"{text.rstrip()}\n\nFootnote n is the n-th of `evidence`.\n"}
    return {"status": reply["status"], "text": reply["text"]} | _filled(reply)


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _filled(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [], {})}
    return [_filled(item) for item in value] if isinstance(value, list) else value


def of_error(error: AetherError) -> dict[str, Any]:
    """The fields of the `Reply` that says an error."""
    details = dict(error.details)
    asked = tuple(Question.model_validate(raw) for raw in details.pop("questions", ()))
    text = str(error)
    for question in asked:
        default = f" Default: {question.default}." if question.default else ""
        text += f"\n- {question.field}: {question.text} ({question.why}.{default})"
    return {"status": error.status, "text": text, "questions": asked, "details": details}
