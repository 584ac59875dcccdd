"""What is kept of each job in the project's folder: which job makes which files, and whether its end was seen.

`elasticast status` shows it; a Snakemake that takes over the jobs of a killed one finds their results by it.
"""

import hashlib
import json
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

TAG = "smk"


class RecordError(Exception):
    """A file in the folder of records that is not a record."""


@dataclass
class Record:
    """A submitted job.

    Parameters
    ----------
    job_id, cluster : str
        Id, and where: slurm or local.
    key, spec : str
        Digest of the files it makes, and of what it is asked to do.
    run : str
        Folder of the Snakemake that submitted it, in the folder of all records.
    rule : str
        Rule and wildcards.
    outputs : list of str
        Files it makes.
    submitted : float
        When (seconds since the epoch).
    end : str
        ``""`` as long as no Snakemake has taken note of its end, then ``done`` or ``failed``.
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
        """Everything the job printed, in all its starts."""
        return root / self.run / f"{self.job_id}_0_log.out"

    def result(self, root: Path) -> Path:
        """What submitit writes when the job ends by itself."""
        return root / self.run / f"{self.job_id}_0_result.pkl"

    def outcome(self, root: Path) -> tuple[int, str] | None:
        """Exit status and message of a job that ended by itself; none for others."""
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
        """Write the record; it replaces that of an earlier job for the same files."""
        path = root / "jobs" / f"{self.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


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


def refresh(folder: Path) -> None:
    """Have a network file system look again for files that other machines wrote."""
    os.listdir(folder)


def short_digest(*parts: str) -> str:
    """Digest of texts, short enough for a comment in the queue."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
