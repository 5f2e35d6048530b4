"""What a request for harm is made of: concepts, contexts, rules and answers, from the four `misuse_*.toml` beside it.

The words are our own and assumed; `docs/policy.md` says how well they do. Nothing is judged here: `aether.policy` does.
"""

import functools

from pydantic import Field, model_validator

from aether.knowledge.tables import table
from aether.spec.base import Noun


class HarmRow(Noun):
    """Why a harm is refused, and what is offered instead; both end a sentence."""

    name: str
    sentence: str
    alternative: str


class RuleRow(Noun):
    """Patterns of concepts that state a harm, and the contexts that excuse them."""

    harm: str
    patterns: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...]


class DualUseRow(Noun):
    """A subject that serves good and bad ends: its risks, and a layer of each kind that lowers them."""

    name: str
    patterns: tuple[str, ...] = Field(min_length=1)
    risks: str
    guardrails: str
    monitoring: str
    access_control: str


class Misuse(Noun):
    """All of it. A name that nothing defines does not load."""

    concepts: dict[str, tuple[str, ...]]
    harms: tuple[HarmRow, ...]
    rules: tuple[RuleRow, ...]
    dual_uses: tuple[DualUseRow, ...]

    @model_validator(mode="after")
    def _names_are_known(self) -> "Misuse":
        named = {name for rule in self.rules for name in rule.unless}
        for row in (*self.rules, *self.dual_uses):
            for pattern in row.patterns:
                named |= {name for element in pattern.split()[::2] for name in element.split("|")}
        if unknown := named - set(self.concepts):
            raise ValueError(f"rules name concepts that have no words: {', '.join(sorted(unknown))}")
        if unknown := {rule.harm for rule in self.rules} ^ {harm.name for harm in self.harms}:
            raise ValueError(f"harms without rules, or the reverse: {', '.join(sorted(unknown))}")
        return self


_WORDS = ("misuse_words.toml", "misuse_harms.toml", "misuse_research.toml")


@functools.cache
def misuse() -> Misuse:
    """The concepts, rules and answers."""
    rules = table("misuse_rules.toml")
    return Misuse.model_validate(
        {
            "concepts": {k: v for name in _WORDS for k, v in table(name)["words"].items()},
            "harms": rules["harm"],
            "rules": rules["rule"],
            "dual_uses": rules["dual_use"],
        }
    )
