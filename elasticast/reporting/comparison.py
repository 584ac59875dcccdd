"""Table 1: each fixed-length model, at its training length or resolution, compared with each flexible model.

The table is a tidy data frame with one row per printed cell. It is printed as Markdown and as LaTeX.
"""

from pathlib import Path

import pandas as pd

from elasticast.config import Suite
from elasticast.reporting.captions import Coverage
from elasticast.reporting.folds import join_folds
from elasticast.reporting.panels import NOT_RUN, Panel, Score, Series, sweep_panels
from elasticast.reporting.tables import LATEX, MARKDOWN, Markup, latex_row, markdown_table, tidy_csv, write_tables

SWEEPS = {"max_frames": "length", "compression": "resolution"}
_ROW = ["dataset", "task", "sweep", "metric", "fixed", "flexible", "trained_at"]
# the quantities of a group are compared with each other; the best one is bold
_GROUPS = (("fixed_own", "flexible_there"), ("fixed_native", "flexible_native"), ("fixed_worst", "flexible_worst"))
_CELLS = tuple(q for group in _GROUPS for q in group)


def comparison_table(suite: Suite, metrics: pd.DataFrame) -> pd.DataFrame:
    """Table 1 as a tidy table, one row per printed cell.

    Returns
    -------
    pandas.DataFrame
        Columns suite, dataset, task, sweep, metric, fixed, flexible (labels), trained_at (text),
        quantity, experiment, x, mean, sd (fractions), seeds, clips, listed (clips in the published list), status,
        seeds_planned, origin (what the clips are), title (of the dataset), folds. With several folds, mean, sd, seeds
        and seeds_planned are over folds, and clips and listed of one fold.
    """
    rows = []
    for part, results, folds in join_folds(suite, metrics):
        for x_name in (x for x in SWEEPS if any(part.curve(name, x) for name in part.experiments)):
            for panel in sweep_panels(part, results, x_name):
                for fixed in panel.fixed or [None]:
                    for flexible in panel.flexible or [None]:
                        rows += [row | {"folds": folds} for row in _cells(panel, fixed, flexible)]
    columns = [
        *_ROW,
        "quantity",
        "experiment",
        *Score.__dataclass_fields__,
        "seeds_planned",
        "origin",
        "title",
        "folds",
    ]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "suite", suite.name)
    return table


def _cells(panel: Panel, fixed: Series | None, flexible: Series | None) -> list[dict]:
    """The rows that compare one fixed-length model with one flexible model, one per quantity; None if there is none."""
    x = fixed.trained_at if fixed else None
    absent = Score(status="not in suite")
    scores = {
        "fixed_own": (fixed, fixed.at(x) if fixed else absent),
        "flexible_there": (flexible, flexible.at(x) if flexible and fixed else absent),
        "fixed_native": (fixed, fixed.at(panel.native_x) if fixed else absent),
        "flexible_native": (flexible, flexible.at(panel.native_x) if flexible else absent),
        "fixed_worst": (fixed, fixed.worst() if fixed else absent),
        "flexible_worst": (flexible, flexible.worst() if flexible else absent),
    }
    common = {"seeds_planned": (fixed or flexible).seeds, "origin": panel.origin, "title": panel.dataset_title}
    about = [panel.dataset, panel.task, SWEEPS[panel.x_name], panel.metric]
    labels = [series.label if series else "none" for series in (fixed, flexible)]
    row = dict(zip(_ROW, [*about, *labels, _format_trained_at(panel, x)], strict=True))
    return [
        {**row, "quantity": q, "experiment": s.experiment if s else "none", **vars(score), **common}
        for q, (s, score) in scores.items()
    ]


def _format_trained_at(panel: Panel, x: float | None) -> str:
    if x is None:
        return "none"
    if panel.x_name == "compression":
        return f"{panel.hop_ms * x:g} ms hop"
    return f"{x:g} frames ({panel.hop_ms * x / 1000:.2g} s)"


# ---------------------------------------------------------------------------------------------
# Printing
# ---------------------------------------------------------------------------------------------


def _text(cell: pd.Series) -> str:
    if cell["status"] != "ok":
        return cell["status"]
    text = f"{100 * cell['mean']:.1f}"
    if pd.notna(cell["sd"]):
        text += f" ± {100 * cell['sd']:.1f}"
    return text


def _at(cell: pd.Series) -> str:
    """Text for the x of the worst point; empty for other quantities."""
    worst = cell["quantity"].endswith("worst") and cell["status"] == "ok"
    return f" (at {cell['x']:g})" if worst else ""


