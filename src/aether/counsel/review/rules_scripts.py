"""Checks of what training scripts do with data, tokenizers, packages and secrets. Their rows are in `knowledge/review/`."""

import ast
import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document
from aether.counsel.review.python_facts import (
    called,
    calls,
    functions,
    has_keywords,
    hit_at,
    imported,
    keyword,
    says,
    text_around,
    trains,
    tree_of,
    uses_trainer,
)
from aether.counsel.review.registry import Hit, on_document
from aether.spec.review import Edit


@on_document("AE119")
def _no_shuffle(document: Document) -> Iterator[Hit]:
    for node in ast.walk(tree_of(document)):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and called(node.value).endswith("DataLoader")
            and re.search(r"train", ast.unparse(node.targets[0]))
        ):
            call, shuffle = node.value, keyword(node.value, "shuffle")
            other = any(keyword(call, name) is not None for name in ("sampler", "batch_sampler")) or has_keywords(call)
            off = isinstance(shuffle, ast.Constant) and shuffle.value is False
            if not other and (shuffle is None or off) and not re.search(r"[Ii]terable|streaming", document.text):
                yield hit_at(call, "the training data is not shuffled")
    yield from _helpers_without_shuffle(document)


def _helpers_without_shuffle(document: Document) -> Iterator[Hit]:
    """Functions that return a loader: Lightning's own name for it, or one that is called for the training split."""
    if says(document, r"[Ii]terable|streaming"):
        return
    for function in functions(tree_of(document)):
        asked = rf"\b{function.name}\([^\n]*['\"]train"
        if function.name != "train_dataloader" and not says(document, asked):
            continue
        for node in (n.value for n in ast.walk(function) if isinstance(n, ast.Return)):
            if not isinstance(node, ast.Call) or not called(node).endswith("DataLoader") or has_keywords(node):
                continue
            ordered = any(keyword(node, name) is not None for name in ("shuffle", "sampler", "batch_sampler"))
            if not ordered and len(node.args) < 3:
                yield hit_at(node, f"{function.name} returns training data that is not shuffled")


@on_document("AE120")
def _set_epoch(document: Document) -> Iterator[Hit]:
    if says(document, r"set_epoch"):
        return
    for node in calls(tree_of(document), "DistributedSampler"):
        shuffle = keyword(node, "shuffle")
        if trains(document) and not (isinstance(shuffle, ast.Constant) and shuffle.value is False):
            yield hit_at(node, "DistributedSampler without set_epoch: every epoch has the same order")


@on_document("AE121")
def _padding_side(document: Document) -> Iterator[Hit]:
    if not says(document, r"\.generate\("):
        return
    for node in ast.walk(tree_of(document)):
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]).endswith(".padding_side")
            and isinstance(node.value, ast.Constant)
            and node.value.value == "right"
            and not trains(document)
            and not uses_trainer(document)
        ):
            new = Edit(
                line=node.value.lineno,
                column=node.value.col_offset + 1,
                end_line=node.value.lineno,
                end_column=(node.value.end_col_offset or 0) + 1,
                text='"left"',
            )
            yield hit_at(node, "generation continues after padding on the right", new)


@on_document("AE122")
def _pad_is_eos(document: Document) -> Iterator[Hit]:
    if not says(document, r"DataCollatorForLanguageModeling\(") or not uses_trainer(document):
        return
    for node in ast.walk(tree_of(document)):
        if (
            isinstance(node, ast.Assign)
            and re.search(r"^(?!model\b)(?!.*\bconfig\.).*\w\.pad_token(_id)?$", ast.unparse(node.targets[0]))
            and re.search(r"\w\.eos_token(_id)?$", ast.unparse(node.value))
        ):
            yield hit_at(
                node, "padding is the end token, and the collator masks padding: the end of a text is never learned"
            )


@on_document("AE123")
def _generation_prompt(document: Document) -> Iterator[Hit]:
    if not says(document, r"\.generate\(") or trains(document) or uses_trainer(document):
        return
    for node in calls(tree_of(document), "apply_chat_template"):
        if (
            re.search(r"\.generate\(", text_around(document, node.lineno))  # not a text to calibrate on, made elsewhere
            and keyword(node, "add_generation_prompt") is None
            and keyword(node, "continue_final_message") is None
            and not has_keywords(node)
        ):
            yield hit_at(node, "apply_chat_template for generation without add_generation_prompt=True")


@on_document("AE124")
def _twice_bos(document: Document) -> Iterator[Hit]:
    if says(document, r"\bQwen/"):
        return  # transformers' tokenizer of Qwen has no token for the beginning: nothing is added
    names: set[str] = set()
    for node in ast.walk(tree_of(document)):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and called(node.value).endswith("apply_chat_template")
        ):
            tokenised = keyword(node.value, "tokenize")
            if isinstance(tokenised, ast.Constant) and tokenised.value is False:
                names |= {ast.unparse(t) for t in node.targets}
    for node in calls(tree_of(document), "tokenizer"):
        first = ast.unparse(node.args[0]).strip("[]") if node.args else ""
        if first in names and keyword(node, "add_special_tokens") is None and not has_keywords(node):
            yield hit_at(node, "a text from the chat template is tokenised with special tokens again")


