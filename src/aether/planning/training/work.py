"""The work of one training step on one device, in seconds at the data sheet's rates: what fitted efficiencies multiply.

One flat `Work` of named terms, so that the planner (one setup) and the fit (hundreds) use the same arithmetic. Follows the
decomposition of Calculon (Isaev et al. 2023) and of Narayanan et al. 2021: products, attention, element-wise passes, casts,
collectives of each parallelism, optimiser. Efficiency, overlap and the pipeline bubble come later, in `step`.
"""

from dataclasses import dataclass, fields

from aether.hardware.network import Group, Topology, collective_s
from aether.knowledge.library import Device, Rate
from aether.models.accounting import Parameters, parameters, training_flops_per_token
from aether.planning.training.operators import LayerWork, Product, layer_groups, layer_work, tokens_per_micro_batch
from aether.planning.training.precisions import INPUT_BYTES, LOW, cast_bytes, computed_in, is_hybrid
from aether.planning.training.setup import Layout, Precision, Recompute, TrainingSetup
from aether.spec.architecture import Attention, Experts, FeedForward, LatentAttention, LayerGroup
from aether.spec.errors import InputError

_RATES: dict[Precision, tuple[Rate, ...]] = {
    "fp32": ("tfloat32", "float32"),
    "fp16": ("float16", "bfloat16"),
    "bf16": ("bfloat16", "float16"),
    "fp8": ("float8", "bfloat16", "float16"),
    "mxfp8": ("float8", "bfloat16", "float16"),
    "nvfp4": ("float4", "float8", "bfloat16", "float16"),
}
OPTIMISER_BYTES_PER_PARAMETER = {"adamw": 30.0, "adamw_8bit": 18.0, "muon": 26.0, "lion": 22.0, "sgd": 22.0}
"""Traffic of one update: gradient, states and float32 weights read, states and both copies of the weights written (counted)."""
SINKS_FUSED_SINCE = 2026.4
"""Fused attention kernels of training programs had no learnt sinks before about then. Assumed: gpt-oss-120B rose from 19 to 33
thousand tokens/s per GB300 between Megatron-Bridge 26.04 and 26.06 (its docs/performance-summary)."""


@dataclass(frozen=True)
class Work:
    """Seconds at peak rates, of one micro-batch on one pipeline stage unless said otherwise."""

    linear_s: float = 0.0
    linear16_s: float = 0.0
    """Products that stay in bfloat16: output head and routers."""
    linear_traffic_s: float = 0.0
    expert_s: float = 0.0
    expert_traffic_s: float = 0.0
    attention_s: float = 0.0
    attention_small_s: float = 0.0
    """The same times 128 / head size: small heads fill matrix units less."""
    score_s: float = 0.0
    element_s: float = 0.0
    scan_s: float = 0.0
    cast_s: float = 0.0
    dispatch_s: float = 0.0
    layers: float = 0.0
    """Layers of the stage, forward, backward and recomputed in units of forward: what launching kernels costs."""
    expert_layers: float = 0.0
    expert_calls: float = 0.0
    """The same for each expert on the device: kernels that run one expert at a time."""
    tp_s: float = 0.0
    cp_s: float = 0.0
    ep_s: float = 0.0
    """Tokens to and from experts inside a domain."""
    ep_cross_s: float = 0.0
    """The same between domains, one copy of a token for each domain that it visits."""
    overlapped: float = 0.0
    """1 where tokens travel to experts while another micro-batch is computed."""
    pp_s: float = 0.0
    chunks: float = 0.0
    """Virtual stages of a pipeline, each entered and left once."""
    gather_s: float = 0.0
    """Weights gathered and gradients scattered per micro-batch (ZeRO-3)."""
    dp_s: float = 0.0
    """Per step: gradients and weights of data-parallel replicas."""
    optimiser_s: float = 0.0
    """Per step."""
    offload_s: float = 0.0
    """Per step: gradients to the host and weights back."""
    micro_batches: float = 1.0
    bubble: float = 0.0
    """Micro-batches' worth of idle time per step: (pp - 1) / virtual stages."""
    head_share: float = 0.0
    """How much more the last stage does than the mean when layers are split evenly."""


