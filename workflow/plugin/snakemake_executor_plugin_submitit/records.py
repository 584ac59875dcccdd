"""What is kept of each job in the project's folder: which job makes which files, and whether its end was seen.

`elasticast status` shows it; a Snakemake that takes over the jobs of a killed one finds their results by it.
"""

import hashlib
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

from elasticast.files import read_json, write_json

TAG = "smk"


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
        except (FileNotFoundError, EOFError):
            return None
        return value if kind == "success" else (1, value)

    @property
    def tag(self) -> str:
        """Comment of the job in the queue."""
        return f"{TAG}:{self.key}:{self.spec}:{self.run}"

    def write(self, root: Path) -> None:
        """Keep it; a job that makes the same files replaces it."""
        write_json(_path(root, self.key), asdict(self))


def read_records(root: Path) -> list[Record]:
    """The last job of all files, oldest first."""
    found = [Record(**read_json(path)) for path in (root / "jobs").glob("*.json")]
    return sorted(found, key=lambda record: record.submitted)


def refresh(folder: Path) -> None:
    """Have a network file system look again for files that other machines wrote."""
    os.listdir(folder)


def short_digest(*parts: str) -> str:
    """Digest of texts, short enough for a comment in the queue."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _path(root: Path, key: str) -> Path:
    return root / "jobs" / f"{key}.json"
