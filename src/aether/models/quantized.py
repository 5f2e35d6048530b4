"""Weight-only quantised folders: written and read in the compressed-tensors `pack-quantized` format (safetensors).

The format is that of the vLLM project's compressed-tensors library: transformers loads it when that library is
installed, vLLM and SGLang serve it. Each linear layer's weight becomes `weight_packed` (int32, the first value in the
lowest bits, offset by half the range), `weight_scale` (one per row or per group of columns) and `weight_shape`.
Codes are symmetric, rounded to nearest; each scale is the one of a small grid that makes the least squared error
(the weight clipping search of AWQ, Lin et al., arXiv 2306.00978, appendix; no calibration data). Embeddings and norms
stay bfloat16: transformers 5.17 cannot load a packed embedding that is tied to the output head (docs/compression.md).
Loading expands the weights, so it saves disk and download, not memory or time while serving.

Shapes: O output features, I input features, G groups in a row, S group size (I / G).
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aether.evidence.files import explained_os_errors, read_json, write_json
from aether.models import weights
from aether.models.config import DecoderConfig
from aether.models.config_parts import refuse_parts
from aether.models.decoder import Decoder
from aether.models.weights import WEIGHTS_NAME
from aether.spec.errors import DamagedRecord, InputError

SHRINKS = tuple(1.0 - 0.02 * step for step in range(21))
"""Shares of the largest magnitude that are tried as a group's range. Assumed: 0.6 to 1 in steps of 0.02."""


@dataclass(frozen=True)
class Scheme:
    """`bits` per code; one scale per `group_size` columns, or per row when it is None."""

    bits: int
    group_size: int | None = None

    def groups(self, columns: int) -> int:
        """Scales in a row of `columns` weights. Raises InputError when the groups do not fit."""
        if self.group_size is None:
            return 1
        if columns % self.group_size:
            raise InputError.of("group_size", self.group_size, f"it must divide the layer's {columns} input features")
        return columns // self.group_size


