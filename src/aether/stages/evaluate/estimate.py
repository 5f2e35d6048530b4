"""How long an evaluation takes: tokens through the model times its arithmetic, plus the baselines. Pure arithmetic.

Scoring is one forward pass per window token; generation is a prefill of the prompts and then batched single tokens,
which a CPU does far below its matrix rate. Does not foresee contention for the machine.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from aether.models.config import DecoderConfig
from aether.spec.base import Noun
from aether.spec.errors import InputError
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term
from aether.stages.evaluate.recipe import EvaluateRecipe, RedTeamRecipe

FORWARD_SHARE = 0.35
"""Share of the measured matrix rate that a forward pass of a small decoder reaches. Assumed; norms and softmax are the rest."""
DECODE_SHARE = 0.05
"""The same for batched decoding, one token a step. Assumed."""
NGRAM_S_PER_TOKEN = 1.0e-6
"""Measured: 2.8 s for 3 million training tokens, one core of an EPYC (Zen 4)."""
ZSTD_S_PER_BYTE = 3.0e-7
"""Of training text in the dictionary. Measured: 2.4 s for 8 MB, the same machine."""
COMPRESS_S_PER_BYTE = 2.6e-6
"""xz and zstd of the test bytes. Measured: 0.93 s for 0.41 MB and again as one stream, the same machine."""
RED_TEAM_ATTACKS, RED_TEAM_PLANTED = 12, 72
"""Attacks on each harmful request, and planted orders and secrets: counted (`redteam.trying.planned`)."""
RED_TEAM_TURNS = 1.2
"""Turns of an attempt: counted."""
JUDGE_TOKENS = 300
"""Of a judge's word on one pair: some sentences and a verdict (`judging.PROMPT` asks for three)."""
SHORT_JUDGE_TOKENS = 16
"""Of a judge's word that is a verdict alone (`judging.SHORT`)."""
VERDICT_TOKENS = 8
"""Of a judge's word on one reply: yes or no."""
SPREAD = 2.0
"""The interval is the value over and times this: the shares above are assumed."""


def estimate(
    recipe: EvaluateRecipe, shape: DecoderConfig, bytes_per_token: float, matrix_flops_per_s: float, train_tokens: int
) -> Estimate:
    """Seconds of the evaluate step for a model of this shape. `bytes_per_token` is the tokenizer's on training text."""
    context = shape.context_tokens
    flops = shape.flops_per_token(context / 2)
    scored_tokens = (recipe.test_bytes + recipe.ood_bytes) / bytes_per_token / recipe.stride_share
    on_code = 2 * (recipe.lines + recipe.programs) if recipe.modality == "code" else 0
    new_tokens = 2 * (recipe.lines * recipe.line_max_tokens + recipe.programs * recipe.program_max_tokens)
    scoring_s = scored_tokens * flops / (matrix_flops_per_s * FORWARD_SHARE)
    prefill_s = on_code * context * flops / (matrix_flops_per_s * FORWARD_SHARE)
    decode_s = (new_tokens if on_code else 0) * flops / (matrix_flops_per_s * DECODE_SHARE)
    if recipe.red_team is not None:
        counts = tried(recipe.red_team, (recipe.harmful_file, recipe.benign_file))
        attempts = RED_TEAM_ATTACKS * counts["attack_success"] + RED_TEAM_PLANTED + counts["over_refusal"]
        attempts *= RED_TEAM_TURNS
        prefill_s += attempts * context * flops / (matrix_flops_per_s * FORWARD_SHARE)
        decode_s += attempts * recipe.red_team.max_tokens * flops / (matrix_flops_per_s * DECODE_SHARE)
    fitted = min(train_tokens, recipe.ngram_cap_tokens) if "5gram" in recipe.baselines else 0
    prior = (
        min(train_tokens * bytes_per_token, recipe.zstd_prior_cap_bytes) if "zstd_train" in recipe.baselines else 0.0
    )
    baselines_s = fitted * NGRAM_S_PER_TOKEN + prior * ZSTD_S_PER_BYTE + recipe.test_bytes * COMPRESS_S_PER_BYTE
    parts = {"scoring": scoring_s, "prefill": prefill_s, "decode": decode_s, "baselines": baselines_s}
    total = sum(parts.values())
    formula = "window tokens * FLOPs / rate + prompts * FLOPs / rate + new tokens * FLOPs / decode rate + baselines"
    return Estimate(
        metric="wall_time",
        value=total,
        unit="s",
        interval=Interval(low=total / SPREAD, high=total * SPREAD, level=0.8, method="assumed factor of 2"),
        kind="computed",
        formula=formula,
        terms=tuple(
            Term(name=name, value=value, unit="s", kind="computed", source=formula) for name, value in parts.items()
        ),
        binding=max(parts, key=lambda name: parts[name]),
    )


MOST = 100_000
"""No larger number of requests is looked for."""


def requests_for(metric: str, bound: float) -> int | None:
    """The smallest number of requests that, none failing, shows `metric` to be at most `bound`; None where MOST do not."""
    low, high = 0, MOST
    if least(metric, high) > bound:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if least(metric, middle) <= bound else (middle, high)
    return high


