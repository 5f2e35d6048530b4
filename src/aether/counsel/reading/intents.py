"""What a person wants done, from verbs that ask for it, words that go with it, methods and quantities. Scores are small whole numbers.

A verb that is negated does not count. Where two intents stand level, the one whose verb comes first is taken.
"""

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files

from aether.counsel.reading.methods import Named
from aether.counsel.reading.text import Span, Text, negated
from aether.spec.answer import Intent

_VERB, _HINT, _METHOD = 6, 2, 2
_CHOICE = 12
_FIRST = 2
"""More for the verb that comes first (assumed, as all scores)."""
_OWN = re.compile(r"\b(?:my|our|his|her|their|the|this|that|your)\s+(?:[\w.-]+\s+)?$")
"""Before "fine-tune" it makes a thing of it that is there already."""
_MODELLED = re.compile(
    r"\b(?:models?|networks?|lms?|llms?|slm|transformers?|auto-?complet\w*|complet\w*|classif\w*|predict\w*|generators?|chat-?bots?|bots?|assistants?|embedd\w*|tokeni[sz]er|language|neural|ai|gpt)\b"
)
"""What can be built here."""
_TECHNICAL = re.compile(
    r"\b(?:gpus?|apis?|endpoints?|inference|tokens?|rps|qps|req\w*|queries|ttft|tpot|latency|p\d\d|throughput|vllm|sglang|train\w*|weights?|quanti\w+|checkpoints?|ckpts?|kv|cache|batch\w*|"
    r"fine-?tun\w*|parallel\w*|attention|runs|concurrent|deploy\w*|host\w*|cluster|node|fp\d+|b200|users|optimi\w+)\b|[\w.-]+/[\w./-]+"
)
"""Words of the trade: without one of them, "serve" and "compare" may be of anything."""
_TURNS: dict[Intent, str] = {
    "finetune": r"\bteach\s+(?!me\b|us\b|yourself\b)[\w.-]*\d",
    "merge": r"\baverage\b.{1,30}\b(?:checkpoints?|weights|models)\b",
    "evaluate": r"\bcontaminat\w*|\btell\b.{1,50}\bapart\b|\bbetter than (?:the|its) base\b|\bevaluate (?:both|them)\b",
    "review": r"\bis (?:this|my|our|the)\b.{1,30}\b(?:ok|okay|right|correct|fine|sane)\b",
    "compress": r"\bmake\b.{1,40}\bfit\b|\b(?:get|bring)\b.{1,40}\b(?:under|below|into)\s*\d+\s*g|\b(?:int4|int8|fp8|nvfp4|4-bit|8-bit)\s+(?:weights|version|checkpoint|quants?)\b",
    "diagnose": r"\bwhat(?:'s| is) wrong\b",
}
"""Turns of speech that hold other words between theirs."""
_OF_FAMILY: dict[str, Intent] = {
    "finetune": "finetune",
    "align": "align",
    "compress": "compress",
    "merge": "merge",
    "evaluate": "evaluate",
}


@dataclass(frozen=True)
class Wanted:
    """An intent and the words that showed it."""

    intent: Intent
    span: Span | None


@dataclass(frozen=True)
class Signs:
    """What else the text has: a load or a latency, tokens to learn from, a known model, a technique."""

    traffic: bool
    training: bool
    model: bool
    methods: bool
    choice: bool = False
    """Two of a kind stand side by side as a question: "A or B?"."""
    here: bool = False
    """A machine was named."""


@functools.cache
def _table() -> tuple[tuple[Intent, int, str], ...]:
    rows = tomllib.loads(files("aether.knowledge").joinpath("reading", "intents.toml").read_text(encoding="utf-8"))[
        "intent"
    ]
    verbs = [(row["name"], _VERB, words) for row in rows for words in row["verbs"]]
    return (*verbs, *((row["name"], _HINT, words) for row in rows for words in row["hints"]))


