"""What a person wants done, from verbs that ask for it, words that go with it, methods and quantities. Scores are small whole numbers.

A verb that is negated does not count. Where two intents stand level, the one whose verb comes first is taken.
"""

import functools
import re
from dataclasses import dataclass, field

from aether.counsel.reading.methods import Named
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Span, Text, negated, of_a_name
from aether.counsel.reading.turns import TURNS
from aether.knowledge.tables import table
from aether.spec.answer import Intent

_VERB, _HINT, _METHOD = 6, 2, 2
_CHOICE = 12
_TURN, _ACT = 5, 5
_ACTS = frozenset({"align", "merge", "compress"})
"""Intents that naming their technique asks for, where nothing else is asked."""
_FAINT = frozenset({"serve", "finetune", "build"})
"""Intents whose turns of speech other intents have too."""
_FIRST = 2
_OPENS_WITH = 4
"""More for the verb that opens the text: a command."""
_POLITE = re.compile(
    r"^(?:(?:please|pls|plz|can you|could you|hey|hi|hello|so|ok|okay|help(?: me)?|quick q(?:uestion)?|i (?:want|need|would like) to|we (?:want|need|would like) to|let'?s|gotta)[\s,.:!-]*)+$"
)
_NATS = 0.25
"""What one point of a rule is worth beside the likeness; 0.2 and 0.3 gave the same in five folds, 0.1 less."""
_WORDS_OF_A_NAME = 3
_CERTAIN = 60
_BARE = 6
"""More for the verb that comes first (assumed, as all scores)."""
_OWN = Lazy(r"\b(?:my|our|his|her|their|the|this|that|your)\s+(?:[\w.-]+\s+)?$")
"""Before "fine-tune" it makes a thing of it that is there already."""
_PAST = Lazy(r"\b(?:after|since|during|post|following|on top of|ever since)[\s-]+(?:the |our |my |an? |doing )?$")
"""Before a step it makes it one that was done already."""
_STATE = Lazy(r"\b(?:in|at|as|with)\s+(?:an?\s+)?$")
"""Before a number format it says how a model is, not what is to be done to it."""
_ITS_RUN = Lazy(r"\s+(?:\w+\s+)?(?:runs?|jobs?|training|logs?)\b(?!\s*:)")
"""After a technique it makes a thing of it that is there."""
_DONE = Lazy(
    r"\b(?:after|since|ever since|once|tried|now that)\b[^.;?]{0,30}\w+(?:ing|ed|ation)\b|\b(?:my|our)\s+(?:\w+[- ]){0,2}(?:fine-?tuned|finetuned|quanti[sz]ed|pruned|merged|distilled|trained)\b"
)
"""A step that was done already: what goes wrong then is to be diagnosed."""
_SIGN_OF = Lazy(r"\s+(?:loss|win|scores?|accuracy|acc|curves?|ppl|perplexity|rewards?|metrics?|set|steps?)\b")
"""After "eval" it makes it a part of a name."""
_WE = Lazy(r"\s+(?:i|we|you|one)\b(?!\s+(?:know|tell|interpret|read|think))")
_MINE = Lazy(r"\s+(?:my|our)\b")
_FOR = Lazy(r"\b(?:for|to|when|while|if (?:i|we)|before)\s+$")
_HOW_TO = Lazy(
    r"(?:please |can you |could you |hey,? |hi,? |hello,? |so,? )*(?:tell me |explain (?:to me )?|show me )?(?:how (?:do|can|could|should|would|might|to)\b(?: (?:i|we|you|one|people)\b)?|what(?:'s| is) the \w+ way (?:to|of))\s+(?!use|choose|understand|know|work|pick|decide|think)"
)
"""Asks for the doing of what follows, not for a page about it."""
_LOOK = Lazy(
    r"\b(?:look|glance|peek|eyes?|eyeball|read)\b.{0,15}\b(?:at|on|over|through)\b|\bapprov\w+|\blgtm\b|\bwhat(?:'s| is) off\b|\b(?:mistakes?|problems?|issues?|wrong|errors?|bugs?|red flags?|anti-?patterns?|improv\w+)\b|\bsafe to\b|\bcheck\b|\bsound\b"
)
_LATER = Lazy(r"\b(?:and then|then|afterwards|after that)\b")
_EXPLAINS = Lazy(
    r"(?:please |can you |could you |hey,? |hi,? |hello,? )*(?:explain|what is|what's|what are|how does|how do|why does|teach (?:me|us)|tell me|define|eli5|describe)\b"
)
_QUESTION = Lazy(r"(?:is|are|should|does|do|when|which|why|how)\b")
_CHOOSES = Lazy(r"\b(?:should (?:i|we) (?:use|pick|choose|go with)|choose between|decid(?:e|ing) between|or should)\b")
_COMPARES = Lazy(r"(?:please |can you |could you )*(?:compare|which|difference (?:in|between))\b")
_MODELLED = Lazy(
    r"\b(?:models?|networks?|lms?|llms?|slm|transformers?|auto-?complet\w*|complet\w*|classif\w*|predict\w*|generators?|chat-?bots?|bots?|assistants?|embedd\w*|tokeni[sz]er|language|neural|ai|gpt)\b"
)
"""What can be built here."""
_TECHNICAL = Lazy(
    r"\b(?:gpus?|apis?|endpoints?|inference|tokens?|rps|qps|req\w*|queries|ttft|tpot|latency|p\d\d|throughput|vllm|sglang|train\w*|weights?|quanti\w+|checkpoints?|ckpts?|kv|cache|batch\w*|"
    r"fine-?tun\w*|parallel\w*|attention|runs|concurrent|deploy\w*|host\w*|cluster|node|fp\d+|b200|users|optimi\w+)\b|[\w.-]+/[\w./-]+"
)
"""Words of the trade: without one of them, "serve" and "compare" may be of anything."""
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
    choice: str = ""
    """Of which kind two stand side by side as a question: "A or B?"; empty where none do."""
    here: bool = False
    """A machine was named."""
    files: bool = False
    """A script, a config, a run or a log was named."""
    sources: bool = False
    """A path was named."""
    memory: bool = False
    """A size in bytes that is no device's own."""
    topics: bool = False
    """A topic of `aether explain` was named."""
    opens: bool = True
    """Nothing was asked before."""

    titled: bool = False
    """A topic that is no technique of an intent opens the text: "upcycle a dense model"."""

    def speaks(self) -> bool:
        """Whether any of it was said."""
        return any(value for name, value in vars(self).items() if name not in ("opens", "titled"))


