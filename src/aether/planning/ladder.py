"""The shapes that the planner chooses among: a deterministic ladder of decoders for a vocabulary and a context.

Width grows with depth at 16 to 96 channels a layer: within that range, shape moves the loss by a few percent at most
(Kaplan et al. 2020, arXiv 2001.08361, section 3.1), and shallow wide models run faster. SwiGLU's inner width is 8/3 of
the outer (Shazeer 2020, arXiv 2002.05202, section 2), rounded to a multiple of 32 so that kernels see whole tiles.
Queries share keys in pairs when there are enough heads (grouped-query attention, Ainslie et al., arXiv 2305.13245).
"""

from aether.models.config import DecoderConfig

_DEPTHS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80)
_CHANNELS_PER_LAYER = (16, 24, 32, 40, 48, 64, 80, 96)
_GRAIN, _MOST_WIDTH = 64, 8192


def decoder(width: int, layers: int, vocab_size: int, context_tokens: int) -> DecoderConfig:
    """The ladder's decoder of that width (a multiple of 64) and depth."""
    assert width % _GRAIN == 0
    head_size = 64 if width < 2048 else 128
    heads = width // head_size
    return DecoderConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        layers=layers,
        heads=heads,
        kv_heads=heads // 2 if heads >= 4 and heads % 2 == 0 else heads,
        head_size=head_size,
        mlp_size=max(64, round(width * 8 / 3 / 32) * 32),
        context_tokens=context_tokens,
    )


def ladder(vocab_size: int, context_tokens: int, least: float, most: float) -> tuple[DecoderConfig, ...]:
    """Every shape with between `least` and `most` parameters, smallest first. Never empty: the smallest shape stands in."""
    shapes = {
        (width, layers)
        for layers in _DEPTHS
        for channels in _CHANNELS_PER_LAYER
        if _GRAIN <= (width := round(layers * channels / _GRAIN) * _GRAIN) <= _MOST_WIDTH
    }
    found = [decoder(width, layers, vocab_size, context_tokens) for width, layers in shapes]
    ranked = sorted(found, key=lambda c: (c.parameters(), c.layers))
    inside = tuple(c for c in ranked if least <= c.parameters() <= most)
    return inside or tuple(ranked[:1])


def context_for(prompt_tokens: int, output_tokens: int) -> int:
    """The least power of two, from 256 to 4096, that holds a request of the brief's load."""
    context = 256
    while context < prompt_tokens + output_tokens and context < 4096:
        context *= 2
    return context
