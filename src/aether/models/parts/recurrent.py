"""What recurrent mixers share: a state that passes through chunks and the cache, documents that begin in the middle, a short convolution.

A chunked form works on `CHUNK` tokens at a time by matrix products and hands the state on; one token over a cache takes the recurrent
form. Tests hold both equal in float64, gradients too. Where a document begins within a window, nothing is read over its edge:
pairs of tokens, the state and the convolution are masked, so that packed documents equal documents alone.

Shapes: B batch, T tokens, n chunks, c tokens of a chunk, H heads, G key heads, R = H / G, N key size, D value size of a head,
E channels, S taps.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aether.models.config import DecoderConfig
from aether.models.config_mixers import matrices
from aether.models.parts.feed_forward import linear
from aether.models.parts.shared import Pass
from aether.models.seams import Stretches

CHUNK = 32
"""Tokens of a chunk where decay is a number for each head. Measured on a CPU, 256 tokens, width 256: 32 is 4 to 14 % faster than 64."""


class Marks(NamedTuple):
    """What a token of a chunk may look at, [B or 1, n or 1, ...], all boolean."""

    pairs: Tensor
    """[.., c, c]: the earlier tokens of its document, itself included."""
    reads: Tensor
    """[.., c]: the state before the chunk."""
    writes: Tensor
    """[.., c]: it is in the document that the chunk ends in."""
    carries: Tensor
    """[..]: the state before the chunk is of that document."""


def marks(begins_BT: Tensor | None, tokens: int, chunk: int, device: torch.device) -> Marks:
    """The marks of windows cut into chunks; the last is filled up on the right."""
    chunks = -(-tokens // chunk)
    if begins_BT is None:
        number = torch.zeros(1, 1, chunk, dtype=torch.int64, device=device)
    else:
        number = chunked(begins_BT, chunk, chunks).cumsum(-1)
    pairs = (number[..., :, None] == number[..., None, :]).tril()
    return Marks(pairs, number == 0, number == number[..., -1:], number[..., -1] == 0)


def chunked(x: Tensor, chunk: int, chunks: int) -> Tensor:
    """[B, T, ...] as [B, n, c, ...], filled with zeros on the right."""
    missing = chunks * chunk - x.shape[1]
    if missing:
        x = torch.cat((x, x.new_zeros(x.shape[0], missing, *x.shape[2:])), dim=1)
    return x.view(x.shape[0], chunks, chunk, *x.shape[2:])


def first_state(
    stretches: Stretches, transitions: Tensor, added: Tensor, product: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The state before each stretch; chunk i of a stretch makes of a state S product(transitions[:, i], S) + added[:, i]."""
    whole, made = transitions[:, 0], added[:, 0]
    for place in range(1, added.shape[1]):
        one = transitions[:, place]
        whole, made = product(one, whole), product(one, made) + added[:, place]
    return stretches.state_before(whole, made, product)


