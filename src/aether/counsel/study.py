"""A study of preferences, written down before the first vote: pairs in an order by lot, checks of attention, who judges what, and the analysis.

The folder has `pairs.jsonl` (what `aether web` shows, checks among them), `pairs.jsonl.study.json` (the plan, which the annotation page and
`aether votes` keep to) and `study.md` (for people).
"""

import random
from collections.abc import Sequence
from pathlib import Path

from aether.counsel import votes
from aether.counsel.annotation import Annotation, Study, study_file
from aether.counsel.citing import Cited
from aether.evidence.files import write_atomically
from aether.evidence.hashing import hash_file
from aether.evidence.pairs import Pair
from aether.evidence.preference_study import StudyDesign, assigned
from aether.report.page import page_markdown
from aether.spec.answer import Page
from aether.spec.errors import InputError
from aether.spec.report import Code, Items, Paragraph, Report, Section, Table, Text, Verbatim, heads, text_of


def write_study(pairs: Sequence[Pair], design: StudyDesign, out: Path, seed: int = 0) -> Page:
    """Lay out the study in `out`. Pairs with a right answer are checks, and others are made until there are enough.

    Raises InputError where the folder holds a study, or the pairs cannot make the checks.
    """
    path = out / "pairs.jsonl"
    if path.exists():
        raise InputError.of(
            "out", str(out), "it holds a study, which must not change once people judge; choose another folder"
        )
    draw = random.Random(seed)
    shuffled = draw.sample(list(pairs), len(pairs))
    rows = [pair for pair in shuffled if pair.check is None]
    own = [pair for pair in shuffled if pair.check is not None]
    checks = own + _checks(rows, design.checks - len(own), draw)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(row.model_dump_json(exclude_none=True) + "\n" for row in (*rows, *checks)))
    every_check = tuple(range(len(rows), len(rows) + len(checks)))
    shares = {f"rater-{n}": (*mine, *every_check) for n, mine in enumerate(assigned(design, seed), 1)}
    study = Study(pairs_sha256=hash_file(path), seed=seed, raters=shares, votes_planned=design.votes)
    write_atomically(study_file(path), study.model_dump_json(indent=1) + "\n")
    page = page_of(design, path, len(checks))
    write_atomically(out / "study.md", page_markdown(page))
    return page


def _checks(pairs: Sequence[Pair], count: int, draw: random.Random) -> list[Pair]:
    """An answer to the question beside an answer to another one: who reads prefers the first."""
    prompts = sorted({pair.prompt for pair in pairs})
    if count and len(prompts) < 2:
        raise InputError.of(
            "pairs", len(prompts), "checks of attention need two different prompts; give more, or no checks"
        )
    found = []
    for n in range(count):
        pair = pairs[n % len(pairs)]
        other = draw.choice([one for one in pairs if one.prompt != pair.prompt])
        right = draw.choice(("a", "b"))
        answers = {"a": pair.a, "b": other.a} if right == "a" else {"a": other.a, "b": pair.a}
        found.append(Pair(prompt=pair.prompt, check=right, **answers))
    return found


