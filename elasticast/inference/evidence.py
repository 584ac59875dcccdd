"""What a model card says of the results of a run and of its data."""

from pathlib import Path
from typing import Any

from elasticast.config.base import PRIMARY_METRIC, TaskKind
from elasticast.config.dataset.licences import licence_of
from elasticast.config.load_suite import load_resolved_suite
from elasticast.errors import DataError
from elasticast.evaluation.records import EVALUATION, mismatch_with_run
from elasticast.files import is_file
from elasticast.reporting.read_tables import read_run_metrics

SCORES = "metrics.csv"


def evidence(run: Path, kind: TaskKind, record: dict[str, Any]) -> dict[str, str]:
    """Rows of the model card of a run.

    Parameters
    ----------
    run : Path
        Its folder.
    kind : str
        Kind of its task.
    record : dict
        Its `run.json`.

    Raises
    ------
    DataError
        If its scores or the settings of its suite were changed, or if the scores are of other weights.
    """
    return {"test scores": _test_scores(run, kind), "data": _data(run.parents[2], record)}


def _test_scores(run: Path, kind: TaskKind) -> str:
    """The main metric (%) at each point of the sweeps of the test split."""
    path = run / SCORES
    if not is_file(path):
        return "not evaluated"
    record, table = read_run_metrics(path)
    if wrong := mismatch_with_run(path.with_name(EVALUATION), record, run / "run.json"):
        raise DataError(wrong)
    table, texts = table[table["metric"] == PRIMARY_METRIC[kind]], []
    for name, sweep in record["evaluations"].items():
        rows = table[table["evaluation"] == name]
        if sweep["split"] == "test" and len(rows):
            points = ", ".join(f"{100 * row.value:.1f} at {row.x:g}" for row in rows.itertuples())
            texts.append(f"{rows['metric'].iloc[0]} over {sweep['x_name']}: {points} ({rows['n'].max()} clips)")
    return "; ".join(texts) or "not evaluated"


def _data(suite: Path, record: dict[str, Any]) -> str:
    """What the settings of the suite say of the data, and their checksum."""
    path, checksum = suite / "summary" / "suite.yaml", f"sha256 {record.get('data_sha256')}"
    if not is_file(path):
        return f"{checksum}; licence not known"
    dataset = load_resolved_suite(path).datasets.get(record["dataset"])
    if dataset is None:
        return f"{checksum}; licence not known"
    licence = licence_of(dataset)
    return f"{dataset.origin}; {f'licence {licence}' if licence else 'licence: see their source'}; {checksum}"
