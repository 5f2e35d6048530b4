"""A comparison of hardware under the load that was read: each side is searched and simulated as a plan does it.

A side is a model on all devices of one kind that there are; where nobody said how many, on those that hold the load at the least cost. One that does not keep up, or misses a target, is said not to hold, with
the arithmetic; of those that hold, the cheapest is decided, all its devices paid for. Where none holds, what would is searched.
"""

import math
from dataclasses import dataclass

from aether.counsel.answers.brief_text import brief_toml
from aether.counsel.answers.compare_parts import closing, comparison_recipe
from aether.counsel.answers.draft import Draft, command, items, name, note, paragraph, table
from aether.counsel.answers.evaluate import TASKS
from aether.counsel.answers.files import evaluation_command
from aether.counsel.answers.fleet_recipe import load_command
from aether.counsel.answers.recipe import HardwarePart
from aether.counsel.answers.sizing import needed, with_count
from aether.planning.search.decide import AS_CHEAP, Found, search
from aether.planning.search.nearby import nearest
from aether.planning.search.problem import Problem, problem_of
from aether.planning.search.steady import BUSIEST
from aether.spec.brief import Brief, Hardware, ModelChoice
from aether.spec.evidence import Interval
from aether.spec.fleet import FleetOption
from aether.spec.plan import Estimate
from aether.spec.report import Block, Bound, Paragraph, Text, text_of

SHOWN = 4
"""Sides side by side: what a line of a hundred characters holds."""
_SOURCE = "planning.search: the search and simulation of this side"
_AXES = ("target", "count", "load")
"""What is changed where no side holds: bounds, how many devices there are, and how much is sent."""
_ROWS = {
    "quality_loss": "accuracy: quality loss",
    "ttft_p99": "speed: first token p99",
    "tpot_p50": "speed: token",
    "e2e_p99": "speed: whole answer p99",
    "device_memory": "memory of a device",
    "cost_per_million_tokens": "cost of M tokens, devices in use",
}


@dataclass(frozen=True)
class Side:
    """A model on so many devices of one kind, searched at the load."""

    problem: Problem
    found: Found

    @property
    def device(self) -> str:
        """The kind of device."""
        return self.problem.hardware[0].device.name

    @property
    def count(self) -> int:
        """How many there are."""
        return self.problem.hardware[0].count

    @property
    def step(self) -> str:
        """Under what its numbers are cited."""
        return f"side-{self.problem.model}-{self.count}-{self.device}"

    @property
    def option(self) -> FleetOption | None:
        """The deployment that a plan decides here; None where none holds the load and the targets."""
        held = self.found.feasible and not self.found.shortfalls
        return self.found.options[0] if held else None

    @property
    def capacity(self) -> Estimate | None:
        """Requests per second that all devices take in the layout of the option, at the busiest that latencies stand."""
        option = self.option
        most = None if option is None else option.estimate("throughput")
        if option is None or most is None or most.value is None:
            return None
        copies = self.count // (option.devices // option.replicas)
        each = BUSIEST * copies / option.replicas / self.problem.load.output_tokens
        ends = most.interval
        return Estimate(
            metric="capacity",
            value=each * most.value,
            unit="request/s",
            interval=ends
            and Interval(low=each * ends.low, high=each * ends.high, level=ends.level, method=ends.method),
            kind="computed",
            formula=f"{BUSIEST:g} * throughput of a replica / tokens of an answer * replicas that these devices hold",
        )

    @property
    def cost(self) -> Estimate | None:
        """US dollars for a million answered tokens at the load, all devices paid for; None without a price."""
        option, price = self.option, self.problem.hardware[0].price_usd_per_hour
        if option is None or price is None:
            return None
        tokens = 3600.0 * self.problem.load.requests_per_s * self.problem.load.output_tokens
        return Estimate(
            metric="cost_of_side",
            value=1e6 * self.count * price / tokens,
            unit="USD",
            interval=None,
            kind="computed",
            formula="devices * price of an hour / tokens answered in an hour",
        )


def is_loaded(brief: Brief) -> bool:
    """Whether a request says what load the devices get."""
    return brief.hardware is not None and "requests_per_s" in brief.load.model_fields_set


def compare_at_load(draft: Draft, models: tuple[str, ...], devices: list[str]) -> None:
    """Decision, options, recipe, code, risks, what is uncertain and the next experiment. Raises InputError."""
    sides = [_side(draft.brief, model, on) for model in models for on in devices][:SHOWN]
    holding = [side for side in sides if side.option is not None]
    priced = [side for side in holding if side.cost is not None]
    best = min(priced or holding[:1], key=_paid, default=None)
    decided = best if priced or len(holding) == 1 else None
    _decide(draft, sides, decided)
    draft.section("options", "Options", *_table(draft, sides))
    draft.section("recipe", "Recipe", *_recipe(draft, sides))
    draft.section("code", "Code", *_code(draft, best))
    closing(draft)


