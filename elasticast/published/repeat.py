"""What `elasticast verify` computes again: the evaluation of a run, or the run from its training on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml

from elasticast.checksums import read_record
from elasticast.config import PRIMARY_METRIC, RunConfig
from elasticast.data.prepared import REMEDY, SUMMARY
from elasticast.errors import ConfigError, Problem
from elasticast.evaluation.records import read_training
from elasticast.evaluation.run import evaluate_run
from elasticast.plan import Plan
from elasticast.progress import LOG
from elasticast.provenance import provenance
from elasticast.published.checks import AGREES, DIFFERS, NOT_CHECKED, Finding, published_data, same_code
from elasticast.published.layout import Published

Repeat = Literal["evaluation", "training"]
TOLERANCE = 0.1
"""Points by which a score of the same weights may differ on another machine."""
_POINT = ["evaluation", "x", "metric"]


@dataclass(frozen=True)
class Job:
    """A run that is computed again.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    seed : int
        Its seed.
    config : RunConfig
        Its settings.
    row : pandas.Series
        The row of ``jobs.csv`` of the job that is repeated.
    """

    experiment: str
    seed: int
    config: RunConfig
    row: pd.Series

    @property
    def name(self) -> str:
        """Experiment and seed, as in the folders of runs."""
        return f"{self.experiment}/seed{self.seed}"


def choose(published: Published, repeat: Repeat, name: str | None) -> Job | None:
    """The run to repeat: the one that is named, else the cheapest; None if nothing has run.

    Raises
    ------
    ConfigError
        If there is no run of this name.
    """
    jobs = published.jobs[published.jobs["job"] == {"evaluation": "evaluate", "training": "train"}[repeat]]
    names = jobs["experiment"] + "/seed" + jobs["seed"].astype(str)
    if name is not None and name not in set(names):
        raise ConfigError([Problem("--run", (), f"no such run; expected one of: {', '.join(names)}", name)])
    found = jobs[names == name] if name else jobs.sort_values("cpu_seconds", kind="stable")
    if name is None and repeat == "training":  # some runs need the weights of others
        found = found[[not published.suite.runs[experiment].trained_first for experiment in found["experiment"]]]
    if found.empty:
        return None
    row = found.iloc[0]
    experiment, seed = row["experiment"], int(row["seed"])
    return Job(experiment, seed, published.suite.run_config(experiment, seed), row)


def repeat_run(published: Published, results: Path, repeat: Repeat, name: str | None) -> tuple[Finding, pd.DataFrame]:
    """Compute a run again and compare its scores with the published ones.

    Parameters
    ----------
    results : Path
        Folder with the results of all suites: prepared data, and for an evaluation the weights.
    name : str, optional
        Run such as ``elastic/seed0``; the cheapest by default.

    Returns
    -------
    finding : Finding
        Whether the scores agree, see :func:`compare`.
    table : DataFrame
        One row per point and metric: the published score, the repeated one and their difference in points. Empty if
        nothing could be computed.
    """
    job = choose(published, repeat, name)
    if job is None:
        return Finding(NOT_CHECKED, repeat, "no run can be repeated"), pd.DataFrame()
    if missing := _missing(published, results, repeat, job):
        return Finding(NOT_CHECKED, f"{repeat} of {job.name}", missing), pd.DataFrame()
    cost = "" if pd.isna(job.row["cpu_seconds"]) else f"; it took {job.row['cpu_seconds']:.0f} s of CPU time"
    LOG.info("%s of %s again%s", repeat, job.name, cost)
    with tempfile.TemporaryDirectory() as scratch:
        table = _compute(published, results, repeat, job, Path(scratch))
    return compare(published, repeat, job, table)


def _missing(published: Published, results: Path, repeat: Repeat, job: Job) -> str:
    """What is missing to compute a run again, and what to do; empty if nothing is."""
    data, run = results / "data" / job.config.dataset, _folder(published, results, job)
    if not (data / SUMMARY).is_file():
        return f"{data}: the data are not prepared here"
    if read_record(data / SUMMARY, REMEDY)["sha256"] != published_data(published)[job.config.dataset]:
        return f"{data}: the data are not those of the published run"
    if absent := [name for name in _stores(published, repeat, job) if not (data / name).is_file()]:
        command = f"elasticast prepare --dataset {job.config.dataset} --root data --out {data}"
        return f"{data}: has no {' and '.join(absent)}, the clips are not here; run: {command}"
    norm = _norm(published, results, job)
    if repeat == "training" and norm is not None and not norm.is_file():
        return f"{norm}: the statistics of the data are not computed here"
    if repeat == "training":
        others = " and ".join(dict.fromkeys(job.config.trained_first.values()))
        return f"needs the weights of {others}; name another --run" if others else ""
    if not all((run / name).is_file() for name in ("run.json", "model.safetensors")):
        return f"{run}: the weights are not here, and are not published; --repeat training trains a run again"
    weights = read_training(run / "run.json")["files"]["model.safetensors"]
    return "" if weights == job.row["weights_sha256"] else f"{run}: the weights are not those of the published run"


def _stores(published: Published, repeat: Repeat, job: Job) -> list[str]:
    """Files with the clips that are needed to compute a run again."""
    splits = {sweep.split for sweep in published.suite.sweep(job.experiment).values()}
    if repeat == "training":
        splits |= set(Plan(published.suite).needs(job.experiment).splits)
    return [f"{split}.h5" for split in sorted(splits)]


def _folder(published: Published, results: Path, job: Job) -> Path:
    return results / published.suite.name / "runs" / job.name


def _norm(published: Published, results: Path, job: Job) -> Path | None:
    needs = Plan(published.suite).needs(job.experiment)
    return results / "data" / needs.dataset / f"norm-{needs.norm}.json" if needs.norm else None


def _compute(published: Published, results: Path, repeat: Repeat, job: Job, scratch: Path) -> pd.DataFrame:
    """Scores of a run that is computed again, as in its ``metrics.csv``."""
    import torch

    torch.set_num_threads(int(job.row["threads"]))
    model, data = _folder(published, results, job), results / "data" / job.config.dataset
    if repeat == "training":
        model = scratch / "run"
        _train(job, data, _norm(published, results, job), model)
    sweeps = {name: sweep.model_dump(mode="json") for name, sweep in published.suite.sweep(job.experiment).items()}
    settings = scratch / "sweeps.yaml"
    settings.write_text(yaml.safe_dump({"suite": published.suite.name, "evaluations": sweeps}))
    evaluate_run(model, settings, data, scratch / "evaluation")
    return pd.read_csv(scratch / "evaluation/metrics.csv", dtype=dict.fromkeys(("evaluation", "metric"), str))


def _train(job: Job, data: Path, norm: Path | None, out: Path) -> None:
    from elasticast.training.distributed import join_processes
    from elasticast.training.inputs import read_inputs
    from elasticast.training.loop import Trainer

    with join_processes() as world:
        inputs = read_inputs(job.config, data, out, norm=norm, weights_root=Path())
        Trainer(job.config, inputs, out, world).fit()


def compare(published: Published, repeat: Repeat, job: Job, repeated: pd.DataFrame) -> tuple[Finding, pd.DataFrame]:
    """Compare repeated scores with the published ones.

    On the same kind of CPU, with the same code, PyTorch and number of threads, all scores must be equal bit for bit.
    Otherwise the main metric counts, accuracy or mAP: an evaluation may differ by `TOLERANCE` points, and after a
    training every score must be within the published 95 % interval.

    Parameters
    ----------
    repeated : DataFrame
        Scores of the run, as in its ``metrics.csv``.
    """
    metrics = published.metrics
    rows = metrics[(metrics["experiment"] == job.experiment) & (metrics["seed"] == job.seed)]
    keys = [*_POINT, *(["compression"] if "compression" in rows else [])]
    names = {"value_x": "published", "value_y": "repeated"}
    table = rows[[*keys, "value"]].merge(repeated[[*keys, "value"]], "outer", keys).rename(columns=names)
    table["difference"] = 100 * (table["repeated"] - table["published"])
    table.insert(0, "run", job.name)
    what, changed = f"{repeat} of {job.name}", _changed(published, repeat, job)
    scores = table[table["metric"] == PRIMARY_METRIC[published.suite.task_kind(job.experiment)]]
    largest = scores["difference"].abs().max()
    if table["published"].equals(table["repeated"]):
        return Finding(AGREES, what, f"all {len(table)} values are equal bit for bit"), table
    if not changed:
        detail = f"the same code, PyTorch and kind of CPU gave other scores, by up to {largest:.2g} points"
        return Finding(DIFFERS, what, detail), table
    within, tolerance = _within(published, repeat, job, scores, keys)
    because = f"{', '.join(changed)}: not compared bit for bit"
    if within.all():
        detail = f"all {len(scores)} scores are within {tolerance}, at most {largest:.2g} points away ({because})"
        return Finding(AGREES, what, detail), table
    worst = scores[~within].iloc[0]
    place = f"{worst['metric']} at {worst['evaluation']} {worst['x']:g}"
    detail = (
        f"{(~within).sum()} of {len(scores)} scores are not within {tolerance}: {place} is {worst['difference']:+.2f} "
    )
    return Finding(DIFFERS, what, f"{detail}points away ({because})"), table


def _within(
    published: Published, repeat: Repeat, job: Job, scores: pd.DataFrame, keys: list[str]
) -> tuple[pd.Series, str]:
    """Whether each score is within its tolerance, and the tolerance in words."""
    if repeat == "evaluation" or not published.has("intervals.csv"):
        return scores["difference"].abs() <= TOLERANCE, f"{TOLERANCE:g} points"
    intervals = published.intervals
    of_run = intervals[intervals["experiment"] == job.experiment].set_index([k for k in keys if k in intervals])
    bounds = scores[of_run.index.names].merge(of_run[["low", "high"]].reset_index(), "left", of_run.index.names)
    bounds.index = scores.index
    return scores["repeated"].between(bounds["low"], bounds["high"]), "the published 95 % intervals"


def _changed(published: Published, repeat: Repeat, job: Job) -> list[str]:
    """What is not as in the published run: the kind of CPU, PyTorch, code."""
    from elasticast.models.device import compute_record, default_device

    here = provenance()
    compute = compute_record(job.config.model.backend, default_device())
    now = {"processor": here["machine"]["processor"], "torch": here["versions"]["torch"]}
    now |= {key: compute[key] for key in ("device", "attention_backend")}
    changed = [f"{key} {job.row[key]}, here {value}" for key, value in now.items() if job.row[key] != value]
    jobs = ("train", "evaluate") if repeat == "training" else ("evaluate",)
    return changed + [f"other code of {name}" for name in jobs if not same_code(published, name, job.experiment)]
