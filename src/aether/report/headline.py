"""The first two sections: what was asked and whether it was met, and what was decided and why."""

from aether.report.pieces import EMPTY, full, if_known, joined, label, name, user
from aether.report.sources import RunFacts, Sources, leaves, metric_of, option_step
from aether.spec.errors import UnsourcedNumber
from aether.spec.metrics import METRICS
from aether.spec.plan import Option, Plan
from aether.spec.report import (
    Badge,
    Block,
    Bound,
    Cite,
    Gauge,
    Items,
    Paragraph,
    Planned,
    Section,
    Setting,
    Table,
    Text,
    Words,
    heads,
    text_of,
)
from aether.spec.run import Verdict

_TRADE_OFFS = (
    ("bits_per_byte", "quality: bits per byte"),
    ("throughput", "speed: throughput"),
    ("ttft_p99", "speed: first token, p99"),
    ("serving_memory", "memory to serve"),
    ("training_memory", "memory to train"),
    ("build_time", "training cost: build time"),
    ("build_cost", "training cost: money"),
)


def verdict_section(facts: RunFacts, sources: Sources) -> Section:
    """Every target: asked, predicted, measured, and met, missed or unproven."""
    brief = facts.manifest.brief
    blocks: list[Block] = [Paragraph(text=_summary(facts.verdicts))]
    if facts.verdicts:
        rows = tuple(_verdict_row(verdict, sources) for verdict in facts.verdicts)
        caption = text_of(
            "In the strip the upright line is the bound and the good side is shaded; the open bar is the prediction, "
            "the solid one the measurement, each with its interval, on a logarithmic scale of its own."
        )
        columns = heads("target", "asked", "predicted", "measured", "against the bound", "verdict", "because")
        blocks.append(Table(columns=columns, rows=rows, numeric=(1, 2, 3), caption=caption, role="verdicts"))
    if brief.intended_use:
        blocks.append(Paragraph(text=text_of("Intended use: ", user(brief.intended_use)), tone="note"))
    load = text_of(
        "Latency is asked for at ",
        Bound(path="load.requests_per_s"),
        " requests per second (Poisson arrivals), prompts of ",
        Bound(path="load.prompt_tokens"),
        " tokens and answers of ",
        Bound(path="load.output_tokens"),
        ".",
    )
    if any(METRICS[t.metric].stage == "serve" for t in brief.targets):
        blocks.append(Paragraph(text=load, tone="note"))
    return Section(key="verdict", title="Verdict", blocks=tuple(blocks))


def _summary(verdicts: tuple[Verdict, ...]) -> Text:
    if not verdicts:
        return text_of("The brief names no target, so there is nothing to judge: what was measured stands below.")
    by_status = {s: [v.target.metric for v in verdicts if v.status == s] for s in ("met", "missed", "unproven")}
    if len(by_status["met"]) == len(verdicts):
        return text_of("Every target of the brief was met.")
    parts: list[Text] = []
    for status, word in (("missed", "Missed: "), ("unproven", "Unproven: ")):
        if by_status[status]:
            parts.append((Words(text=word), *joined([(name(label(m)),) for m in by_status[status]])))
    rest = ". Every other target was met." if by_status["met"] else ". No target was met."
    return (*joined(parts, ". "), Words(text=rest))


def _verdict_row(verdict: Verdict, sources: Sources) -> tuple[Text, ...]:
    metric = verdict.target.metric
    predicted, measured = verdict.predicted_id, verdict.measured_id
    ids = [Cite(id=i) for i in (measured, predicted) if i]
    reason = sources.trace(verdict.reason, [Bound(path=f"targets.{metric}"), *ids])
    return (
        text_of(name(label(metric))),
        text_of(Bound(path=f"targets.{metric}")),
        full(predicted) if predicted else EMPTY,
        full(measured) if measured else EMPTY,
        (Gauge(metric=metric, predicted=predicted, measured=measured),),
        (Badge(status=verdict.status),),
        reason,
    )


