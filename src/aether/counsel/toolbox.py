"""Everything that Aether does as typed functions for a client that is a program: an agent, a protocol, a notebook.

One object holds the folder that its clients may touch. Each tool is one call to the part that does the work; what takes minutes
returns a handle at once; what spends is planned first and launched with the hash of that plan (`counsel.launching`).
"""

import re
import secrets
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from aether.counsel import toolbox_data as shapes
from aether.counsel.reply import Reply
from aether.counsel.toolbox_common import RunName, Settings, replied
from aether.counsel.toolbox_measuring import MeasuringTools
from aether.counsel.toolbox_work import RunState, run_state
from aether.spec.base import Noun
from aether.spec.errors import InputError

BriefFields = Annotated[
    dict[str, Any],
    Field(
        description="The brief, as in a brief.toml: intended_use, model {name, task: serve|pretrain|finetune, tokens}, hardware "
        '{name, count}, targets ["ttft_p99 <= 500 ms"], load {requests_per_s, prompt_tokens, output_tokens}, data {sources}. '
        "Leave out what is not known: it comes back as questions."
    ),
]


class Toolbox(MeasuringTools):
    """The tools over one folder. Paths are relative to it, and nothing outside it is read or written."""

    @property
    def reading(self) -> tuple[Callable[..., Reply[Any]], ...]:
        """Tools that change nothing outside the folder and spend nothing."""
        return (
            self.ask, self.plan, self.estimate, self.simulate, self.fit_scaling, self.explain, self.diagnose, self.review,
            self.list_runs, self.show_run, self.compare_runs, self.run_status, self.list_results, self.show_results, self.lay_out_study,
            self.doctor,
        )  # fmt: skip

    @property
    def working(self) -> tuple[Callable[..., Reply[Any]], ...]:
        """Tools that take the machine's time, or stop work."""
        builds = (self.plan_build, self.launch_build, self.cancel_run, self.reproduce_run)
        return (*builds, self.evaluate_model, self.red_team, self.judge_pairs)

    @replied
    def ask(
        self,
        text: Annotated[
            str, Field(description="The request in plain words, with what is known of model, hardware, load, bounds.")
        ],
        session: Annotated[str, Field(description="Handle of an earlier answer, to follow up on it.")] = "",
        accept_defaults: Annotated[bool, Field(description="Take the default of every open question.")] = False,
    ) -> Reply[shapes.Asked]:
        """Ask in plain words, without a language model: what was understood, what is missing, and a full answer with a decision,
        options, recipe, code, risks and sources. The reply's session continues the conversation."""
        from aether.counsel.ask import ask
        from aether.counsel.sessions import recall, remember

        handle = session or secrets.token_hex(6)
        if not re.fullmatch(r"[a-z0-9-]{1,64}", handle):
            raise InputError.of("session", session, "give the session of an earlier reply, or leave it empty")
        file = str(self.root / ".aether" / "sessions" / f"{handle}.json")
        if not text.strip():
            raise InputError.of("text", text, "say what you want done, with which model, on which hardware")
        if session and not Path(file).is_file():
            raise InputError.of("session", session, "no answer has this session; leave it empty to begin")
        answer = ask(text, recall(file) if session else None, accept_defaults)
        remember(answer.request, file)
        return shapes.asked(handle, answer)

    @replied
    def plan(self, brief: BriefFields, settings: Settings | None = None, out: RunName = "") -> Reply[shapes.Planned]:
        """Plan the serving or training of a published model on accelerators: options with intervals, one decision, why, and what
        would change it; or infeasible with the binding constraint and the nearest feasible briefs. `out` also writes the page and
        the files for vLLM, SGLang, torchtitan and others into that folder. Takes about a second, spends nothing."""
        from aether.counsel.fleet import decide, write

        wanted = self._brief(brief, settings or [])
        if wanted.model is None:
            raise InputError.of(
                "model", None, "name a published model, or use plan_build for a model that is built here"
            )
        if out:
            written = write(wanted, self.inside(out, "out"))
            return shapes.planned(written.plan, tuple(str(Path(out) / name) for name in written.files), written.notes)
        return shapes.planned(decide(wanted)[1], (), ())

    @replied
    def estimate(
        self,
        question: Literal["train", "serve", "memory", "quality"],
        model: Annotated[str, Field(description="A published name, or the path of a config.json.")] = "",
        device: Annotated[str, Field(description='As in "H100-SXM-80GB"; not for quality.')] = "",
        devices: int = 1,
        settings: Settings | None = None,
    ) -> Reply[shapes.Estimated]:
        """One question about a model on devices: how fast it trains or serves, what it holds in memory, what loss it reaches. Every
        number has an 80 % interval, its terms and what binds it."""
        from aether.planning.search.question import answer

        name = str(self.inside(model, "model")) if model.endswith(".json") else model or None
        found = answer(question, name, device or None, devices, settings or [])
        return shapes.estimated(found.subject, found.estimates, found.notes)

    @replied
    def simulate(
        self,
        model: str,
        traffic: Annotated[str, Field(description="Path of a traffic table (TOML, YAML, JSON) or a trace (CSV).")],
        device: str,
        devices: int = 1,
        settings: Settings | None = None,
    ) -> Reply[shapes.Estimated]:
        """Run traffic or a trace through a deployment request by request: percentiles of latency, throughput, replicas needed."""
        from aether.planning.search.simulation import simulated

        found = simulated(model, self.inside(traffic, "traffic"), device, devices, settings or [])
        return shapes.estimated(found.subject, found.estimates, found.findings)

    @replied
    def fit_scaling(
        self,
        points: Annotated[str, Field(description="CSV with columns parameters, tokens, loss.")],
        at: list[str] | None = None,
    ) -> Reply[shapes.Fitted]:
        """Fit a scaling law to trained models, with bootstrap intervals; `at` "PARAMETERS,TOKENS" predicts losses."""
        from aether.planning.scaling.report import report_fit

        return shapes.fitted(report_fit(self.inside(points, "points"), at=at or []))

    @replied
    def explain(
        self, topic: Annotated[str, Field(description="A technique, method or term; empty lists all.")] = ""
    ) -> Reply[shapes.Explained]:
        """A page on one topic of model engineering: what, why, when and when not, trade-offs, published numbers with their sources,
        implementations, known failures."""
        from aether.counsel.explain import explain

        return shapes.explained(explain(topic, date.today()))

    @replied
    def diagnose(
        self, path: Annotated[str, Field(description="A run's folder, or a training log.")]
    ) -> Reply[shapes.Explained]:
        """What went wrong in a training: spikes, NaN, stalls, divergence, slow input, overfitting, a bad learning rate; with the
        lines that show it and the next experiment."""
        from aether.counsel.diagnosis.diagnose import diagnose

        return shapes.explained(diagnose(self.inside(path, "path")))

    @replied
    def review(
        self,
        path: Annotated[str, Field(description="A file or folder to review; leave empty to review `text`.")] = "",
        text: Annotated[str, Field(description="The content of one file.")] = "",
        name: Annotated[str, Field(description="The file name of `text`, which tells its kind.")] = "train.py",
    ) -> Reply[shapes.Reviewed]:
        """Review training scripts, configs, serving commands, manifests and requirements: findings with rule, severity, why, source."""
        from aether.counsel.review.engine import review_paths, review_text

        findings = review_paths([self.inside(path, "path")]) if path else review_text(text, name)
        return shapes.reviewed(tuple(findings), self.root)

    @replied
    def list_runs(self, folder: str = "runs") -> Reply[shapes.Runs]:
        """The runs of a folder with their status and verdicts."""
        from aether.counsel.browse import summaries

        return shapes.runs(summaries(self.inside(folder, "folder")), self.root)

    @replied
    def show_run(
        self,
        run: RunName,
        every: Annotated[bool, Field(description="Every number on record, not only those of the verdicts.")] = False,
    ) -> Reply[shapes.Shown]:
        """A run's verdicts and the numbers that they stand on, each with its source; with `every` all numbers of the run."""
        from aether.counsel.browse import read_run
        from aether.running.folder import RunFolder

        return shapes.shown(read_run(RunFolder(self.inside(run, "run"))), whole=every)

    @replied
    def compare_runs(self, a: RunName, b: RunName) -> Reply[shapes.Differences]:
        """Two runs: what was chosen differently, and each number, paired, with intervals and a conclusion."""
        from aether.counsel.browse import compare_runs
        from aether.running.folder import RunFolder

        return shapes.differences(compare_runs(RunFolder(self.inside(a, "a")), RunFolder(self.inside(b, "b"))))

    @replied
    def run_status(self, run: RunName) -> Reply[RunState]:
        """How long work stands: running or ended, its result, its plan with the hash that launch_build needs."""
        return run_state(self.inside(run, "run"))

    @replied
    def doctor(self) -> Reply[shapes.Health]:
        """What works in this installation, what is missing, and the command that mends it."""
        from aether.counsel.doctor import examine

        return shapes.health(examine(self.root / "runs"))

    @replied
    def plan_build(self, brief: BriefFields, run: RunName, settings: Settings | None = None) -> Reply[RunState]:
        """Start planning a model that is built on this machine (probe, data, pilots: minutes). Returns at once; run_status tells
        when it has ended and gives the predicted time, the cost and the hash to approve."""
        from aether.counsel.launching import begin_plan

        folder = self.inside(run, "run")
        begin_plan(self._brief(brief, settings or []), folder)
        return run_state(folder)

    @replied
    def launch_build(
        self,
        run: RunName,
        approve: Annotated[str, Field(description="The hash that run_status gave; a person has approved it.")],
    ) -> Reply[RunState]:
        """Carry out the build that was planned in a run's folder: spends the predicted time and money. Returns at once."""
        from aether.counsel.launching import launch

        folder = self.inside(run, "run")
        launch(folder, approve)
        return run_state(folder)

    @replied
    def cancel_run(self, run: RunName) -> Reply[RunState]:
        """Stop what works in a run's folder, as Ctrl-C does: finished steps are kept, launch_build goes on from them."""
        from aether.running.jobs import cancel

        folder = self.inside(run, "run")
        cancel(folder)
        return run_state(folder)

    @replied
    def reproduce_run(self, run: RunName, approve: str = "") -> Reply[RunState]:
        """Carry a finished run's record out again and compare every number. Without `approve`: what it took the first time, and the
        hash to approve. With it: starts, and returns at once; run_status on RUN-again tells the rest."""
        from aether.counsel.launching import begin_reproduction

        return run_state(begin_reproduction(self.inside(run, "run"), approve))

    def _brief(self, raw: dict[str, Any], settings: list[str]):
        from aether.policy.brief_file import apply_settings, to_brief

        return to_brief(apply_settings(raw, settings), "brief", self.root)


def tools_of(toolbox: Toolbox) -> dict[str, Callable[..., Reply[Noun]]]:
    """Name -> tool."""
    return {tool.__name__: tool for tool in (*toolbox.reading, *toolbox.working)}
