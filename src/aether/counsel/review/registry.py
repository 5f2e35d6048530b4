"""Rules' checks by id: a check is a function from a document, or from one object's settings, to the places that break the rule."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aether.counsel.review.documents import Document, Setting, Settings
from aether.spec.review import Edit


@dataclass(frozen=True)
class Hit:
    """A place that breaks a rule, what is wrong there, and the edit that mends it."""

    line: int
    message: str
    column: int = 1
    edit: Edit | None = None


OnDocument = Callable[[Document], Iterator[Hit]]
OnSettings = Callable[[Settings, Document], Iterator[Hit]]
DOCUMENT_CHECKS: dict[str, OnDocument] = {}
SETTINGS_CHECKS: dict[str, tuple[frozenset[str], OnSettings]] = {}


def on_document(rule: str) -> Callable[[OnDocument], OnDocument]:
    """Register a check of whole files."""

    def register(check: OnDocument) -> OnDocument:
        assert rule not in DOCUMENT_CHECKS and rule not in SETTINGS_CHECKS, rule
        DOCUMENT_CHECKS[rule] = check
        return check

    return register


def on_settings(rule: str, *kinds: str) -> Callable[[OnSettings], OnSettings]:
    """Register a check of every object of these kinds."""

    def register(check: OnSettings) -> OnSettings:
        assert rule not in DOCUMENT_CHECKS and rule not in SETTINGS_CHECKS, rule
        SETTINGS_CHECKS[rule] = (frozenset(kinds), check)
        return check

    return register


def at(setting: Setting, message: str, edit: Edit | None = None) -> Hit:
    """A hit at a setting."""
    return Hit(setting.line, message, setting.column, edit)
