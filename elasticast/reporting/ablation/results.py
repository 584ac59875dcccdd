"""What was measured of an ablation: its variants' metrics, resampled scores and training records.

A *sweep* here is one of `elasticast.config.ablation_sweeps`: the evaluations of a variant over length, say, under any
name, so that a model evaluated in windows can be compared with one that takes clips whole. Variants are compared over
the points that all of them have. Runs that have not finished leave gaps, which stay gaps.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config.ablation_names import shown
from elasticast.config.ablation_sweeps import Point, evaluations_of, native_point, point, shared_points
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.load_ablation import Ablation
from elasticast.errors import DataError
from elasticast.evaluation.saved_predictions import points
from elasticast.evaluation.statistics import Resampled
from elasticast.files import read_json
from elasticast.hdf5 import open_hdf5
from elasticast.reporting.results import NOT_RUN, read_metrics

_MEASURED = ("evaluation", "x_name", "x", "compression", "metric", "value", "n")
_ROUNDED = 0.005  # what scores saved in float16 may move a metric
QUANTITIES = ("native", "mean", "worst")
TIDY_COLUMNS = (
    "suite", "ablation", "variant", "label", "base", "setting", "run", "seed", "evaluation", "split", "dataset", "task",
    "x_name", "x", "compression", "metric", "value", "n", "base_value", "delta",
)  # fmt: skip


class Scores(NamedTuple):
    """A variant over the points of a sweep that all variants share.

    Attributes
    ----------
    seeds : list of int
        Those that ran.
    values : ndarray
        `[P, S]`, fractions.
    resampled : list of Resampled or None
        Of each point; none: not resampled with these seeds.
    """

    seeds: list[int]
    values: np.ndarray
    resampled: list[Resampled] | None

    def of_seeds(self, seeds: list[int]) -> "Scores":
        """The same of some seeds, which were not resampled by themselves."""
        if seeds == self.seeds:
            return self
        return Scores(seeds, self.values[:, [self.seeds.index(seed) for seed in seeds]], None)


def paired(one: Scores, other: Scores) -> tuple[Scores, Scores]:
    """Both over the seeds that both have."""
    common = [seed for seed in one.seeds if seed in other.seeds]
    return one.of_seeds(common), other.of_seeds(common)


@dataclass(frozen=True)
class Results:
    """What there is of an ablation.

    Attributes
    ----------
    ablation : Ablation
        With a label for each variant that no other has, and colours that were given to one variant alone.
    metrics : pandas.DataFrame
        `metrics.csv` of all variants and seeds, where ``experiment`` is the variant.
    resampled : dict
        Variant to (evaluation, point) to its resampled score.
    records : dict
        Variant to the `run.json` of its seeds.
    """

    ablation: Ablation
    metrics: pd.DataFrame
    resampled: dict[str, dict[tuple[str, Point], Resampled]]
    records: dict[str, list[dict]]

    @property
    def metric(self) -> str:
        """What variants are compared by."""
        return PRIMARY_METRIC[self.ablation.task_kind(self.ablation.base)]

    def scores(self, sweep: str, variant: str) -> Scores:
        """A variant over the points of a sweep."""
        evaluations = evaluations_of(self.ablation, variant, sweep)
        rows = self.metrics[(self.metrics["experiment"] == variant) & (self.metrics["metric"] == self.metric)]
        found = {}
        for row in rows[rows["evaluation"].isin(evaluations)].itertuples():
            at = point(row.x, row.compression if evaluations[row.evaluation].compression else None)
            found[at, row.seed] = row.value
        shared = shared_points(self.ablation, sweep)
        seeds = [s for s in self.ablation.seeds if all((at, s) in found for at in shared)]
        values = np.array([[found[at, seed] for seed in seeds] for at in shared]).reshape(len(shared), len(seeds))
        return Scores(seeds, values, self._resampled(variant, list(evaluations), shared, len(seeds)))

    def _resampled(
        self, variant: str, evaluations: list[str], shared: list[Point], seeds: int
    ) -> list[Resampled] | None:
        there = {at: scores for (name, at), scores in self.resampled[variant].items() if name in evaluations}
        found = [there[at] for at in shared if at in there and len(there[at].values) == seeds]
        return found if len(found) == len(shared) else None


def quantities(values: np.ndarray, native: int) -> dict[str, tuple[np.ndarray, int | None]]:
    """What a sweep comes to, of values `[P, S]`: `[S]`, and at which point; the worst is where the seeds' mean is."""
    worst = int(values.mean(1).argmin())
    return {"native": (values[native], native), "mean": (values.mean(0), None), "worst": (values[worst], worst)}


