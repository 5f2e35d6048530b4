"""Which products of a low-precision run compute in which format, and what turning their operands into it moves.

Hybrids of Mamba-2 keep parts wide: Nemotron 3 Super, table 3 (arXiv 2604.12374, section 2.2; a copy of its text read 2026-11-27):
the last 15 % of the layers, projections of attention and of latent experts and the prediction layers in bfloat16, the last product of a
Mamba-2 layer in MXFP8. Megatron-Bridge's recipe does so (`nemotron_3_super_bf16_with_nvfp4_mixed`, 14 of 88 layers, `te_quant.cfg`,
`keep_mtp_spec_in_bf16`; perf_recipes/nemotronh, read 2026-11-27), and its recipes for other models keep none (utils/precision.py).
"""

from aether.planning.training.operators import Product
from aether.planning.training.setup import Precision, TrainingSetup
from aether.spec.architecture import Recurrence

LOW = ("fp8", "mxfp8", "nvfp4")
WIDE_SHARE = 0.15
"""Of a hybrid's layers under NVFP4: the last ones."""
CURRENT_SCALING_SINCE = 2025.0
"""Since about then tensors in fp8 are scaled by their own largest value, which a pass of its own finds, and no more by those before
(Transformer Engine's `Float8CurrentScaling` after `DelayedScaling`; Megatron-Bridge's `fp8_cs` recipes; torchtitan from its start)."""
INPUT_BYTES: dict[Precision, float] = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "mxfp8": 1.03, "nvfp4": 0.56}
"""Bytes of an operand of a matrix product, block scales included (published: OCP MX 1.0 has one byte for 32 values; NVFP4 for 16)."""


def is_hybrid(setup: TrainingSetup) -> bool:
    """Whether some layers are recurrences."""
    return any(isinstance(group.mixer, Recurrence) for group in setup.architecture.groups)


def computed_in(
    setup: TrainingSetup, product: Product, predicts_ahead: bool, hybrid: bool
) -> tuple[tuple[Precision, float], ...]:
    """Formats of a product with the share of the layers that have it so. `predicts_ahead`: it is of a multi-token prediction layer."""
    own = setup.precision
    if own not in LOW or not hybrid:
        return ((own, 1.0),)
    if predicts_ahead:
        return (("bf16", 1.0),)
    if own != "nvfp4":
        return ((own, 1.0),)
    if product.part in ("attention", "latent"):
        return (("bf16", 1.0),)
    narrow: Precision = "mxfp8" if product.part == "recurrence_out" else own
    return ((narrow, 1 - WIDE_SHARE), ("bf16", WIDE_SHARE))


def cast_bytes(setup: TrainingSetup, precision: Precision, product: Product, again: float, learns: bool) -> float:
    """Traffic of turning a product's input, forward and `again` where it is recomputed, and its gradient into `precision`.

    Each is read in two bytes and written along its rows, and along its columns too where weights learn: no format but a scalar's
    can be read both ways. NVFP4 and current scaling read it once before, for the largest value (Transformer Engine,
    `nvte_hadamard_transform_amax` before the cast: csrc/quantizer.cpp, as quoted in a public repository, read 2026-11-27).
    """
    looks = precision == "nvfp4" or (precision == "fp8" and _scales_currently(setup))
    each = 2.0 * (1 + looks) + (1 + learns) * INPUT_BYTES[precision]
    return product.count * product.m * each * (product.k * (1 + again) + product.n)


def _scales_currently(setup: TrainingSetup) -> bool:
    return setup.software.framework == "torchtitan" or setup.software.year >= CURRENT_SCALING_SINCE
