"""The sizes of recurrent mixers, and what they hold: matrices, states, all from one `Recurrence`. No torch.

`aether.models.accounting` counts the same `Recurrence`; the modules in `aether.models.parts` make their parameters from `matrices` and
their caches from `state_shapes`, so that there is one arithmetic.

Shapes: H heads, K key size, V value size of a head, N state size of a channel.
"""

from pydantic import Field

from aether.models.accounting_parts import conv_channels
from aether.spec.architecture import Recurrence
from aether.spec.base import Noun
from aether.spec.errors import InputError

RECURRENT = ("mamba", "mamba2", "rwkv6", "rwkv7", "retnet", "gated_delta")
_OWN = {
    "mamba": {"inner_size", "state_size", "conv_size"},
    "mamba2": {"inner_size", "head_size", "state_size", "key_heads", "conv_size"},
    "rwkv6": {"head_size"},
    "rwkv7": {"head_size"},
    "retnet": {"inner_size", "head_size", "key_size"},
    "gated_delta": {"inner_size", "head_size", "key_heads", "key_size", "conv_size"},
}
"""The sizes that a mixer has."""


class RecurrentSizes(Noun):
    """Sizes of recurrent mixers; None: what the mixer's paper, or its class in transformers, takes."""

    inner_size: int | None = Field(default=None, gt=0)
    """Channels of values; None: twice the hidden size (the hidden size for RWKV, which has no choice)."""
    head_size: int | None = Field(default=None, gt=0)
    """Values of one head; None: `head_size` of the decoder."""
    state_size: int | None = Field(default=None, gt=0)
    """N of Mamba (None: 16, arXiv 2312.00752) and Mamba-2 (None: 128, arXiv 2405.21060)."""
    key_heads: int | None = Field(default=None, gt=0)
    """Groups of B and C in Mamba-2 (None: 1); key heads of the gated delta rule (None: half of the heads, as Qwen3-Next)."""
    key_size: int | None = Field(default=None, gt=0)
    """Keys of one head: RetNet (None: half of the head, arXiv 2307.08621) and the gated delta rule (None: the head)."""
    conv_size: int | None = Field(default=None, gt=1)
    """Taps of the short convolution before Mamba, Mamba-2 and the gated delta rule; None: 4."""

    def given(self) -> set[str]:
        """Names of the sizes that are written."""
        return {name for name in type(self).model_fields if getattr(self, name) is not None}


def check_sizes(sizes: RecurrentSizes | None, mixers: set[str]) -> None:
    """Raise InputError for a size that none of the layers' mixers has."""
    if sizes is None:
        return
    owned: set[str] = set().union(*(_OWN.get(mixer, set()) for mixer in mixers))
    for name in sorted(sizes.given() - owned):
        owners = ", ".join(mixer for mixer in RECURRENT if name in _OWN[mixer])
        raise InputError.of(f"recurrence.{name}", getattr(sizes, name), f"only a layer with mixer {owners} has it")


def _rank(hidden: int, share: float, power: float = 0.5) -> int:
    """Ranks of RWKV-7: its reference code (BlinkDL/RWKV-LM) rounds to multiples of 32; equal to the published models'."""
    return max(32, round(share * hidden**power / 32) * 32)


