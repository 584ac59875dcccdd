"""Generate the numbers in README.md and docs from published results.

``python -m elasticast.published.pages`` refreshes every table between the comments ``<!-- results: NAME ... -->`` and
``<!-- end of results -->``, and every number between ``<!-- value: NAME ... -->`` and ``<!-- end -->``. A name is a key
of :data:`TABLES` or :data:`VALUES`; the words after it are the arguments of that function, mostly first of all a suite.
What is of a suite whose results are not published stays as it is.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from elasticast.checksums import read_record, verify
from elasticast.config.ablation_sweeps import SWEEPS
from elasticast.errors import DataError
from elasticast.files import write_text
from elasticast.published import costs
from elasticast.published.ablations import FOLDER, published_scores, published_variants
from elasticast.published.layout import FIGURES, RECORD, REMEDY, ROOT, Published, read_published
from elasticast.published.speed import speed_table
from elasticast.reporting.ablation.variant_table import cost_table, sweep_table
from elasticast.reporting.claims import FAILS, HELD, LEVEL, NOT_HELD, UNDECIDED, UNTESTED, conclude, format_place
from elasticast.reporting.comparison import HEAD, SCORES, comparison_table, printed_rows
from elasticast.reporting.panels import sweep_panels
from elasticast.reporting.tables import MARKDOWN, markdown_table, signed
from elasticast.reporting.zoo import markdown_zoo, read_zoo

COMMAND = "python -m elasticast.published.pages"
_DOCS = (
    "results.md", "suites.md", "ablations.md", "adapt.md", "events.md", "streams.md", "zoo.md", "performance.md",
    "planning.md",
)  # fmt: skip
PAGES = (Path("README.md"), *(Path("docs") / name for name in _DOCS))
REPEATS = "repeats.csv"
_TABLE = re.compile(r"<!-- results: (.+?) -->\n.*?<!-- end of results -->", re.DOTALL)
_VALUE = re.compile(r"<!-- value: (.+?) -->.*?<!-- end -->")


def is_published(suite: str) -> bool:
    """Whether the results of a suite are published."""
    return (ROOT / suite / RECORD).is_file()


@cache
def _published(suite: str) -> Published:
    published = read_published(ROOT / suite)
    if published.suite.name != suite:
        raise DataError(f"{ROOT / suite}: holds the results of suite {published.suite.name!r}; {REMEDY}")
    return published


@cache
def _rules(suite: str) -> pd.DataFrame:
    """The rules of the claims of a suite, as ``verdict_claims.csv`` holds them."""
    path = ROOT / suite / FIGURES / "verdict_claims.csv"
    if not path.is_file():
        raise DataError(f"{path}: no such file; run `snakemake redraw --config suite={suite}`")
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    for column in ("x", "difference", "p_corrected"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table


# ---------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------


def claims(*suites: str) -> str:
    """The paper's claims by outcome: held, not held, undecided and not tested."""
    found: dict[str, list[str]] = {HELD: [], NOT_HELD: [], UNDECIDED: [], UNTESTED: []}
    for suite in suites:
        if not is_published(suite):
            found[UNTESTED].append(f"`{suite}`, whose results are not published yet")
            continue
        groups = {claim: rules for claim, rules in _rules(suite).groupby("claim", sort=False)}
        outcomes = {claim: conclude(rules["outcome"], rules["p_corrected"]) for claim, rules in groups.items()}
        if set(outcomes.values()) == {UNTESTED}:  # a suite that has not run
            found[UNTESTED].append(f"`{suite}`, which has not run; {_released(groups)}")
            continue
        for claim, rules in groups.items():
            smallest = "" if outcomes[claim] == UNTESTED else _smallest(suite, rules)
            found[outcomes[claim]].append(f"`{suite}` {_words(claim)}{smallest}")
    return "".join(f"- **{outcome}**: {'; '.join(texts) or 'none'}\n" for outcome, texts in found.items())


