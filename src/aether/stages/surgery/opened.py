"""A model laid open: its config and its tensors under one set of names, whatever class wrote it; and closed again.

Names are those of `models.parts.decoder`, for the default decoder too. Exact in both directions (`models.families_weights`).
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aether.evidence.files import read_json, write_json
from aether.models.config import DecoderConfig
from aether.models.decoder import Decoder
from aether.models.families import family_of
from aether.models.families_weights import from_transformers, to_transformers
from aether.models.parts.decoder import PartsDecoder
from aether.models.weights import TOKENIZER_NAMES, WEIGHTS_NAME, model_of, read_config, read_tensors, save_pretrained
from aether.spec.errors import InputError

_LAYER = re.compile(r"blocks\.(\d+)\.(.*)")
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class Opened:
    """A model as plain values; float32."""

    config: DecoderConfig
    tensors: dict[str, Tensor]

    def resized(self, tensors: dict[str, Tensor], **sizes: int | float) -> "Opened":
        """Other tensors and sizes. Raises InputError when the sizes do not fit together."""
        return Opened(DecoderConfig.model_validate(self.config.model_dump() | sizes), tensors)

    def mapped(self, change: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
        """Every tensor through `change(name, tensor)`; of a layer's the name has no number."""
        return {name: change(_LAYER.sub(r"\2", name), tensor) for name, tensor in self.tensors.items()}

    def with_layers(self, order: list[int]) -> "Opened":
        """The layers of `order` (a layer may come twice), all else as it is."""
        kept = {name: tensor for name, tensor in self.tensors.items() if not name.startswith("blocks.")}
        by_layer: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            if found := _LAYER.fullmatch(name):
                by_layer.setdefault(int(found[1]), {})[found[2]] = tensor
        for place, layer in enumerate(order):
            kept |= {f"blocks.{place}.{name}": tensor.clone() for name, tensor in by_layer[layer].items()}
        return self.resized(kept, layers=len(order))

    def model(self) -> PartsDecoder:
        """The decoder that computes it."""
        model = PartsDecoder(self.config)
        own = dict(model.named_parameters())
        assert own.keys() == self.tensors.keys(), "an operation lost a tensor"
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(self.tensors[name])
        return model


def open_model(folder: Path) -> Opened:
    """The model in a folder. Raises InputError for an architecture that Aether has not, DamagedRecord for broken files."""
    config, named = read_config(folder), read_tensors(folder / WEIGHTS_NAME)
    model: Decoder = model_of(config, named)
    if config.plain:
        parts, family = PartsDecoder(config), family_of(config)
        assert family is not None
        from_transformers(parts, family, named)
        model = parts
    return Opened(config, {name: p.detach().clone() for name, p in model.named_parameters()})


def demand(opened: Opened, operation: str, **wanted: object) -> None:
    """Raise InputError naming the first part of the config that the operation cannot take."""
    for name, value in wanted.items():
        found = getattr(opened.config, name)
        if found != value:
            raise InputError.of(f"model.{name}", found, f"{operation} can be done with {name} = {value} only")


def close(opened: Opened, before: Path, out: Path, tokenizer: str | None = None) -> None:
    """Write the model folder; tokens that open and end texts, and the tokenizer's files unless another is given, are as before."""
    model: Decoder = opened.model()
    family = family_of(opened.config)
    if opened.config.plain and family is not None:
        model = model_of(opened.config, to_transformers(model, family))
    save_pretrained(model, out)
    for name in (*TOKENIZER_NAMES, "generation_config.json"):
        if (before / name).is_file():
            shutil.copyfile(before / name, out / name)
    if tokenizer is not None:
        (out / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    ids = {name: value for name, value in read_json(before / "config.json").items() if name in _IDS}
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    write_json(out / "config.json", config | ids)
