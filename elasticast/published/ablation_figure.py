"""The figure of a published ablation, which is drawn from the published files alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.checksums import FILES, write_record
from elasticast.config.load_ablation import load_resolved_ablation
from elasticast.evaluation.statistics import Comparison
from elasticast.progress import LOG
from elasticast.published.layout import RECORD, verified_record
from elasticast.reporting.ablation.captions import figure_caption
from elasticast.reporting.ablation.figures import draw
from elasticast.reporting.ablation.read_results import with_distinct_labels
from elasticast.reporting.ablation.scores import INTERVALS as INTERVAL_COLUMNS
from elasticast.reporting.ablation.scores import AblationResults, Tested
from elasticast.reporting.ablation.variant_table import read_variants
from elasticast.reporting.style import paper_style, save

SETTINGS, SCORES, VARIANTS, INTERVALS, GRID, FIGURE = (
    "ablation.yaml", "scores.csv", "variants.csv", "intervals.csv", "grid.csv", "figure",
)  # fmt: skip
FIGURES = (f"{FIGURE}.png", f"{FIGURE}.rst")
"""The figure and its caption; the repository lacks ``figure.pdf``."""
NEEDED = {SETTINGS, VARIANTS, SCORES}
"""Files that every published ablation has. Those published before there was `INTERVALS` lack it."""
_NUMBERS = ("compression", "chance", "low", "high")
_TEXTS = (
    "suite", "ablation", "variant", "experiment", "label", "setting", "run", "evaluation", "split", "dataset", "task",
    "x_name", "metric",
)  # fmt: skip


def redraw_ablation(folder: Path) -> None:
    """Draw the figure of a published ablation again, from its published files.

    Raises
    ------
    DataError
        If the ablation is not published, or if one of these files is missing or was changed.
    """
    record = verified_record(folder, NEEDED, without=FIGURES)
    if INTERVALS not in record[FILES]:
        LOG.warning("%s: was published without %s, so its curves have no intervals", folder, INTERVALS)
    about = {key: record[key] for key in ("suite", "ablation", "published_with")}
    draw_figure(folder, [name for name in record[FILES] if name not in FIGURES], about)


def draw_figure(folder: Path, files: Sequence[str], about: dict[str, Any]) -> None:
    """Draw the figure from the published `files`, and write the record of both."""
    results, table = _read(folder, files), read_variants(folder / VARIANTS)
    with paper_style():
        save(draw(results, table), folder / FIGURE, figure_caption(results, table))
    write_record(folder / RECORD, about, [folder / name for name in (*files, *FIGURES)])


def _read(folder: Path, files: Sequence[str]) -> AblationResults:
    """The results of a published ablation, as far as its figure needs them."""
    ablation = with_distinct_labels(load_resolved_ablation(folder / SETTINGS))
    metrics = read_published_csv(folder / SCORES).rename(columns={"variant": "experiment"})
    intervals = pd.DataFrame(columns=list(INTERVAL_COLUMNS))
    if INTERVALS in files:
        intervals = read_published_csv(folder / INTERVALS)
    grid = {}
    if GRID in files:
        for variant, rows in read_published_csv(folder / GRID).groupby("variant", sort=False):
            grid[variant] = [Comparison(**row) for row in rows[list(Comparison._fields)].to_dict("records")]
    resampled = {variant: {} for variant in ablation.trained}
    return AblationResults(ablation, metrics, resampled, {}, tested=Tested(intervals, grid))


def read_published_csv(path: Path) -> pd.DataFrame:
    """Read a table of a published ablation; numbers that are missing are NaN."""
    types = dict.fromkeys(_TEXTS, str)  # a label such as 0.50 is text
    missing = {name: ["n/a"] for name in _NUMBERS}
    return pd.read_csv(path, keep_default_na=False, na_values=missing, dtype=types)
