"""Run the file of a user's model. Only files that were allowed in this process are run.

A suite allows the files that it names, a command those of its options. A file is known by its SHA-256, so that what was
allowed is what runs, and a copy of it next to trained weights is the same file.
"""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
import traceback
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from elasticast.config.model.common import ModelSettings
from elasticast.config.model.kinds import BUILT_IN
from elasticast.config.model.own import KIND, OWN_KEYS, FileModelSettings, names_file
from elasticast.config.reading import validate
from elasticast.errors import ConfigError, DataError, Problem

_ALLOWED: dict[str, Path] = {}
"""Files that may run, by SHA-256."""
_SOURCES: dict[str, bytes] = {}
"""Their content."""


def allow(path: Path) -> str:
    """Allow a file to run in this process. Returns its SHA-256.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    sha256 = hashlib.sha256(source).hexdigest()
    _ALLOWED[sha256] = path
    _SOURCES[sha256] = source
    return sha256


def is_allowed(settings: ModelSettings) -> bool:
    """Whether the file of a model may run; True for the models of this package."""
    return code_sha256(settings) in (None, *_ALLOWED)


def code_sha256(settings: ModelSettings) -> str | None:
    """SHA-256 of the file of a model; None for the models of this package."""
    return settings.code.sha256 if isinstance(settings, FileModelSettings) else None


def allowed_file(settings: ModelSettings) -> Path | None:
    """The file of a model that was allowed; None for the models of this package."""
    sha256 = code_sha256(settings)
    return None if sha256 is None else _ALLOWED[sha256]


def allowed_source(settings: ModelSettings) -> bytes | None:
    """The content of the file of a model, as it was when it was allowed; None for the models of this package."""
    sha256 = code_sha256(settings)
    return None if sha256 is None else _SOURCES[sha256]


def model_class(settings: FileModelSettings) -> type:
    """The class of a model in its file.

    Raises
    ------
    DataError
        If the file was not allowed.
    ConfigError
        If it cannot be run, or has no such class.
    """
    if not is_allowed(settings):
        given = "".join(f"; {path} has {sha256[:16]}..." for sha256, path in _ALLOWED.items())
        raise DataError(
            f"model.kind = {settings.kind!r}: name the file of this class, of SHA-256 {settings.code.sha256[:16]}..., "
            f"with --model-file{given}"
        )
    return _class_in(settings.code.sha256, KIND.fullmatch(settings.kind)["name"])


def typed(settings: FileModelSettings) -> ModelSettings:
    """Settings of a model as an object of the settings class in its file."""
    return validate(model_class(settings).Settings, settings.values, settings.kind, "model")


def problems_of(settings: FileModelSettings, run: Any) -> list[Problem]:
    """Problems of a run that the settings class of its model finds."""
    try:
        return typed(settings).problems(run)
    except ConfigError:
        raise
    except Exception as error:  # any, of the user's code
        return [Problem("", ("model", "kind"), _blamed(error, _ALLOWED[settings.code.sha256]), settings.kind)]


def find_file(kind: str, folders: tuple[Path, ...]) -> Path:
    """The file that a kind of model names.

    Parameters
    ----------
    kind : str
        ``FILE.py:CLASS``.
    folders : tuple of Path
        Folders that a relative path may refer to, the first that has the file.

    Raises
    ------
    ConfigError
        If no folder has it.
    """
    file = KIND.fullmatch(kind)["file"]
    path = next((folder / file for folder in folders if (folder / file).is_file()), None)
    if path is None:
        places = " or ".join(str(folder) if folder != Path() else "the current folder" for folder in folders)
        raise ConfigError([Problem("", ("kind",), f"there is no such file in {places}", kind)])
    return path


def named_class(kind: str, folders: tuple[Path, ...]) -> type:
    """The class that a kind of model names; its file is allowed to run.

    Raises
    ------
    ConfigError
        If there is no such file, if it cannot be run, or if the class is no model.
    """
    path = find_file(kind, folders)
    found = _class_in(allow(path), KIND.fullmatch(kind)["name"])
    settings = getattr(found, "Settings", None)
    message = None
    if not (isinstance(settings, type) and issubclass(settings, ModelSettings)):
        message = "has no class attribute `Settings`, a subclass of elasticast.config.ModelSettings"
    elif not callable(getattr(found, "forward", None)):
        message = "has no method `forward`"
    elif reserved := [key for key in OWN_KEYS if key in settings.model_fields]:
        message = f"its settings have the field {reserved[0]!r}, a name that the suite needs; choose another"
    if message:
        raise ConfigError([Problem("", ("kind",), f"{path}: {found.__name__}: {message}", kind)])
    return found


def resolve(value: dict[str, Any], folders: tuple[Path, ...]) -> FileModelSettings:
    """Settings of a model in a file, from the section `model` of a suite.

    Parameters
    ----------
    value : dict
        The section. Its `kind` names a file and a class.
    folders : tuple of Path
        Folders that a relative path may refer to.

    Raises
    ------
    ConfigError
        With all problems; keys are relative to the section.
    """
    kind = value["kind"]
    found, file = named_class(kind, folders), find_file(kind, folders)
    settings = validate(found.Settings, {key: v for key, v in value.items() if key != "kind"}, "")
    try:
        code = {"sha256": allow(file), "traits": asdict(settings.traits)}
        values = settings.model_dump(mode="json")
    except Exception as error:  # any, of the user's code
        raise ConfigError([Problem("", ("kind",), _blamed(error, file), kind)]) from None
    name = KIND.fullmatch(kind)["name"]
    return validate(FileModelSettings, {"kind": f"{file.name}:{name}", "code": code, **values}, "")


def fields_of(kind: Any, folders: tuple[Path, ...]) -> set[str] | None:
    """Names of the settings of a kind of model; None if there is no such kind."""
    if names_file(kind):
        return {"kind", *named_class(kind, folders).Settings.model_fields}
    return set(BUILT_IN[kind].model_fields) if isinstance(kind, str) and kind in BUILT_IN else None


def _class_in(sha256: str, name: str) -> type:
    module, path = _run(sha256), _ALLOWED[sha256]
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [n for n, c in vars(module).items() if isinstance(c, type) and c.__module__ == module.__name__]
        message = f"{path}: has no class {name!r}. It has: {', '.join(classes) or 'none'}"
        raise ConfigError([Problem("", ("kind",), message, f"{path.name}:{name}")])
    return found


def _run(sha256: str) -> ModuleType:
    """The module of an allowed file, which is run once per process."""
    name, path = f"elasticast_model_{sha256}", _ALLOWED[sha256]
    if name in sys.modules:
        return sys.modules[name]
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader=None, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module  # pydantic and dataclasses look it up
    try:
        _refuse_other_files(path, _SOURCES[sha256])
        exec(compile(_SOURCES[sha256], str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError([Problem("", ("kind",), _blamed(error, path), path.name)]) from None
    return module


def _blamed(error: BaseException, path: Path) -> str:
    """The error of a file with the line that raised it."""
    if isinstance(error, ConfigError):
        return str(error)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else lines[-1:] and lines[-1]
    where = f"{path}, line {line}" if line else str(path)
    return f"{where}: {type(error).__name__}: {error}"


def _refuse_other_files(path: Path, source: bytes) -> None:
    """Refuse imports of other files of the user. They would be neither recorded nor copied with the weights."""
    for node in ast.walk(ast.parse(source, str(path))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        if own := next((name for name in names if _is_own(name, path.parent)), None):
            raise ImportError(
                f"line {node.lineno} imports {own}, another file of yours; a model is one file, which is recorded and "
                "copied next to its weights: move what it needs into it, or install it as a package"
            )


def _is_own(name: str, folder: Path) -> bool:
    """Whether an import finds a file in the folder of the model or in the current one that is not installed."""
    top = name.partition(".")[0]
    if not top:
        return True
    if top == __name__.partition(".")[0] or top in sys.stdlib_module_names:
        return False
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    origin = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), None))
    if not origin:
        return (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()
    found, installed = Path(origin).resolve(), [sysconfig.get_path(key) for key in ("purelib", "platlib", "stdlib")]
    if any(found.is_relative_to(Path(place).resolve()) for place in installed) or "site-packages" in found.parts:
        return False
    return any(found.is_relative_to(place.resolve()) for place in (folder, Path()))
