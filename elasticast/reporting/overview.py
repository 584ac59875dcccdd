"""The page of a suite: how the claims ended, the headline, figures 4 and 5, table 1, learning curves, cost and caveats.

Every sentence is computed from the results; nothing is said that was not tested on the same clips.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from elasticast.config import Suite
from elasticast.reporting.captions import ONE_SEED, describe_coverage, describe_means
from elasticast.reporting.claims import conclude
from elasticast.reporting.comparison import HEAD, comparison_table, printed_rows
from elasticast.reporting.legend import curve_caption, marks_of
from elasticast.reporting.overview_data import COST_HEAD, cost_rows, learning_data, panel_data, run_data, style_data
from elasticast.reporting.panels import Panel, Series
from elasticast.reporting.style import line_styles
from elasticast.reporting.tables import Markup, signed
from elasticast.reporting.verdict import claim_blocks, claim_table
from elasticast.text import html

_HTML = Markup(html, html, "<b>{}</b>".format)
FIGURES = {"max_frames": (4, "Score over length"), "compression": (5, "Score over temporal resolution")}
"""Number and title of the figure of each kind of sweep."""


class Judged(NamedTuple):
    """A claim of the paper, and its outcome in our runs and in the released curves."""

    name: str
    says: str
    ours: str
    released: str


def judged(rules: pd.DataFrame) -> list[Judged]:
    """The claims of a suite with the outcome of all their rules, see `elasticast.reporting.claims.conclude`.

    Parameters
    ----------
    rules : pandas.DataFrame
        See `elasticast.reporting.verdict.claim_table`.
    """
    return [
        Judged(name, says, conclude(found["outcome"], found["p_corrected"]), conclude(found["released_outcome"]))
        for (name, says), found in rules.groupby(["claim", "says"], sort=False)
    ]


def headline(suite: Suite, panels: list[Panel], pairs: pd.DataFrame | None) -> list[str]:
    """One sentence per panel and flexible model: its score on whole clips, and that of the best fixed-length model.

    Parameters
    ----------
    pairs : pandas.DataFrame or None
        Paired tests, see `elasticast.reporting.read_tables.read_pairs`. Without them, no difference is called one.
    """
    return [_compare(suite, panel, model, pairs) for panel, model in _compared(panels)]


def _compared(panels: list[Panel]) -> Iterator[tuple[Panel, Series]]:
    """The panels and flexible models that ran where a model is given most of a clip."""
    for panel in panels:
        yield from ((panel, model) for model in panel.flexible if model.at(panel.native_x).mean is not None)


def _compare(suite: Suite, panel: Panel, model: Series, pairs: pd.DataFrame | None) -> str:
    x, metric = panel.native_x, panel.metric
    own = model.at(x).mean
    text = f"{panel.title}, {_place(panel)}: {model.label} {100 * own:.1f} % {metric}"
    run = [series for series in panel.fixed if series.at(x).mean is not None]
    if not run:
        return f"{text}. No fixed-length model has run."
    best = max(run, key=lambda series: series.at(x).mean)
    difference = 100 * (own - best.at(x).mean)
    text += f", {best.label}, the best fixed-length model there, {100 * best.at(x).mean:.1f} %"
    interval = _interval(suite, panel, model, best, pairs)
    if interval is None:
        return f"{text}: {signed(difference)} points, not tested."
    low, high = interval
    outcome = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
    return f"{text}: {signed(difference)} points [{signed(low)}, {signed(high)}], {outcome}."


def _place(panel: Panel) -> str:
    if panel.x_name == "compression":
        return f"hop of {panel.hop_ms * panel.native_x:g} ms"
    return f"up to {panel.native_x:g} frames ({panel.native_x * panel.hop_ms / 1000:.3g} s)"


def _interval(
    suite: Suite, panel: Panel, model: Series, against: Series, pairs: pd.DataFrame | None
) -> tuple[float, float] | None:
    """95 % interval of the difference in points, model minus against; `pairs` has either order of experiments."""
    if pairs is None:
        return None
    rows = pairs[(pairs["x"] == panel.native_x) & (pairs["metric"] == panel.metric)]
    rows = rows[rows["evaluation"].isin(suite.curve(model.experiment, panel.x_name))]
    for sign, first, second in ((1, model, against), (-1, against, model)):
        found = rows[(rows["experiment"] == first.experiment) & (rows["against"] == second.experiment)]
        if len(found):
            low, high = sorted(100 * sign * found.iloc[0][["low", "high"]].astype(float))
            return low, high
    return None


def caveats(suite: Suite, panels: list[Panel], runs: pd.DataFrame) -> list[str]:
    """What limits the results: seeds, test clips, missing runs, runs that did not converge, the choice of the best."""
    fewest, most = marks_of(panels).seeds
    missing = dict.fromkeys(f"{s.label}: {s.shortfall}" for p in panels for s in p.series if s.shortfall)
    sentences = [describe_means(fewest, most)] if panels else []
    sentences += [ONE_SEED] if most == 1 else []
    sentences += describe_coverage(panel.coverage for panel in panels)
    sentences += [f"Missing: {'; '.join(missing)}."] if missing else []
    sentences += _convergence(suite, runs)
    if any(len(panel.fixed) > 1 for panel in panels):
        sentences.append("The best fixed-length model is chosen by the same test clips, which favours it.")
    return [_plain(sentence) for sentence in sentences]


def _convergence(suite: Suite, runs: pd.DataFrame) -> list[str]:
    """Which of the runs with `train.select.patience` reached their full length before they converged."""
    asked = runs.dropna(subset="converged") if "converged" in runs else runs[:0]
    if asked.empty:
        return []
    stopped = asked.loc[~asked["converged"].astype(bool), "experiment"].value_counts(sort=False)
    if stopped.empty:
        return ["Every run was trained until its score on held-out clips no longer rose (train.select.patience)."]
    of = asked["experiment"].value_counts()
    names = (f"{suite.experiments[name].label} ({count} of {of[name]} runs)" for name, count in stopped.items())
    return [f"Not converged within the steps of the suite: {'; '.join(names)}."]


def _plain(text: str) -> str:
    """Text of a caption without the escapes of reStructuredText."""
    return re.sub(r"\\(.)", r"\1", text)


class Results(NamedTuple):
    """The tables of a suite that the page shows, see `elasticast.reporting.read_tables`."""

    metrics: pd.DataFrame
    runs: pd.DataFrame
    history: pd.DataFrame
    pairs: pd.DataFrame | None


def overview(suite: Suite, results: Results, panels: dict[str, list[Panel]], template: Path, page: Path) -> str:
    """The page as HTML that needs no other file and no network.

    Parameters
    ----------
    panels : dict of str to list of Panel
        Panels of each kind of sweep.
    template : Path
        The template of the page, for Jinja; it includes other files of its folder.
    page : Path
        The file that the page is written to, for links to the folders of runs.
    """
    every = [panel for found in panels.values() for panel in found]
    rules = claim_table(suite, every, results.pairs)
    loader = FileSystemLoader(template.parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # not sorted: experiments in the suite's order
    return environment.get_template(template.name).render(
        title=suite.title,
        name=suite.name,
        claims=judged(rules),
        headline=headline(suite, every, results.pairs),
        caveats=caveats(suite, every, results.runs),
        table=(HEAD, printed_rows(comparison_table(suite, results.metrics), _HTML)),
        verdict=claim_blocks(rules, suite),
        costs=(COST_HEAD, cost_rows(suite, results.runs)),
        commits=sorted(set(results.runs["git_commit"].dropna())) if "git_commit" in results.runs else [],
        figures=[_figure(x_name, found) for x_name, found in panels.items()],
        data=_data(suite, results, panels, page),
    )


def _figure(x_name: str, panels: list[Panel]) -> dict[str, str]:
    number, title = FIGURES[x_name]
    return {"id": f"figure{number}", "title": title, "caption": _plain(curve_caption(panels))}


def _data(suite: Suite, results: Results, panels: dict[str, list[Panel]], page: Path) -> dict[str, Any]:
    """What the script of the page draws."""
    figures = {f"figure{FIGURES[x][0]}": panel_data(suite, found, results.metrics) for x, found in panels.items()}
    return {
        "figures": figures,
        "learning": learning_data(suite, results.history),
        "styles": style_data(line_styles(suite)),
        "experiments": run_data(suite, results.runs, page),
    }
