"""A brief as the TOML that `aether plan` and `aether build` read: what was read from free text, ready to be kept and changed.

Only what was given is written. Reading it again gives the same brief (a test holds it to that).
"""

import json
from typing import Any

from aether.spec.brief import Brief, Target
from aether.spec.errors import InputError


def brief_toml(brief: Brief) -> str:
    """The brief as a TOML document."""
    given = brief.model_dump(mode="json", exclude_unset=True)
    targets = given.pop("targets", [])
    tables = {key: value for key, value in given.items() if isinstance(value, dict) and value}
    lines = [f"{key} = {_value(value)}" for key, value in given.items() if _written(value)]

    if targets:
        lines.append(f"targets = {_value([target_text(t) for t in brief.targets])}")
    for key, value in tables.items():
        rows = _joined(value)
        if rows:
            lines += ["", f"[{key}]", *(f"{name} = {_value(each)}" for name, each in rows.items())]
    return "\n".join(lines).strip() + "\n"


def target_text(target: Target) -> str:
    """A target as a person writes it, exact where rounding would change it."""
    text = str(target).replace(",", "")
    try:
        same = Target.model_validate(text) == target
    except InputError:  # what is for eyes alone
        same = False
    return text if same else f"{target.metric} {target.comparison} {target.value!r} {target.unit}"


def raw_brief(brief: Brief) -> dict[str, Any]:
    """The brief as a file would hold it, for settings to be laid over it."""
    given = brief.model_dump(mode="json", exclude_unset=True)
    given = {key: _joined(value) if isinstance(value, dict) else value for key, value in given.items()}
    if "targets" in given:
        given["targets"] = [target_text(target) for target in brief.targets]
    return {key: value for key, value in given.items() if value is not None}


def _joined(section: dict[str, Any]) -> dict[str, Any]:
    """A section as it is written: several names are one list."""
    rows = {name: each for name, each in section.items() if _written(each) or isinstance(each, dict)}
    others = rows.pop("others", None)
    if others:
        rows["name"] = [rows["name"], *others]
    return {name: each for name, each in rows.items() if each not in ({}, [])}


def _written(value: Any) -> bool:
    return value is not None and not isinstance(value, dict)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
