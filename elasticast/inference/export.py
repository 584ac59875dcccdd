"""Export a trained run to a folder that can be shared: weights, settings and provenance."""

import json
import shutil
from pathlib import Path
from typing import Any

from elasticast.checksums import FILES, OWN, read_record, write_record
from elasticast.config import RunConfig
from elasticast.config.model_class import code_sha256
from elasticast.errors import DataError
from elasticast.files import is_file, read_json, write_atomic, write_text
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.models.trained import CODE_FILE
from elasticast.text import markdown

PRIVATE = ("command", "machine")
"""Entries of a run's record about the computer it ran on; they are not exported."""


def export(run: Path, out: Path, *, trust_code: bool = False) -> None:
    """Write `model.safetensors`, `model.json` and a model card, `README.md`.

    The folder is self-contained: `model.json` has the labels, front end, normalisation statistics, training settings
    and provenance, and the checksums of itself and of the weights.
    :func:`elasticast.models.pretrained.load_model` loads the folder without the suite of the run.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    out : Path
        Folder to write into.
    trust_code : bool
        Whether to run the code of a model that brings its own, see :func:`elasticast.models.pretrained.load_model`.

    Raises
    ------
    DataError
        If the run is not finished or damaged, its weights do not fit its settings, or `out` is the folder of a run.
    """
    if out.resolve() == run.resolve():
        raise DataError(f"{out}: is the folder of the run; export to another folder")
    if is_file(out / "run.json"):
        raise DataError(f"{out}: is the folder of another run; export to another folder")
    record = read_record(run / "run.json", "give the folder of a finished run")
    pretrained = load_model(run, trust_code=trust_code)
    provenance = {key: value for key, value in record.items() if key not in (*PRIVATE, FILES, OWN)}
    if provenance.get("init"):
        provenance["init"] |= {"source": Path(provenance["init"]["source"]).name}
    for name in (name for name in ("model.safetensors", CODE_FILE) if is_file(run / name)):
        write_atomic(out / name, lambda file, name=name: shutil.copyfile(run / name, file))
    about = {key: value for key, value in read_json(run / "model.json").items() if key != OWN}
    write_record(out / "model.json", {**about, "provenance": provenance})  # keeps the checksum of the run's weights
    write_text(out / "README.md", model_card(pretrained, provenance, about[FILES]["model.safetensors"]))


def model_card(pretrained: Pretrained, provenance: dict[str, Any], digest: str) -> str:
    """Describe a model in Markdown."""
    config, classes = pretrained.config, pretrained.classes
    labels = ", ".join(map(markdown, classes[:20])) + (f", ... ({len(classes)} in all)" if len(classes) > 20 else "")
    init = provenance.get("init")
    rows = {
        "model": _model(config),
        "parameters": f"{provenance.get('parameters', 0):,}",
        "trained on": f"{config.dataset}, task {config.task}; {_length(config)}",
        "training": f"{provenance.get('steps')} steps, seed {config.seed}"
        + (f", from {markdown(str(init['found']))}" if init else ", from scratch")
        + _selected(provenance.get("selection")),
        "input": f"{config.front_end.sample_rate} Hz; {config.front_end.mel_bins} mel bands every "
        f"{config.front_end.hop_ms:g} ms, window {config.front_end.window_ms:g} ms",
        "normalisation": f"(x - {pretrained.norm.mean:.4f}) / (2 x {pretrained.norm.std:.4f})",
        "output": f"{'one label' if pretrained.kind == 'single' else 'several labels'} a clip: {labels}",
        "scores": "softmax of the logits" if config.train.loss == "ce" else "sigmoid of the logits",
        "code": f"git {provenance.get('git_commit')}",
        "data": f"sha256 {provenance.get('data_sha256')}",
        "weights": f"sha256 {digest}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"# {markdown(config.experiment)}\n\n| | |\n| --- | --- |\n{table}\n\n{_use(config)}"


def _model(config: RunConfig) -> str:
    return f"{config.model.kind}, {config.model.summary}"


def _selected(selection: dict[str, Any] | None) -> str:
    if selection is None:
        return ""
    score = f"{selection['metric']} {selection['value']:.4f} on split {selection['split']}"
    return f"; weights of step {selection['step']}, the best of {len(selection['history'])} by {score}"


def _length(config: RunConfig) -> str:
    view = config.view
    length = f"native length up to {view.max_frames} frames" if view.frames == "native" else f"{view.frames} frames"
    return f"{length}, compression {json.dumps(view.compression)}"


def _use(config: RunConfig) -> str:
    trust = "" if code_sha256(config.model) is None else ", trust_code=True"
    code = f"The code of the model is in `{CODE_FILE}`; read it before you run it. " if trust else ""
    return f"""{code}All settings are in `model.json`. To use the model:

```python
from elasticast import load_pretrained

load_pretrained("this folder"{trust}).predict(["audio.wav"])
```
"""
