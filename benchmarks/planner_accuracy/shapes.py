"""The model of a published row as an `Architecture`: one set of rules for training, memory and serving rows.

By its name among the published models; else by the numbers in the row (layers, width, heads, experts), filled up with the usual
proportions; else by its size, from a field or in its name ("7B", "30B-A3B", "8x7B"), with the proportions of Kaplan et al. 2020.
Numbers go before a name that they contradict. What a row says of hybrids and sparse attention is only a `model_type`: their other
sizes are those of the published configurations of that type. Nothing is predicted here.
"""

import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from aether.knowledge.models_library import published_model, published_models
from aether.spec.architecture import (
    Architecture,
    Attention,
    Experts,
    FeedForward,
    LatentAttention,
    LayerGroup,
    Mixer,
    Mlp,
    Recurrence,
)
from aether.spec.errors import AetherError
from benchmarks.planner_accuracy.sources import ENCODER_DECODERS, SHAPES

Model = Mapping[str, Any]

_FIELDS = {
    "layers": ("layers", "num_layers", "num_hidden_layers", "n_layers", "n_layer"),
    "hidden": ("hidden", "hidden_size", "d_model", "n_embd", "dim"),
    "heads": ("heads", "num_attention_heads", "n_heads", "n_head", "num_heads"),
    "kv_heads": ("kv_heads", "num_key_value_heads", "n_kv_heads"),
    "head_dim": ("head_dim", "head_size"),
    "ffn": ("ffn", "intermediate_size", "ffn_hidden_size", "d_ff"),
    "vocab": ("vocab", "vocab_size"),
    "experts": ("experts", "num_experts", "n_routed_experts", "num_local_experts"),
    "topk": ("topk", "top_k", "num_experts_per_tok", "moe_router_topk"),
    "moe_ffn": ("moe_ffn", "moe_intermediate_size"),
    "shared_experts": ("shared_experts", "n_shared_experts"),
    "first_k_dense": ("first_k_dense", "first_k_dense_replace"),
    "kv_lora_rank": ("kv_lora_rank",),
    "q_lora_rank": ("q_lora_rank",),
}
"""A number of a model -> the names it goes by: those of the rows first, then Hugging Face's and Megatron's."""
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([TtBbMm])(?![a-z])")
_LARGEST_SHAPE = 10**6
"""No number of a model beyond this is believed (a choice): the largest vocabularies have a quarter of it."""
_LARGEST = 10**10
"""No number beyond this is believed (a choice): adapters and batches in tokens end below it."""


def architecture_of(model: object, seq_tokens: int = 2048) -> Architecture | None:
    """The model of a row (its `model` field, or a bare name), or None where neither name nor numbers nor size say enough."""
    given = model if isinstance(model, Mapping) else {"name": model}
    return _architecture(json.dumps(given, sort_keys=True, default=str), seq_tokens)


@functools.lru_cache(maxsize=4096)
def _architecture(text: str, seq_tokens: int) -> Architecture | None:
    model = json.loads(text)
    name, numbers = str(model.get("name") or "unknown"), _numbers(model)
    # GPTs of one name differ in vocabulary and positions between papers; elsewhere the name knows more than a few numbers.
    built = _from_numbers(model, name, numbers, seq_tokens)
    named = named_architecture(name)
    if named is not None and not (built and (_is_gpt(model) or _contradicts(named, numbers))):
        return named
    return built or _from_size(model, name)


def named_architecture(name: str) -> Architecture | None:
    """A published model by its name in any punctuation, or a shape of `sources`."""
    if depth := re.search(r"nanochat-d(\d+)", name):
        return _nanochat(name, min(200, max(1, int(depth[1]))))
    short = _key(name.split("(")[0])
    if found := ENCODER_DECODERS.get(short):
        return found
    try:
        return published_model(name).architecture
    except AetherError:
        found = _published_keys().get(short)
    if found is not None:
        return found
    return _dense(name, SHAPES[short]) if short in SHAPES else None


def _key(name: str) -> str:
    """The name without owner, case and punctuation."""
    plain = re.sub(r"[^a-z0-9]", "", name.split("/")[-1].lower())
    return re.sub(r"^meta(?=llama)", "", plain)


@functools.cache
def _published_keys() -> dict[str, Architecture]:
    """Key -> published model, where only one has it (opt-1.3b and opt-13b share theirs)."""
    found: dict[str, Architecture | None] = {}
    for model in published_models().values():
        for name in (model.name, *model.aliases):
            key = _key(name)
            found[key] = model.architecture if found.get(key, model.architecture) == model.architecture else None
    return {key: known for key, known in found.items() if known is not None}


def _numbers(model: Model) -> dict[str, int]:
    """The numbers that make sense, by our names for them."""
    found = {}
    for field, names in _FIELDS.items():
        value = next((read for name in names if (read := whole(model.get(name)))), 0)
        if 0 < value <= _LARGEST_SHAPE:
            found[field] = value
    return found