def _released(groups: dict[str, pd.DataFrame]) -> str:
    """How the claims end on the curves that the authors released."""
    outcomes = {claim: conclude(rules["released_outcome"]) for claim, rules in groups.items()}
    texts = [
        f"{outcome} on {', '.join(map(_words, names))}"
        for outcome in (HELD, NOT_HELD, UNTESTED)
        if (names := [claim for claim, found in outcomes.items() if found == outcome])
    ]
    return f"in the authors' released values {'; '.join(texts)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _smallest(suite: str, rules: pd.DataFrame) -> str:
    """The smallest difference of a claim, its place and corrected p-value, of the rules that decide.

    Those are the rules that fail, clearly if one does; if none fails, those that ask for a better model.
    """
    failed = rules[rules["outcome"] == FAILS]
    clear = failed[failed["p_corrected"] < LEVEL]
    better = rules[rules["rule"].str.startswith("better")]
    deciding = next(some for some in (clear, failed, better, rules) if len(some))
    row = deciding.sort_values("difference").iloc[0]
    p = "" if pd.isna(row["p_corrected"]) else f", p {_p(row['p_corrected'])}"
    return f" ({signed(row['difference'])} at {_place(suite, row)}{p})"


def _place(suite: str, rule: pd.Series) -> str:
    """The x of a rule's smallest difference, as a number of frames or a hop."""
    settings = _published(suite).suite
    x_name = settings.evaluations[settings.claims[rule["claim"]].evaluation].x_name
    return format_place(rule["x"], x_name, settings.runs[rule["against"]].front_end.hop_ms)


def _p(p: float) -> str:
    return f"= {p:.2f}" if p >= 0.01 else f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def rules(suite: str) -> str:
    """Every rule of every claim of a suite: the smallest difference, and its outcome."""
    labels = {name: experiment.label for name, experiment in _published(suite).suite.experiments.items()}
    head = ["Claim", "Against", "Rule (points)", "Smallest difference", "p, corrected", "Outcome"]
    rows = []
    for _, rule in _rules(suite).iterrows():
        smallest = f"{signed(rule['difference'], 2)} (at {_place(suite, rule)})"
        p = "not computed" if pd.isna(rule["p_corrected"]) else _p(rule["p_corrected"]).removeprefix("= ")
        about = [_words(rule["claim"]), MARKDOWN.words(labels[rule["against"]]), rule["rule"]]
        rows.append([*about, rule["outcome"] if pd.isna(rule["difference"]) else smallest, p, rule["outcome"]])
    return markdown_table(head, ["---", "---", "---", ":---:", "---:", "---"], rows)


def table1(suite: str, task: str, sweep: str, *columns: str) -> str:
    """Table 1 of a suite: the rows of a task and sweep, ``*`` for all, and the columns with these numbers."""
    table = comparison_table(_published(suite).suite, _published(suite).metrics)
    for column, wanted in (("task", task), ("sweep", sweep)):
        table = table[table[column] == wanted] if wanted != "*" else table
    chosen = [int(column) for column in columns]
    rows = [[row[i] for i in chosen] for row in printed_rows(table, MARKDOWN)]
    align = [":---:" if HEAD[i] in SCORES else "---" for i in chosen]
    return markdown_table([HEAD[i] for i in chosen], align, rows)


def points(suite: str, evaluation: str, metrics: str, *experiments: str) -> str:
    """Mean scores (%) of experiments, a row for each and metric, a column for each point of an evaluation."""
    published, rows, columns = _published(suite), [], None
    for name in experiments:
        for metric in metrics.split(","):
            means = _means(suite, name, evaluation, metric)
            columns = columns or list(means)
            if list(means) != columns:
                raise DataError(f"{ROOT / suite / 'metrics.csv'}: {name!r} has other points of {evaluation!r}")
            label = MARKDOWN.words(published.suite.experiments[name].label)
            rows.append([label, metric.replace("_", " "), *(f"{100 * value:.1f}" for value in means.values())])
    head = ["Model", "Score", *(f"{x:g}" for x in columns)]
    return markdown_table(head, ["---", "---", *["---:"] * len(columns)], rows)


