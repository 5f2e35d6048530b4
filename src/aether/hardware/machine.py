"""What a machine can do, as plain numbers: measured by `probe`, or cited from a data sheet. No torch.

A rate is the best median over the sizes tried: what a kernel reaches here, not what the vendor prints. It does not
describe clusters: links between machines are not in it.
"""

import itertools
import json
import math
import os
import platform
from pathlib import Path
from typing import Literal

from aether.spec.base import Noun
from aether.spec.errors import DamagedRecord
from aether.spec.evidence import Interval, Kind

MACHINE_FILE = "machine.json"

Need = Literal["train", "serve"]

_WIDTH = {"float32": 4, "bfloat16": 2, "int8": 1}


class Machine(Noun):
    """One machine. A number that nobody measured or cited is None, never a guess."""

    name: str
    cpu: str
    cores: int
    """Cores that this process may use: affinity and the container's quota counted."""
    threads: int
    """Threads that the rates were measured with."""
    memory_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int
    matmul_flops_per_s: dict[str, float]
    """dtype -> best median rate over the sizes tried. int8 counts a multiply-add as two operations, too."""
    matmul_by_size: dict[str, dict[str, float]] = {}
    """dtype -> edge of the square product -> median rate."""
    memory_bandwidth_bytes_per_s: float
    softmax_values_per_s: dict[str, float] = {}
    """dtype -> values a second through a softmax over rows: what exponentials and sums over rows cost."""
    launch_overhead_s: float | None = None
    """One decode step of the smallest decoder (2 layers, width 64, one sequence): the floor of a token."""
    layer_overhead_s: float | None = None
    """What each further layer of that width adds to the step."""
    served_ttft_p50_s: float | None = None
    """First token of the smallest decoder through HTTP, one idle client: the floor of a served answer."""
    served_ttft_p99_s: float | None = None
    runtime_memory_bytes: int | None = None
    """Resident memory of a process that has only loaded torch: the floor of a server."""
    supports: tuple[str, ...] = ()
    accelerator: str | None = None
    accelerator_memory_bytes: int | None = None
    price_usd_per_hour: float | None = None
    kind: Kind = "measured"
    source: str
    intervals: dict[str, Interval] = {}
    """Field, or field:dtype, -> 95% interval of the median over repeats."""

    @classmethod
    def read(cls, folder: Path) -> "Machine":
        """The machine in a probe's output. Raises DamagedRecord when the file is not one."""
        path = folder / MACHINE_FILE
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DamagedRecord(f"{path} is not a machine of this version; delete {folder} and probe again") from error

    def write(self, folder: Path) -> None:
        """Write `machine.json` into `folder`. The record that makes it believable is the runner's."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / MACHINE_FILE).write_text(text + "\n", encoding="utf-8")

    @property
    def working_memory_bytes(self) -> int:
        """The memory that weights and activations live in: the accelerator's, or the host's."""
        return self.accelerator_memory_bytes or self.memory_bytes

    def fastest_dtype(self, need: Need = "train") -> str:
        """The dtype with the highest rate among those that this need can use: training takes no int8."""
        usable = {d: r for d, r in self.matmul_flops_per_s.items() if need == "serve" or d != "int8"}
        return max(usable, key=lambda dtype: (usable[dtype], dtype))

    def peak_flops_per_s(self, need: Need = "train") -> float:
        """The rate of `fastest_dtype`."""
        return self.matmul_flops_per_s[self.fastest_dtype(need)]

    def rate_near(self, dtype: str, edge: int) -> float:
        """The median rate (FLOP/s) at the measured size nearest to `edge` on a log scale; the best rate when none was kept."""
        sizes = self.matmul_by_size.get(dtype)
        if not sizes:
            return self.matmul_flops_per_s[dtype]
        nearest = min(sizes, key=lambda size: (abs(math.log(int(size) / max(edge, 1))), int(size)))
        return sizes[nearest]

    def rate_between(self, dtype: str, edge: float) -> float:
        """The rate (FLOP/s) at `edge`, between measured sizes by the logarithms; below the smallest in proportion to the edge, as of a
        product that waits for its values."""
        sizes = sorted((int(size), rate) for size, rate in self.matmul_by_size.get(dtype, {}).items())
        if not sizes:
            return self.matmul_flops_per_s[dtype]
        if edge <= sizes[0][0]:
            return sizes[0][1] * edge / sizes[0][0]
        for (low, slow), (high, fast) in itertools.pairwise(sizes):
            if edge <= high:
                share = math.log(edge / low) / math.log(high / low)
                return slow * (fast / slow) ** share
        return sizes[-1][1]


def bytes_per_value(dtype: str) -> int:
    """Bytes of one value of a dtype that `probe` measures."""
    return _WIDTH[dtype]


def cpu_name() -> str:
    """The processor as the operating system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut by the container's CPU quota (cgroup v2) where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _cgroup("cpu.max")
    if quota and quota[0] != "max" and len(quota) == 2:
        cores = min(cores, max(1, math.floor(int(quota[0]) / int(quota[1]) + 1e-9)))
    return max(1, cores)


def memory_limit_bytes(total_bytes: int) -> int:
    """The machine's memory, or the container's limit (cgroup v2) where that is lower."""
    limit = _cgroup("memory.max")
    return min(total_bytes, int(limit[0])) if limit and limit[0] != "max" else total_bytes


def _cgroup(name: str) -> list[str]:
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="ascii").split()
    except OSError:
        return []