@functools.cache
def _table() -> tuple[tuple[Intent, int, str], ...]:
    rows = table("reading", "intents.toml")["intent"]
    verbs = [(row["name"], _VERB, words) for row in rows for words in row["verbs"]]
    return (*verbs, *((row["name"], _HINT, words) for row in rows for words in row["hints"]))


def find_intent(text: Text, methods: list[Named], signs: Signs, alike: dict[Intent, float]) -> Wanted:
    """The intent, from its words, from what else was read, and from how like the text is to others (`alike`, in nats)."""
    counted = _scored(text, methods, signs)
    scores, first = counted.points, counted.first
    spoken = (
        signs.model
        or signs.sources
        or signs.methods
        or signs.here
        or signs.training
        or _MODELLED.search(text.plain)
        or _TECHNICAL.search(text.plain)
    )
    if not spoken:
        scores.pop("serve", None)  # dinner
        scores.pop("compare", None)  # apples and oranges
    if not signs.opens:
        alike = {}  # a follow-up is like nothing that opens a conversation
    told: set[Intent] = {*alike.keys(), *scores.keys()}
    totals: dict[Intent, float] = {i: alike.get(i, 0.0) + _NATS * scores.get(i, 0) for i in told}
    if not totals:
        return Wanted("unknown", None)
    best = max(totals, key=lambda i: (totals[i], -(first[i].start if i in first else len(text.plain))))
    if not alike and scores.get(best, 0) < _METHOD:
        return Wanted("unknown", None)
    return Wanted(best, first.get(best))


