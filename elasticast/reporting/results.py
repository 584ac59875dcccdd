"""Tidy results joined with the suite: one :class:`Panel` per dataset, task and kind of sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from elasticast.config import Suite
from elasticast.config.base import PRIMARY_METRIC
from elasticast.errors import DataError

# a grid's points have a `compression` as well, which no curve is drawn of
COLUMNS = ("suite", "experiment", "seed", "evaluation", "dataset", "task", "x_name", "x", "metric", "value", "n")
NOT_RUN = "not run"
NOT_IN_SUITE = "not in suite"
DECIMALS = 6  # of x; keeps 1.2 from a file and 1.2 from arithmetic the same point


@dataclass(frozen=True)
class Score:
    """One point of a sweep over its seeds.

    Attributes
    ----------
    x : float or None
        Frames or compression; none where nothing ran.
    mean, sd : float or None
        Fraction 0..1; ``sd`` (n - 1) is none for a single seed.
    seeds, clips : int
        Seeds that ran, and test clips of each.
    status : str
        ``ok``, ``not run``, ``not in sweep`` or ``not in suite``.
    """

    x: float | None = None
    mean: float | None = None
    sd: float | None = None
    seeds: int = 0
    clips: int = 0
    status: str = NOT_RUN


@dataclass(frozen=True)
class Series:
    """One experiment in a sweep.

    Attributes
    ----------
    trained_at : float or None
        The x a fixed-length model was trained at; none for a model that takes any.
    points : pandas.DataFrame
        Index x (every x of the sweep), columns mean, sd, low, high (fractions; NaN where not run),
        seeds and clips (0 where not run).
    seeds : int
        Seeds the suite asks for.
    released : pandas.Series or None
        The authors' curve of the same experiment (fractions, index x), where it has one.
    interval : bool
        Whether low and high are a 95 % interval over seeds and clips; else minimum and maximum over seeds.
    other : Series or None
        The same experiment in another suite, at the same x, where that suite has it.
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
        """Whether there is anything to draw."""
        return self.seeds_run > 0 or self.released is not None or self.other_run

    @property
    def other_run(self) -> bool:
        """Whether there is anything to draw of the other suite."""
        return self.other is not None and self.other.seeds_run > 0

    @cached_property
    def seeds_run(self) -> int:
        """Most seeds at any point of the sweep."""
        return int(self.points["seeds"].max())

    @property
    def shortfall(self) -> str:
        """What is missing, in words; empty when everything ran."""
        if self.seeds_run == 0:
            return NOT_RUN
        if (self.points["seeds"] == 0).any():
            return "sweep incomplete"
        fewest = int(self.points["seeds"].min())
        return f"{fewest} of {self.seeds} seeds" if fewest < self.seeds else ""

    def at(self, x: float) -> Score:
        """The score at one point of the sweep."""
        if round(x, DECIMALS) not in self.points.index:
            return Score(x, status="not in sweep")
        point = self.points.loc[round(x, DECIMALS)]
        if not point["seeds"]:
            return Score(x)
        sd = None if pd.isna(point["sd"]) else float(point["sd"])
        return Score(x, float(point["mean"]), sd, int(point["seeds"]), int(point["clips"]), "ok")

    def worst(self) -> Score:
        """The lowest mean of the sweep."""
        return self.at(self.points["mean"].idxmin()) if self.seeds_run else Score()


@dataclass(frozen=True)
class Panel:
    """All experiments on one task of one dataset, swept along one axis.

    Attributes
    ----------
    beside : str or None
        Title of another suite whose curves stand beside ours; none: no other suite's do.
    """

    dataset: str
    task: str
    x_name: str
    metric: str
    hop_ms: float
    series: tuple[Series, ...]
    beside: str | None = None

    @property
    def title(self) -> str:
        """For readers: dataset and task."""
        return f"{self.dataset} · {self.task}".replace("_", " ")

    @property
    def fixed(self) -> list[Series]:
        """Models trained at one length or resolution."""
        return [s for s in self.series if s.trained_at is not None]

    @property
    def flexible(self) -> list[Series]:
        """Models that take any length or resolution."""
        return [s for s in self.series if s.trained_at is None]

    @property
    def native_x(self) -> float:
        """The end of the sweep at which clips are seen whole, at full resolution."""
        xs = [x for s in self.series for x in s.points.index]
        return max(xs) if self.x_name == "max_frames" else min(xs)


