"""Provenance of results: digests of the code that decides them, and records of versions, settings and machine."""

from elasticast.provenance.record import PACKAGES, git_commit, job_record, provenance, versions
from elasticast.provenance.stages import (
    ENSEMBLE,
    PACKAGE,
    RESPONSES,
    STAGES,
    START,
    TEACHER,
    code_digest,
    training_code,
)

__all__ = [
    "ENSEMBLE",
    "PACKAGE",
    "PACKAGES",
    "RESPONSES",
    "STAGES",
    "START",
    "TEACHER",
    "code_digest",
    "git_commit",
    "job_record",
    "provenance",
    "training_code",
    "versions",
]
