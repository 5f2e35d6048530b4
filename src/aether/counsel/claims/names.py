"""Names in replies: models, devices, benchmarks, techniques, versions. Digits inside a name are no claim; what a claim is about is said by names.

From the tables of `knowledge`; benchmarks are a list of ours.
"""

import functools
import re
from collections.abc import Iterable

from aether.knowledge.library import devices
from aether.knowledge.models_library import published_models
from aether.spec.evidence import Evidence

BENCHMARKS = (
    "mmlu-pro", "mmlu", "gsm8k", "gsm-8k", "humaneval", "mbpp", "math-500", "math", "gpqa", "arc-challenge", "arc-easy", "arc-c", "arc", "hellaswag",
    "winogrande", "truthfulqa", "bbh", "big-bench", "ifeval", "mt-bench", "alpacaeval", "arena-hard", "chatbot arena", "lmsys", "swe-bench",
    "livecodebench", "aime", "drop", "squad", "triviaqa", "natural questions", "boolq", "piqa", "openbookqa", "c4", "wikitext", "pile", "lambada", "ruler",
    "longbench", "needle", "mlperf", "spec", "superglue", "glue", "ceval", "cmmlu", "agieval", "harmbench", "advbench", "xstest", "bfcl", "tau-bench",
    "hle", "simpleqa", "mgsm", "toxigen", "bleu", "rouge", "perplexity", "elo",
)  # fmt: skip
_SIZE = r"\d+(?:\.\d+)?\s?[bBmM]\b"
_NAMES = (
    r"(?<![\w.])(?:p|P)(?:50|90|95|99|99\.9)(?![\w%])",
    r"\b(?:int|uint|fp|bf|tf|nf|float|bfloat|mxfp|nvfp|w|a|q|e)\d{1,2}(?:a\d{1,2}|m\d)?(?:_[a-z0-9_]+)?\b",
    r"(?<![\w.])(?:[2-8]|16|32|64)[ -]?bits?\b",
    r"\b(?:two|three|four|five|six|eight|sixteen|thirty-two)[ -]bits?\b",
    r"\b(?:[Rr]ows?|[Oo]ptions?|[Ll]ines?|[Ii]tems?|[Cc]andidates?) \d{1,2}(?:(?:,| and| to| or|-|, and) ?\d{1,2})*(?![\w.%]*\d)(?! ?%)",
    r"\bslowest (?:one|1)(?: request)? in (?:a |every |one )?(?:hundred|100)\b",
    r"\b[Ss]eeds?(?: of| is| =|=)? ?\d+(?:(?:,| and| to| or|-|,? and) ?\d+)*\b",
    r"\b\d{1,2}(?:\.\d+)?th percentiles?\b",
    r"\b(?:[Hh]alf|(?:50|90|95|99) (?:in|of|out of) (?:every )?100)(?: of)?(?: all| the| your)?(?: requests| users| answers| of them)?(?=[^.;\d]{0,30}\b(?:within|under|below|by) [^a-z\s]*\d)",
    r"\b[Pp]ython ?3\.\d{1,2}(?:(?:,| or| and|/|-| to) ?3\.\d{1,2})*\b",
    r"\b(?:CUDA|ROCm|Python|Ubuntu) \d+(?:\.(?:\d+|x))?(?:(?:,| or| and| to|/|-) ?\d+(?:\.(?:\d+|x))?)*(?= |[,.;)]|$)(?!\.\d)",
    r"\bFlashAttention[- ]?\d(?:(?:,| and| or|/|-| to) ?-?\d)*\b",
    r"\b\d ?/ ?√ ?\w+\b|√\w+",
    r"\b[1-9]\d?\s?[x×] ?(?=(?:bf16|fp8|fp16|int4|int8|nvfp4|tp ?\d|pp ?\d)\b)",
    r"(?<!\w)(?:[Nn]umbers?|[Nn]os?\.|#) ?\d{1,2}(?![\w.%]*\d)(?! ?%)",
    r"\bO\([^)]*\)",
    r"\b(?:SHA|UTF|ISO|RFC|CVE|BF|FP|INT|NF|TF)-?\d[\d-]*\b",
    r"\b(?:GPT|Llama|Qwen|Gemma|Mistral|Mixtral|Phi|OLMo|DeepSeek|Mamba|RWKV|FlashAttention|ZeRO|FSDP|YaRN|EAGLE|Eagle|Medusa|GLM|Kimi|Claude|Gemini|Falcon|BLOOM|OPT|T5|BERT|Pythia|Granite|Nemotron|Grok|PaLM|Chinchilla|LLaMA|Yi|InternLM|SmolLM|StableLM|Jamba|Zamba|Command|DBRX|MiniMax|gpt-oss|o)[- ]?v?\d+(?:\.\d+)*(?:[- ]?\d+x\d+[bB]|[- ]?\d+(?:\.\d+)?[bBmM])?(?:-[A-Za-z]\w*)*(?![\w.%]*\d)",
    r"\b(?:H|A|B|L|T|V|P|MI|GB|GH|RTX|GTX|RX|TPU|M|EPYC|Xeon|Gaudi|Trainium|Inferentia|DGX|HGX|SXM|NVL|PCIe|NVLink|CUDA|ROCm|HBM|DDR|sm_|SM|Arc)[- ]?v?\d[\dA-Za-z.+-]*(?![\w%]|,\d)",
    r"(?:(?<=\bthe )|(?<=\bThe )|(?<=\bone )|(?<=\byour ))(?:3060|3070|3080|3090|4070|4080|4090|5080|5090)s?\b(?![,.]?\d)(?! ?(?:tokens?|steps?|requests?|pairs?|examples?|items?|ms|GB|USD|%))",
    r"\b(?:top|Top|pass|Pass|hit|rank|recall|precision|exact match|best|maj|cons|k|n|N|K)[-@=]\d+\b",
    r"\b[Dd]ouble[- ](?:quanti[sz](?:ation|ed)|quant|descent|buffer(?:ing|ed)?|precision|q)\b",
    r"\bn-?gram\b|\b\d-gram\b",
    r"\bWikiText[- ]?\d+\b",
    r"\bL[12]\b|\bF1\b|\bR2\b|\bR²\b|\b2:4\b|\b1F1B\b",
    r"\b(?:8|11|12|16|24|32|40|48|64|80|94|96|128|141|144|180|192|256|288)[ -]?GB (?:cards?|GPUs?|gpus?|devices?|accelerators?)\b",
    r"\b(?:stage|Stage|level|Level) [0-3]\b",
    r"\[\d{1,2}\](?!\()",
    r"\b(?:GPUs?|[Dd]evices?|[Nn]odes?|[Pp]orts?|[Cc]ores?|[Rr]anks) \d+(?:(?: ?[-,] ?| and | to |, and )\d+)*(?!\.?\d)(?! ?(?:%|[A-Za-z]?B\b|ms\b|x\b|times|points?|hours?|of\b))",
    r"\bmicro-?batch(?:es)?(?: size)?(?: of| to| from| =|:)? \d+(?!\.?\d)",
)  # fmt: skip
_NAME = re.compile("|".join(_NAMES))
_LABEL = re.compile(
    r"^\s*(?:#{1,6}\s*)?(?:[-*+]\s*)?(?:\(?\d{1,2}[.)]\s|[Ss]tep \d{1,2}\b|[Oo]ption \d{1,2}\b|[Pp]hase \d{1,2}\b|[Pp]art \d{1,2}\b)|\b(?:[Ss]tep|[Oo]ption|[Pp]oint|[Qq]uestion|[Pp]hase|[Aa]lternative|[Pp]lan) \d{1,2}\b(?![,.]\d)(?!\s*(?:%|requests?|req/s|tokens?|GPUs?|devices?|runs?|ms\b|s\b|GB\b))"
)


