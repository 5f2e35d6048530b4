"""What can be said while something is still open: the model's size, what it weighs in each format, what the devices hold; of a merge
its methods."""

from aether.counsel.answers.draft import Draft, name, note, table
from aether.counsel.answers.facts import STORED, cache_of, described, device_memory, weights_in
from aether.knowledge.library import device
from aether.models.accounting import training_flops_per_token
from aether.planning.search.problem import SEQUENCE_TOKENS, architecture_of
from aether.spec.architecture import Architecture
from aether.spec.report import Block, Text, text_of

_CONTEXT_TOKENS = 8192
"""The length at which a cache is shown (chosen)."""


def _training(draft: Draft, called: str, architecture: Architecture) -> list[Block]:
    """The work of a training run, and the time that the devices need for it at their peak rate: no run is faster."""
    brief = draft.brief
    model, hardware = brief.model, brief.hardware
    if model is None or model.tokens is None:
        return []
    flops = training_flops_per_token(architecture, model.sequence_tokens or SEQUENCE_TOKENS) * model.tokens
    work = draft.number(
        f"partial.{called}.flops", flops, "FLOP", "computed", "FLOP of forward and backward passes * tokens"
    )
    rows: list[list[Text]] = [[text_of("training"), text_of(work)]]
    if hardware is not None and hardware.name != "this-machine":
        for on in map(device, hardware.names):
            rate = on.flops_per_s.get("bfloat16")
            if rate is None:
                continue
            count = hardware.count_of(on.name)
            source = f"FLOP / ({count} * {rate:g} FLOP/s of the data sheet in bfloat16): no run is faster"
            least = draft.number(f"partial.{called}.{on.name}.least", flops / rate / count, "s", "computed", source)
            rows.append([text_of("least time on ", name(f"{count} {on.name}")), text_of(least)])
    return [table(("the training", ""), rows)]


def what_can_be_said(draft: Draft) -> None:
    """Facts of the named model and devices, or the ways to merge; nothing where none is named."""
    brief, blocks = draft.brief, list[Block]()
    if draft.request.intent == "merge":
        from aether.counsel.answers import merge

        draft.section("already", "What can be said already", *merge.options(draft, None, 2))
        return
    if brief.model is not None and brief.model.name is not None:
        called, architecture = architecture_of(brief.model.name)
        part = described(draft, called, architecture)
        rows: list[list[Text]] = [
            [text_of(label.replace("_", " ")), getattr(part, label)] for label in type(part).model_fields
        ]
        trains = draft.request.intent in ("pretrain", "continue", "finetune", "align")
        forms = list(STORED)[: 1 if trains else None]  # no number format of serving, and no cache, decides a training
        rows += [[text_of(f"weights in {form}"), weights_in(draft, called, architecture, form)] for form in forms]
        if not trains:
            tokens = draft.number(
                "partial.context", _CONTEXT_TOKENS, "token", "assumed", "a length chosen for this table"
            )
            rows.append([text_of("cache of ", tokens), cache_of(draft, called, architecture, _CONTEXT_TOKENS)])
        blocks.append(table(("the model", ""), rows))
        blocks += _training(draft, called, architecture)
    if brief.hardware is not None and brief.hardware.name != "this-machine":
        rows = [[text_of(name(each)), device_memory(draft, device(each))] for each in brief.hardware.names]
        blocks.append(table(("device", "memory"), rows))
    if blocks:
        blocks.append(
            note(
                "Weights, gradients, states and activations must fit; speed and cost wait for the answers."
                if draft.request.intent in ("pretrain", "continue", "finetune", "align")
                else "Weights, cache and about two gigabytes of runtime must fit; speed and cost wait for the answers."
            )
        )
        draft.section("already", "What can be said already", *blocks)
