"""Paths, addresses and data sets that a text names, and what the model is for."""

import re

from aether.counsel.reading.patterns import Lazy, Pattern
from aether.counsel.reading.text import Span, Text, negated

_PLACE = Lazy(
    r"(?<![\w@$€£])(?:(?:https?|s3|gs|hf)://[^\s,;\"')]+|hf:[\w./-]+|python:(?:stdlib|package/[\w.]+)|(?:~|\.{0,2})/[\w.*@{}/-]+|[\w*-]+(?:/[\w.*-]+)+/?|(?<=folder )[\w-]+/|[\w*-]+(?:\.(?!jsonl?|txt)[\w*-]+)*\.(?:jsonl|json|parquet|csv|txt|log|out|err|toml|yaml|yml|py|sh|gz|zst|arrow|md|ipynb|xlsx|pdf|docx))(?![\w])"
)
_FILE = Lazy(r"(?<!/config)(?<!^config)\.(?:jsonl|json|parquet|csv|txt|log|out|err|toml|yaml|yml|py|sh|md|ipynb)$")
_LOGS = Lazy(r"\.(?:log|out|err)$|trainer_state\.json$|metrics\.jsonl$|^(?:\./)?runs/")
_WEIGHTS = Lazy(
    r"(?:^|[/._-])(?:ckpts?|checkpoints?|step|model|models|merged|adapters?|final|best|last|weights|out|outputs?|results?)(?:[/._-]?\d*)?(?:[/_-]|$)|\.(?:safetensors|gguf|pt|pth|bin)$"
)
"""Of a place without a kind of data in its name: a trained model."""
_OF_A_MODEL = Lazy(
    r"\b(?:models?|checkpoints?|ckpts?|adapters?|weights|base|teacher|student|finetunes?|fts?)\s*(?:is|are|at|in|from|:|=|\()?\s*$"
)
"""Before a folder it makes it a trained model."""
_CODE = Lazy(
    r"\.(?:py|sh|ya?ml|toml|ipynb)$|requirements[\w-]*\.txt$|dockerfile|(?:config|conf|args|arguments|settings|params)\.json$|(?:^|/)(?:ds|deepspeed|zero|accelerate|fsdp|trainer(?!_state)|training|hparams|launch)[\w-]*\.json$"
)
_ON_THE_HUB = Lazy(r"\s*\(?\s*(?:(?:from|on|at|via|frm)\s+(?:the\s+)?)?(?:hf|hugging\s?face|hub)\b", "hf|hugging|hub")
"""After "owner/name" it makes it a data set there."""
_USES = Lazy(
    r"\b(?:for|as|to (?:power|run|be)|build|make|create|want|need|serve|of)\s+(?P<use>(?:an?|our|the|my|some)?\s*(?:(?!to\b|run\b|and\b)[\w-]+\s+){0,4}?(?:chatbot|chat bot|assistant|copilot|co-pilot|autocomplete|autocompletion|code completion|completion model|summari[sz]ation|summari[sz]er|translation|translator|classification|classifier|customer support|customer service|help ?desk|support bot|search engine|question answering|q&a|rag(?: pipeline| system)?|tutor|agent|transcription|extraction|moderation))\b"
)


def is_code(words: str) -> bool:
    """Whether a place is a script or a config, which can be reviewed."""
    return bool(_CODE.search(words.lower()))


def is_log(words: str) -> bool:
    """Whether a place is a run or what one wrote."""
    return bool(_LOGS.search(words.lower()))


def find_files(text: Text) -> tuple[list[tuple[str, Span]], list[tuple[str, Span]]]:
    """As `find_places`, of what ends like a file alone: "deploy/vllm-h100.yaml" names no device. A config.json is a model's."""
    return find_places(text, _FILE)


