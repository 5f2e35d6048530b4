"""Which weights there are, and the peak rate and decay of each: by kind, by the recipe's groups, and carried across widths.

Rates are carried as muP does (Yang et al., arXiv 2203.03466, table 8, which allows tied embeddings), for width m times the one
that they were tuned at: a matrix's rate over m under rules whose every entry moves by about the rate (AdamW, Lion, SOAP,
schedule-free), over sqrt(m) under Adafactor (which multiplies by the weight's own size, 1 / sqrt(width) at the start), and as it is
under Muon (its update's spectral norm is the same at every width: Yang, Simon and Bernstein, arXiv 2310.17813). The logits are
multiplied by 1 / m through the last norm's gain, which starts at 1 / m of its value and moves at 1 / m of its rate, so that an
exported model is an ordinary one. The product of rate and decay stays. Head size is taken as fixed: more heads, not larger ones. These
factors are derived; that AdamW's best rate stays put over three widths is measured in benchmarks/records/mup.md, the other kinds' is not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import torch
from torch import nn

from aether.models.config import DecoderConfig
from aether.spec.errors import InputError
from aether.stages.train.recipe_optimiser import Optimiser, WeightGroup, WeightKind

_LAST_SCALES = ("final_gain", "final_norm.gain", "final_norm.bias")
"""What stands between the stream and the head."""


class Trainable(Protocol):
    """What is optimised: a `Decoder`, or what a process holds of one."""

    config: DecoderConfig

    @property
    def dtype(self) -> torch.dtype:
        """The type of its products."""
        ...

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """(name, parameter) of all."""
        ...

    def fused_rows(self) -> Mapping[str, list[int]]:
        """The rows of each matrix inside a fused parameter, by the parameter's last name."""
        ...

    def freeze_block_gains(self) -> None:
        """Keep the blocks' gains at one."""
        ...


@dataclass(frozen=True)
class Weight:
    """One learnt parameter: the rows of the independent matrices fused in it, its peak rate and its decoupled decay."""

    parameter: nn.Parameter
    rows: list[int]
    lr: float
    weight_decay: float
    kind: WeightKind = "matrices"


def kind_of(name: str, parameter: nn.Parameter) -> WeightKind:
    """What kind of weight a parameter of this name is."""
    last = name.rsplit(".", 1)[-1]
    if last.endswith("embedding"):
        return "embedding"
    if last == "router":
        return "routers"
    if parameter.ndim == 2:
        return "matrices"
    return "gains" if last.endswith("gain") else "biases"


def width_factor(settings: Optimiser, width: int) -> float:
    """1 / m for a model `width` wide: what the last norm's gain starts at and is learnt with. 1 without `base_width`."""
    return 1.0 if settings.base_width is None else settings.base_width / width


def weights_of(model: Trainable, settings: Optimiser) -> list[Weight]:
    """Every learnt parameter with its numbers. Raises InputError for a group that no weight takes from."""
    fused, taken, weights = model.fused_rows(), set(), []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = kind_of(name, parameter)
        lr, decay = _by_kind(settings, kind)
        place = next((i for i, group in enumerate(settings.groups) if _matches(group, name, kind)), None)
        if place is not None:
            taken.add(place)
            group = settings.groups[place]
            lr = lr if group.lr is None else group.lr
            decay = decay if group.weight_decay is None else group.weight_decay
        factor = _carried(settings, name, kind, model.config.hidden_size)
        rows = fused.get(name.rsplit(".", 1)[-1], [parameter.shape[0]]) if parameter.ndim == 2 else []
        weights.append(Weight(parameter, rows, lr * factor, decay / factor, kind))
    for place, group in enumerate(settings.groups):
        if place not in taken:
            shown = group.model_dump(exclude_none=True)
            mend = "no learnt weight takes from it; mend its pattern or kind, or put it before the groups that match the same weights"
            raise InputError.of(f"optimiser.groups[{place}]", shown, mend)
    return weights


def _by_kind(settings: Optimiser, kind: WeightKind) -> tuple[float, float]:
    """(peak rate, decay) without groups: gains and biases never decay."""
    if kind in ("gains", "biases"):
        return (settings.gain_lr if settings.kind == "muon" else settings.matrix_lr), 0.0
    if settings.kind != "muon":
        return settings.matrix_lr, settings.weight_decay
    if kind == "embedding":
        return settings.embedding_lr, settings.embedding_weight_decay
    return settings.muon_lr, settings.muon_weight_decay


def _matches(group: WeightGroup, name: str, kind: WeightKind) -> bool:
    return group.kind in (None, kind) and (group.pattern is None or fnmatchcase(name, group.pattern))


def _carried(settings: Optimiser, name: str, kind: WeightKind, width: int) -> float:
    """The factor of a rate on its way from `base_width` to `width`, sizes within blocks growing in proportion.

    Adam's form of muP (arXiv 2203.03466, table 8, which lets input and output be tied): 1 / m for matrices, 1 for the rest; the output's 1 / m is the last
    gain's. Muon: an update's spectral norm is to be sqrt(rows / columns) (arXiv 2310.17813, equation 5), which a router's, with rows
    that do not grow, is not by itself. Adafactor's rates are relative to weights of 1 / sqrt(columns).
    """
    shrink = width_factor(settings, width)
    if kind in ("matrices", "routers"):
        muon = shrink**0.5 if kind == "routers" else 1.0
        return {"muon": muon, "adafactor": shrink**0.5}.get(settings.kind, shrink)
    relative = settings.kind == "adafactor" and name != "final_norm.bias"
    return shrink if name in _LAST_SCALES and not relative else 1.0
