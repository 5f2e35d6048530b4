"""lm-evaluation-harness through its own Python API: it asks, it scores each item; the records and every sum are ours.

Follows lm-eval 0.4.13 (`simple_evaluate` without its survey of the machine, which takes seconds a task; an `LM` with a cache hook). The journal
takes the place of its pickled cache: answers come in as the model gives them (`add_partial`), and a later run asks for what is missing alone.
A first run asks in one batch order, that of lm-eval itself, so its scores are those of its command line. Its own standard errors and
aggregates are not used; a metric that it does not sum up as a mean over items (a BLEU) is named and not told.
"""

import hashlib
import json
import logging
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval import evaluator
from lm_eval.api import metrics
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, hash_args
from lm_eval.tasks import TaskManager

from aether.evidence.items import Item
from aether.spec.errors import InputError
from aether.stages.evaluate.suites.documents import documents, few_shot_documents, write_documents
from aether.stages.evaluate.suites.journal import Journal
from aether.stages.evaluate.suites.suite import Task, Variant
from aether.stages.evaluate.suites.weights import WHOLE_TEXTS, Weights

ROLLING = {"bits_per_byte": metrics.bits_per_byte, "word_perplexity": metrics.weighted_perplexity, "byte_perplexity": metrics.weighted_perplexity}  # fmt: skip
"""Metrics of whole documents, and how lm-eval sums them up: of each item a log-likelihood in nats, and the bytes or words."""
FEW_SHOT_SEED = 1234
STRIP = r"(?s)^\s*(.*?)\s*$"


