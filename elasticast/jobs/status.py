"""Status of each run of a suite: state, last step, remaining time, and its job if it has one."""

import csv
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from elasticast.config import RunConfig, Suite
from elasticast.errors import DataError
from elasticast.files import in_use, read_json

COLUMNS = ("run", "state", "step", "to go", "trained", "job", "log")


@dataclass(frozen=True)
class RunStatus:
    """One line of `elasticast status`; unknown values are empty strings."""

    run: str
    state: str
    step: str
    to_go: str
    trained: str
    job: str
    log: str


def suite_status(suite: Suite, results: Path, records: Path) -> list[RunStatus]:
    """The status of every run of a suite or of an ablation.

    Parameters
    ----------
    suite : Suite
        The suite, as returned by `load_suite` or `load_ablation`.
    results : Path
        Folder of the results.
    records : Path
        Folder of the job records (``submitit-folder`` in the profile).
    """
    states = _queue()
    jobs = {str(Path(path).parent): record for record in _records(records) for path in record.outputs}
    rows = []
    for experiment in suite.experiments:
        for seed in suite.seeds:
            folder, evaluated = (results / path / f"seed{seed}" for path in suite.folders(experiment))
            config = suite.run_config(experiment, seed)
            record = jobs.get(str(folder))
            queued = states.get(record.job_id) if record and not record.end else None
            if queued and not queued.ended:
                state = f"waiting ({queued.reason})" if queued.name == "PENDING" else queued.name.lower()
            else:
                state = _state(folder, evaluated, record.end if record else "")
            step, to_go = training_progress(folder, config)
            left = "" if to_go is None or state != "running" else str(to_go)
            job, log = (record.job_id, str(record.log(records))) if record else ("", "")
            trained = _trained(folder, config)
            rows.append(RunStatus(f"{experiment} seed {seed}", state, step, left, trained, job, log))
    return rows


def table(rows: list[RunStatus]) -> str:
    """Format the rows as text: a header line, and columns as wide as their longest cell.

    There is a column of trained parameters if any run trained only some.
    """
    cells = [COLUMNS, *((r.run, r.state, r.step, r.to_go, r.trained, r.job, r.log) for r in rows)]
    if not any(r.trained for r in rows):
        cells = [row[:4] + row[5:] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _queue() -> dict:
    """The jobs of this user in the Slurm queue; empty without Slurm."""
    from snakemake_executor_plugin_submitit.clusters import queue

    return (queue() or {}) if shutil.which("squeue") else {}


def _records(folder: Path) -> list:
    """The job records of this project, oldest first."""
    from snakemake_executor_plugin_submitit.records import RecordError, read_records

    try:
        return read_records(folder)
    except RecordError as error:
        raise DataError(str(error)) from None


def _state(folder: Path, evaluated: Path, end: str) -> str:
    """State of a run according to its files and those of its evaluation; `end` is how its last job ended."""
    if in_use(folder / "checkpoint"):
        return "running"
    if (folder / "run.json").is_file():
        return "evaluated" if (evaluated / "metrics.csv").is_file() else "trained"
    if end == "failed":
        return "failed"
    return "saved, not running" if list((folder / "checkpoint").glob("step-*")) else "not started"


def _trained(folder: Path, config: RunConfig) -> str:
    """Number of parameters that a finished run trained, with that of all, if these are not the same."""
    if config.model.adaptation is None or not (folder / "run.json").is_file():
        return ""
    record = read_json(folder / "run.json")
    return f"{record['trained_parameters']:,} of {record['parameters']:,}"


def training_progress(folder: Path, config: RunConfig) -> tuple[str, timedelta | None]:
    """Last step with the total, and the remaining time at the speed in the last line of history.csv.

    The remaining time is None if it is not known: for runs in phases or with a length in epochs, or if that speed is 0.
    """
    path = folder / "history" / "history.csv"
    if not path.is_file():
        return "", None
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]  # the last line may be incomplete
    if not rows:
        return "0", None
    step, train = int(rows[-1]["step"]), config.train
    if train.phases is not None:  # the number of steps of a phase depends on the clips
        return f"{step} (epoch {rows[-1]['epoch']})", None
    if train.steps is None:
        of = f" of {train.epochs}" if train.epochs is not None else ""
        return f"{step} (epoch {rows[-1]['epoch']}{of})", None
    unit, size = ("clips", train.batch.clips) if train.batch.clips else ("tokens", train.batch.tokens)
    speed = float(rows[-1][f"{unit}_per_s"])
    to_go = timedelta(seconds=round((train.steps - step) * size / speed)) if speed else None
    return f"{step} of {train.steps}", to_go
