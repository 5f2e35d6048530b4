"""Commands that a Python script starts: lists of words and strings that go to subprocess, os.system or shlex, also where a list grows."""

import ast
from collections.abc import Iterator

from aether.counsel.review.python_values import Values
from aether.counsel.review.shell import Command, Word, commands

_STRINGS = frozenset({"run", "Popen", "call", "check_call", "check_output", "system", "split", "execvp", "getoutput"})
UNKNOWN_WORD = "<unknown>"
"""Stands for a word that is computed."""


def python_commands(tree: ast.Module, values: Values) -> Iterator[Command]:
    """The commands whose words are written in a script, each word with its line."""
    grown: set[int] = set()
    for scope in [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))]:
        for place, part in enumerate(scope.body):
            if (
                isinstance(part, ast.Assign)
                and isinstance(part.targets[0], ast.Name)
                and isinstance(part.value, ast.List)
            ):
                lists = [part.value, *_added(scope.body[place + 1 :], part.targets[0].id)]
                grown |= {id(one) for one in lists}
                yield Command(tuple(w for one in lists for w in _words(one, values)), part.lineno)
    for node in ast.walk(tree):
        if isinstance(node, ast.List) and id(node) not in grown and len(node.elts) > 2:
            yield Command(tuple(_words(node, values)), node.lineno)
        elif (
            isinstance(node, ast.Call)
            and node.args
            and _name(node) in _STRINGS
            and (text := _text(node.args[0], values))
        ):
            for one in commands(text):
                yield Command(tuple(Word(word, node.args[0].lineno) for word in one.words), node.args[0].lineno)


def _added(body: list[ast.stmt], name: str) -> Iterator[ast.List]:
    """Lists that are added to a name, in the order of the statements; not what is added on a condition."""
    for node in (part.value if isinstance(part, ast.Expr) else part for part in body):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            if isinstance(node.value, ast.List):
                yield node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.extend":
            yield from (a for a in node.args if isinstance(a, ast.List))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.append" and node.args:
            yield ast.List([node.args[0]], ast.Load())


def _words(node: ast.List, values: Values) -> Iterator[Word]:
    for item in node.elts:
        text = _text(item, values)
        yield Word(text if text is not None else UNKNOWN_WORD, item.lineno)


def _text(node: ast.expr, values: Values) -> str | None:
    """A string that is written, with what is known of its parts; None for anything else."""
    node = values.of(node)
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str | int | float)
        and not isinstance(node.value, bool)
    ):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [p.value if isinstance(p, ast.FormattedValue) else p for p in node.values]
        return "".join(_text(part, values) or UNKNOWN_WORD for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, values), _text(node.right, values)
        return left + right if left is not None and right is not None else None
    if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable":
        return "python"
    return None


def _name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
