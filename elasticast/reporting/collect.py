"""Join the results of all runs into the summary tables of a suite."""

import math
from pathlib import Path

import pandas as pd

from elasticast.checksums import FILES, OWN, read_record, verify, write_record
from elasticast.config import RunConfig
from elasticast.config.load_suite import load_run_config
from elasticast.data.prepared import REMEDY, STATS_REMEDY, SUMMARY, read_rows
from elasticast.errors import DataError
from elasticast.evaluation.records import (
    EVALUATION,
    PREDICTIONS,
    check_distinct,
    check_together,
    mismatch_with_run,
    name_of_run,
    read_training,
    record_of,
    write_table,
)
from elasticast.progress import LOG
from elasticast.reporting.read_tables import METRICS, read_run_metrics

RUN_COLUMNS = (
    "experiment", "seed", "steps", "seconds", "clips_per_s", "tokens_per_s", "restarts", "parameters",
    "trained_parameters", "training_flops", "device", "world_size", "attention_backend", "threads",
    "peak_memory_mib", "config_digest", "code_digest", "data_sha256", "git_commit",
)  # fmt: skip

NORM_COLUMNS = (
    "dataset", "front_end", "source", "mean", "std", "mean_error", "std_error", "clips", "of", "mean_difference",
    "std_difference",
)  # fmt: skip
HISTORY_COLUMNS = ("experiment", "seed", "step", "split", "metric", "value", "training_flops")
DATA_COLUMNS = ("dataset", "split", "published", "annotated", "used", "hours", "ids_sha256", "sha256")


def metrics(files: list[Path], out: Path, *, partial: bool = False) -> None:
    """Join `metrics.csv` of all runs, in the given order, into one tidy table; without files, the table has no rows.

    Every file is verified with the record of its evaluation, and the evaluations with each other, see
    :func:`~elasticast.evaluation.records.check_together`.

    Parameters
    ----------
    files : list of Path
        `metrics.csv` of the runs. If `run.json` is in the same folder, the evaluation must be one of this run.
    out : Path
        CSV file to write. Its record, a JSON file of the same name, says which evaluations it joins.
    partial : bool
        Leave out runs that were trained again and not yet evaluated again, with a warning. By default, they are an
        error.
    """
    check_distinct(files)
    records, tables, notes = {}, [], {}
    for file in files:
        record, table = read_run_metrics(file)
        source, run = file.with_name(EVALUATION), file.with_name("run.json")
        if run.is_file() and (message := mismatch_with_run(source, record, run)):
            if not partial:
                raise DataError(message)
            LOG.warning("left out: %s", message)
            continue
        records[source] = record
        tables.append(table)
        notes |= {name_of_run(record): record["notes"]} if record["notes"] else {}
    check_together(records)
    table = pd.concat(tables or [pd.DataFrame(columns=list(METRICS))], ignore_index=True)
    predictions = {name_of_run(record): record[FILES][PREDICTIONS] for record in records.values()}
    write_table(out, table, {"pieces": _pieces(records), "predictions": predictions, "notes": notes})


def runs(files: list[Path], out: Path) -> None:
    """Join `run.json` of all runs into a table of settings digests, data hashes, versions and run times."""
    check_distinct(files)
    records = {file: read_training(file) for file in files}
    for file, record in records.items():
        if missing := [key for key in (*RUN_COLUMNS, "versions") if key not in record]:
            raise DataError(f"{file}: is no record of a run: it has no {', '.join(missing)}; give run.json of a run")
    check_together(records)
    rows = []
    for file, record in records.items():
        row = {"run": file.parent.as_posix(), **{k: record[k] for k in RUN_COLUMNS}, **_converged(record)}
        rows.append({**row, **{f"version_{k}": v for k, v in record["versions"].items()}})
    columns = dict.fromkeys(("run", *RUN_COLUMNS)) | dict.fromkeys(key for row in rows for key in row)
    write_table(out, pd.DataFrame(rows, columns=list(columns)), {"pieces": _pieces(records)})


def _converged(record: dict) -> dict[str, bool]:
    """Column `converged`, for runs with `train.select.patience`."""
    selection = record.get("selection") or {}
    return {"converged": selection["converged"]} if "converged" in selection else {}


def history(files: list[Path], out: Path) -> None:
    """Join the logs of all runs into a tidy table of learning curves.

    Its rows are the training loss at each logged step (split train, metric loss), and the scores on the split that
    selects the weights (`train.select`), if there is one, with the operations of the training until then.

    Parameters
    ----------
    files : list of Path
        `run.json` of the runs. A run without `history/history.csv` has no rows.
    """
    check_distinct(files)
    records = {file: read_training(file) for file in files}
    check_together(records)
    tables = [table for file, record in records.items() for table in _history_of(file.parent / "history", record)]
    table = pd.concat(tables or [pd.DataFrame(columns=list(HISTORY_COLUMNS))], ignore_index=True)
    write_table(out, table, {"pieces": _pieces(records)})


def _history_of(folder: Path, record: dict) -> list[pd.DataFrame]:
    """Training loss and validation scores of a run, if they were logged; columns `HISTORY_COLUMNS`."""
    tables = []
    losses = {"split": "train", "metric": "loss", "training_flops": math.nan}
    for name, constant in (("history.csv", losses), ("validation.csv", {})):
        if (path := folder / name).is_file():
            try:
                rows = pd.read_csv(path).rename(columns={"loss": "value"}).assign(**constant)
                tables.append(rows.assign(experiment=record["experiment"], seed=record["seed"])[list(HISTORY_COLUMNS)])
            except (ValueError, KeyError) as error:
                raise DataError(f"{path}: is no log of a run: {error}; delete it, and its curve is left out") from None
    return tables


