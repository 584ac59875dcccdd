"""Results joined with the settings of their suite: one :class:`Panel` per dataset, task and kind of sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from elasticast.config import Suite
from elasticast.config.base import PRIMARY_METRIC
from elasticast.data.ceilings import ceilings
from elasticast.errors import DataError
from elasticast.reporting.captions import Coverage, title_of
from elasticast.reporting.read_tables import DECIMALS

NOT_RUN = "not run"
NOT_IN_SUITE = "not in suite"

_COUNTS = ("seeds", "clips", "listed")
Band = Literal["interval", "seeds"]
"""The meaning of a curve's band: a 95 % interval, or the minimum and maximum over seeds."""


@dataclass(frozen=True)
class Score:
    """The score of an experiment at one x of a sweep.

    Attributes
    ----------
    x : float or None
        Frames, compression, or share of tokens left out. None if nothing ran.
    mean, sd : float or None
        Mean and standard deviation (n - 1) over seeds, as fractions (0 to 1). ``mean`` is None if the point has not
        run; ``sd`` is also None for a single seed.
    seeds, clips, listed : int
        Number of seeds that ran, number of test clips per seed, and number of clips in the published test list.
    status : str
        ``ok``, ``not run``, ``not in sweep`` or ``not in suite``.
    """

    x: float | None = None
    mean: float | None = None
    sd: float | None = None
    seeds: int = 0
    clips: int = 0
    listed: int = 0
    status: str = NOT_RUN


@dataclass(frozen=True)
class Series:
    """The scores of one experiment over a sweep.

    Attributes
    ----------
    trained_at : float or None
        The x at which a fixed-length model was trained. None for a model that accepts any x.
    points : pandas.DataFrame
        Index x (every x of the sweep), columns mean, sd, low, high (fractions; NaN where not run),
        seeds, clips and listed (0 where not run).
    seeds : int
        Number of seeds in the suite's settings.
    released : pandas.Series or None
        The authors' curve for this experiment (fractions, index x), if they released one.
    interval : bool
        Whether low and high are the 95 % interval over seeds and clips. If False, they are the minimum and maximum over
        seeds.
    other : Series or None
        The same experiment in another suite, at the same x. None if that suite does not have it.
    """

    experiment: str
    label: str
    trained_at: float | None
    points: pd.DataFrame
    seeds: int
    released: pd.Series | None = None
    interval: bool = False
    other: "Series | None" = None

    @property
    def drawn(self) -> bool:
        """Whether the experiment has any curve to draw: ours, the released one or another suite's."""
        return self.seeds_run > 0 or self.released is not None or self.other_has_run

    @property
    def other_has_run(self) -> bool:
        """Whether the other suite has results of this experiment."""
        return self.other is not None and self.other.seeds_run > 0

    @property
    def band(self) -> Band | None:
        """The meaning of the band around the curve. None if there is no band."""
        if self.points["low"].isna().all():
            return None
        return "interval" if self.interval else "seeds" if self.seeds_run > 1 else None

    @property
    def training_point(self) -> tuple[float, float] | None:
        """The x at which the model was trained, and its mean there. None if the curve does not reach that x."""
        run, x = self.points["mean"].dropna(), self.trained_at
        if x is None or run.empty or not run.index[0] <= x <= run.index[-1]:
            return None
        return x, float(np.interp(x, run.index, run))

    @cached_property
    def seeds_run(self) -> int:
        """The largest number of seeds at any point of the sweep."""
        return int(self.points["seeds"].max())

    @property
    def shortfall(self) -> str:
        """Text that says what has not run; empty if everything has run."""
        if self.seeds_run == 0:
            return NOT_RUN
        if (self.points["seeds"] == 0).any():
            return "sweep incomplete"
        fewest = int(self.points["seeds"].min())
        return f"{fewest} of {self.seeds} seeds" if fewest < self.seeds else ""

    def at(self, x: float) -> Score:
        """The score at one x of the sweep."""
        if round(x, DECIMALS) not in self.points.index:
            return Score(x, status="not in sweep")
        point = self.points.loc[round(x, DECIMALS)]
        if not point["seeds"]:
            return Score(x)
        sd = None if pd.isna(point["sd"]) else float(point["sd"])
        return Score(x, float(point["mean"]), sd, *(int(point[name]) for name in _COUNTS), status="ok")

    def worst(self) -> Score:
        """The score with the lowest mean of the sweep."""
        return self.at(self.points["mean"].idxmin()) if self.seeds_run else Score()


