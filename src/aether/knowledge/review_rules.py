"""The rules of `aether review`, as rows: what each looks for, why it matters, where that is from, a bad and a good example.

The examples are the rules' tests: the bad one is found by exactly this rule's id, the good one is not. The checks themselves are
functions of `counsel.review`.
"""

import functools

from pydantic import Field

from aether.knowledge.sourced import Sourced
from aether.knowledge.tables import FOLDER, table
from aether.spec.review import Severity


class Rule(Sourced):
    """One rule. `name` is its id."""

    name: str = Field(pattern=r"^AE\d{3}$")
    title: str
    severity: Severity
    why: str
    fixes: bool = False
    """Whether `--fix` mends it."""
    file: str
    """The file name of both examples."""
    bad: str
    good: str


@functools.cache
def rules() -> dict[str, Rule]:
    """Id -> rule, in the order of ids."""
    found: dict[str, Rule] = {}
    for file in sorted((FOLDER / "review").glob("*.toml")):
        for row in table("review", file.name)["rule"]:
            rule = Rule.model_validate({"name": row.pop("id"), **row})
            assert rule.name not in found, f"{rule.name} stands twice"
            found[rule.name] = rule
    return dict(sorted(found.items()))