WORK_FIELDS = tuple(field.name for field in fields(Work))


def computed_as(device: Device, precision: Precision) -> Rate:
    """The rate of the data sheet that products in that precision run at: its own, or the nearest that the device has."""
    for name in _RATES[precision]:
        if name in device.flops_per_s:
            return name
    raise InputError.of("precision", precision, f"{device.name} has no rate for it: {', '.join(device.flops_per_s)}")


def peak_flops_per_s(device: Device, precision: Precision) -> float:
    """The dense rate of the data sheet for that precision, or of the nearest that the device has."""
    return device.flops_per_s[computed_as(device, precision)]


def topology(device: Device) -> Topology:
    """The network around a device by its data sheet. A missing figure: a PCIe 4.0 link inside, 25 GB/s outside (assumed)."""
    return Topology(
        domain_devices=device.devices_per_node or 8,
        intra_bytes_per_s=device.intra_node_bytes_per_s or 32e9,
        inter_bytes_per_s=device.inter_node_bytes_per_s or 25e9,
    )


def local_parameters(setup: TrainingSetup, counts: Parameters | None = None) -> tuple[float, float]:
    """Weights that one device computes with, (those outside routed experts, routed experts): the mean over pipeline stages."""
    counts = counts or parameters(setup.architecture)
    layout = setup.layout
    dense = (counts.total - counts.experts + counts.multi_token) / (layout.tp * layout.pp)
    return dense, counts.experts / (layout.ep * layout.pp)


def sharded_parameters(setup: TrainingSetup) -> float:
    """Weights that one device keeps where all replicas share them out. Experts have fewer replicas: `ep` takes its ranks from them."""
    layout = setup.layout
    dense, experts = local_parameters(setup)
    return dense / (layout.dp * layout.cp) + experts / expert_replicas(layout)


