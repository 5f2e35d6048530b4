"""Traffic from a file: a table of arrivals and lengths (TOML, YAML, JSON), or a trace (CSV). Checked field by field.

    requests = 2000                     # of the simulation
    prefix_share = 0.3                  # of each prompt, found in the prefix cache
    arrivals = { kind = "bursty", requests_per_s = 12, variation = 2 }     # poisson, constant, clients
    prompt = { kind = "lognormal", median = 400, sigma = 0.9, most = 8000 }  # fixed, uniform, geometric, observed
    output = { kind = "geometric", mean = 200 }
    promise = { ttft_s = 0.5, token_s = 0.03, share = 0.99 }               # optional: what users are promised
    link = { bytes_per_s = 25e9 }                                          # optional: prompts and decoding apart
    speculation = { acceptance = 0.7, draft_tokens = 4, draft_share = 0.1 }  # optional

A trace has the columns arrival_s, prompt_tokens, output_tokens, in any order, and nothing else.
"""

import csv
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from aether.planning.serving.arrivals import Trace, Traffic
from aether.planning.serving.disaggregation import Link
from aether.planning.serving.simulator_report import Limits
from aether.policy.brief_errors import of_validation, raise_all
from aether.policy.brief_file import read_raw
from aether.spec.base import Noun
from aether.spec.errors import InputError

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
MOST_ROWS = 1_000_000


class Drafts(Noun):
    """Speculative decoding: what a draft costs and how often it is right."""

    acceptance: float = Field(ge=0, le=1)
    draft_tokens: int = Field(default=4, ge=1, le=64)
    draft_share: float = Field(default=0.1, ge=0)
    """Time of a draft's step as a share of the target's (Leviathan et al., arXiv 2211.17192: c)."""


class Asked(Noun):
    """What the file asks: the traffic, and what is to be answered beside the latencies."""

    traffic: Traffic | Trace
    promise: Limits | None = None
    link: Link | None = None
    speculation: Drafts | None = None


_PARTS: dict[str, type[Noun]] = {"promise": Limits, "link": Link, "speculation": Drafts}


def read_traffic(path: Path) -> Asked:
    """The file's question. Raises InputError that names each field with a problem."""
    if path.suffix.lower() == ".csv":
        return Asked(traffic=Trace(rows=_rows(path)))
    raw = read_raw(path)
    parts = {name: raw.pop(name) for name in _PARTS if name in raw}
    found: dict[str, Any] = {}
    problems = []
    for name, kind, value in [("", Traffic, raw), *((name, _PARTS[name], value) for name, value in parts.items())]:
        try:
            found[name or "traffic"] = kind.model_validate(value)
        except ValidationError as error:
            problems += of_validation(error, name)
    if problems:
        raise_all(str(path), problems)
    return Asked(**found)


def _rows(path: Path) -> tuple[tuple[float, int, int], ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if set(reader.fieldnames or ()) != set(COLUMNS):
                raise InputError.of("trace", str(path), f"its columns must be {', '.join(COLUMNS)}")
            rows = [_row(path, number, row) for number, row in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError.of("trace", str(path), f"cannot be read as CSV ({error})") from error
    if not rows:
        raise InputError.of("trace", str(path), "it has no rows")
    if len(rows) > MOST_ROWS:
        raise InputError.of("trace", str(path), f"it has more than {MOST_ROWS:,} rows; give a part of it")
    return tuple(rows)


def _row(path: Path, number: int, row: dict[str, str]) -> tuple[float, int, int]:
    try:
        return float(row["arrival_s"]), int(row["prompt_tokens"]), int(row["output_tokens"])
    except (TypeError, ValueError) as error:
        mend = "give seconds and two whole numbers of tokens"
        raise InputError.of(f"{path.name}:{number}", dict(row), mend) from error
