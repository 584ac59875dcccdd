"""What a suite cost: the time of each job, from Snakemake's benchmark files, and where it ran.

Jobs that take seconds, such as collecting tables and drawing, have no benchmark file and are not counted.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.checksums import FILES, OWN
from elasticast.config import Suite
from elasticast.errors import DataError
from elasticast.evaluation.records import EVALUATION, read_evaluation, read_training
from elasticast.jobs.benchmarks import Measured, read_benchmark
from elasticast.plan import Plan

CORE_HOUR, GPU_HOUR = 0.05, 2.50
"""Assumed prices, in US dollars: one core of a rented machine, and one data-centre GPU with its cores."""
RUN_KEYS = ("device", "attention_backend", "threads", "code_digest")
TEXT = ("dataset", "experiment", "processor", "code_digest", "torch", "weights_sha256", "record_sha256")
"""Columns that hold text, also if it looks like a number."""
COLUMNS = (
    "job", "dataset", "experiment", "seed", "seconds", "cpu_seconds", "peak_mib", "processor", *RUN_KEYS, "torch",
    "weights_sha256", "record_sha256",
)  # fmt: skip


def job_table(suite: Suite, results: Path) -> pd.DataFrame:
    """All jobs of a suite: preparing data, training, evaluating and resampling.

    Parameters
    ----------
    suite : Suite
        The suite. Ablations are not part of it.
    results : Path
        Folder with the results of all suites.

    Returns
    -------
    DataFrame
        One row per job, columns `COLUMNS`. Times (s) and memory (MiB) are NaN for jobs without a benchmark file; the
        last columns are NaN for jobs that neither train nor evaluate.
    """
    runs = list(_run_jobs(suite, results / suite.name))
    data = list(_data_jobs(suite, results / "data/benchmarks")) if runs else []
    table = pd.DataFrame([*data, *runs], columns=list(COLUMNS))
    return table.astype({"seed": "Int64", "threads": "Int64"})


def _data_jobs(suite: Suite, folder: Path) -> Iterator[dict[str, Any]]:
    plan = Plan(suite)
    for dataset in plan.datasets:
        shards = sorted(folder.glob(f"prepare_{dataset}_[0-9]*-of-*.tsv"))
        for path in (folder / f"prepare_{dataset}.tsv", *shards):
            yield {"job": "prepare", "dataset": dataset, **_measured(path)}
    needs = dict.fromkeys((plan.needs(run).dataset, plan.needs(run).norm) for run in plan.runs)
    for dataset, norm in needs:
        if norm:
            yield {"job": "stats", "dataset": dataset, **_measured(folder / f"stats_{dataset}_{norm}.tsv")}


def _run_jobs(suite: Suite, folder: Path) -> Iterator[dict[str, Any]]:
    benchmarks = folder / "benchmarks"
    for experiment, run in suite.runs.items():
        about = {"dataset": run.dataset, "experiment": experiment}
        for seed in suite.seeds:
            files, name = folder / f"runs/{experiment}/seed{seed}", f"{experiment}_seed{seed}.tsv"
            for job, record in (("train", _trained(files)), ("evaluate", _evaluated(files))):
                if record:
                    yield {"job": job, **about, "seed": seed, **_measured(benchmarks / f"{job}_{name}"), **record}
        path = benchmarks / f"resample_{experiment}.tsv"
        if path.is_file():
            yield {"job": "resample", **about, **_measured(path)}


def _measured(path: Path) -> dict[str, float]:
    return (read_benchmark(path) or Measured(math.nan, math.nan, math.nan))._asdict()


def _trained(folder: Path) -> dict[str, Any] | None:
    path = folder / "run.json"
    if not path.is_file():
        return None
    record = read_training(path)
    return _origin(record) | {"weights_sha256": record[FILES]["model.safetensors"]}


def _evaluated(folder: Path) -> dict[str, Any] | None:
    if not (folder / EVALUATION).is_file():
        return None
    record = read_evaluation(folder / "metrics.csv")
    return _origin(record) | {"weights_sha256": record["weights_sha256"]}


def _origin(record: dict[str, Any]) -> dict[str, Any]:
    about = {key: record[key] for key in RUN_KEYS} | {"processor": record["machine"]["processor"]}
    return about | {"torch": record["versions"]["torch"], "record_sha256": record[OWN]}


def read_jobs(path: Path) -> pd.DataFrame:
    """Read the published table of the jobs of a suite.

    Raises
    ------
    DataError
        If the file is no such table.
    """
    try:
        jobs = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected jobs.csv of a published suite: {error}") from None
    missing = [column for column in COLUMNS if column not in jobs]
    if missing:
        raise DataError(f"{path}: expected jobs.csv of a published suite, but it has no column {missing[0]!r}")
    return jobs.astype({"seed": "Int64"})


def by_stage(jobs: pd.DataFrame, starts: Mapping[str, float]) -> pd.DataFrame:
    """Where the processor time of a suite went.

    Parameters
    ----------
    jobs : DataFrame
        From :func:`job_table`.
    starts : mapping of str to float
        Job to the processor time of its imports (s).

    Returns
    -------
    DataFrame
        One row per kind of job: ``job``; ``jobs``, their number, and ``measured``, how many of them have a benchmark
        file; ``seconds``, ``cpu_seconds`` and ``import_seconds`` of the measured ones; ``share`` of the processor time
        of the suite; ``peak_mib`` of the largest job.
    """
    rows = []
    for job, part in jobs.groupby("job", sort=False):
        times = part.dropna(subset=["cpu_seconds"])
        total = times["cpu_seconds"].sum()
        counts = {"job": job, "jobs": len(part), "measured": len(times)}
        spent = {"seconds": times["seconds"].sum(), "cpu_seconds": total}
        imports = {"import_seconds": len(times) * starts[job], "share": total / jobs["cpu_seconds"].sum()}
        rows.append({**counts, **spent, **imports, "peak_mib": part["peak_mib"].max()})
    return pd.DataFrame(rows)


def core_minutes(jobs: pd.DataFrame) -> float:
    """Core-minutes of all jobs whose time was measured; NaN if there is none."""
    return float(jobs["cpu_seconds"].sum(min_count=1)) / 60


def dollars(jobs: pd.DataFrame) -> float:
    """Cost of all jobs whose time was measured, at `CORE_HOUR`, or `GPU_HOUR` for those on a GPU; NaN if none was.

    A core counts by its CPU time, a GPU by the time that the job took. A job on several GPUs counts as one GPU.
    """
    on_gpu = jobs["device"].notna() & jobs["device"].ne("cpu")
    prices = jobs["cpu_seconds"].mul(CORE_HOUR).where(~on_gpu, jobs["seconds"].mul(GPU_HOUR)) / 3600
    return float(prices.sum(min_count=1))


def describe(jobs: pd.DataFrame) -> str:
    """What a suite cost, in one line."""
    measured = jobs["cpu_seconds"].notna()
    if not measured.any():
        return "cost: not known, no job has a benchmark file"
    missing = "" if measured.all() else f"; {(~measured).sum()} of {len(jobs)} jobs were not measured"
    peak = jobs["peak_mib"].max() / 1024
    processors = " and ".join(jobs["processor"].dropna().unique())
    return f"cost: {core_minutes(jobs):.0f} core-minutes ({processors}), at most {peak:.1f} GB per job{missing}"
