"""From a file (TOML, YAML or JSON) or a folder to a `Brief`, with errors that name the file, the field, the value and the mend.

Every problem of a brief is listed, not only the first. YAML is read with the safe loader, and repeated keys, anchors
and aliases are refused. Settings (`--set`) are laid over the raw file before anything is checked. Nothing is evaluated,
and no free text is understood here.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from aether.policy.brief_errors import Problem, of_validation, raise_all
from aether.spec.brief import Brief, Data, Hardware, Load, RedTeamChoice, Target
from aether.spec.errors import InputError

MAX_BYTES = 1_000_000
"""A brief is written by hand; beyond this, the file is something else (assumed)."""

SUFFIXES = (".toml", ".yaml", ".yml", ".json")
_SECTIONS: dict[str, type[BaseModel]] = {"data": Data, "hardware": Hardware, "load": Load, "red_team": RedTeamChoice}
_TARGET_KEYS = ("metric", "comparison", "value", "unit")
_TARGET_SETTING = re.compile(r"^\s*[A-Za-z_0-9]+\s*(<=|>=|≤|≥|<|>)")
_RED_TEAM_FILES = ("behaviours", "benign", "guard")
_LIST_FIELDS = ("data.sources", "data.out_of_distribution", "data.include")


def load_brief(path: Path, settings: Sequence[str] = ()) -> Brief:
    """The brief at `path` (a file, or a folder that holds brief.toml, .yaml, .yml or .json) with `settings` laid over it.

    Relative data paths are resolved against the file's folder. Raises InputError.
    """
    file = find_brief(path)
    return to_brief(apply_settings(read_raw(file), settings), str(path), file.parent)


def find_brief(path: Path) -> Path:
    """The file that `path` means. Raises InputError when there is none, or more than one."""
    if not path.exists():
        raise InputError.of("brief", str(path), "no such file or folder")
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise InputError.of("brief", str(path), f"name it with one of {', '.join(SUFFIXES)}")
        return path
    if not path.is_dir():
        raise InputError.of("brief", str(path), "give a file or a folder")
    found = [path / f"brief{suffix}" for suffix in SUFFIXES if (path / f"brief{suffix}").is_file()]
    if len(found) > 1:
        raise InputError.of("brief", str(path), f"it holds {', '.join(f.name for f in found)}; keep one")
    if not found:
        raise InputError.of("brief", str(path), "it holds no brief.toml, brief.yaml or brief.json")
    return found[0]


def read_raw(file: Path) -> dict[str, Any]:
    """The file as plain data, unchecked. Raises InputError for what cannot be read or is no table."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError.of("brief", str(file), f"cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise InputError.of("brief", str(file), f"larger than {MAX_BYTES:,} bytes; is it a brief?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.of("brief", str(file), f"byte {error.start} is not UTF-8; save it as UTF-8") from error
    if not text.strip():
        raise InputError.of("brief", str(file), "the file is empty; the shortest brief is one line: name = 'my-model'")
    return parse(text, file.suffix.lower(), str(file))


def parse(text: str, suffix: str, source: str) -> dict[str, Any]:
    """`text` in the format of `suffix`, as plain data. Raises InputError with the place of the mistake."""
    readers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": _json, ".yaml": _yaml, ".yml": _yaml}
    kind = {".toml": "TOML", ".json": "JSON"}.get(suffix, "YAML")
    try:
        raw = readers[suffix](text)
    except ValueError as error:
        raise InputError.of("brief", source, f"not valid {kind}: {_one_line(error)}") from error
    except RecursionError as error:
        raise InputError.of("brief", source, f"not valid {kind}: nested too deeply") from error
    if not isinstance(raw, dict):
        raise InputError.of("brief", source, f"the whole file must be a table of fields, not {_kind_of(raw)}")
    return raw


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:300]


def _json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise ValueError(f"the key {key!r} stands twice in one table")
            table[key] = value
        return table

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not a number that a brief can hold")

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def _yaml(text: str) -> Any:
    # Most briefs are TOML: the parser of YAML is loaded for YAML.
    from aether.policy.strict_yaml import load_yaml

    return load_yaml(text)


