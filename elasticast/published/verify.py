"""`elasticast verify`: whether published results, or those of a suite here, are what they say they are."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from elasticast.errors import DataError, ElasticASTError, did_you_mean
from elasticast.files import write_text
from elasticast.published import checks
from elasticast.published.checks import AGREES, DIFFERS, NOT_CHECKED, Finding
from elasticast.published.layout import RECORD, Published
from elasticast.published.repeat import Repeat, repeat_run


def verify(
    folder: Path,
    results: Path | None,
    repeat: Repeat | None,
    run: str | None = None,
    out: Path | None = None,
) -> Iterator[Finding]:
    """Check published results, or those of a suite here: what agrees, what differs and what could not be checked.

    Parameters
    ----------
    folder : Path
        ``docs/results/SUITE``, or ``results/SUITE``.
    results : Path, optional
        Folder with prepared data and trained runs; by default that of `folder`, or ``results``.
    repeat : {"evaluation", "training"} or None
        What to compute again of one run.
    run : str, optional
        That run, such as ``elastic/seed0``; the cheapest by default.
    out : Path, optional
        CSV file to write, with the published and the repeated score at every point.

    Yields
    ------
    Finding
        The result of each check, as soon as it is known.

    Raises
    ------
    DataError
        If there is no such folder.
    """
    if not folder.is_dir():
        known = sorted(path.parent.name for path in folder.parent.glob(f"*/{RECORD}"))
        listed = f"Published there: {', '.join(known)}" if known else "give docs/results/SUITE or results/SUITE"
        raise DataError(f"{folder}: no such folder; {did_you_mean(folder.name, known)}{listed}")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            published = checks.open_results(folder, Path(scratch))
        except ElasticASTError as error:
            yield Finding(DIFFERS, "files", str(error))
            return
        if results is None:
            results = folder.parent if published.folder != folder else Path("results")
        yield from _compare(published, results)
        if repeat is not None:
            yield _repeat(published, results, repeat, run, out)


def _compare(published: Published, results: Path) -> Iterator[Finding]:
    """What can be compared without computing a score."""
    yield checks.check_files(published)
    yield checks.check_settings(published)
    yield from checks.check_code(published)
    yield from checks.check_data(published, results)
    later = {"tables": checks.check_tables, "figures": checks.check_pictures, "ablations": checks.check_ablations}
    for name, check in later.items():
        try:
            yield from check(published)
        except ElasticASTError as error:
            yield Finding(DIFFERS, name, str(error))


def _repeat(published: Published, results: Path, repeat: Repeat, run: str | None, out: Path | None) -> Finding:
    finding, table = repeat_run(published, results, repeat, run)
    if out is not None and len(table):
        write_text(out, table.to_csv(index=False))
    return finding


def summary(findings: list[Finding]) -> str:
    """How many checks ended in which way."""
    counts = {outcome: sum(f.outcome == outcome for f in findings) for outcome in (AGREES, DIFFERS, NOT_CHECKED)}
    return f"{counts[AGREES]} checks agree, {counts[DIFFERS]} differ, {counts[NOT_CHECKED]} could not be made"


def line(finding: Finding) -> str:
    """One line of the output."""
    return f"{finding.outcome:<11}  {finding.what}: {finding.detail}"
