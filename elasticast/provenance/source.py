"""The package's source as statements, and a digest of some of them that survives moving code between files.

A digest is of top-level statements (a function, a class, a constant), not of files. Each statement is written without
comments, docstrings, layout and type hints, followed by what the names in it refer to: for a name of this package the
digest of the statement that defines it, for any other name the import. The place of a statement is not part of it.

This is sound because a top-level definition has the same effect in any place, as long as its names refer to the same
things. What is not a definition (a call, a loop, an `if`, a name that is bound twice) may depend on the order: all such
statements of a module count as one, in their order. An import that no statement uses counts as well, since it may be
there for its effect. We rely on two habits: computing a constant changes nothing else, and no module reaches another by
its name in a string (`tests/unit/test_provenance.py` lists the two that do).
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from elasticast.provenance.statements import PACKAGE, SETTINGS, Import, Module, Statement, parse

CLASS = re.compile(r"^class (\w+)\(([^)]*)\)", re.MULTILINE)
DEPTH = 4
"""How many steps references are followed; definitions that do not differ within these steps count as one."""


class Place(NamedTuple):
    """A module by its path below the package, and a name in it; None: the whole module."""

    path: str
    name: str | None


class Source:
    """The source of the package; modules are read when they are needed.

    Parameters
    ----------
    folder : Path
        Folder of the package.
    declarations : bool
        Whether the source includes the declarations of settings and their checks.
    """

    def __init__(self, folder: Path, declarations: bool = False):
        self.folder, self.declarations = folder, declarations
        self._modules: dict[str, Module] = {}
        self._followed: dict[Import, Place | str | None] = {}

    def module(self, path: str) -> Module:
        """The module at a path below the package."""
        if path not in self._modules:
            text = (self.folder / path).read_text(encoding="utf-8")
            self._modules[path] = parse(text, self._settings)
        return self._modules[path]

    def resolve(self, path: str, used: str | Import) -> Place | str | None:
        """What a name in a module refers to: the place that defines it, or the import of another package."""
        if isinstance(used, str):
            module = self.module(path)
            if module.defining(used):
                return Place(path, used)
            used = module.imports.get(used)
        if not isinstance(used, Import):
            return used
        if used not in self._followed:
            self._followed[used] = self._follow(used)
        return self._followed[used]

    def select(self, parts: Iterable[str]) -> dict[str, list[Statement]]:
        """Statements by the path of their module.

        Parameters
        ----------
        parts : iterable of str
            Paths below the package of folders and modules, or ``MODULE:NAME,NAME`` for these definitions of a module,
            those of the same module that they mention, and what importing it does besides.
        """
        wanted: dict[str, set[str] | None] = {}
        for part in parts:
            path, _, names = part.partition(":")
            for file in self._files(path):
                before = wanted.get(file, set())
                wanted[file] = None if before is None or not names else before | set(names.split(","))
        return {path: self._select_names(path, names) for path, names in wanted.items()}

    def digest(self, parts: Iterable[str]) -> str:
        """Digest of the statements that :meth:`select` gives."""
        selected = self.select(parts)
        statements = [(path, s) for path, chosen in selected.items() for s in chosen if s.text]
        digests = {id(s): s.text for _, s in statements}
        for _ in range(DEPTH):
            before = digests
            digests = {
                id(s): _hash([s.text, *(self._meaning(path, use, selected, before) for use in s.uses)])
                for path, s in statements
            }
        return _hash(sorted(set(digests.values())))[:16]

    def _meaning(self, path: str, use: str | Import, selected: dict[str, list[Statement]], digests: dict) -> str:
        """What a name refers to: the digest of the statement if it is selected, else only the name."""
        target = self.resolve(path, use)
        if not isinstance(target, Place):
            return target or ""
        statements = [s for s in selected.get(target.path, ()) if target.name is None or target.name in s.names]
        return "\0".join([target.name or "", *sorted(digests.get(id(s), "") for s in statements)])

    def _select_names(self, path: str, names: set[str] | None) -> list[Statement]:
        """The statements of a module that define `names` or that those mention; None for all statements."""
        module = self.module(path)
        if names is None:
            return module.statements
        if unknown := sorted(name for name in names if not module.defining(name)):
            raise ValueError(f"{path} defines no {', '.join(unknown)}")
        chosen: list[Statement] = []
        while new := [s for s in module.statements if s not in chosen and (s.effect or s.names & names)]:
            chosen += new
            names = {name for s in new for name in s.mentions if isinstance(name, str)}
        return chosen

    def _files(self, path: str) -> list[str]:
        whole = self.folder / path
        files = sorted(whole.rglob("*.py")) if whole.is_dir() else [whole]
        return [file.relative_to(self.folder).as_posix() for file in files]

    def _follow(self, target: Import) -> Place | str | None:
        """The place that defines what is imported, through modules that import it themselves."""
        folder = target.module.removeprefix(PACKAGE).lstrip(".").replace(".", "/")
        inner = "/".join(filter(None, (folder, target.name)))
        for path in (f"{inner}.py", f"{inner}/__init__.py"):
            if (self.folder / path).is_file():
                return Place(path, None)
        path = f"{folder}.py" if (self.folder / f"{folder}.py").is_file() else f"{folder}/__init__.py".lstrip("/")
        return self.resolve(path, target.name)

    @cached_property
    def _settings(self) -> frozenset[str]:
        """Names of the classes of settings whose declarations are left out."""
        if self.declarations:
            return frozenset()
        files = (file.read_text(encoding="utf-8") for file in self.folder.rglob("*.py"))
        bases = {name: set(re.findall(r"\w+", of)) for text in files for name, of in CLASS.findall(text)}
        settings = {SETTINGS}
        while new := {name for name, of in bases.items() if of & settings} - settings:
            settings |= new
        return frozenset(settings)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\1".join(parts).encode()).hexdigest()