@functools.cache
def _known() -> re.Pattern[str]:
    """Names of models and devices as they are spelled in the tables, longest first."""
    words = {m.name for m in published_models().values()} | {a for m in published_models().values() for a in m.aliases}
    words |= {d.name for d in devices().values()} | {a for d in devices().values() for a in d.aliases}
    spelled = sorted((w for w in words if len(w) > 2), key=len, reverse=True)
    body = "|".join(r"[\s_-]?".join(re.escape(p) for p in re.split(r"[\s_-]", word)) for word in spelled)
    return re.compile(
        rf"(?<![\w./])(?:{body})(?:[- ](?:instruct|chat|base|it|hf|fp8|awq|gptq))*s?(?![\w])", re.IGNORECASE
    )


def without_names(text: str) -> str:
    """The text with names and list numbers blotted out, everything else in its place."""
    for pattern in (_known(), _NAME):
        text = pattern.sub(lambda m: "·" * len(m[0]), text)
    text = _LABEL.sub(lambda m: re.sub(r"[0-9]", " ", m[0]), text)
    return text


@functools.cache
def _device_names() -> frozenset[str]:
    return frozenset(_flat(d.name) for d in devices().values())


def of_other_kind(asked: frozenset[str], known: frozenset[str]) -> bool:
    """Whether both name models, and none in common, or both name devices, and none in common."""
    for kind in (_device_names(), None):
        mine = asked & kind if kind is not None else asked - _device_names()
        theirs = known & kind if kind is not None else known - _device_names()
        if mine and theirs and not mine & theirs:
            return True
    return False


