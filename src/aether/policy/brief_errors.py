"""From pydantic's errors, and ours, to sentences: each names the field, the value and the mend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError

from aether.spec.errors import InputError

_SHOWN_CHARACTERS = 80

_MENDS = {
    "string_type": "write text",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "int_parsing_size": "use a smaller number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "bool_parsing": "write true or false",
    "finite_number": "write a finite number",
    "model_type": "write a table",
    "tuple_type": "write a list",
    "list_type": "write a list",
    "dict_type": "write a table",
    "missing": "give it a value",
    "extra_forbidden": "no such field; remove it",
    "literal_error": "use one of {expected}",
    "greater_than": "write a number above {gt}",
    "greater_than_equal": "write a number of at least {ge}",
    "less_than": "write a number below {lt}",
    "less_than_equal": "write a number of at most {le}",
    "string_pattern_mismatch": (
        "use lower-case letters, digits, dots, hyphens and underscores, a letter or digit first, at most 64 in all"
    ),
}
"""pydantic's error type -> what the person does about it. A type that is not here keeps pydantic's own words."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a brief."""

    field: str
    value: Any
    mend: str

    @classmethod
    def of_error(cls, error: InputError, field: str) -> "Problem":
        """The problem that an InputError already names."""
        details = error.details
        return cls(details.get("field", field), Shown(details.get("value", "")), details.get("mend", str(error)))

    @property
    def shown(self) -> str:
        """The value, short enough for a sentence."""
        text = self.value.text if isinstance(self.value, Shown) else _safe_repr(self.value)
        return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."

    def __str__(self) -> str:
        return f"{self.field} = {self.shown}: {self.mend}"


@dataclass(frozen=True)
class Shown:
    """A value that is written out already."""

    text: str


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def of_validation(error: ValidationError, prefix: str) -> list[Problem]:
    """One problem per field that pydantic complains about."""
    problems = []
    for item in error.errors(include_url=False):
        parts = [str(part) for part in ((prefix, *item["loc"]) if prefix else item["loc"])]
        field = ".".join(parts) or "brief"
        mend = _MENDS.get(item["type"], item["msg"]).format(**item.get("ctx", {}))
        # What is missing has no value; pydantic hands over the whole table around it.
        value = Shown("nothing") if item["type"] == "missing" else item["input"]
        problems.append(Problem(field, value, mend))
    return problems


def raise_all(source: str, problems: Sequence[Problem]) -> NoReturn:
    """One InputError for all the problems, in the order in which they were found."""
    unique = list({(p.field, p.shown): p for p in problems}.values())
    listed = [{"field": p.field, "value": p.shown, "mend": p.mend} for p in unique]
    text = "; ".join(str(p) for p in unique)
    raise InputError(f"{source}: {text}", file=source, problems=listed, **listed[0])