def wide(x: Tensor) -> Tensor:
    """In float32 at least: what is summed over many tokens."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def short_convolution(x_BTE: Tensor, taps_ES: Tensor, past: Tensor | None, given: Pass) -> tuple[Tensor, Tensor]:
    """A causal convolution of each channel alone, [B, T, E], and the inputs [B, S - 1, E] that the next token needs.

    The last tap is the token's own. Sums of shifted inputs: on a CPU faster than a depthwise conv1d, and a document's edge is a mask.
    """
    tokens, taps = x_BTE.shape[1], taps_ES.shape[1]
    if given.stretches is not None:
        past = given.stretches.inputs_before(x_BTE, taps - 1, given.far.documents_BP)
    padded = _with_past(x_BTE, past, taps - 1)
    taps_ES = taps_ES.to(x_BTE.dtype)
    out = x_BTE * taps_ES[:, -1]
    for back in range(1, taps):
        shifted = padded[:, taps - 1 - back : taps - 1 - back + tokens]
        if given.begins_BT is not None:
            shifted = shifted * _same_document(given.begins_BT, back)[..., None]
        out = out + shifted * taps_ES[:, -1 - back]
    return out, _kept(padded, taps - 1, given)


def previous(x_BTE: Tensor, past: Tensor | None, given: Pass) -> tuple[Tensor, Tensor]:
    """The token before each, zero before the first of a document, and the last token [B, 1, E]."""
    if given.stretches is not None:
        past = given.stretches.inputs_before(x_BTE, 1, given.far.documents_BP)
    padded = _with_past(x_BTE, past, 1)
    before = padded[:, :-1]
    if given.begins_BT is not None:
        before = before * ~given.begins_BT[..., None]
    return before, _kept(padded, 1, given)


def _with_past(x_BTE: Tensor, past: Tensor | None, size: int) -> Tensor:
    if past is None:
        return F.pad(x_BTE, (0, 0, size, 0))
    return torch.cat((past.to(x_BTE.dtype), x_BTE), dim=1)


def _same_document(begins_BT: Tensor, back: int) -> Tensor:
    """[B, T]: no document begins within the last `back` tokens."""
    number = begins_BT.cumsum(-1)
    return number == F.pad(number, (back, 0))[:, : number.shape[1]]


def _kept(padded: Tensor, size: int, given: Pass) -> Tensor:
    """The last inputs of each row that count."""
    if given.slots is None or given.slots.counts is None:
        return padded[:, padded.shape[1] - size :]
    counts = torch.tensor(given.slots.counts, device=padded.device)
    places = counts[:, None] + torch.arange(size, device=padded.device)
    return padded.gather(1, places[..., None].expand(-1, -1, padded.shape[2]))


class RecurrentMixer(nn.Module, ABC):
    """A mixer with a state of fixed size. A family gives `mix`, and `start` for its vectors; all vectors are one-dimensional, so that
    an optimiser of matrices leaves them alone."""

    out: nn.Parameter

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        sizes = config.recurrence_at(layer)
        assert sizes is not None
        self.config, self.layer, self.sizes = config, layer, sizes
        for name, (rows, columns) in matrices(sizes, config.hidden_size).items():
            self.register_parameter(name, nn.Parameter(torch.empty(sum(rows), columns)))

    def forward(self, x_BTC: Tensor, given: Pass) -> Tensor:
        """What the mixer adds to the stream; over a cache it goes on from the state there."""
        slots, shared = given.slots, given.stretches
        x = x_BTC if shared is None else shared.apart(x_BTC)
        mixed, kept = self.mix(x, {} if slots is None else slots.held(self.layer), given)
        if slots is not None:
            slots.keep(self.layer, kept)
        changes = linear(mixed.to(x_BTC.dtype), self.out, None)
        return changes if shared is None else shared.together(changes)

    @abstractmethod
    def mix(self, x_BTC: Tensor, held: dict[str, Tensor], given: Pass) -> tuple[Tensor, dict[str, Tensor]]:
        """[B, T, inner] before the last product, and what the next token needs, under the names of `state_shapes`."""

    @abstractmethod
    def start(self, generator: torch.Generator) -> None:
        """Set every vector to its first value."""


def spread(low: float, high: float, count: int) -> Tensor:
    """`count` numbers from `low` to `high` whose logarithms are evenly spaced."""
    return torch.logspace(torch.tensor(low).log10().item(), torch.tensor(high).log10().item(), count)


def first_steps(count: int) -> Tensor:
    """Biases whose softplus runs from 0.001 to 0.1 (arXiv 2312.00752, section 3.6), evenly in the logarithm and not drawn."""
    steps = spread(0.001, 0.1, count)
    return steps + torch.log(-torch.expm1(-steps))


def first_taps(channels: int, taps: int, generator: torch.Generator) -> Tensor:
    """Uniform within 1 / sqrt(taps): torch's start of a depthwise conv1d."""
    return (torch.rand(channels * taps, generator=generator) * 2 - 1) * taps**-0.5
