"""Checks of serving commands (vLLM, SGLang, TensorRT-LLM, LMDeploy, TGI), in scripts, Dockerfiles, containers and Python."""

import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document, Settings
from aether.counsel.review.known_models import Shape, known_model
from aether.counsel.review.registry import Hit, at, on_settings
from aether.knowledge.library import device, devices
from aether.spec.errors import InputError

ENGINES = ("vllm", "sglang", "trtllm", "lmdeploy", "tgi")
_TP = ("tensor_parallel_size", "tp_size", "tp", "num_shard")
_PP = ("pipeline_parallel_size", "pp_size", "pp")
_LENGTH = ("max_model_len", "context_length", "max_seq_len", "session_len", "max_total_tokens")
_MEMORY = (
    "gpu_memory_utilization",
    "mem_fraction_static",
    "kv_cache_free_gpu_memory_fraction",
    "cache_max_entry_count",
)


def _model(settings: Settings) -> Shape | None:
    name = settings.get("model", "[0]")
    return known_model(name) if isinstance(name, str) else None


def _degree(settings: Settings, *names: str) -> int:
    return int(settings.number(*names) or 1)


@on_settings("AE401", *ENGINES)
def _heads(settings: Settings, document: Document) -> Iterator[Hit]:
    model, degree = _model(settings), _degree(settings, *_TP)
    if model is not None and model.heads and degree > 1 and model.heads % degree:
        yield at(settings.at(*_TP), f"tensor parallel {degree} does not divide the {model.heads} heads of {model.name}")


_BYTES = {
    "fp8": 1.0,
    "int8": 1.0,
    "w8a8": 1.0,
    "awq": 0.56,
    "gptq": 0.56,
    "int4": 0.56,
    "mxfp4": 0.53,
    "nvfp4": 0.56,
    "bitsandbytes": 0.56,
}


def _device_bytes(document: Document) -> tuple[str, float] | None:
    """The one device that the file names, with its memory; None where it names none or several."""
    text = document.text.upper()
    found = set()
    for name in devices():
        short = re.match(r"(?:RTX-)?[A-Z]*\d+[A-Z]?\b", name)
        if short and re.search(
            rf"(?<![\w]){re.escape(name.upper())}(?![\w])|(?<![\w]){re.escape(short[0])}(?:[-_ ]?(?:SXM\d?|PCIE))?[-_ ]?\d{{2,3}}GB(?![\w])",
            text,
        ):
            found.add(name)
    if len(found) != 1:
        return None
    try:
        known = device(found.pop())
    except InputError:
        return None
    return (known.name, known.memory_bytes) if known.memory_bytes else None


@on_settings("AE402", *ENGINES)
def _does_not_fit(settings: Settings, document: Document) -> Iterator[Hit]:
    model, place = _model(settings), _device_bytes(document)
    if model is None or place is None:
        return
    name, memory = place
    count = _degree(settings, *_TP) * _degree(settings, *_PP)
    stored = str(settings.get("quantization", "quantize", "dtype") or settings.get("model") or "").lower()
    each = next((size for form, size in _BYTES.items() if form in stored), 2.0)
    share = settings.number("gpu_memory_utilization", "mem_fraction_static") or 0.9
    length = settings.number(*_LENGTH) or model.max_positions or 4096
    weights, room = model.parameters * each, memory * count * share
    cache = model.cache_bytes_per_token * length
    if weights > room:
        yield at(
            settings.at("model"),
            f"{model.name} has {weights / 1e9:.0f} GB of weights; {count} x {name} leave {room / 1e9:.0f} GB",
        )
    elif weights + cache > room:
        yield at(
            settings.at(*_LENGTH, "model"),
            f"one sequence of {length:,.0f} tokens has {cache / 1e9:.1f} GB of keys and values; {(room - weights) / 1e9:.1f} GB are left beside the weights",
        )


