"""Checks of requirement files and of a project's dependencies."""

import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document
from aether.counsel.review.registry import Hit, on_document
from aether.counsel.review.shell import commands

_LINE = re.compile(
    r"^\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*(?P<spec>(?:[<>=!~]=?|===)\s*[^;#\s]+(?:\s*,\s*[<>=!~]=?\s*[^;#\s,]+)*)?\s*(?:;.*)?(?:#.*)?$"
)
_HEAVY = {
    "torch",
    "transformers",
    "vllm",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "deepspeed",
    "bitsandbytes",
    "flash-attn",
    "sglang",
    "tokenizers",
    "axolotl",
    "mergekit",
    "llmcompressor",
    "torchao",
}


def _lines(document: Document) -> Iterator[tuple[int, str, str]]:
    """(line, package, specifier) of a requirements file, of a project's dependencies, and of what a Dockerfile installs."""
    if document.path.rpartition("/")[2] == "pyproject.toml":
        yield from _of_project(document)
    if "dockerfile" in document.path.lower():
        yield from _installed(document)
    if document.kind != "requirements":
        return
    for number, line in enumerate(document.lines, 1):
        match = _LINE.match(line)
        if match and not line.strip().startswith(("-", "#")):
            yield number, _plain_name(match["name"]), (match["spec"] or "").replace(" ", "")


def _of_project(document: Document) -> Iterator[tuple[int, str, str]]:
    """The dependencies of a pyproject.toml: of the project, its extras and groups, and of Poetry."""
    data = document.data if isinstance(document.data, dict) else {}
    project, poetry = data.get("project", {}), data.get("tool", {}).get("poetry", {})
    lists = [
        project.get("dependencies", []),
        *project.get("optional-dependencies", {}).values(),
        *data.get("dependency-groups", {}).values(),
    ]
    for text in (one for listed in lists for one in listed if isinstance(one, str)):
        if match := _LINE.match(text):
            yield _place(document, text), _plain_name(match["name"]), (match["spec"] or "").replace(" ", "")
    groups = [poetry.get("dependencies", {}), *(g.get("dependencies", {}) for g in poetry.get("group", {}).values())]
    for name, given in (pair for group in groups for pair in group.items()):
        spec = given.get("version") if isinstance(given, dict) else given
        if isinstance(spec, str):
            exact = re.fullmatch(r"\d[\w.]*", spec) is not None
            yield _place(document, name), _plain_name(name), f"=={spec}" if exact else "" if spec == "*" else spec


def _place(document: Document, text: str) -> int:
    """The line that holds a text first."""
    return next((number for number, line in enumerate(document.lines, 1) if text in line), 1)


def _installed(document: Document) -> Iterator[tuple[int, str, str]]:
    """What `pip install` in a Dockerfile names."""
    for command in commands(document.text, dockerfile=True):
        words = command.words
        if "install" in words[:4] and any(w.rpartition("/")[2].startswith(("pip", "uv")) for w in words[:3]):
            for word in words[words.index("install") + 1 :]:
                if (match := _LINE.match(word)) and not word.startswith("-"):
                    yield command.line, _plain_name(match["name"]), (match["spec"] or "").replace(" ", "")


def _plain_name(name: str) -> str:
    return re.sub(r"[_.]+", "-", name).lower()


def _exact(spec: str) -> tuple[int, ...] | None:
    """The version of "==x.y.z"."""
    match = re.fullmatch(r"===?(\d+(?:\.\d+)*)(?:[+.a-z].*)?", spec)
    return tuple(int(part) for part in match[1].split(".")) if match else None


@on_document("AE601")
def _unpinned(document: Document) -> Iterator[Hit]:
    for number, name, spec in _lines(document):
        if name in _HEAVY and not spec:
            yield Hit(number, f"{name} without a version")


_GONE = {
    "auto-gptq": "GPTQModel or llm-compressor",
    "autoawq": "llm-compressor",
    "apex": "torch.amp",
    "nvidia-apex": "torch.amp",
    "torchtext": "datasets and tokenizers",
    "fairscale": "torch.distributed.fsdp",
    "pytorch-transformers": "transformers",
    "pytorch-pretrained-bert": "transformers",
    "adapter-transformers": "adapters",
    "optimum-quanto": "torchao",
}