class JournaledLM(LM):
    """A model whose answers are kept, and that is loaded when the first answer is missing."""

    def __init__(self, load: Callable[[], LM], journal: Journal, told: Callable[[int], None]) -> None:
        super().__init__()
        self.load, self.journal, self.told = load, journal, told
        self.own_task = False
        """Whether whole texts are scored, and answers ended, as `weights.Weights` says, not as lm-eval does."""

    @cached_property
    def inner(self) -> LM:
        """The model underneath."""
        model = self.load()
        model.set_cache_hook(self)  # pyright: ignore[reportArgumentType]  (it asks for `add_partial` alone)
        return model

    def add_partial(self, kind: str, asked: Iterable[Any], answer: Any) -> None:
        """The model gave an answer: lm-eval's cache hook."""
        self.journal.add(hash_args(kind, asked), answer)
        self.told(len(self.journal))

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, whether it is the greedy continuation) of each continuation."""
        return [(float(answer[0]), bool(answer[1])) for answer in self._answers("loglikelihood", requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-likelihood in nats of each whole text."""
        kind = WHOLE_TEXTS if self.own_task else "loglikelihood_rolling"
        return [float(answer) for answer in self._answers(kind, requests)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What the model writes up to a stop."""
        return [str(answer) for answer in self._answers("generate_until", requests)]

    @property
    def tokenizer_name(self) -> str:
        """Of the model underneath."""
        return self.inner.tokenizer_name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """By the model's own template."""
        return self.inner.apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's text or name, for lm-eval's records."""
        return self.inner.chat_template(chat_template)

    def missing(self, kind: str, requests: list[Instance]) -> list[Instance]:
        """Those that have no answer yet."""
        return [request for _, request in self._missing(kind, requests)]

    def _answers(self, kind: str, requests: list[Instance]) -> list[Any]:
        missing = self._missing(kind, requests)
        if missing:
            self._ask(kind, missing)
        reading = self.journal.reading()
        return [_next(reading[hash_args(kind, request.args)]) for request in requests]

    def _missing(self, kind: str, requests: list[Instance]) -> list[tuple[str, Instance]]:
        keys = [hash_args(kind, request.args) for request in requests]
        have, missing = Counter({key: self.journal.count(key) for key in keys}), []
        for key, request in zip(keys, requests, strict=True):
            if have[key] > 0:
                have[key] -= 1
            else:
                missing.append((key, request))
        return missing

    def _ask(self, kind: str, missing: list[tuple[str, Instance]]) -> None:
        before = {key: self.journal.count(key) for key, _ in missing}
        ask = getattr(self.inner, kind, None)
        if ask is None:
            mend = "an endpoint gives no likelihood of a whole text; give a model folder or a .gguf file"
            raise InputError.of("model", type(self.inner).__name__, mend)
        if isinstance(self.inner, Weights):
            self.inner.own_task = self.own_task
        answers = ask([request for _, request in missing])
        # A model that does not tell its cache hook still has every answer kept, at the end of the batch.
        kept = {key: self.journal.count(key) - before[key] for key, _ in missing}
        for (key, _), answer in zip(missing, answers, strict=True):
            if kept[key] > 0:
                kept[key] -= 1
            else:
                self.journal.add(key, answer)


def check_room(model: LM, texts: Sequence[str], tokens: int, who: str) -> None:
    """Raises InputError where the model's context cannot hold a text and `tokens` of an answer: lm-eval would cut the beginning off. An
    endpoint says so itself."""
    encode, context = getattr(model, "tok_encode", None), getattr(model, "max_length", None)
    if encode is not None and context is not None and getattr(model, "tokenizer", None) is not None:
        longest = max(len(encode(text)) for text in texts) + tokens
        if longest > context:
            told = f"the longest question and its answer need {longest}; take a model with more, or fewer max_tokens"
            raise InputError.of(who, f"a context of {context} tokens", told)


def _next(answers: deque[Any]) -> Any:
    # The same greedy question under two tasks is asked once: its answer stays for the next one.
    return answers.popleft() if len(answers) > 1 else answers[0]


@dataclass(frozen=True)
class Asking:
    """How tasks are asked: the model, the folder of the suite's files, one to write into, how many items, and whether as a chat."""

    model: JournaledLM
    data: Path
    work: Path
    limit: int | None
    chat: bool


def run_task(task: Task, asking: Asking) -> list[Item]:
    """Every variant of a task, item by item."""
    found: list[Item] = []
    for variant in task.variants():
        config, rows = _config(variant, asking)
        tasks = _evaluated(config, task, asking)
        for answered in tasks:
            # A group of lm-eval's is as many tasks as it has.
            told = {"task": f"{task.name}/{answered.name}"} if len(tasks) > 1 else {}
            found += [item.model_copy(update=told) for item in _items(answered, variant, rows)]
    return found


@dataclass(frozen=True)
class Answered:
    """One of lm-eval's tasks: what it logged of each document under each filter, and the functions that sum its metrics up."""

    name: str
    samples: Sequence[dict[str, Any]]
    summed_by: Mapping[str, Callable[..., Any]]


def _evaluated(config: dict[str, Any] | str, task: Task, asking: Asking) -> list[Answered]:
    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    asking.model.own_task = task.harness is None
    manager = TaskManager(include_path=task.include, include_defaults=task.harness is not None and task.include is None)
    try:
        loaded = manager.load([config])
        for one in loaded["tasks"].values():
            _few_shots(one, task.few_shot[0] if isinstance(config, str) else None)
        _seed()
        done = evaluator.evaluate(
            lm=asking.model,
            task_dict=loaded,
            limit=asking.limit,
            bootstrap_iters=0,
            apply_chat_template=asking.chat,
        )
    except (KeyError, ValueError, ConnectionError, OSError) as error:
        mend = "lm-evaluation-harness could not load or ask it"
        if task.harness is not None:
            mend += "; data that is not in the cache yet is fetched with HF_HUB_OFFLINE=0 HF_DATASETS_OFFLINE=0 before the command"
        raise InputError.of(f"task {task.name}", str(error)[:200], mend) from error
    assert done is not None
    samples: Any = done.get("samples", {})
    if not any(samples.values()):
        raise InputError.of(f"task {task.name}", 0, "it has no items")
    return [Answered(name, samples[name], one.aggregation() or {}) for name, one in loaded["tasks"].items()]


def _few_shots(loaded: Any, count: int | None) -> None:
    """As `simple_evaluate` does: a task that has no examples by its own definition keeps none."""
    own = loaded.get_config("num_fewshot")
    if count is not None and own != 0:
        loaded.set_config(key="num_fewshot", value=count)
    elif own is None:
        loaded.set_config(key="num_fewshot", value=0)
    loaded.set_fewshot_seed(seed=FEW_SHOT_SEED)


def _seed() -> None:
    # Those of lm-eval's command line.
    random.seed(0)
    np.random.seed(FEW_SHOT_SEED)
    torch.manual_seed(FEW_SHOT_SEED)


def _config(variant: Variant, asking: Asking) -> tuple[dict[str, Any] | str, list[dict[str, Any]]]:
    """lm-eval's configuration of an own task and its documents, or the name of one of its tasks."""
    task = variant.task
    if task.harness is not None:
        return task.harness, []
    data, work = asking.data, asking.work
    rows = documents(variant, data, asking.limit)
    name = f"{task.name}-{variant.label.replace('=', '').replace(',', '-').replace(' ', '-') or 'plain'}"
    config: dict[str, Any] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(write_documents(rows, work / f"{name}.jsonl"))}},
        "test_split": "test",
        "doc_to_text": "{{aether_prompt}}",
        "doc_to_target": "{{aether_target}}",
        "target_delimiter": task.separators[variant.separator],
        "num_fewshot": variant.shots,
    }
    if variant.shots:
        shots = few_shot_documents(variant, data)
        config["dataset_kwargs"]["data_files"]["train"] = str(write_documents(shots, work / f"{name}.shots.jsonl"))
        config |= {"fewshot_split": "train", "fewshot_config": {"sampler": "first_n"}}
    return config | _scoring(task), rows


