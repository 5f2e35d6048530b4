"""From a request that was read to the answer: policy first, then what is missing, then the answer of its kind.

Follows the order of an engineer who is asked: decline what is not helped with; say what was understood and what was not; ask what
must be known; say no with the arithmetic where the constraints forbid it; else decide, with options, an exact recipe, files to
run, risks, uncertainty and the next experiment. No language model takes part.
"""

import importlib
from collections.abc import Callable

from aether.counsel.answers import refused
from aether.counsel.answers.asking import TASKS, questions_of, with_usual_load
from aether.counsel.answers.draft import Draft, name, paragraph
from aether.counsel.answers.understood import accepted, asked, still_open, understood, unused
from aether.planning.search.problem import check_given
from aether.policy.judgement import judge_request
from aether.report.pieces import user
from aether.spec.answer import Answer, Request, Status
from aether.spec.brief import Question
from aether.spec.errors import Declined, Infeasible, InputError, NeedsInput
from aether.spec.report import Paragraph, text_of

HANDLERS = {
    "serve": "fleet:answer_fleet",
    "pretrain": "fleet:answer_fleet",
    "continue": "fleet:answer_fleet",
    "finetune": "fleet:answer_fleet",
    "build": "building:answer_build",
    "align": "align:answer_align",
    "compress": "compress:answer_compress",
    "merge": "merge:answer_merge",
    "evaluate": "evaluate:answer_evaluate",
    "compare": "compare:answer_compare",
    "diagnose": "symptoms:answer_diagnose",
    "explain": "handover:answer_explain",
    "review": "handover:answer_review",
}
"""Intent -> the module of `counsel.answers` and its function; loaded when it is asked for."""
EXIT_CODES: dict[Status, int] = {
    "answered": 0,
    "needs_input": 2,
    "not_understood": 2,
    "infeasible": 3,
    "declined": 4,
}
"""What a command that answers returns."""


def answer(request: Request, taken: tuple[str, ...] = ()) -> Answer:
    """The answer to a request. `taken` are the defaults that were accepted on the way. Raises nothing that a person can mend."""
    judgement = judge_request(request.text)
    request, usual = with_usual_load(request)
    taken += usual
    draft = Draft(request)
    if judgement.decision == "refuse":
        refused.declined(draft, judgement)
        return _close(draft, "declined")
    if request.intent == "unknown" and not request.reads:
        refused.not_understood(draft)
        understood(draft)
        return _close(draft, "not_understood")
    try:
        status, questions = _answered(draft, taken)
    except InputError as error:
        status, questions = _contradicted(draft, error)
    except Infeasible as error:
        draft.sections.clear()
        refused.infeasible(draft, error, taken)
        _besides(draft, taken)
        status, questions = "infeasible", ()
    if judgement.decision == "dual_use":
        refused.dual_use(draft, judgement)
    return _close(draft, status, questions)


def _answered(draft: Draft, taken: tuple[str, ...]) -> tuple[Status, tuple[Question, ...]]:
    request = draft.request
    if request.intent in TASKS and request.brief.model is not None:
        # What is wrong is said before what is missing is asked.
        check_given(request.brief)
    open_questions = questions_of(request)
    if open_questions:
        return _ask(draft, open_questions)
    module, function = HANDLERS[request.intent].split(":")
    kind = importlib.import_module(f"aether.counsel.answers.{module}")
    handler: Callable[[Draft], None] = getattr(kind, function)
    try:
        handler(draft)
    except NeedsInput as error:
        draft.sections.clear()
        return _ask(draft, tuple(Question.model_validate(raw) for raw in error.details["questions"]))
    _besides(draft, taken)
    aside = [method for method in request.methods if method not in kind.USES]
    if aside:
        unused(draft, aside)
    if request.intent in (*TASKS, "align", "compress"):
        still_open(draft)
    return "answered", ()


def _besides(draft: Draft, taken: tuple[str, ...]) -> None:
    """What was understood and assumed, after the decision."""
    before = draft.sections
    draft.sections = []
    understood(draft)
    accepted(draft, taken)
    draft.sections = [*before[:1], *draft.sections, *before[1:]]


def _ask(draft: Draft, questions: tuple[Question, ...]) -> tuple[Status, tuple[Question, ...]]:
    from aether.counsel.answers.partial import what_can_be_said

    understood(draft)
    asked(draft, questions)
    what_can_be_said(draft)
    return "needs_input", questions


def _contradicted(draft: Draft, error: InputError) -> tuple[Status, tuple[Question, ...]]:
    """Something that was given cannot be used: the field, the value and the mend, as a question."""
    if isinstance(error, Declined):
        raise error
    draft.sections.clear()
    field = str(error.details.get("field", "brief"))
    question = Question(field=field, text=str(error), why="what is given cannot be used as it is")
    unknown = field == "topic"
    decided = text_of("One thing must be changed first.")
    if unknown:
        called = user(str(error.details.get("value")))
        decided = text_of(
            "No topic is called ", called, ": the page of one with a name like it would be another answer."
        )
    draft.section("decision", "Decision", Paragraph(text=decided, tone="decision"))
    if unknown:
        nearest = [str(one) for one in error.details.get("nearest", ())]
        draft.section(
            "nearest",
            "Pages with names like it",
            draft.code("bash", "".join(f"aether explain {one}\n" for one in nearest)),
        )
    else:
        said = (paragraph(user(str(error))), paragraph("Field: ", name(field)))
        draft.section("contradiction", "What cannot be used", *said)
    understood(draft)
    return "needs_input", (question,)


def _close(draft: Draft, status: Status, questions: tuple[Question, ...] = ()) -> Answer:
    title = text_of(user(_title(draft.request)))
    return Answer(status=status, request=draft.request, questions=questions, page=draft.page(title))


def _title(request: Request) -> str:
    words = " ".join(request.text.split())
    return words if len(words) <= 90 else words[:87] + "..."