def _side(brief: Brief, model: str, on: str) -> Side:
    chosen, hardware = brief.model, brief.hardware
    assert chosen is not None and hardware is not None
    prices = dict(hardware.prices_usd_per_hour)
    if hardware.price_usd_per_hour:
        prices.setdefault(hardware.name, hardware.price_usd_per_hour)
    one = {
        "model": ModelChoice(name=model, task="serve", formats=chosen.formats),
        "hardware": Hardware(name=on, prices_usd_per_hour=prices),
    }
    alone = brief.model_copy(update=one)
    if not hardware.is_counted(on):
        return Side(*needed(alone))
    problem = problem_of(with_count(alone, hardware.count_of(on)))
    return Side(problem, search(problem, wanted="decision"))


def _paid(side: Side) -> float:
    cost = side.cost
    return math.inf if cost is None or cost.value is None else cost.value


def _all_of(draft: Draft, side: Side) -> Text:
    given = draft.brief.hardware is not None and draft.brief.hardware.is_counted(side.device)
    source = "the brief's count of these devices" if given else "the devices that hold the load at the least cost"
    count = draft.number(f"{side.step}.count", side.count, "count", "assumed" if given else "computed", source)
    return text_of(count, " ", name(side.device))


def _decide(draft: Draft, sides: list[Side], decided: Side | None) -> None:
    holding = [side for side in sides if side.option is not None]
    load = text_of(
        Bound(path="load.requests_per_s"), " requests/s", " within the targets" if draft.brief.targets else None
    )
    if not holding:
        head = text_of("None of these holds " if len(sides) > 2 else "Neither holds ", *load, ".")
    elif decided is None:
        head = text_of(
            "All that hold ", *load, " are in the table; none has a known price: give hardware.prices_usd_per_hour."
        )
    else:
        alike = [side for side in holding if side is not decided and _costs_alike(side, decided)]
        way = "Cheapest that holds " if len(holding) > 1 else "The only one that holds "
        on = (name(decided.problem.model), " on ", *_all_of(draft, decided))
        head = text_of(way, *load, ": ", *on, ".") if not alike else _as_cheap(draft, load, [decided, *alike])
    told: list[Block] = [Paragraph(text=head, tone="decision")]
    lacking = [_lacking(draft, side) for side in sides if side.option is None]
    if lacking:
        told.append(items(*lacking))
    if not holding:
        told.append(paragraph("What would hold it:"))
        told.append(_what_would(draft, sides))
    elif decided is not None:
        told += _why(draft, holding, decided)
    draft.section("decision", "Decision", *told)


def _costs_alike(side: Side, other: Side) -> bool:
    here, there = (None if one.cost is None else one.cost.value for one in (side, other))
    return here is not None and there is not None and here <= AS_CHEAP * there


def _as_cheap(draft: Draft, load: Text, sides: list[Side]) -> Text:
    """The sides that cost about as little as the cheapest one: none of them is the cheapest."""
    said: Text = ()
    for side in sides:
        said = (*said, *text_of(", " if said else "", name(side.problem.model), " on "), *_all_of(draft, side))
    return (*text_of("These hold "), *load, *text_of(" at about the same cost: "), *said, *text_of("."))


def _called(draft: Draft, side: Side, sides: list[Side]) -> Text:
    """A side by its devices, and by its model where others run on as many of them."""
    alike = [one for one in sides if (one.device, one.count) == (side.device, side.count)]
    on = _all_of(draft, side)
    return on if len(alike) == 1 else (*text_of(name(side.problem.model), " on "), *on)


def _lacking(draft: Draft, side: Side) -> Text:
    """Why a side does not hold, with the arithmetic."""
    said: Text = ()
    for lack in side.found.shortfalls:
        how = "physically impossible" if lack.verdict == "impossible" else "not reachable by the predictions"
        arithmetic = draft.sentence(f"{side.step}.lack", f"{lack.arithmetic}.", _SOURCE)
        said = (*said, *text_of(" ", name(lack.subject), f" is {how}: "), *arithmetic)
    return (*text_of(name(side.problem.model), " on "), *_all_of(draft, side), *text_of(" does not hold it:"), *said)


def _what_would(draft: Draft, sides: list[Side]) -> Block:
    lines: list[Text] = []
    for side in sides:
        near = nearest(side.problem, side.found, _AXES)
        changes = [draft.sentence(f"{side.step}.near", one.change, _SOURCE) for one in near]
        said: Text = ()
        for change in changes:
            said = (*said, *text_of("; or " if said else " "), *change)
        if not said:
            said = text_of(" neither more of them nor less load was found to.")
        lines.append((*text_of(name(side.problem.model), " on ", name(side.device), ":"), *said))
    return items(*lines)


