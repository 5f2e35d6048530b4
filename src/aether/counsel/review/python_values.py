"""Puts the values that a script writes elsewhere where it uses them: constants, dictionaries that are passed on with `**`, the fields of
dataclasses, the defaults of argparse and of parameters, dotted types behind a table of names.

A name counts only where the whole file binds it once, so that the value is what is used unless somebody overrides the default. A value keeps
the place where it is written: a finding points there, and a fix mends it there. Nothing is executed.
"""

import ast
import copy
import re
from collections import defaultdict
from dataclasses import dataclass, field

_DEPTH = 6
"""Names of names that are followed."""
_POSITIONAL = frozenset({"from_pretrained", "LLM"})
"""Calls whose first argument names a model."""
_DTYPES = ("torch.", "jnp.", "np.")
_SWITCHES = ("store_true", "store_false")


@dataclass
class Values:
    """What the names of a file stand for."""

    names: dict[str, ast.expr] = field(default_factory=dict)
    """Names that are bound once, with what they are bound to."""
    fields: dict[str, ast.expr] = field(default_factory=dict)
    """Fields of dataclasses and arguments of argparse by name, with their default; only where all of that name agree."""

    def of(self, node: ast.expr, depth: int = _DEPTH) -> ast.expr:
        """The expression that a name, a field or an entry of a dictionary stands for; the node itself where it is not known."""
        if depth == 0:
            return node
        found: ast.expr | None = None
        if isinstance(node, ast.Name):
            found = self.names.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute | ast.Call):
            found = None if _is_dtype(node) or _own(node.value) else self.fields.get(node.attr)
        elif isinstance(node, ast.Subscript):
            found = self._entry(node, depth)
        elif isinstance(node, ast.Call):
            found = _default_of_environment(node)
        return node if found is None or found is node else self.of(found, depth - 1)

    def entries(self, node: ast.expr) -> list[tuple[str, ast.expr]] | None:
        """The items of a dictionary that is written out, in braces or as `dict(...)`; None for any other expression."""
        node = self.of(node)
        if isinstance(node, ast.Dict):
            found: list[tuple[str, ast.expr]] = []
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    inner = self.entries(value)
                    if inner is None:
                        return None
                    found += inner
                elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                    found.append((key.value, value))
                else:
                    return None
            return found
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
            return (
                None if any(k.arg is None for k in node.keywords) else [(k.arg or "", k.value) for k in node.keywords]
            )
        return None

    def _entry(self, node: ast.Subscript, depth: int) -> ast.expr | None:
        table, key = self.entries(node.value), self.of(node.slice, depth - 1)
        if table is None or not isinstance(key, ast.Constant):
            return None
        return dict(table).get(str(key.value))


def with_values(tree: ast.Module) -> ast.Module:
    """The tree with known values in the keywords of its calls, and known dictionaries in place of `**`. The tree that is given stays as it is."""
    values = values_of(tree)
    return (
        ast.fix_missing_locations(_Filled(values).visit(copy.deepcopy(tree))) if values.names or values.fields else tree
    )


