"""How long an evaluation takes: tokens through the model times its arithmetic, plus the baselines. Pure arithmetic.

Scoring is one forward pass per window token; generation is a prefill of the prompts and then batched single tokens,
which a CPU does far below its matrix rate. Does not foresee contention for the machine.
"""

from functools import cache

from aether.models.config import DecoderConfig
from aether.spec.evidence import Interval
from aether.spec.plan import Estimate, Term
from aether.stages.evaluate.recipe import EvaluateRecipe

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
RED_TEAM_ATTEMPTS = 370
"""Twelve attacks on 24 behaviours, planted orders and secrets, benign twins: counted (`redteam.run.planned`)."""
RED_TEAM_TURNS = 1.2
"""Turns of an attempt: counted."""
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
        attempts = RED_TEAM_ATTEMPTS * RED_TEAM_TURNS
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


@cache
def tried() -> dict[str, int]:
    """Requests, texts and secrets of the set that comes along: what is independent of each other in it."""
    from aether.stages.evaluate.redteam.attacks import leaks
    from aether.stages.evaluate.redteam.behaviours import own_behaviours, own_benign, own_materials

    secrets = len({attempt.behaviour.id for attempt in leaks()})
    found = {"attack_success": len(own_behaviours()), "over_refusal": len(own_benign())}
    return found | {"injection_success": len(own_materials()), "leak_success": secrets}
