"""Cross-validation: every experiment on a dataset is repeated on each fold of it."""

from collections.abc import Iterator
from pathlib import Path

from elasticast.config.dataset import DatasetConfig
from elasticast.config.names import name_error, no_such_file
from elasticast.config.reading import validate
from elasticast.config.resolving import load_dataset
from elasticast.config.run import OF_RUN, RunSettings
from elasticast.config.suite import Claim, Suite, fold_name
from elasticast.errors import ConfigError, Problem

_NO_DATA = ("title", "shards", "max_rejected")
"""Settings of a dataset that do not say which clips it has."""


def with_folds(suite: Suite, file: str, config_dir: Path) -> Suite:
    """Replace each experiment on a dataset with folds by one experiment per fold, and so its claims.

    Parameters
    ----------
    suite : Suite
        A suite without mistakes. Its `folds` name datasets in ``config_dir/datasets``.
    file : str
        Its file, for messages.

    Raises
    ------
    ConfigError
        If `folds` names a dataset that no experiment uses, or a fold that does not exist, is of another source, or
        is a synthetic twin where the dataset is none.
    """
    if not suite.folds:
        return suite
    datasets = _datasets(suite, file, config_dir / "datasets")
    experiments, runs, claims = {}, {}, {}
    for name, run in suite.runs.items():
        for fold, one in _copies(suite, name):
            experiments[one], runs[one] = suite.experiments[name], _on_fold(suite, run, fold)
    for name, claim in suite.claims.items():
        for fold, one in _copies(suite, name, claim.model):
            claims[one] = _of_fold(claim, fold)
    references = [one for name in suite.references for _, one in _copies(suite, name)]
    if problems := [Problem(file, ("folds",), error, name) for name in runs if (error := name_error(name))]:
        raise ConfigError(problems)
    fields = {name: getattr(suite, name) for name in Suite.model_fields}
    fields |= {"experiments": experiments, "runs": runs, "claims": claims, "references": references}
    return validate(Suite, fields | {"datasets": datasets}, file)


def _datasets(suite: Suite, file: str, folder: Path) -> dict[str, DatasetConfig]:
    """The datasets of the suite, each replaced by its folds."""
    found, problems = {n: d for n, d in suite.datasets.items() if n not in suite.folds}, []
    for name, folds in suite.folds.items():
        whole = suite.datasets.get(name)
        if whole is None:
            message = f"no experiment uses this dataset. Used: {', '.join(suite.datasets)}"
            problems.append(Problem(file, ("folds", name), message))
            continue
        for fold in folds:
            if missing := no_such_file(folder, fold):
                problems.append(Problem(file, ("folds", name), missing, fold))
                continue
            found[fold] = load_dataset(folder / f"{fold}.yaml")
            if found[fold].source != whole.source:
                message = f"has source {found[fold].source!r}, and {name} has {whole.source!r}; expected a fold of it"
                problems.append(Problem(file, ("folds", name), message, fold))
            elif found[fold].origin != whole.origin:
                message = f"is {found[fold].origin}, and {name} is {whole.origin}; `datasets` replaces folds one by one"
                problems.append(Problem(file, ("folds", name), message, fold))
        if len(folds) > 1 and found.keys() >= set(folds) and (message := _no_folds(folds, found)):
            problems.append(Problem(file, ("folds", name), message))
    if problems:
        raise ConfigError(problems)
    return found


def _no_folds(names: list[str], datasets: dict[str, DatasetConfig]) -> str | None:
    """Why datasets are no folds of one dataset: each setting is the same in all of them, or another one in each."""
    distinct = False
    for key in type(datasets[names[0]]).model_fields:
        values = [repr(getattr(datasets[name], key, None)) for name in names]
        if key in _NO_DATA or len(set(values)) == 1:
            continue
        if len(set(values)) < len(names):
            listed = ", ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))
            return f"{key} differs in some folds only ({listed}); expected one value for all, or another one in each"
        distinct = True
    return None if distinct else f"{', '.join(names)} have the same settings; expected another test split in each"


def _copies(suite: Suite, name: str, experiment: str | None = None) -> Iterator[tuple[int | None, str]]:
    """Number of each fold, and the name of an experiment (or of a claim about `experiment`) there."""
    folds = suite.folds.get(suite.runs[experiment or name].dataset)
    if folds is None:
        yield None, name
        return
    yield from ((number, fold_name(name, number)) for number in range(1, len(folds) + 1))


def _on_fold(suite: Suite, run: RunSettings, fold: int | None) -> RunSettings:
    """The settings of a run on a fold; weights of other experiments are those of the same fold."""
    if fold is None:
        return run
    changed = run.model_copy(update={"dataset": suite.folds[run.dataset][fold - 1]})
    for key, other in run.trained_first.items():
        if suite.runs[other].dataset in suite.folds:
            changed = changed.with_source(key, OF_RUN + fold_name(other, fold))
    return changed


def _of_fold(claim: Claim, fold: int | None) -> Claim:
    if fold is None:
        return claim
    against = [fold_name(name, fold) for name in claim.against]
    return claim.model_copy(update={"model": fold_name(claim.model, fold), "against": against})
