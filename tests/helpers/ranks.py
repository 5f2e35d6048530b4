"""Several processes on this machine for a test: torchrun on 127.0.0.1, a port from the system, one thread each.

The time limit is there to end what hangs, on a machine with much else to do too.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def run_ranks(processes: int, script: Path, *arguments: object, timeout_s: float = 600.0) -> dict[str, Any]:
    """Run `script` in so many processes; the JSON that the first one wrote to the file RESULT names: they share one standard output."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--local-addr", "127.0.0.1",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", str(script), *map(str, arguments),
    ]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*sys.path, str(script.parent)])}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        _launch(command, env | {"RESULT": str(result)}, timeout_s)
        return json.loads(result.read_text())


def _launch(command: list[str], env: dict[str, str], timeout_s: float) -> None:
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        try:
            _, complaints = job.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            # Torchrun ends its processes itself when it is asked to; killed outright, it would leave them.
            job.terminate()
            _, complaints = job.communicate()
    assert job.returncode == 0, complaints[-6000:]
