"""The model card of an export, in Markdown."""

import json
from collections.abc import Iterable
from typing import Any

from elasticast.config import RunConfig
from elasticast.config.model.own_code import code_sha256
from elasticast.models.pretrained import Pretrained
from elasticast.models.trained import CODE_FILE
from elasticast.text import markdown


def model_card(
    pretrained: Pretrained,
    provenance: dict[str, Any],
    digest: str,
    evidence: dict[str, str] | None = None,
    use: str | None = None,
    notes: Iterable[str] = (),
) -> str:
    """Describe a model in Markdown.

    Parameters
    ----------
    pretrained : Pretrained
        The model.
    provenance : dict
        Record of its run.
    digest : str
        SHA-256 of the file of the model.
    evidence : dict of str to str, optional
        Further rows: test scores and data.
    use : str, optional
        How to use the folder, in Markdown. By default, how to load it with this package.
    notes : iterable of str
        What a user of the format has to know.
    """
    config, classes = pretrained.config, pretrained.classes
    labels = ", ".join(map(markdown, classes[:20])) + (f", ... ({len(classes)} in all)" if len(classes) > 20 else "")
    init = provenance.get("init")
    rows = {
        "model": _model(config),
        "parameters": _parameters(pretrained, provenance),
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
        **(evidence or {}),
        "weights": f"sha256 {digest}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    remarks = "".join(f"- {markdown(note)}\n" for note in notes)
    remarks += "\n" if remarks else ""
    return f"# {markdown(config.experiment)}\n\n| | |\n| --- | --- |\n{table}\n\n{remarks}{use or _use(config)}"


def _model(config: RunConfig) -> str:
    return f"{config.model.kind}, {config.model.summary}"


def _parameters(pretrained: Pretrained, provenance: dict[str, Any]) -> str:
    """Number of parameters, and how many of them were trained if not all were."""
    trained = provenance.get("trained_parameters")
    few = f"; {trained:,} were trained" if trained and trained < provenance["parameters"] else ""
    return f"{sum(p.numel() for p in pretrained.model.parameters()):,}{few}"


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