def values_of(tree: ast.Module) -> Values:
    """What the names of a file stand for."""
    bound: dict[str, list[ast.expr | None]] = defaultdict(list)
    fields: dict[str, list[ast.expr | None]] = defaultdict(list)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            bound[node.targets[0].id].append(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            bound[node.target.id].append(node.value)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _parameters(node, bound)
        elif isinstance(node, ast.ClassDef):
            _class_fields(node, fields)
        elif isinstance(node, ast.Call):
            _argument(node, fields)
    for name, times in _stores(tree).items():
        if times != len(bound[name]):
            bound[name] += [None] * abs(times - len(bound[name]))
    once = {name: found[0] for name, found in bound.items() if len(found) == 1 and found[0] is not None}
    agreed = {}
    for name, found in fields.items():
        first = found[0]
        if first is not None and all(f is not None and ast.dump(f) == ast.dump(first) for f in found):
            agreed[name] = first
    return Values(once, agreed)


def _stores(tree: ast.Module) -> dict[str, int]:
    """How often each name is bound, by assignments of every form, loops and imports; parameters are counted apart."""
    found: dict[str, int] = defaultdict(int)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found[node.id] += 1
        elif isinstance(node, ast.arg):
            found[node.arg] += 1
        elif isinstance(node, ast.alias):
            found[(node.asname or node.name).split(".")[0]] += 1
    return found


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, bound: dict[str, list[ast.expr | None]]) -> None:
    """Parameters are bound to their defaults."""
    plain = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(node.args.defaults)) + list(node.args.defaults)
    for argument, default in [
        *zip(plain, defaults, strict=True),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]:
        bound[argument.arg].append(default)


def _class_fields(node: ast.ClassDef, fields: dict[str, list[ast.expr | None]]) -> None:
    if not any("dataclass" in ast.unparse(d) for d in node.decorator_list) and not any(
        re.search(r"BaseModel|NamedTuple|Config|Args|Arguments", ast.unparse(b)) for b in node.bases
    ):
        return
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            fields[part.target.id].append(_default(part.value))


def _default(value: ast.expr | None) -> ast.expr | None:
    """The default of a field: the value, or what `field(default=...)` says."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).rsplit(".", 1)[-1] in ("field", "Field"):
        return next((k.value for k in value.keywords if k.arg == "default"), None)
    return value


def _argument(node: ast.Call, fields: dict[str, list[ast.expr | None]]) -> None:
    """An argument of argparse or click with a default. A switch has none: whether it is given is not known."""
    if not (isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"):
        return
    flags = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    given = {k.arg: k.value for k in node.keywords}
    if not flags:
        return
    named = given.get("dest")
    name = named.value if isinstance(named, ast.Constant) else max(flags, key=len).lstrip("-").replace("-", "_")
    action = given.get("action")
    switch = isinstance(action, ast.Constant) and action.value in _SWITCHES
    default = None if switch else given.get("default")
    fields[str(name)].append(None if isinstance(default, ast.Constant) and default.value is None else default)


def _default_of_environment(node: ast.Call) -> ast.expr | None:
    """What `os.environ.get(name, default)` gives where nothing is set; what `int(...)` and its like are given."""
    name = ast.unparse(node.func)
    if name in ("os.environ.get", "os.getenv", "environ.get", "getenv") and len(node.args) == 2:
        return node.args[1]
    return node.args[0] if name in ("int", "float", "str") and len(node.args) == 1 and not node.keywords else None


def _own(node: ast.expr) -> bool:
    """Whether a field is asked of the object itself, or of a model's own configuration."""
    return ast.unparse(node) in ("self", "cls") or ast.unparse(node).endswith("model.config")


def _is_dtype(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node).startswith(_DTYPES)


def plain(node: ast.expr) -> bool:
    """Whether an expression is a literal, or a type such as torch.float16."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return all(plain(item) for item in node.elts)
    if isinstance(node, ast.UnaryOp):
        return plain(node.operand)
    return isinstance(node, ast.Constant) or _is_dtype(node)


class _Filled(ast.NodeTransformer):
    """Writes known values into the keywords of calls."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """A call with the values of its keywords."""
        self.generic_visit(node)
        keywords: list[ast.keyword] = []
        for one in node.keywords:
            passed = self.values.entries(one.value) if one.arg is None else None
            if passed is None:
                keywords.append(one)
                continue
            keywords += [ast.copy_location(ast.keyword(name, value), value) for name, value in passed]
        for one in keywords:
            known = self.values.of(one.value)
            one.value = known if plain(known) else one.value
        node.keywords = keywords
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _POSITIONAL and node.args and plain(known := self.values.of(node.args[0])):
            node.args[0] = known
        return node
