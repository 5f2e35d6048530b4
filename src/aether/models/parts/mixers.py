"""The recurrent mixers by the name that `model.mixer` gives them. Attention is the block's own."""

from aether.models.parts.gated_delta import GatedDelta
from aether.models.parts.mamba import Mamba
from aether.models.parts.mamba2 import Mamba2
from aether.models.parts.recurrent import RecurrentMixer
from aether.models.parts.retnet import Retention
from aether.models.parts.rwkv6 import Rwkv6
from aether.models.parts.rwkv7 import Rwkv7

MIXERS: dict[str, type[RecurrentMixer]] = {
    "mamba": Mamba,
    "mamba2": Mamba2,
    "retnet": Retention,
    "gated_delta": GatedDelta,
    "rwkv6": Rwkv6,
    "rwkv7": Rwkv7,
}
