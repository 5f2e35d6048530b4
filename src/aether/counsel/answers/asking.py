"""What must be known before an answer is given, by what is wanted: the policy's questions, and those of each kind of request.

A plan for a published model asks what `policy.questions` asks; a recipe that trains must name its data besides, since without
it nothing can be made again. Each question has its reason and, where one is sensible, a default.
"""

import re

from aether.counsel.answers.at_once import at_once, with_rate
from aether.counsel.answers.brief_text import raw_brief
from aether.counsel.answers.methods import compared, has_numbers
from aether.counsel.answers.side_by_side import topics_of
from aether.counsel.reading.models import nearest_in_size
from aether.knowledge.library import price_usd_per_hour
from aether.policy.brief_file import apply_settings, to_brief
from aether.policy.questions import questions
from aether.spec.answer import Request, Sought
from aether.spec.brief import Brief, Question

TRAINING_DATA = {
    "pretrain": "hf:HuggingFaceFW/fineweb-edu",
    "finetune": "hf:allenai/tulu-3-sft-mixture",
}
"""Public data that a training run can start from where a person has none (assumed)."""

USUAL_LENGTHS = {"prompt": 1024, "output": 256}
"""Tokens of a request that nobody described (assumed; those of `aether estimate serve`)."""

INTENT = Question(
    field="intent",
    text="What should be done?",
    why="a deployment, a training run and a comparison have other bounds and other answers",
    default="serve",
    choices=("serve", "pretrain", "finetune", "align", "compress", "merge", "evaluate", "compare", "build"),
)
_MODEL = Question(
    field="model.name",
    text="Which model? A published name, or the path of a config.json.",
    why="memory, time and published quality all follow from it",
    default="llama-3.1-8b",
)
_DEVICE = Question(
    field="hardware.name",
    text="On which device does it run in the end?",
    why="a number format is only worth its loss where the device computes in it",
    default="H100-SXM-80GB",
)


_MODELS = Question(
    field="model.name",
    text="Which models are merged? Names or folders, two at least.",
    why="only models of one shape, and in practice of one base, have weights that can be merged",
)
_DEVICES = Question(
    field="hardware.name",
    text="On which devices? One for several models, or several for one model.",
    why="the same model is another thing on another device",
    default='["H100-SXM-80GB", "H200-SXM-141GB"]',
)
TASKS = {"serve": "serve", "pretrain": "pretrain", "continue": "pretrain", "finetune": "finetune"}
"""Intent -> the task of a brief."""


_SOUGHT: dict[Sought, tuple[str, ...]] = {
    "hardware": ("hardware.name", "hardware.count"),
    "estimate": ("hardware.name", "hardware.count"),
    "load": ("load.requests_per_s",),
}
"""What is found, and so not asked back, where it is what a request asks for."""


def with_task(request: Request) -> Request:
    """The request with the task that its intent says, where the brief has none."""
    brief, task = request.brief, TASKS.get(request.intent)
    if brief.model is None or brief.model.task is not None or task is None:
        return request
    model = brief.model.model_copy(update={"task": task})
    return request.model_copy(update={"brief": brief.model_copy(update={"model": model})})


CONTRADICTIONS = "contradictions"
"""The field of a question about two things that cannot both be meant."""


def questions_of(request: Request) -> tuple[Question, ...]:
    """What this request leaves open. Empty when an answer can be given."""
    if request.intent == "unknown":
        return (INTENT,)
    missing = tuple(_of_that_size(q, request) if q.field == "model.name" else q for q in _missing(request))
    why = "an answer to one of them would be no answer to the other"
    doubts = [
        Question(field=CONTRADICTIONS, text=s if s.endswith("?") else f"{s}: which holds?", why=why, default="as read")
        for s in request.contradictions
    ]
    return (*doubts, *missing)


_SIZE = re.compile(r"(?<![\w.])(?P<size>\d+(?:\.\d+)?)\s*(?P<unit>[bm])\b", re.IGNORECASE)


def _of_that_size(question: Question, request: Request) -> Question:
    """The question for a model, with one of the size that was spoken of ("a llama-style 1.3B") as its default."""
    for words in request.unread:
        if question.default is not None and (found := _SIZE.search(words)):
            size = float(found["size"]) * (1e9 if found["unit"].lower() == "b" else 1e6)
            if size and (nearest := nearest_in_size(size, request.text.lower())) is not None:
                return question.model_copy(update={"default": nearest})
    return question