@on_settings("AE403", *ENGINES)
def _too_long(settings: Settings, document: Document) -> Iterator[Hit]:
    model, length = _model(settings), settings.number(*_LENGTH)
    scaled = settings.has("rope_scaling", "hf_overrides", "json_model_override_args", "rope_scaling_factor")
    if model is not None and length and model.max_positions and length > model.max_positions and not scaled:
        yield at(settings.at(*_LENGTH), f"{length:,.0f} tokens, but {model.name} has {model.max_positions:,} positions")


@on_settings("AE404", *ENGINES)
def _memory_share(settings: Settings, document: Document) -> Iterator[Hit]:
    share = settings.number(*_MEMORY)
    if share is not None and share > 0.95:
        yield at(settings.at(*_MEMORY), f"{share:g} of the device's memory for the engine")


@on_settings("AE405", "vllm", "sglang", "lmdeploy")
def _open_door(settings: Settings, document: Document) -> Iterator[Hit]:
    host = settings.get("host", "server_name")
    if (
        host == "0.0.0.0"
        and not settings.has("api_key", "api_keys")
        and "API_KEY" not in document.text
        and not document.manifests
        and not document.services
        and "dockerfile" not in document.path.lower()
    ):
        yield at(settings.at("host", "server_name"), "the server listens on every address, without an API key")


