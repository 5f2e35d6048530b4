"""The probe: what this machine does in a few seconds of trying. Medians of repeats, with intervals.

Rates are of square matrix products at a few sizes (`Timer.rate`), bandwidth is of a copy larger than the caches, and the
two latency floors are of a real, if minimal, decoder: one decode step (`probe_floor.minimal_decoder`), and one first
token through an HTTP server. Writes `machine.json`. It does not measure disks, links between machines, or power.
"""

import platform
import subprocess
import sys
from typing import Any

import psutil
from pydantic import Field

from aether.hardware.compiler import COMPILER, compiler_fault
from aether.hardware.machine import Machine, cpu_name, memory_limit_bytes, usable_cores
from aether.hardware.probe_floor import decode_floors, served_floor
from aether.hardware.sampling import Sampled, Timer
from aether.spec.base import Noun
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext

CPU_EDGES = (128, 256, 512, 1024)
CUDA_EDGES = (1024, 4096, 8192)
_COPY_BYTES = 96 * 2**20
_SOFTMAX_VALUES, _SOFTMAX_ROW = 2**20, 256
_MOST_RATE_S = 1.0
"""A size that would take longer is not tried: without its instructions a dtype is a hundred times slower, and 1,024 would
take half a minute (measured, bfloat16 and int8 on Zen 3)."""
_CALLS_AT_LEAST = 7
"""Calls of one `Timer.samples`; twice the edge is eight times the work."""
_ISA = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")


class ProbeRecipe(Noun):
    """What is probed: the machine by name, so that another machine, or another quota, is another probe."""

    cpu: str
    cores: int = Field(ge=1, description="threads that the rates are measured with")
    memory_bytes: int = Field(ge=1)
    platform: str
    seconds_per_rate: float = Field(
        default=0.08, gt=0, le=5, description="assumed: longer than a scheduler's slice, short enough for 24 rates"
    )

    @classmethod
    def of_this_machine(cls) -> "ProbeRecipe":
        """The recipe that names the machine this process runs on."""
        return cls(
            cpu=cpu_name(),
            cores=usable_cores(),
            memory_bytes=memory_limit_bytes(psutil.virtual_memory().total),
            platform=platform.platform(),
        )


