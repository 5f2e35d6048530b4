"""What one process of several holds in training, from the recipe: the one that holds most. Pure arithmetic, no torch.

Weights lie as `sharding` and `tensor` lay them: FSDP2 cuts every one over expert x shard x context, experts over shard x context of their
group; `tensor` cuts matrices of attention and of the MLP, and leaves embedding and norms whole; a pipeline's first and last stage both hold
the embedding.
"""

from dataclasses import dataclass

from aether.models.accounting_activations import activation_bytes, plain_kept
from aether.models.config import DecoderConfig
from aether.stages.train.parallel.recipe import Parallel

_FLOAT = 4.0
RUNTIME_BYTES = 20_000_000.0
"""Resident memory that a process gains in its first updates with next to no weights, beside torch loaded and a group joined. Measured: 19 to
21 MB on 1 and 2 processes of every layout (LOG.md)."""
_LAYERS_GATHERED = 2
"""Layers whose weights are whole at a time: FSDP2 gathers the next one while one works (torch 2.13, its implicit prefetching)."""

_ALLOCATOR_SHARE = 0.1
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


def _muon_bytes(model: DecoderConfig, parallel: Parallel) -> float:
    """What `muon.SharedMuon` makes and drops: updates of the pieces, whole matrices of its own, and of the largest stack of one shape a float32
    copy and five in bfloat16; blocks of other sizes than a pass's, which find no room where those were."""
    p, own = parallel, held(model, parallel).matrices
    mine = model.matrix_parameters() / p.pipeline / (p.processes / p.pipeline)
    inner = (
        _expert_values(model) or model.layers * model.hidden_size * model.mlp_size * (3 if model.gated else 2)
    ) / p.processes
    return max(4 * own + 8 * mine + 14 * inner, 8 * own + 16 * mine)


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
        "update": _muon_bytes(model, parallel) if muon else 0.0,
    }
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
