"""Checks of what a training loop keeps: history, files of several processes, whole modules; and of what it learns from."""

import ast
import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document
from aether.counsel.review.python_facts import called, calls, hit_at, keyword, says, training_loops, tree_of
from aether.counsel.review.registry import Hit, on_document


@on_document("AE137")
def _every_process_saves(document: Document) -> Iterator[Hit]:
    """Only where no name of a rank guards anything: a rank that is asked elsewhere may guard this too."""
    guarded = r"\b(?:if|and|or|not)\b[^\n]*(?:rank|is_main|is_master|master_process|main_process|primary)|rank[^\n]*(?:==|!=|> ?0)"
    if not says(document, r"DistributedDataParallel\(|DDP\(") or says(document, guarded):
        return
    for node in calls(tree_of(document), "torch.save"):
        if "rank" not in ast.unparse(node):
            yield hit_at(node, "every process of the training writes this file")


@on_document("AE138")
def _whole_module(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "torch.save"):
        first = ast.unparse(node.args[0]) if node.args else ""
        if re.fullmatch(r"(?:self\.)?(?:model|net|network)(?:\.module)?", first) and not says(
            document, rf"\b{re.escape(first)}\s*=\s*[^\n]*state_dict\("
        ):
            yield hit_at(node, f"torch.save({first}) pickles the module itself; save its state_dict()")


@on_document("AE139")
def _history(document: Document) -> Iterator[Hit]:
    for loop in training_loops(tree_of(document)):
        losses = {
            ast.unparse(node.args[0] if node.args else node.func.value)
            for node in ast.walk(loop)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"
        }
        for node in ast.walk(loop):
            if (
                isinstance(node, ast.AugAssign)
                and isinstance(node.op, ast.Add)
                and ast.unparse(node.value) in losses
                and ast.unparse(node.target) not in losses
            ):
                yield hit_at(
                    node, f"{ast.unparse(node.target)} keeps every step's history: add {ast.unparse(node.value)}.item()"
                )


def _is_test(node: ast.Call) -> bool:
    """Whether a data set is loaded with the rows of a test split: "test", "test_sft", "test[:100]"."""
    split = keyword(node, "split")
    return isinstance(split, ast.Constant) and re.match(r"test(?:\b|_)", str(split.value)) is not None


@on_document("AE140")
def _trained_on_test(document: Document) -> Iterator[Hit]:
    tests = {
        ast.unparse(node.targets[0])
        for node in ast.walk(tree_of(document))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and called(node.value).endswith("load_dataset")
        and _is_test(node.value)
    }
    for node in ast.walk(tree_of(document)):
        if isinstance(node, ast.Call) and called(node).endswith("Trainer"):
            train = keyword(node, "train_dataset")
            inline = isinstance(train, ast.Call) and called(train).endswith("load_dataset") and _is_test(train)
            if train is not None and (inline or ast.unparse(train) in tests):
                yield hit_at(train, f"train_dataset is a test split ({ast.unparse(train)})")
