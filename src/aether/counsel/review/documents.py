"""Files as a review reads them: what kind each is, and its parts with their lines. Nothing is imported, executed or expanded.

Python by `ast`, with the values that names stand for; YAML by its nodes, which keep their places; TOML and JSON parsed, the line of a key found in the text; shell commands,
Dockerfiles and arguments of containers as words.
"""

import ast
import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

import yaml

from aether.counsel.review.python_values import with_values

MAX_BYTES = 2_000_000


@dataclass(frozen=True)
class Setting:
    """A value with the place of its key, or of the value itself in Python."""

    value: Any
    line: int
    column: int = 1
    node: ast.expr | None = None


@dataclass
class Settings:
    """Keys and values of one object: an arguments call, a configuration file, a command. Names as their tools spell them, dots for nesting."""

    kind: str
    """hf-arguments, lora, bitsandbytes, generation, deepspeed, axolotl, llamafactory, torchtitan, mergekit, accelerate, trl, or a command: vllm, sglang, trtllm, lmdeploy, tgi, megatron, torchrun."""
    values: dict[str, Setting]
    line: int = 1
    name: str = ""
    """The class or program."""

    def get(self, *names: str) -> Any:
        """The value of the first of these names that is there, else None."""
        return next((self.values[name].value for name in names if name in self.values), None)

    def has(self, *names: str) -> bool:
        """Whether one of these names is there."""
        return any(name in self.values for name in names)

    def at(self, *names: str) -> Setting:
        """The setting of the first of these names, or the object's own place."""
        return next((self.values[name] for name in names if name in self.values), Setting(None, self.line))

    def number(self, *names: str) -> float | None:
        """The value as a number; None for absent or for what is not one."""
        value = self.get(*names)
        if isinstance(value, bool) or value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            return None

    def on(self, *names: str) -> bool:
        """Whether a switch is on."""
        value = self.get(*names)
        return value is True or (isinstance(value, str) and value.lower() in ("true", "1", "yes", "on")) or value == 1


@dataclass
class Document:
    """A file that was parsed."""

    path: str
    text: str
    kind: str
    """python, yaml, toml, json, shell, requirements, other."""
    tree: ast.Module | None = None
    data: Any = None
    settings: list[Settings] = field(default_factory=list)
    manifests: list["Node"] = field(default_factory=list)
    """Kubernetes objects."""
    services: list["Node"] = field(default_factory=list)
    """Those of a compose file."""

    @property
    def lines(self) -> list[str]:
        """The text by lines."""
        return self.text.splitlines()


