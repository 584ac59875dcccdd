"""A finished suite with made-up results, and the same suite published."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.checksums import write_record
from elasticast.config import deciding, digest
from elasticast.config.load_suite import load_resolved_suite, load_suite
from elasticast.evaluation.records import write_table
from elasticast.published.publish import publish
from tests.unit.reporting.conftest import project  # noqa: F401
from tests.unit.reporting.toy_suite import EVALUATIONS, metrics_table

BENCHMARK = "s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:10\t{peak}\t{cpu}\n"
CLAIM = {
    "says": "as good as AST 64",
    "model": "elastic",
    "against": ["ast64"],
    "evaluation": "lengths",
    "within_own": 1.0,
}
MACHINE = {"processor": "Some CPU", "cpus": 2, "system": "Linux"}
ORIGIN = {"device": "cpu", "attention_backend": "sdpa", "threads": 1, "code_digest": "c0de", "machine": MACHINE}
ORIGIN |= {"versions": {"torch": "2.10.0"}}


def intervals_of(metrics: pd.DataFrame) -> pd.DataFrame:
    """Intervals of two points around the mean over seeds."""
    keys = ["suite", "experiment", "evaluation", "dataset", "task", "x_name", "x", "metric"]
    table = metrics[metrics["metric"] == "mAP"].groupby(keys, sort=False)["value"].mean().reset_index()
    table["low"], table["high"] = table["value"] - 0.02, table["value"] + 0.02
    return table.assign(seeds=2, clips=50, listed=60)


def pairs_of(metrics: pd.DataFrame) -> pd.DataFrame:
    """ElasticAST minus AST 64 at each length."""
    means = intervals_of(metrics).set_index(["experiment", "x"])["value"]
    rows = [
        {"suite": "toy_suite", "dataset": "toy", "task": "events", "evaluation": "lengths", "x_name": "max_frames"}
        | {"x": x, "metric": "mAP", "experiment": "elastic", "against": "ast64", "p": 0.5, "p_corrected": 0.9}
        | {"difference": (d := means["elastic", x] - means["ast64", x]), "low": d - 0.03, "high": d + 0.03}
        | {"comparisons": 4, "clips": 50, "listed": 60}
        for x in EVALUATIONS["lengths"]["x"]
    ]
    return pd.DataFrame(rows)


def write_run(folder: Path, run, name: str, seed: int) -> dict:
    """The records of a training and its evaluation; gives the row of the run in ``runs.csv``."""
    folder.mkdir(parents=True)
    table = metrics_table()
    (folder / "config.yaml").write_text(yaml.safe_dump(deciding(run)))
    (folder / "model.safetensors").write_text(f"weights of {name} {seed}")
    about = {"experiment": name, "seed": seed, "dataset": "toy", "task": "events", "data_sha256": "d" * 64, **ORIGIN}
    write_record(folder / "run.json", about, [folder / "model.safetensors"])
    table[(table["experiment"] == name) & (table["seed"] == seed)].to_csv(folder / "metrics.csv", index=False)
    evaluation = {"suite": "toy_suite", "kind": "multi", "evaluations": {}, "notes": [], "model_sha256": "m"}
    write_record(folder / "evaluation.json", {**about, **evaluation, "weights_sha256": "w"}, [folder / "metrics.csv"])
    shared = {"experiment": name, "seed": seed, "config_digest": digest(deciding(run)), "data_sha256": "d" * 64}
    shared |= {"git_commit": "abc", "code_digest": "c0de", "steps": 10, "seconds": 5.0, "clips_per_s": 20.0}
    shared |= {"tokens_per_s": 900.0, "parameters": 1000, "device": "cpu", "peak_memory_mib": 500}
    return {"run": f"results/toy_suite/runs/{name}/seed{seed}", **shared}


@pytest.fixture
def finished(project, monkeypatch) -> Path:  # noqa: F811
    """Folder of the results of a suite."""
    path = project / "config/suites/toy_suite.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"claims": {"lengths": CLAIM}}, sort_keys=False))
    suite, results = load_suite("toy_suite", project / "config"), project / "results/toy_suite"
    summary = results / "summary"
    summary.mkdir(parents=True)
    (summary / "suite.yaml").write_text(yaml.safe_dump(suite.model_dump(mode="json"), sort_keys=False))
    metrics = metrics_table()
    runs = [
        write_run(results / f"runs/{name}/seed{seed}", suite.run_config(name, seed), name, seed)
        for name in suite.runs
        for seed in suite.seeds
    ]
    lengths = pd.DataFrame({"dataset": "toy", "seconds": np.array([0.3, 1 / 3, 2.6]), "clips": [1, 2, 1]})
    data = pd.DataFrame({"dataset": ["toy"], "split": "test", "used": 50, "sha256": "d" * 64})
    tables = {"metrics": metrics, "intervals": intervals_of(metrics), "pairs": pairs_of(metrics)}
    history = pd.DataFrame(
        {"experiment": ["elastic"], "seed": 0, "step": 1, "split": "train", "metric": "loss", "value": 1.0}
    )
    tables |= {
        "runs": pd.DataFrame(runs),
        "history": history,
        "data": data,
        "lengths": lengths,
        "norms": data[["dataset"]],
    }
    for name, table in tables.items():
        write_table(summary / f"{name}.csv", table, {})
    (results / "benchmarks").mkdir()
    for name in suite.runs:
        for job in ("train", "evaluate"):
            text = BENCHMARK.format(seconds=10.0, peak=512, cpu=12.0)
            (results / f"benchmarks/{job}_{name}_seed0.tsv").write_text(text)
    monkeypatch.chdir(project)
    return results


@pytest.fixture
def published(finished) -> Path:
    """The suite, published."""
    return publish(finished)


@pytest.fixture
def suite(finished):
    return load_resolved_suite(finished / "summary/suite.yaml")
