"""Checks of configuration files: DeepSpeed, Axolotl, LLaMA-Factory, torchtitan."""

import ast
import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document, Settings
from aether.counsel.review.known_models import Shape, known_model
from aether.counsel.review.python_facts import calls
from aether.counsel.review.registry import Hit, at, on_settings


@on_settings("AE301", "deepspeed")
def _batch_product(settings: Settings, document: Document) -> Iterator[Hit]:
    whole, micro, steps = (
        settings.number(n)
        for n in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    )
    if whole and micro and whole % (micro * (steps or 1)):
        yield at(
            settings.at("train_batch_size"),
            f"train_batch_size {whole:g} is no multiple of micro batch {micro:g} times accumulation {steps or 1:g}",
        )


@on_settings("AE302", "deepspeed")
def _both(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.on("fp16.enabled") and settings.on("bf16.enabled"):
        yield at(settings.at("fp16.enabled"), "fp16 and bf16 are both enabled")


@on_settings("AE303", "deepspeed")
def _gather(settings: Settings, document: Document) -> Iterator[Hit]:
    stage = settings.number("zero_optimization.stage")
    if stage == 3 and settings.get("zero_optimization.stage3_gather_16bit_weights_on_model_save") in (None, False):
        yield at(
            settings.at("zero_optimization.stage"),
            "ZeRO stage 3 saves shards only: stage3_gather_16bit_weights_on_model_save is off",
        )


@on_settings("AE304", "deepspeed")
def _offload(settings: Settings, document: Document) -> Iterator[Hit]:
    stage = settings.number("zero_optimization.stage") or 0
    if (
        settings.has("zero_optimization.offload_param")
        and settings.get("zero_optimization.offload_param.device") not in (None, "none")
        and stage < 3
    ):
        yield at(
            settings.at("zero_optimization.offload_param"), f"offload_param at ZeRO stage {stage:g}: it needs stage 3"
        )
    if (
        settings.has("zero_optimization.offload_optimizer")
        and settings.get("zero_optimization.offload_optimizer.device") not in (None, "none")
        and stage < 1
    ):
        yield at(
            settings.at("zero_optimization.offload_optimizer"),
            f"offload_optimizer at ZeRO stage {stage:g}: it needs stage 1 or more",
        )


@on_settings("AE305", "deepspeed")
def _static_scale(settings: Settings, document: Document) -> Iterator[Hit]:
    scale = settings.number("fp16.loss_scale")
    if settings.on("fp16.enabled") and scale:
        yield at(settings.at("fp16.loss_scale"), f"a static loss scale of {scale:g}")


@on_settings("AE306", "deepspeed")
def _unclipped(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.number("gradient_clipping") == 0:
        yield at(settings.at("gradient_clipping"), "gradient_clipping = 0: the gradient is not clipped")


@on_settings("AE307", "deepspeed")
def _warmup_in_config(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.number("scheduler.params.warmup_num_steps") == 0:
        yield at(settings.at("scheduler.params.warmup_num_steps"), "warmup_num_steps = 0")


@on_settings("AE320", "axolotl")
def _packing(settings: Settings, document: Document) -> Iterator[Hit]:
    switches = ("flash_attention", "flex_attention", "xformers_attention", "sdp_attention", "eager_attention")
    named = str(settings.get("attn_implementation") or "")
    apart = any(settings.on(n) for n in switches) or re.search(r"flash|flex|xformers|sage|sdpa|eager", named)
    if settings.on("sample_packing") and not apart:
        yield at(
            settings.at("sample_packing"),
            "sample_packing without an attention that keeps examples apart: those in one row see each other",
        )


@on_settings("AE321", "axolotl", "llamafactory")
def _nothing_held_out(settings: Settings, document: Document) -> Iterator[Hit]:
    share = settings.get("val_set_size", "val_size")
    key, elsewhere = ("val_set_size", "test_datasets") if settings.kind == "axolotl" else ("val_size", "eval_dataset")
    kept = settings.has("test_datasets", "eval_dataset", "pretraining_dataset") or settings.get("do_train") is False
    if settings.has(key) and share in (None, 0, 0.0) and not kept:
        yield at(settings.at(key), f"{key} is 0, and no {elsewhere} is named: nothing is held out")


@on_settings("AE322", "axolotl")
def _qlora_without_bits(settings: Settings, document: Document) -> Iterator[Hit]:
    adapter = settings.get("adapter")
    if adapter == "qlora" and not settings.on("load_in_4bit"):
        yield at(settings.at("adapter"), "adapter: qlora without load_in_4bit: true")
    elif adapter == "qlora" and settings.on("load_in_8bit"):
        yield at(settings.at("load_in_8bit"), "adapter: qlora with load_in_8bit: true")


@on_settings("AE323", "axolotl", "llamafactory")
def _on_inputs(settings: Settings, document: Document) -> Iterator[Hit]:
    key = "train_on_inputs" if settings.kind == "axolotl" else "train_on_prompt"
    if settings.on(key) and not settings.has("pretraining_dataset"):
        yield at(settings.at(key), f"{key}: the loss is over the prompts too")


def _base(settings: Settings, document: Document) -> Shape | None:
    """The model that is trained: the one that the settings name, or the only one that a script loads."""
    name = settings.get("base_model", "model_name_or_path", "model", "model_path", "model_id")
    if settings.kind == "torchtitan":
        name = _FLAVORS.get((str(settings.get("model.name")), str(settings.get("model.flavor"))))
    if not isinstance(name, str) and document.tree is not None:
        loaded = {
            call.args[0].value
            for call in calls(document.tree, "from_pretrained")
            if call.args and isinstance(call.args[0], ast.Constant)
        }
        name = loaded.pop() if len(loaded) == 1 else None
    return known_model(name) if isinstance(name, str) else None


_LENGTHS = ("sequence_len", "cutoff_len", "max_length", "max_seq_length", "training.seq_len")


@on_settings("AE324", "axolotl", "llamafactory", "hf-arguments", "torchtitan")
def _longer_than_the_model(settings: Settings, document: Document) -> Iterator[Hit]:
    model = _base(settings, document)
    length = settings.number(*_LENGTHS)
    if (
        model is not None
        and length
        and model.max_positions
        and length > model.max_positions
        and not settings.has("rope_scaling", "rope_theta", "overrides_of_model_config")
        and (document.tree is None or "rope_" not in document.text)
    ):
        yield at(
            settings.at(*_LENGTHS),
            f"{length:,.0f} tokens a row, but {model.name} has {model.max_positions:,} positions",
        )


_TEMPLATES = {
    "llama-3": ("llama3", "llama-3"),
    "llama-2": ("llama2", "llama-2"),
    "qwen": ("qwen", "chatml"),
    "gemma": ("gemma",),
    "mistral": ("mistral",),
    "phi": ("phi",),
    "deepseek": ("deepseek",),
}
_OF_FAMILIES = {
    "llama2",
    "llama3",
    "llama4",
    "qwen",
    "qwen3",
    "qwen2_5",
    "gemma",
    "gemma3",
    "mistral",
    "phi3",
    "phi4",
    "deepseek",
    "deepseek3",
    "vicuna",
}


@on_settings("AE325", "axolotl", "llamafactory")
def _template(settings: Settings, document: Document) -> Iterator[Hit]:
    name = str(settings.get("base_model", "model_name_or_path") or "").lower()
    given = settings.get("chat_template", "template")
    if not isinstance(given, str) or given.lower() not in _OF_FAMILIES:
        return
    family = next(
        (f for f in _TEMPLATES if re.search(rf"{f[:5]}[-_]?{re.escape(f[6:])}" if "-" in f else f, name)), None
    )
    if family and not given.lower().startswith(_TEMPLATES[family]) and not (family == "deepseek" and "distill" in name):
        yield at(
            settings.at("chat_template", "template"),
            f"template {given} for {settings.get('base_model', 'model_name_or_path')}",
        )


@on_settings("AE326", "llamafactory")
def _bits_of_all_weights(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.has("quantization_bit") and settings.get("finetuning_type") == "full":
        yield at(settings.at("quantization_bit"), "quantization_bit with finetuning_type: full")


@on_settings("AE327", "llamafactory")
def _neat(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.on("packing") and not settings.on("neat_packing") and settings.get("stage") == "sft":
        yield at(settings.at("packing"), "packing without neat_packing: examples in one row see each other")


@on_settings("AE328", "llamafactory")
def _pref_beta(settings: Settings, document: Document) -> Iterator[Hit]:
    beta = settings.number("pref_beta")
    if beta is not None and not 0.005 <= beta <= 2.5:
        yield at(settings.at("pref_beta"), f"pref_beta = {beta:g}")


@on_settings("AE330", "torchtitan")
def _no_checkpoint(settings: Settings, document: Document) -> Iterator[Hit]:
    for name in ("checkpoint.enable", "checkpoint.enable_checkpoint"):
        if settings.get(name) is False and (settings.number("training.steps") or 0) >= 10_000:
            yield at(
                settings.at(name), f"checkpoints are off in a run of {settings.number('training.steps'):,.0f} steps"
            )


@on_settings("AE331", "torchtitan")
def _titan_warmup(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.number("lr_scheduler.warmup_steps") == 0:
        yield at(settings.at("lr_scheduler.warmup_steps"), "warmup_steps = 0")


@on_settings("AE332", "torchtitan", "deepspeed")
def _high_rate(settings: Settings, document: Document) -> Iterator[Hit]:
    names = ("optimizer.lr", "optimizer.params.lr")
    rate, kind = settings.number(*names), str(settings.get("optimizer.name", "optimizer.type") or "AdamW")
    if rate is not None and rate > 5e-3 and kind.startswith("Adam"):
        yield at(settings.at(*names), f"lr = {rate:g} with {kind}")


@on_settings("AE333", "torchtitan")
def _titan_clip(settings: Settings, document: Document) -> Iterator[Hit]:
    norm = settings.number("training.max_norm")
    if norm is not None and (norm <= 0 or norm > 10):
        yield at(settings.at("training.max_norm"), f"max_norm = {norm:g}: the gradient is not clipped")


_FLAVORS = {("llama3", "8B"): "llama-3.1-8b", ("llama3", "70B"): "llama-3.1-70b", ("llama3", "405B"): "llama-3.1-405b"}


@on_settings("AE334", "torchtitan")
def _titan_heads(settings: Settings, document: Document) -> Iterator[Hit]:
    name = _FLAVORS.get((str(settings.get("model.name")), str(settings.get("model.flavor"))))
    model, degree = known_model(name) if name else None, settings.number("parallelism.tensor_parallel_degree")
    if model and degree and (model.heads % degree or model.kv_heads % degree):
        yield at(
            settings.at("parallelism.tensor_parallel_degree"),
            f"tensor parallel {degree:g} does not divide the {model.heads} heads and {model.kv_heads} key-value heads of {name}",
        )


@on_settings("AE335", "torchtitan")
def _titan_half(settings: Settings, document: Document) -> Iterator[Hit]:
    for name in ("training.mixed_precision_param", "training.dtype"):
        if settings.get(name) == "float16":
            yield at(settings.at(name), f"{name.split('.')[1]} = float16: it takes bfloat16 or float32")