@dataclass
class _Scores:
    """Points by intent, the first verb of each, and all verbs, techniques and turns of speech in no order."""

    points: dict[Intent, int] = field(default_factory=dict)
    first: dict[Intent, Span] = field(default_factory=dict)
    seen: list[tuple[int, Intent, Span]] = field(default_factory=list)

    def add(self, intent: Intent, points: int) -> None:
        """Give an intent points."""
        self.points[intent] = self.points.get(intent, 0) + points


def _scored(text: Text, methods: list[Named], signs: Signs) -> _Scores:
    """Scores by rule."""
    scores = _Scores()
    _count_phrases(scores, text, methods, signs)
    _count_turns(scores, text)
    _count_methods(scores, text, methods, signs)
    verbs = [one for one in scores.seen if not any(one[2].overlaps(named.span) for named in methods)]
    alone = signs.methods and not (signs.choice or verbs or signs.model)
    if signs.opens and alone and len(text.plain.split()) <= _WORDS_OF_A_NAME:
        return _Scores({"explain": _CERTAIN})
    _weigh(text, scores, signs)
    if signs.choice and not _is_means(text, scores.seen, signs):
        scores.add("compare", _CHOICE)
    if "build" in scores.points and not (signs.speaks() or _MODELLED.search(text.plain)):
        del scores.points["build"]  # "make me a sandwich"
    return scores


def _count_phrases(scores: _Scores, text: Text, methods: list[Named], signs: Signs) -> None:
    for intent, weight, words in _table():
        counted = False
        for match in text.phrases(words):
            span = Span(*match.span())
            if _means_another(text, intent, words, span):
                continue
            of_a_choice = signs.choice == "method" and any(span.overlaps(named.span) for named in methods)
            if of_a_choice and not _FOR.search(text.plain, 0, span.start):
                continue
            if (negated(text, span.start, 2) and intent != "diagnose") or (counted and weight == _HINT):
                continue
            if not counted:
                scores.add(intent, weight if weight == _HINT or intent not in scores.first else 1)
            counted = True
            if weight == _VERB:
                scores.seen.append((span.start, intent, span))
                if intent not in scores.first or span.start < scores.first[intent].start:
                    scores.first[intent] = span


def _means_another(text: Text, intent: Intent, words: str, span: Span) -> bool:
    """Whether a phrase of an intent asks for something else here: "our fine-tune", "how do I serve", "after pruning", "eval loss"."""
    if intent == "finetune" and words.startswith(("fine", "fin", "tune")) and _OWN.search(text.plain[: span.start]):
        return True
    if intent == "explain" and words == "how do" and _WE.match(text.plain, span.end):
        return True
    if intent == "explain" and words.startswith("why") and _MINE.match(text.plain, span.end):
        return True
    if words == "eval" and _SIGN_OF.match(text.plain, span.end):
        return True
    return _PAST.search(text.plain, 0, span.start) is not None


def _count_turns(scores: _Scores, text: Text) -> None:
    for intent, patterns in TURNS.items():
        said = [match for one in patterns if (match := one.search(text.plain))]
        said = [match for match in said if intent == "diagnose" or not negated(text, match.start(), 2)]
        if said:
            scores.add(intent, _HINT if intent in _FAINT else _TURN)
        if said and intent not in _FAINT:
            scores.seen.append((min(match.start() for match in said), intent, Span(*said[0].span())))


def _count_methods(scores: _Scores, text: Text, methods: list[Named], signs: Signs) -> None:
    for named in methods:
        intent = _OF_FAMILY.get(named.method.family)
        if intent is None or not named.wanted:
            continue
        if _PAST.search(text.plain, 0, named.span.start) or _ITS_RUN.match(text.plain, named.span.end):
            continue
        asks = signs.opens and intent in _ACTS and intent not in scores.first and signs.choice != "method"
        in_name = of_a_name(text, named.span)
        is_so = in_name or (named.method.format and _STATE.search(text.plain, 0, named.span.start))
        act = asks and not in_name and not ((signs.traffic or is_so) and intent == "compress")
        scores.add(intent, _ACT if act else 0 if in_name else _METHOD)
        if act:
            scores.seen.append((named.span.start, intent, named.span))
            scores.first[intent] = named.span


