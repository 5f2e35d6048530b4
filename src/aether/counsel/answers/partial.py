"""What can be said while something is still open: the model's size, what it weighs in each format, and what the devices hold."""

from aether.counsel.answers.draft import Draft, name, note, table
from aether.counsel.answers.facts import STORED, cache_of, described, device_memory, weights_in
from aether.knowledge.library import device
from aether.planning.search.problem import architecture_of
from aether.spec.report import Block, Text, text_of

_CONTEXT_TOKENS = 8192
"""The length at which a cache is shown (chosen)."""


def what_can_be_said(draft: Draft) -> None:
    """Facts of the named model and devices; nothing where none is named."""
    brief, blocks = draft.brief, list[Block]()
    if brief.model is not None and brief.model.name is not None:
        called, architecture = architecture_of(brief.model.name)
        part = described(draft, called, architecture)
        rows: list[list[Text]] = [
            [text_of(label.replace("_", " ")), getattr(part, label)] for label in type(part).model_fields
        ]
        rows += [[text_of(f"weights in {form}"), weights_in(draft, called, architecture, form)] for form in STORED]
        tokens = draft.number("partial.context", _CONTEXT_TOKENS, "token", "assumed", "a length chosen for this table")
        rows.append([text_of("cache of ", tokens), cache_of(draft, called, architecture, _CONTEXT_TOKENS)])
        blocks.append(table(("the model", ""), rows))
    if brief.hardware is not None and brief.hardware.name != "this-machine":
        rows = [[text_of(name(each)), device_memory(draft, device(each))] for each in brief.hardware.names]
        blocks.append(table(("device", "memory"), rows))
    if blocks:
        blocks.append(
            note("Weights, cache and about two gigabytes of runtime must fit; speed and cost wait for the answers.")
        )
        draft.section("already", "What can be said already", *blocks)
