"""Requests at once are no rate: which rate they make, as the default of the question for one.

Requests in flight are requests per second times the seconds that each takes (Little's law, Operations Research 9(3), 1961). How long an answer takes
depends on what is planned, so a bound on it stands in, or a pace.
"""

import re

from aether.spec.answer import Request
from aether.spec.brief import Brief, Question

_AT_ONCE = re.compile(
    r"(?P<count>\d[\d,]*(?:\.\d+)?)\s*(?P<thousand>k)?\s*(?:concurrent|simultaneous|parallel|in[- ]flight)\b|\bconcurrency\s*(?:of|=|:)?\s*(?P<named>\d[\d,]*)",
    re.IGNORECASE,
)
PACE_S = 0.05
"""Seconds between the tokens that a person reads, where no bound was given (assumed: 20 tokens a second, faster than most read)."""


def names_at_once(words: str) -> bool:
    """Whether these words name requests in flight."""
    return bool(_AT_ONCE.search(words))


def at_once(request: Request) -> float | None:
    """Requests in flight that a text names where no field takes them."""
    for words in request.unread:
        if found := _AT_ONCE.search(words):
            count = float((found["count"] or found["named"]).replace(",", ""))
            return 1000.0 * count if found["thousand"] else count
    return None


def answer_s(brief: Brief, output_tokens: int) -> tuple[float, str]:
    """Seconds of an answer, and what they rest on."""
    for share in ("p50", "p95", "p99"):
        if (bound := brief.target(f"e2e_{share}")) is not None:
            return bound.value, f"your bound on the whole answer, e2e_{share}"
    for metric in ("tpot_p50", "itl_p50", "tpot_p99", "itl_p99"):
        if (bound := brief.target(metric)) is not None:
            return bound.value * output_tokens, f"{output_tokens} tokens at your bound on {metric}"
    return PACE_S * output_tokens, f"{output_tokens} tokens at {1 / PACE_S:.0f} a second"


def with_rate(question: Question, request: Request, usual_tokens: int) -> Question:
    """The question for a rate, with the one that requests at once make as its default; as it is where none were named."""
    count, load = at_once(request), request.brief.load
    if count is None:
        return question
    tokens = load.output_tokens if "output_tokens" in load.model_fields_set else usual_tokens
    seconds, basis = answer_s(request.brief, tokens)
    rate = count / seconds
    told = f"{count:,.0f} at once are about {rate:.3g} requests/s where an answer takes {seconds:.3g} s ({basis})."
    return question.model_copy(update={"text": f"{question.text} {told}", "default": f"{rate:.3g}"})
