"""A training run by its choices: model, devices, batch, precision, layout, recomputation, optimiser, software.

Everything that decides how fast a step is and what it keeps in memory, and nothing else. The rules of a layout are those of
Megatron-LM (Narayanan et al. 2021, arXiv 2104.04473; Korthikanti et al. 2022, arXiv 2205.05198) and of ZeRO and FSDP
(Rajbhandari et al. 2020, arXiv 1910.02054). Data loading, evaluation and checkpoints are not part of a step.
"""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from aether.spec.architecture import Architecture, Attention, Experts, LatentAttention
from aether.spec.base import Noun
from aether.spec.errors import InputError

Precision = Literal["fp32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4"]
"""What matrix products compute in. `fp8` is scaled per tensor, `mxfp8` and `nvfp4` per block; the rest stays in bfloat16."""
Recompute = Literal["none", "selective", "full"]
"""What the backward pass computes again: nothing; cheap parts (the core of attention where scores are materialised, as in
Korthikanti et al., section 5, else norms and activations, as Megatron-Core's recompute modules do; every second product in
torchtitan); or whole layers."""
Framework = Literal["megatron", "fsdp", "deepspeed", "torchtitan", "maxtext", "eager"]


class Layout(Noun):
    """How the work is split. Data-parallel ranks are `dp`; expert-parallel groups lie inside tp * cp * dp."""

    tp: int = 1
    sequence_parallel: bool = True
    """Norms and dropouts split along the sequence inside a tensor-parallel group (Korthikanti et al., section 4.2.2)."""
    pp: int = 1
    virtual_stages: int = 1
    """Chunks of layers per pipeline stage (interleaved 1F1B)."""
    cp: int = 1
    ep: int = 1
    dp: int = 1
    zero_stage: int = 0
    """0: replicas; 1: optimiser states split; 2: gradients too; 3: weights too (FSDP, FSDP2)."""
    offload: Literal["none", "optimiser"] = "none"

    @property
    def devices(self) -> int:
        """Devices that the layout fills."""
        return self.tp * self.pp * self.cp * self.dp

    @field_validator("tp", "pp", "virtual_stages", "cp", "ep", "dp")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value < 1:
            raise InputError.of("layout", value, "every degree of parallelism is at least 1")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.zero_stage not in (0, 1, 2, 3):
            raise InputError.of("layout.zero_stage", self.zero_stage, "use 0, 1, 2 or 3")
        if (self.tp * self.cp * self.dp) % self.ep:
            raise InputError.of(
                "layout.ep", self.ep, f"it must divide tp * cp * dp = {self.tp * self.cp * self.dp} devices"
            )
        if self.virtual_stages > 1 and self.pp == 1:
            raise InputError.of("layout.virtual_stages", self.virtual_stages, "it needs pp > 1")
        if self.zero_stage == 3 and self.pp > 1:
            raise InputError.of(
                "layout.zero_stage", 3, "with pp > 1 use zero_stage 1: weights would be gathered per micro-batch"
            )
        return self


class FineTuning(Noun):
    """What a fine-tuning trains. `none`: it is a pretraining; `full`: all weights; `lora`: frozen weights and low-rank updates; `qlora`: the frozen weights in four bits; `adapter` and
    `adapter_v2`: LLaMA-Adapter's prompts (arXiv 2303.16199), and scales and biases of every product (arXiv 2304.15010)."""

    kind: Literal["none", "full", "lora", "qlora", "adapter", "adapter_v2"] = "none"
    rank: int = 16
    trainable_parameters: int | None = Field(default=None, gt=0)
    """Where it is known; otherwise computed for adapters on every matrix of attention and feed-forward parts."""
    frozen_bits: float = Field(default=16.0, gt=0)
    """Bits of a frozen weight, scales included: 4.5 for NF4 in blocks of 64, 4.127 with double quantisation (QLoRA, section 3)."""

    @property
    def frozen(self) -> bool:
        """Whether the model's own weights stay and only what is added to them learns."""
        return self.kind not in ("none", "full")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rank < 1:
            raise InputError.of("fine_tuning.rank", self.rank, "a low-rank update has rank 1 at least")
        return self


