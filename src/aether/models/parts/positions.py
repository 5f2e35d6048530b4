"""Where a token stands: rotary frequencies and their scaling, sine waves, ALiBi slopes. No parameters here.

Rotary positions follow RoFormer (arXiv 2104.09864) in the half-split layout. Scaling: position interpolation (Chen et al., arXiv
2306.15595), NTK-aware and dynamic NTK (bloc97 and emozilla, 2023, as written down in YaRN's appendix B), YaRN (Peng et al., arXiv
2309.00071, section 3). Equal to transformers' initialisers, which the tests compare. ALiBi: Press et al., arXiv 2108.12409.

Shapes: T positions, R rotated values of a head, C hidden size, H heads.
"""

import math

import torch
from torch import Tensor

from aether.models.config import DecoderConfig
from aether.models.config_parts import RopeScaling


def rotated_size(config: DecoderConfig) -> int:
    """R: how many of a head's values are rotated."""
    if config.positions != "rope":
        return 0
    return config.latent.rope_size if config.latent is not None else int(config.head_size * config.rope_fraction)


def frequencies(config: DecoderConfig, tokens: int, local: bool = False) -> tuple[Tensor, float]:
    """(radians per position [R / 2] in float32, the factor on queries and on keys) for a sequence of `tokens`.

    Only dynamic NTK looks at `tokens`. `local`: of the layers with a window, which may have a base of their own.
    """
    size, theta, scaling = rotated_size(config), config.rope_theta, config.rope_scaling
    if local and config.local_rope_theta is not None:
        theta, scaling = config.local_rope_theta, None
    if scaling is None:
        return _plain(theta, size), 1.0
    if scaling.kind == "linear":
        return _plain(theta, size) / scaling.factor, 1.0
    if scaling.kind == "yarn":
        return _yarn(theta, size, scaling), scaling.yarn_attention_factor()
    stretch = scaling.factor
    if scaling.kind == "dynamic":
        stretch = stretch * max(1.0, tokens / scaling.original_context_tokens) - (stretch - 1)
    return _plain(theta * stretch ** (size / (size - 2)), size), 1.0


def _plain(theta: float, size: int) -> Tensor:
    return 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size)


def _yarn(theta: float, size: int, scaling: RopeScaling) -> Tensor:
    """Frequencies between interpolated (slow dimensions) and plain (fast ones): arXiv 2309.00071, section 3."""

    def dimension(turns: float) -> float:
        """The dimension that turns so often over the original context."""
        return size * math.log(scaling.original_context_tokens / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    # A width of zero would divide by zero; a thousandth makes it a step.
    width = high - low if high != low else 0.001
    slow = ((torch.arange(size // 2, dtype=torch.float32) - low) / width).clamp(0, 1)
    plain = _plain(theta, size)
    return plain / scaling.factor * slow + plain * (1 - slow)


def rotary_tables(config: DecoderConfig, tokens: int, local: bool = False) -> tuple[Tensor, Tensor]:
    """Cosine, and sine with the half-split layout's sign, [T, R] each, in float32; the attention factor is in both."""
    per_position, factor = frequencies(config, tokens, local)
    angles = torch.outer(torch.arange(tokens).float(), per_position)
    cos, sin = angles.cos() * factor, angles.sin() * factor
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def sine_waves(tokens: int, width: int) -> Tensor:
    """[T, C]: sine in even places and cosine in odd ones, of wavelengths 2 pi to 10000 x 2 pi (arXiv 1706.03762, section 3.5)."""
    rates = 10000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float64), rates)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width].float()


def alibi_slopes(heads: int) -> Tensor:
    """[H] in float32: a geometric sequence from 2^(-8/n); between powers of two, every other one of the next (arXiv 2108.12409,
    section 3, and the authors' code)."""
    power = 2 ** math.floor(math.log2(heads))
    base = [2.0 ** (-8.0 * (head + 1) / power) for head in range(power)]
    between = [2.0 ** (-4.0 * (2 * head + 1) / power) for head in range(heads - power)]
    return torch.tensor(base + between)