def whole(value: object) -> int:
    """The value as a whole number of at least 1, or 0 where it is none."""
    try:
        number = float(str(value))
    except ValueError:
        return 0
    return round(number) if math.isfinite(number) and 1 <= number <= _LARGEST else 0


def _is_gpt(model: Model) -> bool:
    return str(model.get("arch") or "").startswith("gpt")


def _contradicts(named: Architecture, numbers: Mapping[str, int]) -> bool:
    layers, hidden = numbers.get("layers"), numbers.get("hidden")
    return bool(layers and hidden) and (named.layers, named.hidden_size) != (layers, hidden)


def _dense(name: str, shape: tuple[int, int, int, int, int, int, bool, bool]) -> Architecture:
    layers, hidden, heads, kv_heads, ffn, vocab, gated, tied = shape
    mixer = Attention(heads=heads, kv_heads=kv_heads, head_size=max(1, hidden // heads))
    group = LayerGroup(count=layers, mixer=mixer, mlp=FeedForward(size=ffn, gated=gated))
    norm = "rms" if gated else "layer"
    return Architecture(name=name, vocab_size=vocab, hidden_size=hidden, groups=(group,), tied=tied, norm=norm)


def _nanochat(name: str, depth: int) -> Architecture:
    """nanochat's proportions (nanochat/gpt.py): width 64 per layer, heads of 128, ReLU^2 of four widths, 32768 tokens."""
    hidden, heads = 64 * depth, max(1, depth // 2)
    return _dense(name, (depth, hidden, heads, heads, 4 * hidden, 32768, False, False))


def _from_size(model: Model, name: str) -> Architecture | None:
    """A decoder of the stated size: a GPT, or experts where a smaller number of active parameters or "8x7B" says so."""
    if found := re.search(r"(\d+)\s*x\s*(\d+(?:\.\d+)?)\s*[Bb]", name):
        base = _sized(name, max(1e6, float(found[2]) * 1e9))
        count = max(2, int(found[1]))
        return _with_experts(base, Experts(count=count, active=2, size=4 * base.hidden_size, gated=False))
    total, active = _stated_sizes(model, name)
    if not total:
        return None
    if not active or active >= 0.9 * total:
        return _sized(name, total)
    base = _sized(name, active)
    layers, hidden = base.layers, base.hidden_size
    # 128 experts of which 8 are active, of the size that makes the total (Qwen3's proportions).
    fixed = layers * 4 * hidden**2 + base.vocab_size * hidden
    size = max(16, round((total - fixed) / (3 * layers * 128 * hidden)))
    return _with_experts(base, Experts(count=128, active=8, size=size))


def _with_experts(base: Architecture, mlp: Experts) -> Architecture:
    return base.model_copy(update={"groups": (base.groups[0].model_copy(update={"mlp": mlp}),), "norm": "rms"})


def _stated_sizes(model: Model, name: str) -> tuple[float, float]:
    """(parameters, active parameters) of the fields, else of the name; 0 where unstated."""
    total, active = (_size(model.get(field)) for field in ("params", "active_params"))
    if not active and (found := re.search(r"[-_ ]a(\d+(?:\.\d+)?)b", name.lower())):
        active = float(found[1]) * 1e9
    return total or _size(name), active


def _size(value: object) -> float:
    """Parameters as a number or as words ("7B"); 0 where it is none or absurd."""
    words = str(value or "").strip()
    try:
        number = float(words)
    except ValueError:
        found = _COUNT.search(words)
        number = float(found[1]) * {"t": 1e12, "b": 1e9, "m": 1e6}[found[2].lower()] if found else 0.0
    return number if math.isfinite(number) and 1e4 <= number <= 1e15 else 0.0


def _sized(name: str, count: float) -> Architecture:
    """A GPT of about `count` parameters with a width of 128 per layer."""
    layers = max(4, round((count / 196608) ** (1 / 3)))
    hidden = max(128, 128 * round(((count / (12 * layers)) ** 0.5) / 128))
    return _dense(name, (layers, hidden, hidden // 128, hidden // 128, 4 * hidden, 50304, False, True))


def _from_numbers(model: Model, name: str, n: Mapping[str, int], seq_tokens: int) -> Architecture | None:
    layers, hidden = n.get("layers"), n.get("hidden")
    if not layers or not hidden:
        return None
    gpt = _is_gpt(model)
    ffn = n.get("ffn") or n.get("moe_ffn") or (4 * hidden if gpt else 256 * -(-8 * hidden // 3 // 256))
    dense = FeedForward(size=ffn, gated=not gpt)
    kind = str(model.get("model_type") or "")
    mlp: Mlp = dense
    if experts := n.get("experts"):
        size = n.get("moe_ffn") or ffn
        # The published configurations of this type have one shared expert of an expert's size.
        shared = n.get("shared_experts") or int(kind.startswith(("qwen3_5", "qwen3_next")))
        mlp = Experts(count=experts, active=min(experts, n.get("topk") or 2), size=size, shared_size=shared * size)
    groups = _hybrid(layers, _mixer(n, kind), mlp, hidden) if kind == "nemotron_h" and isinstance(mlp, Experts) else ()
    return Architecture(
        name=name,
        vocab_size=max(2, n.get("vocab") or (50304 if gpt else 32000)),
        hidden_size=hidden,
        groups=groups or _groups(n, _mixers(n, kind, layers), mlp, dense),
        tied=bool(model.get("tie_embeddings", gpt)),
        norm="layer" if gpt else "rms",
        positions=seq_tokens if gpt else 0,
        multi_token_layers=_multi_token_layers(kind, n),
    )


def _groups(
    n: Mapping[str, int], mixers: list[tuple[int, Mixer]], mlp: Mlp, dense: FeedForward
) -> tuple[LayerGroup, ...]:
    """Layers by their mixer; the first ones of an expert model are dense where it says so, one of each mixer excepted."""
    dense_left = n.get("first_k_dense", 0) if isinstance(mlp, Experts) else 0
    groups = []
    for count, mixer in mixers:
        first = min(dense_left, count - 1)
        dense_left -= first
        if first:
            groups.append(LayerGroup(count=first, mixer=mixer, mlp=dense))
        groups.append(LayerGroup(count=count - first, mixer=mixer, mlp=mlp))
    return tuple(groups)


def _mixer(n: Mapping[str, int], kind: str) -> Attention | LatentAttention:
    hidden = n["hidden"]
    heads = n.get("heads") or max(1, hidden // 128)
    if not n.get("head_dim"):
        heads = next(more for more in range(min(heads, hidden), hidden + 1) if hidden % more == 0)
    if rank := n.get("kv_lora_rank"):
        sparse = "dsa" in kind and bool(n.get("q_lora_rank"))  # its indexer reads the query's low-rank vector
        return LatentAttention(
            heads=heads,
            query_rank=n.get("q_lora_rank"),
            kv_rank=rank,
            rope_size=64,
            nope_size=192 if sparse else 128,
            value_size=256 if sparse else 128,
            index_heads=32 if sparse else 0,
            index_size=128 if sparse else 0,
            index_topk=2048 if sparse else None,
        )
    kv_heads = n.get("kv_heads") or heads
    kv_heads = kv_heads if heads % kv_heads == 0 else math.gcd(heads, kv_heads)
    return Attention(heads=heads, kv_heads=kv_heads, head_size=n.get("head_dim") or max(1, hidden // heads))


def _mixers(n: Mapping[str, int], kind: str, layers: int) -> list[tuple[int, Mixer]]:
    """Layers by what mixes their tokens: windows in half of gpt-oss's, the delta rule in three of four of Qwen3-Next's."""
    full = _mixer(n, kind)
    if kind == "gpt_oss" and layers > 1 and isinstance(full, Attention):
        return [(layers // 2, full), (layers - layers // 2, full.model_copy(update={"window": 128}))]
    if kind.startswith(("qwen3_5", "qwen3_next")) and layers > 3:
        delta = Recurrence(
            form="gated_delta", inner_size=8192, state_size=128, heads=64, key_heads=16, key_size=128, conv_size=4
        )
        return [(layers // 4, full), (layers - layers // 4, delta)]
    return [(layers, full)]


def _multi_token_layers(kind: str, n: Mapping[str, int]) -> int:
    """DeepSeek-V3 trains one such layer, the larger Nemotron-3 two."""
    if kind == "nemotron_h":
        return 2 if n.get("experts", 0) >= 512 else 0
    return int(kind == "deepseek_v3")


def _hybrid(layers: int, mixer: Attention | LatentAttention, mlp: Experts, hidden: int) -> tuple[LayerGroup, ...]:
    """Nemotron-3: one attention layer in nine or so, the rest half Mamba-2 and half experts with a shared one of twice the size."""
    if layers < 9:
        return ()
    attention = round(layers * 6 / 52) if layers < 70 else layers // 11
    inner = 4096 if hidden < 4096 else 2 * hidden
    scan = Recurrence(form="mamba2", inner_size=inner, state_size=128, heads=inner // 64, key_heads=8, conv_size=4)
    latent = max(1, hidden // 4) if mlp.count >= 512 else None
    changes = {"gated": False, "shared_size": 2 * mlp.size, "latent_size": latent}
    rest = (layers - attention) // 2
    return (
        LayerGroup(count=attention, mixer=mixer, norms=1),
        LayerGroup(count=rest, mixer=scan, norms=1),
        LayerGroup(count=layers - attention - rest, mlp=mlp.model_copy(update=changes), norms=1),
    )