def find_places(text: Text, kind: Pattern | None = None) -> tuple[list[tuple[str, Span]], list[tuple[str, Span]]]:
    """(data sources, other files, runs and logs), each with where it stands; those that `kind` matches, by default all."""
    sources: list[tuple[str, Span]] = []
    subjects: list[tuple[str, Span]] = []
    for match in text.search(_PLACE):
        if kind is not None and not kind.search(match[0].removesuffix(".")):
            continue
        span = Span(match.start(), match.end() - (1 if match[0].endswith(".") else 0))
        words = text.words(span)
        if re.fullmatch(r"[\w-]+/[\w-]+", words) and not re.match(
            r"(?:runs?|data|datasets?|corpus|logs?|src|configs?|scripts?|models?|checkpoints?|ckpts?|out|outputs?|results?|exp|experiments?|merged|adapters?|weights|fts?|tunes?|finetunes?|loras?|evals?|\.)/(?!out|in\b|output)",
            words,
        ):
            if _ON_THE_HUB.match(text.plain, span.end):
                sources.append((f"hf:{words}", span))
                text.take(span)
            continue  # "and/or", "input/output", "Qwen/Qwen3"
        if re.fullmatch(r"[\d.,]+k?(?:/[\d.,]+k?)+", words.lower()):
            continue  # "8k/0.5k"
        if re.fullmatch(
            r"[\w.]*(?:/(?:s|sec|second|min|minute|h|hr|hour|m|user|token|gpu|card|device|node|day|month|request|million)s?)+",
            words.lower(),
        ):
            continue
        looked_at = bool(_OF_A_MODEL.search(text.plain, 0, span.start)) and "." not in words.rsplit("/", 1)[-1]
        looked_at = looked_at or any(kind.search(words.lower()) for kind in (_LOGS, _CODE, _WEIGHTS))
        looked_at = looked_at and not words.startswith("python:")
        (subjects if looked_at else sources).append((words, span))
        text.take(span)
    return sources, subjects


_CORPORA: dict[str, str] = {
    r"fine-?web[\s-]?edu": "HuggingFaceFW/fineweb-edu",
    r"fine-?web": "HuggingFaceFW/fineweb",
    r"open-?web-?text": "Skylion007/openwebtext",
    r"slim-?pajama": "cerebras/SlimPajama-627B",
    r"red-?pajama(?:[\s-]?v2)?": "togethercomputer/RedPajama-Data-V2",
    r"dolma": "allenai/dolma",
    r"dclm(?:[\s-]baseline)?": "mlfoundations/dclm-baseline-1.0",
    r"c4": "allenai/c4",
    r"cosmopedia": "HuggingFaceTB/cosmopedia",
    r"star-?coder-?data": "bigcode/starcoderdata",
    r"the stack v2": "bigcode/the-stack-v2",
    r"ultra-?chat": "HuggingFaceH4/ultrachat_200k",
    r"ultra-?feedback": "HuggingFaceH4/ultrafeedback_binarized",
    r"tulu[\s-]?3?(?:[\s-]sft)?[\s-]mix(?:ture)?": "allenai/tulu-3-sft-mixture",
    r"open-?hermes(?:[\s-]2\.5)?": "teknium/OpenHermes-2.5",
    r"hh-?rlhf": "Anthropic/hh-rlhf",
    r"alpaca": "tatsu-lab/alpaca",
    r"dolly(?:[\s-]15k)?": "databricks/databricks-dolly-15k",
    r"oasst(?:2)?": "OpenAssistant/oasst2",
}
"""Public data sets as people name them, and where each is on Hugging Face (from memory: assumed)."""
_CORPUS = {
    place: Lazy(
        rf"(?<![\w/.-]){words}(?![\w/]|-\w)(?!\s*(?:style|like|format|eval|bench)\w*)",
        re.split(r"\W", words, maxsplit=1)[0],
    )
    for words, place in _CORPORA.items()
}


def find_corpora(text: Text) -> list[tuple[str, Span]]:
    """Public data sets that a text names, by their address."""
    found = []
    for place, pattern in _CORPUS.items():
        for match in text.search(pattern):
            text.take(Span(*match.span()))
            if not negated(text, match.start()):
                found.append((f"hf:{place}", Span(*match.span())))
    return sorted(found, key=lambda one: one[1].start)


def find_use(text: Text) -> tuple[str, Span] | None:
    """What the model is for, in the person's words."""
    match = _USES.search(text.plain)
    if match is None:
        return None
    span = Span(match.start("use"), match.end("use"))
    return text.words(span).strip(), span


_CODE_WORDS = (
    "code completion",
    "python code",
    "code model",
    "source code",
    "coding",
    "programming",
    "autocomplete",
    "sql",
)
_PROSE_WORDS = (
    "prose",
    "english text",
    "books",
    "news",
    "tickets",
    "emails",
    "articles",
    "wikipedia",
    "stories",
    "legal documents",
    "medical records",
)


def find_modality(text: Text) -> tuple[str, Span] | None:
    """Whether the text to learn from is code or prose, where that is said."""
    for kind, several in (("code", _CODE_WORDS), ("text", _PROSE_WORDS)):
        for words in several:
            for match in text.phrases(words):
                return kind, Span(*match.span())
    return None