def find_intent(text: Text, methods: list[Named], signs: Signs) -> Wanted:
    """The intent, from its words and from what else was read."""
    scores: dict[Intent, int] = {}
    first: dict[Intent, Span] = {}
    seen: list[tuple[int, Intent, Span]] = []
    for intent, weight, words in _table():
        counted = False
        for match in text.phrases(words):
            span = Span(*match.span())
            if (
                intent == "finetune"
                and weight == _VERB
                and _OWN.search(text.plain[: span.start])
                and words.startswith(("fine", "fin"))
            ):
                continue
            if (negated(text, span.start, 2) and intent != "diagnose") or (counted and weight == _HINT):
                continue
            if not counted:
                scores[intent] = scores.get(intent, 0) + (weight if weight == _HINT or intent not in first else 1)
            counted = True
            if weight == _VERB:
                seen.append((span.start, intent, span))
                if intent not in first or span.start < first[intent].start:
                    first[intent] = span
    for intent, pattern in _TURNS.items():
        if re.search(pattern, text.plain):
            scores[intent] = scores.get(intent, 0) + _VERB
    for named in methods:
        if named.wanted and (intent := _OF_FAMILY.get(named.method.family)):
            scores[intent] = scores.get(intent, 0) + _METHOD
    _weigh(text, scores, seen, signs)
    if signs.choice:
        scores["compare"] = scores.get("compare", 0) + _CHOICE
    if "build" in scores and not (any(vars(signs).values()) or _MODELLED.search(text.plain)):
        del scores["build"]  # "make me a sandwich"
    spoken = (
        signs.model
        or signs.methods
        or signs.here
        or signs.training
        or _MODELLED.search(text.plain)
        or _TECHNICAL.search(text.plain)
    )
    for everyday in ("serve", "compare"):
        if not spoken:
            scores.pop(everyday, None)  # dinner; apples and oranges
    if not scores:
        return Wanted("unknown", None)
    best = max(scores, key=lambda i: (scores[i], -(first[i].start if i in first else len(text.plain))))
    return Wanted(best, first.get(best)) if scores[best] >= _METHOD else Wanted("unknown", None)


def _weigh(text: Text, scores: dict[Intent, int], seen: list[tuple[int, Intent, Span]], signs: "Signs") -> None:
    traffic, training, named_model, methods = signs.traffic, signs.training, signs.model, signs.methods

    def add(intent: Intent, score: int) -> None:
        scores[intent] = scores.get(intent, 0) + score

    if seen:
        first = min(seen, key=lambda s: s[0])
        add(first[1], _FIRST)
        if re.search(r"\b(?:and then|then|afterwards|after that)\b", text.plain[first[2].end :]):
            add(first[1], _VERB)  # what comes later is a request of its own
    if traffic:
        add("serve", 5)
        for other in ("build", "explain"):
            if other in scores and "serve" in scores and named_model:
                scores[other] -= 3
    if training:
        later: list[Intent] = [i for i in ("continue", "finetune", "align") if i in scores]
        add(max(later, key=lambda i: scores[i]) if later else "pretrain", 4)
    opening = text.plain.lstrip(" ,.!?-\"'")[:60]
    if (
        re.match(
            r"(?:please |can you |could you |hey,? |hi,? |hello,? )*(?:explain|what is|what's|what are|how does|how do|why does|teach (?:me|us)|tell me|define|eli5|describe)\b",
            opening,
        )
        and not traffic
        and not training
    ):
        add("explain", 3)
    if (
        methods
        and not traffic
        and not training
        and not named_model
        and re.match(r"(?:is|are|should|does|do|when|which|why|how)\b", opening)
    ):
        add("explain", 4)
    if (
        methods
        and re.search(
            r"\b(?:should (?:i|we) (?:use|pick|choose|go with)|choose between|decid(?:e|ing) between|or should)\b",
            text.plain,
        )
        and re.search(r"\b(?:or|and|vs)\b", text.plain)
    ):
        add("compare", 10)
    if re.match(r"(?:please |can you |could you )*(?:compare|which|difference (?:in|between))\b", opening) or re.search(
        r"\b(?:vs\.?|versus)\b", text.plain
    ):
        add("compare", 3)
    _settle(scores, opening, named_model)


def _settle(scores: dict[Intent, int], opening: str, named_model: bool) -> None:
    """Between intents that share their words."""
    if re.match(r"what(?:'s| is) (?:a|the) (?:good|best|right)\b", opening):
        scores["explain"] = scores.get("explain", 0) - 4
    if "continue" in scores and "pretrain" in scores:
        scores["continue"] += scores.pop("pretrain")
    if "build" in scores and named_model and len(scores) > 1:
        scores["build"] -= 4
    if (
        "diagnose" in scores
        and scores["diagnose"] >= _VERB
        and {"pretrain", "finetune", "continue", "align"} & set(scores)
    ):
        scores["diagnose"] += 3
