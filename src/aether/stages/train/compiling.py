"""torch.compile for the updates: asked for by the recipe, paid before the first one, and never dropped in silence.

The blocks alone are compiled, one graph for all (regional compilation): with the embedding, the last norm and the loss in the
graph an update was 1 % faster, within noise (LOG.md). Compiled kernels lie in the step's checkpoint folder, so that a killed run that goes on finds them
there, and are gone when the step is done. Same graph, same threads, same bits: nothing is chosen by timing (no autotuning).
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from aether.hardware.compiler import compiler_fault
from aether.models.decoder import Decoder
from aether.stages.train.recipe import TrainRecipe

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


@dataclass(frozen=True)
class Compilation:
    """What became of the recipe's wish: `blocks` or `off`, the seconds it took, and why it is off (empty when not asked)."""

    used: str = "off"
    seconds: float = 0.0
    fault: str = ""


def compile_for(recipe: TrainRecipe, model: Decoder, folder: Path) -> Compilation:
    """Compile `model` as the recipe asks, with kernels kept under `folder`. A machine that cannot leaves it plain, with the reason.

    Leaves no gradients, and draws no random numbers.
    """
    if recipe.compile == "off":
        return Compilation()
    fault = compiler_fault()
    if fault is not None:
        return Compilation(fault=fault)
    # Imported here: a second and 75 MB that a plain run does not need (measured).
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    began_s = time.perf_counter()
    # Graphs of an earlier training in this process count against the limit of graphs for one function.
    torch.compiler.reset()
    model.compile_blocks()
    try:
        with _kernels_in(folder):
            for sequences in sorted({count for _, count in recipe.stages()}):
                _pass_over(model, recipe.micro_batch_sequences or sequences)
    except (TorchDynamoException, CppCompileError, InvalidCxxCompiler) as error:
        model.keep_plain()
        fault = f"torch.compile failed ({str(error).strip().splitlines()[0]})"
        return Compilation(seconds=time.perf_counter() - began_s, fault=fault)
    return Compilation("blocks", time.perf_counter() - began_s)


def _pass_over(model: Decoder, sequences: int) -> None:
    """Forward and backward over windows of zeros in the shape of an update: what compiles both graphs."""
    tokens = torch.zeros(sequences, model.config.context_tokens, dtype=torch.int64, device=model.embedding.device)
    model.loss(tokens, tokens, tokens).backward()
    for parameter in model.parameters():
        parameter.grad = None


@contextmanager
def _kernels_in(folder: Path) -> Iterator[None]:
    before = os.environ.get(_CACHE)
    os.environ[_CACHE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE]
        else:
            os.environ[_CACHE] = before
