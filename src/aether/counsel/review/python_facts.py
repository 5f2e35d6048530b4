"""What a script does, as the rules for Python ask it: names of calls, imports, words of the text, loops that train."""

import ast
import functools
import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document
from aether.counsel.review.registry import Hit
from aether.spec.review import Edit


def tree_of(document: Document) -> ast.Module:
    """The syntax tree; an empty one for what is not Python."""
    return document.tree if document.tree is not None else ast.Module([], [])


def text_around(document: Document, line: int) -> str:
    """The innermost function that holds a line, as text; the whole document where none does."""
    functions = [
        node
        for node in ast.walk(tree_of(document))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    if not functions:
        return document.text
    inner = max(functions, key=lambda node: node.lineno)
    return "\n".join(document.text.splitlines()[inner.lineno - 1 : inner.end_lineno])


def hit_at(node: ast.expr | ast.stmt, message: str, edit: Edit | None = None) -> Hit:
    """A hit at a node."""
    return Hit(node.lineno, message, node.col_offset + 1, edit)


def called(node: ast.Call) -> str:
    """The dotted name of what is called; the last part alone where it stands on an expression."""
    func = node.func
    parts: list[str] = []
    while isinstance(func, ast.Attribute):
        parts.append(func.attr)
        func = func.value
    if isinstance(func, ast.Name):
        parts.append(func.id)
    return ".".join(reversed(parts))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls whose dotted name is one of these, or ends in one of them after a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = called(node)
            if any(name == wanted or name.endswith(f".{wanted}") for wanted in names):
                yield node


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((k.value for k in node.keywords if k.arg == name), None)


def has_keywords(node: ast.Call) -> bool:
    """Whether it passes on keywords that are not written here."""
    return any(k.arg is None for k in node.keywords)


def is_true(node: ast.expr | None) -> bool:
    """A literal True."""
    return isinstance(node, ast.Constant) and node.value is True


def says(document: Document, pattern: str) -> bool:
    """Whether a pattern stands in the text outside comments."""
    return re.search(pattern, code_of(document.text)) is not None


@functools.lru_cache(maxsize=8)
def code_of(text: str) -> str:
    """The text without comments that take a whole line or follow two spaces."""
    return re.sub(r"(?m)(?:^\s*|\s{2,})#.*$", "", text)


def imported(tree: ast.Module) -> dict[str, int]:
    """Top-level packages that are imported -> line."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.setdefault(alias.name.split(".")[0], node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.setdefault(node.module.split(".")[0], node.lineno)
    return found


def training_loops(tree: ast.Module) -> Iterator[ast.For | ast.While]:
    """Innermost loops in which a loss goes backward."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.While) and _goes_backward(node):
            inner = [n for n in ast.walk(node) if n is not node and isinstance(n, ast.For | ast.While)]
            if not any(_goes_backward(n) for n in inner):
                yield node


def _goes_backward(node: ast.AST) -> bool:
    return any((called(c).endswith(".backward") and not called(c).startswith(("torch.autograd", "self.accelerator"))) or called(c).endswith("accelerator.backward") for c in ast.walk(node) if isinstance(c, ast.Call))  # fmt: skip


def trains(document: Document) -> bool:
    """Whether the script trains by its own loop."""
    return document.tree is not None and next(training_loops(document.tree), None) is not None


def uses_trainer(document: Document) -> bool:
    """Whether it trains by a library's trainer."""
    return says(document, r"\b\w*Trainer\(") and says(document, r"\.train\(")


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Every function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