@on_document("AE125")
def _pickle(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "pickle.load", "pickle.loads", "joblib.load", "dill.load", "cloudpickle.load"):
        yield hit_at(node, f"{called(node)} runs code from the file that it reads")


@on_document("AE126")
def _data_parallel(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "nn.DataParallel", "DataParallel"):
        if called(node).split(".")[-1] == "DataParallel":
            yield hit_at(node, "nn.DataParallel: one process for all devices")


_UNMAINTAINED = {
    "apex": "torch.amp and torch.optim's fused optimisers",
    "auto_gptq": "GPTQModel or llm-compressor",
    "awq": "llm-compressor",
    "torchtext": "datasets and tokenizers",
    "fairscale": "torch.distributed.fsdp",
    "pytorch_pretrained_bert": "transformers",
    "pytorch_transformers": "transformers",
    "optimum_quanto": "torchao",
}


@on_document("AE127")
def _unmaintained(document: Document) -> Iterator[Hit]:
    if document.tree is None:
        return
    for name, line in imported(document.tree).items():
        if name in _UNMAINTAINED:
            yield Hit(line, f"{name} is no longer maintained; use {_UNMAINTAINED[name]}")


@on_document("AE128")
def _removed_adamw(document: Document) -> Iterator[Hit]:
    for node in ast.walk(tree_of(document)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "transformers"
            and any(a.name == "AdamW" for a in node.names)
        ):
            yield hit_at(node, "transformers has no AdamW any more; import it from torch.optim")


@on_document("AE129")
def _cuda_amp(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "torch.cuda.amp.autocast", "torch.cuda.amp.GradScaler"):
        yield hit_at(node, f"{called(node)} is deprecated; use torch.amp.{called(node).split('.')[-1]}('cuda', ...)")
    for node in ast.walk(tree_of(document)):
        if isinstance(node, ast.ImportFrom) and node.module == "torch.cuda.amp":
            for name in [a.name for a in node.names if a.name in ("autocast", "GradScaler")]:
                yield hit_at(node, f"{name} of torch.cuda.amp is deprecated; use torch.amp.{name}('cuda', ...)")


@on_document("AE130")
def _eval_on_train(document: Document) -> Iterator[Hit]:
    for node in ast.walk(tree_of(document)):
        if isinstance(node, ast.Call) and called(node).endswith("Trainer"):
            train, held = keyword(node, "train_dataset"), keyword(node, "eval_dataset")
            if train is not None and held is not None and ast.unparse(train) == ast.unparse(held):
                yield hit_at(held, f"eval_dataset is the training data ({ast.unparse(train)})")


_SECRET_IN_LINE = re.compile(r"(?<![\w/-])(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{40,}|ghp_[A-Za-z0-9]{36})(?![\w/-])")
_SECRET = re.compile(r"^(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{30,}|ghp_[A-Za-z0-9]{36})$")


@on_document("AE131")
def _secret(document: Document) -> Iterator[Hit]:
    for node in ast.walk(tree_of(document)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SECRET.match(node.value):
            yield hit_at(node, f"a secret in the source ({node.value[:3]}...)")
    if document.tree is None and not document.manifests:  # manifests have a rule of their own
        for number, line in enumerate(document.lines, 1):
            if match := _SECRET_IN_LINE.search(line):
                yield Hit(number, f"a secret in the source ({match[0][:3]}...)", match.start() + 1)


@on_document("AE132")
def _load_in_argument(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "from_pretrained"):
        for name in ("load_in_8bit", "load_in_4bit"):
            if (value := keyword(node, name)) is not None:
                yield hit_at(
                    value,
                    f"{name} of from_pretrained is gone; pass quantization_config=BitsAndBytesConfig({name}=True)",
                )


@on_document("AE133")
def _unshifted(document: Document) -> Iterator[Hit]:
    if says(
        document, r"1:|shift|roll\(|AutoModelFor(?:Masked|Sequence|Token)|labels\s*=\s*labels|targets?\b|[\"']y[\"']"
    ):
        return
    for node in calls(tree_of(document), "cross_entropy"):
        if len(node.args) >= 2 and re.search(r"input_ids", ast.unparse(node.args[1])):
            yield hit_at(node, "the logits are held against the input ids of the same places: nothing is shifted")


@on_document("AE134")
def _merge_into_4bit(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "merge_and_unload"):
        around = text_around(document, node.lineno)
        if re.search(r"load_in_4bit\s*=\s*True", around) and "dequantize(" not in around:
            yield hit_at(node, "an adapter is merged into weights of 4 bits")


@on_document("AE135")
def _unseeded_split(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "train_test_split", "random_split"):
        name = called(node).split(".")[-1]
        seed = keyword(node, "seed") or keyword(node, "random_state") or keyword(node, "generator")
        if seed is None and not has_keywords(node) and not says(document, r"manual_seed|set_seed|seed_everything"):
            yield hit_at(node, f"{name} without a seed: every run holds out other rows")


@on_document("AE136")
def _use_auth_token(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "from_pretrained"):
        for k in node.keywords:
            if k.arg == "use_auth_token":
                end = Edit(
                    line=k.lineno,
                    column=k.col_offset + 1,
                    end_line=k.lineno,
                    end_column=k.col_offset + 1 + len("use_auth_token"),
                    text="token",
                )
                yield hit_at(k.value, "use_auth_token is gone; it is called token", end)
