"""Scores of the variants of an ablation over sweeps.

A *sweep* here is one of `elasticast.config.ablation_sweeps`. It joins all evaluations of a variant over length, for
example, whatever their names. A model evaluated in windows can thus be compared with one evaluated on whole clips.
Variants are compared at the points that all of them have.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config.ablation_sweeps import (
    GRID,
    SWEEPS,
    Point,
    compared,
    evaluations_of,
    native_point,
    point,
    shared_points,
)
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.load_ablation import Ablation
from elasticast.evaluation.statistics import Comparison, Resampled, paired_differences
from elasticast.reporting.captions import Coverage, title_of

QUANTITIES = ("native", "mean", "worst")
INTERVALS = ("experiment", "metric", "evaluation", "x", "low", "high", "chance")
"""Columns of :attr:`AblationResults.intervals`."""


class Scores(NamedTuple):
    """Scores of a variant at the P points of a sweep that all variants have.

    Attributes
    ----------
    seeds : list of int
        The S seeds that ran.
    values : ndarray
        `[P, S]`, fractions.
    resampled : list of Resampled or None
        Resampled scores, one per point. None if the scores were not resampled with exactly these seeds.
    """

    seeds: list[int]
    values: np.ndarray
    resampled: list[Resampled] | None

    def select_seeds(self, seeds: list[int]) -> "Scores":
        """Select the scores of some seeds; resampled scores are kept only if all seeds are selected."""
        if seeds == self.seeds:
            return self
        return Scores(seeds, self.values[:, [self.seeds.index(seed) for seed in seeds]], None)


def select_common_seeds(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """Select the scores of two variants for the seeds that both have."""
    common = [seed for seed in first.seeds if seed in second.seeds]
    return first.select_seeds(common), second.select_seeds(common)


class Tested(NamedTuple):
    """Intervals and tests of published results, which have no resampled scores.

    Attributes
    ----------
    intervals : pandas.DataFrame
        See :attr:`AblationResults.intervals`.
    grid : dict
        See :attr:`AblationResults.grid_tests`.
    """

    intervals: pd.DataFrame
    grid: dict[str, list[Comparison]]


@dataclass(frozen=True)
class AblationResults:
    """All results of an ablation; runs that have not finished are missing.

    Attributes
    ----------
    ablation : Ablation
        Labels are unique; a variant has a colour only if no other variant has the same.
    metrics : pandas.DataFrame
        `metrics.csv` of all variants and seeds; ``experiment`` holds the name of the variant.
    resampled : dict
        Resampled scores by variant, then by (evaluation, point).
    records : dict
        `run.json` of each seed by variant.
    chance : float or None
        Score that takes no listening, see :func:`elasticast.evaluation.statistics.chance`. None if nothing was
        resampled.
    tested : Tested, optional
        Intervals and tests, if the results are published ones.
    """

    ablation: Ablation
    metrics: pd.DataFrame
    resampled: dict[str, dict[tuple[str, Point], Resampled]]
    records: dict[str, list[dict]]
    chance: float | None = None
    tested: Tested | None = None

    @property
    def metric(self) -> str:
        """The metric by which variants are compared."""
        return PRIMARY_METRIC[self.ablation.task_kind(self.ablation.base)]

    @property
    def coverage(self) -> Coverage:
        """The test clips of all variants."""
        dataset = self.ablation.runs[self.ablation.base].dataset
        clips, listed = (int(self.metrics[name].max()) if len(self.metrics) else 0 for name in ("n", "listed"))
        datasets = self.ablation.datasets
        return Coverage(title_of(datasets, dataset), datasets[dataset].origin, clips, listed)

    @property
    def intervals(self) -> pd.DataFrame:
        """95 % intervals of all points that were resampled with every seed that ran, with the columns `INTERVALS`."""
        if self.tested is not None:
            return self.tested.intervals
        rows, ran = [], self.metrics.groupby(["experiment", "evaluation"])["seed"].nunique()
        for variant, scores in self.resampled.items():
            for (evaluation, (x, compression)), score in scores.items():
                if compression is None and len(score.values) == ran.get((variant, evaluation)):
                    low, high = score.interval()
                    rows.append((variant, self.metric, evaluation, x, low, high, self.chance))
        return pd.DataFrame(rows, columns=list(INTERVALS))

    @property
    def grid_tests(self) -> dict[str, list[Comparison]]:
        """Tests of the differences to the base at all points of the grid of lengths and resolutions, by variant.

        Variants that were not resampled are left out. P-values are corrected for the number of all these differences.
        """
        if self.tested is not None:
            return self.tested.grid
        pairs = {}
        for variant in compared(self.ablation).get(GRID, []):
            scores, base = self.beside_base(GRID, variant)
            if variant != self.ablation.base and scores.resampled and base.resampled:
                pairs[variant] = list(zip(scores.resampled, base.resampled, strict=True))
        tests = iter(paired_differences([pair for of_variant in pairs.values() for pair in of_variant]))
        return {variant: list(itertools.islice(tests, len(of_variant))) for variant, of_variant in pairs.items()}

    def scores(self, sweep: str, variant: str) -> Scores:
        """The scores of a variant at the points of a sweep that all variants have."""
        evaluations = evaluations_of(self.ablation, variant, sweep)
        rows = self.metrics[(self.metrics["experiment"] == variant) & (self.metrics["metric"] == self.metric)]
        value_at = {}
        for row in rows[rows["evaluation"].isin(evaluations)].itertuples():
            at = point(row.x, row.compression if evaluations[row.evaluation].compression else None)
            value_at[at, row.seed] = row.value
        shared = shared_points(self.ablation, sweep)
        seeds = [s for s in self.ablation.seeds if all((at, s) in value_at for at in shared)]
        table = [[value_at[at, seed] for seed in seeds] for at in shared]
        values = np.array(table).reshape(len(shared), len(seeds))
        return Scores(seeds, values, self._resampled(variant, list(evaluations), shared, len(seeds)))

    def beside_base(self, sweep: str, variant: str) -> tuple[Scores, Scores]:
        """Scores of a variant and of the base for the seeds that both have."""
        return select_common_seeds(*(self.scores(sweep, name) for name in (variant, self.ablation.base)))

    def _resampled(
        self, variant: str, evaluations: list[str], shared: list[Point], seeds: int
    ) -> list[Resampled] | None:
        """Resampled scores at the shared points. None unless every point was resampled with this number of seeds."""
        score_at = {at: score for (name, at), score in self.resampled[variant].items() if name in evaluations}
        scores = [score_at[at] for at in shared if at in score_at and len(score_at[at].values) == seeds]
        return scores if len(scores) == len(shared) else None


def quantities(values: np.ndarray, native: int) -> dict[str, tuple[np.ndarray, int | None]]:
    """Summarise the scores `[P, S]` of a sweep.

    Returns
    -------
    dict
        For each of `QUANTITIES`, the scores `[S]` and the index of their point. The index is None for the mean over all
        points. The worst point is the one with the lowest mean over seeds.
    """
    worst = int(values.mean(1).argmin())
    return {"native": (values[native], native), "mean": (values.mean(0), None), "worst": (values[worst], worst)}


def resampled_quantities(scores: list[Resampled], native: int) -> dict[str, Resampled]:
    """Summarise the resampled scores of a sweep for each of `QUANTITIES`.

    A draw has the same clips and seeds at every point. The draws of the mean over points are therefore the means of the
    points' draws. All draws use the same worst point, the one with the lowest measured score. Taking the lowest score
    of each draw would bias the result downwards, most of all with few seeds.
    """
    name = scores[0].experiment
    mean = Resampled(name, np.mean([s.values for s in scores], 0), np.mean([s.draws for s in scores], 0))
    worst = min(scores, key=lambda score: score.value)
    return {"native": scores[native], "mean": mean, "worst": worst}


def native_index(ablation: Ablation, sweep: str) -> int:
    """Index of the native point among the points of a sweep that all variants have.

    It is the base's own size of patches in a sweep over patches, if it is among them.
    """
    shared = shared_points(ablation, sweep)
    own = point(ablation.runs[ablation.base].model.patch, None)
    if sweep in (SWEEPS["patch_size"], SWEEPS["patch_width"]) and own in shared:
        return shared.index(own)
    return shared.index(native_point(shared, sweep))
