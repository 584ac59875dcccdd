"""How many of the published clips of a dataset are used, and how many are not even in its annotations."""

import logging
from pathlib import Path

import pandas as pd

from elasticast.config.dataset import DatasetConfig, DatasetSettings

LOG = logging.getLogger(__name__)
UNLISTED = {"status": "unlisted", "reason": "published, but not in the annotations or not selected"}
"""Status and reason in ``summary.csv`` of published clips that are not in the manifest."""


def unlisted(annotated: dict[str, int], published: dict[str, int]) -> dict[str, int]:
    """Number of published clips per split that the annotations do not contain.

    Parameters
    ----------
    annotated : dict
        Number of clips per split in the annotations, after selection.
    published : dict
        Number of published clips per split. Without split dev, it counts clips that `dev_share` moves there as train.
    """
    counts = _merged(annotated, published)
    return {split: count - counts[split] for split, count in published.items() if counts[split] < count}


def with_unlisted(table: pd.DataFrame, annotated: dict[str, int], published: dict[str, int]) -> pd.DataFrame:
    """The rows of ``summary.csv`` and one for each split with unlisted clips."""
    rows = [{"split": split, "clips": n, **UNLISTED} for split, n in unlisted(annotated, published).items()]
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table


def report_coverage(summary: dict, config: DatasetConfig, out: Path) -> None:
    """Log what the clips are and how many of the published ones are used; a warning unless all of them are.

    Parameters
    ----------
    summary : dict
        Content of ``summary.json``: `clips`, `annotated` and `published` per split.
    """
    if config.origin != DatasetSettings.origin:
        LOG.info("%s: %s", out, config.origin)
    published = summary["published"]
    used, annotated = (_merged(summary[key], published) for key in ("clips", "annotated"))
    _report_splits(used, published, sum(unlisted(annotated, published).values()), out)
    surplus = {split: annotated[split] for split, count in published.items() if annotated[split] > count}
    if surplus:
        counts = ", ".join(f"{n:,} {split} clips instead of {published[split]:,}" for split, n in surplus.items())
        LOG.warning("%s: the annotations have more clips than published: %s", out, counts)
    unknown = [split for split, count in annotated.items() if count and split not in published]
    lists = getattr(config, "twin", True) is None  # the user says which lists of a published dataset are used
    if unknown and (lists or published):
        level = logging.WARNING if "test" in unknown else logging.INFO
        text = "%s: no published number of clips is known for split %s; how much of it is used is not known"
        LOG.log(level, text, out, " and ".join(unknown))


def _merged(counts: dict[str, int], published: dict[str, int]) -> dict[str, int]:
    """Counts per split, comparable with the published ones: `dev_share` takes clips from the training split."""
    if "dev" in published or "train" not in published:
        return counts
    return {"train": counts["train"] + counts.get("dev", 0), "test": counts["test"]}


def _report_splits(used: dict[str, int], published: dict[str, int], lacking: int, out: Path) -> None:
    """Compare the number of clips used with the published one, in total and per split."""
    total, count = sum(published.values()), sum(min(used[split], n) for split, n in published.items())
    if not published:
        return
    if count == total:
        LOG.info("%s: all %s published clips are used", out, f"{total:,}")
        return
    parts = [f"{used[split]:,} of {n:,} {split} ({used[split] / n:.1%})" for split, n in published.items()]
    rejected = total - count - lacking
    LOG.warning(
        "%s: %s of %s published clips are used: %s; %s are not in the annotations or not selected, %s were rejected; "
        "scores are of the clips used, and may differ from published scores for that reason alone",
        *(out, f"{count:,}", f"{total:,}", ", ".join(parts), f"{lacking:,}", f"{rejected:,}"),
    )
