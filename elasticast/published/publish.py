"""Publish the results of a suite."""

from pathlib import Path

from elasticast.checksums import read_record, verify, write_record
from elasticast.config import Suite, deciding
from elasticast.config.load_suite import load_resolved_suite, load_run_config
from elasticast.errors import DataError
from elasticast.evaluation.records import record_of
from elasticast.files import write_text
from elasticast.progress import LOG
from elasticast.provenance import git_commit, versions
from elasticast.published.costs import job_table
from elasticast.published.layout import JOBS, OF_PARTIAL, RECORD, ROOT, SUITE, TABLES
from elasticast.reporting.read_tables import read_intervals, read_metrics, read_pairs, read_runs

LARGEST = 300_000
"""Bytes above which a file is too large for the repository."""


def publish(results: Path, out: Path | None = None, *, partial: bool = False) -> Path:
    """Publish a suite: its summary tables, their records, its settings and what it cost, without weights.

    Parameters
    ----------
    results : Path
        Results of one suite, ``results/SUITE``.
    out : Path, optional
        Folder to write; by default ``docs/results/SUITE``. Files published earlier are replaced; `FIGURES` is kept,
        and drawn again by ``snakemake redraw``.
    partial : bool
        Publish the results of ``--config partial=true``, of the runs that exist.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If a table is missing, was changed, or is not of the settings in ``suite.yaml``. Nothing is written then.
    """
    source = results / ("partial" if partial else "summary")
    target = f"snakemake all --config suite={results.name}{' partial=true' if partial else ''}"
    remedy = f"run `{target}` first"
    if not (source / SUITE).is_file():
        raise DataError(f"{source / SUITE}: no such file; {remedy}")
    suite = load_resolved_suite(source / SUITE)
    files = {SUITE: (source / SUITE).read_text(encoding="utf-8")}
    files |= _tables(source, suite, OF_PARTIAL if partial else TABLES, remedy)
    files[JOBS] = job_table(suite, results.parent).to_csv(index=False, float_format="%.2f")
    _check_settings(results, source / "runs.csv", suite)
    out = out or ROOT / suite.name
    published_with = {"git_commit": git_commit(), **versions()}
    _write(out, files, {"suite": suite.name, "partial": partial, "published_with": published_with})
    return out


def _tables(source: Path, suite: Suite, names: tuple[str, ...], remedy: str) -> dict[str, str]:
    """Content of the tables and their records, by name of file, after all were verified."""
    metrics, content = source / "metrics.csv", {}
    for name in names:
        path = source / f"{name}.csv"
        verify(path, read_record(record_of(path), remedy), record_of(path), remedy)
        for file in (path, record_of(path)):
            content[file.name] = file.read_text(encoding="utf-8")
    read_metrics(metrics, suite.name)
    for name, read in (("intervals", read_intervals), ("pairs", read_pairs)):
        if name in names:
            read(source / f"{name}.csv", metrics)
    return content


def _check_settings(results: Path, table: Path, suite: Suite) -> None:
    """Check that every run in `table` has the settings of the suite.

    The settings are compared, and not `config_digest`: settings that were added since the run have their defaults.
    """
    for row in read_runs(table).itertuples():
        path = results / f"runs/{row.experiment}/seed{row.seed}/config.yaml"
        if row.experiment not in suite.runs:
            raise DataError(f"{table}: {row.experiment}: is not in suite {suite.name!r}")
        ours, theirs = suite.run_config(row.experiment, row.seed), load_run_config(path)
        if deciding(ours) != deciding(theirs):
            raise DataError(
                f"{path}: has other settings than {row.experiment}, seed {row.seed} in {SUITE}; "
                f"run `snakemake summary --config suite={suite.name}`"
            )


def _write(out: Path, files: dict[str, str], about: dict) -> None:
    (out / RECORD).unlink(missing_ok=True)  # without it, nothing is published until all files are written
    for name in (SUITE, JOBS, *(f"{table}.{kind}" for table in TABLES for kind in ("csv", "json"))):
        if name not in files:
            (out / name).unlink(missing_ok=True)
    for name, content in files.items():
        write_text(out / name, content)
        if '"/' in content or "\n/" in content:
            LOG.warning(
                "%s: names folders of this machine; a relative `results` and `data_root` avoid this", out / name
            )
        if len(content.encode()) > LARGEST:
            LOG.warning("%s: has %d kB; large for a repository", out / name, len(content.encode()) // 1000)
    write_record(out / RECORD, about, [out / name for name in files])
