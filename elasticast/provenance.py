"""Where a result comes from: versions, git commit, machine, code."""

import ast
import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from elasticast.config import RunConfig, digest

PACKAGE = Path(__file__).parent
PACKAGES = ("elasticast", "torch", "torchaudio", "xformers", "numpy", "pandas", "scikit-learn", "h5py", "snakemake")

_MEASURED = ("data/windows.py", "evaluation/flops.py", "evaluation/metrics.py", "evaluation/sweep.py")
_FRAMED = ("config/frames.py", "data/features.py")
_ENCODED = (*_FRAMED, "data/encoder.py", "data/packing.py", "data/views.py")
_VIEWED = (*_ENCODED, "data/dataset.py", "data/sampler.py", "models")
_DRAWN = ("reporting/scripts.py", "reporting/style.py")
_SCORED = (
    *_DRAWN,
    "reporting/panel_inputs.py",
    "reporting/panels.py",
    "reporting/read_tables.py",
    "reporting/released_curves.py",
)
_DECODED = ("data/audio.py", "data/ffmpeg.py", "data/recordings.py", "data/store.py")
STAGES = {
    "synthesis": ("data/synthesis.py",),
    "decode": _DECODED,
    "prepare": (
        *_DECODED,
        "data/annotations.py",
        "data/lookup.py",
        "data/manifest.py",
        "data/parts.py",
        "data/prepare.py",
    ),
    "stats": (*_FRAMED, "data/stats.py"),
    "train": (*_VIEWED, "data/augment.py", "training"),
    "select": (*_VIEWED, *_MEASURED, "data/augment.py", "training"),
    "evaluate": (*_VIEWED, *_MEASURED, "evaluation/saved_predictions.py", "evaluation/run.py"),
    "intervals": (
        "evaluation/intervals.py",
        "evaluation/saved_predictions.py",
        "evaluation/statistics.py",
    ),
    "curves": (*_SCORED, "reporting/captions.py", "reporting/curves.py", "reporting/legend.py"),
    "table": (*_SCORED, "reporting/comparison.py", "reporting/tables.py"),
    "verdict": (*_SCORED, "reporting/claims.py", "reporting/tables.py", "reporting/verdict.py"),
    "ablation": (
        *_DRAWN,
        "config/ablation.py",
        "config/ablation_names.py",
        "config/ablation_sweeps.py",
        "config/load_ablation.py",
        "evaluation/saved_predictions.py",
        "evaluation/statistics.py",
        "reporting/ablation",
        "reporting/captions.py",
        "reporting/curves.py",
        "reporting/legend.py",
        "reporting/panels.py",
        "reporting/read_tables.py",
        "reporting/tables.py",
    ),
    "lengths": (
        *_DRAWN,
        "config/frames.py",
        "data/views.py",
        "reporting/native_lengths.py",
        "reporting/token_shares.py",
    ),
    "packing": (*_DRAWN, *_ENCODED, "reporting/captions.py", "reporting/packed_batch.py"),
}
"""The part of the package that decides each stage's output; a change elsewhere re-runs nothing of it.

`select` is `train` of a run that keeps the best weights on a split.
To `synthesis` and `prepare` the module of the dataset at hand is added.
"""


def code_digest(stage: str, *more: str) -> str:
    """Digest of a stage's code without comments, docstrings and layout, so that editing those re-runs nothing.

    Parameters
    ----------
    more : str
        Further files of the package, such as the module of the dataset at hand.
    """
    total = hashlib.sha256()
    for name in (*STAGES[stage], *more):
        path = PACKAGE / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            total.update(f"{file.relative_to(PACKAGE)}\0{_bare(file.read_text(encoding='utf-8'))}\0".encode())
    return total.hexdigest()[:16]


def _bare(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(line: ast.stmt) -> bool:
    """Whether a statement is a string and nothing else: a docstring, of an attribute too."""
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def git_commit(folder: Path = PACKAGE) -> str | None:
    """Commit of the checkout that holds `folder`, with ``-dirty`` when files differ from it; none outside of git."""
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def provenance() -> dict[str, Any]:
    """What every result records beside its own settings and timing."""
    return {
        "git_commit": git_commit(),
        "versions": versions(),
        "machine": {"system": platform.platform(), "processor": _processor(), "cpus": os.cpu_count()},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def job_record(
    stage: str, config: RunConfig, data_sha256: str, *, device: str, attention_backend: str, threads: int
) -> dict[str, Any]:
    """What a training or evaluation job records of its settings, code, data and device, with its provenance.

    Parameters
    ----------
    stage : str
        Key of :data:`STAGES`.
    config : RunConfig
        The run.
    data_sha256 : str
        Hash of the prepared data.
    device, attention_backend, threads
        How it was computed, see :func:`elasticast.models.device.compute_record`.
    """
    return {
        "experiment": config.experiment,
        "seed": config.seed,
        "config_digest": digest(config),
        "code_digest": code_digest(stage),
        "data_sha256": data_sha256,
        "device": device,
        "attention_backend": attention_backend,
        "threads": threads,
        **provenance(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
