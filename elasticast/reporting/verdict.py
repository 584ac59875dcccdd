"""The verdict: our curves compared with the authors', and the claims of the suite tested on both.

One tidy table has a row per curve, the other a row per rule. Both are also printed as Markdown and LaTeX.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from elasticast.config import Suite
from elasticast.config.base import PRIMARY_METRIC
from elasticast.reporting.captions import Coverage
from elasticast.reporting.claims import (
    FAILS,
    HOLDS,
    UNTESTED,
    RuleTest,
    combine_outcomes,
    conclude,
    format_place,
    judge_claims,
)
from elasticast.reporting.panels import NOT_RUN, Panel, Series
from elasticast.reporting.tables import LATEX, MARKDOWN, latex_row, markdown_table, signed, tidy_csv, write_tables

NOT_RELEASED, NOT_COMPUTED = "not released", "not computed"


def curve_table(
    suite: Suite, panels: list[Panel], tests: list[RuleTest], tolerance: float | None = None
) -> pd.DataFrame:
    """Compare each of our curves with the released one, one row per curve.

    Scores are those at the training length or resolution. A flexible model is compared at native length and full
    resolution.

    Parameters
    ----------
    tests : list of RuleTest
        The suite's claims, tested on our means.
    tolerance : float, optional
        Largest difference in points at which a curve agrees with the released one. If given, the column ``agrees`` is
        added.

    Returns
    -------
    pandas.DataFrame
        Columns suite, experiment, dataset, task, sweep, metric, label, x, ours, low, high (95 % interval), released
        (fractions); mean_difference and max_difference (ours minus released over the sweep, in points; the second is
        the one with the largest absolute value), max_at (its x); seeds, seeds_planned, clips, listed (clips
        in the published list), origin (what the clips are), title (of the dataset), claim, status, runs.
    """
    rows = []
    for panel in panels:
        here = [t for t in tests if suite.evaluations[suite.claims[t.claim].evaluation].x_name == panel.x_name]
        for series in panel.series:
            about = {"suite": suite.name, "experiment": series.experiment, "dataset": panel.dataset, "task": panel.task}
            about |= {"sweep": panel.x_name, "metric": panel.metric, "label": series.label, "hop_ms": panel.hop_ms}
            outcomes = [t.outcome for t in here if series.experiment in (t.model, t.against)]
            row = about | _values(series, panel) | {"claim": combine_outcomes(outcomes)}
            if tolerance is not None:
                row["agrees"] = _agrees(row, tolerance)
            rows.append(row | {"runs": f"runs/{series.experiment}/seed*"})
    return pd.DataFrame(rows)


def _values(series: Series, panel: Panel) -> dict:
    x = panel.native_x if series.trained_at is None else series.trained_at
    score = series.at(x)
    row = {"x": x, "ours": score.mean, "sd": score.sd, "low": None, "high": None, "released": None}
    row |= {"mean_difference": None, "max_difference": None, "max_at": None}
    if series.interval and score.status == "ok":
        row |= series.points.loc[x, ["low", "high"]].to_dict()
    if series.released is not None:
        row["released"] = series.released.get(x)
        difference = 100 * (series.points["mean"] - series.released).dropna()
        if len(difference):
            largest = difference.abs().idxmax()
            row |= {"mean_difference": difference.mean(), "max_difference": difference[largest], "max_at": largest}
    counts = {"seeds": score.seeds, "seeds_planned": series.seeds, "clips": score.clips, "listed": score.listed}
    counts |= {"origin": panel.origin, "title": panel.dataset_title}
    return row | counts | {"status": series.shortfall or score.status}


def _agrees(row: dict, tolerance: float) -> str:
    if row["max_difference"] is None:
        return NOT_RUN if row["released"] is not None else NOT_RELEASED
    return HOLDS if abs(row["max_difference"]) <= tolerance and row["status"] == "ok" else FAILS


def claim_table(suite: Suite, panels: list[Panel], pairs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Test the suite's claims on our means and on the released curves, one row per rule and AST.

    Parameters
    ----------
    pairs : pandas.DataFrame, optional
        Paired tests, see `elasticast.reporting.read_tables.read_pairs`.

    Returns
    -------
    pandas.DataFrame
        Columns suite, claim, says, model, against, rule, x, difference (points, model minus AST), low, high (its 95 %
        interval), p (paired test at x), p_corrected (for all comparisons in `pairs`), outcome, released_x,
        released_difference, released_outcome.
    """
    ours, theirs = judge_claims(suite, panels, released=False), judge_claims(suite, panels, released=True)
    rows = []
    for test, released in zip(ours, theirs, strict=True):
        row = {"suite": suite.name, **asdict(test)}
        outcome = row.pop("outcome")
        row |= dict.fromkeys(("low", "high", "p", "p_corrected")) | _paired_test(test, suite, pairs)
        row |= {"outcome": outcome}
        theirs_at = {"released_x": released.x, "released_difference": released.difference}
        missing = released.outcome == NOT_RUN
        rows.append(row | theirs_at | {"released_outcome": NOT_RELEASED if missing else released.outcome})
    columns = ["suite", "claim", "says", "model", "against", "rule", "x", "difference", "low", "high", "p"]
    columns += ["p_corrected", "outcome", "released_x", "released_difference", "released_outcome"]
    return pd.DataFrame(rows, columns=columns)