def resampled_quantities(scores: list[Resampled], native: int) -> dict[str, Resampled]:
    """The same, resampled.

    A draw takes the same clips at every point, and the same seeds, which the experiment's name decides. So the draws of
    a mean over points are the means of their draws. The worst is at the point where it was measured, in every draw: the
    least of several points would be lower in a draw than in what was drawn from, most where seeds are few.
    """
    name = scores[0].experiment
    mean = Resampled(name, np.mean([s.values for s in scores], 0), np.mean([s.draws for s in scores], 0))
    worst = min(scores, key=lambda score: score.value)
    return {"native": scores[native], "mean": mean, "worst": worst}


def native_index(ablation: Ablation, sweep: str) -> int:
    """Place of the native point among the shared ones."""
    shared = shared_points(ablation, sweep)
    return shared.index(native_point(shared, sweep))


# ---------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------


def read_results(ablation: Ablation, folder: Path) -> Results:
    """Read what there is of an ablation.

    Parameters
    ----------
    folder : Path
        ``results/SUITE/ablations/NAME``; training records lie in ``results/SUITE/runs``.

    Raises
    ------
    DataError
        If files are of other runs than the ablation's, or their clips differ.
    """
    ablation, tables, resampled, records, origins = _distinct(ablation), [], {}, {}, {}
    metric = PRIMARY_METRIC[ablation.task_kind(ablation.base)]
    for variant, run in ablation.trained.items():
        own = folder / "runs" / variant
        files = [own / f"seed{seed}" / "metrics.csv" for seed in ablation.seeds]
        measured = [_read_metrics(file, ablation, variant) for file in files if file.is_file()]
        tables += measured
        primary = [table[table["metric"] == metric] for table in measured]
        found = _read_resampled(own / "resampled.h5", run, origins)
        resampled[variant] = {key: score for key, score in found.items() if _is_current(key, score, primary)}
        trained = [folder.parents[1] / "runs" / run / f"seed{seed}" / "run.json" for seed in ablation.seeds]
        records[variant] = [read_json(file) for file in trained if file.is_file()]
    if len(origins) > 1:
        one, other = list(origins.values())[:2]
        raise DataError(f"{one} and {other} hold different clips, or were resampled differently often")
    nothing = pd.DataFrame(columns=["experiment", "seed", *_MEASURED])
    return Results(ablation, pd.concat(tables or [nothing], ignore_index=True), resampled, records)


def _distinct(ablation: Ablation) -> Ablation:
    """Variants of one label go by their own names; a colour that several have is the base experiment's."""
    labels, colors = ([getattr(e, key) for e in ablation.experiments.values()] for key in ("label", "color"))
    experiments = {}
    for variant, e in ablation.experiments.items():
        label = e.label if labels.count(e.label) == 1 else variant
        color = e.color if colors.count(e.color) == 1 else None
        experiments[variant] = e.model_copy(update={"label": label, "color": color})
    return ablation.model_copy(update={"experiments": experiments})


def _read_metrics(path: Path, ablation: Ablation, variant: str) -> pd.DataFrame:
    table, run = read_metrics(path, ablation.suite), ablation.trained[variant]
    others = sorted(set(table["experiment"]) - {run})
    if others:
        raise DataError(f"{path}: holds results of run {', '.join(map(repr, others))}, expected only {run!r}")
    return table[table["evaluation"].isin(ablation.sweep(variant))].assign(experiment=variant)


def _is_current(key: tuple[str, Point], score: Resampled, measured: list[pd.DataFrame]) -> bool:
    """Whether a resampled score is of the runs whose metrics there are, and not of others that were before them."""
    evaluation, at = key
    values = []
    for table in measured:
        rows = table[table["evaluation"] == evaluation].itertuples()
        values += [row.value for row in rows if point(row.x, at[1] and row.compression) == at]
    return len(values) == len(score.values) and np.allclose(values, score.values, rtol=0, atol=_ROUNDED)