@on_settings("AE406", *ENGINES)
def _remote(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.on("trust_remote_code"):
        yield at(settings.at("trust_remote_code"), "trust-remote-code runs code from the model's repository")


@on_settings("AE407", "vllm", "sglang")
def _no_graphs(settings: Settings, document: Document) -> Iterator[Hit]:
    key = "enforce_eager" if settings.kind == "vllm" else "disable_cuda_graph"
    if settings.on(key):
        yield at(settings.at(key), f"{key.replace('_', '-')}: no CUDA graphs, every step pays its launches")


_MAKERS = re.compile(r"(?:meta-llama|qwen|mistralai|google|microsoft|deepseek-ai|openai|tiiuae|01-ai|allenai)/[^/]+$")
"""Repositories of who trained the model: their names say it where the weights are packed (assumed)."""


@on_settings("AE408", "vllm", "sglang", "tgi")
def _format_of_the_name(settings: Settings, document: Document) -> Iterator[Hit]:
    name = str(settings.get("model") or "").lower()
    form = str(settings.get("quantization", "quantize") or "").lower()
    for known in ("awq", "gptq"):
        other = "gptq" if known == "awq" else "awq"
        if re.search(rf"[-_/]{known}\b", name) and other in form:
            yield at(
                settings.at("quantization", "quantize"), f"quantization {form} for weights that are called {known}"
            )
    packed = re.match(r"(?:awq|gptq)\w*$", form)
    if packed and _MAKERS.match(name) and not re.search(r"awq|gptq|int\d|w\d|\dbit|fp\d|gguf|bnb|quant|qat", name):
        yield at(settings.at("quantization", "quantize"), f"quantization {form} for weights that nobody packed: {name}")


@on_settings("AE409", "vllm", "sglang")
def _one_at_a_time(settings: Settings, document: Document) -> Iterator[Hit]:
    for name in ("max_num_seqs", "max_running_requests"):
        if settings.number(name) == 1:
            yield at(settings.at(name), f"{name} = 1: requests are served one after the other")


@on_settings("AE410", "vllm")
def _tool_choice(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.has("tool_call_parser") and not settings.has("enable_auto_tool_choice"):
        yield at(settings.at("tool_call_parser"), "tool-call-parser without enable-auto-tool-choice")
    if settings.has("enable_auto_tool_choice") and not settings.has("tool_call_parser"):
        yield at(settings.at("enable_auto_tool_choice"), "enable-auto-tool-choice without tool-call-parser")


@on_settings("AE411", *ENGINES)
def _more_stages_than_layers(settings: Settings, document: Document) -> Iterator[Hit]:
    model, stages = _model(settings), _degree(settings, *_PP)
    if model is not None and stages > model.layers:
        yield at(settings.at(*_PP), f"{stages} pipeline stages for {model.layers} layers of {model.name}")


@on_settings("AE412", "vllm")
def _e5m2(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.get("kv_cache_dtype") == "fp8_e5m2":
        yield at(settings.at("kv_cache_dtype"), "keys and values in fp8_e5m2: two bits of mantissa")


@on_settings("AE413", "tgi")
def _tgi_lengths(settings: Settings, document: Document) -> Iterator[Hit]:
    whole, prompt = settings.number("max_total_tokens"), settings.number("max_input_tokens", "max_input_length")
    if whole and prompt and whole <= prompt:
        yield at(
            settings.at("max_total_tokens"),
            f"max-total-tokens {whole:g} leaves nothing to generate after {prompt:g} of input",
        )


@on_settings("AE414", "tgi")
def _tgi_itself(settings: Settings, document: Document) -> Iterator[Hit]:
    yield Hit(settings.line, "Text Generation Inference is in maintenance mode")


@on_settings("AE415", "sglang", "lmdeploy")
def _memory_of_others(settings: Settings, document: Document) -> Iterator[Hit]:
    share = settings.number("mem_fraction_static", "cache_max_entry_count")
    if share is not None and 0.92 < share <= 0.95:
        yield at(
            settings.at("mem_fraction_static", "cache_max_entry_count"),
            f"{share:g} leaves little for activations and graphs",
        )


@on_settings("AE416", "vllm", "sglang")
def _long_drafts(settings: Settings, document: Document) -> Iterator[Hit]:
    drafts = settings.number("num_speculative_tokens", "speculative_num_draft_tokens")
    if drafts is not None and drafts > 16 and not settings.has("speculative_num_steps"):
        yield at(
            settings.at("num_speculative_tokens", "speculative_num_draft_tokens"), f"{drafts:g} draft tokens a step"
        )


@on_settings("AE417", "vllm", "sglang")
def _experts_of_a_dense_model(settings: Settings, document: Document) -> Iterator[Hit]:
    model = _model(settings)
    switches = ("enable_expert_parallel", "enable_ep_moe")
    sizes = ("ep_size", "ep", "expert_parallel_size")
    names = (*switches, *sizes)
    asked = any(settings.on(name) for name in switches) or (settings.number(*sizes) or 1) > 1
    if model is not None and not model.experts and asked:
        yield at(settings.at(*names), f"expert parallelism, but {model.name} has no experts")


@on_settings("AE418", "vllm")
def _pickled(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.get("load_format") in ("pt", "npcache"):
        yield at(settings.at("load_format"), f"load-format {settings.get('load_format')} reads pickled weights")


@on_settings("AE419", *ENGINES)
def _foreign_template(settings: Settings, document: Document) -> Iterator[Hit]:
    given, name = settings.get("chat_template"), str(settings.get("model") or "").lower()
    if not isinstance(given, str) or "{" in given:
        return
    words = re.findall(
        r"llama[-_]?\d|qwen|gemma|mistral|phi|deepseek|vicuna|alpaca|zephyr", given.lower().rsplit("/", 1)[-1]
    )
    plain = re.sub(r"[-_]", "", name)
    if (
        words
        and name
        and not any(re.sub(r"[-_]", "", w) in plain for w in words)
        and re.search(r"llama|qwen|gemma|mistral|phi|deepseek", name)
    ):
        yield at(settings.at("chat_template"), f"chat template {given} for {settings.get('model')}")


@on_settings("AE420", *ENGINES)
def _idle_ranks(settings: Settings, document: Document) -> Iterator[Hit]:
    degree = _degree(settings, *_TP)
    visible = re.search(r"CUDA_VISIBLE_DEVICES\s*[=:]\s*[\"']?([\d,]+)", document.text)
    if visible and settings.line and degree > len(visible[1].strip(",").split(",")):
        yield at(
            settings.at(*_TP), f"tensor parallel {degree} with {len(visible[1].strip(',').split(','))} visible devices"
        )


@on_settings("AE421", "vllm")
def _half_of_bfloat(settings: Settings, document: Document) -> Iterator[Hit]:
    if settings.get("dtype") in ("float16", "half") and re.search(r"gemma", str(settings.get("model") or ""), re.I):
        yield at(settings.at("dtype"), "float16 for a Gemma model, whose activations leave its range")
