"""Records of jobs in the project's folder: which job writes which files, and how it ended.

`elasticast status` reads them. A Snakemake that takes over jobs of a killed one needs them to find the results.
"""

import contextlib
import hashlib
import json
import os
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TAG = "smk"
LEFTOVER_S = 3600


class RecordError(Exception):
    """A file in the folder of records that is not a record."""


@dataclass
class Record:
    """A submitted job.

    Parameters
    ----------
    job_id, cluster : str
        Id of the job, and where it runs: slurm or local.
    key, spec : str
        Digests of the files that it writes, and of its commands and parameters.
    run : str
        Name of the folder of the Snakemake that submitted it, inside the folder of records.
    rule : str
        Rule and wildcards.
    outputs : list of str
        Files that it writes.
    submitted : float
        Time of submission (seconds since the epoch).
    end : str
        ``done`` or ``failed``; ``""`` until a Snakemake has noticed that the job has ended.
    """

    job_id: str
    cluster: str
    key: str
    spec: str
    run: str
    rule: str
    outputs: list[str]
    submitted: float
    end: str = ""

    def log(self, root: Path) -> Path:
        """The file with all output of the job, including that before it was requeued."""
        return root / self.run / f"{self.job_id}_0_log.out"

    def result(self, root: Path) -> Path:
        """The file that submitit writes when the job ends by itself."""
        return root / self.run / f"{self.job_id}_0_result.pkl"

    def outcome(self, root: Path) -> tuple[int, str] | None:
        """Exit status and message of a job that ended by itself; None for others."""
        try:
            kind, value = pickle.loads(self.result(root).read_bytes())
        except (FileNotFoundError, EOFError, pickle.UnpicklingError):  # not written yet, or only in part
            return None
        return value if kind == "success" else (1, value)

    @property
    def tag(self) -> str:
        """Comment of the job in the queue."""
        return f"{TAG}:{self.key}:{self.spec}:{self.run}"

    def write(self, root: Path) -> None:
        """Write the record. It replaces the record of an earlier job for the same files."""
        path = root / "jobs" / f"{self.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def read_records(root: Path) -> list[Record]:
    """Read the records of a project, oldest job first.

    Raises
    ------
    RecordError
        If a file is not a record.
    """
    return sorted((_read(path) for path in (root / "jobs").glob("*.json")), key=lambda record: record.submitted)


def _read(path: Path) -> Record:
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RecordError(f"{path}: not the record of a job: {error}; delete it if no job is running") from None


def remove_leftovers(root: Path) -> None:
    """Delete records that a process was writing when it was killed."""
    for path in (root / "jobs").glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):  # its process has just completed it
            if time.time() - path.stat().st_mtime > LEFTOVER_S:
                path.unlink()


def refresh(folder: Path) -> None:
    """Make a network file system look for files that other machines wrote."""
    os.listdir(folder)


def short_digest(*parts: str) -> str:
    """Digest of texts, short enough for the comment of a job."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
