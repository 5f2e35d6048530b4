"""Each candidate's folder: written, counted, weighed and read back. What is wrong is refused by name, never passed on.

A candidate is a whole standard Hugging Face folder, so that its size is the size that a person downloads.
Does not judge quality: `judge` does.
"""

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch

from aether.evidence.extras import install_command
from aether.evidence.files import write_atomically
from aether.models import quantized
from aether.models.quantized import Scheme
from aether.spec.errors import EnvironmentFault, InputError
from aether.stages.compress.card import model_card
from aether.stages.compress.recipe import Candidate

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
"""Files that every candidate takes over unchanged, where the trained folder has them."""


class Refused(StrEnum):
    """Why a candidate is not the one that is kept."""

    QUALITY = "quality_loss_above_bound"
    UNPROVEN = "too_few_clusters_to_bound_the_loss"
    SHAPE = "group_size_does_not_divide_a_layer"
    NOT_SMALLER = "not_smaller_than_the_trained_model"
    LARGER = "a_smaller_candidate_passed"


@dataclass(frozen=True)
class Built:
    """A candidate on disk. `layers` counts the tensors that were changed; None folder: it was refused before that."""

    candidate: Candidate
    folder: Path | None
    size_bytes: int
    layers: int
    refused: Refused | None = None


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of the files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def build(candidate: Candidate, source: Path, target: Path, facts: dict) -> Built:
    """Write the candidate's folder from the trained one and verify it. `facts` go into the model card."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in COMPANIONS:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    try:
        layers = _write(candidate, source, target)
    except InputError:
        shutil.rmtree(target)
        return Built(candidate, None, 0, 0, Refused.SHAPE)
    write_atomically(target / "README.md", model_card(candidate, facts))
    if candidate.kind == "float32":
        return Built(candidate, target, folder_bytes(target), layers)
    _verify(candidate, source, target, layers)
    weights, before = (folder / quantized.WEIGHTS_NAME for folder in (target, source))
    refused = Refused.NOT_SMALLER if weights.stat().st_size >= before.stat().st_size else None
    return Built(candidate, target, folder_bytes(target), layers, refused)


def _write(candidate: Candidate, source: Path, target: Path) -> int:
    if candidate.kind == "float32":
        for name in ("config.json", quantized.WEIGHTS_NAME):
            shutil.copyfile(source / name, target / name)
        return 0
    if candidate.kind == "bfloat16":
        return quantized.write_bfloat16(source, target)
    assert candidate.bits is not None
    return quantized.write_quantized(source, target, Scheme(candidate.bits, candidate.group_size))


def _verify(candidate: Candidate, source: Path, target: Path, layers: int) -> None:
    """Every matrix of every block is quantised, and the file gives back what was computed in memory, bit for bit."""
    trained, loaded = quantized.dense_tensors(source), quantized.dense_tensors(target)
    assert trained.keys() == loaded.keys(), f"{candidate.name}: tensors were lost or added"
    matrices = [name for name, tensor in trained.items() if quantized.is_linear(name, tensor)]
    scheme = Scheme(candidate.bits or 16, candidate.group_size)
    if candidate.kind == "integer":
        assert quantized.scheme_of(target) == scheme and layers == len(matrices) > 0, (
            f"{candidate.name}: {layers} layers"
        )
    for name, tensor in trained.items():
        if candidate.kind == "integer" and name in matrices:
            expected = quantized.dequantize(*quantized.quantize(tensor, scheme))
        else:
            expected = tensor.to(torch.bfloat16).float()
        assert torch.equal(expected, loaded[name]), f"{candidate.name}: {name} differs after reading it back"


def transformers_logits(folder: Path, ids_BT: torch.Tensor) -> torch.Tensor:
    """Logits [B, T, V] in float32 from plain transformers. Raises EnvironmentFault when it lacks the format's library."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    except ImportError as error:
        mend = f"run `{install_command('compress')}`"
        raise EnvironmentFault(f"compressed-tensors is missing, so {folder.name} cannot be verified: {mend}") from error
    with torch.inference_mode():
        return model(ids_BT).logits.float()
