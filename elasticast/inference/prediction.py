"""Predictions, and printing them as a table, CSV or JSON."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from elasticast.inference.events import EventScore
from elasticast.inference.files import common_folder
from elasticast.text import csv_cell, printable

OTHER_COLUMNS = 44
"""Least width of a table besides the names of the files (characters)."""


@dataclass(frozen=True)
class Timeline:
    """Scores over time.

    Attributes
    ----------
    start, end : Tensor
        `[W]`: start and end of each window (s).
    scores : Tensor
        `[W, C]`, in the order of the classes.
    """

    start: Tensor
    end: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Prediction:
    """The prediction of a model for one clip.

    Attributes
    ----------
    path : str or None
        Path of the file, as given. None for a waveform.
    seconds : float
        Length of the clip (s).
    scores : dict of str to float
        Probability per label, best first. They sum to 1 over all labels if the model was trained with cross-entropy.
    windows : int
        Number of windows that the clip was split into.
    flags : tuple of str
        Notes on the clip: ``padded: ...``, ``windowed``, ``silent``.
    error : str or None
        Reason why there are no scores. None if there are scores.
    logits : Tensor or None
        `[C]` float32, pooled over the windows, in the order of the classes. None if there is an error.
    timeline : Timeline or None
        Scores of each window. None if they were not kept.
    events : list of EventScore or None
        Events with onset and offset. None if they were not looked for.
    """

    path: str | None
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    windows: int = 0
    flags: tuple[str, ...] = ()
    error: str | None = None
    logits: Tensor | None = field(default=None, repr=False, compare=False)
    timeline: Timeline | None = field(default=None, repr=False, compare=False)
    events: list[EventScore] | None = field(default=None, repr=False, compare=False)


def probabilities(logits: Tensor, loss: Literal["ce", "bce"]) -> Tensor:
    """Probabilities `[..., C]` of the loss that a model was trained with: softmax, or sigmoid for ``bce``."""
    return logits.sigmoid() if loss == "bce" else logits.softmax(-1)


def best_scores(scores: Tensor, classes: Sequence[str], top_k: int | None = None) -> dict[str, float]:
    """The `top_k` labels with the highest scores `[C]`, or all, best first."""
    best = scores.sort(descending=True, stable=True)
    return {classes[i]: best.values[k].item() for k, i in enumerate(best.indices[:top_k].tolist())}


def print_any_character() -> None:
    """Print characters of labels that the terminal lacks as escapes from now on."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_predictions(predictions: Sequence[Prediction], form: Literal["table", "csv", "json"]) -> None:
    """Print predictions to stdout, and the errors of failed files to stderr."""
    print_any_character()
    if form == "table":
        if any(p.error is None for p in predictions):
            _print_table(predictions)
    else:
        sys.stdout.write({"csv": to_csv, "json": to_json}[form](predictions))
    sys.stdout.flush()
    for p in predictions:
        if p.error is not None:
            print(f"error: {printable(p.path or 'waveform')}: {p.error}", file=sys.stderr)


def _print_table(predictions: Sequence[Prediction]) -> None:
    """Print the table with whole names: the folder of all files is printed once, and a narrow terminal wraps lines."""
    folder = common_folder([p.path for p in predictions if p.path])
    if folder:
        print(f"in {printable(folder)}")
        predictions = [replace(p, path=p.path and p.path.removeprefix(folder)) for p in predictions]
    longest = max(cell_len(printable(p.path or "")) for p in predictions)
    console = Console()
    if console.width < longest + OTHER_COLUMNS:
        console = Console(width=longest + OTHER_COLUMNS)
    console.print(to_table(predictions))


def to_json(predictions: Iterable[Prediction]) -> str:
    r"""Format predictions as a JSON list with one object per clip.

    Bytes of file names that are not UTF-8 become escapes such as ``\udcff``, which Python reads as the same file name.
    """
    names = ("path", "seconds", "windows", "flags", "scores", "error")
    clips = [{n: getattr(p, n) for n in names} for p in predictions]
    text = json.dumps(clips, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def to_csv(predictions: Iterable[Prediction]) -> str:
    """Format predictions as tidy CSV: one row per clip and label, best label first, or one row with the error.

    Text that a spreadsheet program would run as a formula gets an apostrophe in front, see
    :func:`elasticast.text.csv_cell`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "seconds", "windows", "flags", "label", "score", "error"])
    for p in predictions:
        head = [csv_cell(p.path or ""), round(p.seconds, 4), p.windows, "; ".join(p.flags)]
        rows = [[csv_cell(label), f"{score:.6g}", ""] for label, score in p.scores.items()]
        writer.writerows([*head, *row] for row in rows or [["", "", p.error]])
    return out.getvalue()


def to_table(predictions: Iterable[Prediction]) -> Table:
    """Format predictions as a table with one row per clip and label, best label first; failed clips are left out."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("file", no_wrap=True)
    table.add_column("s", justify="right")
    table.add_column("label", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("notes", overflow="fold")
    for p in predictions:
        if p.error is not None:
            continue
        for i, (label, score) in enumerate(p.scores.items()):
            head = ["", ""] if i else [Text(printable(p.path or "")), f"{p.seconds:.2f}"]
            table.add_row(*head, Text(printable(label)), f"{score:.3f}", "" if i else Text(", ".join(_notes(p))))
        table.add_section()
    return table


def _notes(prediction: Prediction) -> list[str]:
    texts = {"windowed": f"{prediction.windows} windows"}
    return [texts.get(flag, flag) for flag in prediction.flags]