def recurrence_of(form: str, sizes: RecurrentSizes | None, hidden: int, head_size: int, first: bool) -> Recurrence:
    """The mixer `form` at these sizes. `first`: the first RWKV-7 layer, which has no value residual.

    Raises InputError when the sizes do not divide.
    """
    given = sizes or RecurrentSizes()
    inner = given.inner_size or (hidden if form.startswith("rwkv") else 2 * hidden)
    head = given.head_size or head_size
    conv = given.conv_size or 4
    if form == "mamba":
        rank = -(-hidden // 16)
        return Recurrence(
            form="mamba", inner_size=inner, state_size=given.state_size or 16, conv_size=conv, dt_rank=rank
        )
    if inner % head:
        raise InputError.of("recurrence.head_size", head, f"it must divide the {inner} inner channels of {form}")
    heads = inner // head
    if form == "retnet":
        key = given.key_size or head // 2
        if key % 2:
            raise InputError.of("recurrence.key_size", key, "retention rotates pairs of keys: an even number")
        return Recurrence(form="retnet", inner_size=inner, state_size=head, heads=heads, key_size=key)
    if form == "rwkv6":
        ranks = {"mix": 32 if hidden < 4096 else 64, "decay": 64 if hidden < 4096 else 128}
        return Recurrence(form="rwkv6", inner_size=inner, state_size=head, heads=heads, lora_sizes=ranks)
    if form == "rwkv7":
        ranks = {"decay": _rank(hidden, 1.8), "rate": _rank(hidden, 1.8), "gate": _rank(hidden, 0.6, 0.8)}
        ranks |= {} if first else {"value": _rank(hidden, 1.3)}
        return Recurrence(form="rwkv7", inner_size=inner, state_size=head, heads=heads, lora_sizes=ranks)
    usual = 1 if form == "mamba2" or heads % 2 else heads // 2
    key_heads = given.key_heads or usual
    if heads % key_heads:
        raise InputError.of("recurrence.key_heads", key_heads, f"it must divide the {heads} heads of {form}")
    common = Recurrence(form="mamba2", inner_size=inner, state_size=1, heads=heads, key_heads=key_heads, conv_size=conv)
    if form == "mamba2":
        return common.model_copy(update={"state_size": given.state_size or 128})
    own = {"form": form, "state_size": head, "key_size": given.key_size or head, "conv_bias": False}
    return common.model_copy(update=own)


Matrix = tuple[tuple[int, ...], int]
"""Rows of the independent matrices that one parameter fuses, and their columns."""


def matrices(mixer: Recurrence, hidden: int) -> dict[str, Matrix]:
    """The matrices of a mixer by the name of their parameter. Only `out` writes to the stream."""
    inner, heads, form = mixer.inner_size, mixer.heads, mixer.form
    out: dict[str, Matrix] = {"out": ((hidden,), inner)}
    if form == "mamba":
        assert mixer.dt_rank is not None
        selective = {"mamba_in": ((inner, inner), hidden), "mamba_dt": ((inner,), mixer.dt_rank)}
        return selective | {"mamba_select": ((mixer.dt_rank, mixer.state_size, mixer.state_size), inner)} | out
    if form == "mamba2":
        groups = mixer.key_heads * mixer.state_size
        return {"mamba2_in": ((inner, inner, groups, groups, heads), hidden)} | out
    if form in ("gated_delta", "retnet"):
        assert mixer.key_size is not None
        if form == "retnet":
            return {"retnet_in": ((heads * mixer.key_size,) * 2 + (inner, inner), hidden)} | out
        keys = mixer.key_heads * mixer.key_size
        return {"delta_in": ((keys, keys, inner, inner, heads, heads), hidden)} | out
    ranks = mixer.lora_sizes
    if form == "rwkv6":
        low_rank = {"mix_low": ((ranks["mix"],) * 5, hidden), "mix_high": ((hidden,) * 5, ranks["mix"])}
        low_rank |= {"decay_low": ((ranks["decay"],), hidden), "decay_high": ((inner,), ranks["decay"])}
        return dict.fromkeys(("read", "key", "value", "gate"), ((inner,), hidden)) | low_rank | out
    assert form == "rwkv7"
    down = {f"{name}_low": ((rank,), hidden) for name, rank in ranks.items()}
    up = {f"{name}_high": ((inner,), rank) for name, rank in ranks.items()}
    return dict.fromkeys(("read", "key", "value"), ((inner,), hidden)) | down | up | out


def state_shapes(mixer: Recurrence, hidden: int) -> dict[str, tuple[int, ...]]:
    """What one sequence keeps in a cache: `state` (float32 at least), and `past`: the last inputs of the short convolution, or the
    last token's of RWKV."""
    past = (1, hidden) if mixer.form.startswith("rwkv") else (mixer.conv_size - 1, conv_channels(mixer))
    if mixer.form == "mamba":
        return {"state": (mixer.inner_size, mixer.state_size), "past": past}
    head = mixer.inner_size // mixer.heads
    if mixer.form == "retnet":
        return {"state": (mixer.heads, mixer.key_size or 0, head)}
    keys = {"mamba2": mixer.state_size, "gated_delta": mixer.key_size or 0}.get(mixer.form, head)
    return {"state": (mixer.heads, keys, head), "past": past}
