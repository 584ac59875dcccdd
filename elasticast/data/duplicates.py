"""Find clips with exactly the same decoded audio, within a split and across splits."""

import logging

import pandas as pd

from elasticast.errors import DataError
from elasticast.text import printable

LOG = logging.getLogger(__name__)


def check_duplicates(clips: pd.DataFrame, tasks: list[str], *, refuse: bool) -> None:
    """Warn about usable clips with the same audio. If they are in different splits, scores may be too high.

    Copies in another format, or with another start, are not recognised.

    Parameters
    ----------
    clips : pandas.DataFrame
        The manifest, with the SHA-256 of the decoded samples of each clip.
    tasks : list of str
        Columns with labels.
    refuse : bool
        Whether the same audio in two splits is an error.

    Raises
    ------
    DataError
        The message contains two of the clips, their files and splits.
    """
    usable = clips[clips["status"] == "ok"]
    copies = usable[usable["sha256"].duplicated(keep=False)]
    if copies.empty:
        return
    groups = copies.groupby("sha256", sort=False)
    across = copies[groups["split"].transform("nunique") > 1]
    if len(across):
        text = f"{_count(across)} in several splits: {_example(across, across['split'])}"
        if refuse:
            raise DataError(
                f"the same audio is {text}. Scores of such clips are too high; remove copies, put them into one split, "
                "or set `allow_leakage: true` in the dataset's settings"
            )
        LOG.warning("the same audio is %s; scores of such clips are too high", text)
    within = copies[groups["split"].transform("nunique") == 1]
    if len(within):
        LOG.warning("the same audio is %s of the same split: %s", _count(within), _example(within, within["split"]))
    for task in tasks:
        labels = copies[task].map(lambda names: ", ".join(sorted(names)))
        differ = copies[labels.groupby(copies["sha256"]).transform("nunique") > 1]
        if len(differ):
            LOG.warning(
                "task %s: the same audio has different labels: %s", task, _example(differ, labels[differ.index])
            )


def _count(copies: pd.DataFrame) -> str:
    return f"in {len(copies)} clips ({copies['sha256'].nunique()} different ones)"


def _example(copies: pd.DataFrame, values: pd.Series) -> str:
    """Two clips with the same audio, different in `values` if there are such."""
    same = copies[copies["sha256"] == copies["sha256"].iloc[0]]
    first = same.index[0]
    second = next((row for row in same.index if values[row] != values[first]), same.index[1])
    return " and ".join(f"{printable(same['path'][row])} ({values[row]})" for row in (first, second))