def apply_settings(raw: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """`raw` with each setting laid over it, in order; `raw` itself stays as it was.

    A setting is "section.field=value", or a target: "ttft_p99 <= 250 ms" (also "targets=ttft_p99 <= 250 ms; ...").
    A target replaces the one on the same metric. A value in brackets is read as JSON. Raises InputError.
    """
    result = json_like_copy(raw)
    for setting in settings:
        if _TARGET_SETTING.match(setting):
            _set_targets(result, setting)
            continue
        path, equals, value = setting.partition("=")
        path = path.strip()
        if not equals or not path:
            raise InputError.of("--set", setting, "write FIELD=VALUE, for example data.sources=./text")
        if path == "targets":
            _set_targets(result, value)
        else:
            _set_field(result, path, value.strip())
    return result


def json_like_copy(value: Any) -> Any:
    """A copy of tables and lists all the way down; leaves are shared."""
    if isinstance(value, dict):
        return {key: json_like_copy(item) for key, item in value.items()}
    return [json_like_copy(item) for item in value] if isinstance(value, list) else value


def _set_targets(raw: dict[str, Any], text: str) -> None:
    present = raw.get("targets", [])
    if not isinstance(present, list):
        raise InputError.of("targets", present, "write a list of targets")
    for part in filter(None, (p.strip() for p in text.split(";"))):
        metric = Target.model_validate(part).metric
        names = [_metric_of(t) for t in present]
        present = [part if name == metric else t for t, name in zip(present, names, strict=True)]
        present += [] if metric in names else [part]
    raw["targets"] = present


def _metric_of(raw: Any) -> str | None:
    if isinstance(raw, dict):
        return str(raw.get("metric"))
    found = re.match(r"^\s*([a-z_0-9]+)", raw) if isinstance(raw, str) else None
    return found.group(1) if found else None


def _set_field(raw: dict[str, Any], path: str, value: str) -> None:
    *sections, last = path.split(".")
    if len(sections) > 1 or not all(path.split(".")):
        raise InputError.of("--set", path, "write FIELD=VALUE or SECTION.FIELD=VALUE")
    table = raw
    if sections:
        inner = raw.setdefault(sections[0], {})
        if not isinstance(inner, dict):
            raise InputError.of("--set", path, f"{sections[0]} is not a table in this brief")
        table = inner
    given = _setting_value(path, value)
    # A path on the command line is relative to where the person stands, not to the brief's folder.
    if path in ("data.sources", "data.out_of_distribution"):
        given = [_absolute(s, Path.cwd()) for s in ([given] if isinstance(given, str) else given) if isinstance(s, str)]
    if path in {f"red_team.{name}" for name in _RED_TEAM_FILES}:
        given = _absolute(str(given), Path.cwd())
    table[last] = given


def _setting_value(path: str, value: str) -> Any:
    section, _, name = path.rpartition(".")
    model: type[BaseModel] = _SECTIONS.get(section, Brief) if section else Brief
    field = model.model_fields.get(name)
    if value.startswith(("[", "{")):
        try:
            return _json(value)
        except ValueError as error:
            if path in _LIST_FIELDS:
                return [value]
            raise InputError.of(path, value, f"not a JSON list or table: {_one_line(error)}") from error
    if path in _LIST_FIELDS or (field is not None and "str" in str(field.annotation)):
        return value
    try:
        return _json(value)
    except ValueError:
        return value


@dataclass(frozen=True)
class _Reader:
    """Checks one raw brief part by part, so that each part's problems are found."""

    problems: list[Problem]

    def unknown_keys(self, raw: dict[str, Any], known: Sequence[str], prefix: str) -> None:
        for key in raw:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                mend = (
                    f"no such field; did you mean {prefix}{near[0]!s}?" if near else "no such field; remove it, or use"
                )
                mend = mend if near else f"{mend} one of {', '.join(known)}"
                self.problems.append(Problem(f"{prefix}{key}", raw[key], mend))

    def part(self, field: str, build: Callable[[], Any]) -> Any:
        """What `build` gives, or None with its problems kept."""
        try:
            return build()
        except ValidationError as error:
            self.problems.extend(of_validation(error, field))
        except InputError as error:
            self.problems.append(Problem.of_error(error, field))
        except OverflowError:
            self.problems.append(Problem(field, "a number", "too large; use a smaller one"))
        return None

    def target(self, raw: Any, index: int) -> Any:
        if not isinstance(raw, dict):
            return self.part("targets", lambda: Target.model_validate(raw))
        field = f"targets[{index}]."
        before = len(self.problems)
        self.unknown_keys(raw, _TARGET_KEYS, field)
        for key in ("metric", "comparison", "unit"):
            if key in raw and not isinstance(raw[key], str):
                self.problems.append(Problem(f"{field}{key}", raw[key], "write text"))
        if len(self.problems) > before:
            return None
        return self.part("targets", lambda: Target.model_validate(raw))


def to_brief(raw: dict[str, Any], source: str, folder: Path | None = None) -> Brief:
    """The brief in `raw`. Raises one InputError that lists every field with a problem; `source` opens the sentence.

    `folder` is what relative data paths are resolved against; None leaves them as they are.
    """
    reader = _Reader([])
    reader.unknown_keys(raw, list(Brief.model_fields), "")
    values: dict[str, Any] = {}
    for name, model in _SECTIONS.items():
        if raw.get(name) is None:
            continue
        if not isinstance(raw[name], dict):
            reader.problems.append(Problem(name, raw[name], "write a table"))
            continue
        reader.unknown_keys(raw[name], list(model.model_fields), f"{name}.")
        known = {key: value for key, value in raw[name].items() if key in model.model_fields}
        values[name] = reader.part(name, lambda model=model, known=known: model.model_validate(known))
    targets = raw.get("targets", [])
    if isinstance(targets, list | tuple):
        values["targets"] = tuple(t for i, item in enumerate(targets) if (t := reader.target(item, i)) is not None)
    else:
        reader.problems.append(Problem("targets", targets, 'write a list, such as ["ttft_p99 <= 250 ms"]'))
    plain = {k: v for k, v in raw.items() if k in Brief.model_fields and k not in (*_SECTIONS, "targets")}
    brief = reader.part("", lambda: Brief.model_validate(plain | {k: v for k, v in values.items() if v is not None}))
    if reader.problems:
        raise_all(source, reader.problems)
    assert isinstance(brief, Brief)
    return brief if folder is None else _resolved(brief, folder)


def _resolved(brief: Brief, folder: Path) -> Brief:
    data = brief.data.model_copy(
        update={
            "sources": tuple(_absolute(s, folder) for s in brief.data.sources),
            "out_of_distribution": tuple(_absolute(s, folder) for s in brief.data.out_of_distribution),
        }
    )
    if brief.red_team is None:
        return brief.model_copy(update={"data": data})
    files = {name: _absolute(file, folder) for name in _RED_TEAM_FILES if (file := getattr(brief.red_team, name))}
    return brief.model_copy(update={"data": data, "red_team": brief.red_team.model_copy(update=files)})


def _absolute(source: str, folder: Path) -> str:
    return source if source.startswith("python:") else str(folder.absolute() / Path(source).expanduser())


def _kind_of(raw: Any) -> str:
    kinds = {
        list: "a list",
        str: "text",
        type(None): "nothing",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return kinds.get(type(raw), type(raw).__name__)
