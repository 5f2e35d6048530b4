"""Checks of the arguments of trainers (transformers, TRL), adapters and quantisation, wherever they are written: Python, YAML, JSON, commands."""

import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document, Setting, Settings
from aether.counsel.review.python_facts import text_around
from aether.counsel.review.registry import Hit, at, on_settings
from aether.spec.review import Edit

ARGS = "hf-arguments"


def _adapters(document: Document, settings: Settings) -> bool:
    """Whether the training is of adapters."""
    return re.search(
        r"\bLoraConfig\b|peft_config|use_peft|\blora\b|adapter|get_peft_model", document.text, re.I
    ) is not None or settings.on("use_peft")


def _whole(document: Document, settings: Settings) -> bool:
    """Whether all weights are trained. In configuration files the keys say so, as far as they are known."""
    if settings.kind == "axolotl":
        return not settings.get("adapter") and not settings.has("unfrozen_parameters")
    if settings.kind == "llamafactory":
        return settings.get("finetuning_type") == "full"
    return not _adapters(document, settings)


def _rename(document: Document, settings: Settings, old: str, new: str) -> Edit | None:
    """The edit that gives a key its new name, where the key stands in the text as it is."""
    setting = settings.values[old]
    lines = document.lines
    for number in range(setting.line, max(0, setting.line - 3), -1):
        line = lines[number - 1] if number <= len(lines) else ""
        match = re.search(rf"(?<![\w]){re.escape(old)}(?=\s*[\"']?\s*[:=])", line)
        if match:
            return Edit(line=number, column=match.start() + 1, end_line=number, end_column=match.end() + 1, text=new)
    return None


