"""Join the results of all runs into the summary tables of a suite."""

import json
from pathlib import Path

import pandas as pd

from elasticast.checksums import read_record
from elasticast.config import RunConfig
from elasticast.config.load_suite import load_run_config
from elasticast.data.prepared import REMEDY, STATS_REMEDY, SUMMARY, verified_file
from elasticast.files import write_text
from elasticast.reporting.read_tables import METRICS

RUN_COLUMNS = (
    "experiment", "seed", "steps", "seconds", "clips_per_s", "tokens_per_s", "restarts", "parameters", "device",
    "world_size", "attention_backend", "threads",
    "peak_memory_mib", "config_digest", "code_digest", "data_sha256", "git_commit",
)  # fmt: skip

NORM_COLUMNS = (
    "dataset", "front_end", "source", "mean", "std", "mean_error", "std_error", "clips", "of", "mean_difference",
    "std_difference",
)  # fmt: skip
DATA_COLUMNS = ("dataset", "split", "published", "annotated", "used", "hours", "ids_sha256", "sha256")


def metrics(files: list[Path], out: Path) -> None:
    """Join `metrics.csv` of all runs, in the given order, into one tidy table; without files, the table has no rows."""
    tables = [pd.DataFrame(columns=list(METRICS)), *(pd.read_csv(f) for f in files)]
    write_text(out, pd.concat(tables[1:] or tables, ignore_index=True).to_csv(index=False))


def runs(files: list[Path], out: Path) -> None:
    """Join `run.json` of all runs into a table of settings digests, data hashes, versions and run times."""
    rows = []
    for file in files:
        record = json.loads(file.read_text())
        row = {"run": file.parent.as_posix(), **{k: record[k] for k in RUN_COLUMNS}}
        rows.append({**row, **{f"version_{k}": v for k, v in record["versions"].items()}})
    write_text(out, pd.DataFrame(rows).to_csv(index=False))


def data(files: list[Path], out: Path) -> None:
    """Join `summary.csv` of all prepared datasets: clips used and rejected, one row per dataset and split.

    ``published`` is the number of clips in the published annotations, ``annotated`` the number left after selection by
    `ids`. One column per reason counts rejected clips. Two datasets with the same ``ids_sha256`` have the same clips.
    A dataset is named after the folder of its file.
    """
    rows = []
    for file in files:
        counts = pd.read_csv(verified_file(file)).fillna({"reason": ""})
        summary = read_record(file.with_name(SUMMARY), REMEDY)
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
    write_text(out, table.astype(whole).to_csv(index=False))


def norms(files: list[Path], out: Path) -> None:
    """Join the normalisation statistics of all datasets with those of released recipes and of the setting `norm`.

    Parameters
    ----------
    files : list of Path
        ``norm-*.json`` in the folders of the datasets, and ``config.yaml`` of runs with the setting `norm`.
    """
    from elasticast.data.stats import stats_rows  # imports torch, which the other tables do not need

    stats = [(file.parent.name, read_record(file, STATS_REMEDY)) for file in files if file.suffix == ".json"]
    rows = [row for dataset, statistics in stats for row in stats_rows(dataset, statistics)]
    rows += _set_norms([load_run_config(file) for file in files if file.suffix == ".yaml"], stats)
    table = pd.DataFrame(rows, columns=list(NORM_COLUMNS)).astype({"clips": "Int64", "of": "Int64"})
    write_text(out, table.to_csv(index=False))


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