def _flat(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


@functools.cache
def _benchmark() -> re.Pattern[str]:
    body = "|".join(
        re.escape(b).replace(r"\ ", r"[\s-]?").replace(r"\-", r"[\s-]?")
        for b in sorted(BENCHMARKS, key=len, reverse=True)
    )
    return re.compile(rf"(?<![\w-])(?:{body})(?![\w])", re.IGNORECASE)


_PLAIN_WORDS = frozenset({"drop", "Drop", "spec", "Spec", "needle", "pile", "ruler", "arc", "glue"})
"""In small letters they are no benchmarks."""
_CALLED_SO = re.compile(
    r"\b[A-Z][A-Za-z-]*[a-z][A-Za-z]*(?:[Bb]ench(?:mark)?|Eval|Arena|QA)(?:-\w+)?\b(?<!\bBenchmark)(?<!\bBench)(?<!\bEval)(?<!\bArena)(?<!\bQA)"
)
"""Names that say of themselves that they are of a benchmark, on no list: "TicketBench"."""


def benchmarks_in(text: str) -> frozenset[str]:
    """Benchmarks and quality metrics that a text names."""
    found = [m[0] for pattern in (_benchmark(), _CALLED_SO) for m in pattern.finditer(text)]
    return frozenset(_flat(name) for name in found if name not in _PLAIN_WORDS)


_OTHER_MODELS = re.compile(
    r"\b(?:(?:distil|ro)?bert(?:a)?(?:[- ](?:large|base))?|t5(?:[- ](?:large|base|small))?|gpt[- ]?\d(?:\.\d)?o?(?:[- ](?:turbo|mini))?|claude(?:[- ][\w.]+)?|gemini(?:[- ][\d.]+)?|grok[- ]?\d?|o[134](?:-mini)?|chatgpt|palm[- ]?2?)\b",
    re.IGNORECASE,
)


@functools.cache
def _canonical() -> dict[str, str]:
    """A spelling of a known model or device -> its name, both flat: an "H100" is the device of that alias."""
    rows = [*published_models().values(), *devices().values()]
    return {_flat(words): _flat(row.name) for row in rows for words in (*row.aliases, row.name)}


def models_in(text: str) -> frozenset[str]:
    """Models and devices that a text names, in one spelling."""
    ending = re.compile(r"(?i)[- ](?:instruct|chat|base|it|hf|fp8|awq|gptq)\b|s$")
    spelled = (_flat(ending.sub("", match[0])) for match in _known().finditer(text))
    found = {_canonical().get(name, name) for name in spelled}
    return frozenset(found | {_flat(match[0]) for match in _OTHER_MODELS.finditer(text)})


def run_of(record: Evidence) -> str:
    """What a measured record is of, by its id: "train" of "train.build_cost"."""
    return record.id.rpartition(".")[0] if record.kind == "measured" else ""


def names_of_runs(records: Iterable[Evidence]) -> dict[str, frozenset[str]]:
    """What the records of each run name, for those of them that name nothing."""
    found: dict[str, frozenset[str]] = {}
    for one in records:
        if run := run_of(one):
            found[run] = found.get(run, frozenset()) | models_in(one.source)
    return found