class Software(Noun):
    """The training program and when it was released: the same layout has become faster year by year."""

    framework: Framework = "megatron"
    released: str = Field(default="2026-06", pattern=r"^\d{4}-\d{2}$")
    attention: Literal["flash", "materialised"] = "flash"
    """`materialised`: scores are written to memory, as before FlashAttention (Dao et al. 2022)."""
    compiled: bool = False
    """Element-wise chains are fused by a compiler (torch.compile, XLA)."""
    overlapped_dispatch: bool = False
    """Tokens travel to their experts while another micro-batch is computed (DualPipe, arXiv 2412.19437, section 3.2.1; Megatron-Core's
    `overlap_moe_expert_parallel_comm`)."""
    accumulates_whole: bool = False
    """Before the last micro-batch gradients add up whole, though ZeRO-2 or 3 would split them (FSDP's `no_sync`, as LitGPT and
    accelerate use it): less traffic, more memory."""

    @property
    def year(self) -> float:
        """The release as a number of years."""
        year, month = self.released.split("-")
        return int(year) + (int(month) - 0.5) / 12


class TrainingSetup(Noun):
    """One training run. `recompute` None: the least recomputation that fits into memory."""

    architecture: Architecture
    device: str
    devices: int
    seq_tokens: int
    global_batch: int
    """Sequences per step."""
    micro_batch: int = 1
    precision: Precision = "bf16"
    master_weights: bool = True
    """Mixed precision keeps a float32 copy of the weights; False: weights and states in the compute type alone."""
    layout: Layout = Layout()
    recompute: Recompute | None = None
    fine_tuning: FineTuning = FineTuning()
    optimiser: Literal["adamw", "adamw_8bit", "muon", "lion", "sgd"] = "adamw"
    software: Software = Software()

    @field_validator("devices", "seq_tokens", "global_batch", "micro_batch")
    @classmethod
    def _positive(cls, value: int, info) -> int:
        if value < 1:
            raise InputError.of(info.field_name, value, "give a number of at least 1")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        layout = self.layout
        if layout.devices != self.devices:
            product = f"tp * pp * cp * dp = {layout.tp} * {layout.pp} * {layout.cp} * {layout.dp} = {layout.devices}"
            raise InputError.of("devices", self.devices, f"the layout fills {product}: make both equal")
        if self.global_batch % (layout.dp * self.micro_batch):
            step = layout.dp * self.micro_batch
            raise InputError.of(
                "global_batch", self.global_batch, f"it must be a multiple of dp * micro_batch = {step}"
            )
        if layout.pp * layout.virtual_stages > self.architecture.layers:
            stages = layout.pp * layout.virtual_stages
            raise InputError.of(
                "layout.pp", layout.pp, f"pp * virtual_stages = {stages} exceeds {self.architecture.layers} layers"
            )
        if self.seq_tokens % layout.cp:
            raise InputError.of("layout.cp", layout.cp, f"it must divide seq_tokens = {self.seq_tokens}")
        for group in self.architecture.groups:
            self._divides(group.mixer, group.mlp)
        return self

    def _divides(self, mixer: object, mlp: object) -> None:
        if isinstance(mixer, Attention | LatentAttention) and mixer.heads % self.layout.tp:
            raise InputError.of("layout.tp", self.layout.tp, f"it must divide {mixer.heads} attention heads")
        if isinstance(mlp, Experts) and mlp.count % self.layout.ep:
            raise InputError.of("layout.ep", self.layout.ep, f"it must divide {mlp.count} experts")

    @property
    def micro_batches(self) -> int:
        """Micro-batches that one data-parallel rank computes in a step."""
        return self.global_batch // (self.layout.dp * self.micro_batch)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a global batch."""
        return self.global_batch * self.seq_tokens
