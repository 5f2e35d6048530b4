"""The decoder from exchangeable parts: what `Decoder` is to the rest of Aether, for a config that exchanges some.

`decoder` makes the right one. No hand-written kernels here. A cache keeps all positions, also of layers
with a window. Dynamic NTK is for whole passes; over a cache it ends at the original context, since beyond it every key that is
kept would have to turn again.

Shapes: B batch, T tokens, C hidden size, V vocabulary, N rows.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aether.models import kernels
from aether.models.cache import Cache
from aether.models.config import DecoderConfig
from aether.models.config_mixers import matrices
from aether.models.config_parts import refuse_uncompiled
from aether.models.decoder import Decoder, _run_block
from aether.models.parts.attention import Sight
from aether.models.parts.block import PartsBlock
from aether.models.parts.experts import MixtureOfExperts, Routed, router_loss
from aether.models.parts.norms import DYT_ALPHA, Norm
from aether.models.parts.positions import alibi_slopes, rotary_tables, sine_waves
from aether.models.parts.recurrent import RecurrentMixer
from aether.models.parts.routing import statistics
from aether.models.parts.shared import CacheSlots, Pass
from aether.models.seams import ALONE
from aether.spec.errors import InputError

_STARTS = {"bias": 0.0, "router_shift": 0.0, "alpha": DYT_ALPHA, "sink": 0.0, "gain": 1.0}
"""First values of vectors by the end of their name."""


BlockRunner = Callable[[nn.Module, Tensor, Any], Tensor]


def _run_mixer(block: nn.Module, x_BTC: Tensor, given: Pass) -> Tensor:
    """One layer's first half, as a function: every layer's is the same graph."""
    assert isinstance(block, PartsBlock)
    return block.mixed(x_BTC, given)


def decoder(config: DecoderConfig, compute_dtype: torch.dtype | None = None) -> Decoder:
    """The decoder of a config: the default one where no part is exchanged."""
    return Decoder(config, compute_dtype) if config.plain else PartsDecoder(config, compute_dtype)


class PartsDecoder(Decoder):
    """As `Decoder`, from the config's parts."""

    def __init__(self, config: DecoderConfig, compute_dtype: torch.dtype | None = None) -> None:
        nn.Module.__init__(self)
        self.config, self.compute_dtype, self.seams = config, compute_dtype, ALONE
        self.keep_plain()
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        learned = config.positions == "learned"
        shape = (config.context_tokens, config.hidden_size)
        self.position_embedding = nn.Parameter(torch.empty(shape)) if learned else None
        self.blocks = nn.ModuleList(PartsBlock(config, layer) for layer in range(config.layers))
        self.final_norm = Norm(config.norm, config.hidden_size, config.norm_eps)
        self._tables_of: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}
        self.initialise(seed=0)

    def start_of(self, name: str, final_gain: float) -> float:
        """As `Decoder.start_of`; biases and sinks start at zero. Learnt positions are a matrix and start as the embedding does."""
        if name == "final_norm.gain":
            return final_gain
        if name.endswith("router_cutoff") and self.config.experts is not None:
            return 1 / self.config.experts.count
        return next((value for end, value in _STARTS.items() if name.endswith(end)), 0.0)

    def initialise(
        self,
        seed: int,
        embedding_std: float = 0.02,
        matrix_scale: float = 1.0,
        zero_out: bool = False,
        final_gain: float = 1.0,
    ) -> None:
        """As `Decoder.initialise`; recurrent mixers start their vectors themselves, from the seed and their layer."""
        super().initialise(seed, embedding_std, matrix_scale, zero_out, final_gain)
        for layer, block in enumerate(self.blocks):
            if isinstance(block, PartsBlock) and isinstance(block.mixer, RecurrentMixer):
                block.mixer.start(torch.Generator().manual_seed(seed * 1_000_003 + layer))

    def freeze_block_gains(self) -> None:
        """Keep the blocks' gains at one. Biases, DyT's scales and sinks go on learning."""
        for name, parameter in self.named_parameters():
            if name.startswith("blocks.") and name.endswith("gain"):
                assert bool((parameter == 1).all()), "only gains of one can be left out"
                parameter.requires_grad_(False)

    def compile_blocks(self) -> None:
        """As `Decoder.compile_blocks`; experts, whose rows are as many as tokens chose them, stay plain beside their layer's other half.

        Raises InputError for parts that a graph does not hold.
        """
        refuse_uncompiled(self.config, "blocks")
        super().compile_blocks()
        if self.config.experts is not None:
            mixed = torch.compile(_run_mixer, dynamic=False, fullgraph=True)
            self._trained_block = lambda block, x_BTC, given: block.fed(mixed(block, x_BTC, given), given)  # pyright: ignore[reportCallIssue]

    def fused_rows(self) -> dict[str, list[int]]:
        """As `Decoder.fused_rows`."""
        config = self.config
        key = config.kv_heads * config.head_size
        rows = {"qkv": [config.heads * config.head_size, key, key]}
        if config.latent is not None:
            one = config.latent
            up = (config.head_size - one.rope_size, one.value_size)
            rows = {"latent_down": [one.kv_rank, one.rope_size], "latent_up": [config.heads * size for size in up]}
        for mixer in filter(None, map(config.recurrence_at, range(config.layers))):
            rows |= {name: list(fused) for name, (fused, _) in matrices(mixer, config.hidden_size).items()}
        inner, one = config.mlp_size, config.experts
        if one is None:
            return rows | ({"gate_up": [inner] * 2} if config.gated else {})
        rows |= {"gate_up": [one.shared_size] * 2} if config.gated and one.shared_size else {}
        rows |= {"expert_gate_up": [inner] * 2 * one.count} if config.gated else {"expert_up": [inner] * one.count}
        return rows | {"expert_down": [config.hidden_size] * one.count}

    def settle(self, applied: bool) -> dict[str, float]:
        """As `Decoder.settle`: the routers' biases and cutoffs. `routing.statistics` of the update."""
        tallies = [mixture.settle(applied) for mixture in self._mixtures()]
        return statistics(tallies) if tallies and tallies[0].tokens else {}

    def _mixtures(self) -> list[MixtureOfExperts]:
        found = (block.mlp for block in self.blocks if isinstance(block, PartsBlock))
        return [mlp for mlp in found if isinstance(mlp, MixtureOfExperts)]

    def _hidden(
        self,
        tokens_BT: Tensor,
        embedding_VC: Tensor,
        document_ids_BT: Tensor | None,
        run_block: object = None,
        stream_BTC: Tensor | None = None,
    ) -> Tensor:
        return self._routed(tokens_BT, embedding_VC, document_ids_BT)[0]

    def _routed(
        self,
        tokens_BT: Tensor,
        embedding_VC: Tensor,
        document_ids_BT: Tensor | None,
        learning: bool = False,
        run_block: BlockRunner = _run_block,
    ) -> tuple[Tensor, list[Routed]]:
        """The stream after the last norm, and what the routers did."""
        tokens, device = tokens_BT.shape[1], tokens_BT.device
        assert tokens <= self.config.context_tokens, "a window is longer than the context"
        # A compiled graph is of one shape of the mask: leaving it out where it masks nothing would be a second graph.
        if document_ids_BT is not None and not self.compiled:
            alone = bool((document_ids_BT == document_ids_BT[:, :1]).all())
            document_ids_BT = None if alone else document_ids_BT
        queries_1T = torch.arange(tokens, device=device)[None]
        places_RT = queries_1T
        begins_BT = None
        if document_ids_BT is not None:
            begins_BT = F.pad(document_ids_BT[:, 1:] != document_ids_BT[:, :-1], (1, 0))
            places_RT = queries_1T - (queries_1T * begins_BT).cummax(dim=1).values
        far = Sight(queries_1T, 0, tokens, document_ids_BT, None if document_ids_BT is None else places_RT)
        given = replace(self._pass(far, tokens, None, None), begins_BT=begins_BT, learning=learning)
        if (shared := self.seams.stretches) is not None:
            own = [
                None if x is None else shared.apart(self.seams.own(x))
                for x in (begins_BT, queries_1T.expand_as(tokens_BT))
            ]
            given = replace(given, begins_BT=own[0], own_places_Rs=own[1], stretches=shared)
        x = self._embedded(self.seams.own(tokens_BT), embedding_VC, self.seams.own(places_RT))
        for block in self.blocks:
            x = run_block(block, x, given)
        return self.final_norm(x), given.routed.layers

    def _embedded(self, tokens_BT: Tensor, embedding_VC: Tensor, places_RT: Tensor) -> Tensor:
        """The stream's beginning: embeddings, scaled and with positions added where the config says so."""
        config = self.config
        x = F.embedding(tokens_BT, embedding_VC)
        if config.scale_embedding:
            # As Gemma: the factor is rounded to the stream's type first.
            x = x * torch.tensor(config.hidden_size**0.5, dtype=x.dtype, device=x.device)
        if self.position_embedding is not None:
            x = x + F.embedding(places_RT, self.position_embedding.to(x.dtype))
        elif config.positions == "sinusoidal":
            x = x + sine_waves(config.context_tokens, config.hidden_size).to(x)[places_RT]
        return x

    def _pass(self, far: Sight, tokens: int, where_BT: Tensor | None, slots: CacheSlots | None) -> Pass:
        """What the layers share. `where_BT`: positions of the tokens, None for the first `tokens`."""
        config, device = self.config, far.queries_RT.device
        near = None
        if config.window is not None:
            given = (far.queries_RT, far.start, far.keys, far.documents_BP, far.places_BP)
            near = Sight(*given, config.window, config.sink_tokens)
        tables, near_tables, slopes_H = None, None, None
        if config.positions == "rope":
            tables, near_tables = (self._turning(tokens, local, where_BT, device) for local in (False, True))
        elif config.positions == "alibi":
            slopes_H = alibi_slopes(config.heads).to(device)
        return Pass(far, near, tables, near_tables, slopes_H, slots)

    def _turning(
        self, tokens: int, local: bool, where_BT: Tensor | None, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Rotary tables of these positions, in the stream's type; `local`: of layers with a window."""
        config = self.config
        dynamic = config.rope_scaling is not None and config.rope_scaling.kind == "dynamic"
        length = tokens if dynamic else config.context_tokens
        key = (length if dynamic else 0, local)
        if key not in self._tables_of:
            # Dynamic scaling has other tables at every length: only the last is kept.
            self._tables_of = {} if dynamic else self._tables_of
            self._tables_of[key] = rotary_tables(config, length, local)
        cos, sin = (table.to(device=device, dtype=self.dtype) for table in self._tables_of[key])
        if where_BT is None:
            return self.seams.turning(cos[:tokens]), self.seams.turning(sin[:tokens])
        return cos[where_BT][:, None], sin[where_BT][:, None]

    def logits(self, hidden: Tensor, embedding_VC: Tensor) -> Tensor:
        """As `Decoder.logits`, capped where the config says so."""
        logits = F.linear(hidden, embedding_VC).float()
        cap = self.config.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def stage(
        self,
        stream_BTC: Tensor | None,
        tokens_BT: Tensor,
        targets_BT: Tensor,
        document_ids_BT: Tensor | None = None,
    ) -> Tensor:
        """As `Decoder.stage` of all layers. The routers' own losses give gradients and are not in the value: it stays cross-entropy."""
        embedding = self.embedding.to(self.dtype)
        # Losses without gradients are looked at, not learnt from: nothing drops, and nothing counts.
        learning = torch.is_grad_enabled()
        x_BTC, routed = self._routed(tokens_BT, embedding, document_ids_BT, learning, self._trained_block)
        loss = self._cross_entropy(x_BTC.flatten(0, 1), embedding, self.seams.own(targets_BT).flatten())
        mixture = self.config.experts
        if mixture is None:
            return loss
        for layer, one in zip(self._mixtures(), routed, strict=True):
            if learning:
                layer.count(one)
        extra = router_loss(routed, mixture)
        return loss + (extra - extra.detach()).to(loss.dtype)

    def _cross_entropy(self, x_NC: Tensor, embedding: Tensor, targets_N: Tensor) -> Tensor:
        if self.config.logit_softcap is None:
            return kernels.tied_cross_entropy(x_NC, embedding, targets_N, self.z_loss)
        total = torch.zeros((), device=x_NC.device)
        for x, targets in zip(x_NC.split(kernels.ROWS_PER_CHUNK), targets_N.split(kernels.ROWS_PER_CHUNK), strict=True):
            total = total + checkpoint(self._nats, x, embedding, targets, use_reentrant=False)
        return total / targets_N.shape[0]

    def _nats(self, x_NC: Tensor, embedding_VC: Tensor, targets_N: Tensor) -> Tensor:
        logits = self.logits(x_NC, embedding_VC)
        nats = F.cross_entropy(logits, targets_N, reduction="sum")
        if not self.z_loss:
            return nats
        extra = self.z_loss * torch.logsumexp(logits, dim=-1).square().sum()
        return nats + extra - extra.detach()

    @torch.inference_mode()
    def extend(
        self, tokens_BT: Tensor, cache: Cache, first: int = 0, counts: list[int] | None = None, every: bool = False
    ) -> Tensor:
        """As `Decoder.extend`. Raises InputError when dynamic NTK would go beyond its original context."""
        batch, tokens = tokens_BT.shape
        start, end, aligned, gone = cache.positions(first, batch, tokens)
        scaling = self.config.rope_scaling
        if scaling is not None and scaling.kind == "dynamic" and end > scaling.original_context_tokens:
            mend = (
                f"over a cache it ends at original_context_tokens = {scaling.original_context_tokens}; use yarn or ntk"
            )
            raise InputError.of("model.rope_scaling.kind", "dynamic", mend)
        device = tokens_BT.device
        lengths = torch.tensor(cache.lengths[first : first + batch], device=device)
        where_BT = lengths[:, None] + torch.arange(tokens, device=device)
        places_BT = where_BT + torch.tensor(gone, device=device)[:, None]
        far = Sight(where_BT[:1] if aligned else where_BT, start, end)
        given = self._pass(far, end, places_BT, CacheSlots(cache, first, where_BT, end, counts))
        x = self._embedded(tokens_BT, self.embedding, places_BT)
        for block in self.blocks:
            x = block(x, given)
        for row in range(batch):
            cache.grow(first + row, tokens if counts is None else counts[row])
        if not every:
            x = x[:, -1] if counts is None else x[torch.arange(batch), torch.tensor(counts) - 1]
        return self.logits(self.final_norm(x), self.embedding)
