"""Files that an answer hands out: Python compiles, YAML parses, and every key is one that was read in the tool's wheel."""

import shlex
import tomllib

import pytest
import yaml
from asked import FLEET, accepting, code_of, of_recipe, request
from hypothesis import given
from hypothesis import strategies as st

from aether.counsel import fleet
from aether.counsel.answer_files import named_files, write_answer
from aether.counsel.answering import answer
from aether.counsel.answers import files
from aether.counsel.answers.brief_text import brief_toml, raw_brief
from aether.counsel.review.engine import review_text
from aether.knowledge.addresses import has_address
from aether.knowledge.models_library import published_model
from aether.knowledge.practice import choice, choices
from aether.policy.brief_file import load_brief, to_brief
from aether.spec.brief import Brief, Hardware, Load, ModelChoice, Target

SHARED = {
    "model_name_or_path", "dataset_name", "datasets", "test_split_size", "output_dir", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay",
    "max_grad_norm", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "bf16", "fp16",
    "gradient_checkpointing", "logging_steps", "eval_strategy", "eval_steps", "save_steps", "save_total_limit", "seed", "use_peft", "lora_r",
    "lora_alpha", "lora_dropout", "lora_target_modules", "dtype", "optim", "torch_compile", "attn_implementation",
}  # fmt: skip
"""Read in transformers 5.17.0 (training_args.py) and trl 1.16.0 (model_config.py, scripts/utils.py)."""
OWN = {
    "sft": {"max_length", "packing"},
    "dpo": {"beta", "loss_type", "max_length"},
    "kto": {"beta", "loss_type", "max_length"},
    "simpo": {"beta", "simpo_gamma", "loss_type", "cpo_alpha", "max_length"},
    "grpo": {"beta", "num_generations", "max_completion_length", "use_vllm", "reward_funcs"},
}
"""Read in trl 1.16.0: sft_config.py, dpo_config.py, kto_config.py, experimental/cpo/cpo_config.py, grpo_config.py, scripts/grpo.py."""
SCHEMES = {"FP8_DYNAMIC", "W8A8", "NVFP4", "W4A16", "W4A16_ASYM"}
"""Read in compressed-tensors 0.19: PRESET_SCHEMES of quantization/quant_scheme.py."""
MERGE_KEYS = {"merge_method", "models", "base_model", "parameters", "dtype", "tokenizer_source"}
MERGE_PARAMETERS = {"linear": {"weight"}, "slerp": {"t"}, "ties": {"weight", "density", "normalize"}}
MERGE_PARAMETERS["dare_ties"] = MERGE_PARAMETERS["ties"]
MERGE_PARAMETERS["task_arithmetic"] = {"weight", "normalize", "lambda"}
"""Read in mergekit 0.1.5: config.py, merge_methods/."""
LM_EVAL = {"--model", "--model_args", "--tasks", "--batch_size", "--seed", "--apply_chat_template", "--log_samples",
           "--output_path", "--limit", "--confirm_run_unsafe_code"}  # fmt: skip
"""Read in lm_eval 0.4.13, _cli/run.py."""


@pytest.mark.parametrize("method", ["dpo", "kto", "simpo", "grpo"])
@pytest.mark.parametrize("lora", [False, True])
def test_alignment_keys_are_those_of_trl(method, lora):
    text = files.alignment_config(method, 8e9, 7, lora, ())
    found = yaml.safe_load(text)
    assert set(found) <= SHARED | OWN[method] and found["seed"] == 7
    assert isinstance(found["learning_rate"], float) and 0 < found["learning_rate"] < 1e-3
    assert ("use_peft" in found) == lora


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "dare_ties"])
def test_merge_keys_are_those_of_mergekit(method):
    models = ("a/one", "b/two") if method == "slerp" else ("a/one", "b/two", "c/three")
    base = None if method in ("linear", "slerp") else "base/model"
    found = yaml.safe_load(files.merge_config(method, models, base))
    assert set(found) <= MERGE_KEYS and [row["model"] for row in found["models"]] == list(models)
    given = set(found.get("parameters", {})).union(*(row.get("parameters", {}) for row in found["models"]))
    assert given <= MERGE_PARAMETERS[method]
    assert found.get("base_model") == {"slerp": "a/one", "linear": None}.get(method, "base/model")