@on_settings("AE201", ARGS, "axolotl", "llamafactory")
def _both_halves(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.on("fp16") and settings.on("bf16"):
        yield at(settings.at("fp16"), "fp16 and bf16 are both on")


@on_settings("AE202", ARGS, "axolotl", "llamafactory")
def _rate_of_full_tuning(settings: Settings, document: Document) -> Iterator[Hit]:
    rate = settings.number("learning_rate")
    limit = 1e-4 if settings.kind == ARGS else 5e-4  # their examples train small and quantised models at 2e-4 to 5e-4
    tuned = settings.name == "SFTConfig" or (
        (settings.kind == "llamafactory" and settings.get("stage") == "sft")
        or (settings.kind == "axolotl" and not settings.has("rl", "pretraining_dataset"))
    )
    if rate is not None and rate > limit and tuned and _whole(document, settings):
        yield at(settings.at("learning_rate"), f"learning_rate = {rate:g} for all weights of a language model")


@on_settings("AE203", ARGS, "axolotl", "llamafactory", "schedule")
def _no_warmup(settings: Settings, document: Document) -> Iterator[Hit]:
    for name in ("warmup_ratio", "warmup_steps", "num_warmup_steps"):
        if settings.number(name) == 0 and not any(
            (settings.number(o) or 0) > 0 for o in ("warmup_ratio", "warmup_steps")
        ):
            yield at(settings.at(name), f"{name} = 0: the first steps run at the full rate")
            return


@on_settings("AE204", "trainer")
def _held_out_but_not_used(settings: Settings, document: Document) -> Iterator[Hit]:
    strategies = re.search(r"eval(?:uation)?_strategy|do_eval|eval_steps|eval_on_start|\.evaluate\(", document.text)
    if (
        settings.has("eval_dataset")
        and not strategies
        and ".train(" in document.text
        and re.search(r"(?:Arguments|Config)\(", document.text)
    ):
        yield at(settings.at("eval_dataset"), "an eval_dataset is given, but eval_strategy is left at no")


@on_settings("AE205", ARGS)
def _best_model(settings: Settings, document: Document) -> Iterator[Hit]:
    if not settings.on("load_best_model_at_end"):
        return
    held, kept = settings.get("eval_strategy", "evaluation_strategy"), settings.get("save_strategy")
    if "**" in settings.values or held is ... or kept is ...:
        return
    if kept == "best" and (held or "no") != "no":  # saved whenever an evaluation is the best so far
        return
    if (held or "no") != (kept or "steps"):
        yield at(
            settings.at("load_best_model_at_end"),
            f"load_best_model_at_end with eval_strategy {held or 'no'} and save_strategy {kept or 'steps'}",
        )


@on_settings("AE206", ARGS)
def _no_limit_of_checkpoints(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.has("save_steps") and not settings.has("save_total_limit", "**"):
        yield at(settings.at("save_steps"), "checkpoints are saved every few steps and never deleted")


@on_settings("AE207", ARGS)
def _packing_without_flash(settings: Settings, document: Document) -> Iterator[Hit]:
    attention = re.search(r"attn_implementation['\"]?\s*[=:]\s*['\"]?(\w+)", document.text)
    if not settings.on("packing"):
        return
    if settings.get("packing_strategy") == "wrapped":
        yield at(settings.at("packing_strategy"), "packing_strategy wrapped: examples in one row see each other")
    elif attention and attention[1] in ("sdpa", "eager"):
        yield at(
            settings.at("packing"),
            f"packing with attn_implementation {attention[1]}: older releases let examples in one row see each other, "
            "current ones build a mask of the whole row",
        )


@on_settings("AE208", ARGS, "axolotl")
def _beta(settings: Settings, document: Document) -> Iterator[Hit]:
    names = ("dpo_beta", "rl_beta") if settings.kind == "axolotl" else ("beta",)
    beta = settings.number(*names)
    method = settings.name in ("DPOConfig", "KTOConfig", "OnlineDPOConfig") or settings.get("rl") in ("dpo", "kto")
    # Losses that are divided by the length of the answer take a beta of 2 to 10 (SimPO, arXiv 2405.14734; Tulu 3's normalised DPO, arXiv 2411.15124).
    by_length = any(loss in str(settings.get("loss_type")) for loss in ("sigmoid_norm", "simpo"))
    if beta is not None and method and not by_length and not 0.005 <= beta <= 1.0:
        yield at(settings.at(*names), f"beta = {beta:g}")


_PREFERENCES = ("dpo", "ipo", "kto", "orpo", "simpo")


@on_settings("AE209", ARGS, "axolotl", "llamafactory")
def _rate_of_preferences(settings: Settings, document: Document) -> Iterator[Hit]:
    rate = settings.number("learning_rate")
    method = (
        settings.name in ("DPOConfig", "KTOConfig", "CPOConfig", "ORPOConfig")
        or settings.get("rl", "stage") in _PREFERENCES
    )
    if rate is not None and method and rate > 5e-5 and _whole(document, settings):
        yield at(settings.at("learning_rate"), f"learning_rate = {rate:g} for preference optimisation of all weights")


_RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_token": "hub_token",
}


_REMOVED = {
    "warmup_ratio": "give warmup_steps a share below 1",
    "group_by_length": "use train_sampling_strategy='group_by_length'",
    "fp16_backend": "leave it out",
    "half_precision_backend": "leave it out",
    "overwrite_output_dir": "leave it out",
    "save_safetensors": "leave it out, checkpoints are safetensors",
    "use_mps_device": "leave it out, the device is found",
    "include_tokens_per_second": "leave it out",
    "past_index": "leave it out",
}
"""Fields that TrainingArguments of transformers 5.17.0 refuses, with what to do instead."""


@on_settings("AE210", ARGS)
def _renamed(settings: Settings, document: Document) -> Iterator[Hit]:
    renamed = dict(_RENAMED) | ({"max_seq_length": "max_length"} if settings.name == "SFTConfig" else {})
    for old, new in renamed.items():
        if old in settings.values:
            yield at(settings.values[old], f"{old} is gone; it is called {new}", _rename(document, settings, old, new))
    if settings.name in ("TrainingArguments", "Seq2SeqTrainingArguments", "SFTConfig", "DPOConfig", "GRPOConfig"):
        for old, instead in _REMOVED.items():
            if old in settings.values:
                yield at(settings.values[old], f"{old} is gone; {instead}")


@on_settings("AE211", "trainer")
def _tokenizer_argument(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.has("tokenizer") and settings.name in (
        "Trainer",
        "SFTTrainer",
        "DPOTrainer",
        "KTOTrainer",
        "ORPOTrainer",
        "CPOTrainer",
        "RewardTrainer",
        "Seq2SeqTrainer",
    ):
        yield at(
            settings.at("tokenizer"),
            "tokenizer of a trainer is gone; it is called processing_class",
            _rename(document, settings, "tokenizer", "processing_class"),
        )


@on_settings("AE212", ARGS, "axolotl", "llamafactory")
def _clip_norm(settings: Settings, document: Document) -> Iterator[Hit]:
    norm = settings.number("max_grad_norm")
    if norm is not None and (norm <= 0 or norm > 10):
        yield at(settings.at("max_grad_norm"), f"max_grad_norm = {norm:g}: the gradient is not clipped")


@on_settings("AE213", ARGS, "axolotl", "llamafactory", "deepspeed")
def _heavy_decay(settings: Settings, document: Document) -> Iterator[Hit]:
    names = ("weight_decay", "optimizer.params.weight_decay")
    decay = settings.number(*names)
    if decay is not None and decay > 0.3:
        yield at(settings.at(*names), f"weight_decay = {decay:g}")


@on_settings("AE214", ARGS, "axolotl", "llamafactory")
def _many_epochs(settings: Settings, document: Document) -> Iterator[Hit]:
    epochs = settings.number("num_train_epochs", "num_epochs")
    tuned = settings.name in ("SFTConfig", "DPOConfig", "KTOConfig", "ORPOConfig") or settings.kind in (
        "axolotl",
        "llamafactory",
    )
    if epochs is not None and epochs > 10 and tuned:
        yield at(settings.at("num_train_epochs", "num_epochs"), f"{epochs:g} passes over the fine-tuning data")


_LORA = ("lora", "axolotl", "llamafactory", ARGS)
"""Where the fields of adapters stand: in an object of their own, or beside the others."""


@on_settings("AE215", *_LORA)
def _alpha(settings: Settings, document: Document) -> Iterator[Hit]:
    rank, alpha = settings.number("r", "lora_r", "lora_rank"), settings.number("lora_alpha")
    if rank and alpha is not None and not settings.on("use_rslora") and not 0.25 <= alpha / rank <= 8:
        yield at(settings.at("lora_alpha"), f"lora_alpha / r = {alpha / rank:g}")


@on_settings("AE216", *_LORA)
def _dropout(settings: Settings, document: Document) -> Iterator[Hit]:
    dropout = settings.number("lora_dropout")
    if dropout is not None and dropout > 0.3:
        yield at(settings.at("lora_dropout"), f"lora_dropout = {dropout:g}")


@on_settings("AE217", *_LORA)
def _few_modules(settings: Settings, document: Document) -> Iterator[Hit]:
    names = ("target_modules", "lora_target_modules", "lora_target")
    modules = settings.get(*names)
    if isinstance(modules, str):
        modules = [part.strip() for part in modules.split(",")]
    if (
        isinstance(modules, list | tuple | set)
        and set(modules) == {"q_proj", "v_proj"}
        and not settings.on("lora_target_linear")
    ):
        yield at(settings.at(*names), "adapters on q_proj and v_proj only")


@on_settings("AE218", "lora")
def _new_tokens(settings: Settings, document: Document) -> Iterator[Hit]:
    adds = re.search(
        r"\.(?:add_tokens|add_special_tokens|resize_token_embeddings)\(", text_around(document, settings.line)
    )
    if adds and not settings.has("modules_to_save", "trainable_token_indices", "**"):
        yield Hit(settings.line, "tokens are added, but their embeddings are not trained: no modules_to_save")


@on_settings("AE219", "bitsandbytes")
def _compute_dtype(settings: Settings, document: Document) -> Iterator[Hit]:
    given = settings.get("bnb_4bit_compute_dtype")
    if (
        settings.on("load_in_4bit")
        and not settings.has("**")
        and (given is None or given in ("torch.float32", "float32"))
    ):
        yield at(settings.at("load_in_4bit"), "4-bit weights are computed with in float32")


@on_settings("AE220", "bitsandbytes")
def _fp4(settings: Settings, document: Document) -> Iterator[Hit]:
    given = settings.get("bnb_4bit_quant_type")
    if (
        settings.on("load_in_4bit")
        and not settings.has("**")
        and given in (None, "fp4")
        and re.search(r"LoraConfig|get_peft_model", document.text)
    ):
        yield at(
            settings.at("bnb_4bit_quant_type", "load_in_4bit"), "QLoRA with fp4, which is the default, instead of nf4"
        )


@on_settings("AE221", ARGS)
def _group_size(settings: Settings, document: Document) -> Iterator[Hit]:
    generations = settings.number("num_generations")
    if settings.name == "GRPOConfig" and generations is not None and generations < 2:
        yield at(settings.at("num_generations"), f"num_generations = {generations:g}: no group to compare within")


@on_settings("AE222", ARGS)
def _cold_rollouts(settings: Settings, document: Document) -> Iterator[Hit]:
    temperature = settings.number("temperature")
    if settings.name in ("GRPOConfig", "PPOConfig", "RLOOConfig", "OnlineDPOConfig") and temperature == 0:
        yield at(settings.at("temperature"), "temperature = 0: every rollout is the same")


@on_settings("AE223", ARGS)
def _steps_that_do_not_meet(settings: Settings, document: Document) -> Iterator[Hit]:
    held, kept = settings.number("eval_steps"), settings.number("save_steps")
    best = settings.get("save_strategy") == "best"
    if settings.on("load_best_model_at_end") and not best and held and kept and held >= 1 and kept % held:
        yield at(settings.at("save_steps"), f"save_steps = {kept:g} is no multiple of eval_steps = {held:g}")


@on_settings("AE224", ARGS, "axolotl", "llamafactory")
def _old_optimisers(settings: Settings, document: Document) -> Iterator[Hit]:
    setting = settings.at("optim", "optimizer") if settings.kind == "axolotl" else settings.at("optim")
    if setting.value in ("adamw_hf", "adamw_apex_fused"):
        yield at(
            setting, f"optim {setting.value} is gone; use adamw_torch_fused", _literal(setting, "adamw_torch_fused")
        )


def _literal(setting: Setting, text: str) -> Edit | None:
    node = setting.node
    if node is None or node.end_col_offset is None or node.end_lineno is None:
        return None
    return Edit(
        line=node.lineno,
        column=node.col_offset + 1,
        end_line=node.end_lineno,
        end_column=node.end_col_offset + 1,
        text=f'"{text}"',
    )


@on_settings("AE225", ARGS)
def _no_validation(settings: Settings, document: Document) -> Iterator[Hit]:
    written = any(setting.node is not None for setting in settings.values.values())
    if (
        written
        and settings.name in ("TrainingArguments", "SFTConfig", "DPOConfig", "KTOConfig", "ORPOConfig", "RewardConfig")
        and not re.search(r"eval|valid|test_size|dev_", re.sub(r"eval\w*\s*=\s*[\"']no[\"']", "", document.text))
    ):
        yield Hit(settings.line, "no held-out data anywhere in the script")


@on_settings("AE226", "dataloader")
def _no_workers(settings: Settings, document: Document) -> Iterator[Hit]:
    trains = re.search(r"\.backward\(", document.text)
    judges = re.match(r"\s*def \w*(?:eval|valid|test)", text_around(document, settings.line))
    if trains and not judges and re.search(r"cuda", document.text) and not settings.has("num_workers", "**"):
        yield Hit(settings.line, "DataLoader without num_workers: the device waits for the input")


@on_settings("AE227", ARGS)
def _half_in_arguments(settings: Settings, document: Document) -> Iterator[Hit]:
    if (
        settings.on("fp16")
        and not settings.on("bf16")
        and re.search(r"\b[AH]100|H200|B200|A10G?|L40S?|L4\b|4090|3090", document.text)
    ):
        yield at(settings.at("fp16"), "fp16 on a device that has bf16")


@on_settings("AE228", ARGS, "axolotl", "llamafactory")
def _rate_of_adapters(settings: Settings, document: Document) -> Iterator[Hit]:
    rate = settings.number("learning_rate")
    if rate is not None and not _whole(document, settings) and rate > 5e-3:
        yield at(settings.at("learning_rate"), f"learning_rate = {rate:g} for adapters")


@on_settings("AE229", ARGS)
def _saves_nothing(settings: Settings, document: Document) -> Iterator[Hit]:
    if (
        settings.get("save_strategy") == "no"
        and document.tree is not None
        and re.search(r"\.train\(", document.text)
        and not re.search(r"save_model|save_pretrained|push_to_hub|save_state|state_dict|torch\.save", document.text)
    ):
        yield at(settings.at("save_strategy"), "save_strategy is no, and nothing in the script saves the model")
