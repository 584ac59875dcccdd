"""Open an encoder by name."""

import importlib.util
import re
import sys
from pathlib import Path

from elasticast.encoders.contract import Card, Encoder
from elasticast.errors import DataError
from elasticast.files import is_file
from elasticast.models.weights.hub import HF, fetch

RANDOM, PASST, NAFLEX, TRANSFORMERS = "random:", "passt:", "naflexvit:", "transformers:"
_CLASS = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")
AST_TYPE = "audio-spectrogram-transformer"


def open_encoder(source: str, name: str | None = None) -> Encoder:
    """Open an encoder.

    Parameters
    ----------
    source : str
        A trained run, an export or published weights (see :func:`~elasticast.models.weights.sources.read_weights`);
        ``hf:OWNER/NAME[@REVISION]``; ``transformers:`` and a folder or ``hf:`` source, to use the implementation of
        `transformers` also for AST; ``naflexvit:FOLDER``; ``passt:ARCHITECTURE[@FILE]``; ``random:KIND[/SIZE]``; or
        ``FILE.py:CLASS``, a subclass of :class:`~elasticast.encoders.contract.Encoder`. The code in the file is run.
    name : str, optional
        Name in tables and figures. By default, it is made from `source`.

    Raises
    ------
    DataError
        If the encoder cannot be opened; the message gives the reason.
    """
    name = name or short_name(source)
    if source.startswith(RANDOM):
        from elasticast.encoders.random_weights import open_random

        return open_random(source.removeprefix(RANDOM), name)
    if source.startswith(PASST):
        from elasticast.encoders.passt import open_passt

        return open_passt(source.removeprefix(PASST), name)
    if source.startswith(NAFLEX):
        from elasticast.encoders.naflex import open_naflex

        return open_naflex(Path(source.removeprefix(NAFLEX)), name)
    if match := _CLASS.fullmatch(source):
        return _from_class(Path(match["file"]), match["name"])
    return _by_settings(source, name)


def _by_settings(source: str, name: str) -> Encoder:
    """Open weights with this package if it knows them, else with transformers, which their config.json decides."""
    from elasticast.encoders.huggingface import model_type, open_transformers
    from elasticast.encoders.native import open_native

    if source.startswith(TRANSFORMERS):
        return open_transformers(source.removeprefix(TRANSFORMERS), name)
    folder = fetch(source).folder if source.startswith(HF) else Path(source)
    foreign = folder.is_dir() and model_type(folder) not in (None, AST_TYPE)
    return (open_transformers if foreign else open_native)(source, name)


def _from_class(path: Path, name: str) -> Encoder:
    """Run a file, and make an encoder of a class in it."""
    if not is_file(path):
        raise DataError(f"{path}: no such file; expected FILE.py:CLASS")
    spec = importlib.util.spec_from_file_location(f"encoder_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for dataclasses and pickle, which look modules up by name
    try:
        spec.loader.exec_module(module)
        encoder = getattr(module, name)()
    except Exception as error:
        raise DataError(f"{path}:{name}: {type(error).__name__}: {error}") from error
    if not isinstance(encoder, Encoder) or not isinstance(getattr(encoder, "card", None), Card):
        raise DataError(
            f"{path}:{name}: expected a subclass of elasticast.encoders.Encoder that sets `card` and `module`"
        )
    return encoder


def short_name(source: str) -> str:
    """Make a name from a source: the last part of a repository, or the last folders of a run."""
    if source.startswith(RANDOM):
        return source.removeprefix(RANDOM) + " (random)"
    bare = source.removeprefix(TRANSFORMERS)
    if bare.startswith(HF):
        return bare.removeprefix(HF).split("@")[0].split("/")[-1] + (" (transformers)" if bare != source else "")
    parts = Path(bare).parts
    if len(parts) > 1 and re.fullmatch(r"seed\d+", parts[-1]):
        return "/".join(parts[-2:])
    return parts[-1] if parts else source
