"""Digests of code that do not change when code moves between files.

A digest is computed from top-level statements (functions, classes, constants), not from files. Each statement is
written without comments, docstrings, layout and type hints. The statement is followed by the meaning of its names: the
digest of the statement that defines the name if it is in this package, or else the import. The file of a statement is
not part of the digest.

This is valid because a top-level definition has the same effect in any file, as long as its names have the same
meaning. Other statements (a call, a loop, an `if`, a name that is assigned twice) may depend on their order, so all of
them in a module count as one statement. Imports that no statement uses belong to it as well, because they may have
effects. We rely on two conventions: computing a constant has no side effects, and no module imports another by a name
in a string, except for the modules of datasets (see `BY_DATASET` in `tests/unit/provenance/test_stages.py`).
"""

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from elasticast.provenance.statements import PACKAGE, SETTINGS, Import, Module, Statement, parse

CLASS = re.compile(r"^class (\w+)\(([^)]*)\)", re.MULTILINE)
DEPTH = 4
"""How many levels of references a digest includes. Definitions that are equal to this depth count as one."""


class Place(NamedTuple):
    """Path of a module, relative to the package, and a name in the module, or None for the whole module."""

    path: str
    name: str | None


class Source:
    """The source code of the package. All modules are read at once, and parsed when they are needed.

    Parameters
    ----------
    folder : Path
        Folder of the package.
    declarations : bool
        Whether the fields and validators of settings classes are part of the code.
    """

    def __init__(self, folder: Path, declarations: bool = False):
        self.folder, self.declarations = folder, declarations
        self._code = {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*.py"))}
        self._modules: dict[str, Module] = {}
        self._followed: dict[Import, Place | str | None] = {}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the paths and contents of all modules, as they were read: digests depend on nothing else."""
        files = [[path, hashlib.sha256(code).hexdigest()] for path, code in self._code.items()]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()

    def module(self, path: str) -> Module:
        """Parse the module at a path relative to the package; it may be a script outside of the package."""
        if path not in self._modules:
            text = self._text(path) if path in self._code else (self.folder / path).read_text(encoding="utf-8")
            # modules without settings are then parsed once for all sources
            self._modules[path] = parse(text, self._settings & {name for name, _ in CLASS.findall(text)})
        return self._modules[path]

    def resolve(self, path: str, used: str | Import) -> Place | str | None:
        """Resolve a name in the module at `path`.

        Returns
        -------
        Place or str or None
            The place that defines the name, or the import from another package. None for other names.
        """
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
        """Select statements.

        Parameters
        ----------
        parts : iterable of str
            Paths of folders and modules relative to the package, or ``MODULE:NAME,NAME`` for some definitions of a
            module. These include the definitions of the same module that they mention, and all statements of the
            module that are not definitions.

        Returns
        -------
        dict of str to list of Statement
            The statements by the path of their module.
        """
        selected: dict[str, set[str] | None] = {}
        for part in parts:
            path, _, names = part.partition(":")
            for file in self._files(path):
                previous = selected.get(file, set())
                selected[file] = None if previous is None or not names else previous | set(names.split(","))
        return {path: self._select_names(path, names) for path, names in selected.items()}

    def digest(self, parts: Iterable[str]) -> str:
        """Digest of the statements that :meth:`select` returns."""
        selected = self.select(parts)
        statements = [(path, s) for path, of_module in selected.items() for s in of_module if s.text]
        meanings = {id(s): [self._meaning(path, use, selected) for use in s.uses] for path, s in statements}
        digests = {id(s): s.text for _, s in statements}
        for _ in range(DEPTH):
            previous = digests
            digests = {
                id(s): _hash(
                    [s.text]
                    + ["\0".join([name, *sorted(previous.get(d, "") for d in ids)]) for name, ids in meanings[id(s)]]
                )
                for _, s in statements
            }
        return _hash(sorted(set(digests.values())))[:16]

    def _meaning(self, path: str, use: str | Import, selected: dict[str, list[Statement]]) -> tuple[str, list[int]]:
        """Meaning of a name: the name and the ids of the selected statements that define it, or its import."""
        place = self.resolve(path, use)
        if not isinstance(place, Place):
            return place or "", []
        defining = [s for s in selected.get(place.path, ()) if place.name is None or place.name in s.names]
        return place.name or "", [id(s) for s in defining]

    def _select_names(self, path: str, names: set[str] | None) -> list[Statement]:
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

    def contains(self, part: str) -> bool:
        """Whether a folder, module or definition is of the package, and so its contents part of :attr:`sha256`."""
        path = part.partition(":")[0]
        return path in self._code or any(file.startswith(f"{path}/") for file in self._code)

    def _text(self, path: str) -> str:
        return self._code[path].decode()

    def _files(self, path: str) -> list[str]:
        return [file for file in self._code if file.startswith(f"{path}/")] or [path]

    def _follow(self, target: Import) -> Place | str | None:
        """The place that defines the imported name; imports in other modules are followed."""
        folder = target.module.removeprefix(PACKAGE).lstrip(".").replace(".", "/")
        inner = "/".join(filter(None, (folder, target.name)))
        for path in (f"{inner}.py", f"{inner}/__init__.py"):
            if path in self._code:
                return Place(path, None)
        path = f"{folder}.py" if f"{folder}.py" in self._code else f"{folder}/__init__.py".lstrip("/")
        return self.resolve(path, target.name)

    @cached_property
    def _settings(self) -> frozenset[str]:
        """Names of the settings classes whose fields and validators are left out."""
        if self.declarations:
            return frozenset()
        texts = (self._text(path) for path in self._code)
        bases = {name: set(re.findall(r"\w+", listed)) for text in texts for name, listed in CLASS.findall(text)}
        classes = {SETTINGS}
        while new := {name for name, parents in bases.items() if parents & classes} - classes:
            classes |= new
        return frozenset(classes)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\1".join(parts).encode()).hexdigest()
