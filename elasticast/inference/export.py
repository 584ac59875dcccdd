"""Export a trained run to a folder that can be shared: weights, settings, provenance and a model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from elasticast.checksums import FILES, OWN, read_record, write_record
from elasticast.config import RunConfig
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.dataset.licences import licence_of
from elasticast.config.load_suite import load_resolved_suite
from elasticast.config.model.own_code import code_sha256
from elasticast.errors import DataError
from elasticast.files import is_file, read_json, write_atomic, write_text
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.models.trained import BASE, CODE_FILE, MODEL_FILES
from elasticast.models.weights.adapted import plain
from elasticast.models.weights.sources import read_weights
from elasticast.reporting.read_tables import read_run_metrics
from elasticast.text import markdown

WEIGHTS, ABOUT = MODEL_FILES
SCORES = "metrics.csv"
PRIVATE = ("command", "machine")
"""Entries of a run's record about the computer it ran on; they are not exported."""


def export(run: Path, out: Path, *, trust_code: bool = False) -> None:
    """Write `model.safetensors`, `model.json` and a model card, `README.md`.

    The folder is self-contained: `model.json` has the labels, front end, normalisation statistics, training settings
    and provenance, and the checksums of itself and of the weights.
    :func:`elasticast.models.pretrained.load_model` loads the folder without the suite of the run. The weights of an
    adapted run are written whole, with low-rank updates added to the weights that they update. The model card has the
    test scores of the run, if it was evaluated, and the licence of its data, if the suite says what they are.

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
        If the run is not finished or damaged, its weights do not fit its settings, its scores were changed, or `out` is
        the folder of a run.
    """
    if out.resolve() == run.resolve():
        raise DataError(f"{out}: is the folder of the run; export to another folder")
    if is_file(out / "run.json"):
        raise DataError(f"{out}: is the folder of another run; export to another folder")
    record = read_record(run / "run.json", "give the folder of a finished run")
    pretrained = load_model(run, trust_code=trust_code)
    evidence = {"test scores": _test_scores(run, pretrained), "data": _data_of(run, record)}
    provenance = {key: value for key, value in record.items() if key not in (*PRIVATE, FILES, OWN)}
    if provenance.get("init"):
        provenance["init"] |= {"source": Path(provenance["init"]["source"]).name}
    about = {key: value for key, value in read_json(run / ABOUT).items() if key != OWN}
    about["provenance"] = provenance
    if BASE in about:
        _write_whole(run, out, about)
        pretrained = load_model(out)
    else:
        for name in (name for name in (WEIGHTS, CODE_FILE) if is_file(run / name)):
            write_atomic(out / name, lambda file, name=name: shutil.copyfile(run / name, file))
        write_record(out / ABOUT, about)  # keeps the checksum of the run's weights
    write_text(out / "README.md", model_card(pretrained, provenance, pretrained.sha256, evidence))


def _write_whole(run: Path, out: Path, about: dict[str, Any]) -> None:
    """Write the files of an adapted run so that they need no other weights; `about` is the run's `model.json`."""
    weights = read_weights(run)
    if weights.config.model.adaptation.plain:
        weights = plain(weights)
    tensors = {name: value.contiguous() for name, value in weights.tensors.items()}
    write_atomic(out / WEIGHTS, lambda file: save_file(tensors, file))
    content = {key: value for key, value in about.items() if key not in (BASE, FILES)}
    content["config"] = weights.config.model_dump(mode="json")
    write_record(out / ABOUT, content, [out / WEIGHTS])


def _test_scores(run: Path, pretrained: Pretrained) -> str:
    """The main metric (%) of a run at each point of its sweeps of the test split."""
    if not is_file(run / SCORES):
        return "not evaluated"
    record, table = read_run_metrics(run / SCORES)
    table, texts = table[table["metric"] == PRIMARY_METRIC[pretrained.kind]], []
    for name, sweep in record["evaluations"].items():
        rows = table[table["evaluation"] == name]
        if sweep["split"] == "test" and len(rows):
            points = ", ".join(f"{100 * row.value:.1f} at {row.x:g}" for row in rows.itertuples())
            texts.append(f"{rows['metric'].iloc[0]} over {sweep['x_name']}: {points} ({rows['n'].max()} clips)")
    return "; ".join(texts) or "not evaluated"


def _data_of(run: Path, record: dict[str, Any]) -> str:
    """What the suite of a run says of its data, and their checksum."""
    path, checksum = run.parents[2] / "summary" / "suite.yaml", f"sha256 {record.get('data_sha256')}"
    if not is_file(path):
        return f"{checksum}; licence not known"
    dataset = load_resolved_suite(path).datasets.get(record["dataset"])
    licence = licence_of(dataset) if dataset else None
    about = f"{dataset.origin}; " if dataset else ""
    return f"{about}{f'licence {licence}' if licence else 'licence: see the source of the dataset'}; {checksum}"


def model_card(
    pretrained: Pretrained, provenance: dict[str, Any], digest: str, evidence: dict[str, str] | None = None
) -> str:
    """Describe a model in Markdown.

    Parameters
    ----------
    provenance : dict
        Entries of the run's record.
    digest : str
        SHA-256 of the weights.
    evidence : dict of str to str, optional
        Further rows, such as its scores.
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
        "weights": f"sha256 {digest}",
        **(evidence or {}),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"# {markdown(config.experiment)}\n\n| | |\n| --- | --- |\n{table}\n\n{_use(config)}"


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
