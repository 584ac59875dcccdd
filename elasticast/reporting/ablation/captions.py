"""Caption of the figure of an ablation."""

import pandas as pd

from elasticast.config.ablation_sweeps import GRID
from elasticast.reporting.ablation.figures import panels_of
from elasticast.reporting.ablation.scores import AblationResults
from elasticast.reporting.ablation.variant_table import count_comparisons, describe_marks
from elasticast.reporting.captions import ONE_SEED, describe_bootstrap, describe_coverage, describe_means
from elasticast.reporting.legend import curve_caption


def figure_caption(results: AblationResults, table: pd.DataFrame) -> str:
    """Caption of the figure that :func:`elasticast.reporting.ablation.figures.draw` draws.

    Parameters
    ----------
    table : pandas.DataFrame
        See :func:`elasticast.reporting.ablation.variant_table.compare_variants`.
    """
    kinds = {"curves": _curves, "cost": _curves, "factor": _factor, "heat_map": _heat_map}
    return " ".join(kinds[results.ablation.plot](results, table))


def _curves(results: AblationResults, table: pd.DataFrame) -> list[str]:
    panels = panels_of(results)
    curves = curve_caption(list(panels.values()))
    drawn = table[table["sweep"].isin(panels)]
    if drawn["delta_low"].isna().all():
        return [curves, "Differences to the base have no intervals."]
    differences = f"Differences to the base have 95 % intervals from a paired {_bootstrap(drawn)}."
    differences += f" {describe_marks('starred', count_comparisons(table))}"
    return [curves, differences] if ONE_SEED in curves else [curves, differences, *_one_seed(drawn)]


def _factor(results: AblationResults, table: pd.DataFrame) -> list[str]:
    means = [_means(table), *describe_coverage([results.coverage])]
    if table["low"].isna().all():
        return [*means, "There are no bands."]
    bands = f"Bands and vertical lines show 95 % intervals from a {_bootstrap(table)}."
    return [*means, bands, *_one_seed(table)]


def _heat_map(results: AblationResults, table: pd.DataFrame) -> list[str]:
    table = table[table["sweep"] == GRID]
    maps = [_means(table), *describe_coverage([results.coverage])]
    maps += ["The upper maps show scores, the lower ones differences to the base in points."]
    if table["delta_low"].isna().all():
        return [*maps, "No difference was tested."]
    comparisons = sum(map(len, results.grid_tests.values()))
    tested = f"Differences were tested with a paired {_bootstrap(table)}."
    return [*maps, tested, describe_marks("bold", comparisons), *_one_seed(table)]


def _means(table: pd.DataFrame) -> str:
    return describe_means(*_seeds(table))


def _bootstrap(table: pd.DataFrame) -> str:
    return describe_bootstrap(_seeds(table)[1])


def _seeds(table: pd.DataFrame) -> tuple[int, int]:
    """Fewest and most seeds of the variants that ran."""
    seeds = table.loc[table["seeds"] > 0, "seeds"]
    return (int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0)


def _one_seed(table: pd.DataFrame) -> list[str]:
    return [ONE_SEED] if _seeds(table)[1] == 1 else []
