"""Tasks of several turns: each question is asked with the model's own answers before it, as MT-bench does (Zheng et al., arXiv 2306.05685).

lm-evaluation-harness asks one turn; its model is asked here turn by turn, all conversations one turn further at a time, and every answer is
kept as it comes. What is scored is the last answer, taken out of the text by the same filter as in a task of one turn.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.filters.extraction import RegexFilter

from aether.evidence.items import Item
from aether.stages.evaluate.suites.documents import documents
from aether.stages.evaluate.suites.harness import Asking, check_room, pattern_of
from aether.stages.evaluate.suites.suite import Variant


def run_conversations(variant: Variant, asking: Asking) -> list[Item]:
    """One variant of a task with `follow_ups`, an item for each conversation. Raises InputError where the model's context cannot hold one."""
    rows = documents(variant, asking.data, asking.limit)
    questions = [[row["aether_prompt"], *row["aether_follow_ups"]] for row in rows]
    said: list[list[str]] = [[] for _ in rows]
    for _ in range(1 + len(variant.task.follow_ups)):
        contexts = [_context(variant, asking, asked, told) for asked, told in zip(questions, said, strict=True)]
        for told, answer in zip(said, _answers(variant, asking, contexts), strict=True):
            told.append(answer)
    return [_item(variant, *one) for one in zip(rows, questions, said, strict=True)]


def in_turns(texts: Sequence[str]) -> str:
    """The texts of one side of a conversation, each under its number."""
    return "\n\n".join(f"[turn {number}]\n{text}" for number, text in enumerate(texts, 1))


def _context(variant: Variant, asking: Asking, questions: Sequence[str], answers: Sequence[str]) -> Any:
    """What the model is given for the next turn: by its chat template, or as one text."""
    ended = list(zip(questions, answers, strict=False))
    question = questions[len(answers)]
    if not asking.chat:
        separator = variant.task.separators[variant.separator]
        return "".join(f"{one}{separator}{other.strip()}\n\n" for one, other in ended) + question
    history = [
        message
        for one, other in ended
        for message in ({"role": "user", "content": one}, {"role": "assistant", "content": other})
    ]
    return asking.model.apply_chat_template([*history, {"role": "user", "content": question}])


def _answers(variant: Variant, asking: Asking, contexts: Sequence[Any]) -> list[str]:
    task = variant.task
    generation = {"until": list(task.stop), "max_gen_toks": task.max_tokens, "do_sample": False}
    requests = [
        Instance(request_type="generate_until", doc={}, arguments=(context, dict(generation)), idx=number)
        for number, context in enumerate(contexts)
    ]
    missing = [str(request.args[0]) for request in asking.model.missing("generate_until", requests)]
    if missing:
        check_room(asking.model.inner, missing, task.max_tokens, f"task {task.name}")
    asking.model.own_task = True
    return asking.model.generate_until(requests)


def _item(variant: Variant, row: dict[str, Any], questions: Sequence[str], answers: Sequence[str]) -> Item:
    task = variant.task
    if task.metric == "words":
        values = {"words": float(sum(len(answer.split()) for answer in answers))}
    else:
        ((found,),) = RegexFilter(**pattern_of(task)).apply([[answers[-1]]], [row])
        values = {"exact_match": float(found == row["aether_target"])}
    return variant.item(
        str(row["aether_id"]),
        row,
        # What was asked, not what the model had answered before: two models are asked the same.
        prompt_sha256=hashlib.sha256(json.dumps(list(questions)).encode()).hexdigest(),
        prompt=in_turns(questions),
        answer=in_turns(answers),
        target=row["aether_target"],
        values=values,
    )