@pytest.mark.parametrize(
    ("method", "scheme", "modifiers"),
    [
        ("fp8", "FP8_DYNAMIC", ["QuantizationModifier"]),
        ("int8", "W8A8", ["GPTQModifier"]),
        ("smoothquant", "W8A8", ["SmoothQuantModifier", "GPTQModifier"]),
        ("nvfp4", "NVFP4", ["QuantizationModifier"]),
        ("int4", "W4A16", ["GPTQModifier"]),
        ("awq", "W4A16", ["AWQModifier", "QuantizationModifier"]),
    ],
)
@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b"])
def test_compression_recipes_round_last_and_leave_routers_alone(method, scheme, modifiers, model):
    architecture = published_model(model).architecture
    found = yaml.safe_load(files.calibration_recipe(method, scheme, architecture))["quant_stage"]["quant_modifiers"]
    assert list(found) == modifiers
    last = found[modifiers[-1]]
    assert last["targets"] == ["Linear"] and last["scheme"] in SCHEMES
    assert ("re:.*mlp.gate$" in last["ignore"]) == (model == "qwen3-30b-a3b") and "lm_head" in last["ignore"]


@pytest.mark.parametrize("calibrated", [False, True])
def test_the_compressing_program_compiles_and_uses_its_arguments(calibrated):
    text = files.compress_program(calibrated)
    compile(text, "compress.py", "exec")
    assert ("load_dataset" in text) == calibrated and ("calibration" in text) == calibrated


def test_evaluation_flags_are_those_of_lm_eval():
    line = files.evaluation_command(("mmlu", "gsm8k"), limit=10).replace("\\\n", " ")
    assert {word for word in shlex.split(line) if word.startswith("--")} <= LM_EVAL


def _sharded_pretraining():
    """torchtitan's file of the option that shards everything, which need not be the one decided, completed as an answer does."""
    brief = accepting(of_recipe("pretrain it", "pretrain", "pretrain-8b")).page.brief
    assert brief.model is not None
    model = brief.model.model_copy(update={"batch_tokens": 2.0**21})
    _, plan = fleet.decide(brief.model_copy(update={"model": model}))
    option = next(option for option in plan.options if "zero3" in option.layout)
    exported, _ = fleet.exports(option)
    text = next(file.text for _, file in exported if file.name == "aether_torchtitan.py")
    return files.complete_torchtitan(text, 3e-4, 476_837, 4_768)


def _every_answer():
    hardware = Hardware(name="H100-SXM-80GB", count=64)
    llama = {"model": {"name": "llama-3.1-8b"}}
    yield of_recipe("serve it", "serve", "serve-70b", hardware=hardware)
    yield of_recipe("pretrain it", "pretrain", "pretrain-8b")
    yield request("align it", "align", llama)
    yield request("compress it", "compress", llama | {"hardware": {"name": "A100-SXM-80GB"}})
    yield request("merge it", "merge", {"model": {"name": ["llama-3.1-8b", "llama-3-8b"]}})
    yield request("evaluate it", "evaluate", llama | {"modality": "code"})
    raw = {
        "data": {"sources": "x.jsonl"},
        "targets": ["build_time <= 3 d"],
        "hardware": {"name": "H100-SXM-80GB", "count": 1},
    }
    yield request("tune it", "finetune", raw | {"model": {"name": "qwen3-8b", "tokens": 1e8, "method": "lora"}})


def test_all_code_of_all_answers_compiles_or_parses():
    seen = set()
    for asked in _every_answer():
        found = accepting(asked)
        assert found.status == "answered"
        for text in code_of(found, "python"):
            compile(text, "answer.py", "exec")
            seen.add("python")
        for text in code_of(found, "yaml"):
            assert isinstance(yaml.safe_load(text), dict)
            seen.add("yaml")
        for text in code_of(found, "toml"):
            assert to_brief(tomllib.loads(text), "answer") == found.page.brief
            seen.add("toml")
        for text in code_of(found, "bash"):
            assert shlex.split(text.replace("\\\n", " "), comments=True)
            seen.add("bash")
    assert seen == {"python", "yaml", "toml", "bash"}