def _pieces(records: dict[Path, dict]) -> dict[str, str]:
    """Checksum of each record, by file."""
    return {path.as_posix(): record[OWN] for path, record in records.items()}


def data(files: list[Path], out: Path) -> None:
    """Join `summary.csv` of all prepared datasets: clips used and rejected, one row per dataset and split.

    ``published`` is the number of clips in the published annotations, ``annotated`` the number left after selection by
    `ids`. One column per reason counts rejected clips. Two datasets with the same ``ids_sha256`` have the same clips.
    A dataset is named after the folder of its file.
    """
    rows, records = [], {}
    for file in files:
        source = file.with_name(SUMMARY)
        records[source] = summary = read_record(source, REMEDY)
        verify(file, summary, source, REMEDY)
        counts = pd.read_csv(file).fillna({"reason": ""})
        for split in [split for split, clips in summary["annotated"].items() if clips]:
            split_counts = counts[counts["split"] == split]
            used = split_counts[split_counts["status"] == "ok"]
            row = {"dataset": file.parent.name, "split": split, "published": summary["published"].get(split)}
            row |= {"annotated": summary["annotated"][split], "used": used["clips"].sum(), "hours": used["hours"].sum()}
            row |= {"ids_sha256": summary["ids_sha256"][split], "sha256": summary["sha256"]}
            rejected = split_counts[split_counts["status"] == "rejected"]
            rows.append(row | dict(zip(rejected["reason"], rejected["clips"], strict=True)))
    table = pd.DataFrame(rows)
    reasons = [name for name in table if name not in DATA_COLUMNS]
    table[reasons] = table[reasons].fillna(0)
    table = table[[*DATA_COLUMNS[:-2], *sorted(reasons), *DATA_COLUMNS[-2:]]]
    whole = {name: "Int64" for name in ("published", *reasons)}
    write_table(out, table.astype(whole), {"pieces": _pieces(records)})


def lengths(files: list[Path], out: Path) -> None:
    """Join `manifest.parquet` of all prepared datasets: how many usable clips have each duration (s).

    A dataset is named after the folder of its file.

    Raises
    ------
    DataError
        If a file or a column is missing, a file was changed, or none of its clips is usable.
    """
    tables, records = [], {}
    for file in files:
        manifest = read_rows(file)
        if missing := [name for name in ("duration", "status") if name not in manifest]:
            raise DataError(f"{file}: missing column {', '.join(missing)}; {REMEDY}")
        seconds = manifest.loc[manifest["status"] == "ok", "duration"].astype(float)
        if seconds.empty:
            raise DataError(f"{file}: no clip has status 'ok'")
        counts = seconds.value_counts().sort_index()
        tables.append(pd.DataFrame({"dataset": file.parent.name, "seconds": counts.index, "clips": counts.to_numpy()}))
        records[file.with_name(SUMMARY)] = read_record(file.with_name(SUMMARY), REMEDY)
    write_table(out, pd.concat(tables, ignore_index=True), {"pieces": _pieces(records)})


def norms(files: list[Path], out: Path) -> None:
    """Join the normalisation statistics of all datasets with those of released recipes and of the setting `norm`.

    Parameters
    ----------
    files : list of Path
        ``norm-*.json`` in the folders of the datasets, and ``config.yaml`` of runs with the setting `norm`.
    """
    from elasticast.data.stats import stats_rows  # imports torch, which the other tables do not need

    records = {file: read_record(file, STATS_REMEDY) for file in files if file.suffix == ".json"}
    stats = [(file.parent.name, record) for file, record in records.items()]
    rows = [row for dataset, statistics in stats for row in stats_rows(dataset, statistics)]
    rows += _set_norms([load_run_config(file) for file in files if file.suffix == ".yaml"], stats)
    table = pd.DataFrame(rows, columns=list(NORM_COLUMNS)).astype({"clips": "Int64", "of": "Int64"})
    write_table(out, table, {"pieces": _pieces(records)})


def adopt(files: list[Path]) -> None:
    """Write the record of tables of one's own, so that figures are drawn from them.

    Parameters
    ----------
    files : list of Path
        CSV files with the columns of a table of the suite. Their record replaces that of a table of the suite.
    """
    for file in files:
        write_record(record_of(file), {"adopted": True}, [file])


def _set_norms(runs: list[RunConfig], stats: list[tuple[str, dict]]) -> list[dict]:
    """Rows for the setting `norm`, with differences to the statistics of the training split if `stats` has these."""
    users: dict[tuple, list[str]] = {}
    for run in runs:
        users.setdefault((run.dataset, run.front_end, run.norm), []).append(run.experiment)
    rows = []
    for (dataset, front_end, norm), names in users.items():
        row = {"dataset": dataset, "front_end": front_end.kind, "source": f"`norm` of {', '.join(names)}"}
        row |= norm.model_dump()
        for measured in (s for name, s in stats if name == dataset and s["front_end"] == front_end.model_dump()):
            row |= {f"{key}_difference": row[key] - measured[key] for key in ("mean", "std")}
        rows.append(row)
    return rows
