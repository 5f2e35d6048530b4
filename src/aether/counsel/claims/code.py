"""Code in a reply: it must compile, pass the rules of review, and state no result; configuration numbers come from tools or the person."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from typing import Any

from aether.counsel.claims.facts import Ground
from aether.counsel.claims.names import benchmarks_in
from aether.counsel.claims.normal import Unit, plain
from aether.counsel.claims.values import close

_COMMENT = re.compile(r"(?:^|\s)(?:#|//|--\s|;)\s*(?P<words>.+)$", re.MULTILINE)
_RESULT_WORDS = re.compile(
    r"\b(?:acc(?:uracy)?|score|result|ppl|perplexity|bleu|rouge|pass@|win ?rate|tok(?:ens)?/s|latency|throughput|ttft|tpot|speed-?up|faster|measured|achiev\w+|reach\w*|loss|output|expected|got|mfu|memory|cost|gb|ms)\b",
    re.IGNORECASE,
)
_PRINTED = re.compile(
    r"^\s*(?:>>>|\$|Out\[|=>|\+|INFO|WARN|\[\d)|^\s*[\w .@/-]{2,40}\s*[:=]\s*[-+]?\d[\d.,]*\s*%?\s*$", re.MULTILINE
)
_OUTPUT = frozenset(
    {
        "",
        "text",
        "txt",
        "output",
        "log",
        "plain",
        "plaintext",
        "md",
        "markdown",
        "csv",
        "tsv",
        "diff",
        "html",
        "console",
        "ansi",
    }
)
"""What is no code: every line of it is read as prose."""
_SHELL = frozenset({"bash", "sh", "shell", "console", "zsh"})


def code_problems(unit: Unit, ground: Ground, prose: Callable[[str], list[Any]]) -> Iterator[tuple[str, str]]:
    """(words, why) of what is wrong in a block of code. `prose` judges a sentence."""
    code, language = unit.plain, unit.language.split()[0] if unit.language else ""
    if language in ("python", "py", "python3"):
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError) as error:
            yield code.strip().split("\n", 1)[0][:60], f"it does not compile: {error}"
            return
        yield from _reviewed(code, "reply.py")
        spoken = [*_comments(code), *_strings(tree)]
    else:
        names = {"yaml": "reply.yaml", "yml": "reply.yaml", "toml": "reply.toml", "json": "reply.json"}
        name = "reply.sh" if language in _SHELL else names.get(language)
        if name is not None:
            yield from _reviewed(code, name)
        spoken = [m["words"] for m in _COMMENT.finditer(code)]
        if language in _OUTPUT:
            spoken += [line for line in code.splitlines() if re.search(r"\d", line)]
        else:
            lines = re.sub(r"[\"'{}\[\],]", " ", code)
            spoken += [m[0] for m in _PRINTED.finditer(lines) if _RESULT_WORDS.search(m[0]) or benchmarks_in(code)]
    yield from _metrics(code, ground)
    for words in spoken:
        simple = plain(words)
        if problems := prose(simple):
            yield words.strip()[:80], problems[0].why


_METRIC = re.compile(
    r"[\"']?(?P<key>[A-Za-z][\w.@/-]*)[\"']?\s*[:=]\s*[\"']?(?P<value>-?\d+(?:\.\d+)?)(?![\w.*/(\[])",
)
_MEASURES = re.compile(
    r"ttft|tpot|\bitl|latency|throughput|tok(?:ens?)?_?(?:per_?s|/s)|goodput|\bmfu|accuracy|\bacc\b|mmlu|gsm8k|perplexity|\bppl|win_?rate|bleu|rouge|pass@|speed_?up|measured|achieved|eval_loss|val_loss",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"target|limit|bound|max|min|slo|budget|threshold|asked|wanted|goal|timeout|window|prompt|want|cap\b", re.IGNORECASE
)


def _on_record(value: str, ground: Ground) -> bool:
    """Whether a record has this value, as it is rounded here."""
    _, _, fraction = value.partition(".")
    return len(value.replace(".", "").strip("-0")) > 1 and any(
        fact.kind == "record" and close(float(value), fact.value, 10.0 ** -len(fraction)) for fact in ground.facts
    )


def _metrics(code: str, ground: Ground) -> Iterator[tuple[str, str]]:
    """Numbers that stand as the value of a metric: those of a result, not of a bound."""
    for match in _METRIC.finditer(code):
        plain_value = match["value"].removesuffix(".0")
        key = re.sub(r"(?<=[A-Za-z])_(?=[A-Za-z])", " ", match["key"])
        is_result = _MEASURES.search(key) and not _BOUND.search(key)
        known = plain_value in ground.literals or _on_record(plain_value, ground)
        if is_result and not known and float(plain_value) not in (0.0, 1.0):
            yield match[0][:80], "no tool gave this value of a metric"
    for match in _NESTED.finditer(code):
        for value in re.findall(r":\s*(-?\d+\.\d+)", match["body"]):
            if value.removesuffix(".0") not in ground.literals and not _on_record(value, ground):
                yield match[0][:80], "no tool gave this value of a metric"


_NESTED = re.compile(
    rf"[\"']?[\w.@/ -]*(?:{_MEASURES.pattern})[\w.@/ -]*[\"']?\s*[:=]\s*\{{(?P<body>[^{{}}]*)\}}", re.IGNORECASE
)


def _reviewed(code: str, name: str) -> Iterator[tuple[str, str]]:
    """Findings of the review's rules that are errors."""
    from aether.counsel.review.engine import review_text

    for finding in review_text(code, name):
        if finding.severity == "error":
            yield finding.message, f"{finding.rule}: {finding.why}"


def _comments(code: str) -> list[str]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError):
        return [m["words"] for m in _COMMENT.finditer(code)]
    return [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]


def _strings(tree: ast.Module) -> list[str]:
    """Docstrings, what is printed or asserted, and dictionaries or names that hold results."""
    found: list[str] = []
    complaints = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Raise) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in complaints:
            continue  # what an error says of its input is no result
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(r"\d", node.value)
            and (" " in node.value or "%" in node.value)
        ):
            found.append(node.value)
        elif isinstance(node, ast.Assign | ast.Dict | ast.Assert | ast.AnnAssign):
            text = ast.unparse(node)
            if (
                len(text) < 400
                and re.search(r"\d", text)
                and (
                    benchmarks_in(text)
                    or re.search(
                        r"\b\w*(?:accuracy|score|result|perplexity|win_?rate|speedup|measured|achieved|baseline_)\w*",
                        text,
                        re.IGNORECASE,
                    )
                )
            ):
                found.append(text)
    return found