def scores(suite: str, evaluation: str, x: str, metrics: str, *experiments: str) -> str:
    """Mean scores (%) of experiments at one point of an evaluation, a column for each metric."""
    names, labels = metrics.split(","), _published(suite).suite.experiments
    rows = []
    for name in experiments:
        means = [_means(suite, name, evaluation, metric) for metric in names]
        if not all(float(x) in points for points in means):
            raise DataError(f"{ROOT / suite / 'metrics.csv'}: no {metrics} of {name!r} in {evaluation!r} at {x}")
        values = [points[float(x)] for points in means]
        rows.append([MARKDOWN.words(labels[name].label), *(f"{100 * value:.1f}" for value in values)])
    return markdown_table(["Model", *(name.replace("_", " ") for name in names)], ["---", *["---:"] * len(names)], rows)


def _means(suite: str, experiment: str, evaluation: str, metric: str) -> dict[float, float]:
    """Mean score of an experiment over its seeds at each point of an evaluation."""
    published = _published(suite)
    table, place = published.metrics, {"experiment": experiment, "evaluation": evaluation, "metric": metric}
    found = table[(table[list(place)] == pd.Series(place)).all(axis=1)].groupby("x", sort=False)["value"]
    if found.ngroups == 0 or (found.size() != len(published.suite.seeds)).any():
        raise DataError(
            f"{ROOT / suite / 'metrics.csv'}: not one {metric} per seed at each x of {experiment!r} in {evaluation!r}"
        )
    return found.mean().to_dict()


def ceilings(suite: str) -> str:
    """Scores (%) at each length, with the ceiling, of the tasks of which it is known."""
    published = _published(suite)
    panels = [p for p in sweep_panels(published.suite, published.metrics, "max_frames") if p.ceiling is not None]
    labels = list(dict.fromkeys(series.label for panel in panels for series in panel.series))
    rows = []
    for panel in panels:
        means = {series.label: series.points["mean"] for series in panel.series}
        for x, ceiling in panel.ceiling.items():
            scores = [f"{100 * means[label][x]:.1f}" if label in means else "–" for label in labels]
            rows.append([MARKDOWN.words(panel.title), f"{x:g}", f"{100 * ceiling:.1f}", *scores])
    head = ["Data set · task", "Frames", "Ceiling", *map(MARKDOWN.words, labels)]
    return markdown_table(head, ["---", *["---:"] * (len(head) - 1)], rows)


def zoo(suite: str, beside: str, *columns: str) -> str:
    """Table of models and methods: the columns with these numbers.

    Those after the last are of the suite `beside`, and are left out if it is not published.
    """
    other = _zoo(beside) if is_published(beside) else None
    return markdown_zoo(_zoo(suite), other, list(map(int, columns)))


def _zoo(suite: str) -> pd.DataFrame:
    published = _published(suite)
    resampled = (published.intervals, published.pairs) if published.has("intervals.csv") else ()
    history = published.history if published.has("history.csv") else None
    return read_zoo(published.suite, published.metrics, published.runs, history, *resampled).table


def cost(*suites: str) -> str:
    """Core-minutes of the jobs of suites, by kind of job, and what they would cost."""
    kinds = {"prepare": "prepare", "stats": "prepare", "train": "train", "evaluate": "evaluate", "resample": "resample"}
    head = [
        "Suite",
        "Trainings",
        *(f"{kind} (core-min)" for kind in dict.fromkeys(kinds.values())),
        "All",
        "US dollars",
        "CPU",
    ]
    rows = []
    for suite in suites:
        jobs = _published(suite).jobs
        minutes = jobs.groupby(jobs["job"].map(kinds))["cpu_seconds"].sum() / 60
        cells = [f"{minutes.get(kind, 0):.1f}" for kind in dict.fromkeys(kinds.values())]
        total = f"**{costs.core_minutes(jobs):.0f}**"
        trainings = str((jobs["job"] == "train").sum())
        price = costs.dollars(jobs)
        price = f"{price:.2f}" if price >= 0.005 else "< 0.01"
        rows.append([f"`{suite}`", trainings, *cells, total, price, " and ".join(jobs["processor"].dropna().unique())])
    return markdown_table(head, ["---", *["---:"] * (len(head) - 2), "---"], rows)