def _paired_test(test: RuleTest, suite: Suite, pairs: pd.DataFrame | None) -> dict:
    """Interval (points) and p-values of the difference at the x of a rule; `pairs` has either order of experiments."""
    claim = suite.claims[test.claim]
    if pairs is None or test.x is None or claim.better == "native":  # which compares two different x
        return {}
    metric = PRIMARY_METRIC[suite.task_kind(test.model)]
    rows = pairs[(pairs["evaluation"] == claim.evaluation) & (pairs["x"] == test.x) & (pairs["metric"] == metric)]
    for sign, experiment, against in ((1, test.model, test.against), (-1, test.against, test.model)):
        matches = rows[(rows["experiment"] == experiment) & (rows["against"] == against)]
        if len(matches):
            low, high = sorted(100 * sign * matches.iloc[0][["low", "high"]].astype(float))
            return {"low": low, "high": high, **matches.iloc[0][["p", "p_corrected"]].astype(float)}
    return {}


# ---------------------------------------------------------------------------------------------
# Printing
# ---------------------------------------------------------------------------------------------


def _format_difference(value: float | None, x: float | None = None, digits: int = 1) -> str:
    """Text for a difference with its sign and its x; empty if there is no difference."""
    if value is None or pd.isna(value):
        return ""
    text = signed(value, digits)
    return text if x is None else f"{text} (at {x:g})"


def _score(row: pd.Series) -> str:
    if pd.isna(row["ours"]):
        return row["status"]
    text = f"{100 * row['ours']:.1f}"
    if pd.notna(row["low"]):
        return f"{text} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    return text if pd.isna(row["sd"]) else f"{text} ± {100 * row['sd']:.1f}"


def _curve_cells(row: pd.Series) -> list[str]:
    """Cells of a curve's row, with the headings `_CURVES` and perhaps "Agrees"."""
    missing = NOT_RELEASED if pd.isna(row["released"]) else NOT_RUN
    released = NOT_RELEASED if pd.isna(row["released"]) else f"{100 * row['released']:.1f}"
    differences = [_format_difference(row["mean_difference"]), _format_difference(row["max_difference"], row["max_at"])]
    seeds = f"{row['seeds']} of {row['seeds_planned']}" if row["seeds"] < row["seeds_planned"] else f"{row['seeds']}"
    cells = [row["label"], format_place(row["x"], row["sweep"], row["hop_ms"]), _score(row), released]
    last = [row[name] for name in ("claim", "agrees") if name in row]
    return [*cells, *(text or missing for text in differences), seeds, *last]


def _format_p(p: float) -> str:
    return NOT_COMPUTED if pd.isna(p) else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _rule_cells(row: pd.Series, labels: dict[str, str]) -> list[str]:
    """Cells of a rule's row, with the headings `_RULES`."""
    ps = [_format_p(row[name]) for name in ("p", "p_corrected")]
    ours = _format_difference(row["difference"], row["x"], 2) or row["outcome"]
    theirs = _format_difference(row["released_difference"], row["released_x"], 2) or row["released_outcome"]
    return [labels[row["against"]], row["rule"], ours, *ps, row["outcome"], theirs, row["released_outcome"]]


_CURVES = ["Model", "At", "Ours (%)", "Released (%)", "Mean difference", "Largest difference", "Seeds", "Its rules"]
_RULES = ["Against", "Rule (points)", "Smallest difference", "p", "p, corrected", "Outcome", "Released: smallest"]
_RULES += ["Released: outcome"]


_CAPTION = (
    "Scores in %: means over seeds with their 95 % interval [ ] or standard deviation ±. Differences in points: ours "
    "minus released over the whole sweep; in the rules ElasticAST minus AST, where it is smallest. Corrected p-values "
    "are those of summary/pairs.csv, corrected for the number of comparisons there (step-down max-T)."
)


Block = tuple[str, list[str], list[list[str]]]
"""Title, column headings and rows of a part of the printed verdict; nothing is escaped."""