def _weigh(text: Text, scores: _Scores, signs: Signs) -> None:
    """What the order of the verbs and what else was read add."""
    if scores.seen:
        first = min(scores.seen, key=lambda s: s[0])
        commands = first[1] != "explain" and not _POLITE.sub("", text.plain[: first[0]].strip())
        scores.add(first[1], _FIRST + (_OPENS_WITH if commands else 0))
        if _LATER.search(text.plain, first[2].end):
            scores.add(first[1], _VERB)  # what comes later is a request of its own
    if signs.traffic:
        scores.add("serve", 5)
        for other in ("build", "explain"):
            if other in scores.points and signs.model:
                scores.add(other, -3)
    if signs.training:
        later: list[Intent] = [i for i in ("continue", "finetune", "align") if i in scores.points]
        scores.add(max(later, key=lambda i: scores.points[i]) if later else "pretrain", 4)
    opening = text.plain.lstrip(" ,.!?-\"'")[:60]
    _weigh_questions(text, scores, signs, opening)
    if signs.model and not signs.training and re.search(r"\btrain\b", text.plain):
        scores.add("finetune", _TURN - 1)
    if signs.files and (_LOOK.search(text.plain) or not scores.points):
        scores.add("review", _VERB)
    if (_HOW_TO.match(opening) or signs.files) and len(scores.points) > 1:
        scores.points.pop("explain", None)
    if signs.opens and signs.model and signs.here and max(scores.points.values(), default=0) < _METHOD:
        scores.add("serve", _METHOD)  # a model and a machine: it is to run there
    if not signs.opens and (signs.here or signs.model or signs.traffic) and not (signs.methods or signs.topics):
        scores.points.pop("explain", None)  # "what's possible on 2 L40S?"
    _settle(scores.points, opening, signs.model, text.plain)


def _weigh_questions(text: Text, scores: _Scores, signs: Signs, opening: str) -> None:
    """What the form of a question adds to explain and to compare."""
    amounts = signs.traffic or signs.training
    if signs.titled and signs.opens and not (scores.first or amounts):
        scores.add("explain", _CHOICE)
    if _EXPLAINS.match(opening) and not amounts:
        scores.add("explain", 3)
    if signs.methods and not amounts and not signs.model and _QUESTION.match(opening):
        scores.add("explain", 4)
    if signs.methods and _CHOOSES.search(text.plain) and re.search(r"\b(?:or|and|vs)\b", text.plain):
        scores.add("compare", 10)
    if re.match(r"(?:please )?compare\b", opening):
        scores.add("compare", _VERB)
    if _COMPARES.match(opening) or re.search(r"\b(?:vs\.?|versus|compared (?:to|with))\b", text.plain):
        scores.add("compare", 3)
    aims = scores.seen or amounts or any((signs.model, signs.here, signs.files, signs.sources))
    if signs.opens and not aims and (signs.topics or (signs.methods and len(text.plain.split()) <= _BARE)):
        scores.add("explain", _VERB)  # a topic, and nothing that is to be done


def _is_means(text: Text, seen: list[tuple[int, Intent, Span]], signs: Signs) -> bool:
    """ "A or B to shrink it?": the choice is of the means, and what is to be done is said."""
    return signs.choice == "method" and any(
        intent in (*_ACTS, "finetune") and _FOR.search(text.plain, 0, span.start) for _, intent, span in seen
    )


def _settle(scores: dict[Intent, int], opening: str, named_model: bool, plain: str) -> None:
    """Between intents that share their words."""
    if re.match(
        r"what(?:'s| is|'d be| would be) (?:an? |the )?(?:good|best|right|reasonable|sensible|proper|cheapest|fastest)\b",
        opening,
    ):
        scores["explain"] = scores.get("explain", 0) - 8
    if "continue" in scores and "pretrain" in scores:
        scores["continue"] += scores.pop("pretrain")
    if "build" in scores and named_model and len(scores) > 1:
        scores["build"] -= 4
    if scores.get("diagnose", 0) >= _TURN and _DONE.search(plain):
        scores["diagnose"] += _CHOICE
    if (
        "diagnose" in scores
        and scores["diagnose"] >= _TURN
        and {"pretrain", "finetune", "continue", "align", "evaluate"} & set(scores)
    ):
        scores["diagnose"] += 6
