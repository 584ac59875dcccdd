"""`elasticast new-suite`: look at a folder of recordings, and write a dataset file and a suite for it."""

import logging
import os
from pathlib import Path

from elasticast.config.load_suite import load_suite
from elasticast.config.names import name_error
from elasticast.config.resolving import load_dataset
from elasticast.errors import ConfigError, ElasticASTError, Problem
from elasticast.files import write_text
from elasticast.new_suite.machine import measure_machine
from elasticast.new_suite.size import size_suite
from elasticast.new_suite.survey import Survey, default_name, look_at
from elasticast.new_suite.write import dataset_text, suite_text

LOG = logging.getLogger(__name__)


def new_suite(
    folder: Path,
    name: str | None = None,
    *,
    table: str | None = None,
    labels: list[str] | None = None,
    minutes: float = 30.0,
    all_test: bool = False,
    config_dir: Path = Path("config"),
) -> tuple[Survey, list[Path]]:
    """Write ``datasets/NAME.yaml`` and ``suites/NAME.yaml`` for the recordings in a folder.

    Parameters
    ----------
    folder : Path
        The recordings, with a table or in one folder per class.
    name : str, optional
        Name of the dataset and the suite; by default that of the folder.
    table : str, optional
        The table, relative to `folder`; by default the only one in it.
    labels : list of str, optional
        Columns with labels, one task each; by default the one with a usual name.
    minutes : float
        Time that training all models may take on this machine.
    all_test : bool
        Whether all clips are for evaluating trained models. Only the dataset file is then written.
    config_dir : Path
        Folder that holds ``datasets`` and ``suites``.

    Returns
    -------
    survey : Survey
        What the folder contains.
    paths : list of Path
        The files.

    Raises
    ------
    ElasticASTError
        If a file exists, or the folder cannot be used; nothing is written.
    """
    if not (config_dir / "suites").is_dir():
        raise ElasticASTError(f"{config_dir}: contains no folder `suites`; run this command in the repository")
    if not folder.is_dir():
        kind = "a file, not a folder" if folder.exists() else "no such folder"
        raise ElasticASTError(f"{folder}: {kind}; give the folder of the recordings")
    name = name or default_name(folder)
    paths = [config_dir / kind / f"{name}.yaml" for kind in ("datasets", "suites")[: 1 if all_test else 2]]
    _check_name(name, paths)
    survey = look_at(Path(os.path.abspath(folder)), table, labels or [], all_test=all_test)
    if len(survey.unusable):
        text = "%d of %d clips cannot be used as they are, such as %s (%s); `prepare` lists them all"
        row = survey.unusable.index[0]
        LOG.warning(text, len(survey.unusable), len(survey.clips), survey.clips["id"][row], survey.unusable[row])
    plan = None if all_test else size_suite(survey, measure_machine(), minutes)
    try:
        write_text(paths[0], dataset_text(survey, name))
        load_dataset(paths[0])
        if plan is not None:
            write_text(paths[1], suite_text(survey, plan, name))
            load_suite(name, config_dir)
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    return survey, paths


def _check_name(name: str, paths: list[Path]) -> None:
    for path in paths:
        if error := name_error(name, path.parent.name):
            raise ConfigError([Problem("--name", (), error, name)])
        if path.exists():
            raise ConfigError(
                [Problem("--name", (), f"{path} exists already; choose another name, or delete it", name)]
            )