@dataclass(frozen=True)
class Panel:
    """All experiments on one task of one dataset, evaluated over one kind of sweep.

    Attributes
    ----------
    dataset_title : str
        Name of the dataset in figures and tables.
    origin : str
        What the clips are, see `elasticast.config.dataset.DatasetSettings.origin`.
    other_title : str or None
        Title of the other suite whose curves are drawn too. None if there is no other suite.
    chance : float or None
        Score that takes no listening (a fraction), see :func:`elasticast.evaluation.statistics.chance`. None if it is
        not known.
    ceiling : pandas.Series or None
        Scores (fractions, index x) of a perfect listener, see :mod:`elasticast.data.ceilings`. None if they are not
        known.
    """

    dataset: str
    dataset_title: str
    task: str
    x_name: str
    metric: str
    hop_ms: float
    series: tuple[Series, ...]
    origin: str
    other_title: str | None = None
    chance: float | None = None
    ceiling: pd.Series | None = None

    @property
    def title(self) -> str:
        """Title of the panel: dataset and task."""
        return f"{self.dataset_title} · {self.task.replace('_', ' ')}"

    @property
    def coverage(self) -> Coverage:
        """The test clips of the panel."""
        clips, listed = (max(int(s.points[name].max()) for s in self.series) for name in ("clips", "listed"))
        return Coverage(self.dataset_title, self.origin, clips, listed)

    def draws_released(self, series: Series) -> bool:
        """Whether the released curve of an experiment is drawn as its own: several can name one, the first has it."""
        curve = series.released
        if curve is None:
            return False
        return series is next(s for s in self.series if s.released is not None and curve.equals(s.released))

    @property
    def listed(self) -> list[Series]:
        """The experiments that have a line, flexible models first."""
        drawn = [s for s in self.series if s.seeds_run or s.other_has_run or self.draws_released(s)]
        return sorted(drawn, key=lambda s: s.trained_at is not None)

    @property
    def chance_is_near(self) -> bool:
        """Whether a line at the chance level leaves most of the axis to the curves."""
        if self.chance is None:
            return False
        curves = [s.points[["mean", "low", "high"]].stack() for s in self.series]
        low, high = min(c.min() for c in curves if len(c)), max(c.max() for c in curves if len(c))
        return self.chance > low - max(high - low, 0.02) / 3

    @property
    def fixed(self) -> list[Series]:
        """Models trained at one length or resolution."""
        return [s for s in self.series if s.trained_at is not None]

    @property
    def flexible(self) -> list[Series]:
        """Models that accept any length or resolution."""
        return [s for s in self.series if s.trained_at is None]

    @property
    def native_x(self) -> float:
        """The x that gives the model most of a clip: greatest length or rate, finest resolution, most tokens."""
        xs = [x for s in self.series for x in s.points.index]
        return max(xs) if self.x_name in ("max_frames", "sample_rate") else min(xs)