def run(recipe: ProbeRecipe, context: StepContext) -> tuple[Evidence, ...]:
    """Measure this machine, write `machine.json`, and return every number as evidence (repeats = machine)."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(recipe.cores)
    try:
        return _probe(recipe, context, torch)
    finally:
        torch.set_num_threads(before)


def _probe(recipe: ProbeRecipe, context: StepContext, torch: Any) -> tuple[Evidence, ...]:
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    timer = Timer(recipe.seconds_per_rate, torch.cuda.synchronize if cuda else _nothing)
    context.tell(0, 4, "parts", "matrix products")
    rates = matrix_rates(torch, device, timer, recipe.cores)
    context.tell(1, 4, "parts", "memory")
    bandwidth = copy_bandwidth(torch, device, timer)
    softmax = softmax_rates(torch, device, timer)
    context.tell(2, 4, "parts", "smallest decode step")
    torch.set_num_threads(1)
    step, layer = decode_floors(torch, device, timer)
    context.tell(3, 4, "parts", "smallest served answer")
    served = served_floor(torch, device)
    best = {dtype: max(by.values(), key=lambda s: s.value) for dtype, by in rates.items()}
    found = {f"matmul_flops_per_s:{dtype}": (sampled, "FLOP/s") for dtype, sampled in best.items()}
    found |= {"memory_bandwidth_bytes_per_s": (bandwidth, "byte/s"), "launch_overhead_s": (step, "s")}
    if served is not None:
        found |= {"served_ttft_p50_s": (served[0], "s"), "served_ttft_p99_s": (served[1], "s")}
    machine = Machine(
        **_described(recipe, torch, cuda),
        matmul_flops_per_s={dtype: sampled.value for dtype, sampled in best.items()},
        matmul_by_size={d: {str(edge): s.value for edge, s in by.items()} for d, by in rates.items()},
        memory_bandwidth_bytes_per_s=bandwidth.value,
        softmax_values_per_s={dtype: sampled.value for dtype, sampled in softmax.items()},
        launch_overhead_s=step.value,
        layer_overhead_s=layer,
        served_ttft_p50_s=served[0].value if served else None,
        served_ttft_p99_s=served[1].value if served else None,
        runtime_memory_bytes=_runtime_memory_bytes(),
        disk_free_bytes=psutil.disk_usage(str(context.out)).free,
        intervals={field: sampled.interval for field, (sampled, _) in found.items()},
    )
    machine.write(context.out)
    context.tell(4, 4, "parts", "done")
    return tuple(_evidence(context, machine, field, sampled, unit) for field, (sampled, unit) in found.items())


def _evidence(context: StepContext, machine: Machine, field: str, sampled: Sampled, unit: str) -> Evidence:
    metric, _, dtype = field.partition(":")
    source = f"aether probe on {machine.cpu}, {machine.threads} threads, median of repeats"
    return context.measured(
        metric,
        sampled.value,
        unit,
        source,
        label=dtype or None,
        interval=sampled.interval,
        n=sampled.n,
        repeats="machine",
    )


def _described(recipe: ProbeRecipe, torch: Any, cuda: bool) -> dict[str, Any]:
    memory = psutil.virtual_memory()
    device = torch.cuda.get_device_properties(0) if cuda else None
    return {
        "name": "this-machine",
        "cpu": recipe.cpu,
        "cores": recipe.cores,
        "threads": recipe.cores,
        "memory_bytes": recipe.memory_bytes,
        "memory_available_bytes": min(recipe.memory_bytes, memory.available),
        "supports": (
            *_instruction_sets(),
            *((f"cuda:sm_{device.major}{device.minor}",) if device else ()),
            *((COMPILER,) if compiler_fault() is None else ()),
        ),
        "accelerator": device.name if device else None,
        "accelerator_memory_bytes": int(device.total_memory) if device else None,
        "source": f"aether probe, torch {torch.__version__}, {recipe.cores} threads",
    }


def matrix_rates(torch: Any, device: str, timer: Timer, cores: int) -> dict[str, dict[int, Sampled]]:
    """dtype -> edge -> FLOP/s of a square product. A dtype that this build cannot multiply here is absent.

    The better of all cores and one thread: small products, and machines with other work on them, lose time at barriers.
    """
    every, single = _rates(torch, device, timer), None
    if device == "cpu" and cores > 1:
        torch.set_num_threads(1)
        single = _rates(torch, device, timer)
        torch.set_num_threads(cores)
    if single is None:
        return every
    return {
        dtype: {
            edge: max(every[dtype][edge], single[dtype][edge], key=lambda s: s.value)
            for edge in every[dtype]
            if edge in single[dtype]
        }
        for dtype in every
    }


def _rates(torch: Any, device: str, timer: Timer) -> dict[str, dict[int, Sampled]]:
    edges = CUDA_EDGES if device == "cuda" else CPU_EDGES
    rates: dict[str, dict[int, Sampled]] = {}
    for name in ("float32", "bfloat16", "int8"):
        dtype = getattr(torch, name)
        multiply = torch._int_mm if name == "int8" else torch.mm
        by_edge: dict[int, Sampled] = {}
        for edge in edges:
            a_EE = torch.ones((edge, edge), dtype=dtype, device=device)
            try:
                taken = timer.samples(lambda a=a_EE, multiply=multiply: multiply(a, a))
            except (RuntimeError, NotImplementedError):
                break
            by_edge[edge] = taken.scaled(2.0 * edge**3)
            if _CALLS_AT_LEAST * 8 * taken.value > _MOST_RATE_S:
                break
        if by_edge:
            rates[name] = by_edge
    return rates


def copy_bandwidth(torch: Any, device: str, timer: Timer) -> Sampled:
    """Bytes per second of copying a buffer larger than the caches; read and written bytes both count."""
    source_N = torch.zeros(_COPY_BYTES // 4, dtype=torch.float32, device=device)
    target_N = torch.zeros_like(source_N)
    return timer.samples(lambda: target_N.copy_(source_N)).scaled(2.0 * source_N.numel() * 4)


def softmax_rates(torch: Any, device: str, timer: Timer) -> dict[str, Sampled]:
    """dtype -> values a second of a softmax over rows of `_SOFTMAX_ROW`, in a buffer of the size that one training layer has."""
    found = {}
    for name in ("float32", "bfloat16"):
        x_RS = torch.zeros((_SOFTMAX_VALUES // _SOFTMAX_ROW, _SOFTMAX_ROW), dtype=getattr(torch, name), device=device)
        found[name] = timer.samples(lambda x=x_RS: torch.softmax(x, dim=-1)).scaled(float(_SOFTMAX_VALUES))
    return found


def _instruction_sets() -> tuple[str, ...]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return ()
    present = set(flags.split())
    return tuple(name for name in _ISA if name in present)


def _runtime_memory_bytes() -> int | None:
    """Resident bytes of a fresh process that has only loaded torch. None when it does not answer."""
    code = "import torch, psutil; print(psutil.Process().memory_info().rss)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else None


def _nothing() -> None:
    return None
