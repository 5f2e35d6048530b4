"""Under what a number holds: at which load, batch or size it was found, and whether it says faster or slower.

Read from the words beside a number, in a reply and in its source alike: what both name must be the same.
"""

import re
from collections.abc import Iterable, Mapping

_LOAD = re.compile(
    r"\b(?P<low>low|light|small|little)\b(?:er|est)? (?:loads?|rates?|traffic|concurrency|qps)\b|"
    r"\b(?P<high>high|heavy|large|full|peak)\b(?:er|est)? (?:loads?|rates?|traffic|concurrency|qps)\b|"
    r"\b(?P<one>(?:one|1|a single) request (?:a|per|each) second|batch (?:size )?(?:of )?(?:one|1)\b|single (?:user|stream|request))",
    re.IGNORECASE,
)
_SLOWER = re.compile(r"\bslow(?:er|s|ed|down)?\b|\bslow-?downs?\b", re.IGNORECASE)
_FASTER = re.compile(r"\bfast(?:er)?\b|\bspeed-?ups?\b|\bsped\b|\bspeeds? up\b", re.IGNORECASE)
_SIZE = re.compile(
    r"\b(?P<part>a|one|half a) (?:(?P<of>tenth|hundredth|quarter|third|fifth) of a )?billion parameters\b|"
    r"(?<![\w.-])(?P<value>\d+(?:\.\d+)?) ?(?P<scale>[BbM]|billion|million)\b(?! tokens)",
)
_LENGTH = re.compile(
    r"(?<![\w.,])(?:(?P<digits>\d+(?:[.,]\d+)?) ?(?:[kK]|thousand)|(?P<word>two|four|eight|sixteen|thirty-two|sixty-four|hundred) thousand)(?= tokens\b|[,.;)]|$| (?:but|and|with|of)\b)"
)
_THOUSANDS = {"two": 2, "four": 4, "eight": 8, "sixteen": 16, "thirty-two": 32, "sixty-four": 64, "hundred": 100}
_RUN = re.compile(
    r"(?<![\w.-])(?P<value>\d+(?:\.\d+)?(?:e\+?\d+)?) ?(?P<scale>[BbMT](?![A-Za-z])|billion|million|trillion)?(?: (?:training )?)(?P<of>parameters|params|tokens)\b|"
    r"(?<![\w.-])(?P<size>\d+(?:\.\d+)?)[Bb] ?(?:[/,]|on|and|with) ?(?P<data>\d+(?:\.\d+)?)(?P<unit>[BT])\b(?: tokens)?",
)
"""How large a model is and on how many tokens it is trained."""
_YOURS = re.compile(r"\b(?:at|under|for|with|on) your (?:own )?(?:load|traffic|rate|request rate)\b", re.IGNORECASE)
_CLIENTS = re.compile(r"\b\d+ clients\b|\bclosed loop\b", re.IGNORECASE)
_PARTS = {"tenth": 0.1, "hundredth": 0.01, "quarter": 0.25, "third": 1 / 3, "fifth": 0.2, None: 1.0}
_SCALES = {"B": 1e9, "b": 1e9, "billion": 1e9, "M": 1e6, "million": 1e6, "T": 1e12, "trillion": 1e12, None: 1.0}
_LEAST = 1e6
"""What has fewer is a prompt, not a training."""
_NEAR = 1.6
"""How far two sizes may be apart and count as the same: assumed."""
Condition = tuple[str, str | float]


def conditions_in(text: str) -> frozenset[Condition]:
    """What a text says of load, pace and size."""
    found: set[Condition] = {("load", "high" if m["high"] else "low") for m in _LOAD.finditer(text)}
    if _SLOWER.search(text):
        found.add(("pace", "slower"))
    if _FASTER.search(text):
        found.add(("pace", "faster"))
    if _YOURS.search(text):
        found |= {("traffic", "the person's"), ("load", "the person's")}
    if _CLIENTS.search(text):
        found.add(("traffic", "clients"))
    for match in _LENGTH.finditer(text):
        thousands = float(match["digits"].replace(",", ".")) if match["digits"] else float(_THOUSANDS[match["word"]])
        found.add(("length", 1000 * thousands))
    for match in _RUN.finditer(text):
        if match["size"]:
            found |= {("size", float(match["size"]) * 1e9), ("tokens", float(match["data"]) * _SCALES[match["unit"]])}
        elif (value := float(match["value"]) * _SCALES[match["scale"]]) >= _LEAST:
            found.add(("size" if match["of"].startswith("param") else "tokens", value))
    for match in _SIZE.finditer(text):
        if match["value"]:
            found.add(("size", float(match["value"]) * _SCALES[match["scale"]]))
        else:
            found.add(("size", _PARTS[match["of"]] * (0.5e9 if match["part"] == "half a" else 1e9)))
    return frozenset(found)


def of_record(conditions: Mapping[str, object]) -> frozenset[Condition]:
    """What a record says of the size of its model and the tokens of its training."""
    keys = {"parameters": "size", "tokens": "tokens"}
    return frozenset((keys[k], float(v)) for k, v in conditions.items() if k in keys and isinstance(v, int | float))


def of_unit(unit: str) -> frozenset[Condition]:
    """ "times as slow" is slower."""
    return frozenset({("pace", "slower" if "slow" in unit else "faster")}) if "times as" in unit else frozenset()


def clash(asked: Iterable[Condition], known: Iterable[Condition]) -> bool:
    """Whether both speak of one thing and nothing that they say of it is the same."""
    for key in {key for key, _ in asked} & {key for key, _ in known}:
        mine = [value for name, value in asked if name == key]
        theirs = [value for name, value in known if name == key]
        if not any(_alike(a, b) for a in mine for b in theirs):
            return True
    return False


def _alike(a: str | float, b: str | float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return max(a, b) <= _NEAR * min(a, b)
    return a == b
