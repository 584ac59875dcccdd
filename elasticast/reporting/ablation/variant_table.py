"""The table that compares the variants of an ablation: native, mean and worst score, and differences to the base.

Like table 1, it is a tidy data frame with one row per printed cell. It is printed as Markdown and as LaTeX.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from elasticast.config.ablation_sweeps import (
    GRID,
    SHARES,
    SWEEPS,
    Point,
    compared,
    evaluations_of,
    points_of,
    shared_points,
)
from elasticast.evaluation.statistics import ALPHA, paired_differences
from elasticast.reporting.ablation.labels import describe_settings, name_varied_settings
from elasticast.reporting.ablation.scores import (
    QUANTITIES,
    AblationResults,
    Scores,
    native_index,
    quantities,
    resampled_quantities,
    select_common_seeds,
)
from elasticast.reporting.panels import NOT_RUN
from elasticast.reporting.tables import (
    LATEX,
    MARKDOWN,
    Markup,
    latex_row,
    markdown_table,
    signed,
    tidy_csv,
    write_tables,
)
from elasticast.text import one_line

COSTS = (
    "parameters", "trained_parameters", "train_seconds", "tokens_per_s", "tokens_seen", "training_flops",
    "gflops_per_clip",
)  # fmt: skip
TABLE_COLUMNS = (
    "suite", "ablation", "variant", "label", "base", "setting", "run", "dataset", "task", "sweep", "evaluation",
    "metric", "quantity", "x", "compression", "value", "sd", "low", "high", "seeds", "seeds_planned", "delta",
    "delta_low", "delta_high", "p", "p_corrected", *COSTS, "status",
)  # fmt: skip
_NUMBERS = ("value", "low", "high", "delta", "delta_low", "delta_high", "p", "p_corrected")


def compare_variants(results: AblationResults) -> pd.DataFrame:
    """Compare the variants, one row per variant, sweep and quantity, in the order of the ablation.

    Returns
    -------
    pandas.DataFrame
        Columns `TABLE_COLUMNS`. ``value`` is the mean over ``seeds`` (of ``seeds_planned``), with its ``sd`` and its
        95 % interval from ``low`` to ``high``. ``delta`` is the difference to the base over the seeds that both have,
        with its interval and ``p``; ``p_corrected`` is corrected for the number of differences in the table. ``x`` and
        ``compression`` are the point of the score, NaN for the mean over points. Scores are fractions, NaN where
        nothing ran.
    """
    ablation, rows = results.ablation, []
    for sweep, variants in compared(ablation).items():
        base = results.scores(sweep, ablation.base)
        for variant in variants:
            run = ablation.runs[variant]
            head = {"suite": ablation.suite, "ablation": ablation.name, "variant": variant}
            head |= {"label": ablation.experiments[variant].label, "base": variant == ablation.base}
            head |= {"setting": describe_settings(ablation, variant), "run": ablation.trained[variant]}
            head |= {"dataset": run.dataset, "task": run.task, "sweep": sweep}
            head |= {"evaluation": ", ".join(evaluations_of(ablation, variant, sweep)), "metric": results.metric}
            costs = _costs(results, variant)
            rows += [{**head, **cell, **costs} for cell in _cells(results, sweep, results.scores(sweep, variant), base)]
    tested = [row for row in rows if "pair" in row]
    for row, test in zip(tested, paired_differences([row["pair"] for row in tested]), strict=True):
        row |= {"delta_low": test.low, "delta_high": test.high, "p": test.p, "p_corrected": test.p_corrected}
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def count_comparisons(table: pd.DataFrame) -> int:
    """Number of tested differences to the base."""
    return int((table["p"].notna() & ~table["base"].astype(bool)).sum())


def describe_marks(mark: str, comparisons: int) -> str:
    """Sentence about the mark of differences whose p-value is small after correction for the number of comparisons."""
    number = "one comparison" if comparisons == 1 else f"{comparisons:,} comparisons"
    return f"A difference is {mark} if p ≤ {ALPHA:g} after correction for {number} (step-down max-T)."


def _cells(results: AblationResults, sweep: str, scores: Scores, base: Scores) -> list[dict]:
    """The rows of a variant in a sweep, one per quantity."""
    points, native = shared_points(results.ablation, sweep), native_index(results.ablation, sweep)
    values = _values(scores, native, points)
    differences = _differences(scores, base, native)
    planned = {"seeds": len(scores.seeds), "seeds_planned": len(results.ablation.seeds)}
    status = "ok" if scores.seeds else NOT_RUN
    return [{"quantity": q, **planned, **values[q], **differences[q], "status": status} for q in QUANTITIES]


def _values(scores: Scores, native: int, points: list[Point]) -> dict[str, dict]:
    """Score, point and interval of each quantity."""
    if not scores.seeds:
        return {q: {"x": np.nan, "compression": np.nan, "value": np.nan} for q in QUANTITIES}
    cells = {}
    for q, (values, index) in quantities(scores.values, native).items():
        x, compression = (np.nan, np.nan) if index is None else points[index]
        sd = values.std(ddof=1) if len(values) > 1 else np.nan
        cells[q] = {"x": x, "compression": compression or np.nan, "value": values.mean(), "sd": sd}
    for q, resampled in (resampled_quantities(scores.resampled, native) if scores.resampled else {}).items():
        cells[q] |= dict(zip(("low", "high"), resampled.interval(), strict=True))
    return cells


def _differences(scores: Scores, base: Scores, native: int) -> dict[str, dict]:
    """Differences to the base, and the pair to test if both were resampled with the same seeds."""
    scores, base = select_common_seeds(scores, base)
    if not scores.seeds:
        return {q: {"delta": np.nan} for q in QUANTITIES}
    ours, theirs = (quantities(s.values, native) for s in (scores, base))
    cells = {q: {"delta": ours[q][0].mean() - theirs[q][0].mean()} for q in QUANTITIES}
    if scores.resampled and base.resampled:
        ours, theirs = (resampled_quantities(s.resampled, native) for s in (scores, base))
        for q in QUANTITIES:
            cells[q]["pair"] = ours[q], theirs[q]
    return cells


def _costs(results: AblationResults, variant: str) -> dict[str, float]:
    """Costs of a variant: medians over its runs, and operations per clip with all tokens, if they were counted."""
    records = results.records[variant]
    rows = results.metrics[(results.metrics["experiment"] == variant) & (results.metrics["x"] == 0)]
    flops = rows.loc[rows["metric"] == "gflops_per_clip", "value"]
    costs = {"gflops_per_clip": float(flops.iloc[0]) if len(flops) else np.nan}
    if not records:
        return dict.fromkeys(COSTS, np.nan) | costs
    costs |= {key: records[0][key] for key in ("parameters", "trained_parameters")}
    costs |= {"train_seconds": median(r["seconds"] for r in records)}
    costs |= {"tokens_per_s": median(r["tokens_per_s"] for r in records)}
    costs |= {"tokens_seen": median(r["tokens_per_s"] * r["seconds"] for r in records)}
    return costs | {"training_flops": median(r["training_flops"] for r in records)}


# ---------------------------------------------------------------------------------------------
# Printing
# ---------------------------------------------------------------------------------------------

_HEAD = ["Native", "Δ", "Mean", "Δ", "Worst", "Δ", "Seeds"]
_COST_HEAD = {
    "parameters": "Parameters (M)",
    "trained_parameters": "Trained (M)",
    "train_seconds": "Training (s)",
    "tokens_per_s": "Tokens/s",
    "tokens_seen": "Tokens seen (M)",
    "training_flops": "Training (TFLOPs)",
    "gflops_per_clip": "GFLOPs a clip",
}


def _value(cell: pd.Series) -> str:
    """Text for a score in %; the worst score is followed by its point."""
    if cell["status"] != "ok":
        return cell["status"]
    text = f"{100 * cell['value']:.1f}"
    if pd.notna(cell["sd"]):
        text += f" ± {100 * cell['sd']:.1f}"
    return f"{text} (at {_place(cell)})" if cell["quantity"] == "worst" else text


def _place(cell: pd.Series) -> str:
    return f"{cell['x']:g}" if pd.isna(cell["compression"]) else f"{cell['x']:g}, {cell['compression']:g}"


def _delta(cell: pd.Series, markup: Markup) -> str:
    """Text for the difference to the base in points with its interval, in bold if its corrected p is small."""
    if cell["base"]:
        return "base"
    if pd.isna(cell["delta"]):
        return missing_delta(cell)
    text = signed(100 * cell["delta"])
    if pd.isna(cell["delta_low"]):
        return markup.numbers(f"{text} [{NOT_RUN}]")
    low, high = cell["delta_low"], cell["delta_high"]
    interval = f" [{signed(100 * low)}, {signed(100 * high)}]"
    significant = cell["p_corrected"] <= ALPHA
    return (markup.bold if significant else str)(markup.numbers(text)) + markup.numbers(interval)


def missing_delta(cell: pd.Series) -> str:
    """Text that says why there is no difference to the base."""
    return "no common seed" if cell["status"] == "ok" else cell["status"]


def _rows(table: pd.DataFrame, markup: Markup) -> list[list[str]]:
    """Printed cells of a sweep, one row per variant."""
    rows = []
    for _, cells in table.groupby("variant", sort=False):
        first = cells.iloc[0]
        seeds, planned = first["seeds"], first["seeds_planned"]
        label = (markup.bold if first["base"] else str)(markup.words(first["label"]))
        texts = [t for _, cell in cells.iterrows() for t in (markup.numbers(_value(cell)), _delta(cell, markup))]
        rows.append([label, *texts, f"{seeds}" if seeds == planned else f"{seeds} of {planned}"])
    return rows


def _included_costs(table: pd.DataFrame) -> list[str]:
    """Costs that a table has: operations if they were counted, trained parameters if a variant trains only some."""
    some = (table["trained_parameters"] < table["parameters"]).any()
    included = {"gflops_per_clip": table["gflops_per_clip"].notna().any(), "trained_parameters": some}
    return [key for key in COSTS if included.get(key, True)]


def _cost_rows(table: pd.DataFrame, columns: Sequence[str], markup: Markup) -> list[list[str]]:
    """Printed costs, one row per variant."""
    variants = table.drop_duplicates("variant").to_dict("records")
    return [[markup.words(row["label"]), *(_cost(key, row[key]) for key in columns)] for row in variants]


def _cost(key: str, value: float) -> str:
    if pd.isna(value):
        return NOT_RUN
    if key in ("parameters", "trained_parameters", "tokens_seen"):
        return f"{value / 1e6:.3g}"
    if key == "training_flops":
        return f"{value / 1e12:,.3g}"
    return f"{value:.3g}" if key == "gflops_per_clip" else f"{value:,.0f}"


def _where(results: AblationResults, sweep: str) -> str:
    """Text that names the native point and the number of points of mean and worst."""
    ablation = results.ablation
    points = shared_points(ablation, sweep)
    x, compression = points[native_index(ablation, sweep)]
    names = {SWEEPS["compression"]: f"compression {x:g}", **dict.fromkeys(SHARES, f"a share of {x:g}")}
    names |= {SWEEPS["sample_rate"]: f"{x:g} Hz", SWEEPS["patch_size"]: f"{x:g} × {x:g} patches"}
    names[SWEEPS["patch_width"]] = f"patches of {x:g} frames"
    seconds = x * ablation.runs[ablation.base].front_end.hop_ms / 1000
    at = names.get(sweep, f"{x:g} frames ({seconds:g} s)") + (f", compression {compression:g}" if sweep == GRID else "")
    text = f"native: {at}; mean and worst of {len(points)} points"
    beyond = any(len(points_of(ablation, v, sweep)) > len(points) for v in compared(ablation)[sweep])
    return text + " that all variants have" * beyond


def notes(table: pd.DataFrame) -> list[str]:
    """Notes below the table."""
    notes = (
        ["Scores are means over seeds in %, ± their standard deviation."] if (table["seeds_planned"] > 1).any() else []
    )
    over = "clips and seeds" if table["seeds_planned"].iloc[0] > 1 else "clips"
    notes.append(
        f"Δ is the difference to the base in points with its 95 % interval by bootstrap over test {over}, paired over "
        f"the clips. Intervals are of one difference alone. {describe_marks('bold', count_comparisons(table))}"
    )
    if table["seeds_planned"].iloc[0] == 1:
        notes.append(
            "There is one seed: intervals say how sure the scores of these runs are, and nothing of other seeds."
        )
    return notes


def _caption(results: AblationResults, table: pd.DataFrame) -> str:
    first, ablation = table.iloc[0], results.ablation
    coverage = results.coverage
    counted = f", {coverage.counts} test clips" if coverage.clips else ""
    return f"{ablation.title}: {coverage.name} · {first['task']}, {first['metric']} (%){counted}"


def markdown(results: AblationResults, table: pd.DataFrame) -> str:
    """Print the table as Markdown: one block per sweep, then the costs, then the notes."""
    first, parts = name_varied_settings(results.ablation), []
    parts.append(MARKDOWN.bold(MARKDOWN.words(_caption(results, table))) + "\n")
    for sweep in table["sweep"].unique():
        parts += [f"Over {sweep} ({_where(results, sweep)}):\n", sweep_table(table, sweep, first)]
    parts += ["Cost, medians over runs:\n", cost_table(table, _included_costs(table), first)]
    return "\n".join([*parts, " ".join(notes(table)) + "\n"])


def latex(results: AblationResults, table: pd.DataFrame) -> str:
    """Print the table as two LaTeX ``tabular``s that only need booktabs: scores, then costs."""
    first = name_varied_settings(results.ablation)
    lines = [f"% {one_line(note)}" for note in (_caption(results, table), *notes(table))]
    lines += [r"\begin{tabular}{lccccccr}", r"\toprule", latex_row(map(LATEX.words, [first, *_HEAD]))]
    for sweep, rows in table.groupby("sweep", sort=False):
        title = LATEX.words(f"{rows['metric'].iloc[0]} (%) over {sweep}; {_where(results, sweep)}")
        lines += [r"\midrule", rf"\multicolumn{{8}}{{l}}{{\emph{{{title}}}}} \\"]
        lines += map(latex_row, _rows(rows, LATEX))
    columns = _included_costs(table)
    head, rows = [first, *(_COST_HEAD[key] for key in columns)], _cost_rows(table, columns, LATEX)
    lines += [r"\bottomrule", r"\end{tabular}", "", rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
    lines += [latex_row(map(LATEX.words, head)), r"\midrule", *map(latex_row, rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def sweep_table(table: pd.DataFrame, sweep: str, first: str = "Variant") -> str:
    """Print the scores over one sweep as Markdown; `first` is the heading of the variants."""
    align = ["---", *[":---:"] * 6, "---:"]
    return markdown_table([first, *_HEAD], align, _rows(table[table["sweep"] == sweep], MARKDOWN))


def cost_table(table: pd.DataFrame, columns: Sequence[str], first: str = "Variant") -> str:
    """Print some of the costs `COSTS` of the variants as Markdown; `first` is the heading of the variants."""
    head = [first, *(_COST_HEAD[key] for key in columns)]
    return markdown_table(head, ["---", *["---:"] * len(columns)], _cost_rows(table, columns, MARKDOWN))


def write_table(results: AblationResults, table: pd.DataFrame, out: Path) -> None:
    """Write ``OUT.csv`` (tidy, full precision), ``OUT.md`` and ``OUT.tex``."""
    write_tables(out, csv=printed_csv(table), md=markdown(results, table), tex=latex(results, table))


def printed_csv(table: pd.DataFrame) -> str:
    """The table as CSV, with "not run" where nothing ran."""
    missing = [*_NUMBERS, *(key for key in COSTS if key != "gflops_per_clip" or table[key].notna().any())]
    printed = table.astype(object)
    printed[missing] = printed[missing].where(printed[missing].notna(), NOT_RUN)
    return tidy_csv(printed)


def read_variants(path: Path) -> pd.DataFrame:
    """Read the CSV file of a table again; numbers that are missing are NaN."""
    numbers = ("x", "compression", "sd", *_NUMBERS, *COSTS)
    missing = {key: ["n/a", NOT_RUN] for key in numbers}
    types = {"base": bool, "seeds": int, "seeds_planned": int, **dict.fromkeys(numbers, float)}
    types = dict.fromkeys(TABLE_COLUMNS, str) | types  # a label such as 0.50 is text
    return pd.read_csv(path, keep_default_na=False, na_values=missing, dtype=types)