def _read_resampled(path: Path, run: str, origins: dict[tuple, Path]) -> dict[tuple[str, Point], Resampled]:
    """The resampled scores of a variant on split test; on which clips they are is added to `origins`."""
    if not path.is_file():
        return {}
    found = {}
    with open_hdf5(path, "run `elasticast resample` again") as file:
        if file.attrs["experiment"] != run:
            raise DataError(f"{path}: holds results of run {file.attrs['experiment']!r}, expected {run!r}")
        for name, group in file.items():
            if group.attrs["split"] != "test":
                continue
            origins.setdefault((group.attrs["clips_sha256"], int(file.attrs["draws"])), path)
            for at in points(group):
                compression = at.attrs["compression"] if "@" in at.name.rsplit("/", 1)[1] else None
                place = point(float(at.attrs["x"]), None if compression is None else float(compression))
                found[name, place] = Resampled(run, at["values"][:], at["draws"][:])
    return found


# ---------------------------------------------------------------------------------------------
# The tidy table
# ---------------------------------------------------------------------------------------------


def setting(ablation: Ablation, variant: str) -> str:
    """In what a variant is not the base, in words."""
    said = [f"{key} = {shown(value)}" for key, value in ablation.factors[variant].items()]
    own, others = (ablation.experiments[v].evaluations for v in (variant, ablation.base))
    if own != others:
        said.append(f"evaluations = {', '.join(own)}")
    return "; ".join(said) or "as the base"


def varied(ablation: Ablation) -> str:
    """What varies, as the head of a column of variants."""
    words = ", ".join(map(setting_name, ablation.grid)) or "variant"
    return words[0].upper() + words[1:]


def setting_name(key: str) -> str:
    """A dotted setting for readers: ``train.batch.tokens`` is "batch tokens"."""
    return " ".join(key.split(".")[1:] or [key]).replace("_", " ")


def tidy(results: Results) -> pd.DataFrame:
    """Every number of every run, beside the base's of the same seed (columns `TIDY_COLUMNS`).

    ``base_value`` is of the same evaluation where the base has it, else of the same point of the same kind of sweep;
    NaN where it has neither. A run that there is not yet has a row for each of its points, which says so.
    """
    ablation = results.ablation
    ran = {key: rows for key, rows in results.metrics.groupby(["experiment", "seed"], sort=False)}
    rows = []
    for variant, run in ablation.trained.items():
        head = {
            "suite": ablation.suite,
            "ablation": ablation.name,
            "variant": variant,
            "label": ablation.experiments[variant].label,
        }
        head |= {"base": variant == ablation.base, "setting": setting(ablation, variant), "run": run}
        head |= {key: getattr(ablation.runs[variant], key) for key in ("dataset", "task")}
        for seed in ablation.seeds:
            if (variant, seed) in ran:
                found = ran[variant, seed][list(_MEASURED)].to_dict("records")
            else:
                found = _planned(ablation, variant, results.metric)
            rows += [{**head, "seed": seed, "split": ablation.evaluations[r["evaluation"]].split, **r} for r in found]
    table = pd.DataFrame(rows)
    table["base_value"] = _base_values(ablation, table)
    pairs = zip(table["value"], table["base_value"], strict=True)
    table["delta"] = [NOT_RUN if NOT_RUN in pair else pair[0] - pair[1] for pair in pairs]
    return table[list(TIDY_COLUMNS)]


def _planned(ablation: Ablation, variant: str, metric: str) -> list[dict]:
    """Rows of a run that is yet to come."""
    rows, own = [], ablation.run_config(variant, 0).own_compression
    for name, e in ablation.sweep(variant).items():
        for x, c in itertools.product(e.x, e.compression or [own]):
            place = {
                "evaluation": name,
                "x_name": e.x_name,
                "x": x,
                "compression": x if e.x_name == "compression" else c,
            }
            rows.append({**place, "metric": metric, "value": NOT_RUN, "n": NOT_RUN})
    return rows


def _base_values(ablation: Ablation, table: pd.DataFrame) -> list:
    """What the base has at each row's place."""
    same, alike = {}, {}
    for row in table[table["base"]].itertuples():
        same[_same_place(row)] = row.value
        alike.setdefault(_alike_place(ablation, row), row.value)
    rows = list(table.itertuples())
    return [same.get(_same_place(row), alike.get(_alike_place(ablation, row), np.nan)) for row in rows]


def _same_place(row: NamedTuple) -> tuple:
    return row.evaluation, row.seed, row.metric, *point(row.x, row.compression)


def _alike_place(ablation: Ablation, row: NamedTuple) -> tuple:
    grid = ablation.evaluations[row.evaluation].compression is not None
    return row.x_name, row.split, grid, row.seed, row.metric, *point(row.x, row.compression if grid else None)
