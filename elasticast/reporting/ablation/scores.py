"""Scores of the variants of an ablation, over sweeps.

A *sweep* here is one of `elasticast.config.ablation_sweeps`: all evaluations of a variant over length, for example,
whatever their names, so that a model evaluated in windows can be compared with one that is given whole clips. Variants
are compared over the points that all of them have.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from elasticast.config.ablation_sweeps import Point, evaluations_of, native_point, point, shared_points
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.load_ablation import Ablation
from elasticast.evaluation.statistics import Resampled

QUANTITIES = ("native", "mean", "worst")


class Scores(NamedTuple):
    """Scores of a variant at the P points of a sweep that all variants share.

    Attributes
    ----------
    seeds : list of int
        The S seeds that ran.
    values : ndarray
        `[P, S]`, fractions.
    resampled : list of Resampled or None
        One per point; None if the scores were not resampled with exactly these seeds.
    """

    seeds: list[int]
    values: np.ndarray
    resampled: list[Resampled] | None

    def of_seeds(self, seeds: list[int]) -> "Scores":
        """The scores of some of the seeds; resampled scores are kept only if these are all seeds."""
        if seeds == self.seeds:
            return self
        return Scores(seeds, self.values[:, [self.seeds.index(seed) for seed in seeds]], None)


def paired(one: Scores, other: Scores) -> tuple[Scores, Scores]:
    """The scores of two variants over the seeds that both have."""
    common = [seed for seed in one.seeds if seed in other.seeds]
    return one.of_seeds(common), other.of_seeds(common)


@dataclass(frozen=True)
class AblationResults:
    """All results of an ablation; runs that have not finished are missing.

    Attributes
    ----------
    ablation : Ablation
        Each variant has a label of its own; a colour is kept only if a single variant has it.
    metrics : pandas.DataFrame
        `metrics.csv` of all variants and seeds; ``experiment`` is the variant.
    resampled : dict
        By variant, then by (evaluation, point): the resampled score.
    records : dict
        By variant: `run.json` of each seed.
    """

    ablation: Ablation
    metrics: pd.DataFrame
    resampled: dict[str, dict[tuple[str, Point], Resampled]]
    records: dict[str, list[dict]]

    @property
    def metric(self) -> str:
        """The metric that variants are compared by."""
        return PRIMARY_METRIC[self.ablation.task_kind(self.ablation.base)]

    def scores(self, sweep: str, variant: str) -> Scores:
        """The scores of a variant at the shared points of a sweep."""
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
    """Summarise the scores `[P, S]` of a sweep.

    Returns
    -------
    dict
        By quantity (`QUANTITIES`): scores `[S]`, and the index of their point (None for the mean over all points). The
        worst point is the one with the lowest mean over seeds.
    """
    worst = int(values.mean(1).argmin())
    return {"native": (values[native], native), "mean": (values.mean(0), None), "worst": (values[worst], worst)}


def resampled_quantities(scores: list[Resampled], native: int) -> dict[str, Resampled]:
    """Summarise the resampled scores of a sweep, by quantity (`QUANTITIES`).

    A draw has the same clips and seeds at every point, so the draws of a mean over points are the means of their draws.
    The worst point is the one with the lowest measured score, in every draw: the lowest score of each draw would be
    biased downwards, most so with few seeds.
    """
    name = scores[0].experiment
    mean = Resampled(name, np.mean([s.values for s in scores], 0), np.mean([s.draws for s in scores], 0))
    worst = min(scores, key=lambda score: score.value)
    return {"native": scores[native], "mean": mean, "worst": worst}


def native_index(ablation: Ablation, sweep: str) -> int:
    """Index of the native point among the shared points of a sweep."""
    shared = shared_points(ablation, sweep)
    return shared.index(native_point(shared, sweep))
