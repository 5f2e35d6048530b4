"""Finds the objects of a document that hold settings, and says what tool each is for: calls in Python, configuration files, commands."""

import ast
import re

from aether.counsel.review.documents import Document, Node, Setting, Settings
from aether.counsel.review.python_commands import python_commands
from aether.counsel.review.python_values import values_of
from aether.counsel.review.shell import Command, Word, commands

ARGUMENTS = ("TrainingArguments", "Seq2SeqTrainingArguments", "SFTConfig", "DPOConfig", "ORPOConfig", "KTOConfig", "CPOConfig", "GRPOConfig", "RewardConfig", "PPOConfig", "RLOOConfig", "OnlineDPOConfig")  # fmt: skip
_CALLS = dict.fromkeys(ARGUMENTS, "hf-arguments") | {
    "LoraConfig": "lora",
    "BitsAndBytesConfig": "bitsandbytes",
    "from_pretrained": "from-pretrained",
    "DataLoader": "dataloader",
    "AdamW": "optimizer",
    "Adam": "optimizer",
    "SGD": "optimizer",
    "LLM": "vllm",
    "get_scheduler": "schedule",
    "get_cosine_schedule_with_warmup": "schedule",
    "get_linear_schedule_with_warmup": "schedule",
}
_TRAINERS = re.compile(r"Trainer$")
UNKNOWN = ...
"""The value of what is not written as a literal."""
_DEEPSPEED = {"zero_optimization", "train_micro_batch_size_per_gpu", "train_batch_size", "gradient_clipping"}
_PROGRAMS = (
    ("vllm", re.compile(r"(?:^|/)vllm$|vllm\.entrypoints")),
    ("sglang", re.compile(r"sglang\.launch_server|(?:^|/)sglang$")),
    ("trtllm", re.compile(r"(?:^|/)trtllm-serve$")),
    ("lmdeploy", re.compile(r"(?:^|/)lmdeploy$")),
    ("tgi", re.compile(r"(?:^|/)text-generation-launcher$")),
    ("megatron", re.compile(r"pretrain_(?:gpt|bert|t5|llama|mamba)\w*\.py$")),
)
_IMAGES = (
    ("vllm", "vllm/vllm-openai"),
    ("sglang", "lmsysorg/sglang"),
    ("tgi", "text-generation-inference"),
    ("lmdeploy", "openmmlab/lmdeploy"),
)


def settings_of(document: Document) -> list[Settings]:
    """Every object with settings, with its kind."""
    found: list[Settings] = []
    if document.tree is not None:
        found += _calls(document.tree)
        known = values_of(document.tree)
        found += [s for c in python_commands(document.tree, known) if (s := of_command(c)) is not None]
    for settings in document.settings:
        settings.kind = _config_kind(settings, document.kind)
        if settings.kind == "hf-arguments" and document.kind == "yaml":
            settings.name = method_of(
                re.sub(r"(?m)^[^#\n]+", "", document.text) + " " + document.path.rpartition("/")[2]
            )
        found.append(settings)
    if document.kind == "shell":
        docker = "dockerfile" in document.path.lower()
        found += [s for c in commands(document.text, docker) if (s := of_command(c)) is not None]
    found += _containers(document)
    return found


def _calls(tree: ast.Module) -> list[Settings]:
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr
            if isinstance(node.func, ast.Attribute)
            else node.func.id
            if isinstance(node.func, ast.Name)
            else ""
        )
        kind = _CALLS.get(name) or ("trainer" if _TRAINERS.search(name) else None)
        if kind is not None:
            found.append(Settings(kind, _keywords(node), node.lineno, name))
    return found


def _keywords(node: ast.Call) -> dict[str, Setting]:
    values = {
        k.arg: Setting(literal(k.value), k.value.lineno, k.value.col_offset + 1, k.value)
        for k in node.keywords
        if k.arg
    }
    for place, argument in enumerate(node.args):
        values[f"[{place}]"] = Setting(literal(argument), argument.lineno, argument.col_offset + 1, argument)
    if any(k.arg is None for k in node.keywords):
        values["**"] = Setting(UNKNOWN, node.lineno)
    return values


