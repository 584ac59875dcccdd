"""Mutants of a Python module: copies of its source, each with one changed operator, constant or result.

Text that no test should depend on is not changed: docstrings, annotations, f-strings and error messages.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.MatMult: ast.Mult,
}
BOUNDARY = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
NEGATION = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True)
class Mutant:
    """One change of a module: its line, the kind of change, the code before and after, and the changed source."""

    line: int
    kind: str
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.kind}: {self.before}  ->  {self.after}"


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module's source, in the order of its lines."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    changed_sources = []
    for node, kind, after in _changes(ast.parse(source)):
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[node.end_lineno - 1] + node.end_col_offset
        # brackets keep the precedence of a changed expression within the expression around it
        new = f"({after})" if isinstance(node, ast.expr) else after
        text = source.encode()
        changed = (text[:first] + new.encode() + text[last:]).decode()
        changed_sources.append(Mutant(node.lineno, kind, ast.unparse(node), after, changed))
    return sorted(changed_sources, key=lambda mutant: mutant.line)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """Each node that can be changed, with the kind of change and its new code."""
    for node in _code(tree):
        match node:
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                yield node, "operator", _unparse(node, op=ARITHMETIC[type(node.op)]())
            case ast.AugAssign() if type(node.op) in ARITHMETIC:
                yield node, "operator", _unparse(node, op=ARITHMETIC[type(node.op)]())
            case ast.BoolOp():
                yield node, "and/or", _unparse(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                yield node, "dropped", ast.unparse(node.operand)
            case ast.Compare():
                for kind, table in (("boundary", BOUNDARY), ("negation", NEGATION)):
                    if type(node.ops[0]) in table:
                        yield node, kind, _unparse(node, ops=[table[type(node.ops[0])](), *node.ops[1:]])
            case ast.Constant(value=bool()):
                yield node, "constant", repr(not node.value)
            case ast.Constant(value=int()):
                yield node, "constant", repr(node.value + 1)
            case ast.Constant(value=float()):
                yield node, "constant", repr(node.value * 2 if node.value else 1.0)
            case ast.Return(value=ast.expr()) if not _is_none(node.value):
                yield node, "result", "return None"
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                    yield test, "negation", f"not {ast.unparse(test)}"


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below a node that are executed, without annotations, f-strings and error messages."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Raise | ast.Assert):
                yield child
                yield from _code(child)


def _unparse(node: ast.AST, **changed) -> str:
    fields = dict(ast.iter_fields(node))
    return ast.unparse(type(node)(**{**fields, **changed}))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
