"""What a run tells while it trains: `history/history.csv`, TensorBoard events, and progress."""

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from elasticast.progress import Progress

HISTORY_FIELDS = ("step", "epoch", "loss", "lr", "grad_norm", "clips_per_s", "tokens_per_s")


class History:
    """The run's `history/history.csv` and TensorBoard events; lines after the resumed step are dropped."""

    def __init__(self, out: Path, step: int):
        folder = out / "history"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "history.csv"
        kept: list[dict] = []
        if step and self.path.is_file():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        if not step:
            for old in folder.glob("events.out.*"):
                old.unlink()
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_FIELDS)
            writer.writeheader()
            writer.writerows(kept)
        self.board = SummaryWriter(str(folder), purge_step=step + 1)

    def __enter__(self) -> "History":
        self.file = self.path.open("a", newline="", buffering=1)
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()
        self.board.close()

    def write(self, *values: float) -> None:
        """One line, in the order of `HISTORY_FIELDS`."""
        csv.writer(self.file).writerow(values)
        for name, value in zip(HISTORY_FIELDS[1:], values[1:], strict=True):
            self.board.add_scalar(f"train/{name}", value, values[0])


@contextmanager
def reporting(out: Path, name: str, step: int, total: int, seen: dict[str, int]) -> Iterator[Callable[..., None]]:
    """Open the history at `step` of `total`; what comes is called with its fields up to `grad_norm`, then `seen`.

    Parameters
    ----------
    out : Path
        The run's folder.
    name : str
        Name of the run, for the progress.
    step, total : int
        Steps done, steps of the whole run.
    seen : dict of str to int
        `clips` and `tokens` trained on so far; the speeds are of those since the last report.
    """
    before, since = seen, time.monotonic()
    with History(out, step) as history, Progress(name, total) as progress:

        def report(step: int, epoch: int, loss: float, lr: float, grad_norm: float, seen: dict[str, int]) -> None:
            nonlocal before, since
            now = time.monotonic()
            speed = {f"{what}_per_s": (seen[what] - before[what]) / (now - since) for what in ("clips", "tokens")}
            before, since = seen, now
            history.write(step, epoch, loss, lr, grad_norm, *speed.values())
            progress.update(step, loss=loss, lr=lr, clips_per_s=speed["clips_per_s"])

        yield report
