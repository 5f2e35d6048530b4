"""The optional parts of this installation: which modules each extra brings, what is absent, the command that adds it.

The command follows how this very package was installed (a checkout, or PEP 610's `direct_url.json`), so that it works as
printed and asks no index for a package that came from elsewhere. Looks modules up without importing them; whether they
work is `aether doctor`'s to try.
"""

import importlib.util
import json
import shlex
import sys
from importlib import metadata
from pathlib import Path

import aether
from aether.spec.errors import EnvironmentFault

DISTRIBUTION = "aether-engineer"

_TRAIN = ("torch", "tokenizers", "safetensors", "transformers", "rensa", "pyarrow", "zstandard")
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": _TRAIN,
    "compress": (*_TRAIN, "compressed_tensors"),
    "suites": (*_TRAIN, "accelerate", "datasets", "inspect_ai", "lm_eval", "openai"),
    "search": ("optuna",),
    "serve": (*_TRAIN, "starlette", "uvicorn", "httpx", "threadpoolctl", "xllamacpp", "gguf"),
    "agent": ("pydantic_ai_slim",),
    "mcp": ("mcp",),
    "web": ("markdown_it_py", "python_multipart", "starlette", "uvicorn"),
    "ops": ("mlflow", "tensorboard"),
}
"""Extra -> the packages that it brings; a test holds it to pyproject.toml."""


def module_of(package: str) -> str:
    """The module that a package is imported as."""
    return {"pydantic_ai_slim": "pydantic_ai", "markdown_it_py": "markdown_it"}.get(package, package)


def absent(extra: str) -> tuple[str, ...]:
    """The packages of an extra that cannot be found here."""
    return tuple(name for name in EXTRAS[extra] if importlib.util.find_spec(module_of(name)) is None)


def need(*extras: str) -> None:
    """Return when everything of these extras is here. Raises EnvironmentFault with the command that adds what is not."""
    lacking = {extra: absent(extra) for extra in extras}
    wanted = [extra for extra, names in lacking.items() if names]
    if wanted:
        names = list(dict.fromkeys(name for found in lacking.values() for name in found))
        command = install_command(*wanted)
        raise EnvironmentFault(f"not installed: {', '.join(names)}; run `{command}`", packages=names, mend=command)


def install_command(*extras: str) -> str:
    """The command, ready for a shell, that adds extras to the installation that is running."""
    return shlex.join([sys.executable, "-m", "pip", "install", *_requirement(f"[{','.join(extras)}]")])


def _requirement(extras: str) -> list[str]:
    root = Path(aether.__file__).parents[2]
    if (root / "pyproject.toml").is_file():
        return ["-e", f"{root}{extras}"]
    try:
        found = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        found = None
    if not found:
        return [f"{DISTRIBUTION}{extras}"]
    origin = json.loads(found)
    url = origin["url"]
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    return [f"{DISTRIBUTION}{extras} @ {url}"]
