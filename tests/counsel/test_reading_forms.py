"""Requests composed from synonyms, units, orders, separators and glued forms: whatever is said comes back as its field."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.counsel.reading.accuracy import fields_of
from aether.counsel.reading.request import read_request

METRICS = {
    "ttft": ["TTFT", "time to first token", "time-to-first-token", "first-token latency", "first words", "time until the first token"],
    "itl": ["ITL", "inter-token latency", "time between tokens", "token-to-token latency", "latency between tokens"],
    "tpot": ["TPOT", "time per output token", "latency per token", "per-token latency"],
    "e2e": ["end-to-end latency", "e2e", "total latency", "response time", "time to last token", "round trip"],
}  # fmt: skip
SHARES = {"p99": ["p99", "99th percentile", "99th", "99%ile"], "p95": ["p95", "95th percentile", "p90", "ninety-five percentile"], "p50": ["p50", "median"]}  # fmt: skip
BOUNDS = ["<", "<=", "under", "below", "within", "at most", "no more than", "max.", "of", ":", "must not exceed", "not above", "capped at", "sub", "~", "no worse than"]  # fmt: skip
TIMES = {0.4: ["400ms", "400 ms", "0.4s", ".4 s", "400 millis", "four hundred milliseconds"], 2.0: ["2s", "2 seconds", "two seconds", "2,000 ms"]}  # fmt: skip
ORDERS = ["{m} {s} {b} {v}", "{s} {m} {b} {v}", "{m} {b} {v} ({s})", "{m} ({s}) {b} {v}", "{m} {b} {v} at the {s}"]

AMOUNTS = {"10": 10, "1,200": 1200, "1.5k": 1500, "twenty five": 25, "a couple of hundred": 200, "half a million": 5e5, "~40": 40, "about 30": 30, "3M": 3e6, "30ish": 30, "2 lakh": 2e5}  # fmt: skip
THINGS = ["requests", "queries", "support tickets", "invoices", "incoming API calls", "chat messages", "page views", "claims", "SMS"]  # fmt: skip
PERIODS = {1: ["/s", "per second", "every second"], 60: ["/min", "a minute"], 3600: ["/h", "hourly", "per hour"], 86400: ["/day", "daily", "each 24h", "in a day"], 604800: ["per week", "weekly"]}  # fmt: skip
LABELS = {1: ["rps", "QPS", "requests/s", "requests per second"], 60: ["rpm", "req/min"], 86400: ["requests/day"]}

LENGTHS = ["{a} in {b} out", "{a}/{b} tokens", "{a} input tokens, {b} output tokens", "prompts of {a} tokens and answers of {b}", "ISL {a} OSL {b}", "isl/osl {a}/{b}", "input_len={a} output_len={b}", "{a}-token prompts and {b}-token completions", "{a} tokens go in and {b} come out", "we send {a} tokens and get {b} back", "avg in {a}, avg out {b}", "{a} + {b} tokens"]  # fmt: skip
PROMPTS, ANSWERS = {"1000": 1000, "2k": 2000, "1,500": 1500, "2.5K": 2500}, {"300": 300, "64": 64, "0.5k": 500}

DEVICES = {"H100": "H100-SXM-80GB", "A100 (40 GB)": "A100-SXM-40GB", "A100-80G": "A100-SXM-80GB", "L40S": "L40S", "L4": "L4", "RTX 4090": "RTX-4090", "4090": "RTX-4090", "MI300X": "MI300X", "B200": "B200"}  # fmt: skip
COUNTS = ["{n}x{d}", "{n} × {d}", "{n} {d}s", "{d} x{n}", "{d} (x{n})", "{d} times {n}", "{d}, qty {n}", "{d}: {n}", "{n} pcs of {d}", "{n} cards ({d})", "{n} of our {d}s", "number of {d}: {n}", "{n}-way {d} node", "{w} number of {d}"]  # fmt: skip
WORDS = {2: "two", 4: "four", 8: "eight", 16: "sixteen", 24: "twenty-four"}
MODELS = {"llama-3.1-8b": "llama-3.1-8b", "Llama 3.1 70B": "llama-3.1-70b", "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b", "qwen 3 32b": "qwen3-32b", "Gemma3-27B": "gemma-3-27b"}  # fmt: skip
PAID = {"price": ["${p}/h", "${p} per GPU-hour", "${p} hourly", "hourly rate of ${p}", "${p} per GPU and hour", "{p} USD per hour"],
        "target cost_per_million_tokens": ["under ${p} per million tokens", "${p}/Mtok", "cost per million tokens: ${p}", "$/Mtok <= {p}", "${p} for a million tokens"]}  # fmt: skip


def pick(table: Any) -> st.SearchStrategy:
    return st.sampled_from(list(table))


@st.composite
def latency(draw: Any) -> tuple[str, dict]:
    metric, share, value = draw(pick(METRICS)), draw(pick(SHARES)), draw(pick(TIMES))
    words = {"m": draw(pick(METRICS[metric])), "s": draw(pick(SHARES[share])), "b": draw(pick(BOUNDS)), "v": draw(pick(TIMES[value]))}  # fmt: skip
    name = "itl_p95" if (metric, share) == ("tpot", "p95") else f"{metric}_{share}"
    return draw(pick(ORDERS)).format(**words), {f"target {name}": value}


@st.composite
def rate(draw: Any) -> tuple[str, dict]:
    amount = draw(pick(AMOUNTS))
    if draw(st.booleans()):
        seconds = draw(pick(LABELS))
        return f"{draw(pick(LABELS[seconds]))}{draw(pick([': ', ' = ', ' ', ' of ']))}{amount}", {"requests_per_s": AMOUNTS[amount] / seconds}  # fmt: skip
    seconds = draw(pick(PERIODS))
    return f"{amount} {draw(pick(THINGS))} {draw(pick(PERIODS[seconds]))}", {
        "requests_per_s": AMOUNTS[amount] / seconds
    }


@st.composite
def lengths(draw: Any) -> tuple[str, dict]:
    prompt, answer = draw(pick(PROMPTS)), draw(pick(ANSWERS))
    return draw(pick(LENGTHS)).format(a=prompt, b=answer), {"prompt_tokens": PROMPTS[prompt], "output_tokens": ANSWERS[answer]}  # fmt: skip


@st.composite
def machines(draw: Any) -> tuple[str, dict]:
    device, count = draw(pick(DEVICES)), draw(pick(WORDS))
    return draw(pick(COUNTS)).format(n=count, w=WORDS[count], d=device), {"hardware": [DEVICES[device]], "count": count}


@st.composite
def money(draw: Any) -> tuple[str, dict]:
    field, price = draw(pick(PAID)), draw(pick(["2", "2.50", ".89", "12"]))
    return draw(pick(PAID[field])).format(p=price), {field: float(price)}


def same(found: dict, wanted: dict) -> bool:
    return set(found) == set(wanted) and all(
        found[name] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value)
        for name, value in wanted.items()
    )


def check(words: list[str], fields: list[dict], separator: str) -> None:
    text = separator.join(words)
    wanted: dict = {"intent": "serve"}
    for one in fields:
        wanted |= one
    found = fields_of(read_request(text))
    assert same(found, wanted), (text, {n: (wanted.get(n), found.get(n)) for n in {*wanted, *found} if wanted.get(n) != found.get(n)})  # fmt: skip


@settings(max_examples=60)
@given(pick(MODELS), st.one_of(latency(), rate(), lengths(), money()))
def test_each_thing_that_is_said_comes_back(model, part):
    check([f"serve {model} on 4 H100", part[0]], [{"models": [MODELS[model]], "hardware": ["H100-SXM-80GB"], "count": 4}, part[1]], ", ")  # fmt: skip


@settings(max_examples=40)
@given(pick(MODELS), machines())
def test_each_count_of_each_device_comes_back(model, part):
    check([f"serve {model} on", part[0]], [{"models": [MODELS[model]]}, part[1]], " ")


@settings(max_examples=60)
@given(
    pick(MODELS),
    machines(),
    st.lists(st.one_of(latency(), rate(), lengths(), money()), min_size=2, max_size=4),
    pick(["; ", ", ", "\n", ". "]),
    st.randoms(use_true_random=False),
)
def test_things_in_any_order_come_back(model, machine, parts, separator, random):
    kept: list[tuple[str, dict]] = [(f"serve {model}", {"models": [MODELS[model]]}), machine]
    for part in parts:
        families = {name.split("_")[0] for _, fields in kept for name in fields}
        if not families & {name.split("_")[0] for name in part[1]}:
            kept.append(part)
    tail = kept[1:]
    random.shuffle(tail)
    check([kept[0][0], *(words for words, _ in tail)], [fields for _, fields in kept], separator)


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("explain Dr. GRPO", ("dr-grpo",)),
        ("explain LoRA+", ("LoRA+",)),
        ("what is QA-LoRA", ("QA-LoRA",)),
        ("explain FlashAttention-4", ("FlashAttention-4",)),
        ("explain mamba-2", ("mamba-2",)),
        ("what is zero-3", ("zero",)),
    ],
)
def test_a_longer_name_is_not_answered_as_a_shorter_one(text, topics):
    assert read_request(text).topics == topics
