"""Logs of a training run: `history/history.csv`, TensorBoard events, and a progress bar."""

import csv
import io
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from elasticast.files import write_text
from elasticast.progress import Progress

HISTORY_FIELDS = ("step", "epoch", "loss", "lr", "grad_norm", "clips_per_s", "tokens_per_s")
VALIDATION_FIELDS = ("step", "epoch", "split", "metric", "value", "training_flops")


class History:
    """The run's `history/history.csv` and TensorBoard events; rows after the resumed step are dropped.

    Parameters
    ----------
    out : Path
        Folder of the run.
    step : int
        Step that the run resumes from; 0 for a new run.
    """

    def __init__(self, out: Path, step: int):
        folder = out / "history"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "history.csv"
        kept: list[dict] = []
        if step and self.path.is_file():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        if not step:
            for old in (*folder.glob("events.out.*"), *folder.glob("validation.csv")):
                old.unlink()
        lines = io.StringIO(newline="")
        writer = csv.DictWriter(lines, HISTORY_FIELDS)
        writer.writeheader()
        writer.writerows(kept)
        write_text(self.path, lines.getvalue())
        self._purge_step = step + 1

    def __enter__(self) -> "History":
        with self._naming(), ExitStack() as opened:
            opened.enter_context(_errors_of_threads_quiet())
            self.board = SummaryWriter(str(self.path.parent), purge_step=self._purge_step)
            opened.callback(self.board.close)
            self.file = opened.enter_context(self.path.open("a", newline="", buffering=1))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._naming():
            self._opened.close()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of writing name the history, because they name no file."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise

    def write(self, *values: float) -> None:
        """Append a row; the values are in the order of `HISTORY_FIELDS`."""
        with self._naming():
            csv.writer(self.file).writerow(values)
            for name, value in zip(HISTORY_FIELDS[1:], values[1:], strict=True):
                self.board.add_scalar(f"train/{name}", value, values[0])

    def write_validation(self, rows: list[dict]) -> None:
        """Overwrite `history/validation.csv`.

        Parameters
        ----------
        rows : list of dict
            `VALIDATION_FIELDS` of all evaluations so far. Only the last one is added to the TensorBoard events.
        """
        lines = [",".join(str(row[name]) for name in VALIDATION_FIELDS) for row in rows]
        write_text(self.path.with_name("validation.csv"), "\n".join([",".join(VALIDATION_FIELDS), *lines, ""]))
        last = rows[-1]
        with self._naming():
            self.board.add_scalar(f"{last['split']}/{last['metric']}", last["value"], last["step"])


@contextmanager
def _errors_of_threads_quiet() -> Iterator[None]:
    """The thread that writes TensorBoard events passes its errors on to the main one; Python would print them too."""
    before = threading.excepthook

    def print_others(error: threading.ExceptHookArgs) -> None:
        if not isinstance(error.exc_value, OSError):
            before(error)

    threading.excepthook = print_others
    try:
        yield
    finally:
        threading.excepthook = before


class Report:
    """Log a run to its history and its progress bar.

    Parameters
    ----------
    history : History
        Open history of the run.
    progress : Progress
        Progress bar.
    seen : dict of str to int
        Number of `clips` and `tokens` trained on so far.
    """

    def __init__(self, history: History, progress: Progress, seen: dict[str, int]):
        self.history, self.progress = history, progress
        self._before, self._since = seen, time.monotonic()

    def __call__(self, step: int, epoch: int, loss: float, lr: float, grad_norm: float, seen: dict[str, int]) -> None:
        """Log a step; `seen` is the number of `clips` and `tokens` trained on so far."""
        now = time.monotonic()
        speed = {f"{what}_per_s": (seen[what] - self._before[what]) / (now - self._since) for what in seen}
        self._before, self._since = seen, now
        self.history.write(step, epoch, loss, lr, grad_norm, *speed.values())
        self.progress.update(step, loss=loss, lr=lr, clips_per_s=speed["clips_per_s"])

    def log_evaluation(self, record: dict[str, Any], seconds: float) -> None:
        """Log an evaluation that took `seconds`; `record` holds this and all earlier evaluations."""
        self._since += seconds
        split_and_metric = {name: record[name] for name in ("split", "metric")}
        self.history.write_validation([{**row, **split_and_metric} for row in record["history"]])


@contextmanager
def report_progress(out: Path, name: str, step: int, total: int, seen: dict[str, int]) -> Iterator[Report]:
    """Open the logs of a run.

    Parameters
    ----------
    out : Path
        Folder of the run.
    name : str
        Title of the progress bar.
    step, total : int
        Number of steps done so far, and in the whole run.
    seen : dict of str to int
        Number of `clips` and `tokens` trained on so far. Speeds are averages since the last logged step.
    """
    with History(out, step) as history, Progress(name, total) as progress:
        yield Report(history, progress, seen)