def _missing(request: Request) -> tuple[Question, ...]:
    brief, intent = request.brief, request.intent
    if intent in ("serve", "pretrain", "continue", "finetune"):
        spared = {field for sought in request.sought for field in _SOUGHT[sought]}
        if brief.model is None:
            device = brief.hardware is None and _DEVICE.field not in spared
            return (_MODEL, *((_DEVICE,) if device else ()))
        open_questions = (*questions(brief), *_how_many(brief), *_lengths(request), *_data(brief), *_prices(brief))
        left = [question for question in open_questions if question.field not in spared]
        usual = USUAL_LENGTHS["output"]
        return tuple(with_rate(q, request, usual) if q.field == "load.requests_per_s" else q for q in left)
    if intent == "build":
        return questions(brief)
    asked: list[Question] = []
    kind = compared(request.methods) if intent == "compare" else None
    if (
        intent == "compare"
        and not has_numbers(kind, request)
        and len(topics_of(request.topics or request.methods)) >= 2
    ):
        return ()
    if (intent in ("compress", "align") or kind in ("formats", "tunings")) and not _models(brief):
        asked.append(_MODEL)
    if (intent == "compress" or kind == "formats") and (
        brief.hardware is None or brief.hardware.name == "this-machine"
    ):
        asked.append(_DEVICE)
    if intent == "merge" and len({*_models(brief), *request.subjects}) < 2:
        asked.append(_MODELS)
    if intent == "compare" and kind is None:
        asked += _two_things(brief)
    return tuple(asked)


def _models(brief: Brief) -> tuple[str, ...]:
    return (brief.model.name, *brief.model.others) if brief.model is not None and brief.model.name is not None else ()


def _two_things(brief: Brief) -> tuple[Question, ...]:
    """What a comparison of models and devices lacks."""
    models = _models(brief)
    devices = [d for d in (brief.hardware.names if brief.hardware is not None else ()) if d != "this-machine"]
    asked = () if models else (_MODEL,)
    return asked if devices and len(devices) * max(1, len(models)) >= 2 else (*asked, _DEVICES)


def _how_many(brief: Brief) -> tuple[Question, ...]:
    """How many devices there are, where they were named and not counted."""
    hardware = brief.hardware
    if hardware is None or hardware.name == "this-machine" or all(map(hardware.is_counted, hardware.names)):
        return ()
    return (
        Question(
            field="hardware.count",
            text="How many of these devices are there? Of several kinds, so many of each are compared.",
            why="what fits, and how much can be served or trained in time, is in proportion to them",
            default="8",
        ),
    )


def _prices(brief: Brief) -> tuple[Question, ...]:
    """What a device costs, where cost is bounded and no price is on record: unknown is not zero."""
    hardware = brief.hardware
    if hardware is None or not any(t.metric in ("build_cost", "cost_per_million_tokens") for t in brief.targets):
        return ()
    given = dict(hardware.prices_usd_per_hour)
    if hardware.price_usd_per_hour:
        given.setdefault(hardware.name, hardware.price_usd_per_hour)
    unpriced = [n for n in hardware.names if n != "this-machine" and price_usd_per_hour(n, given) is None]
    return tuple(
        Question(
            field="hardware.price_usd_per_hour" if one == hardware.name else f"hardware.prices_usd_per_hour of {one}",
            text=f"What does one {one} cost you in an hour, in USD?",
            why="a cost is bounded, and it cannot be computed from a price that nobody knows",
        )
        for one in unpriced
    )


def _lengths(request: Request) -> tuple[Question, ...]:
    """Lengths of prompts and answers, where traffic is served and neither was said: they move latency more than the rate does."""
    load = request.brief.load
    if request.intent != "serve" or {"prompt_tokens", "output_tokens"} & load.model_fields_set:
        return ()
    why = "time to the first token follows from the prompt, and the number of replicas from the answer"
    texts = {"prompt": "How many tokens has a usual prompt?", "output": "How many tokens has a usual answer?"}
    return tuple(
        Question(field=f"load.{which}_tokens", text=text, why=why, default=str(USUAL_LENGTHS[which]))
        for which, text in texts.items()
    )