def _entry(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    """The value of a key, of the mapping itself or of those that `<<` merges into it."""
    own = next((v for k, v in node.value if k.value == key), None)
    if own is not None:
        return own
    merged = next((v for k, v in node.value if k.value == "<<"), None)
    parts = merged.value if isinstance(merged, yaml.SequenceNode) else [merged]
    found = (_entry(part, key) for part in parts if isinstance(part, yaml.MappingNode))
    return next((value for value in found if value is not None), None)


@dataclass(frozen=True)
class Node:
    """A YAML mapping or list with its place, walked by keys."""

    raw: yaml.Node

    @property
    def line(self) -> int:
        """Of its start, from one."""
        return self.raw.start_mark.line + 1

    def get(self, path: str) -> "Node | None":
        """The node at a dotted path; a number is a place in a list."""
        node: yaml.Node | None = self.raw
        for part in path.split("."):
            if isinstance(node, yaml.MappingNode):
                node = _entry(node, part)
            elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
                node = node.value[int(part)]
            else:
                return None
        return Node(node) if node is not None else None

    def items(self) -> list["Node"]:
        """The items of a list; empty for anything else."""
        return [Node(v) for v in self.raw.value] if isinstance(self.raw, yaml.SequenceNode) else []

    def entries(self) -> list[tuple[str, "Node"]]:
        """The keys and values of a mapping; empty for anything else."""
        return [(k.value, Node(v)) for k, v in self.raw.value] if isinstance(self.raw, yaml.MappingNode) else []

    @property
    def value(self) -> Any:
        """Plain data."""
        return plain(self.raw)


class UnreadableFile(ValueError):
    """A file that is not what its name says: the review tells so and goes on."""


def kind_of(name: str) -> str:
    """What a file is by its name."""
    base = name.rsplit("/", 1)[-1].lower()
    if re.match(r"(?:.*[-_.])?requirements(?:[-_.].*)?\.(?:txt|in)$", base) or base == "constraints.txt":
        return "requirements"
    if base.startswith("dockerfile") or base.endswith((".dockerfile", ".sh", ".bash", ".slurm", ".sbatch")):
        return "shell"
    ending = base.rsplit(".", 1)[-1]
    return {"py": "python", "yaml": "yaml", "yml": "yaml", "toml": "toml", "json": "json"}.get(ending, "other")


def parse(path: str, text: str) -> Document:
    """The document. Raises UnreadableFile for a file that cannot be parsed."""
    kind = kind_of(path)
    document = Document(path, text, kind)
    try:
        if kind == "python":
            document.tree = with_values(ast.parse(text))
        elif kind == "yaml":
            nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
            document.manifests = [Node(n) for n in nodes if _is_manifest(n)]
            document.services = [service for n in nodes for service in _services(n)]
            document.data = plain(nodes[0]) if nodes else None
            document.settings = [flat_yaml(n) for n in nodes if isinstance(n, yaml.MappingNode) and not _is_manifest(n)]
        elif kind == "toml":
            document.data = tomllib.loads(text)
            document.settings = [_flat(document.data, text)]
        elif kind == "json":
            document.data = json.loads(text)
            document.settings = [_flat(document.data, text)] if isinstance(document.data, dict) else []
    except (SyntaxError, ValueError, yaml.YAMLError, RecursionError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnreadableFile(f"{path} is not readable {kind}: {first}") from error
    return document


def _is_manifest(node: yaml.Node) -> bool:
    keys = {k.value for k, _ in node.value} if isinstance(node, yaml.MappingNode) else set()
    return {"apiVersion", "kind"} <= keys


def _services(node: yaml.Node) -> list[Node]:
    """The services of a compose file."""
    listed = Node(node).get("services")
    if listed is None or not isinstance(listed.raw, yaml.MappingNode):
        return []
    found = [Node(value) for _, value in listed.raw.value]
    return [one for one in found if one.get("image") is not None or one.get("command") is not None]


def plain(node: yaml.Node) -> Any:
    """A YAML node as plain data: scalars by the safe loader's own rules, aliases as what they stand for."""
    return yaml.SafeLoader("").construct_document(node) if not isinstance(node, yaml.ScalarNode) else _scalar(node)


def _scalar(node: yaml.ScalarNode) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except yaml.YAMLError:
        return node.value


def flat_yaml(node: yaml.MappingNode, prefix: str = "") -> Settings:
    """A mapping with dotted keys; lists stay values."""
    found: dict[str, Setting] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = f"{prefix}{key.value}"
        place = (key.start_mark.line + 1, key.start_mark.column + 1)
        found[name] = Setting(plain(value), *place)
        if isinstance(value, yaml.MappingNode):
            found |= flat_yaml(value, f"{name}.").values
    return Settings("config", found)


def _flat(data: dict[str, Any], text: str) -> Settings:
    lines = text.splitlines()
    found: dict[str, Setting] = {}

    def walk(value: dict[str, Any], prefix: str, start: int) -> None:
        for key, item in value.items():
            line = _line_of(lines, key, start)
            found[f"{prefix}{key}"] = Setting(item, line)
            if isinstance(item, dict):
                walk(item, f"{prefix}{key}.", line)

    walk(data, "", 1)
    return Settings("config", found)


def _line_of(lines: list[str], key: str, start: int) -> int:
    """The first line from `start` that opens with the key, as JSON, TOML key or TOML table."""
    pattern = re.compile(
        rf'^\s*(?:"{re.escape(key)}"\s*:|{re.escape(key)}\s*=|\[+[\w.-]*\b{re.escape(key)}\]+)|[{{,]\s*"{re.escape(key)}"\s*:'
    )
    for number in range(start, len(lines) + 1):
        if pattern.search(lines[number - 1]):
            return number
    return start
