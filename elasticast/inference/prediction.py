"""Predictions, and how they are told: as a table, as CSV, as JSON."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor


@dataclass(frozen=True)
class Timeline:
    """Scores over time: `start` and `end` `[W]` of the windows (s), `scores` `[W, C]` in the order of the classes."""

    start: Tensor
    end: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Prediction:
    """What a model says about one clip.

    Attributes
    ----------
    path : str or None
        File, as given; none for a waveform.
    seconds : float
        Length (s).
    scores : dict of str to float
        Label to probability, best first.
    windows : int
        Number of windows the clip was shown in.
    flags : tuple of str
        What to know about it: ``padded: ...``, ``windowed``, ``silent``.
    error : str or None
        Why there are no scores.
    logits : Tensor or None
        `[C]` float32, pooled over the windows, in the order of the classes.
    timeline : Timeline or None
        Scores of each window, if asked for.
    """

    path: str | None
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    windows: int = 0
    flags: tuple[str, ...] = ()
    error: str | None = None
    logits: Tensor | None = field(default=None, repr=False, compare=False)
    timeline: Timeline | None = field(default=None, repr=False, compare=False)


def print_predictions(predictions: Sequence[Prediction], form: Literal["table", "csv", "json"]) -> None:
    """Print predictions to stdout, and to stderr which files failed and why."""
    if form == "table":
        if any(p.error is None for p in predictions):
            Console().print(to_table(predictions))
    else:
        sys.stdout.write({"csv": to_csv, "json": to_json}[form](predictions))
    sys.stdout.flush()
    for p in predictions:
        if p.error is not None:
            print(f"error: {p.path}: {p.error}", file=sys.stderr)


def to_json(predictions: Iterable[Prediction]) -> str:
    """A JSON list, one object a clip."""
    names = ("path", "seconds", "windows", "flags", "scores", "error")
    return json.dumps([{n: getattr(p, n) for n in names} for p in predictions], indent=2, ensure_ascii=False) + "\n"


def to_csv(predictions: Iterable[Prediction]) -> str:
    """Tidy CSV, one row a clip and label, best first; a clip without scores has one row with its error."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "seconds", "windows", "flags", "label", "score", "error"])
    for p in predictions:
        head = [p.path, round(p.seconds, 4), p.windows, "; ".join(p.flags)]
        rows = [[label, f"{score:.6g}", ""] for label, score in p.scores.items()]
        writer.writerows([*head, *row] for row in rows or [["", "", p.error]])
    return out.getvalue()


def to_table(predictions: Iterable[Prediction]) -> Table:
    """A table for people, the best labels of each clip one under the other."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("file", overflow="fold")
    table.add_column("s", justify="right")
    table.add_column("label", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("notes", overflow="fold")
    for p in predictions:
        if p.error is not None:
            continue
        for i, (label, score) in enumerate(p.scores.items()):
            head = ["", ""] if i else [escape(p.path or ""), f"{p.seconds:.2f}"]
            table.add_row(*head, escape(label), f"{score:.3f}", "" if i else ", ".join(_notes(p)))
        table.add_section()
    return table


def _notes(prediction: Prediction) -> list[str]:
    many = {"windowed": f"{prediction.windows} windows"}
    return [many.get(flag, flag) for flag in prediction.flags]