def _why(draft: Draft, holding: list[Side], decided: Side) -> list[Block]:
    """What the decision rests on: prices, spare devices, an interval that reaches below the load, the model's quality."""
    told: list[Text] = []
    unpriced = [side for side in holding if side.cost is None]
    if unpriced and len(holding) > 1:
        left = ", ".join(dict.fromkeys(side.device for side in unpriced))
        told.append(
            text_of("No price is known of ", name(left), ", which holds it too: give hardware.prices_usd_per_hour.")
        )
    for side in holding:
        option, capacity = side.option, side.capacity
        assert option is not None
        if option.devices < side.count:
            used = draft.number(
                f"{side.step}.used", option.devices, "count", "computed", "devices of the plan's decision"
            )
            keeps = " keeps" if option.devices == 1 else " keep"
            spare = text_of(f"{keeps} up by the prediction, too.")
            told.append((*text_of(used, " of "), *_called(draft, side, holding), *spare))
        if capacity is not None and capacity.interval and capacity.interval.low < side.problem.load.requests_per_s:
            keeps = " keeps" if side.count == 1 else " keep"
            less = text_of(f"{keeps} up by the prediction; the low end of the interval does not: ask for spare.")
            told.append((*_called(draft, side, holding), *less))
        if option.standing == "at_risk":
            told.append(
                (
                    *_called(draft, side, holding),
                    *text_of(": a target is at risk, the bad end of its interval misses it."),
                )
            )
    models = {side.problem.model for side in holding}
    formats = {side.option.precision for side in holding if side.option is not None}
    if len(models) > 1:
        told.append(
            text_of("This is on cost alone. Which model does your work better is not known here, and decides first.")
        )
    elif len(formats) > 1:
        told.append(text_of("The model is the same, its number format is not: the loss of each stands in the table."))
    return [items(*told)] if told else []


def _table(draft: Draft, sides: list[Side]) -> list[Block]:
    heads: list[str | Text] = ["", *(text_of(name(side.problem.model)) for side in sides)]
    out = text_of("none")
    rows: list[list[Text]] = [[text_of("on"), *(_all_of(draft, side) for side in sides)]]
    rows.append(
        [
            text_of("deployed as"),
            *(text_of(name(s.option.name)) if s.option else text_of("none that holds it") for s in sides),
        ]
    )
    rows.append(
        [text_of("most requests it takes"), *(draft.estimate(s.step, s.capacity) if s.option else out for s in sides)]
    )
    for metric, label in _ROWS.items():
        bound = text_of(" ", Bound(path=f"targets.{metric}")) if draft.brief.target(metric) else ()
        cells = [draft.estimate(s.step, s.option.estimate(metric)) if s.option else out for s in sides]
        rows.append([(*text_of(label), *bound), *cells])
    rows.append(
        [
            text_of("cost of M tokens, all devices"),
            *(draft.estimate(s.step, s.cost) if s.option else out for s in sides),
        ]
    )
    rows.append([text_of("training cost"), *(text_of("none") for _ in sides)])
    rows.append([text_of("complexity"), *(text_of(s.option.complexity) if s.option else out for s in sides)])
    told = note(
        "Open loop of ", Bound(path="load.requests_per_s"), " requests/s, prompts of ", Bound(path="load.prompt_tokens"), " and answers of ",
        Bound(path="load.output_tokens"), " tokens, each side simulated in the deployment that a plan decides for it. ",
        "Intervals hold eight times in ten.",
    )  # fmt: skip
    return [table(heads, rows), told]


def _recipe(draft: Draft, sides: list[Side]) -> list[Block]:
    load = draft.brief.load
    layouts = [side.option.layout for side in sides if side.option is not None]
    engines = [side.option.software for side in sides if side.option is not None]
    kinds: Text = ()
    for side in {side.device: side for side in sides}.values():
        kinds = (*kinds, *text_of(", " if kinds else None), *_all_of(draft, side))
    hardware = HardwarePart(
        devices=kinds,
        parallelism=text_of(
            name(", ".join(dict.fromkeys(layouts)) or "none that holds the load"), ", in the order of the table"
        ),
        software=text_of(name(", ".join(dict.fromkeys(engines)) or "none")),
    )
    measured_on = text_of(
        "open loop, Poisson arrivals at ", draft.number("compare.rate", load.requests_per_s, "request/s", "assumed", "the brief's load"),
        ", prompts of ", draft.number("compare.prompt", load.prompt_tokens, "token", "assumed", "the brief's load"), " and answers of ",
        draft.number("compare.output", load.output_tokens, "token", "assumed", "the brief's load"), "; quality on your own items",
    )  # fmt: skip
    models = {side.problem.model: side.problem.architecture for side in sides}
    return comparison_recipe(draft, models, hardware, measured_on)


def _code(draft: Draft, best: Side | None) -> list[Block]:
    blocks: list[Block] = [
        paragraph("Quality, on the same items for each:"),
        draft.code("bash", evaluation_command(TASKS[draft.brief.modality or "text"][0])),
    ]
    if best is not None and best.option is not None:
        blocks.append(paragraph("The load test that holds the prediction to account:"))
        blocks.append(draft.code("bash", load_command(best.problem, best.option.replicas)))
    told = ("The brief as it was read; ", command("aether plan"), " takes it, one model and one task at a time:")
    return [*blocks, paragraph(*told), draft.code("toml", brief_toml(draft.brief))]