def _blocks(curves: pd.DataFrame, rules: pd.DataFrame, suite: Suite) -> list[Block]:
    """One block per dataset and task, then one per claim."""
    head = [*_CURVES, "Agrees"] if "agrees" in curves else _CURVES
    blocks = []
    for (_, task, metric), rows in curves.groupby(["dataset", "task", "metric"], sort=False):
        clips, listed = int(rows["clips"].max()), int(rows["listed"].max())
        coverage = Coverage(rows["title"].iloc[0], rows["origin"].iloc[0], clips, listed)
        title = f"{coverage.name} · {task}, {metric}" + (f", {coverage.counts} test clips" if clips else "")
        blocks.append((title, head, [_curve_cells(row) for _, row in rows.iterrows()]))
    return blocks + claim_blocks(rules, suite)


def claim_blocks(rules: pd.DataFrame, suite: Suite) -> list[Block]:
    """One block per claim, see :func:`claim_table`."""
    blocks = []
    labels = {name: experiment.label for name, experiment in suite.experiments.items()}
    for (claim, says), rows in rules.groupby(["claim", "says"], sort=False):
        title = f"{claim}: {says}: {conclude(rows['outcome'], rows['p_corrected'])}"
        released = conclude(rows["released_outcome"])
        title += "" if released == UNTESTED else f" (released values: {released})"
        blocks.append((title, _RULES, [_rule_cells(row, labels) for _, row in rows.iterrows()]))
    return blocks


def markdown(curves: pd.DataFrame, rules: pd.DataFrame, suite: Suite) -> str:
    """Print both tables as Markdown, with a title above each block."""
    parts = [_CAPTION + "\n"]
    for title, head, rows in _blocks(curves, rules, suite):
        cells = [[MARKDOWN.words(label), *row] for label, *row in rows]
        parts.append(MARKDOWN.bold(MARKDOWN.words(title)) + "\n\n" + markdown_table(head, ["---"] * len(head), cells))
    return "\n".join(parts)


def latex(curves: pd.DataFrame, rules: pd.DataFrame, suite: Suite) -> str:
    """Print both tables as LaTeX ``tabular``s that only need booktabs."""
    blocks, lines = _blocks(curves, rules, suite), []
    for head in (blocks[0][1], _RULES):
        same = [block for block in blocks if block[1] is head]
        if not same:
            continue
        lines += [rf"\begin{{tabular}}{{{'l' * len(head)}}}", r"\toprule", latex_row(map(LATEX.numbers, head))]
        for title, _, rows in same:
            lines += [r"\midrule", rf"\multicolumn{{{len(head)}}}{{l}}{{\emph{{{LATEX.words(title)}}}}} \\"]
            lines += [latex_row(map(LATEX.words, row)) for row in rows]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def write_verdict(
    curves: pd.DataFrame, rules: pd.DataFrame, suite: Suite, out: Path, notes: Sequence[str] = ()
) -> None:
    """Write ``OUT.csv`` (one row per curve), ``OUT_claims.csv`` (one row per rule), ``OUT.md`` and ``OUT.tex``.

    Parameters
    ----------
    notes : sequence of str
        Notes of the evaluations, which are printed below the tables.
    """
    tidy = curves.astype(object)
    missing = tidy["status"].where(tidy["ours"].isna(), NOT_COMPUTED)
    for column in ("ours", "sd", "low", "high"):
        tidy[column] = tidy[column].where(tidy[column].notna(), missing)
    without = tidy["released"].isna()
    for column in ("mean_difference", "max_difference", "max_at"):
        gap = tidy["status"].where(~without, NOT_RELEASED)
        tidy[column] = tidy[column].where(tidy[column].notna(), gap)
    tidy["released"] = tidy["released"].where(~without, NOT_RELEASED)
    tested = rules.astype(object)
    for column in ("x", "difference"):
        tested[column] = tested[column].where(tested[column].notna(), tested["outcome"])
        released = f"released_{column}"
        tested[released] = tested[released].where(tested[released].notna(), tested["released_outcome"])
    for column in ("low", "high", "p", "p_corrected"):
        tested[column] = tested[column].where(tested[column].notna(), NOT_COMPUTED)
    lines = [" ".join(note.split()) for note in notes]
    md = "\n".join([markdown(curves, rules, suite), *(f"- {line}\n" for line in lines)])
    tex = latex(curves, rules, suite) + "".join(f"% {line}\n" for line in lines)
    write_tables(out, csv=tidy_csv(tidy), md=md, tex=tex)
    write_tables(out.with_name(f"{out.name}_claims"), csv=tidy_csv(tested))