def sweep_panels(
    suite: Suite,
    metrics: pd.DataFrame,
    x_name: str,
    *,
    released: dict[str, pd.Series] | None = None,
    intervals: pd.DataFrame | None = None,
) -> list[Panel]:
    """Join the results of a suite to panels of one kind of sweep, in the order of the suite.

    Parameters
    ----------
    x_name : str
        Kind of sweep, see `elasticast.config.evaluation.Evaluation.x_name`.
    released : dict of str to pandas.Series, optional
        The authors' curves by experiment name, see `elasticast.reporting.released_curves`.
    intervals : pandas.DataFrame, optional
        95 % intervals, see `elasticast.reporting.read_tables.read_intervals`.

    Raises
    ------
    DataError
        If no experiment of the suite has such a sweep.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, run in suite.runs.items():
        if suite.curve(name, x_name):
            groups.setdefault((run.dataset, run.task), []).append(name)
    if not groups:
        raise DataError(f"suite {suite.name!r}: no experiment has an evaluation with x_name: {x_name}")
    panels = [_panel(suite, metrics, x_name, names) for names in groups.values()]
    if intervals is not None:
        panels = [_replace_series(p, lambda s, p=p: _with_interval(suite, s, intervals, p)) for p in panels]
        panels = [replace(p, chance=_chance(suite, p, intervals)) for p in panels]
    curves = released or {}
    return [_replace_series(panel, lambda s: replace(s, released=curves.get(s.experiment))) for panel in panels]


def add_other_suite(panels: list[Panel], suite: Suite, other: Suite, metrics: pd.DataFrame) -> list[Panel]:
    """Add to each experiment of `suite` its curve in another suite, if that suite has the experiment.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Results of the other suite, see `elasticast.reporting.read_tables.read_metrics`.
    """

    def with_other(series: Series, panel: Panel) -> Series:
        name = series.experiment
        if not suite.shares_curve(other, name, panel.x_name):
            return series
        rows = metrics[(metrics["x_name"] == panel.x_name) & (metrics["metric"] == panel.metric)]
        curve = _series(other, rows, panel.x_name, name)
        return replace(series, other=replace(curve, points=_reindex(curve.points, series.points.index)))

    return [replace(_replace_series(p, lambda s, p=p: with_other(s, p)), other_title=other.title) for p in panels]


def _panel(suite: Suite, metrics: pd.DataFrame, x_name: str, names: list[str]) -> Panel:
    run = suite.runs[names[0]]
    metric = PRIMARY_METRIC[suite.task_kind(names[0])]
    rows = metrics[(metrics["x_name"] == x_name) & (metrics["metric"] == metric)]
    series = tuple(_series(suite, rows, x_name, name) for name in names)
    origin, title = suite.datasets[run.dataset].origin, title_of(suite.datasets, run.dataset)
    ceiling = _ceiling(suite, names[0], sorted({x for s in series for x in s.points.index}), x_name)
    return Panel(run.dataset, title, run.task, x_name, metric, run.front_end.hop_ms, series, origin, ceiling=ceiling)


def _ceiling(suite: Suite, experiment: str, xs: list[float], x_name: str) -> pd.Series | None:
    """Scores of a perfect listener at these lengths of test clips."""
    if x_name != "max_frames":
        return None
    run = suite.runs[experiment]
    known = ceilings(suite.datasets[run.dataset], run.task, "test", [x * run.front_end.hop_ms / 1000 for x in xs])
    return None if known is None else pd.Series(known, index=xs)


def _replace_series(panel: Panel, change: Callable[[Series], Series]) -> Panel:
    return replace(panel, series=tuple(change(s) for s in panel.series))


def _with_interval(suite: Suite, series: Series, intervals: pd.DataFrame, panel: Panel) -> Series:
    """Replace low and high by the 95 % interval, if it was computed for every point that ran."""
    evaluations = suite.curve(series.experiment, panel.x_name)
    rows = intervals[(intervals["experiment"] == series.experiment) & (intervals["metric"] == panel.metric)]
    rows = rows[rows["evaluation"].isin(evaluations)].drop_duplicates("x").set_index("x")
    run = series.points.index[series.points["seeds"] > 0]
    if run.empty or not run.isin(rows.index).all():
        return series
    points = series.points.copy()
    points.loc[run, ["low", "high"]] = rows.loc[run, ["low", "high"]]
    return replace(series, points=points, interval=True)


def _chance(suite: Suite, panel: Panel, intervals: pd.DataFrame) -> float | None:
    """Chance of the clips of a panel, from the first of its points that has one."""
    if "chance" not in intervals:
        return None
    for series in panel.series:
        evaluations = suite.curve(series.experiment, panel.x_name)
        of_series = intervals["experiment"].eq(series.experiment) & intervals["metric"].eq(panel.metric)
        known = intervals[of_series & intervals["evaluation"].isin(evaluations)]["chance"].dropna()
        if len(known):
            return float(known.iloc[0])
    return None


def _series(suite: Suite, rows: pd.DataFrame, x_name: str, name: str) -> Series:
    evaluations = suite.curve(name, x_name)
    xs = sorted({round(x, DECIMALS) for e in evaluations.values() for x in e.x})
    rows = rows[(rows["experiment"] == name) & rows["seed"].isin(suite.seeds) & rows["evaluation"].isin(evaluations)]
    rows = rows.assign(x=rows["x"].round(DECIMALS))
    # two evaluations may have a point in common: both use the test split, so their scores there are equal
    by_x = rows.drop_duplicates(["seed", "x"]).groupby("x")
    value = by_x["value"]
    columns = {"mean": value.mean(), "sd": value.std(), "low": value.min(), "high": value.max()}
    columns |= {"seeds": value.size(), "clips": by_x["n"].max(), "listed": by_x["listed"].max()}
    points = _reindex(pd.DataFrame(columns), xs)
    return Series(name, suite.experiments[name].label, trained_at(suite, name, x_name), points, len(suite.seeds))


def _reindex(points: pd.DataFrame, xs: Sequence[float]) -> pd.DataFrame:
    """Points at exactly these x; where there was no point before, it is marked as not run."""
    points = points.reindex(xs)
    points[list(_COUNTS)] = points[list(_COUNTS)].fillna(0).astype(int)
    return points


def trained_at(suite: Suite, experiment: str, x_name: str) -> float | None:
    """The x at which a fixed-length model was trained. None for any other model."""
    run = suite.runs[experiment]
    if not run.fixed_length or x_name not in ("max_frames", "compression"):
        return None
    return float(run.view.frames if x_name == "max_frames" else run.view.compression[0])
