"""The serve stage: start the real server on the model, load it from another process, read its memory, stop it.

Server and load generator are processes of their own, as they would be for a user; both are gone when `run` returns or
raises. Latency and throughput depend on this machine and on what else it does: `repeats` is "machine".
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from tokenizers import Tokenizer

from aether.evidence.files import read_json, write_json
from aether.evidence.statistics import Measurement
from aether.models import quantized
from aether.models.gguf_names import architecture
from aether.spec.errors import AetherError, DamagedRecord, EnvironmentFault, InputError
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.serve.choose import Trial, TrialPlan, best, candidates
from aether.stages.serve.loading import llama_is_here, multiplies_bfloat16
from aether.stages.serve.loadtest import LoadPlan, read_timings
from aether.stages.serve.recipe import EngineRecipe, ServeRecipe, ServerSettings
from aether.stages.serve.summary import LatencyReport, Timing, latency, throughput

_READY_S = 300.0
"""How long a server may take to answer. Assumed; measured 3 to 8 s for small models on two busy cores, 14 s of processor time for a GGUF file of 98 MB."""


@dataclass(frozen=True)
class RunningServer:
    """A server process that answers. The fields are what it said of itself."""

    process: subprocess.Popen[bytes]
    url: str
    model: str
    facts: dict[str, Any]

    def peak_memory_bytes(self) -> int:
        """The largest resident memory that the process has had so far (Linux: VmHWM)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return psutil.Process(self.process.pid).memory_info().rss


@contextmanager
def running_server(model: Path, settings: ServerSettings, log: Path) -> Iterator[RunningServer]:
    """A server process for as long as the block lasts. Its stderr goes to `log`.

    Raises EnvironmentFault when it does not come up; the message has what it said.
    """
    command = [sys.executable, "-m", "aether.stages.serve.server", "--model", str(model)]
    command += ["--settings", settings.model_dump_json(), "--lifeline"]
    with log.open("wb") as errors:
        process = _child(command, errors)
        try:
            facts = _await_ready(process, log)
            yield RunningServer(process, facts["url"], facts["model"], facts)
        finally:
            stop(process)


def _child(command: list[str], errors: BinaryIO) -> subprocess.Popen[bytes]:
    """A process that we end, and that ends with us (`lifeline`), even when we are killed.

    It has a session of its own: Ctrl-C in the terminal is answered by us, who then stop it in order.
    """
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True)


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    deadline_s, line = time.monotonic() + _READY_S, b""
    while not line.endswith(b"\n"):
        line += process.stdout.read() or b""
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace").strip()[-500:]
            raise EnvironmentFault(f"the server left with code {process.returncode} before it was ready: {said}")
        if time.monotonic() > deadline_s:
            raise EnvironmentFault(f"the server did not answer within {_READY_S:g} s; see {log}")
        time.sleep(0.02)
    return json.loads(line)


