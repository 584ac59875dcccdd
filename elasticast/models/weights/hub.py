"""Files of a repository of the Hugging Face Hub: ``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``.

Only weights, settings and the model card are fetched, never code. Files go to the cache of `huggingface_hub`, and with
``HF_HUB_OFFLINE=1`` they are read from it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from elasticast.errors import DataError
from elasticast.files import is_file

HF = "hf:"
SETTINGS = ("config.json", "preprocessor_config.json", "model.json", "README.md")
SAFE = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
PICKLED = ("pytorch_model.bin",)
"""Weights that are fetched only if a repository has no safetensors. They are read with `weights_only`."""
_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository at one commit.

    Attributes
    ----------
    repository : str
        ``OWNER/NAME``.
    revision : str
        The commit.
    folder : Path
        Folder of the files in the cache.
    pinned : bool
        Whether the source named this commit. A branch or tag can move.
    """

    repository: str
    revision: str
    folder: Path
    pinned: bool

    @property
    def source(self) -> str:
        """The source with its commit."""
        return f"{HF}{self.repository}@{self.revision}"

    def note(self) -> str:
        """Which commit was used, for the record of a run."""
        advice = "" if self.pinned else "; give this source to use the same files again"
        return f"from {self.source}{advice}"


def fetch(source: str) -> Snapshot:
    """Fetch the files of a repository, or find them in the cache.

    Parameters
    ----------
    source : str
        ``hf:OWNER/NAME``, with ``@REVISION`` for a branch, tag or commit. The default is the branch ``main``.

    Raises
    ------
    DataError
        If the name is not one of a repository, or if the files are neither in the cache nor can be fetched.
    """
    match = _NAME.fullmatch(source.removeprefix(HF))
    if not match or ".." in source:
        raise DataError(f"{source}: expected {HF}OWNER/NAME or {HF}OWNER/NAME@REVISION")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DataError(f"{source}: needs huggingface_hub: pip install 'elasticast[hub]' ({error})") from None
    repository, revision = match["repository"], match["revision"]

    def download(*patterns: str) -> Path:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))

    try:
        folder = download(*SETTINGS, *SAFE)
        if not any(folder.glob("*.safetensors")):
            folder = download(*SETTINGS, *PICKLED)
    except Exception as error:  # many types are possible: the hub, the network, the cache
        raise DataError(_problem(source, repository, revision, error)) from None
    return Snapshot(repository, folder.name, folder, bool(revision and _COMMIT.fullmatch(revision)))


def _problem(source: str, repository: str, revision: str | None, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    at = f" --revision {revision}" if revision else ""
    return (
        f"{source}: not in the cache, and could not be downloaded ({type(error).__name__}: {reason}). Check the name "
        f"and the revision. Without network: run\n  hf download {repository}{at} --local-dir FOLDER\non a machine with "
        "internet, copy the folder, and give its path instead."
    )


def card_licence(folder: Path) -> str | None:
    """Licence that the model card (README.md) in a folder states; None if it states none."""
    path = folder / "README.md"
    if not is_file(path):
        return None
    _, *parts = path.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
    try:
        head = yaml.safe_load(parts[0]) if len(parts) == 2 else None
    except yaml.YAMLError:
        return None
    licence = head.get("license") if isinstance(head, dict) else None
    return licence if isinstance(licence, str) else None