def _scoring(task: Task) -> dict[str, Any]:
    if task.choices:
        metrics = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
        return {
            "output_type": "multiple_choice",
            "doc_to_choice": "aether_choices",
            "doc_to_target": "aether_target",
            "metric_list": metrics,
        }
    if task.metric in ROLLING:
        return {
            "output_type": "loglikelihood_rolling",
            "doc_to_target": "{{aether_prompt}}",
            "doc_to_text": "",
            "metric_list": [{"metric": task.metric}],
        }
    metric = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    pattern = {"function": "regex", **pattern_of(task)}
    return {
        "output_type": "generate_until",
        "generation_kwargs": {"until": list(task.stop), "max_gen_toks": task.max_tokens, "do_sample": False},
        "metric_list": [metric],
        "filter_list": [{"name": "extract", "filter": [pattern, {"function": "take_first"}]}],
    }


def pattern_of(task: Task) -> dict[str, Any]:
    """How an answer is taken out of what was written, for lm-eval's filter."""
    return {"regex_pattern": task.extract or STRIP, "group_select": -1 if task.extract else 0}


def _items(answered: Answered, variant: Variant, rows: list[dict[str, Any]]) -> list[Item]:
    filters = {sample.get("filter", "none") for sample in answered.samples}
    by_document: dict[int, Item] = {}
    for sample in answered.samples:
        scored = _scored(sample, answered.summed_by, f",{sample['filter']}" if len(filters) > 1 else "")
        if variant.task.metric == "words" and variant.task.data:
            scored = Scored(values={"words": float(len(_answer(sample).split()))})
        before = by_document.get(sample["doc_id"])
        item = _item(sample, variant, rows) if before is None else before
        by_document[sample["doc_id"]] = item.model_copy(
            update={
                "values": item.values | scored.values,
                "weights": item.weights | scored.weights,
                "pairwise": (*item.pairwise, *scored.pairwise),
                "untold": (*item.untold, *scored.untold),
            }
        )
    return [by_document[index] for index in sorted(by_document)]


def _item(
    sample: dict[str, Any],
    variant: Variant,
    rows: list[dict[str, Any]],
) -> Item:
    name = str(rows[sample["doc_id"]]["aether_id"]) if rows else str(sample["doc_id"])
    return variant.item(
        name,
        sample["doc"],
        prompt_sha256=hashlib.sha256(json.dumps(sample["arguments"], default=str).encode()).hexdigest(),
        prompt=str(sample["arguments"][0][0]),
        answer=_answer(sample),
        options=_options(sample),
        target=str(sample["target"])[:10_000],
        values={},
    )


@dataclass
class Scored:
    """What one document's metrics came to, as the fields of an `Item`."""

    values: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    pairwise: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)


def _scored(sample: dict[str, Any], summed_by: Mapping[str, Callable[..., Any]], suffix: str) -> Scored:
    found = Scored()
    for metric in sample["metrics"]:
        # lm-eval takes the mean where a task does not say.
        given, how, name = sample[metric], summed_by.get(metric, metrics.mean), metric + suffix
        if metric in ROLLING and how is ROLLING[metric]:
            found.values[name], found.weights[name] = float(given[0]), float(given[1])
        elif metric == "perplexity" and how is metrics.perplexity:
            found.values[name], found.weights[name] = float(given), 1.0
        elif how not in (metrics.mean, metrics.nanmean) or not isinstance(given, Real | np.bool_):
            found.untold.append(name)
        elif not math.isnan(given):
            found.values[name] = float(given)
            found.pairwise += [name] if how is metrics.nanmean else []
    if not found.values and found.untold:
        mend = "this task's metrics are not sums over items, so no interval can be given"
        raise InputError.of("metrics", sample["metrics"], mend)
    return found


def _is_picked(sample: dict[str, Any]) -> bool:
    """Whether the likeliest of several continuations is the answer."""
    return len(sample["arguments"]) > 1 and isinstance(sample["resps"][0][0], list | tuple)


def _options(sample: dict[str, Any]) -> int:
    """How many continuations the answer was picked from. For mutual information lm-eval asks each once more, without the question."""
    asked = len(sample["arguments"]) if _is_picked(sample) else 0
    return asked // 2 if "acc_mutual_info" in sample["metrics"] else asked


def _answer(sample: dict[str, Any]) -> str:
    """What the model wrote; for choices, the text that it found likeliest; nothing for a text that was only scored."""
    answers = sample["resps"]
    if any(metric in ROLLING for metric in sample["metrics"]):
        return ""
    if _is_picked(sample):
        best = max(range(len(answers)), key=lambda i: answers[i][0][0])
        return str(sample["arguments"][best][1])
    return str(answers[0][0] if isinstance(answers[0], list | tuple) else answers[0])