def expert_replicas(layout: Layout) -> int:
    """Devices of one pipeline stage that hold the same experts."""
    return max(1, layout.dp * layout.cp * layout.tp // layout.ep)


def trainable_parameters(setup: TrainingSetup) -> float:
    """Weights that learn: all, or the adapters. Adapters on all matrices: rank * (inputs + outputs) of each."""
    tuned, counts = setup.fine_tuning, parameters(setup.architecture)
    if not tuned.frozen:
        return float(counts.total + counts.multi_token)
    if tuned.trainable_parameters:
        return float(tuned.trainable_parameters)
    one = setup.model_copy(update={"micro_batch": 1, "layout": type(setup.layout)()})
    return sum(
        group.count * tuned.rank * sum(product.n + product.k for product in layer_work(one, group).products)
        for group in setup.architecture.groups
    )


def model_flops_per_token(setup: TrainingSetup) -> float:
    """What the mathematics of the setup asks for, without recomputation: the numerator of MFU. Frozen weights have no gradients."""
    adapters = trainable_parameters(setup) if setup.fine_tuning.frozen else None
    return training_flops_per_token(setup.architecture, setup.seq_tokens, adapters)


def passes(setup: TrainingSetup, recompute: Recompute) -> tuple[float, float]:
    """Forward-sized passes of matrix products and of attention in one training step."""
    frozen = setup.fine_tuning.frozen
    # Products: forward, gradient of the input, gradient of the weights (frozen weights have none).
    products = (2.0 if frozen else 3.0) + (recompute == "full")
    if recompute == "selective" and setup.software.framework == "torchtitan":
        products += 0.5
    if setup.software.attention == "flash":
        # The backward kernel computes the scores again: five products against two (Dao 2023, arXiv 2307.08691, section 3.2).
        return products, 3.5 + (recompute == "full")
    return products, 3.0 + (recompute != "none")


EARLY_STOP_SINCE = 2023.75
"""Since PyTorch 2.1 a layer that is computed again stops once everything that its backward pass needs is there (published:
docs.pytorch.org/docs/stable/checkpoint, the non-reentrant variant, on by default; read 2026-11-27)."""


def stops_early(setup: TrainingSetup, group: LayerGroup) -> bool:
    """Whether a layer that is computed again leaves out its last product: nothing needs its output, as a router or a norm after it would."""
    ends_there = isinstance(group.mlp, FeedForward) and group.norms <= 2
    software = setup.software
    return ends_there and software.framework in ("fsdp", "torchtitan", "eager") and software.year >= EARLY_STOP_SINCE


def writes_scores(setup: TrainingSetup, group: LayerGroup) -> bool:
    """Whether attention writes its scores to memory: before FlashAttention, and for sinks until kernels fused them."""
    sinks = isinstance(group.mixer, Attention) and group.mixer.sinks
    return setup.software.attention == "materialised" or (sinks and setup.software.year < SINKS_FUSED_SINCE)


def _stage_sums(setup: TrainingSetup, device: Device, recompute: Recompute) -> dict[str, float]:
    """The terms of arithmetic and memory traffic, summed over the layers of a mean stage."""
    times, attention_times = passes(setup, recompute)
    peak16, bandwidth = peak_flops_per_s(device, "bf16"), device.memory_bandwidth_bytes_per_s
    element_times = 3.0 + (recompute == "full" or (recompute == "selective" and setup.software.attention == "flash"))
    total = dict.fromkeys(WORK_FIELDS, 0.0)
    groups, own = layer_groups(setup), len(setup.architecture.groups)
    for index, group in enumerate(groups):
        work: LayerWork = layer_work(setup, group)
        share = group.count / setup.layout.pp
        saved = work.products[-1] if recompute == "full" and stops_early(setup, group) else None
        for product in (*work.products, *work.expert_products):
            _add_product(setup, device, total, product, (share, times - (product is saved), index >= own))
        attention_s = share * attention_times * work.attention_flops / peak16
        total["attention_s"] += attention_s
        total["attention_small_s"] += attention_s * 128 / work.head_size
        if writes_scores(setup, group):
            total["score_s"] += share * attention_times * work.score_bytes / bandwidth
        total["element_s"] += share * element_times * work.element_bytes / bandwidth
        total["scan_s"] += share * element_times * (work.scan_flops / peak16 + work.scan_bytes / bandwidth)
        total["dispatch_s"] += share * element_times * 2 * work.routed_bytes / bandwidth
        total["layers"] += share * element_times
        total["expert_layers"] += share * element_times * bool(work.expert_products)
        total["expert_calls"] += (
            share * element_times * (work.expert_products[0].count if work.expert_products else 0.0)
        )
    _add_head(setup, device, total)
    return total


def _add_product(
    setup: TrainingSetup, device: Device, total: dict[str, float], product: Product, of: tuple[float, float, bool]
) -> None:
    """One product's arithmetic, traffic and casts; `of`: its layers, its forward-sized passes, and whether it predicts ahead."""
    layers, times, ahead = of
    bandwidth, learns = device.memory_bandwidth_bytes_per_s, not setup.fine_tuning.frozen
    kind = "expert" if product.part == "experts" else "linear"
    for precision, share in computed_in(setup, product, ahead, is_hybrid(setup)):
        field = "linear16_s" if precision != setup.precision and precision == "bf16" else f"{kind}_s"
        passes_of = layers * share * times
        total[field] += passes_of * product.flops / peak_flops_per_s(device, precision)
        total[f"{kind}_traffic_s"] += passes_of * product.moved_bytes(INPUT_BYTES[precision]) / bandwidth
        if precision in LOW:
            again = max(0.0, times - (3.0 if learns else 2.0))
            moved = cast_bytes(setup, precision, product, again, learns)
            total["cast_s"] += layers * share * moved / bandwidth


def _add_head(setup: TrainingSetup, device: Device, total: dict[str, float]) -> None:
    """Output head and loss: in bfloat16, spread over the stages on average, and how uneven they make an even split."""
    arch, layout = setup.architecture, setup.layout
    m = tokens_per_micro_batch(setup)
    head = Product(m, arch.vocab_size / layout.tp, arch.hidden_size, 1 + arch.multi_token_layers)
    times = 2.0 if setup.fine_tuning.frozen else 3.0
    peak16, bandwidth = peak_flops_per_s(device, "bf16"), device.memory_bandwidth_bytes_per_s
    layers_s = total["linear_s"] + total["expert_s"] + total["attention_s"]
    head_s = times * head.flops / peak16
    total["linear16_s"] += head_s / layout.pp
    total["linear_traffic_s"] += times * head.moved_bytes(2.0) / bandwidth / layout.pp
    # Loss: logits are read, exponentiated in float32 and overwritten by their gradient, about 16 bytes a logit (counted).
    total["element_s"] += 16 * m * arch.vocab_size / layout.tp / bandwidth / layout.pp
    total["head_share"] = head_s * (1 - 1 / layout.pp) / (layers_s + head_s / layout.pp) if layout.pp > 1 else 0.0


def _layer_traffic(setup: TrainingSetup, net: Topology, recompute: Recompute) -> dict[str, float]:
    """Collectives inside layers of a mean stage, for one micro-batch: tensor, context, expert and pipeline parallelism."""
    layout, hidden = setup.layout, setup.architecture.hidden_size
    m, again = tokens_per_micro_batch(setup), recompute == "full"
    tp, cp = Group(layout.tp), Group(layout.cp, layout.tp)
    spent = {"tp_s": 0.0, "cp_s": 0.0, "ep_s": 0.0, "ep_cross_s": 0.0}
    # Forward gathers and scatters around each of two blocks; backward the same, and gathers inputs again.
    activations = m * hidden * 2.0
    tensor_s = (4 + 6 + 4 * again) * collective_s("all_gather", activations, tp, net)
    if not layout.sequence_parallel:
        tensor_s = (4 + 2 * again) * collective_s("all_reduce", activations, tp, net)
    for group in layer_groups(setup):
        share = group.count / layout.pp
        blocks = ((group.mixer is not None) + (group.mlp is not None and not isinstance(group.mlp, Experts))) / 2
        spent["tp_s"] += share * blocks * tensor_s
        if isinstance(group.mixer, Attention | LatentAttention):
            spent["cp_s"] += share * (3 + again) * collective_s("all_gather", _kv_bytes(group.mixer, setup), cp, net)
        if isinstance(group.mlp, Experts) and layout.ep > 1:
            inside_s, cross_s = _dispatch(setup, group.mlp.active, layer_work(setup, group).routed_bytes, net)
            spent["ep_s"] += share * (4 + 2 * again) * inside_s
            spent["ep_cross_s"] += share * (4 + 2 * again) * cross_s
    stage = Group(layout.pp, layout.devices // layout.pp)
    spent["pp_s"] = 2 * layout.virtual_stages * collective_s("point_to_point", activations / layout.tp, stage, net)
    spent["chunks"] = float(layout.virtual_stages * (layout.pp > 1))
    return spent


def _dispatch(setup: TrainingSetup, active: int, routed_bytes: float, net: Topology) -> tuple[float, float]:
    """Seconds inside a domain and between domains for one dispatch of tokens.

    Between domains a token travels once to each domain that holds one of its experts and is copied there (DeepEP; the
    expected number of domains is that of `active` balls in as many bins).
    """
    group = Group(setup.layout.ep)
    inside = group.per_domain(net)
    domains = -(-group.size // inside)
    inside_s = collective_s("all_to_all", routed_bytes, Group(inside), net)
    visited = domains * (1 - (1 - 1 / domains) ** active)
    cross_bytes = routed_bytes / active * visited
    return inside_s, collective_s("all_to_all", cross_bytes, Group(domains, net.domain_devices), net)


def _kv_bytes(mixer: Attention | LatentAttention, setup: TrainingSetup) -> float:
    """Keys and values of the whole sequence in one layer, in bfloat16."""
    tokens = setup.micro_batch * setup.seq_tokens
    if isinstance(mixer, LatentAttention):
        return 2.0 * tokens * mixer.heads * (mixer.nope_size + mixer.rope_size + mixer.value_size) / setup.layout.tp
    kept = min(tokens, setup.micro_batch * (mixer.window or setup.seq_tokens))
    return 2.0 * kept * 2 * mixer.kv_heads * mixer.head_size / setup.layout.tp


def _replica_traffic(setup: TrainingSetup, net: Topology, recompute: Recompute) -> dict[str, float]:
    """Weights and gradients among data-parallel ranks: per step for stages 0 to 2, per micro-batch for stage 3."""
    layout, tuned = setup.layout, setup.fine_tuning.frozen
    dense, experts = local_parameters(setup)
    if tuned:
        dense, experts = trainable_parameters(setup) / (layout.tp * layout.pp), 0.0
    gradient_bytes = 4.0 if setup.master_weights and setup.precision != "fp32" else 2.0
    ranks = Group(layout.dp * layout.cp, layout.tp)
    expert_ranks = Group(expert_replicas(layout), layout.ep)
    spent = {"gather_s": 0.0, "dp_s": 0.0}
    calls = setup.architecture.layers / layout.pp if layout.zero_stage == 3 else 1.0
    for count, group in ((dense, ranks), (experts, expert_ranks)):
        scatter_s = calls * collective_s("reduce_scatter", count / calls * gradient_bytes, group, net)
        gather_s = calls * collective_s("all_gather", count / calls * 2.0, group, net)
        if layout.zero_stage == 3:
            spent["gather_s"] += gather_s * 2 + scatter_s
        else:
            spent["dp_s"] += gather_s + scatter_s
    if layout.zero_stage == 3 and tuned:
        dense, experts = local_parameters(setup)
        spent["gather_s"] += 2 * collective_s("all_gather", (dense + experts) * 2.0, ranks, net)
    return spent


def training_work(setup: TrainingSetup, device: Device, recompute: Recompute, share: float = 1.0) -> Work:
    """Every term of one step of `setup` on one `device`; `share` of the layers recompute, the others do what is cheap."""
    if share < 1:
        least, most = training_work(setup, device, "selective"), training_work(setup, device, recompute)
        mixed = {name: getattr(least, name) * (1 - share) + getattr(most, name) * share for name in WORK_FIELDS}
        return Work(**mixed)
    layout, net = setup.layout, topology(device)
    terms = _stage_sums(setup, device, recompute)
    terms |= _layer_traffic(setup, net, recompute) | _replica_traffic(setup, net, recompute)
    updated = sharded_parameters(setup) if layout.zero_stage else sum(local_parameters(setup))
    if setup.fine_tuning.frozen:
        shards = layout.dp * layout.cp if layout.zero_stage else 1
        updated = trainable_parameters(setup) / (layout.tp * layout.pp) / shards
    update_bytes = updated * OPTIMISER_BYTES_PER_PARAMETER[setup.optimiser]
    if layout.offload == "optimiser":
        link = device.host_link_bytes_per_s or 32e9
        terms["offload_s"] = updated * 6.0 / link
    terms["optimiser_s"] = update_bytes / device.memory_bandwidth_bytes_per_s
    terms["overlapped"] = float(setup.software.overlapped_dispatch)
    terms["micro_batches"] = float(setup.micro_batches)
    terms["bubble"] = (layout.pp - 1) / layout.virtual_stages
    return Work(**terms)