def stop(process: subprocess.Popen[bytes], patience_s: float = 10.0) -> None:
    """End a process that we started, by its id: asked first, killed when it does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def read_prompts(data: Path, split: str, prompt_tokens: int, wanted: int, seed: int) -> list[dict[str, Any]]:
    """Beginnings of real documents of a split, each exactly `prompt_tokens` tokens, the begin token first.

    Raises InputError when no document is long enough.
    """
    tokenizer = Tokenizer.from_file(str(data / "tokenizer" / "tokenizer.json"))
    path = data / split / "text.jsonl"
    if not path.is_file():
        raise DamagedRecord(f"{path} is missing; run the data step again", path=str(path))
    lines = path.read_text(encoding="utf-8").splitlines()
    prompts: list[dict[str, Any]] = []
    for index in np.random.default_rng(seed).permutation(len(lines)):
        document = json.loads(lines[index])
        # A token holds at least one byte, so this many characters are enough for the prefix, whatever they are.
        tokens = [0, *tokenizer.encode(document["text"][: 16 * prompt_tokens]).ids]
        if len(tokens) >= prompt_tokens:
            prompts.append({"id": document["id"], "prompt": tokens[:prompt_tokens]})
        if len(prompts) == wanted:
            break
    if not prompts:
        mend = f"no {split} document has that many tokens; ask for shorter prompts"
        raise InputError.of("load.prompt_tokens", prompt_tokens, mend)
    return prompts


def run(recipe: ServeRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Serve the model under the recipe's traffic. Writes requests.jsonl and serve.json into `context.out`."""
    model = context.inputs["model"] / "model"
    _check_room(recipe, model)
    context.out.mkdir(parents=True, exist_ok=True)
    prompts = read_prompts(
        context.inputs["data"], recipe.split, recipe.load.prompt_tokens, recipe.load.requests, context.seed
    )
    with tempfile.TemporaryDirectory(prefix="aether-serve-") as scratch:
        folder = Path(scratch)
        engine, trials = settle(recipe, context, model, folder, prompts)
        settings = ServerSettings(engine=engine, port=0, threads=context.threads)
        context.tell(message="starting the server")
        with running_server(model, settings, folder / "server.log") as server:
            plan = _plan(recipe, context, server, folder, prompts)
            _load(plan, folder, context)
            memory_bytes = server.peak_memory_bytes()
            facts = server.facts
    timings = read_timings(context.out / "requests.jsonl")
    window = tuple(read_json(context.out / "load.json")["window_s"])
    (context.out / "load.json").unlink()
    report = latency([t for t in timings if t.phase == "open"], recipe.level, context.seed)
    rate = throughput([t for t in timings if t.phase == "closed"], window, recipe.level)
    evidence = _evidence(recipe, context, (report, rate, memory_bytes), facts)
    _write_summary(context, report, timings, evidence, facts | {"trials": [t.model_dump(mode="json") for t in trials]})
    return evidence + _trial_evidence(context, trials)


def settle(
    recipe: ServeRecipe, context: StepContext, model: Path, folder: Path, prompts: list[dict[str, Any]]
) -> tuple[EngineRecipe, tuple[Trial, ...]]:
    """The engine to serve with, and the trials that chose it: none where the recipe leaves no choice."""
    llama = llama_is_here() and architecture(quantized.read_config(model)) is not None
    open_to_us = candidates(recipe.engine, multiplies_bfloat16(), llama)
    if len(open_to_us) == 1:
        return open_to_us[0], ()
    context.tell(message="trying the engines")
    plan = TrialPlan(
        model=str(model),
        candidates=open_to_us,
        prompts=tuple(tuple(prompt["prompt"]) for prompt in prompts),
        load=recipe.load,
        clients=recipe.saturation.clients,
        threads=context.threads,
        seed=context.seed,
    )
    path = folder / "trial.json"
    path.write_text(plan.model_dump_json(), encoding="utf-8")
    trials: list[Trial] = []
    _talk("aether.stages.serve.trial", path, folder / "trial.log", lambda said: trials.append(Trial(**said)))
    chosen = best(trials, recipe.targets).engine
    context.tell(message=f"serving with {chosen.engine} in {chosen.dtype}")
    return chosen, tuple(trials)


def _trial_evidence(context: StepContext, trials: tuple[Trial, ...]) -> tuple[Evidence, ...]:
    """What the choice rests on: two numbers of each candidate."""
    source = "a moment of the load's traffic in process, without HTTP: what the engine was chosen by"
    return tuple(
        context.measured(
            metric,
            trial.metrics[metric],
            unit,
            source,
            label=trial.label,
            n=trial.requests,
            repeats="machine",
            threads=context.threads,
        )
        for trial in trials
        for metric, unit in (("throughput", "token/s"), ("e2e_p50", "s"))
        if metric in trial.metrics
    )


def _check_room(recipe: ServeRecipe, model: Path) -> None:
    context_tokens = quantized.read_config(model).context_tokens
    asked = recipe.load.prompt_tokens + recipe.load.output_tokens
    if asked > context_tokens:
        mend = f"prompt and output together may have {context_tokens} tokens, the model's context, not {asked}"
        raise InputError.of("load.prompt_tokens", recipe.load.prompt_tokens, mend)


