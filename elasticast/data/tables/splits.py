"""Divide your own recordings into splits: as named, by folds, or by folds that a hash draws."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from elasticast.config.dataset import SPLITS, OwnRecordings
from elasticast.data.annotations import hash_fraction
from elasticast.data.labels import clean, meant
from elasticast.data.tables.labels import Place
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
USUAL = {
    "train": ("train", "training"),
    "dev": ("dev", "development", "val", "valid", "validation"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Usual names of splits. Case does not matter."""
SEEDS = 100
"""Values of `split_seed` that are tried to find one that leaves no split empty."""


class EmptySplitError(DataError):
    """A hash has put no clip into a split."""


class Division(NamedTuple):
    """Split of each clip, how the splits were made in words, and whether a hash has drawn them."""

    splits: list[str]
    description: str
    drawn: bool


def all_test(clips: int) -> Division:
    """All clips are split test, see `all_test` in the dataset's settings."""
    return Division(["test"] * clips, "from `all_test`: all clips are split test", drawn=False)


def split_of_names(settings: OwnRecordings) -> dict[str, str]:
    """Name of a split in a table or folder, in lower case, to the split."""
    names = settings.split_values or USUAL
    return {clean(name).casefold(): split for split in SPLITS for name in names.get(split, ())}


def named_splits(values: Sequence[str], settings: OwnRecordings, place: Place, source: str, remedy: str) -> Division:
    """Splits as a table or folders name them.

    Parameters
    ----------
    values : sequence of str
        Name of the split of each clip.
    settings : OwnRecordings
        Settings of the dataset.
    place : callable
        Number of a clip to its place, for error messages.
    source : str
        Where the names come from, for error messages.
    remedy : str
        How splits are drawn instead, for error messages.

    Raises
    ------
    DataError
        If a name is unknown, or no clip is in split train or test, or in another that `split_values` names.
    """
    known = split_of_names(settings)
    splits = []
    for row, value in enumerate(values):
        split = known.get(clean(value).casefold())
        if split is None:
            probable = meant(clean(value), list(known))
            hint = f"; {probable!r} is probably meant" if probable else ""
            raise DataError(
                f"{place(row)}: {value!r} in {source} is no split{hint}. Expected one of: {', '.join(known)}; other "
                "names are set with `split_values` in the dataset's settings"
            )
        splits.append(split)
    for split in settings.split_values or ("train", "test"):
        if split not in splits:
            names = ", ".join(sorted({repr(value) for value in values})[:10])
            only = ". If no model trains on these clips, set `all_test: true`" if split == "train" else ""
            raise DataError(
                f"{place(0).rpartition(',')[0] or place(0)}: no clip is in split {split}; {source} has: {names}. Set "
                f"`split_values` in the dataset's settings, such as {{train: [train], test: [val]}}, or {remedy}{only}"
            )
    if "dev" in splits and "dev" not in settings.splits():
        LOG.info("split dev has clips; name it in `split_values` of the dataset's settings to select checkpoints on it")
    return Division(splits, f"as in {source}", drawn=False)


def fold_splits(folds: Sequence[str], settings: OwnRecordings, source: str, file: Path) -> Division:
    """Splits by fold: `test_fold` is split test, `dev_fold` is split dev, and the others are split train.

    Raises
    ------
    DataError
        If there is no such fold.
    """
    names = sorted({clean(fold) for fold in folds})
    test = "1" if settings.test_fold is None else clean(str(settings.test_fold))
    chosen = {test: "test"}
    if settings.dev_fold is not None:
        chosen[clean(str(settings.dev_fold))] = "dev"
    for fold, split in chosen.items():
        if fold not in names:
            raise DataError(
                f"{file}: {source}: there is no fold {fold!r} (`{split}_fold` in the dataset's settings). Folds: "
                f"{', '.join(names[:20])}"
            )
    if not set(names).difference(chosen):
        raise DataError(f"{file}: {source}: no fold is left for split train; its folds are: {', '.join(names)}")
    text = "; ".join(f"fold {fold} is split {split}" for fold, split in chosen.items())
    return Division([chosen.get(clean(fold), "train") for fold in folds], f"by {source}: {text}", drawn=False)


def drawn_splits(groups: Sequence[str], settings: OwnRecordings, of: str, file: Path) -> Division:
    """Splits by folds that are drawn: a hash of its group decides the fold of a clip, whichever other clips there are.

    Parameters
    ----------
    groups : sequence of str
        Group of each clip; a group is never divided.
    settings : OwnRecordings
        Settings of the dataset.
    of : str
        What a group is, in words.
    file : Path
        The table or folder, for error messages.

    Raises
    ------
    DataError
        If `test_fold` or `dev_fold` is not among the folds.
    EmptySplitError
        If one of them has no clip, or no other fold has.
    """
    for key in ("test_fold", "dev_fold"):
        fold = getattr(settings, key)
        if fold is not None and str(fold) not in map(str, range(1, settings.folds + 1)):
            raise DataError(
                f"{file}: `{key}` = {fold!r} in the dataset's settings: expected 1 to {settings.folds}, as `folds` = "
                f"{settings.folds} folds are drawn"
            )
    source = f"a hash of the {of}, {settings.folds} folds, `split_seed` {settings.split_seed}"
    try:
        folds = drawn_folds(groups, settings, settings.split_seed)
        return fold_splits(folds, settings, source, file)._replace(drawn=True)
    except DataError as error:
        raise EmptySplitError(
            f"{error}. There are only {len(set(groups))} different values; {_other_seed(groups, settings)}"
        ) from None


def drawn_folds(groups: Sequence[str], settings: OwnRecordings, seed: int) -> list[str]:
    """Fold of each clip: a hash of its group and the seed, from 1 to `folds`."""
    fold_of = {group: str(1 + int(hash_fraction(f"{seed} {group}") * settings.folds)) for group in set(groups)}
    return [fold_of[group] for group in groups]


def _other_seed(groups: Sequence[str], settings: OwnRecordings) -> str:
    """A `split_seed` that leaves no split empty, in words."""
    for seed in range(SEEDS):
        try:
            fold_splits(drawn_folds(groups, settings, seed), settings, "", Path())
        except DataError:
            continue
        return f"set `split_seed: {seed}` in the dataset's settings, which leaves no split empty"
    return "name the split of each clip, or add clips"