def _best(cells: pd.DataFrame) -> set[str]:
    """Quantities to print in bold: the best of each group after rounding, if the group has two scores or more."""
    best = set()
    for group in _GROUPS:
        means = (100 * cells.loc[list(group), "mean"].astype(float)).round(1).dropna()
        if len(means) > 1:
            best |= set(means.index[means == means.max()])
    return best


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _counts(cells: pd.DataFrame) -> tuple[str, str]:
    """Texts for the number of seeds or folds, and for the number of test clips evaluated, of those listed."""
    run = cells[cells["status"] == "ok"]
    planned = int(cells["seeds_planned"].iloc[0])
    of_folds = " folds" if cells["folds"].iloc[0] > 1 else ""
    if run.empty:
        return f"0 of {planned}{of_folds}", NOT_RUN
    seeds = _range(run["seeds"])
    clips = f"{_range(run['clips'])} of {_range(run['listed'])}"
    return (seeds if seeds == str(planned) else f"{seeds} of {planned}") + of_folds, clips


def _printed(table: pd.DataFrame, markup: Markup) -> list[tuple[dict, list[str]]]:
    """Description of each row and the texts of its cells."""
    rows = []
    for key, cells in table.groupby(_ROW, sort=False):
        cells = cells.set_index("quantity", drop=False).loc[list(_CELLS)]
        best = _best(cells)
        texts = [
            (markup.bold if q in best else str)(markup.numbers(_text(cell))) + _at(cell) for q, cell in cells.iterrows()
        ]
        about = dict(zip(_ROW, key, strict=True))
        about["dataset"] = Coverage(cells["title"].iloc[0], cells["origin"].iloc[0], 0, 0).name
        rows.append((about, [*texts, *map(markup.numbers, _counts(cells))]))
    return rows


SCORES = (
    "Fixed-length, there", "Any-length, there", "Fixed-length, native", "Any-length, native", "Fixed-length, worst",
    "Any-length, worst",
)  # fmt: skip
HEAD = (
    "Data set · task", "Sweep", "Metric (%)", "Fixed-length model", "Trained at", SCORES[0], "Any-length model",
    *SCORES[1:], "Seeds", "Clips",
)  # fmt: skip
"""Headings of the columns of :func:`printed_rows`."""


def printed_rows(table: pd.DataFrame, markup: Markup) -> list[list[str]]:
    """The cells of each row below `HEAD`, escaped: scores in %, mean ± sd over seeds, the best in bold."""
    rows = []
    for row, (fixed_score, *cells) in _printed(table, markup):
        about = [f"{row['dataset']} · {row['task']}", row["sweep"], row["metric"], row["fixed"], row["trained_at"]]
        rows.append([*map(markup.words, about), fixed_score, markup.words(row["flexible"]), *cells])
    return rows


def markdown(table: pd.DataFrame) -> str:
    """Print the table as Markdown."""
    align = ["---"] * 5 + [":---:", "---"] + [":---:"] * 5 + ["---:"] * 2
    return markdown_table(HEAD, align, printed_rows(table, MARKDOWN))


def latex(table: pd.DataFrame) -> str:
    """Print the table as a LaTeX ``tabular`` that only needs booktabs, one block per dataset, task and sweep."""
    lines = [r"\begin{tabular}{llccccccrr}", r"\toprule"]
    lines.append(r" & & \multicolumn{2}{c}{There} & \multicolumn{2}{c}{Native} & \multicolumn{2}{c}{Worst} & & \\")
    lines.append(r"\cmidrule(lr){3-4}\cmidrule(lr){5-6}\cmidrule(lr){7-8}")
    lines.append(rf"Model & Trained at {'& fixed & any ' * 3}& Seeds & Clips \\")
    block = None
    for row, cells in _printed(table, LATEX):
        title = (
            f"{row['dataset']} · {row['task']}, {row['sweep']} sweep, {row['metric']} (%), against {row['flexible']}"
        )
        if title != block:
            lines += [r"\midrule", rf"\multicolumn{{10}}{{l}}{{\emph{{{LATEX.words(title)}}}}} \\"]
            block = title
        lines.append(latex_row([LATEX.words(row["fixed"]), LATEX.words(row["trained_at"]), *cells]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write ``OUT.csv`` (tidy, full precision), ``OUT.md`` and ``OUT.tex``."""
    tidy = table.astype({"x": object, "mean": object, "sd": object})
    for column in ("x", "mean"):
        tidy[column] = tidy[column].where(tidy[column].notna(), tidy["status"])
    write_tables(out, csv=tidy_csv(tidy), md=markdown(table), tex=latex(table))