def with_usual_load(request: Request) -> tuple[Request, tuple[str, ...]]:
    """Usual lengths, and that they were taken: of both where formats or models stand side by side and any load will do as long as it is one, of the
    other where something is served and one was said."""
    said = {"prompt_tokens", "output_tokens"} & request.brief.load.model_fields_set
    kind = compared(request.methods)
    weighed = request.intent == "compress" or (
        request.intent == "compare" and kind in (None, "formats") and has_numbers(kind, request)
    )
    if len(said) == 2 or not (said if request.intent == "serve" else weighed):
        return request, ()
    lengths = {f"{which}_tokens": tokens for which, tokens in USUAL_LENGTHS.items()}
    taken = tuple(f"load.{field}={tokens}" for field, tokens in lengths.items() if field not in said)
    return request.model_copy(update={"brief": with_settings(request.brief, taken)}), taken


def _data(brief: Brief) -> tuple[Question, ...]:
    assert brief.model is not None
    if brief.model.task not in TRAINING_DATA or brief.data.sources:
        return ()
    return (
        Question(
            field="data.sources",
            text="Which text is it trained on, and where is it?",
            why="a recipe without its data cannot be made again, and data moves quality more than any other choice",
            default=TRAINING_DATA[brief.model.task],
        ),
    )


def with_settings(brief: Brief, settings: tuple[str, ...]) -> Brief:
    """The brief with settings laid over it, as `--set` does. Raises InputError."""
    if not settings:
        return brief
    plain = [s for s in settings if not s.replace(" ", "").startswith("data.sources=hf:")]
    raw = apply_settings(raw_brief(brief), plain)
    for setting in settings:
        if setting not in plain:
            raw.setdefault("data", {})["sources"] = [setting.partition("=")[2].strip()]
    return to_brief(raw, "--set")


CRITICAL = ("intent", CONTRADICTIONS, "model.name", "hardware.name")
"""What is asked even where an estimate is wanted: there is no answer that would do for any of them."""
NO_DEADLINE = "build_time <= 3650 d"
"""For "how long does it take": the time is what comes out, and a brief of a training names a bound."""


def with_defaults(request: Request) -> tuple[Request, tuple[str, ...]]:
    """The request with every default that has one taken, and the settings that were taken."""
    return _taken(with_task(request), ())


def with_usual_answers(request: Request) -> tuple[Request, tuple[str, ...]]:
    """Where an estimate or a load is asked for: the request with the defaults taken of all that is not critical, and the settings that were taken."""
    request = with_task(request)
    if _any_load(request):
        request = request.model_copy(update={"sought": (*request.sought, "load")})
    return _taken(request, CRITICAL) if {"estimate", "load"} & set(request.sought) else (request, ())


def _any_load(request: Request) -> bool:
    """Whether devices that were counted are asked whether they serve a model, and nothing is said of a load: then the most they take is found."""
    hardware, load = request.brief.hardware, request.brief.load
    counted = hardware is not None and hardware.name != "this-machine" and all(map(hardware.is_counted, hardware.names))
    asks = request.intent == "serve" and "estimate" in request.sought and not {"load", "hardware"} & set(request.sought)
    return asks and counted and "requests_per_s" not in load.model_fields_set and at_once(request) is None


def _taken(request: Request, spared: tuple[str, ...]) -> tuple[Request, tuple[str, ...]]:
    taken: list[str] = []
    while True:
        asked = [q for q in questions_of(request) if q.field not in spared]
        answers = [f"{q.field}={_default(q, request)}" for q in asked if q.default is not None]
        fresh = [answer for answer in answers if answer not in taken]
        if not fresh:
            return request, tuple(taken)
        taken += fresh
        if asked[0] is INTENT:
            request = request.model_copy(update={"intent": INTENT.default})
        elif asked[0].field == CONTRADICTIONS:
            taken[-len(fresh) :] = [f"as read, though {sentence}" for sentence in request.contradictions]
            request = request.model_copy(update={"contradictions": ()})
        else:
            request = request.model_copy(update={"brief": with_settings(request.brief, tuple(fresh))})
        request = with_task(request)


def _default(question: Question, request: Request) -> str | None:
    hardware = request.brief.hardware
    counted = hardware is not None and all(map(hardware.is_counted, hardware.names))
    if "estimate" in request.sought and counted and (question.default or "").startswith("build_time"):
        return NO_DEADLINE
    return "1" if question.field == "hardware.count" and "load" in request.sought else question.default
