"""What `elasticast verify` compares without computing a score again: files, settings, code, data, tables, figures."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from elasticast.checksums import FILES, read_record
from elasticast.config import deciding, digest
from elasticast.config.load_suite import load_suite
from elasticast.config.names import no_such_file
from elasticast.data.prepared import REMEDY, SUMMARY
from elasticast.errors import ElasticASTError
from elasticast.provenance import code_digest, training_code
from elasticast.published.ablations import FOLDER, check_ablation
from elasticast.published.layout import FIGURES, PICTURES, RECORD, Published, read_published
from elasticast.published.pictures import changes
from elasticast.published.publish import publish
from elasticast.reporting.comparison import comparison_table, write_table

AGREES, DIFFERS, NOT_CHECKED = "agrees", "differs", "not checked"
SAME_MEAN = 1e-3
"""Largest difference between a mean in ``intervals.csv`` and in ``metrics.csv``: the former is of scores in float16."""


class Finding(NamedTuple):
    """The result of one check.

    Attributes
    ----------
    outcome : str
        `AGREES`, `DIFFERS` or `NOT_CHECKED`.
    what : str
        What was compared.
    detail : str
        With what, what differs, or why it could not be checked and what to do about it.
    """

    outcome: str
    what: str
    detail: str


def open_results(folder: Path, scratch: Path) -> Published:
    """Read published results, or publish those of a suite to the folder `scratch` and read them there.

    Raises
    ------
    DataError
        If a file is missing or was changed, or if the folder holds neither.
    """
    is_results = not (folder / RECORD).is_file() and (folder / "summary").is_dir()
    return read_published(publish(folder, scratch / folder.name) if is_results else folder)


def check_files(published: Published) -> Finding:
    """That all files have their checksums; :func:`open_results` has verified them."""
    commits = ", ".join(sorted({str(commit)[:7] for commit in published.runs["git_commit"]})) or "none"
    detail = f"{len(published.record[FILES])} files have the checksums in {RECORD}; commit of the runs: {commits}"
    return Finding(AGREES, "files", detail)


def check_ablations(published: Published) -> Iterator[Finding]:
    """That the files of published ablations have their checksums."""
    for folder in sorted(path for path in (published.folder / FOLDER).glob("*") if path.is_dir()):
        yield Finding(
            AGREES,
            f"ablation {folder.name}",
            f"{check_ablation(folder, published.suite.name)} files have their checksums",
        )


def check_settings(published: Published, config: Path = Path("config")) -> Finding:
    """Whether the suite in `config` would train the same runs."""
    what, name = "settings", published.suite.name
    if no_such_file(config / "suites", name):
        return Finding(NOT_CHECKED, what, f"there is no {config}/suites/{name}.yaml here")
    try:
        here = load_suite(name, config)
    except ElasticASTError as error:
        return Finding(NOT_CHECKED, what, str(error))
    theirs, ours = published.suite.runs, here.runs
    changed = [run for run in theirs if run in ours and digest(deciding(theirs[run])) != digest(deciding(ours[run]))]
    texts = [f"{', '.join(changed)}: other settings"] if changed else []
    texts += [f"{', '.join(gone)}: not in the suite here"] if (gone := sorted(theirs.keys() - ours)) else []
    texts += [f"{', '.join(new)}: not published"] if (new := sorted(ours.keys() - theirs)) else []
    texts += ["other seeds"] if published.suite.seeds != here.seeds else []
    same = f"all {len(theirs)} experiments have the settings of {config}/suites/{name}.yaml"
    return Finding(DIFFERS if texts else AGREES, what, "; ".join(texts) or same)


def check_code(published: Published) -> list[Finding]:
    """Whether training and evaluation would run the same code here."""
    findings = []
    for job in ("train", "evaluate"):
        rows = published.jobs[published.jobs["job"] == job]
        changed = [
            row.experiment for row in rows.itertuples() if row.code_digest != _code(published, job, row.experiment)
        ]
        if rows.empty:
            findings.append(Finding(NOT_CHECKED, f"code of {job}", "nothing has run"))
        elif changed:
            detail = "changed since the results were computed: scores are compared within the tolerance"
            findings.append(Finding(NOT_CHECKED, f"code of {job}", detail))
        else:
            findings.append(Finding(AGREES, f"code of {job}", "is the code that computed the results"))
    return findings


def _code(published: Published, job: str, experiment: str) -> str:
    return training_code(published.suite.runs[experiment]) if job == "train" else code_digest("evaluate")


def same_code(published: Published, job: str, experiment: str) -> bool:
    """Whether a job of an experiment, ``train`` or ``evaluate``, would run the same code here."""
    rows = published.jobs[(published.jobs["job"] == job) & (published.jobs["experiment"] == experiment)]
    return set(rows["code_digest"]) == {_code(published, job, experiment)}


def check_data(published: Published, results: Path) -> Iterator[Finding]:
    """Whether the prepared data here, ``results/data``, are those of the runs."""
    for dataset, expected in published_data(published).items():
        what, source = f"data {dataset}", results / "data" / dataset / SUMMARY
        if not source.is_file():
            command = f"snakemake --config suite={published.suite.name} {source}"
            yield Finding(NOT_CHECKED, what, f"not prepared here; to compare them, run: {command}")
            continue
        actual = read_record(source, REMEDY)["sha256"]
        same = actual == expected
        detail = f"{source} has sha256 {actual[:16]}..." + ("" if same else f", the runs {expected[:16]}...")
        yield Finding(AGREES if same else DIFFERS, what, detail)


def published_data(published: Published) -> dict[str, str]:
    """SHA-256 of the data of the runs, by dataset."""
    runs = published.runs
    return {published.suite.runs[row.experiment].dataset: row.data_sha256 for row in runs.itertuples()}


def check_tables(published: Published) -> Iterator[Finding]:
    """Whether the published tables follow from ``metrics.csv``."""
    if published.has("intervals.csv"):
        keys = [
            "experiment",
            "evaluation",
            "x",
            "metric",
            *(["compression"] if "compression" in published.intervals else []),
        ]
        means = published.metrics.groupby(keys, sort=False)["value"].mean()
        both = published.intervals.set_index(keys)["value"].to_frame("value").join(means.rename("mean"), how="left")
        worst = (both["value"] - both["mean"]).abs().max()
        close = bool(both["mean"].notna().all()) and not worst > SAME_MEAN
        detail = f"{len(both)} means in intervals.csv are those of metrics.csv within {100 * SAME_MEAN:g} points"
        different = f"a mean in intervals.csv is {100 * worst:.2f} points from metrics.csv, or is of no run there"
        yield Finding(AGREES if close else DIFFERS, "means", detail if close else different)
    printed = published.folder / FIGURES / "table1.csv"
    if printed.is_file():
        same = _table1(published).encode() == printed.read_bytes()
        detail = f"{printed} {'follows' if same else 'does not follow'} from metrics.csv"
        yield Finding(AGREES if same else DIFFERS, "table 1", detail)


def _table1(published: Published) -> str:
    with tempfile.TemporaryDirectory() as folder:
        write_table(comparison_table(published.suite, published.metrics), Path(folder) / "table1")
        return (Path(folder) / "table1.csv").read_text(encoding="utf-8")


def check_pictures(published: Published) -> Iterator[Finding]:
    """Whether the figures were drawn from the published tables."""
    source = published.folder / FIGURES / PICTURES
    if not source.is_file():
        yield Finding(NOT_CHECKED, "figures", f"not drawn; run: snakemake redraw --config suite={published.suite.name}")
        return
    lines = changes(published.folder)
    detail = f"{source} names the data here" if not lines else "; ".join(lines)
    yield Finding(DIFFERS if lines else AGREES, "figures", detail)