def test_no_file_of_an_answer_breaks_a_rule_of_review():
    reviewed = 0
    for asked in _every_answer():
        for name, text in named_files(accepting(asked)):
            assert review_text(text, name) == (), name
            reviewed += 1
    assert reviewed >= 9
    assert review_text(_sharded_pretraining(), "aether_torchtitan.py") == ()
    for method in ("dpo", "kto", "simpo", "grpo"):
        for lora in (False, True):
            assert (
                review_text(files.alignment_config(method, 8e9, 0, lora, ("pairs.jsonl",)), f"trl_{method}.yaml") == ()
            )


def test_exported_training_files_have_the_recipes_hyperparameters():
    program = _sharded_pretraining()
    assert "default_adamw(lr=0.0003)" in program and "steps=476837" in program and "LRSchedulersContainer" in program
    raw = {
        "data": {"sources": "x.jsonl"},
        "targets": ["build_time <= 3 d"],
        "hardware": {"name": "H100-SXM-80GB", "count": 1},
    }
    tuned = accepting(
        request("tune it", "finetune", raw | {"model": {"name": "qwen3-8b", "tokens": 1e8, "method": "lora"}})
    )
    config = yaml.safe_load(dict(named_files(tuned))["trl_sft.yaml"])
    assert config["datasets"] == [{"path": "json", "data_files": "x.jsonl", "split": "train"}]
    assert set(config) <= SHARED | OWN["sft"] and config["learning_rate"] == 2e-4 and config["max_steps"] > 1


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("hf:allenai/tulu-3-sft-mixture", {"path": "allenai/tulu-3-sft-mixture", "split": "train"}),
        ("data/x.parquet", {"path": "parquet", "data_files": "data/x.parquet", "split": "train"}),
        ("data/folder", {"path": "data/folder", "split": "train"}),
    ],
)
def test_sources_are_named_as_trl_reads_them(source, found):
    assert files.dataset_of(source) == found


def test_an_answer_is_a_folder(tmp_path):
    found = answer(request("compress it", "compress", {"model": {"name": "llama-3.1-8b"}, "hardware": {"name": "L4"}}))
    names = write_answer(found, tmp_path)
    assert {"answer.md", "answer.html", "brief.toml", "recipe.yaml", "compress.py", "vllm.sh"} <= set(names)
    assert all((tmp_path / name).stat().st_size for name in names)
    assert load_brief(tmp_path / "brief.toml").model == found.page.brief.model


@pytest.mark.parametrize("name", ["serve-70b", "pretrain-8b", "serve-any", "impossible"])
def test_a_brief_survives_being_written(name):
    brief = load_brief(FLEET / f"{name}.toml")
    assert to_brief(tomllib.loads(brief_toml(brief)), "test") == brief
    assert to_brief(raw_brief(brief), "test") == brief


@given(
    st.floats(1e-3, 1e4), st.floats(1e-4, 1e3), st.integers(1, 10**6),
    st.text(min_size=1, max_size=30).filter(lambda text: text < "\ud800" or text.isprintable()),
)  # fmt: skip
def test_any_brief_survives_being_written(rate, bound, tokens, use):
    brief = Brief(
        intended_use=use,
        model=ModelChoice(name="m", tokens=float(tokens)),
        load=Load(requests_per_s=rate, prompt_tokens=tokens),
        targets=(Target.model_validate({"metric": "ttft_p99", "comparison": "<=", "value": bound}),),
    )
    assert to_brief(tomllib.loads(brief_toml(brief)), "test") == brief


def test_practice_rows_are_sourced_and_cover_every_size():
    assert all(has_address(row.source) for row in choices() if row.kind == "cited")
    for size in (1e6, 8e9, 7e10, 4e11, 1e13):
        for task in ("pretrain", "full", "lora", "dpo"):
            assert choice(task, "learning_rate", size).value
    assert choice("pretrain", "learning_rate", 8e9).value == 3e-4
    assert choice("full", "learning_rate", 7e10).value == 2e-6