def page_of(design: StudyDesign, path: Path, checks: int) -> Page:
    """What was decided before the first vote."""
    cited = Cited(
        "study",
        "the design: pairs, raters and judges of a pair; correlations as in docs/evaluation.md",
        kind="computed",
    )
    see = cited("smallest_detectable", design.smallest_detectable, "fraction")
    votes, load = cited("votes", design.votes, ""), cited("largest_load", design.largest_load, "")
    careless = cited("careless_pass", design.careless_pass, "fraction", source="binomial, a rater who flips a coin")
    share = cited("pass_share", design.pass_share, "fraction", source="fixed before the study")
    names = "rater-1" if design.raters == 1 else f"rater-1 to rater-{design.raters}"
    items = (
        text_of("Question: is one model preferred to the other on prompts of this kind? The measure is the share of wins, a tie half a win."),
        text_of("Votes planned: ", *votes, "; at most ", *load, " judgements a rater, checks among them. Analysis waits for all of them."),
        text_of("A share of wins nearer to one half than ", *see, " cannot be relied on to be seen."),
        text_of("Blind: names of models are not shown; side and order are drawn by lot for each rater."),
        text_of("Raters sign in as ", Verbatim(role="user", text=names), ", and each is given a share of the pairs and every check."),
        text_of("Left out: raters who pass less than ", *share, " of the checks; a rater who flips a coin stays with probability ", *careless, "."),
        text_of("Intervals are over raters; agreement is Krippendorff's alpha."),
    )  # fmt: skip
    read_first = "The checks are answers to another question beside answers to this one: read them before the study, and drop one that is unfair."
    blocks = (Items(items=items), *((Paragraph(text=text_of(read_first), tone="note"),) if checks else ()))
    commands = f"aether web          # page Annotate, file {path}; a rater's name is theirs in the plan\naether votes {path} --side"
    sections = (
        Section(key="plan", title="Decided before the first vote", blocks=blocks),
        Section(key="run", title="How", blocks=(Code(language="console", text=commands),)),
    )
    title = text_of("Study of preferences on ", Verbatim(role="path", text=str(path)))
    return Page(report=Report(title=title, sections=sections), evidence=tuple(cited.evidence))


def results_page(task: Annotation) -> Page:
    """How a study stands; once everyone has judged their share, what it found. Before, nobody sees how the votes fall.

    Raises InputError for pairs without a study.
    """
    if task.study is None:
        raise InputError.of("study", str(task.path), "these pairs have no plan; lay a study out with aether study")
    cited = Cited("study", "judgements beside the pairs; the study's plan")
    judged = task.standing()
    left = {who: sum((who, item) not in judged for item in mine) for who, mine in task.study.raters.items()}
    sections = [Section(key="raters", title="Who has judged", blocks=(_raters(task, left, cited),))]
    evidence = cited.evidence
    if any(left.values()):
        told = "Strengths and agreement are shown when everyone has judged: looking early, and stopping when it pleases, finds too much."
        sections.append(Section(key="wait", title="Found", blocks=(Paragraph(text=text_of(told), tone="note"),)))
    else:
        found = _found(task)
        sections += found.report.sections
        evidence = [*evidence, *found.evidence]
    title = text_of("Study of preferences on ", Verbatim(role="path", text=str(task.path)))
    return Page(report=Report(title=title, sections=tuple(sections)), evidence=tuple(evidence))


def _found(task: Annotation) -> Page:
    """The page of the votes; where no strength fits (a model won every vote, or its side or length decided), the reason and the agreement."""
    given = votes.read_votes(task.path)
    try:
        return votes.page_of(votes.fitted(given.votes, "half", side=True), given, task.path)
    except InputError as error:
        cited = Cited("votes")
        why = Paragraph(text=text_of("No strengths: ", Verbatim(role="name", text=str(error)), "."), tone="warning")
        section = Section(key="strengths", title="Strengths", blocks=(why, *votes.agreed(given, cited)))
        return Page(report=Report(title=text_of("Votes"), sections=(section,)), evidence=tuple(cited.evidence))


def _raters(task: Annotation, left: dict[str, int], cited: Cited) -> Table:
    assert task.study is not None
    passed = {} if any(left.values()) else task.attention()
    rows: list[tuple[Text, ...]] = []
    for who, mine in task.study.raters.items():
        cells: list[Text] = [(Verbatim(role="user", text=who),), cited(f"{who}.judged", len(mine) - left[who], ""), cited(f"{who}.share", len(mine), "")]  # fmt: skip
        if passed:
            cells.append(cited(f"{who}.passed", passed[who].value, "fraction", passed[who].interval) if who in passed else text_of("no check"))  # fmt: skip
        rows.append(tuple(cells))
    names = ["rater", "judged", "of", *(["checks of attention passed"] if passed else [])]
    return Table(columns=heads(*names), rows=tuple(rows), numeric=tuple(range(1, len(names))))