@on_document("AE602")
def _unmaintained(document: Document) -> Iterator[Hit]:
    for number, name, _ in _lines(document):
        if name in _GONE:
            yield Hit(number, f"{name} is no longer maintained; use {_GONE[name]}")


@on_document("AE603")
def _stolen(document: Document) -> Iterator[Hit]:
    for number, name, spec in _lines(document):
        if name == "litellm" and spec in ("==1.82.7", "==1.82.8"):
            yield Hit(number, f"litellm {spec[2:]} carried code that steals credentials")


@on_document("AE604")
def _vulnerable_torch(document: Document) -> Iterator[Hit]:
    for number, name, spec in _lines(document):
        version = _exact(spec)
        if name == "torch" and version and version < (2, 10):
            advisories = "CVE-2025-32434 and CVE-2026-24747" if version < (2, 6) else "CVE-2026-24747"
            yield Hit(number, f"torch {spec[2:]}: torch.load may run code even with weights_only=True ({advisories})")


@on_document("AE605")
def _floating_git(document: Document) -> Iterator[Hit]:
    project = document.path.rpartition("/")[2] == "pyproject.toml"
    if document.kind != "requirements" and not project:
        return
    for number, line in enumerate(document.lines, 1):
        if project and re.search(r"\bgit\s*=\s*[\"']", line) and not re.search(r"\b(?:rev|tag)\s*=", line):
            yield Hit(number, "a repository without a commit or a tag")
        match = re.search(
            r"git\+\S+?\.git(?:@(?P<ref>[^#\s]+))?|git\+https?://[^\s@]+(?:@(?P<ref2>[^#\s]+))?",
            line.split(" #")[0].rstrip("\"', "),
        )
        if match and not re.fullmatch(r"[0-9a-f]{7,40}|v?\d[\w.]*", match["ref"] or match["ref2"] or ""):
            yield Hit(number, "a repository without a commit or a tag")


@on_document("AE606")
def _numpy_two(document: Document) -> Iterator[Hit]:
    found = {name: (number, _exact(spec)) for number, name, spec in _lines(document)}
    numpy, torch = found.get("numpy"), found.get("torch")
    if numpy and torch and numpy[1] and torch[1] and numpy[1] >= (2,) and torch[1] < (2, 3):
        yield Hit(numpy[0], "numpy 2 with a torch below 2.3, which was built against numpy 1")


@on_document("AE607")
def _twice(document: Document) -> Iterator[Hit]:
    seen: dict[str, tuple[int, str]] = {}
    if document.kind != "requirements":  # extras and groups of a project may name the same package
        return
    for number, name, spec in _lines(document):
        if ";" in document.lines[number - 1]:
            continue
        if name in seen and seen[name][1] != spec:
            yield Hit(number, f"{name}{spec} here, {name}{seen[name][1]} on line {seen[name][0]}")
        seen.setdefault(name, (number, spec))


@on_document("AE608")
def _second_index(document: Document) -> Iterator[Hit]:
    if document.kind != "requirements":
        return
    for number, line in enumerate(document.lines, 1):
        if line.strip().startswith("--extra-index-url") and "download.pytorch.org" not in line and "nvidia" not in line:
            yield Hit(number, "a second index: a package of the same name there may be taken instead")


@on_document("AE609")
def _torch_family(document: Document) -> Iterator[Hit]:
    found = {name: (number, _exact(spec)) for number, name, spec in _lines(document)}
    torch, audio = found.get("torch"), found.get("torchaudio")
    if torch and audio and torch[1] and audio[1] and torch[1][:2] != audio[1][:2] and audio[1] < (2, 11):
        yield Hit(audio[0], "this torchaudio requires the torch of its own version")


@on_document("AE610")
def _agents(document: Document) -> Iterator[Hit]:
    found = {name: number for number, name, _ in _lines(document)}
    slim = found.get("pydantic-ai-slim")
    if "litellm" in found and ("pydantic-ai" in found or (slim and re.search(r"\[.*openai", document.lines[slim - 1]))):
        yield Hit(found["litellm"], "litellm and pydantic-ai with its extra openai require different clients")
