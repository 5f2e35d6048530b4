"""The OpenAI API as this server speaks it: which fields it takes, and the sentence for each one that it does not.

Follows OpenAI's API reference for /v1/completions and /v1/chat/completions, with two fields of vLLM's that load testers
send (`ignore_eos`, `stream_options.continuous_usage_stats`). A field is honoured or refused by name, never skipped. No
web framework here, no tokenizer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class BadRequest(Exception):
    """A request that is answered with an error envelope. `param` is the field at fault."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        status: int = 400,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.param, self.status, self.code, self.retry_after_s = param, status, code, retry_after_s


_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def envelope(message: str, status: int = 400, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an error, as OpenAI's clients read it."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Wish:
    """A valid request. `prompt` is text or token ids, or for a chat the messages as (role, content) pairs."""

    model: str
    prompt: str | list[int] | list[dict[str, str]]
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool
    usage_always: bool
    ignore_eos: bool
    chat: bool


Check = Callable[[str, Any], Any]


def _number(low: float, high: float, above: bool = False) -> Check:
    def check(name: str, value: Any) -> float:
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not (low < value if above else low <= value) or not value <= high:
            sign = ">" if above else "at least"
            raise BadRequest(f"{name} = {value!r}: give a number {sign} {low:g} and at most {high:g}", name)
        return float(value)

    return check


def _integer(low: int, high: int) -> Check:
    def check(name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise BadRequest(f"{name} = {value!r}: give a whole number from {low} to {high}", name)
        return value

    return check


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} = {value!r}: give true or false", name)
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name} = {value!r}: give a string", name)
    return value


def _only(*neutral: Any) -> Check:
    """A field that this server has no function for: the values that ask for nothing are taken, others refused."""

    def check(name: str, value: Any) -> None:
        if not any(type(value) is type(one) and value == one for one in neutral):
            shown = " or ".join(repr(one) for one in neutral) or "nothing"
            raise BadRequest(f"{name} = {value!r}: not supported here; leave it out (accepted: {shown})", name)

    return check


def _stops(name: str, value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or len(given) > 4 or not all(isinstance(s, str) and s for s in given):
        raise BadRequest(f"{name} = {value!r}: give one to four non-empty strings", name)
    return tuple(given)


def _stream_options(name: str, value: Any) -> dict[str, bool]:
    known = {"include_usage", "continuous_usage_stats"}
    if not isinstance(value, dict) or not all(isinstance(flag, bool) for flag in value.values()):
        raise BadRequest(f"{name} = {value!r}: give an object of true or false", name)
    unknown = sorted(value.keys() - known)
    if unknown:
        raise BadRequest(f"{name}.{unknown[0]}: unknown; known are {', '.join(sorted(known))}", f"{name}.{unknown[0]}")
    return value


def _prompt(name: str, value: Any) -> str | list[int]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
        value = value[0]
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(t, int) and not isinstance(t, bool) for t in value):
        return value
    raise BadRequest(f"{name}: give one string, or one non-empty list of token ids; one prompt for each request", name)


def _messages(name: str, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise BadRequest(f"{name}: give a non-empty list of messages", name)
    return [_message(f"{name}[{index}]", message) for index, message in enumerate(value)]


def _message(name: str, message: Any) -> dict[str, str]:
    if not isinstance(message, dict):
        raise BadRequest(f"{name}: give an object with role and content", name)
    unknown = sorted(key for key, given in message.items() if key not in ("role", "content") and given is not None)
    if unknown:
        raise BadRequest(f"{name}.{unknown[0]}: not supported here; give role and content", f"{name}.{unknown[0]}")
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "developer", "user", "assistant"):
        raise BadRequest(f"{name}.role = {role!r}: use system, developer, user or assistant", f"{name}.role")
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        if not all(isinstance(part, str) for part in parts):
            raise BadRequest(f"{name}.content: only parts of type text are understood", f"{name}.content")
        content = "".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise BadRequest(f"{name}.content = {content!r}: give text", f"{name}.content")
    return {"role": role, "content": content}


_COMMON: dict[str, Check] = {
    "model": _text,
    "max_tokens": _integer(1, 1 << 30),
    "temperature": _number(0, 2),
    "top_p": _number(0, 1, above=True),
    "seed": _integer(-(1 << 63), (1 << 64) - 1),
    "stop": _stops,
    "stream": _flag,
    "stream_options": _stream_options,
    "ignore_eos": _flag,
    "user": _text,
    "n": _only(1),
    "presence_penalty": _only(0, 0.0),
    "frequency_penalty": _only(0, 0.0),
    "logit_bias": _only({}),
}
COMPLETION: dict[str, Check] = _COMMON | {
    "prompt": _prompt,
    "best_of": _only(1),
    "echo": _only(False),
    "suffix": _only(""),
    "logprobs": _only(),
}
CHAT: dict[str, Check] = _COMMON | {
    "messages": _messages,
    "max_completion_tokens": _integer(1, 1 << 30),
    "logprobs": _only(False),
    "top_logprobs": _only(),
    "response_format": _only({"type": "text"}),
    "tools": _only([]),
    "tool_choice": _only("none", "auto"),
    "store": _only(False),
}
"""Field -> its check. A null field is an absent one, as in OpenAI's own API."""

_COMPLETION_MAX_TOKENS = 16
"""OpenAI's default for /v1/completions (API reference). A chat's default is the room that is left in the context."""


def read_wish(body: Any, chat: bool) -> Wish:
    """The request in a JSON body. Raises BadRequest naming the first field that cannot be honoured."""
    if not isinstance(body, Mapping):
        raise BadRequest("the body must be a JSON object")
    checks = CHAT if chat else COMPLETION
    given: dict[str, Any] = {}
    for name, value in body.items():
        if name not in checks:
            raise BadRequest(f"{name}: unknown field; known are {', '.join(sorted(checks))}", str(name))
        if value is not None:
            given[name] = checks[name](name, value)
    required = ("model", "messages" if chat else "prompt")
    for name in required:
        if name not in given:
            raise BadRequest(f"{name}: this field is required", name)
    options = given.get("stream_options", {})
    stream = given.get("stream", False)
    if options and not stream:
        raise BadRequest("stream_options: only with stream = true", "stream_options")
    if "max_completion_tokens" in given and "max_tokens" in given:
        raise BadRequest("max_completion_tokens: give it or max_tokens, not both", "max_completion_tokens")
    max_tokens = given.get("max_completion_tokens", given.get("max_tokens"))
    return Wish(
        model=given["model"],
        prompt=given["messages" if chat else "prompt"],
        max_tokens=max_tokens if max_tokens is not None or chat else _COMPLETION_MAX_TOKENS,
        temperature=given.get("temperature", 1.0),
        top_p=given.get("top_p", 1.0),
        seed=given.get("seed"),
        stops=given.get("stop", ()),
        stream=stream,
        include_usage=options.get("include_usage", False),
        usage_always=options.get("continuous_usage_stats", False),
        ignore_eos=given.get("ignore_eos", False),
        chat=chat,
    )


def usage(prompt_tokens: int, output_tokens: int) -> dict[str, int]:
    """Token counts as OpenAI names them."""
    total = prompt_tokens + output_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": output_tokens, "total_tokens": total}
