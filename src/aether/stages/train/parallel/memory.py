"""What one process of several holds in training, from the recipe: the one that holds most. Pure arithmetic, no torch.

Weights lie as `sharding` and `tensor` lay them: FSDP2 cuts every one over expert x shard x context, experts over shard x context of their
group; `tensor` cuts matrices of attention and of the MLP, and leaves embedding and norms whole; a pipeline's first and last stage both hold
the embedding.
"""

from dataclasses import dataclass

from aether.models.accounting_activations import activation_bytes, plain_kept
from aether.models.config import DecoderConfig
from aether.stages.train.optimisers.portions import WORK_VALUES
from aether.stages.train.parallel.recipe import Parallel

_FLOAT = 4.0
RUNTIME_BYTES = 20_000_000.0
"""Resident memory that a process gains in its first updates with next to no weights, beside torch loaded and a group joined. Measured: 19 to
21 MB on 1 and 2 processes of every layout (LOG.md)."""
_LAYERS_GATHERED = 2
"""Layers whose weights are whole at a time: FSDP2 gathers the next one while one works (torch 2.13, its implicit prefetching)."""

_ALLOCATOR_SHARE = 0.25
"""Of what comes and goes: freed blocks that nothing fits. Fitted to the layouts of `benchmarks/records/parallel.md`."""


@dataclass(frozen=True)
class Held:
    """Values of one process."""

    matrices: float
    """Of the blocks, experts among them."""
    others: float
    """Embedding, norms, biases."""
    gathered: float
    """Whole weights and whole gradients that pass through: more than the process holds."""

    @property
    def weights(self) -> float:
        """All that it keeps."""
        return self.matrices + self.others


def held(model: DecoderConfig, parallel: Parallel) -> Held:
    """Of the process that holds most."""
    p, total, matrices = parallel, model.parameters(), model.matrix_parameters()
    embedding = model.vocab_size * model.hidden_size
    experts = _expert_values(model)
    pieces = p.expert * p.shard * p.context
    dense = (matrices - experts) / p.pipeline / p.tensor
    routed = experts / p.pipeline / p.expert
    norms = (total - matrices - embedding) / p.pipeline
    layers = model.layers / p.pipeline
    layer = (dense + routed + norms) / layers
    whole = min(layers, _LAYERS_GATHERED) if p.pipeline == 1 else layers
    # Under a pipeline gradients add up whole over an update's passes; else a layer's are summed and cut at once.
    gathered = whole * layer + (whole if p.pipeline > 1 else 1) * layer + layer + 3 * embedding
    own = dense / pieces + routed / (p.shard * p.context)
    return Held(own, (embedding + norms) / pieces, gathered)


def _expert_values(model: DecoderConfig) -> float:
    if model.experts is None:
        return 0.0
    inner = model.mlp_size * (3 if model.gated else 2)
    return float(model.layers * model.experts.count * model.hidden_size * inner)


def activations(model: DecoderConfig, parallel: Parallel, windows: int, value_bytes: int) -> float:
    """Bytes that a process's layers keep of `windows` windows a pass: its tokens, layers and heads of them.

    A pipeline's first stage has one of so many parts of the layers, and begins as many passes before it ends one (1F1B).
    """
    p = parallel
    tokens = windows * model.context_tokens / p.context
    if model.plain:
        kept = value_bytes * tokens * model.layers * plain_kept(model, scores=p.context == 1)
    else:
        kept = activation_bytes(model, tokens, value_bytes)
    # Between the matrices a tensor group shares the tokens, within them heads and columns; what both parts begin with is gathered whole.
    kept = kept / p.tensor + 2 * model.hidden_size * (1 - 1 / p.tensor) * tokens * model.layers * value_bytes
    if p.expert > 1 and model.experts is not None:
        # Rows go out to other processes' experts and come back: a copy each way.
        kept += 2 * model.experts.active * model.hidden_size * tokens * model.layers * value_bytes
    return kept


def _muon_bytes(model: DecoderConfig, parallel: Parallel, value_bytes: int) -> tuple[float, float]:
    """(the most that `muon.SharedMuon` makes and drops in a round, its largest block): messages out and in beside whole matrices, or a
    portion's work beside those."""
    p, total = parallel, model.matrix_parameters()
    in_round = min(total, p.processes * max(WORK_VALUES, model.mlp_size * model.hidden_size))
    own = in_round * held(model, p).matrices / total
    mine = in_round / p.processes
    small, large = sorted((model.mlp_size or model.hidden_size, model.hidden_size))
    block = min(mine, max(WORK_VALUES, small * large))
    work = block * (_FLOAT + 2 * value_bytes * (1 + small / large))
    most = max(_FLOAT * (own + 2 * mine), _FLOAT * mine + work, _FLOAT * (mine * (1 + p.replicate) + own))
    return most, _FLOAT * block


def memory_bytes(
    model: DecoderConfig, parallel: Parallel, windows: int, value_bytes: int, muon: bool = True
) -> dict[str, float]:
    """Peak resident bytes by part, beside those of a process that has torch loaded. `windows`: of a pass."""
    own = held(model, parallel)
    state = _FLOAT * ((1 if muon else 2) * own.matrices + 2 * own.others)
    rows = min(windows * model.context_tokens / parallel.context / parallel.tensor, 1024)
    passing = {
        "gathered": _FLOAT * own.gathered,
        "activations": activations(model, parallel, windows, value_bytes),
        "logits": 3.0 * value_bytes * rows * model.vocab_size + 2 * _FLOAT * model.vocab_size * model.hidden_size,
    }
    update, block = _muon_bytes(model, parallel, value_bytes) if muon else (0.0, 0.0)
    # It begins when the pass's memory is free, and finds room there unless the pass had smaller blocks.
    found = sum(passing.values()) if value_bytes * rows * model.vocab_size >= block else 0.0
    passing["update"] = max(0.0, update - found)
    return {
        "processes": RUNTIME_BYTES,
        "weights": _FLOAT * own.weights,
        "gradients": _FLOAT * own.weights,
        "optimiser": state,
        "snapshot": _FLOAT * own.weights + state,
        "checkpoint": 2 * _FLOAT * own.weights + 2 * state,
        **passing,
        "allocator": _ALLOCATOR_SHARE * sum(passing.values()),
    }
