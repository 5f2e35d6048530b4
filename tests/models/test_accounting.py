"""FLOPs against published training runs; parameters, caches and bytes by hand. Counted forwards: `test_config_json.py`."""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.knowledge.models_library import published_model
from aether.models.accounting import (
    PARTS,
    cache_bytes,
    flops_per_token,
    parameters,
    training_flops_per_token,
    visible_positions,
    weight_bytes,
)
from aether.spec.architecture import Architecture, Attention, FeedForward, LayerGroup, Recurrence
from aether.spec.errors import InputError

TRUTH = Path(os.environ.get("AETHER_TRUTH", Path(__file__).parents[3] / "shared" / "truth"))
MEGATRON = {
    ("llama-3.1-8b", 8192): 51.5,
    ("llama-3.1-70b", 8192): 449.2,
    ("llama-3.1-405b", 8192): 2524.0,
    ("deepseek-v3", 4096): 260.0,
    ("qwen3-30b-a3b", 4096): 23.0,
    ("qwen3-235b-a22b", 4096): 148.0,
    ("kimi-k2", 4096): 204.4,
    ("gpt-oss-120b", 4096): 32.6,
}
"""GFLOP per token implied by NVIDIA's published runs (Megatron-Bridge performance summary, TFLOP/s over tokens/s, releases
25.11 to 26.06). gpt-oss: the value since 26.04 corrected its formula (27.2 before)."""


@pytest.mark.parametrize(("name", "tokens"), MEGATRON)
def test_training_flops_are_those_of_published_runs(name: str, tokens: int) -> None:
    """Within 1 %."""
    ours = training_flops_per_token(published_model(name).architecture, tokens)
    assert ours / 1e9 == pytest.approx(MEGATRON[name, tokens], rel=0.01)


def test_multi_token_prediction_is_the_difference_between_two_published_values() -> None:
    """DeepSeek-V3 at 4096 tokens: 260.0 GFLOP with its extra layer, 249.7 without."""
    full = published_model("deepseek-v3").architecture
    without = full.model_copy(update={"multi_token_layers": 0})
    assert training_flops_per_token(without, 4096) / 1e9 == pytest.approx(249.7, rel=0.01)
    extra = training_flops_per_token(full, 4096) - training_flops_per_token(without, 4096)
    assert extra / 1e9 == pytest.approx(260.0 - 249.7, rel=0.05)


@pytest.mark.parametrize("adapters", [0, 40_000_000])
def test_frozen_matrices_cost_four_flops_a_token_and_adapters_six(adapters: int) -> None:
    """Untied and dense, so that what multiplies is every value but the embedding's and the norms'; attention is never frozen."""
    arch = published_model("llama-3.1-8b").architecture
    counts = parameters(arch)
    matrices = counts.total - counts.embedding - counts.norms
    expected = 4 * matrices + 3 * flops_per_token(arch, 4096).attention + 6 * adapters
    assert training_flops_per_token(arch, 4096, adapters) == pytest.approx(expected, rel=1e-12)


def test_nemotron_differs_from_its_published_value_by_the_inner_size_alone() -> None:
    """Megatron-LM prices a Mamba layer at twice the width (5376); Nemotron-3-Nano has 4096. With theirs: 22.3 GFLOP."""
    nano = published_model("nemotron-3-nano-30b-a3b").architecture
    assert training_flops_per_token(nano, 8192) / 1e9 == pytest.approx(20.8, rel=0.01)
    groups = []
    for group in nano.groups:
        mixer = group.mixer
        if isinstance(mixer, Recurrence):
            mixer = mixer.model_copy(update={"inner_size": 2 * nano.hidden_size})
        groups.append(group.model_copy(update={"mixer": mixer}))
    theirs = nano.model_copy(update={"groups": tuple(groups)})
    assert training_flops_per_token(theirs, 8192) / 1e9 == pytest.approx(22.3, rel=0.01)


