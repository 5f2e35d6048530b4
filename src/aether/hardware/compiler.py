"""Whether torch.compile can build its kernels here: a C++ compiler with OpenMP and Python's headers, tried on a few lines.

torch.compile writes C++ for a CPU and runs $CXX or g++ on it (torch/_inductor/config.py, `cpp.cxx`). No torch here.
"""

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

COMPILER = "c++"
"""The word in `Machine.supports` for a compiler that passed the trial."""

_TRIAL = '#include <Python.h>\n#include <omp.h>\nextern "C" int most() { return omp_get_max_threads(); }\n'
_TRIAL_S = 60.0
"""A compiler that takes longer over three lines does not work (assumed; measured: 0.3 s)."""


def compiler_fault() -> str | None:
    """Why torch.compile cannot build for this CPU, in a clause; None when a trial went well."""
    name = os.environ.get("CXX", "g++")
    found = shutil.which(name)
    if found is None:
        return f"there is no C++ compiler ({name})"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "trial.cpp"
        source.write_text(_TRIAL, encoding="utf-8")
        words = [found, "-shared", "-fPIC", "-fopenmp", f"-I{sysconfig.get_path('include')}"]
        words += [str(source), "-o", str(source.with_suffix(".so"))]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_TRIAL_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{found} does not run ({error})"
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
    return f"{found} cannot build a Python extension with OpenMP ({errors[0].strip()})"
