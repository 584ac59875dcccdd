"""The rooms of the package: imports go one way, and there are no circles."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "elasticast"
ROOMS = (
    "cli",
    "new_suite",
    "published",
    "archive",
    "audit",
    "encoders",
    "inference",
    "reporting",
    "benchmarks",
    "jobs",
    "training",
    "evaluation",
    "models",
    "data",
    "plan",
    "provenance",
    "config",
    "leaves",
)
"""From the top down: a module imports modules of its own room, and of rooms below it."""
LEAVES = {"checksums", "errors", "faults", "files", "hdf5", "progress", "text"}
FRONT_DOOR = {"__init__", "__main__"}
"""Modules at the root that may import any room: the shortcuts of the package, and ``python -m elasticast``."""
MOST_ROOT_MODULES = 10


def modules() -> dict[str, Path]:
    """Dotted name below the package to file, for every module."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return names


def imports(path: Path) -> set[str]:
    """Modules of the package that a module imports, also in functions and for type checkers."""
    found, known = set(), modules()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "elasticast":
            module = node.module.partition(".")[2]
            found |= {name if (name := f"{module}.{a.name}".lstrip(".")) in known else module for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.startswith("elasticast.")}
    return found - {""}


def room(module: str) -> str:
    first = module.partition(".")[0]
    return "leaves" if first in LEAVES else first


@pytest.fixture(scope="module")
def graph():
    return {name: imports(path) for name, path in modules().items()}


def test_every_module_is_in_a_room():
    assert {room(name) for name in modules()} == {*ROOMS, *FRONT_DOOR}


def test_there_are_few_modules_at_the_root():
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_ROOT_MODULES


def test_imports_go_down_only(graph):
    upward = [
        f"{name} imports {other}"
        for name, others in graph.items()
        if name not in FRONT_DOOR
        for other in others
        if ROOMS.index(room(other)) < ROOMS.index(room(name))
    ]
    assert not upward


def test_no_imports_form_a_circle(graph):
    done: set[str] = set()

    def follow(trail: list[str]) -> list[str]:
        for other in sorted(graph[trail[-1]]):
            if other in trail:
                return [*trail[trail.index(other) :], other]
            if other not in done and (circle := follow([*trail, other])):
                return circle
        done.add(trail[-1])
        return []

    circles = [circle for name in graph if (circle := follow([name]))]
    assert not circles, [" -> ".join(pair) for pair in pairwise(circles[0])]


@pytest.mark.parametrize("package", ["torch", "pandas", "numpy", "snakemake"])
def test_what_every_dry_run_reads_imports_nothing_heavy(package):
    for name, path in modules().items():
        if room(name) in ("config", "plan"):
            assert not [
                node
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for imported in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
                if imported.partition(".")[0] == package
            ], name


KINDS = {"ast", "aum", "cnn", "elasticast"}
CLASSES = {"AST", "AuM", "ElasticAST", "ASTSettings", "AuMSettings", "CNN", "CNNSettings", "ElasticASTSettings"}
OF_MODELS = (
    "config.model.aum",
    "config.model.transformers",
    "models.ast",
    "models.aum",
    "models.elasticast",
    "models.graph",
    "models.weights.convert",
    "models.weights.hugging_face",
    "models.weights.vit",
)
"""Modules that belong to the models and their published weights. All others know models by their traits."""


def asked(node: ast.AST) -> set[str]:
    """Names of models that a comparison, a call of `isinstance` or a case of `match` asks for."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
        node = node.args[1]
    elif not isinstance(node, ast.Compare | ast.match_case):
        return set()
    parts = list(ast.walk(node.pattern if isinstance(node, ast.match_case) else node))
    texts = {part.value for part in parts if isinstance(part, ast.Constant)}
    return (KINDS & texts) | (CLASSES & {part.id for part in parts if isinstance(part, ast.Name)})


def test_no_module_asks_which_model_it_has():
    found = [
        (name, models)
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if name not in OF_MODELS and (models := asked(node))
    ]
    assert not found
