"""Results of cross-validation joined: the folds of a dataset count as the seeds of one experiment."""

from collections.abc import Iterator

import pandas as pd

from elasticast.config import Suite
from elasticast.config.suite import fold_name


def join_folds(suite: Suite, metrics: pd.DataFrame) -> Iterator[tuple[Suite, pd.DataFrame, int]]:
    """The experiments without folds, and those of each dataset with folds, which are joined.

    Yields
    ------
    suite : Suite
        With the experiments of this part; those of a dataset with folds as they were before `folds` repeated them, on
        a dataset of the name of the whole. The seeds are the folds then.
    metrics : pandas.DataFrame
        Its results. The value of a fold is the mean over seeds.
    folds : int
        Number of folds; 1 without folds.
    """
    of_folds = {fold for folds in suite.folds.values() for fold in folds}
    if rest := [name for name, run in suite.runs.items() if run.dataset not in of_folds]:
        yield _part(suite, {name: name for name in rest}), metrics[metrics["experiment"].isin(rest)], 1
    for dataset, folds in suite.folds.items():
        places = {
            name: (name.removesuffix(fold_name("", number)), number)
            for name, run in suite.runs.items()
            for number, fold in enumerate(folds, 1)
            if run.dataset == fold
        }
        joined = _part(suite, {base: name for name, (base, number) in places.items() if number == 1})
        runs = {name: run.model_copy(update={"dataset": dataset}) for name, run in joined.runs.items()}
        title = {"title": f"{dataset}, {len(folds)} folds"}
        datasets = {dataset: suite.datasets[folds[0]].model_copy(update=title)}
        more = {"runs": runs, "datasets": datasets, "seeds": list(range(1, len(folds) + 1))}
        yield joined.model_copy(update=more), _joined(metrics, dataset, places), len(folds)


def _part(suite: Suite, names: dict[str, str]) -> Suite:
    """The suite with some of its experiments, by their new names."""
    parts = {key: {new: getattr(suite, key)[old] for new, old in names.items()} for key in ("experiments", "runs")}
    return suite.model_copy(update={**parts, "claims": {}})


def _joined(metrics: pd.DataFrame, dataset: str, places: dict[str, tuple[str, int]]) -> pd.DataFrame:
    rows = metrics[metrics["experiment"].isin(places)]
    base, fold = (rows["experiment"].map({name: place[i] for name, place in places.items()}) for i in (0, 1))
    rows = rows.assign(experiment=base, seed=fold, dataset=dataset)
    same = [column for column in rows.columns if column not in ("value", "n", "listed")]
    counts = {"value": "mean", "n": "max", "listed": "max"}
    return rows.groupby(same, sort=False, dropna=False, as_index=False).agg(counts)[list(metrics.columns)]
