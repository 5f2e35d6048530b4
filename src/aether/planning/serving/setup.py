"""A served model as the numbers that decide its speed: architecture, device, number formats, layout, engine, limits.

Speed is computed from it in `step`, memory in `memory`. It says nothing of the traffic: that is the caller's.
"""

from typing import Literal

from pydantic import Field, model_validator

from aether.knowledge.library import Device, Rate
from aether.spec.architecture import Architecture, Experts
from aether.spec.base import Noun
from aether.spec.errors import InputError

Format = Literal[
    "float32",
    "bf16",
    "fp8",
    "fp8_block",
    "int8",
    "int8_weight",
    "int6",
    "int5",
    "int4",
    "int3",
    "int2",
    "mxfp4",
    "nvfp4",
]
"""How a matrix is stored. Whole-number formats of weights alone (`int8_weight`, and 2 to 6 bits in groups: GPTQ, AWQ, EXL2, GGUF)
and `mxfp4` are multiplied in 16 bits; the others in their own."""

Engine = Literal["vllm", "sglang", "trtllm", "transformers", "aether", "llama.cpp", "other", "any"]
"""`other`: the single-stream engines that were measured (exllamav2, AutoAWQ, gpt-fast, torchao). `any`: one of which nothing is known;
like those without a measured row it costs what all measured ones cost together."""

STORED_BYTES: dict[Format, float] = {
    "float32": 4.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "fp8_block": 1.0 + 4.0 / (128 * 128),
    "int8": 1.0,
    "int8_weight": 1.0,
    "int6": 0.75 + 2.5 / 128,
    "int5": 0.625 + 2.5 / 128,
    "int4": 0.5 + 2.5 / 128,
    "int3": 0.375 + 2.5 / 128,
    "int2": 0.25 + 2.5 / 128,
    "mxfp4": 0.5 + 1.0 / 32,
    "nvfp4": 0.5 + 1.0 / 16,
}
"""Bytes of one stored weight, scales included: blocks of 128 x 128 (DeepSeek-V3), groups of 128 with a 16-bit scale and a
4-bit zero (GPTQ, AWQ), 32 with 8 bits (OCP MX), 16 with 8 bits (NVFP4). Published: each format's own definition."""

MULTIPLIED_IN: dict[Format, Rate] = {
    "float32": "float32",
    "bf16": "bfloat16",
    "fp8": "float8",
    "fp8_block": "float8",
    "int8": "int8",
    "int8_weight": "bfloat16",
    "int6": "bfloat16",
    "int5": "bfloat16",
    "int4": "bfloat16",
    "int3": "bfloat16",
    "int2": "bfloat16",
    "mxfp4": "bfloat16",
    "nvfp4": "float4",
}
"""The rate of the data sheet that a matrix product of the format runs at."""


class Precision(Noun):
    """Formats by part. What is not said follows the dense weights; the cache is bf16 unless said."""

    weights: Format = "bf16"
    """Dense projections and feed-forward parts."""
    experts: Format | None = None
    """Routed experts; None: as `weights`."""
    attention: Format | None = None
    """Attention projections; None: as `weights`."""
    head: Format = "bf16"
    """Embeddings and the output head, which checkpoints leave unquantised."""
    cache: Literal["float32", "bf16", "fp8"] = "bf16"

    @property
    def expert_format(self) -> Format:
        """The format of routed experts."""
        return self.experts or self.weights

    @property
    def attention_format(self) -> Format:
        """The format of attention projections."""
        return self.attention or self.weights


class ServingSetup(Noun):
    """One replica of a model on `devices` accelerators."""

    architecture: Architecture
    device: Device
    precision: Precision = Precision()
    tp: int = Field(default=1, gt=0)
    """Ranks that split each attention layer by heads."""
    attn_dp: int = Field(default=1, gt=0)
    """Groups of `tp` ranks that hold attention whole and each their own sequences, sharing the experts."""
    ep: int = Field(default=1, gt=0)
    """Ranks over which whole experts are spread; the rest of tp x attn_dp splits each expert."""
    pp: int = Field(default=1, gt=0)
    engine: Engine = "vllm"
    engine_version: str | None = None
    max_sequences: int = Field(default=1024, gt=0)
    """Most sequences in one step, over the whole replica."""
    chunk_tokens: int = Field(default=8192, gt=0)
    """Most prompt and decode tokens in one step of one attention group."""
    intake_steps: int = Field(default=1, gt=0)
    """Decode steps from one look at newly sent requests to the next (SGLang's --scheduler-recv-interval); a step that read a prompt
    is always followed by one."""
    block_tokens: int = Field(default=16, gt=0)
    memory_share: float = Field(default=0.9, gt=0, le=1)
    """Share of the device's memory that the engine may fill."""
    prefix_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of each prompt that is found in the cache."""
    compiled: bool = True
    """CUDA graphs or compilation; False: each kernel is launched from Python (eager)."""

    @model_validator(mode="after")
    def _fits(self) -> "ServingSetup":
        ranks = self.tp * self.attn_dp
        if ranks % self.ep:
            raise InputError.of("ep", self.ep, f"it must divide tp x attn_dp = {ranks}")
        if self.pp > self.architecture.layers:
            raise InputError.of("pp", self.pp, f"the model has {self.architecture.layers} layers")
        counts = [g.mlp.count for g in self.architecture.groups if isinstance(g.mlp, Experts)]
        if self.ep > 1 and counts and self.ep > max(counts):
            raise InputError.of("ep", self.ep, f"the model has {max(counts)} experts in a layer")
        return self

    @property
    def devices(self) -> int:
        """Accelerators of one replica."""
        return self.tp * self.attn_dp * self.pp

    @property
    def measured_as(self) -> str:
        """What is looked up to know whether the model was measured on this device."""
        return f"{self.architecture.name} on {self.device.name}"
