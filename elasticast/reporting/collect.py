"""Join what the runs wrote into the suite's summary tables."""

import json
from pathlib import Path

import pandas as pd

from elasticast.files import write_text

RUN_COLUMNS = (
    "experiment", "seed", "steps", "seconds", "clips_per_s", "tokens_per_s", "restarts", "parameters", "device",
    "world_size", "attention_backend", "threads",
    "peak_memory_mib", "config_digest", "code_digest", "data_sha256", "git_commit",
)  # fmt: skip


def metrics(files: list[Path], out: Path) -> None:
    """Join `metrics.csv` of all runs, in the order given, into one tidy table."""
    write_text(out, pd.concat([pd.read_csv(f) for f in files], ignore_index=True).to_csv(index=False))


def runs(files: list[Path], out: Path) -> None:
    """Join `run.json` of all runs into a table of settings digests, data hashes, versions and run times."""
    rows = []
    for file in files:
        record = json.loads(file.read_text())
        row = {"run": file.parent.as_posix(), **{k: record[k] for k in RUN_COLUMNS}}
        rows.append({**row, **{f"version_{k}": v for k, v in record["versions"].items()}})
    write_text(out, pd.DataFrame(rows).to_csv(index=False))


def data(files: list[Path], out: Path) -> None:
    """Join `summary.csv` of all prepared datasets; a dataset is named by its folder."""
    tables = [pd.read_csv(f).assign(dataset=f.parent.name) for f in files]
    table = pd.concat(tables, ignore_index=True)
    write_text(out, table[["dataset", *(c for c in table if c != "dataset")]].to_csv(index=False))
