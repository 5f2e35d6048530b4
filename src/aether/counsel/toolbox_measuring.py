"""The tools that measure models: suites, red teams, judges of pairs, studies of preferences, and what they found."""

from typing import Annotated

from pydantic import Field

from aether.counsel import toolbox_data as shapes
from aether.counsel.measuring import JudgeOrder, Order, RedTeamOrder, SuiteOrder, begin, work_of
from aether.counsel.reply import Reply
from aether.counsel.toolbox_common import Folder, RunName, replied
from aether.counsel.toolbox_work import RunState, run_state

Approve = Annotated[
    str, Field(description="The hash that the first call gave; a person has approved it. Empty: what it would ask.")
]
Bounds = Annotated[
    list[str], Field(description='Of a red team: "attack_success <= 10 %", ...: met, missed or unproven.')
]


class MeasuringTools(Folder):
    """Measuring, over one folder."""

    @replied
    def list_results(self, folder: str = ".") -> Reply[shapes.Results]:
        """Folders of evaluations, red teams, judgements and studies of preferences, and which of them are finished."""
        from aether.counsel.results import find_results

        return shapes.results(find_results(self.inside(folder, "folder")), self.root)

    @replied
    def show_results(
        self,
        folder: Annotated[str, Field(description="The folder of an evaluation, red team, judgement or study.")],
        gates: Bounds | None = None,
        beside: Annotated[
            list[str] | None,
            Field(description="More evaluations, or the red team, of the same model: one page of all."),
        ] = None,
    ) -> Reply[shapes.Explained]:
        """What an evaluation, a red team, a judge of pairs or a study of preferences found: the whole page, every number summed up
        again from its records, with intervals and with what was not tested."""
        from aether.counsel.results import draw

        more = [self.inside(one, "beside") for one in beside or ()]
        return shapes.explained(draw(self.inside(folder, "folder"), gates or [], more))

    @replied
    def lay_out_study(
        self,
        pairs: Annotated[str, Field(description="JSON lines with prompt, a, b and, never shown, a_model, b_model.")],
        out: Annotated[str, Field(description="The folder of the study; it must hold none.")],
        raters: Annotated[int, Field(ge=1, description="How many people judge.")],
        per_pair: Annotated[int, Field(ge=1, description="Different people for each pair.")] = 1,
        checks: Annotated[int, Field(ge=0, description="Checks of attention for each person.")] = 8,
        difference: Annotated[float | None, Field(description="A share of wins away from one half, as 0.05.")] = None,
        seed: int = 0,
    ) -> Reply[shapes.StudyPlanned]:
        """Lay out a study of people's preferences before anyone votes: who judges which pair by lot, checks of attention, what so many
        votes can show, how it will be analysed. People then judge in `aether web`, page Annotate."""
        from aether.counsel.study import write_study
        from aether.evidence.pairs import read_pairs
        from aether.evidence.preference_study import design_of

        rows = read_pairs(self.inside(pairs, "pairs"))
        design = design_of(rows, raters, per_pair, checks)
        page = write_study(rows, design, self.inside(out, "out"), seed)
        return shapes.study_planned(page, design, difference)

    @replied
    def evaluate_model(self, order: SuiteOrder, run: RunName, approve: Approve = "") -> Reply[RunState]:
        """Evaluate a model or an endpoint on a suite of tasks. Without `approve`: how many questions that asks, and the hash to approve.
        With it: starts, and returns at once; run_status tells when it has ended, show_results what it found."""
        return self._begun(order, run, approve)

    @replied
    def red_team(self, order: RedTeamOrder, run: RunName, approve: Approve = "") -> Reply[RunState]:
        """Try known attacks on a model or an endpoint: attack success beside over-refusal, by category. Without `approve`: how many
        questions that asks, and the hash to approve. With it: starts, and returns at once; then run_status and show_results."""
        return self._begun(order, run, approve)

    @replied
    def judge_pairs(self, order: JudgeOrder, run: RunName, approve: Approve = "") -> Reply[RunState]:
        """Let a language model judge pairs of answers, each in both orders, beside what people said of them. Without `approve`: how many
        questions that asks, and the hash to approve. With it: starts, and returns at once; then run_status and show_results."""
        return self._begun(order, run, approve)

    def _begun(self, order: Order, run: str, approve: str) -> Reply[RunState]:
        folder = self.inside(run, "run")
        begin(work_of(order, folder, self.inside), folder, approve)
        return run_state(folder)