def decision_section(facts: RunFacts, sources: Sources, withheld: list[str]) -> Section | None:
    """The options, their trade-offs, the decision and how good its predictions were."""
    plan = facts.plan
    if plan is None:
        return None
    blocks: list[Block] = [Paragraph(text=quoted(plan.because, "because", sources, withheld))]
    blocks.append(_options(plan, sources))
    blocks.append(Items(items=tuple(_told(option, plan, sources, withheld) for option in plan.options)))
    if plan.would_change:
        blocks.append(Paragraph(text=text_of("What would change the decision:"), tone="note"))
        blocks.append(
            Items(
                items=tuple(quoted(w, f"would_change.{i}", sources, withheld) for i, w in enumerate(plan.would_change))
            )
        )
    calibration = _calibration(sources, plan)
    if calibration is not None:
        blocks.append(calibration)
    return Section(key="decision", title="What was decided, and why", blocks=tuple(blocks))


def _options(plan: Plan, sources: Sources) -> Table:
    shown = [(m, title) for m, title in _TRADE_OFFS if any(_predicted(o, m) in sources.ledger for o in plan.options)]
    rows = tuple(_option_row(option, plan, [m for m, _ in shown], sources) for option in plan.options)
    columns = heads("option", *(title for _, title in shown), "complexity")
    return Table(columns=columns, rows=rows, numeric=tuple(range(1, 1 + len(shown))))


def _predicted(option: Option, metric: str) -> str:
    return f"{option_step(option)}.predicted.{metric}"


def _option_row(option: Option, plan: Plan, metrics: list[str], sources: Sources) -> tuple[Text, ...]:
    head: Text = (name(option.name),)
    if option.name == plan.decided:
        head += (Words(text=" "), Badge(status="chosen"))
    elif option.refused_because:
        head += (Words(text=" "), Badge(status="refused"))
    cells = (if_known(sources, _predicted(option, metric)) for metric in metrics)
    return (head, *cells, text_of(option.complexity))


def _told(option: Option, plan: Plan, sources: Sources, withheld: list[str]) -> Text:
    """What an option is, and why it was refused."""
    place = f"options.{plan.options.index(option)}"
    told: Text = (name(option.name), Words(text=": "), *quoted(option.summary, f"{place}.summary", sources, withheld))
    if option.refused_because:
        told += (Words(text="; "), *quoted(option.refused_because, f"{place}.refused_because", sources, withheld))
    return told


def _calibration(sources: Sources, plan: Plan) -> Table | None:
    rows = []
    for estimate in plan.decision.estimates:
        if estimate.metric not in METRICS:
            continue
        measured = f"{METRICS[estimate.metric].stage}.{estimate.metric}"
        if estimate.value is None or measured not in sources.ledger:
            continue
        predicted = f"plan.predicted.{estimate.metric}"
        inside = _inside(sources, predicted, measured)
        binding = text_of(name(estimate.binding)) if estimate.binding else EMPTY
        rows.append(((name(metric_of(estimate.metric)),), full(predicted), full(measured), text_of(inside), binding))
    if not rows:
        return None
    caption = text_of("How good the predictions were: each was written down before the main training began.")
    columns = heads("quantity", "predicted", "measured", "prediction", "decided by")
    return Table(columns=columns, rows=tuple(rows), numeric=(1, 2), caption=caption)


def _inside(sources: Sources, predicted: str, measured: str) -> str:
    interval, value = sources.ledger[predicted].interval, sources.ledger[measured].value
    if interval is None:
        return "no interval given"
    if interval.low <= value <= interval.high:
        return "held"
    return "too high" if interval.low > value else "too low"


def quoted(sentence: str, path: str, sources: Sources, withheld: list[str]) -> Text:
    """The plan's sentence at `path`, each number traced; one with a number that cannot be is withheld, and says so."""
    try:
        return sources.trace(sentence, sources.foreseen(), Planned(path=path))
    except UnsourcedNumber as error:
        withheld.append(str(error))
        return text_of("[A sentence of the plan is withheld: it holds a number that cannot be traced.]")


def settings_of(step: str, config: dict) -> tuple[tuple[Text, Text], ...]:
    """Every choice of a step's recipe: its path and its value, as the record states them."""
    return tuple((text_of(name(path)), (Setting(step=step, path=f"config.{path}"),)) for path, _ in leaves(config))