def read_metrics(path: Path, suite: str) -> pd.DataFrame:
    """Read ``metrics.csv`` (columns `COLUMNS`).

    Raises
    ------
    DataError
        If the file or a column is missing, a number is none, or the file is of another suite.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; it is made by the rule that collects the evaluations")
    try:
        table = pd.read_csv(path, dtype={"experiment": str, "evaluation": str, "suite": str})
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty; expected the columns {', '.join(COLUMNS)}") from None
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise DataError(f"{path}: missing column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    for column in ("seed", "x", "value", "n"):
        bad = table[pd.to_numeric(table[column], errors="coerce").isna()]
        if column == "value":  # a metric no class allows is NaN; accuracy always is a number
            bad = bad[bad[column].notna() | (bad["metric"] == "accuracy")]
        if len(bad):
            line, value = bad.index[0] + 2, bad[column].iloc[0]
            raise DataError(f"{path}: line {line}: {column} = {value!r} is not a number")
    others = sorted(set(table["suite"]) - {suite})
    if others:
        raise DataError(f"{path}: holds results of suite {', '.join(map(repr, others))}, expected only {suite!r}")
    return table


def sweep_panels(
    suite: Suite,
    metrics: pd.DataFrame,
    x_name: str,
    *,
    released: dict[str, pd.Series] | None = None,
    intervals: pd.DataFrame | None = None,
) -> list[Panel]:
    """All panels of a kind of sweep, in the suite's order.

    Parameters
    ----------
    x_name : {"max_frames", "compression", "token_drop"}
    released : dict of str to pandas.Series, optional
        Released curves by experiment, see `elasticast.reporting.released`.
    intervals : pandas.DataFrame, optional
        See `elasticast.reporting.uncertainty`.

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
        panels = [_with(p, lambda s, m=p.metric: _with_interval(suite, s, intervals, x_name, m)) for p in panels]
    beside = released or {}
    return [_with(panel, lambda s: replace(s, released=beside.get(s.experiment))) for panel in panels]


def beside_other(panels: list[Panel], suite: Suite, other: Suite, metrics: pd.DataFrame) -> list[Panel]:
    """Panels of a suite in which each experiment has its curve of another suite beside it, where that has one.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Of the other suite, see :func:`read_metrics`.
    """

    def there(series: Series, panel: Panel) -> Series:
        name = series.experiment
        if not suite.shares_curve(other, name, panel.x_name):
            return series
        rows = metrics[(metrics["x_name"] == panel.x_name) & (metrics["metric"] == panel.metric)]
        found = _series(other, rows, panel.x_name, name)
        return replace(series, other=replace(found, points=_at(found.points, series.points.index)))

    return [replace(_with(p, lambda s, p=p: there(s, p)), beside=other.title) for p in panels]


def _panel(suite: Suite, metrics: pd.DataFrame, x_name: str, names: list[str]) -> Panel:
    run = suite.runs[names[0]]
    metric = PRIMARY_METRIC[suite.task_kind(names[0])]
    rows = metrics[(metrics["x_name"] == x_name) & (metrics["metric"] == metric)]
    series = tuple(_series(suite, rows, x_name, name) for name in names)
    return Panel(run.dataset, run.task, x_name, metric, run.front_end.hop_ms, series)


def _with(panel: Panel, change: Callable[[Series], Series]) -> Panel:
    return replace(panel, series=tuple(change(s) for s in panel.series))


def _with_interval(suite: Suite, series: Series, intervals: pd.DataFrame, x_name: str, metric: str) -> Series:
    """A series whose low and high are its 95 % interval, where that was computed for every point that ran."""
    rows = intervals[(intervals["experiment"] == series.experiment) & (intervals["metric"] == metric)]
    rows = rows[rows["evaluation"].isin(suite.curve(series.experiment, x_name))].drop_duplicates("x").set_index("x")
    run = series.points.index[series.points["seeds"] > 0]
    if run.empty or not run.isin(rows.index).all():
        return series
    points = series.points.copy()
    points.loc[run, ["low", "high"]] = rows.loc[run, ["low", "high"]]
    return replace(series, points=points, interval=True)


def _series(suite: Suite, rows: pd.DataFrame, x_name: str, name: str) -> Series:
    evaluations = suite.curve(name, x_name)
    xs = sorted({round(x, DECIMALS) for e in evaluations.values() for x in e.x})
    mine = rows[(rows["experiment"] == name) & rows["seed"].isin(suite.seeds) & rows["evaluation"].isin(evaluations)]
    mine = mine.assign(x=mine["x"].round(DECIMALS))
    # two evaluations may share a point; it is the same test split, so the same number
    by_x = mine.drop_duplicates(["seed", "x"]).groupby("x")
    value = by_x["value"]
    columns = {"mean": value.mean(), "sd": value.std(), "low": value.min(), "high": value.max()}
    points = _at(pd.DataFrame({**columns, "seeds": value.size(), "clips": by_x["n"].max()}), xs)
    return Series(name, suite.experiments[name].label, trained_at(suite, name, x_name), points, len(suite.seeds))


def _at(points: pd.DataFrame, xs: Sequence[float]) -> pd.DataFrame:
    """Points of a series at these x; nothing has run at those it does not have."""
    points = points.reindex(xs)
    points[["seeds", "clips"]] = points[["seeds", "clips"]].fillna(0).astype(int)
    return points


def trained_at(suite: Suite, experiment: str, x_name: str) -> float | None:
    """The x at which a fixed-length model was trained, none for any other model."""
    run = suite.runs[experiment]
    if run.model.kind != "ast" or run.view.frames == "native" or x_name == "token_drop":
        return None
    return float(run.view.frames if x_name == "max_frames" else run.view.compression[0])
