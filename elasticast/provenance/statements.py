"""Parse a module into top-level statements, without the parts that cannot change results."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

PACKAGE = "elasticast"
SETTINGS = "Settings"
"""Base class of all settings."""


class Import(NamedTuple):
    """An import from this package; `name` is None for a whole module."""

    module: str
    name: str | None


@dataclass(eq=False)
class Statement:
    """A top-level statement of a module, or all statements of the module that are not definitions.

    Attributes
    ----------
    names : set of str
        Names that the statement binds.
    effect : bool
        Whether this is the combined statement of all code that is not a definition, and may have side effects.
    text : str
        The code; empty if it only declares types or settings.
    uses : list of str or Import
        References in `text`, in order: names of the module, and imports from the package inside functions.
    mentions : list of str or Import
        `uses`, and the references in type hints and declarations of settings.
    """

    names: set[str]
    effect: bool = False
    text: str = ""
    uses: list[str | Import] = field(default_factory=list)
    mentions: list[str | Import] = field(default_factory=list)


class Module(NamedTuple):
    """The statements of a module without its imports, and the imports by the name they bind."""

    statements: list[Statement]
    imports: dict[str, str | Import]

    def defining(self, name: str) -> list[Statement]:
        """The statements that bind a name."""
        return [statement for statement in self.statements if name in statement.names]


@cache
def parse(text: str, settings: frozenset[str]) -> Module:
    """Parse a module.

    Parameters
    ----------
    text : str
        Source code of the module.
    settings : frozenset of str
        Names of settings classes, whose fields and validators are left out.
    """
    imports: dict[str, str | Import] = {}
    rest = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= _imported(node)
        elif not _is_docstring(node) and not _is_for_type_checkers(node):
            rest.append(node)
    bound = Counter(name for node in rest for name in _bound(node))
    statements, ordered = [], Statement(set(), effect=True)
    for node in rest:
        statement = _statement(node, settings)
        if _is_definition(node) and all(bound[name] == 1 for name in statement.names):
            statements.append(statement)
        else:
            ordered.names |= statement.names
            ordered.text += f"{statement.text}\n"
            ordered.uses += statement.uses
            ordered.mentions += statement.mentions
    used = {name for statement in (*statements, ordered) for name in statement.mentions}
    unused = [
        target for name, target in imports.items() if isinstance(target, str) and name not in used | {"TYPE_CHECKING"}
    ]
    ordered.text += "".join(f"import {target}\n" for target in unused)
    module = Module([*statements, *([ordered] if ordered.text else [])], imports)
    known = set(bound) | imports.keys()
    for statement in module.statements:
        statement.uses = [name for name in statement.uses if name in known or isinstance(name, Import)]
        statement.mentions = [name for name in statement.mentions if name in known or isinstance(name, Import)]
    return module


def _statement(node: ast.stmt, settings: frozenset[str]) -> Statement:
    names = set(_bound(node))
    if isinstance(node, ast.ClassDef) and node.name in settings:
        node.body = [part for part in node.body if not _is_validator(part)]
    mentions = _references(node)
    stripped = _Stripper(settings).visit(node)
    if stripped is None or _is_type(stripped):
        return Statement(names, mentions=mentions)
    uses = _references(stripped)
    for part in ast.walk(stripped):
        if isinstance(part, ast.ImportFrom) and _is_internal(part):
            part.module = PACKAGE
    return Statement(names, text=ast.unparse(_FormattedStrings().visit(stripped)), uses=uses, mentions=mentions)


def _references(node: ast.AST) -> list[str | Import]:
    """Names in a statement, except arguments of its functions, and its imports from the package, in order."""
    found: list[str | Import] = []
    _collect(node, frozenset(), found)
    return found


def _collect(node: ast.AST, hidden: frozenset[str], found: list[str | Import]) -> None:
    """Append the references in a node. Every job parses the package, so that this does not yield through each level."""
    if isinstance(node, ast.Name):
        if node.id not in hidden:
            found.append(node.id)
        return
    if isinstance(node, ast.ImportFrom) and _is_internal(node):
        found += [target for target in _imported(node).values() if isinstance(target, Import)]
    body: list[ast.AST] = []
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        body = node.body if isinstance(node.body, list) else [node.body]
    inside = hidden | {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)} if body else hidden
    for name in node._fields:
        value = getattr(node, name, None)
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, ast.AST) and not isinstance(part, ast.expr_context):
                _collect(part, inside if part in body else hidden, found)


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, str | Import]:
    """The imports of a statement by the name they bind."""
    if isinstance(node, ast.Import):
        return {a.asname or a.name.partition(".")[0]: a.name for a in node.names}
    module = "." * node.level + (node.module or "")
    if _is_internal(node):
        return {a.asname or a.name: Import(module, a.name) for a in node.names}
    return {a.asname or a.name: f"{module}:{a.name}" for a in node.names}


def _is_internal(node: ast.ImportFrom) -> bool:
    return (node.module or "").partition(".")[0] == PACKAGE


def _bound(node: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from _imported(node)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (part.id for target in targets for part in ast.walk(target) if _is_stored(part))
    else:
        yield from (part.id for part in ast.walk(node) if _is_stored(part))
        for body in ("body", "orelse", "finalbody"):
            yield from (name for part in getattr(node, body, []) for name in _bound(part))


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _is_definition(node: ast.stmt) -> bool:
    """Whether a statement only binds names."""
    if isinstance(node, ast.Assign):
        return all(not isinstance(part, ast.Attribute | ast.Subscript) for t in node.targets for part in ast.walk(t))
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name)
    return isinstance(node, ast.FunctionDef | ast.ClassDef)


def _is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is only a string, such as the docstring of a function or constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_type(node: ast.stmt) -> bool:
    """Whether a statement defines a name for a type, such as ``Share = Annotated[float, ...]``."""
    value = node.value if isinstance(node, ast.Assign) else None
    return isinstance(value, ast.Subscript) and ast.unparse(value.value) in ("Annotated", "Literal")


def _is_validator(node: ast.stmt) -> bool:
    """Whether a method of settings can only refuse them: it runs after they are created, or lists their problems."""
    if not isinstance(node, ast.FunctionDef):
        return False
    after = any(ast.unparse(decorator) == "model_validator(mode='after')" for decorator in node.decorator_list)
    return after or node.name == "problems"


def _is_field(node: ast.stmt) -> bool:
    """Whether a statement of a settings class declares a field, or is the `model_config`."""
    if isinstance(node, ast.AnnAssign):
        return "ClassVar" not in ast.unparse(node.annotation)
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "model_config"


class _Stripper(ast.NodeTransformer):
    """Removes docstrings, type hints and fields of settings. The params of the rules contain the values of fields."""

    def __init__(self, settings: frozenset[str]):
        self.settings = settings
        self.in_class = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef | None:
        if node.name in self.settings:
            node.body = [part for part in node.body if not _is_field(part)]
        node.body = self._body(node, in_class=True)
        empty = all(isinstance(part, ast.Pass) for part in node.body)
        plain = node.name == SETTINGS or [ast.unparse(base) for base in node.bases] == [SETTINGS]
        return None if node.name in self.settings and plain and empty else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        node.body = self._body(node, in_class=False)
        self.generic_visit(node.args)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        if self.in_class:  # may be a field of a dataclass, where types and order matter
            return node
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def _body(self, node: ast.ClassDef | ast.FunctionDef, in_class: bool) -> list[ast.stmt]:
        previous, self.in_class = self.in_class, in_class
        body = [new for part in node.body if not _is_docstring(part) and (new := self.visit(part)) is not None]
        self.in_class = previous
        return body or [ast.Pass()]


class _FormattedStrings(ast.NodeTransformer):
    """Writes f-strings as calls of their parts, because their quotes depend on the version of Python."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Call:
        self.generic_visit(node)
        parts = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
        return ast.Call(ast.Name("f", ast.Load()), parts, [])

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.Tuple:
        self.generic_visit(node)
        parts = [node.value, ast.Constant(node.conversion), node.format_spec or ast.Constant(None)]
        return ast.Tuple(parts, ast.Load())