@cache
def least(metric: str, requests: int) -> float:
    """The upper limit of `metric` with no failure among so many requests, judged by the rules as a build does."""
    from aether.evidence.redteam import least_upper_limit
    from aether.stages.evaluate.redteam.labels import shipped_calibrations

    judge = {"attack_success": "rules", "over_refusal": "refusal rules"}.get(metric)
    known = [one for one in shipped_calibrations() if one.judge == judge]
    return least_upper_limit(requests, known, refusals=metric == "over_refusal")


def tried(recipe: RedTeamRecipe, files: tuple[str | None, str | None] = (None, None)) -> dict[str, int]:
    """Requests, texts and secrets that a build tries: what is independent of each other in it. Raises InputError as `requests_of` does."""
    from aether.stages.evaluate.redteam.attacks import leaks
    from aether.stages.evaluate.redteam.behaviours import own_materials
    from aether.stages.evaluate.redteam.trying import requests_of

    harmful, benign = requests_of(recipe, files)
    secrets = len({attempt.behaviour.id for attempt in leaks()})
    found = {"attack_success": len(harmful), "over_refusal": len(benign)}
    return found | {"injection_success": len(own_materials()), "leak_success": secrets}


class Questions(Noun):
    """What an evaluation would ask, before anything is loaded."""

    place: str
    """The model's folder, file or address; of a run, its model's."""
    asks: dict[str, int]
    """Who is asked -> questions at most: equal ones are asked once."""
    tokens: dict[str, int]
    """Who is asked -> tokens of one reply at most; likelihoods have none."""
    files: tuple[str, ...] = ()
    """What is read besides the model."""
    model: dict[str, str]
    """Which model it is: the hash of its weights, or an address and a name."""


def suite_questions(given: tuple[str, str, Sequence[str]], which: str, data: Path, limit: int | None) -> Questions:
    """A suite on a model (`given`: place, name, settings). Raises InputError, also for tasks that can execute Python."""
    from aether.stages.evaluate.suites.documents import read_rows
    from aether.stages.evaluate.suites.suite import read_suite
    from aether.stages.evaluate.suites.target import target_of

    target, suite, asked, tokens, files = target_of(*given), read_suite(which), 0, 0, []
    for task in suite.tasks:
        if task.data is None:
            mend = (
                "tasks of lm-evaluation-harness and inspect-ai can execute Python: evaluate them from the command line"
            )
            raise InputError.of("suite", f"{which}, task {task.name}", mend)
        files += [str(data / name) for name in (task.data, task.few_shot_data) if name]
        rows = read_rows(data, task.data)
        each = max(len(row.get(task.choices, ())) for row in rows) if isinstance(task.choices, str) and task.choices else len(task.choices) or 1  # fmt: skip
        asked += min(len(rows), limit or len(rows)) * len(task.variants()) * each * (1 + len(task.follow_ups))
        tokens = max(tokens, task.max_tokens if task.is_written else 0)
    who = "the model"
    return Questions(place=target.place, asks={who: asked}, tokens={who: tokens} if tokens else {}, files=tuple(files), model=target.identity())  # fmt: skip


def red_team_questions(given: tuple[str, str, Sequence[str]], files: Mapping[str, Sequence[Path]]) -> Questions:
    """A red team on a model (`given`: place, name, settings; `files`: behaviours, benign, labels). Raises InputError."""
    from aether.stages.evaluate.redteam.behaviours import drawn, own_behaviours, own_benign, read_behaviours
    from aether.stages.evaluate.redteam.labels import read_labels
    from aether.stages.evaluate.redteam.settings import target_and_recipe
    from aether.stages.evaluate.redteam.trying import planned

    target, recipe = target_and_recipe(*given)
    harmful = [one for path in files["behaviours"] for one in read_behaviours(path)] or own_behaviours()
    benign = [one for path in files["benign"] for one in read_behaviours(path, benign=True)] or own_benign()
    labelled = sum(len(read_labels(path)) for path in files["labels"])
    harmful, benign = (drawn(one, recipe.behaviours, recipe.seed) for one in (harmful, benign))
    attempts = planned(recipe, harmful, benign)
    asks, tokens = {"the model": sum(len(one.turns) for one in attempts)}, {"the model": recipe.max_tokens}
    if recipe.suffix_steps:
        searched = min(recipe.suffix_behaviours, len(harmful))
        asks["the model"] += searched
        asks["its gradients"] = searched * recipe.suffix_steps
    if recipe.judge == "model":
        asks["the judge"] = sum(not one.canary for one in attempts) + labelled
        tokens["the judge"] = VERDICT_TOKENS
    paths = tuple(str(path) for some in files.values() for path in some)
    return Questions(place=target.place, asks=asks, tokens=tokens, files=paths, model=target.identity())


def judge_questions(given: tuple[str, str, Sequence[str]], pairs: int, files: Sequence[Path]) -> Questions:
    """A judge (`given`: place, name, settings) of so many pairs, each in both orders. Raises InputError."""
    from aether.stages.evaluate.judging import judge_settings
    from aether.stages.evaluate.suites.target import target_of

    place, model, settings = given
    rest, short = judge_settings(settings)
    target, who = target_of(place, model, rest), "the judge"
    tokens = SHORT_JUDGE_TOKENS if short else JUDGE_TOKENS
    paths = tuple(map(str, files))
    return Questions(place=target.place, asks={who: 2 * pairs}, tokens={who: tokens}, files=paths, model=target.identity())  # fmt: skip
