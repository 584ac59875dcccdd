"""Evaluate any trained model on a prepared dataset at a few lengths: `elasticast sweep`."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.checksums import write_record
from elasticast.config import Evaluation
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.evaluation import sweep_problems
from elasticast.data.dataset import Clips
from elasticast.data.manifest import read_classes, read_data_hash
from elasticast.errors import ConfigError, DataError, Problem
from elasticast.evaluation.classes import match_classes, select_classes
from elasticast.evaluation.sweep import evaluate
from elasticast.files import write_text
from elasticast.models.device import compute_record, default_device
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.progress import LOG
from elasticast.provenance import code_digest, job_record
from elasticast.reporting.length_figure import write_length_figure

_LENGTH = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ms|s)")
TABLE = "sweep.csv"
COLUMNS = {
    "seconds": "length (s)",
    "frames": "frames",
    "chunk": "chunk (s)",
    "context": "context (s)",
    "delay": "delay (s)",
    "real_time_factor": "real-time factor",
    "n": "clips",
}
"""Columns of printed tables, besides the scores."""


def parse_lengths(text: str, option: str = "--lengths", *, any_context: bool = False) -> list[float]:
    """Parse lengths such as ``1s,2.5s,500ms`` to seconds, shortest first.

    Parameters
    ----------
    text : str
        The lengths.
    option : str
        Option that gives them, for the message.
    any_context : bool
        Whether ``0s`` and ``inf`` are lengths, too.

    Raises
    ------
    ConfigError
        If an entry is no length above 0 with a unit.
    """
    lengths = set()
    for entry in map(str.strip, text.split(",")):
        match = _LENGTH.fullmatch(entry)
        seconds = float(match[1]) * (0.001 if match[2] == "ms" else 1.0) if match else math.nan
        if any_context and entry == "inf":
            seconds = math.inf
        if not (seconds > 0 or (any_context and seconds == 0)):
            expected = (
                "0s, inf, or lengths such as 1s,500ms" if any_context else "lengths above 0 such as 1s,2.5s,500ms"
            )
            raise ConfigError([Problem(option, (), f"expected {expected}", entry)])
        lengths.add(seconds)
    return sorted(lengths)


def length_sweep(
    source: str,
    data: Path,
    lengths: list[float],
    out: Path,
    *,
    split: str = "test",
    task: str | None = None,
    trust_code: bool = False,
) -> pd.DataFrame:
    """Evaluate a model at some lengths, and write a table, its record and a figure.

    Parameters
    ----------
    source : str
        Any weights that :func:`elasticast.models.pretrained.load_model` accepts.
    data : Path
        Folder of a prepared dataset.
    lengths : list of float
        Lengths (s). Each is rounded to whole patches. ElasticAST is given at most this much of a clip; a fixed-length
        model is given exactly this much, so that shorter clips are padded.
    out : Path
        Folder to write `sweep.csv`, `sweep.json`, `sweep.png` and `sweep.pdf` into.
    split : str
        Split of the clips.
    task : str, optional
        Task of the labels. Default: that of the model if the data have it, else the only one whose classes the model
        has.
    trust_code : bool
        Whether to run the code of a model that brings its own.

    Returns
    -------
    DataFrame
        One row per length and metric: ``model``, ``dataset``, ``task``, ``split``, ``seconds``, ``frames``, ``metric``,
        ``value`` (fraction; d′ in its unit), ``n`` (number of clips).

    Raises
    ------
    DataError
        If the model or the data cannot be read, or if the classes do not fit.
    ConfigError
        If the model cannot take one of the lengths.
    """
    model = on_task(load_model(source, trust_code=trust_code), source, data, split, task)
    config = model.config
    points = _points(model, lengths)
    evaluation = Evaluation(x_name="max_frames", x=list(points), split=split)
    if problems := sweep_problems(config, evaluation):
        raise ConfigError([Problem("--lengths", (), f"{source}: {p.message}", lengths) for p in problems])
    rows = evaluate(model.model.to(default_device()), data, config, model.norm, {"length": evaluation})
    table = pd.DataFrame(
        {
            "model": source,
            "dataset": config.dataset,
            "task": config.task,
            "split": split,
            "seconds": rows["x"].map(points),
            "frames": rows["x"].astype(int),
            **{name: rows[name] for name in ("metric", "value", "n")},
        }
    )
    write_sweep(table, out / TABLE, model, source, data)
    write_length_figure(table, PRIMARY_METRIC[model.kind], out / "sweep", config)
    return table


def write_sweep(table: pd.DataFrame, path: Path, model: Pretrained, source: str, data: Path, *code: str) -> None:
    """Write the table of a sweep, and its record, `.json`: model, data, and the code that evaluates, with `code`."""
    write_text(path, table.to_csv(index=False))
    computed = compute_record(model.config.model.backend, default_device())
    record = job_record(code_digest("evaluate", *code), model.config, read_data_hash(data), **computed)
    record |= {"weights": source, "weights_sha256": model.sha256, "notes": model.notes}
    write_record(path.with_suffix(".json"), record, [path])


def as_text(table: pd.DataFrame) -> str:
    """The table for a terminal: one row per length, or chunk and context, with scores in %."""
    rows = table.assign(
        metric=[name if name == "d_prime" else f"{name} (%)" for name in table["metric"]],
        value=[
            f"{value if name == 'd_prime' else 100 * value:.1f}" for name, value in table[["metric", "value"]].values
        ],
    )
    index = [name for name in COLUMNS if name in rows]
    wide = rows.pivot(index=index, columns="metric", values="value")
    wide = wide[list(dict.fromkeys(rows["metric"]))].reset_index().rename_axis(columns=None)
    return wide.rename(columns=COLUMNS).to_string(index=False, float_format="{:.4g}".format)


def _points(model: Pretrained, lengths: list[float]) -> dict[float, float]:
    """Number of frames of each length, a multiple of the patch, and its seconds."""
    hop_ms, patch = model.config.front_end.hop_ms, model.config.model.patch
    frames = [float(max(1, round(1000 * seconds / hop_ms / patch)) * patch) for seconds in lengths]
    for asked, x in zip(lengths, frames, strict=True):
        if not math.isclose(asked, x * hop_ms / 1000):
            text = "--lengths: %g s is evaluated at %g s, as lengths are whole patches of %d frames"
            LOG.info(text, asked, x * hop_ms / 1000, patch)
    return {x: x * hop_ms / 1000 for x in dict.fromkeys(frames)}


def on_task(model: Pretrained, source: str, data: Path, split: str, task: str | None) -> Pretrained:
    """The model with the classes of a task of the data; of the only one that fits if none is given.

    Raises
    ------
    DataError
        If the classes do not fit, or the data have no such split, or another sample rate.
    """
    tasks = read_classes(data / "classes.json")
    name = task or _task_of(model, tasks, source, data)
    if name not in tasks:
        raise DataError(f"{data / 'classes.json'}: no task {name!r}; expected one of: {', '.join(tasks)}")
    about, where = tasks[name], f"{name} of {data.name}"
    matched = match_classes(select_classes(model, about["classes"], where), about["classes"], source, where)
    for note in model.notes:  # those on classes have been printed
        LOG.info("%s: %s", source, note)
    config = model.config.model_copy(update={"dataset": data.resolve().name, "task": name})
    Clips(data, split, name).check_rate(config.front_end)
    return replace(matched, config=config, kind=about["kind"])


def _task_of(model: Pretrained, tasks: dict[str, dict[str, Any]], source: str, data: Path) -> str:
    """The task that a model can be evaluated on."""
    if model.config.task in tasks or len(tasks) == 1:
        return model.config.task if model.config.task in tasks else next(iter(tasks))
    fitting = [name for name, about in tasks.items() if set(about["classes"]) <= set(model.classes)]
    if len(fitting) != 1:
        raise DataError(f"{data}: which task {source} solves is not clear; choose one with --task: {', '.join(tasks)}")
    return fitting[0]