def mpt(layers: int, width: int, heads: int, seq_tokens: int) -> Architecture:
    """A model of llm-foundry's benchmark: biases, learnt positions as many as the sequence has tokens, tied embeddings."""
    head = Attention(heads=heads, kv_heads=heads, head_size=width // heads, qkv_bias=True, out_bias=True)
    mlp = FeedForward(size=4 * width, gated=False, bias=True)
    layer = LayerGroup(count=layers, mixer=head, mlp=mlp)
    return Architecture(
        name="mpt", vocab_size=50368, hidden_size=width, groups=(layer,), tied=True, norm="layer", positions=seq_tokens
    )


def test_llm_foundry_counts_six_for_each_parameter_and_the_full_square() -> None:
    """Its MFU takes 6 N + 12 L d s; MPT-30B at 2048 tokens has 29,975,214,080 parameters (scripts/train/benchmarking)."""
    model, seq_tokens = mpt(48, 7168, 56, 2048), 2048
    count = parameters(model)
    assert count.total == 29_975_214_080
    theirs = 6 * count.total + 12 * 48 * 7168 * seq_tokens
    ours = 3 * flops_per_token(model, seq_tokens, causal=False).total
    biases = 48 * 7168 * (4 + 5)
    assert ours == theirs - 6 * (count.norms + biases + 7168 * seq_tokens)


def test_every_published_mpt_count_and_every_implied_flop_count() -> None:
    """All rows of the collected measurements; skipped where they are not at hand."""
    file = TRUTH / "training.jsonl.gz"
    if not file.exists():
        pytest.skip("the collected measurements are not at hand")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    counted = [row for row in rows if "llm-foundry" in str(row.get("framework")) and row["model"].get("params")]
    for row in counted:
        model = row["model"]
        ours = parameters(mpt(model["layers"], model["hidden"], model["heads"], row["seq_len"])).total
        assert ours == model["params"], row["id"]
    implied = [row for row in rows if (row.get("aux") or {}).get("implied_model_gflop_per_token")]
    dense = [row for row in implied if "Llama" in row["model"]["name"] or "Qwen3" in row["model"]["name"]]
    far = 0
    for row in dense:
        ours = training_flops_per_token(published_model(row["model"]["name"]).architecture, row["seq_len"]) / 1e9
        far += abs(ours / row["aux"]["implied_model_gflop_per_token"] - 1) > 0.02
    assert counted and len(dense) > 100
    assert far <= 0.03 * len(dense)


@pytest.mark.parametrize(("name", "per_layer", "squares"), [("rwkv-6-1.6b", 464, 13), ("rwkv-7-1.5b", None, 12)])
def test_rwkv_counts_follow_the_published_formulas(name: str, per_layer: int | None, squares: int) -> None:
    """RWKV-6 (arXiv 2404.05892): 2DV + 13 D^2 L + 464 D L + 4 D. RWKV-7 (arXiv 2503.14456): 2DV + 4D +
    LD (12 D + 2 (sum of ranks) + 19) - (2 D d_v + D)."""
    arch = published_model(name).architecture
    width, layers, mixer = arch.hidden_size, arch.layers, arch.groups[0].mixer
    assert isinstance(mixer, Recurrence)
    theirs = 2 * width * arch.vocab_size + 4 * width + squares * width**2 * layers
    if per_layer is not None:
        theirs += per_layer * width * layers
    else:
        ranks = mixer.lora_sizes
        theirs += layers * width * (2 * sum(ranks.values()) + 19) - (2 * width * ranks["value"] + width)
    assert parameters(arch).total == theirs


def test_recurrences_without_a_reference_class_by_hand() -> None:
    """RWKV-5 (Eagle): 13 D^2 + 10 D for a layer's mixers and feed-forward vectors; RetNet: 8 D^2 with values of twice the width."""
    eagle = Recurrence(form="rwkv5", inner_size=128, state_size=64, heads=2)
    feed = FeedForward(size=448, gated=False, receptance=True, mixes=2)
    group = LayerGroup(count=1, mixer=eagle, mlp=feed)
    counts = parameters(Architecture(name="eagle", vocab_size=2, hidden_size=128, groups=(group,), norm="layer"))
    assert counts.recurrence + counts.mlp + 4 * 128 == 13 * 128**2 + 14 * 128
    retention = Recurrence(form="retnet", inner_size=256, state_size=128, heads=2, key_size=64)
    arch = Architecture(name="r", vocab_size=2, hidden_size=128, groups=(LayerGroup(count=1, mixer=retention),))
    assert parameters(arch).recurrence == 8 * 128**2
    assert flops_per_token(arch, 9).recurrence == 5 * 256 * 64
    assert cache_bytes(arch, 9, 2) == 2 * 256 * 64


def test_caches_by_hand() -> None:
    """Grouped heads, windows, the latent vector and recurrent states."""
    llama, deepseek = published_model("llama-3.1-8b").architecture, published_model("deepseek-v3").architecture
    assert cache_bytes(llama, 1000, 2) == 1000 * 32 * 2 * 8 * 128 * 2
    assert cache_bytes(deepseek, 1000, 2) == 1000 * 61 * (512 + 64) * 2
    gpt_oss = published_model("gpt-oss-20b").architecture
    assert cache_bytes(gpt_oss, 1000, 2) == 2 * 8 * 64 * 2 * (12 * 1000 + 12 * 128)
    mamba = published_model("mamba2-130m").architecture
    assert cache_bytes(mamba, 10, 4) == cache_bytes(mamba, 10_000, 4) == 24 * 4 * (1536 * 128 + (1536 + 2 * 128) * 3)
    glm = published_model("glm-5").architecture
    assert cache_bytes(glm, 1, 1) == 78 * (512 + 64 + 128)


def test_bytes_of_weights_by_part() -> None:
    """One number for all, or by part with a default; every part must be priced and known."""
    arch = published_model("gpt-oss-20b").architecture
    counts = parameters(arch)
    assert weight_bytes(arch, 2) == 2 * counts.total
    mixed = weight_bytes(arch, {"experts": 0.53, "default": 2})
    assert mixed == pytest.approx(0.53 * counts.experts + 2 * (counts.total - counts.experts))
    assert weight_bytes(arch, dict.fromkeys(PARTS, 1.0)) == counts.total
    with pytest.raises(InputError, match="lm_head"):
        weight_bytes(arch, {"lm_head": 1.0, "default": 2.0})
    with pytest.raises(InputError, match="experts"):
        weight_bytes(arch, {"attention": 1.0})


def test_decode_of_latent_attention_works_on_the_latent_vector() -> None:
    """Absorbed: 512 + 64 for the scores and 512 for the values of each head, in place of 192 and 128."""
    arch = published_model("deepseek-v3").architecture
    plain, absorbed = (flops_per_token(arch, 1000, causal=False, absorbed=one) for one in (False, True))
    assert absorbed.attention / plain.attention == pytest.approx((576 + 512) / (192 + 128))
    assert absorbed.projections == plain.projections


def test_long_contexts_cost_by_square_windows_by_line_and_states_nothing() -> None:
    """Attention FLOPs of a token double with the context; those of a window and of a state do not grow."""
    llama, mamba = published_model("llama-3.1-8b").architecture, published_model("mamba-130m").architecture
    assert flops_per_token(llama, 2e5).attention == pytest.approx(2 * flops_per_token(llama, 1e5).attention, rel=1e-4)
    assert flops_per_token(mamba, 2e5) == flops_per_token(mamba, 1e5)
    mistral = published_model("mistral-7b").architecture
    assert flops_per_token(mistral, 1e6).attention < 1.03 * flops_per_token(mistral, 1e5).attention


@given(st.integers(1, 300), st.one_of(st.none(), st.integers(1, 300)))
def test_visible_positions_are_the_mean_over_the_sequence(tokens: int, limit: int | None) -> None:
    """The closed form against the sum it stands for."""
    seen = [min(position, limit or tokens) for position in range(1, tokens + 1)]
    assert visible_positions(tokens, limit, causal=True) == pytest.approx(sum(seen) / tokens)
    assert visible_positions(tokens, limit, causal=False) == min(tokens, limit or tokens)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 64), st.integers(2, 500), st.booleans(), st.integers(0, 3))
def test_parts_add_up(layers: int, kv_heads: int, head_size: int, vocabulary: int, tied: bool, extra: int) -> None:
    """Total is the sum of its parts; one more layer adds what one layer holds; tying saves exactly the head."""
    mixer = Attention(heads=2 * kv_heads, kv_heads=kv_heads, head_size=head_size)
    group = LayerGroup(count=layers, mixer=mixer, mlp=FeedForward(size=32))
    arch = Architecture(
        name="x", vocab_size=vocabulary, hidden_size=16, groups=(group,), tied=tied, multi_token_layers=extra
    )
    counts = parameters(arch)
    assert counts.total == counts.active == sum(getattr(counts, part) for part in PARTS)
    untied = parameters(arch.model_copy(update={"tied": False}))
    assert untied.total - counts.total == (vocabulary * 16 if tied else 0)
    more = arch.model_copy(update={"groups": (group.model_copy(update={"count": layers + 1}),)})
    layer = 16 * head_size * kv_heads * (2 + 1 + 1 + 2) + 3 * 16 * 32 + 2 * 16
    assert parameters(more).total - counts.total == layer
    assert counts.multi_token == extra * (layer + 2 * 16 * 16 + 3 * 16)
