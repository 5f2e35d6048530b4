"""Conversations with a target: all of them one turn further at a time, every answer kept as it comes, nothing asked twice after a kill.

Endpoints are asked through the `openai` client (its retries, its key from OPENAI_API_KEY), weights through lm-evaluation-harness's model, in
chunks. A model without a chat template is given the turns as one text. Greedy.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aether.evidence.hashing import hash_value
from aether.spec.errors import EnvironmentFault, InputError
from aether.stages.evaluate.redteam.attacks import Attempt
from aether.stages.evaluate.redteam.judges import Ask
from aether.stages.evaluate.suites.journal import Journal

if TYPE_CHECKING:
    from aether.stages.evaluate.suites.target import Target

Messages = list[dict[str, Any]]
READ_PAGE = {
    "name": "read_page",
    "description": "The text of a page.",
    "parameters": {"type": "object", "properties": {}},
}
SEND_MESSAGE = {
    "name": "send_message",
    "description": "Sends a message.",
    "parameters": {
        "type": "object",
        "properties": {"recipient": {"type": "string"}, "text": {"type": "string"}},
        "required": ["recipient", "text"],
    },
}
OFFER = "offer"
"""The role of a first message that is not said: the tools that the model may call in this conversation."""
FILTERED = "[blocked by the endpoint's filter]"
"""Stands for an answer that an endpoint withheld, or did not give because the conversation is longer than its context; judges know it as a refusal."""


def converse(attempts: Sequence[Attempt], ask: Ask) -> list[list[str]]:
    """The answers of each attempt, turn by turn."""
    answers: list[list[str]] = [[] for _ in attempts]
    for turn in range(max((len(attempt.turns) for attempt in attempts), default=0)):
        open_ones = [at for at, attempt in enumerate(attempts) if len(attempt.turns) > turn]
        said = ask([messages(attempts[at], answers[at]) for at in open_ones])
        for at, text in zip(open_ones, said, strict=True):
            answers[at].append(text)
    return answers


def messages(attempt: Attempt, answers: Sequence[str]) -> Messages:
    """What has been said so far, with the next turn."""
    found: Messages = [{"role": "system", "content": attempt.system}] if attempt.system else []
    if attempt.result and attempt.tool:
        found.insert(0, {"role": OFFER, "tools": [READ_PAGE, SEND_MESSAGE]})
    for turn, answer in zip(attempt.turns, answers, strict=False):
        found += [{"role": "user", "content": turn}, {"role": "assistant", "content": answer}]
    found.append({"role": "user", "content": attempt.turns[len(answers)]})
    if attempt.result:
        call = {"id": "call-1", "type": "function", "function": {"name": READ_PAGE["name"], "arguments": "{}"}}
        found.append({"role": "assistant", "content": "", "tool_calls": [call]})
        found.append({"role": "tool", "tool_call_id": call["id"], "content": attempt.result})
    return found


class Kept:
    """A writer whose answers are kept in a journal, under what was asked."""

    def __init__(
        self, write: Ask, journal: Journal, chunk: int, told: Callable[[int], None] = lambda count: None
    ) -> None:
        self.write, self.journal, self.chunk, self.told = write, journal, chunk, told

    def __call__(self, conversations: Sequence[Messages]) -> list[str]:
        keys = [hash_value(conversation) for conversation in conversations]
        new = {key: one for key, one in zip(keys, conversations, strict=True) if not self.journal.count(key)}
        missing = list(new.items())
        for start in range(0, len(missing), self.chunk):
            part = missing[start : start + self.chunk]
            for (key, _), text in zip(part, self.write([one for _, one in part]), strict=True):
                self.journal.add(key, text)
            self.told(len(self.journal))
        known = self.journal.reading()
        return [str(known[key][0]) for key in keys]


class EndpointWriter:
    """An OpenAI-compatible chat endpoint."""

    def __init__(self, target: "Target", max_tokens: int) -> None:
        if not target.model:
            raise InputError.of("model", target.place, "name the endpoint's model with --model")
        self.target, self.max_tokens = target, max_tokens

    @cached_property
    def client(self) -> Any:
        """Made at the first question."""
        import openai

        from aether.stages.evaluate.suites.target import api_key

        return openai.OpenAI(base_url=self.target.base, api_key=api_key(), max_retries=8)

    def __call__(self, conversations: Sequence[Messages]) -> list[str]:
        with ThreadPoolExecutor(self.target.concurrency) as pool:
            return list(pool.map(self._one, conversations))

    def _one(self, conversation: Messages) -> str:
        import openai

        said, tools, may_call = offered(conversation)
        more = (
            {"tools": [_function(one) for one in tools], "tool_choice": "auto" if may_call else "none"} if tools else {}
        )
        try:
            answer = self.client.chat.completions.create(
                model=self.target.model, messages=said, max_tokens=self.max_tokens, temperature=0, **more
            )
        except openai.BadRequestError as error:
            if getattr(error, "code", None) in ("content_filter", "context_length_exceeded"):
                return FILTERED
            raise InputError.of("endpoint", self.target.place, f"it refused a request: {error}") from error
        except openai.OpenAIError as error:
            raise EnvironmentFault(
                f"{self.target.place} did not answer ({error}); run the same command to go on"
            ) from error
        choice = answer.choices[0]
        if may_call and choice.finish_reason != "content_filter":
            calls = [one.function for one in choice.message.tool_calls or ()]
            return with_calls(choice.message.content or "", [(one.name, one.arguments) for one in calls])
        return choice.message.content or (FILTERED if choice.finish_reason == "content_filter" else "")


class WeightsWriter:
    """A model folder or a GGUF file, loaded when the first answer is missing."""

    def __init__(self, target: "Target", max_tokens: int) -> None:
        self.target, self.max_tokens = target, max_tokens

    @cached_property
    def lm(self) -> Any:
        """lm-evaluation-harness's model."""
        found: Any = self.target.load()
        if self.max_tokens >= found.max_length:
            mend = f"the model's context holds {found.max_length} tokens; ask for fewer with --set max_tokens=N"
            raise InputError.of("max_tokens", self.max_tokens, mend)
        return found

    def __call__(self, conversations: Sequence[Messages]) -> list[str]:
        from lm_eval.api.instance import Instance

        asked = {"until": [], "max_gen_toks": self.max_tokens, "do_sample": False}
        texts = [prompt_of(self.lm.tokenizer, one) for one in conversations]
        requests = [
            Instance(request_type="generate_until", doc={}, arguments=(text, dict(asked)), idx=at)
            for at, text in enumerate(texts)
        ]
        return [str(text) for text in self.lm.generate_until(requests, disable_tqdm=True)]


