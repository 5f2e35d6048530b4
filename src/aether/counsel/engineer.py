"""From a brief to a judged model: probe, refuse, curate, pilot, plan, carry out, judge, report.

The whole path is `Build.carry_out`. Every arrow is a step with a record, or a file written atomically, so a run that
was cut at any moment goes on from what is there. Nothing here computes: each line asks a part that does.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from aether.counsel.intake import check
from aether.counsel.keeping import VERDICTS_NAME, KeptPlan, release_model, withdraw_model
from aether.evidence.extras import need
from aether.evidence.files import write_json
from aether.evidence.hashing import hash_value
from aether.evidence.ledger import LEDGER_NAME, Ledger
from aether.evidence.verdicts import judge, predicted_ids, predictions
from aether.hardware.machine import Machine
from aether.hardware.probe import ProbeRecipe
from aether.planning.decide import make_plan
from aether.planning.facts import DataFacts, PilotResult
from aether.planning.feasibility import refuse_impossible
from aether.planning.machines import machine_of
from aether.planning.pilots import pilot_steps
from aether.planning.recipes import data_step
from aether.report.write import write_report
from aether.running.folder import Clock, RunFolder
from aether.running.lock import exclusive
from aether.running.runner import Finished, Runner
from aether.running.tracking import Tracker
from aether.spec.brief import Brief
from aether.spec.errors import TARGET_MISSED_EXIT_CODE, AetherError, Infeasible, InputError
from aether.spec.evidence import Evidence
from aether.spec.metrics import GATES
from aether.spec.plan import Plan, Refusal
from aether.spec.recipe import Step
from aether.spec.run import Listener, Progress, Verdict
from aether.stages.data.estimate import pin
from aether.stages.data.recipe import DataRecipe


@dataclass(frozen=True)
class Outcome:
    """What a finished build says: the verdicts and the numbers they rest on."""

    folder: Path
    verdicts: tuple[Verdict, ...]
    ledger: Ledger

    @property
    def model(self) -> Path:
        """The Hugging Face folder that was built."""
        return self.folder / "model"

    @property
    def exit_code(self) -> int:
        """0 when no target was missed and every gate is met, else 5."""
        missed = any(v.status == "missed" for v in self.verdicts)
        return TARGET_MISSED_EXIT_CODE if missed or self.shut_gates else 0

    @property
    def shut_gates(self) -> tuple[Verdict, ...]:
        """Bounds on metrics of safety that are not shown to be met: with one of them no model is released."""
        return tuple(v for v in self.verdicts if v.target.metric in GATES and v.status != "met")


def build(brief: Brief, folder: RunFolder, command: tuple[str, ...], listener: Listener) -> Outcome:
    """Carry a brief out in `folder`, or go on with it. Raises what `check` raises, InputError, Infeasible and RunBusy."""
    check(brief)
    if brief.model is not None:
        mend = "a published model is planned for, not built: use `aether plan`"
        raise InputError.of("model.name", brief.model.name, mend)
    need("train", "compress", "serve")
    with exclusive(folder.lock, folder.path):
        folder.start(brief, command)
        return Build(brief, folder, listener).carry_out()


def plan(brief: Brief, folder: RunFolder, command: tuple[str, ...], listener: Listener) -> Plan:
    """Everything up to the decision; `build` on the same folder goes on from there."""
    check(brief)
    need("train", "serve")
    with exclusive(folder.lock, folder.path):
        folder.start(brief, command)
        work = Build(brief, folder, listener)
        try:
            return work.decide()
        except Infeasible:
            work.note_status("infeasible")
            raise


def _pinned(step: Step) -> Step:
    """The data step with its input fixed by content, so that changed files are another step."""
    recipe = pin(DataRecipe.model_validate(step.config))
    return step.model_copy(update={"config": recipe.model_dump(mode="json")})


def _pilot(done: Finished) -> PilotResult:
    record = done.record
    return PilotResult.read(record.step, done.folder, record.config, record.wall_s)


def run_evidence(brief: Brief, elapsed_s: float, reused_s: float) -> tuple[Evidence, ...]:
    """The build's own numbers: its wall time, and what that costs at the brief's price (left out when it has none)."""
    source = "wall clock of every process that worked on the run, plus the recorded time of steps found already made"
    time = Evidence(
        id="run.build_time",
        metric="build_time",
        value=elapsed_s,
        unit="s",
        kind="measured",
        source=source,
        repeats="machine",
        conditions={"reused_s": reused_s},
    )
    price = brief.hardware.price_usd_per_hour if brief.hardware else None
    if price is None:
        return (time,)
    cost = time.model_copy(
        update={
            "id": "run.build_cost",
            "metric": "build_cost",
            "value": elapsed_s / 3600 * price,
            "unit": "USD",
            "kind": "computed",
            "source": "build_time times hardware.price_usd_per_hour of the brief",
        }
    )
    return time, cost


class Build:
    """One process's work on one run."""

    def __init__(self, brief: Brief, folder: RunFolder, listener: Listener) -> None:
        self.brief = brief
        self.folder = folder
        self.listener = listener
        self.clock = Clock(folder)
        self.tracker = Tracker.of(folder.path, listener)
        self.runner = Runner(folder.store, self._hear)
        self.steps: list[Step] = []
        self.predicted: dict[str, float] = {}
        self.reused_s = 0.0

    def carry_out(self) -> Outcome:
        """Plan, then every step of the decided recipe, then verdicts and report."""
        try:
            plan = self.decide()
            self.note_status("running")
            for step in plan.decision.recipe.steps:
                if step.name not in self.runner.finished:
                    self._step(step)
            return self._judge(plan)
        except AetherError as error:
            self.note_status("infeasible" if isinstance(error, Infeasible) else "failed")
            self.tracker.finish(failed=True)
            raise

    def decide(self) -> Plan:
        """Probe, refuse the impossible, curate, pilot and decide. Raises Infeasible before any training that cannot pay."""
        machine = self._probe()
        self._refuse(refuse_impossible(self.brief, machine))
        if machine.kind != "measured":
            mend = "a build runs on the machine it is on: give this brief to `aether` there, or use this-machine"
            raise InputError.of("hardware.name", machine.name, mend)
        data = self._step(_pinned(data_step(self.brief)))
        facts = DataFacts.read(data.folder)
        pilots = pilot_steps(self.brief, machine, facts)
        results = tuple(_pilot(self._step(step)) for step in pilots)
        outputs = [done.record.output_sha256 for done in self.runner.finished.values()]
        made_from = hash_value([self.brief.model_dump(mode="json"), *outputs])
        kept = KeptPlan.read(self.folder.path)
        if kept is None or kept.made_from != made_from:
            plan = make_plan(self.brief, machine, facts, results, self.elapsed_s(), before=tuple(self.steps))
            kept = KeptPlan(made_from=made_from, plan=plan)
            kept.write(self.folder.path)
        write_json(self.folder.path / "recipe.json", kept.plan.decision.recipe.model_dump(mode="json"))
        self.predicted = {f"predicted_{e.metric}": e.value for e in predictions(kept.plan)}
        return kept.plan

    def elapsed_s(self) -> float:
        """What this build has taken: work on it, plus the recorded time of what it found already made."""
        return self.clock.elapsed_s() + self.reused_s

    def _probe(self) -> Machine:
        config = ProbeRecipe.of_this_machine().model_dump(mode="json")
        machine = Machine.read(self._step(Step(name="probe", stage="probe", config=config)).folder)
        return machine_of(self.brief, machine)

    def _step(self, step: Step) -> Finished:
        already = step.name in self.folder.manifest().steps
        done = self.runner.run_step(step)
        self.steps.append(step)
        if done.reused and not already:
            self.reused_s += done.record.wall_s
        self.folder.note_step(step.name, done)
        self.tracker.note(done.folder, done.record)
        return done

    def _hear(self, progress: Progress) -> None:
        self.clock.beat()
        if progress.step == "train" and progress.numbers:
            progress = replace(progress, numbers={**progress.numbers, **self.predicted})
        self.listener(progress)

    def _refuse(self, refusals: tuple[Refusal, ...]) -> None:
        if not refusals:
            return
        as_data = [refusal.model_dump(mode="json") for refusal in refusals]
        write_json(self.folder.path / "refusals.json", as_data)
        told = "; ".join(f"{r.target} cannot be met: {r.arithmetic}. {r.nearest}" for r in refusals)
        raise Infeasible(told, refusals=as_data)

    def _judge(self, plan: Plan) -> Outcome:
        self.listener(Progress("report", message="started"))
        records = self.folder.records()
        behind = self._shown_behind_defences()
        found = (*predictions(plan), *behind, *run_evidence(self.brief, self.elapsed_s(), self.reused_s))
        ledger = Ledger.of(records, found).dump(self.folder.path / LEDGER_NAME)
        verdicts = judge(self.brief, ledger, predicted_ids(ledger))
        write_json(self.folder.path / VERDICTS_NAME, [v.model_dump(mode="json") for v in verdicts])
        self.note_status("done")
        written = write_report(self.folder.path, self.folder.manifest(), plan, records, verdicts)
        outcome = Outcome(self.folder.path, verdicts, ledger)
        if outcome.shut_gates:
            withdraw_model(self.folder.path)
        else:
            guard = self.brief.red_team and self.brief.red_team.guard
            built = self.folder.output("compress") / "model"
            release_model(self.folder.path, built, written["card"], Path(guard) if guard else None)
        self.tracker.finish(verdicts)
        self.listener(Progress("report", 1, 1, message="done"))
        return outcome

    def _shown_behind_defences(self) -> tuple[Evidence, ...]:
        if self.brief.red_team is None or self.brief.red_team.guard is None:
            return ()
        need("suites")
        from aether.counsel.served_gates import shown_behind_defences

        return shown_behind_defences(
            self.brief,
            self.folder.path,
            self.runner.finished["compress"].folder / "model",
            lambda what, count: self._hear(Progress("redteam", count, unit="answers", message=what)),
        )

    def note_status(self, status: str) -> None:
        """Write down how the run stands."""
        self.folder.save(self.folder.manifest().model_copy(update={"status": status}))
