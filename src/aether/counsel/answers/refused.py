"""Answers that say no: a request that is declined, one that was not understood, and a brief that cannot be met.

Each has its reason and what can be had instead. For a brief that cannot be met that is the arithmetic, by how much, and the
nearest briefs that the same search found feasible.
"""

from collections.abc import Sequence
from typing import Any

from aether.counsel.answers.brief_text import brief_toml
from aether.counsel.answers.draft import Draft, command, items, name, note, paragraph
from aether.counsel.answers.understood import EXAMPLES
from aether.policy.judgement import Judgement
from aether.report.pieces import user
from aether.spec.errors import AetherError, Infeasible
from aether.spec.fleet import Nearby, Shortfall
from aether.spec.report import Block, Cite, Items, Paragraph, Text, text_of

_SOURCE = "planning.search: the bounds and estimates of this brief"


def declined(draft: Draft, judgement: Judgement) -> None:
    """Why, and what Aether helps with instead."""
    draft.section(
        "decision",
        "Decision",
        Paragraph(text=text_of("Aether declines this."), tone="decision"),
        paragraph(user(judgement.sentence)),
    )
    draft.section(
        "instead",
        "What it helps with instead",
        paragraph(f"It does help with {judgement.alternative}."),
        note("If the words were read wrongly, say what the model is for and who uses it."),
    )


def not_understood(draft: Draft) -> None:
    """That nothing was read, and what a question looks like."""
    draft.section(
        "decision",
        "Decision",
        Paragraph(text=text_of("Nothing in these words was understood, so nothing is answered."), tone="decision"),
        paragraph(
            "Say what you want done (serve, pretrain, fine-tune, align, compress, merge, evaluate, compare, build, diagnose, "
            "explain, review), with which model, on which hardware, and what you measure it by. For example:"
        ),
        Items(items=tuple(text_of(command(f'aether ask "{example}"')) for example in EXAMPLES)),
    )


def dual_use(draft: Draft, judgement: Judgement) -> None:
    """Risks, and a layer of each kind against them."""
    layers = judgement.mitigations
    assert layers is not None
    draft.section(
        "dual-use",
        "Dual use",
        paragraph("This can serve good and bad ends (", user(judgement.words), f"). Risks: {judgement.risks}."),
        items(
            text_of(f"Guardrails: {layers.guardrails}."),
            text_of(f"Monitoring: {layers.monitoring}."),
            text_of(f"Access control: {layers.access_control}."),
        ),
    )


def infeasible(draft: Draft, error: Infeasible, taken: Sequence[str] = ()) -> None:
    """What binds, by how much, the arithmetic, and the nearest feasible briefs with the words that get there."""
    shortfalls = [Shortfall.model_validate(raw) for raw in error.details.get("shortfalls", [])]
    nearest = [*_adapters(draft), *(Nearby.model_validate(raw) for raw in error.details.get("nearest", []))]
    draft.section(
        "decision",
        "Decision",
        Paragraph(
            text=text_of("This cannot be met as it stands. Nothing is proposed that breaks it."), tone="decision"
        ),
        Items(items=tuple(_lack(draft, one) for one in shortfalls))
        if shortfalls
        else Paragraph(text=draft.sentence("refused", str(error), _SOURCE)),
        _by_default(shortfalls, taken),
    )
    draft.section("nearest", "The nearest that can be met", *_offers(draft, nearest))
    draft.section(
        "code",
        "Code",
        paragraph(
            "The brief as it was read; lay a change over it with ", command("aether plan brief.toml --set …"), ":"
        ),
        draft.code("toml", brief_toml(draft.brief)),
    )
    draft.section(
        "uncertain",
        "What is uncertain",
        paragraph(
            "What is called impossible lies below a bound of the data sheet, whatever the software. What is called out of reach "
            "is so by the predictions, whose interval was counted in its favour. Changes were searched along one axis each, "
            "then two at a time; a nearer brief may exist between them."
        ),
    )


def _by_default(shortfalls: Sequence[Shortfall], taken: Sequence[str]) -> Block | None:
    """That what binds is a default, where it is: nobody asked for it."""
    binding = [setting for setting in taken if any(lack.subject in setting for lack in shortfalls)]
    if not binding:
        return None
    return paragraph(
        "You did not ask for ", name(", ".join(binding)), ": it is a default that was taken. State your own bound."
    )


def _adapters(draft: Draft) -> list[Nearby]:
    """The same fine-tuning with adapters, where all weights were to learn: another method, and often the only one that fits."""
    model = draft.brief.model
    if model is None or model.task != "finetune" or model.method != "full":
        return []
    from aether.counsel.fleet import decide

    lighter = draft.brief.model_copy(update={"model": model.model_copy(update={"method": "lora"})})
    try:
        _, plan = decide(lighter)
    except AetherError:
        return []
    change = (
        "train adapters (LoRA) and leave the other weights as they are; what that costs in quality must be measured"
    )
    return [Nearby(axis="several", change=change, settings=("model.method=lora",), decided=plan.decided)]


def _lack(draft: Draft, lack: Shortfall) -> Text:
    how = "physically impossible" if lack.verdict == "impossible" else "not reachable by the predictions"
    head = f"{lack.subject.replace('_', ' ')}: {how}. "
    arithmetic = draft.sentence(f"lack.{lack.subject}", f"{lack.arithmetic}.", _SOURCE)
    if lack.subject == "layout":
        return (*text_of(head), *arithmetic)
    asked = _value(draft, lack, "asked", lack.asked)
    best = _value(draft, lack, "best", lack.best)
    factor = draft.number(
        f"lack.{lack.subject}.factor", lack.factor, "count", "computed", "the larger over the smaller"
    )
    words = (" needed, ", " there") if lack.subject == "memory" else (" asked, ", " at best")
    sized = text_of(asked, words[0], best, words[1], ": a factor of ", factor, f", bound by {lack.binding}. ")
    return (*text_of(head), *sized, *arithmetic)


def _value(draft: Draft, lack: Shortfall, which: str, value: float) -> Cite:
    return draft.number(f"lack.{lack.subject}.{which}", value, lack.unit, "computed", lack.arithmetic)


def _offers(draft: Draft, nearest: list[Nearby]) -> list[Block]:
    if not nearest:
        return [paragraph("No feasible brief was found near this one, along any axis.")]
    found: list[Text] = []
    for one in nearest:
        how: list[Any] = [part for s in one.settings for part in (command(f"--set '{s}'"), " ")]
        change = draft.sentence("nearest", f"{one.change[0].upper()}{one.change[1:]}", _SOURCE)
        found.append((*change, *text_of(" (gives ", name(one.decided), "): ", *how)))
    again = note("Take one with ", command(f"aether ask --follow --set '{nearest[0].settings[0]}'"), ".")
    return [Items(items=tuple(found)), again]