def _plan(
    recipe: ServeRecipe, context: StepContext, server: RunningServer, folder: Path, prompts: list[dict[str, Any]]
) -> LoadPlan:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")
    body = {"temperature": 0, "stream_options": {"include_usage": True}, "ignore_eos": not recipe.stop_at_end}
    return LoadPlan(
        url=server.url,
        model=server.model,
        prompts_path=str(path),
        out=str(context.out),
        load=recipe.load,
        saturation=recipe.saturation,
        warmup_requests=recipe.warmup_requests,
        seed=context.seed,
        body=body,
    )


def _load(plan: LoadPlan, folder: Path, context: StepContext) -> None:
    """Run the load generator and pass its progress on."""
    path = folder / "plan.json"
    path.write_text(plan.model_dump_json(), encoding="utf-8")

    def tell(told: dict[str, Any]) -> None:
        unit = "requests" if told["message"] == "open loop" else "s"
        context.tell(done=told["done"], total=told["total"], unit=unit, message=told["message"])

    _talk("aether.stages.serve.loadtest", path, folder / "loadtest.log", tell)


def _talk(module: str, plan: Path, log: Path, hear: Callable[[dict[str, Any]], None]) -> None:
    """Run one of our modules on a plan as a process, and hear its JSON lines. Raises AetherError when it fails."""
    with log.open("wb") as errors:
        process = _child([sys.executable, "-m", module, str(plan)], errors)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                hear(json.loads(line))
            process.wait()
        finally:
            stop(process)
    if process.returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-500:]
        raise AetherError(f"{module} left with code {process.returncode}: {said}")


def _evidence(
    recipe: ServeRecipe,
    context: StepContext,
    measured: tuple[LatencyReport, Measurement, int],
    facts: dict[str, Any],
) -> tuple[Evidence, ...]:
    """Every number of the stage."""
    report, rate, memory_bytes = measured
    load, saturation = recipe.load, recipe.saturation
    shared: dict[str, Any] = {key: facts[key] for key in ("engine", "dtype", "slots")} | {"threads": context.threads}
    traffic = shared | {
        "requests_per_s": load.requests_per_s,
        "prompt_tokens": load.prompt_tokens,
        "output_tokens": load.output_tokens,
    }
    open_loop = "open-loop Poisson load test of the real server over HTTP on this machine"
    found: list[Evidence] = []
    for metric, value in report.metrics.items():
        conditions = traffic | ({"note": value.note} if value.note else {})
        found.append(_one(context, metric, value, "s", open_loop, conditions))
    closed = f"closed loop of {saturation.clients} clients over HTTP on this machine"
    found.append(_one(context, "throughput", rate, "token/s", closed, shared | {"clients": saturation.clients}))
    counts = {"requests": report.requests, "errors": report.errors}
    for metric, count in counts.items():
        value = Measurement(count, None, None, report.requests, report.requests)
        found.append(_one(context, metric, value, "count", open_loop, traffic))
    source = "peak resident memory of the server process (VmHWM) over both phases"
    memory = Measurement(memory_bytes, None, None, 1, 1)
    found.append(_one(context, "serving_memory", memory, "byte", source, shared))
    return tuple(found)


def _one(
    context: StepContext, metric: str, value: Measurement, unit: str, source: str, conditions: dict[str, Any]
) -> Evidence:
    return context.measured(
        metric, value.value, unit, source, interval=value.interval, n=value.n, repeats="machine", **conditions
    )


def _write_summary(
    context: StepContext,
    report: LatencyReport,
    timings: list[Timing],
    evidence: tuple[Evidence, ...],
    facts: dict[str, Any],
) -> None:
    closed = [timing for timing in timings if timing.phase == "closed"]
    errors: dict[str, int] = {}
    for timing in timings:
        if timing.error is not None:
            errors[timing.error[:200]] = errors.get(timing.error[:200], 0) + 1
    summary = {
        "server": {key: value for key, value in facts.items() if key not in ("url", "pid", "trials")},
        "trials": facts["trials"],
        "metrics": {e.metric: e.model_dump(mode="json", include={"value", "unit", "interval", "n"}) for e in evidence},
        "offered_requests_per_s": report.offered_per_s,
        "goodput_requests_per_s": report.completed_per_s,
        "client_lag_p99_s": report.client_lag_p99_s,
        "closed_loop_requests": len(closed),
        "errors": errors,
    }
    write_json(context.out / "serve.json", summary)