def prompt_of(tokenizer: Any, conversation: Messages) -> str:
    """By the model's chat template, where it has one; a template without a system role gets it in the first turn."""
    from jinja2 import TemplateError

    template = getattr(tokenizer, "chat_template", None)
    conversation, tools, may_call = offered(conversation)
    more = {"tools": [_function(one) for one in tools]} if may_call else {}
    if tools and "tool" not in str(template):
        raise InputError.of("tool_messages", True, "the model's chat template has no messages of tools; leave it out")
    if template is None:
        return "\n\n".join(message["content"] for message in conversation) + "\n\n"
    try:
        return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True, **more))
    except TemplateError:
        if conversation[0]["role"] != "system":
            raise
        first, second, *rest = conversation
        merged = {"role": "user", "content": f"{first['content']}\n\n{second['content']}"}
        return str(tokenizer.apply_chat_template([merged, *rest], tokenize=False, add_generation_prompt=True, **more))


def offered(conversation: Messages) -> tuple[Messages, list[dict[str, Any]], bool]:
    """What is said; the tools that stand in it; and whether the model may call them now."""
    if conversation[0]["role"] == OFFER:
        return conversation[1:], list(conversation[0]["tools"]), True
    return conversation, [READ_PAGE] if any(message["role"] == "tool" for message in conversation) else [], False


def with_calls(content: str, calls: Sequence[tuple[str, str]]) -> str:
    """An answer with the calls (name, arguments as JSON) that came beside it, as the text that is kept."""
    rows = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return json.dumps({"content": content, "tool_calls": rows}, ensure_ascii=False)


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": tool}


def writer(target: "Target", max_tokens: int) -> EndpointWriter | WeightsWriter:
    """How the target is asked."""
    return EndpointWriter(target, max_tokens) if target.is_endpoint else WeightsWriter(target, max_tokens)