def streams(metric: str, *names: str) -> str:
    """Scores (%) of models in streams, by chunk and context, from `elasticast sweep --chunks`.

    Parameters
    ----------
    metric : str
        The metric.
    *names : str
        Folders in ``docs/results/streams``; their names are printed. The real-time factor is that of the first.
    """
    tables = {}
    for name in names:
        folder = ROOT / "streams" / name
        record = read_record(folder / "stream.json", REMEDY)
        verify(folder / "stream.csv", record, folder / "stream.json", REMEDY)
        table = pd.read_csv(folder / "stream.csv")
        tables[name] = table[table["metric"] == metric].set_index(["chunk", "context"])
        if tables[name].empty or set(tables[name].index) != set(tables[names[0]].index):
            raise DataError(f"{folder / 'stream.csv'}: no {metric} at the chunks and contexts of {names[0]!r}")
    first = tables[names[0]]
    head = ["Chunk (s)", "Context (s)", "Delay (s)", *map(_words, names), "Real-time factor"]
    rows = []
    for (chunk, context), row in first.iterrows():
        scores = [f"{100 * table.loc[(chunk, context), 'value']:.1f}" for table in tables.values()]
        rows.append([f"{chunk:g}", f"{context:g}", f"{row['delay']:g}", *scores, f"{row['real_time_factor']:.2g}"])
    return markdown_table(head, ["---:"] * len(head), rows)


def ablation(suite: str, name: str, sweep: str) -> str:
    """The variants of an ablation over one sweep, compared with its base."""
    return sweep_table(published_variants(suite, name), sweep.replace("_", " "))


def ablation_costs(suite: str, name: str, *columns: str) -> str:
    """Costs of the variants of an ablation, medians over runs."""
    return cost_table(published_variants(suite, name), columns)


def ablation_points(suite: str, name: str, evaluation: str) -> str:
    """Mean scores (%) of the variants of an ablation at the points of an evaluation, and the base's operations."""
    scores = published_scores(suite, name)
    scores = scores[scores["evaluation"] == evaluation]
    x_names = scores["x_name"].unique()
    if len(x_names) != 1 or scores.groupby(["variant", "seed", "metric", "x"]).size().max() > 1:
        raise DataError(
            f"{ROOT / suite / FOLDER / name}: {evaluation!r} is not one of its evaluations with one score per x"
        )
    metric = published_variants(suite, name)["metric"].iloc[0]
    means = scores[scores["metric"] == metric].pivot_table("value", "x", "label", sort=False)
    if means.isna().any(axis=None):
        raise DataError(f"{ROOT / suite / FOLDER / name}: not all variants have all points of {evaluation!r}")
    flops = scores[(scores["metric"] == "gflops_per_clip") & scores["base"]].groupby("x")["value"].mean()
    rows = [[f"{x:g}", *(f"{100 * value:.1f}" for value in values)] for x, values in means.iterrows()]
    head = [SWEEPS[x_names[0]].capitalize(), *map(MARKDOWN.words, means.columns)]
    if len(flops):
        head.append("GFLOPs per clip")
        rows = [[*row, f"{flops[x]:.3g}"] for row, x in zip(rows, means.index, strict=True)]
    return markdown_table(head, ["---:"] * len(head), rows)


# ---------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------


def core_minutes(suite: str) -> str:
    """Core-minutes of all jobs of a suite that were measured."""
    return f"{costs.core_minutes(_published(suite).jobs):.0f} core-minutes"


def score(suite: str, experiment: str, evaluation: str, x: str) -> str:
    """Mean score (%) of an experiment over its seeds at one point of a sweep."""
    return f"{100 * _interval(suite, experiment, evaluation, x)['value']:.1f}"


def interval(suite: str, experiment: str, evaluation: str, x: str) -> str:
    """Mean score (%) with its 95 % interval."""
    row = _interval(suite, experiment, evaluation, x)
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * row[name] for name in ("value", "low", "high")))


def _interval(suite: str, experiment: str, evaluation: str, x: str) -> dict[str, Any]:
    table = _published(suite).intervals
    row = table[(table["experiment"] == experiment) & (table["evaluation"] == evaluation) & (table["x"] == float(x))]
    if len(row) != 1:
        raise DataError(
            f"{ROOT / suite / 'intervals.csv'}: {len(row)} rows of {experiment}, {evaluation}, {x}; expected 1"
        )
    # the mean of the tables: that of intervals.csv is computed from scores rounded to float16
    scores = _published(suite).metrics.merge(row[["experiment", "evaluation", "x", "metric"]])
    if len(scores) != row["seeds"].item():
        raise DataError(
            f"{ROOT / suite / 'metrics.csv'}: {len(scores)} scores of {experiment}, {evaluation}, {x}; expected "
            f"{row['seeds'].item()}, one per seed of intervals.csv"
        )
    return row.iloc[0].to_dict() | {"value": round(scores["value"].mean(), 12)}  # of sums in any order


