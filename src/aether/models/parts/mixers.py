"""The recurrent mixers by the name that `model.mixer` gives them. Attention is the block's own."""

from aether.models.parts.mamba2 import Mamba2
from aether.models.parts.recurrent import RecurrentMixer

MIXERS: dict[str, type[RecurrentMixer]] = {"mamba2": Mamba2}