def literal(node: ast.expr) -> object:
    """The value of a literal, the dotted name of a name such as torch.float16, else UNKNOWN."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        if isinstance(node, ast.Attribute | ast.Name):
            text = ast.unparse(node)
            return text if text.startswith(("torch.", "jnp.", "np.")) else UNKNOWN
        return UNKNOWN


def _config_kind(settings: Settings, form: str) -> str:
    keys = {name for name in settings.values if "." not in name}
    if form == "toml":
        return "torchtitan" if {"training", "optimizer"} <= keys or {"model", "training"} <= keys else "config"
    if form == "json":
        return (
            "deepspeed"
            if keys & _DEEPSPEED and "model_type" not in keys
            else "hf-arguments"
            if "learning_rate" in keys
            else "config"
        )
    if "merge_method" in keys or ("slices" in keys and "dtype" in keys):
        return "mergekit"
    if "distributed_type" in keys:
        return "accelerate"
    if "stage" in keys and keys & {"model_name_or_path", "finetuning_type", "template"}:
        return "llamafactory"
    if "base_model" in keys and keys & {"datasets", "micro_batch_size", "sequence_len", "adapter"}:
        return "axolotl"
    if keys & {"learning_rate", "per_device_train_batch_size"} and keys & {
        "model_name_or_path",
        "dataset_name",
        "output_dir",
        "per_device_train_batch_size",
    }:
        return "hf-arguments"
    return "config"


def of_command(command: Command) -> Settings | None:
    """The settings of a serving or training command, None for any other."""
    for kind, pattern in _PROGRAMS:
        place = next((i for i, word in enumerate(command.words[:14]) if pattern.search(word)), None)
        if place is not None:
            return of_words(kind, command.words[place + 1 :], command.line)
    if command.words[:1] and command.words[0].rpartition("/")[2] in ("docker", "podman", "nerdctl"):
        for place, word in enumerate(command.words):
            kind = next((kind for kind, part in _IMAGES if part in word and not word.startswith("-")), None)
            if kind is not None and "run" in command.words[:place]:
                return of_words(kind, command.words[place + 1 :], command.line)
    return _of_trainer(command)


_SCRIPT = re.compile(r"\.py$|(?:^|/)(?:trl|llamafactory-cli)$|^trl\.")
_TRAINER_FLAGS = frozenset(
    {"per_device_train_batch_size", "num_train_epochs", "gradient_accumulation_steps", "max_grad_norm", "warmup_steps"}
)
_OF_METHOD = {"sft": "SFTConfig", "dpo": "DPOConfig", "kto": "KTOConfig", "orpo": "ORPOConfig", "cpo": "CPOConfig", "grpo": "GRPOConfig", "reward": "RewardConfig", "rloo": "RLOOConfig"}  # fmt: skip


def _of_trainer(command: Command) -> Settings | None:
    """The arguments of a training by transformers or TRL that a command starts, by flags that only they have."""
    place = next((i for i, word in enumerate(command.words) if _SCRIPT.search(word)), None)
    if place is None or not any(
        word.lstrip("-").split("=")[0] in _TRAINER_FLAGS for word in command.words[place + 1 :]
    ):
        return None
    if command.words[place].endswith("llamafactory-cli"):
        return of_words("llamafactory", command.words[place + 1 :], command.line)
    found = of_words("hf-arguments", command.words[place + 1 :], command.line)
    if found is not None:
        found.name = method_of(" ".join(command.words[place : place + 2]))
    return found


def method_of(text: str) -> str:
    """The class of arguments of the method that a name or a comment speaks of; empty where it names none."""
    words = re.findall(r"[a-z]+", text.lower())
    return next((config for word, config in _OF_METHOD.items() if word in words), "")


def of_words(kind: str, words: tuple[str, ...], line: int) -> Settings | None:
    """Flags as settings: dashes become underscores; a flag without a value is True; what is no flag is `model`."""
    if (
        kind in ("vllm", "lmdeploy", "sglang")
        and words[:1]
        and words[0] in ("serve", "bench", "chat", "complete", "lite", "convert")
    ):
        if words[0] != "serve":
            return None
        words = words[1:]
    values: dict[str, Setting] = {}
    place = 0
    while place < len(words):
        word = words[place]
        at = word.line if isinstance(word, Word) else line
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            following = words[place + 1] if place + 1 < len(words) else None
            if equals:
                values[name] = Setting(_typed(value), at)
            elif following is not None and not re.match(r"-{1,2}[A-Za-z]", following):
                values[name] = Setting(_typed(following), at)
                place += 1
            else:
                values[name] = Setting(True, at)
        elif re.fullmatch(r"-[a-z]{1,3}", word) and place + 1 < len(words):
            values[_SHORT.get(word, word)] = Setting(_typed(words[place + 1]), at)
            place += 1
        elif "model" not in values and word != "api_server" and not word.startswith("-"):
            values["model"] = Setting(str(word), at)
        place += 1
    for other in ("model_path", "model_id", "model_tag"):
        if other in values:
            values.setdefault("model", values[other])
    return Settings(kind, values, line, kind)


_SHORT = {
    "-tp": "tensor_parallel_size",
    "-pp": "pipeline_parallel_size",
    "-dp": "data_parallel_size",
    "-q": "quantization",
}


def _typed(word: str) -> object:
    for parse in (int, float):
        try:
            return parse(word)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(word.lower(), str(word))


def _containers(document: Document) -> list[Settings]:
    """The commands of containers: of Kubernetes objects, and of compose files."""
    kubernetes = [of_container(c) for manifest in document.manifests for c in containers_of(manifest)]
    composed = [of_container(service, ("entrypoint", "command")) for service in document.services]
    return [settings for settings in (*kubernetes, *composed) if settings is not None]


def containers_of(manifest: Node) -> list[Node]:
    """The containers of a Kubernetes object, of any kind that holds pods: every list of that name whose entries have an image."""
    found: list[Node] = []
    for key, value in manifest.entries():
        if key == "containers":
            found += [item for item in value.items() if item.get("image") is not None]
        else:
            for part in (value, *value.items()):
                found += containers_of(part)
    return found


def of_container(container: Node, keys: tuple[str, str] = ("command", "args")) -> Settings | None:
    """The settings of the serving command that a container runs, by its command, arguments or image."""
    words: list[str] = []
    line = container.line
    for key in keys:
        node = container.get(key)
        if node is not None:
            value = node.value
            words += [str(word) for word in value] if isinstance(value, list) else _line_of_words(str(value), keys)
            line = node.line
    if len(words) >= 2 and re.fullmatch(r"(?:/bin/)?(?:ba)?sh", words[0]) and words[1].startswith("-"):
        parts = commands(" ".join(words[2:]))
        return next((s for c in parts if (s := of_command(Command(c.words, line))) is not None), None)
    if (known := of_command(Command(tuple(words), line))) is not None:
        return known
    image = container.get("image")
    named = str(image.value) if image is not None else ""
    kind = next((kind for kind, part in _IMAGES if part in named), None)
    return of_words(kind, tuple(words), line) if kind and words else None


def _line_of_words(text: str, keys: tuple[str, str]) -> list[str]:
    """A command that is written in one string: compose splits it, Kubernetes takes it as one word."""
    return [word for one in commands(text) for word in one.words] if "entrypoint" in keys else [text]


def engine_of(image: str) -> str | None:
    """The serving engine of an image's name."""
    return next((kind for kind, part in _IMAGES if part in image), None)
