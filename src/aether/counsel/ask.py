"""A question in free text, answered: read, then answered, with no language model. The one door for every surface.

`earlier` is the request that this one follows: "what about H200?" keeps everything else.
"""

from collections.abc import Sequence
from datetime import datetime

from aether.counsel.answering import answer
from aether.counsel.answers.asking import with_defaults, with_settings, with_usual_answers
from aether.counsel.reading.request import read_request
from aether.spec.answer import Answer, Request


def ask(
    text: str, earlier: Request | None = None, accept_defaults: bool = False, settings: Sequence[str] = ()
) -> Answer:
    """The answer to `text`; empty text goes on from `earlier` as it was. `settings` are laid over what was read, as `--set` does. Raises InputError for a wrong setting."""
    request = earlier if earlier is not None and not text.strip() else read_request(text, earlier, datetime.now())
    if settings:
        request = request.model_copy(update={"brief": with_settings(request.brief, tuple(settings))})
    request, taken = with_defaults(request) if accept_defaults else with_usual_answers(request)
    return answer(request, taken)


def changes_nothing(request: Request, earlier: Request) -> bool:
    """Whether a text that goes on from `earlier` asks what was asked before: "thanks", "why?"."""
    read = ("intent", "brief", "methods", "topics", "subjects", "sought", "contradictions")
    return not request.unread and all(getattr(request, field) == getattr(earlier, field) for field in read)
