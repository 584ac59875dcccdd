"""A trained run as a folder to hand on: weights, all that is needed to use them, and where they come from."""

import json
import shutil
from pathlib import Path
from typing import Any

from elasticast.config import RunConfig
from elasticast.errors import DataError
from elasticast.files import read_json, write_atomic, write_json, write_text
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.models.weights.sources import file_digest

PRIVATE = ("command", "machine")
"""What a run records of the computer it ran on, and those who get the model need not know."""


def export(run: Path, out: Path) -> None:
    """Write `model.safetensors`, `model.json` and a model card, `README.md`.

    The folder is complete: labels, front end, normalisation, training settings and provenance stand in `model.json`,
    and :func:`elasticast.models.pretrained.load_model` takes it without the suite it was trained in.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    out : Path
        Folder to write into.

    Raises
    ------
    DataError
        If the run is not finished, or its weights do not fit its settings.
    """
    if out.resolve() == run.resolve():
        raise DataError(f"{out}: is the run itself; export it to another folder")
    record = run / "run.json"
    if not record.is_file():
        raise DataError(f"{record}: no such file; export takes the folder of a finished run")
    pretrained = load_model(run)
    provenance = {key: value for key, value in read_json(record).items() if key not in PRIVATE}
    if provenance.get("init"):
        provenance["init"] |= {"source": Path(provenance["init"]["source"]).name}
    write_atomic(out / "model.safetensors", lambda file: shutil.copyfile(run / "model.safetensors", file))
    digest = file_digest(out / "model.safetensors")
    write_json(out / "model.json", {**read_json(run / "model.json"), "sha256": digest, "provenance": provenance})
    write_text(out / "README.md", model_card(pretrained, provenance, digest))


def model_card(pretrained: Pretrained, provenance: dict[str, Any], digest: str) -> str:
    """What a model is, in Markdown."""
    config, classes = pretrained.config, pretrained.classes
    labels = ", ".join(classes[:20]) + (f", ... ({len(classes)} in all)" if len(classes) > 20 else "")
    started = provenance.get("init")
    rows = {
        "model": _model(config),
        "parameters": f"{provenance.get('parameters', 0):,}",
        "trained on": f"{config.dataset}, task {config.task}; {_length(config)}",
        "training": f"{provenance.get('steps')} steps, seed {config.seed}"
        + (f", from {started['found']}" if started else ", from scratch")
        + _selected(provenance.get("selection")),
        "input": f"{config.front_end.sample_rate} Hz; {config.front_end.mel_bins} mel bands every "
        f"{config.front_end.hop_ms:g} ms, window {config.front_end.window_ms:g} ms",
        "normalisation": f"(x - {pretrained.norm.mean:.4f}) / (2 x {pretrained.norm.std:.4f})",
        "output": f"{'one label' if pretrained.kind == 'single' else 'several labels'} a clip: {labels}",
        "code": f"git {provenance.get('git_commit')}",
        "data": f"sha256 {provenance.get('data_sha256')}",
        "weights": f"sha256 {digest}",
    }
    table = "\n".join(f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items())
    return f"# {config.experiment}\n\n| | |\n| --- | --- |\n{table}\n\n{_USE}"


def _model(config: RunConfig) -> str:
    model = config.model
    return f"{model.kind}, {model.depth} blocks, {model.dim} wide, {model.heads} heads, patches of {model.patch}"


def _selected(selection: dict[str, Any] | None) -> str:
    if selection is None:
        return ""
    score = f"{selection['metric']} {selection['value']:.4f} on split {selection['split']}"
    return f"; weights of step {selection['step']}, the best of {len(selection['history'])} by {score}"


def _length(config: RunConfig) -> str:
    view = config.view
    length = f"native length up to {view.max_frames} frames" if view.frames == "native" else f"{view.frames} frames"
    return f"{length}, compression {json.dumps(view.compression)}"


_USE = """All settings stand in `model.json`. To use it:

```python
from elasticast import load_pretrained

load_pretrained("this folder").predict(["audio.wav"])
```
"""