def ahead(suite: str, experiment: str, against: str, evaluation: str, x: str) -> str:
    """How far an experiment is ahead of another one (points), with its corrected p-value."""
    table = _published(suite).pairs
    place = {"experiment": experiment, "against": against, "evaluation": evaluation, "x": float(x)}
    row = _only_row(table, place, ROOT / suite / "pairs.csv")
    return f"{signed(100 * row['difference'])} points (p {_p(row['p_corrected'])})"


def variant(suite: str, name: str, variant: str, sweep: str, quantity: str) -> str:
    """Score (%) of a variant of an ablation: `quantity` is native, mean or worst of the sweep."""
    return f"{100 * _variant(suite, name, variant, sweep, quantity)['value']:.1f}"


def delta(suite: str, name: str, variant: str, sweep: str, quantity: str) -> str:
    """Difference of a variant from the base of its ablation (points) with its 95 % interval."""
    row = _variant(suite, name, variant, sweep, quantity)
    return "{} [{}, {}]".format(*(signed(100 * row[column]) for column in ("delta", "delta_low", "delta_high")))


def _variant(suite: str, name: str, variant: str, sweep: str, quantity: str) -> pd.Series:
    table = published_variants(suite, name)
    place = {"variant": variant, "sweep": sweep.replace("_", " "), "quantity": quantity}
    return _only_row(table, place, ROOT / suite / FOLDER / name)


def _only_row(table: pd.DataFrame, place: dict[str, Any], source: Path) -> pd.Series:
    """The only row of a table with these values in these columns."""
    rows = table[(table[list(place)] == pd.Series(place)).all(axis=1)]
    if len(rows) != 1:
        raise DataError(f"{source}: {len(rows)} rows of {', '.join(map(str, place.values()))}; expected 1")
    return rows.iloc[0]


def moved(suite: str, task: str = "") -> str:
    """Largest difference (points) of repeated trainings, of the runs whose name begins with `task`."""
    table = pd.read_csv(ROOT / suite / REPEATS)
    return f"{table.loc[table['run'].str.startswith(task), 'difference'].abs().max():.2g}"


TABLES: dict[str, Callable[..., str]] = {
    "claims": claims, "rules": rules, "table1": table1, "ceilings": ceilings, "cost": cost, "zoo": zoo,
    "points": points, "scores": scores, "streams": streams, "ablation": ablation, "ablation-points": ablation_points,
    "ablation-costs": ablation_costs, "speed": speed_table,
}  # fmt: skip
VALUES: dict[str, Callable[..., str]] = {
    "core-minutes": core_minutes, "score": score, "interval": interval, "variant": variant, "delta": delta,
    "moved": moved, "ahead": ahead,
}  # fmt: skip


def refreshed(page: str) -> str:
    """The page with new tables and values.

    Raises
    ------
    KeyError
        If a comment names no table or value.
    DataError
        If a suite is not published, or if it has no such point.
    """

    def table(match: re.Match) -> str:
        text = _made(TABLES, match[1])
        return match[0] if text is None else f"<!-- results: {match[1]} -->\n{text}<!-- end of results -->"

    def value(match: re.Match) -> str:
        text = _made(VALUES, match[1])
        return match[0] if text is None else f"<!-- value: {match[1]} -->{text}<!-- end -->"

    return _VALUE.sub(value, _TABLE.sub(table, page))


def _made(makers: dict[str, Callable[..., str]], words: str) -> str | None:
    """The text that a comment asks for; None if its suite is not published."""
    name, *arguments = words.split()
    make = makers[name]
    if make not in (claims, speed_table, streams) and not all(map(is_published, arguments[:1])):
        return None
    return make(*arguments)


def main() -> None:
    """Refresh the pages of the repository in the current folder."""
    for path in PAGES:
        write_text(path, refreshed(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