def quantize(weight_OI: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Codes [O, I] (int8) and scales [O, G] (bfloat16 for groups, float32 for rows) of a float weight."""
    rows, columns = weight_OI.shape
    groups = scheme.groups(columns)
    weight_OGS = weight_OI.float().reshape(rows, groups, columns // groups)
    top = 2 ** (scheme.bits - 1) - 1
    widest_OG1 = weight_OGS.abs().amax(-1, keepdim=True).clamp_min(1e-8)
    best_scale_OG1 = torch.zeros_like(widest_OG1)
    best_error_OG1 = torch.full_like(widest_OG1, torch.inf)
    stored = torch.float32 if scheme.group_size is None else torch.bfloat16
    for shrink in SHRINKS:
        # The scale is rounded as it will be stored before the codes are chosen for it.
        scale_OG1 = (widest_OG1 * shrink / top).to(stored).float()
        restored = (weight_OGS / scale_OG1).round().clamp(-top - 1, top) * scale_OG1
        error_OG1 = (restored - weight_OGS).square().sum(-1, keepdim=True)
        better = error_OG1 < best_error_OG1
        best_scale_OG1 = torch.where(better, scale_OG1, best_scale_OG1)
        best_error_OG1 = torch.where(better, error_OG1, best_error_OG1)
    codes = (weight_OGS / best_scale_OG1).round().clamp(-top - 1, top).to(torch.int8)
    return codes.reshape(rows, columns), best_scale_OG1.squeeze(-1).to(stored)


def dequantize(codes_OI: Tensor, scale_OG: Tensor) -> Tensor:
    """The weight [O, I] in float32 that codes and scales stand for, as transformers computes it for a float32 model."""
    rows, columns = codes_OI.shape
    codes_OGS = codes_OI.reshape(rows, scale_OG.shape[1], -1).float()
    return (codes_OGS * scale_OG[..., None].float()).reshape(rows, columns)


def pack(codes_OI: Tensor, bits: int) -> Tensor:
    """int8 codes [O, I] as int32 words [O, ceil(I / (32 // bits))], the first code in the lowest bits."""
    per_word = 32 // bits
    offset = codes_OI.to(torch.int64) + (1 << (bits - 1))
    padded = torch.nn.functional.pad(offset, (0, -codes_OI.shape[1] % per_word))
    shifted = padded.reshape(codes_OI.shape[0], -1, per_word) << (torch.arange(per_word) * bits)
    word = shifted.sum(-1)
    return torch.where(word >= 1 << 31, word - (1 << 32), word).to(torch.int32)


def unpack(words: Tensor, bits: int, columns: int) -> Tensor:
    """The inverse of `pack`."""
    per_word = 32 // bits
    codes = (words.to(torch.int64)[..., None] >> (torch.arange(per_word) * bits)) & ((1 << bits) - 1)
    return (codes.reshape(words.shape[0], -1)[:, :columns] - (1 << (bits - 1))).to(torch.int8)


def is_linear(name: str, tensor: Tensor) -> bool:
    """Whether a Hugging Face tensor is a block's matrix: what gets quantised (not embeddings, norms, the head)."""
    return ".layers." in name and name.endswith("_proj.weight") and tensor.ndim == 2


def quantization_config(scheme: Scheme) -> dict:
    """The `quantization_config` that config.json needs so that transformers and vLLM know the scheme."""
    described = {
        "num_bits": scheme.bits,
        "type": "int",
        "symmetric": True,
        "strategy": "channel" if scheme.group_size is None else "group",
        "group_size": scheme.group_size,
        "dynamic": False,
    }
    group = {"targets": ["Linear"], "weights": described, "input_activations": None, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group | {"format": "pack-quantized"}},
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }


def write_quantized(source: Path, target: Path, scheme: Scheme) -> int:
    """Write config.json and the weights of `source` (a plain folder) quantised into `target`; the layers quantised.

    Raises InputError for a decoder with exchanged parts: which of its matrices may be packed is known for Qwen3's alone.
    """
    refuse_parts(weights.read_config(source), "weight-only quantisation", "write bfloat16")
    tensors = weights.read_tensors(source / WEIGHTS_NAME)
    stored: dict[str, Tensor] = {}
    count = 0
    for name, tensor in tensors.items():
        if not is_linear(name, tensor):
            stored[name] = tensor.to(torch.bfloat16)
            continue
        codes, scale = quantize(tensor, scheme)
        layer = name.removesuffix(".weight")
        stored[f"{layer}.weight_packed"] = pack(codes, scheme.bits)
        stored[f"{layer}.weight_scale"] = scale
        stored[f"{layer}.weight_shape"] = torch.tensor(tensor.shape)
        count += 1
    _write(target, stored, read_json(source / "config.json") | {"quantization_config": quantization_config(scheme)})
    return count


def write_bfloat16(source: Path, target: Path) -> int:
    """Write config.json and the weights of `source` with every tensor in bfloat16; the tensors rounded."""
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in weights.read_tensors(source / WEIGHTS_NAME).items()}
    _write(target, tensors, read_json(source / "config.json") | {"dtype": "bfloat16"})
    return len(tensors)


def _write(target: Path, tensors: dict[str, Tensor], config: dict) -> None:
    with explained_os_errors(target):
        target.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    weights.write_tensors(target / WEIGHTS_NAME, contiguous, {"format": "pt"})
    write_json(target / "config.json", config)


def is_quantized(folder: Path) -> bool:
    """Whether a model folder says that its weights are quantised."""
    return "quantization_config" in read_json(folder / "config.json")


def scheme_of(folder: Path) -> Scheme:
    """The scheme of a quantised folder. Raises InputError for a format that this module does not read."""
    config = read_json(folder / "config.json")["quantization_config"]
    groups = config.get("config_groups", {})
    if config.get("format") != "pack-quantized" or len(groups) != 1:
        told = json.dumps(config)[:80]
        raise InputError.of("quantization_config", told, "only compressed-tensors pack-quantized is read here")
    described = next(iter(groups.values()))["weights"]
    return Scheme(described["num_bits"], described.get("group_size") if described["strategy"] == "group" else None)


def dense_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model folder under their Hugging Face names, quantised weights expanded, all in float32."""
    scheme = scheme_of(folder) if is_quantized(folder) else None
    path = folder / WEIGHTS_NAME
    stored = weights.read_tensors(path)
    found: dict[str, Tensor] = {}
    for name in sorted(stored):
        layer, _, part = name.rpartition(".")
        if part in ("weight_scale", "weight_shape"):
            continue
        if part != "weight_packed":
            found[name] = stored[name].float()
            continue
        if scheme is None or not {f"{layer}.weight_scale", f"{layer}.weight_shape"} <= stored.keys():
            raise DamagedRecord(f"{path} has no scale for {layer}; run the compress step again", path=str(path))
        codes = unpack(stored[name], scheme.bits, int(stored[f"{layer}.weight_shape"][1]))
        found[f"{layer}.weight"] = dequantize(codes, stored[f"{layer}.weight_scale"])
    return found


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    """The decoder in a model folder, quantised or plain, with dense weights of `dtype`. The door for whoever runs a model.

    Raises InputError for another architecture or format, DamagedRecord for files that are missing or cut short.
    """
    if not is_quantized(folder):
        return weights.load(folder, dtype)
    return weights.model_of(read_config(folder), dense_tensors(folder)).to(dtype).eval()


def read_config(folder: Path) -> DecoderConfig:
    """As `weights.read_config`, of a quantised folder too."""
    if not is_quantized(folder):
        return weights.read_config(folder)
    config = read_json(folder / "config.json")
    del config["quantization_config"]
    # `weights.read_config` checks every other key, and rightly knows no quantisation.
    with tempfile.TemporaryDirectory() as plain:
        write_json(Path(plain) / "config.json", config)
        return weights.read_config(Path(plain))
