"""inspect-ai through its own Python API (`eval_set`): it runs the task, keeps its logs and goes on after a kill; the items are read from its logs.

Follows inspect-ai 0.3.285. Each scorer's value becomes a metric, by inspect's own `value_to_float` (C and I are 1 and 0). Its aggregates and
standard errors are not used; one that is neither `accuracy` nor `mean` is named and not told. A sample that failed is an error, not a zero; one
that a scorer left open has no value by it.
"""

import hashlib
import json
from math import isnan
from pathlib import Path
from typing import Any

from inspect_ai import eval_set
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.scorer import value_to_float

from aether.evidence.items import Item
from aether.spec.errors import InputError
from aether.stages.evaluate.suites.suite import Task
from aether.stages.evaluate.suites.target import Target, api_key

MEANS, ERRORS = ("accuracy", "mean"), ("stderr", "bootstrap_stderr", "std", "var", "ci", "ci_wilson")
"""Inspect's metrics: those that a mean over items is, and those that say how far to trust one."""


def run_inspect(task: Task, target: Target, work: Path, limit: int | None) -> list[Item]:
    """The task's items. `work` keeps inspect's logs; those of finished samples are not asked again."""
    assert task.inspect is not None
    folder = work / "inspect" / task.name
    finished = finished_log(folder)
    if finished is not None:
        return _items(task, finished)
    _, logs = eval_set(
        tasks=task.inspect,
        log_dir=str(folder),
        model=_model(target),
        limit=limit,
        display="none",
        log_buffer=1,
        retry_attempts=1,
        score_display=False,
        log_dir_allow_dirty=True,
    )
    if not logs:
        raise InputError.of(f"task {task.name}", task.inspect, "inspect-ai found no such task")
    log = read_eval_log(logs[0].location) if logs[0].samples is None else logs[0]
    return _items(task, log)


def finished_log(folder: Path) -> EvalLog | None:
    """The log of a run that came to its end, or None."""
    if not folder.is_dir():
        return None
    for found in list_eval_logs(str(folder)):
        if read_eval_log(found, header_only=True).status == "success":
            return read_eval_log(found)
    return None


def _model(target: Target) -> Model:
    if target.is_endpoint:
        return get_model(f"openai-api/aether/{target.model}", base_url=target.base, api_key=api_key())
    # It samples unless the task says otherwise: the same seed gives the same answers.
    return get_model(
        "hf/local",
        model_path=target.place,
        tokenizer_path=target.place,
        device=target.device,
        config=GenerateConfig(seed=0),
    )


def _items(task: Task, log: EvalLog) -> list[Item]:
    if log.status != "success" or not log.samples:
        told = log.error.message[:200] if log.error else f"{log.status}, no sample"
        raise InputError.of(f"task {task.name}", told, "inspect-ai did not finish it; run the same command to go on")
    summed = log.results.scores if log.results else []
    pairwise = tuple(score.name for score in summed if "mean" in score.metrics and "accuracy" not in score.metrics)
    ways = {(score.name, found.group or found.name) for score in summed for found in score.metrics.values()}
    untold = [f"{name}, {way}" for name, way in sorted(ways) if way not in (*MEANS, *ERRORS)]
    untold += [
        f"{score.name}, {score.reducer} of several answers" for score in summed if score.reducer not in (None, "mean")
    ]
    how = {"pairwise": pairwise, "untold": tuple(untold)}
    asked_again = {sample.id for sample in log.samples if sample.epoch > 1}
    return [
        _item(task, sample).model_copy(update=how | ({"repeats": str(sample.id)} if sample.id in asked_again else {}))
        for sample in log.samples
    ]


def _item(task: Task, sample: EvalSample) -> Item:
    if sample.error is not None:
        raise InputError.of(
            f"task {task.name}, sample {sample.id}", sample.error.message[:200], "mend it and run again"
        )
    fields: dict[str, Any] = sample.metadata or {}
    for field in (*([task.cluster] if task.cluster else []), *task.slices):
        if field not in fields:
            raise InputError.of(
                f"task {task.name}, sample {sample.id}", sorted(fields), f"its metadata have no field {field}"
            )
    prompt = sample.input if isinstance(sample.input, str) else "\n".join(message.text for message in sample.input)
    as_number = value_to_float()
    single = {n: score for n, score in (sample.scores or {}).items() if not isinstance(score.value, dict | list)}
    values = {name: number for name, score in single.items() if not isnan(number := float(as_number(score.value)))}
    if not single:
        raise InputError.of(
            f"task {task.name}, sample {sample.id}", sorted(sample.scores or {}), "no scorer gave one number"
        )
    name = str(sample.id) if sample.epoch == 1 else f"{sample.id}#{sample.epoch}"
    return Item(
        task=task.name,
        id=name,
        distribution=task.distribution,
        # Answers to the same question are alike.
        cluster=str(fields[task.cluster]) if task.cluster else str(sample.id),
        tags={field: str(fields[field]) for field in task.slices},
        prompt_sha256=hashlib.sha256(json.dumps([prompt, sample.choices]).encode()).hexdigest(),
        prompt=prompt,
        answer=sample.output.completion,
        target=sample.target if isinstance(sample.target, str) else " | ".join(sample.target),
        values=values,
        options=len(sample.choices or ()),
    )
