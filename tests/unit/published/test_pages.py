"""Numbers in the pages: every one is computed from published tables, or is listed here as an exception."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from elasticast.checksums import write_record
from elasticast.data.ceilings import Heard, expected_precision
from elasticast.data.datasets.scenes import CLASSES, compose
from elasticast.errors import DataError
from elasticast.published import pages
from elasticast.published.layout import FIGURES, ROOT, Published
from elasticast.published.pages import COMMAND, PAGES, is_published, refreshed
from elasticast.reporting.comparison import HEAD
from tests.complaints import complains

REPOSITORY = Path(__file__).parents[3]
WITHOUT_TABLES = {
    "api.md": "no results",
    "architecture.md": "no results",
    "audit.md": "examples of the output of `elasticast audit`",
    "cluster.md": "no results",
    "commands.md": "no results",
    "comparison.md": "no results; what other tools say of themselves",
    "datasets.md": "sizes of datasets, and how long preparing them took",
    "export.md": "differences of formats, and what checkers say",
    "extending.md": "no results",
    "glossary.md": "no results",
    "inference.md": "examples of output",
    "paper.md": "the paper's numbers, from paper_figures/reference/released_curves.csv",
    "reliability.md": "counts of attacks",
    "troubleshooting.md": "no results",
    "your_data.md": "examples of output",
    "your_model.md": "no results",
}
"""Pages in docs whose numbers are not computed from published tables: why."""
NOT_SCORES = {
    "0.1": "a tolerance",
    "0.1-0.5": "parameters of the models in millions",
    "0.05": "a level of p, a price",
    "0.5": "the largest share of tokens that is left out in training",
    "0.6": "the length of the shortest clip in s",
    "2.50": "a price",
}
GENERATED = (pages._TABLE, pages._VALUE)
SCORE = re.compile(r"(?<![\w.])\d+\.\d+(?:-\d+\.\d+)?(?![\w.]| s\b)")  # not durations


@pytest.fixture
def in_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for cached in (pages._published, pages._rules):
        cached.cache_clear()


@pytest.fixture
def judged(published):
    """The published toy suite, with the verdict that `snakemake redraw` writes."""
    for cached in (pages._published, pages._rules):
        cached.cache_clear()
    rules = pd.DataFrame(
        {"claim": ["longer_input"] * 2, "against": "ast64", "rule": ["within 1", "better"], "x": [64, 128]}
        | {"difference": [0.4, -1.25], "p_corrected": [0.9, 0.0004], "outcome": ["holds", "does not hold"]}
        | {"released_outcome": "not released"}
    )
    (published / FIGURES).mkdir()
    rules.replace("longer_input", "lengths").to_csv(published / FIGURES / "verdict_claims.csv", index=False)
    return published


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_pages_are_up_to_date(in_repository, page):
    text = page.read_text(encoding="utf-8")
    assert refreshed(text) == text, f"{page} is out of date; refresh it with `{COMMAND}` in the root of the repository"


def test_what_is_of_no_published_suite_has_no_numbers(in_repository):
    parts = re.compile(r"<!-- (?:results|value): (.+?) -->(.*?)<!-- end", re.DOTALL)
    for words, text in (match for page in PAGES for match in parts.findall(page.read_text())):
        named = [word for word in words.split()[1:] if (REPOSITORY / f"config/suites/{word}.yaml").exists()]
        assert all(map(is_published, named[:1])) or not re.search(r"\d", text), words


@pytest.mark.parametrize("page", [PAGES[0], Path("docs/results.md"), Path("docs/ablations.md")], ids=str)
def test_no_score_is_written_by_hand(page):
    text = (REPOSITORY / page).read_text()
    for form in (*GENERATED, re.compile(r"```.*?```", re.DOTALL)):
        text = form.sub("", text)
    sections = dict(section.split("\n", 1) for section in re.split(r"^## ", text, flags=re.MULTILINE))
    if page.name == "README.md":
        sections = {"Results in short": sections["Results in short"]}
    elif page.name == "results.md":
        names = list(sections)
        sections = {name: sections[name] for name in names[: names.index("How scores are computed and compared")]}
    written = {name: set(SCORE.findall(body)) - set(NOT_SCORES) for name, body in sections.items()}
    assert {name: scores for name, scores in written.items() if scores} == {}


def test_every_other_page_is_an_exception():
    others = {path.name for path in (REPOSITORY / "docs").glob("*.md")} - {page.name for page in PAGES}
    assert others == set(WITHOUT_TABLES)


def test_what_length_alone_scores_on_mini_is_what_the_page_says(in_repository):
    dataset = pages._published("mini").suite.datasets["scenes"]
    clips = {split: [compose(dataset, split, i) for i in range(n)] for split, n in dataset.clips.items()}
    occurs = np.array([[name in clip.sounds for name in CLASSES] for clip in clips["test"]])
    slots = np.array([len(clip.sounds) for clip in clips["test"]])
    by_length = np.mean([expected_precision(slots, labels) for labels in occurs.T])
    (frequent, _), *_ = Counter(clip.scene for clip in clips["train"]).most_common()
    chance = np.mean([clip.scene == frequent for clip in clips["test"]])
    text = " ".join(Path("docs/results.md").read_text().split())
    assert f"gives {100 * by_length:.0f} mAP on events" in text
    assert f"(random order: {100 * occurs.mean():.0f})" in text
    assert f"has an accuracy of {100 * chance:.0f}." in text
    named = [100 * _named(Heard(dataset, "test", seconds)) for seconds in (0.64, 1.28)]
    assert "gives, {:.0f} mAP at 64 frames and {:.0f} at 128".format(*named) in text


def _named(heard: Heard) -> float:
    """mAP of a listener who names exactly the sounds that were heard."""
    named = (heard.sounds == 1).T.astype(float)
    return np.mean([expected_precision(*column) for column in zip(named, heard.occurs.T, strict=True)])


@pytest.mark.parametrize("suite", sorted(path.parent.name for path in (REPOSITORY / ROOT).glob("*/runs.csv")))
def test_printed_scores_are_cells_of_table_1(in_repository, suite):
    """Each score between the comments of table 1 is a rounded cell of ``table1.csv``."""
    cells = pd.read_csv(ROOT / suite / FIGURES / "table1.csv", dtype=str, keep_default_na=False)
    means = pd.to_numeric(cells["mean"], errors="coerce").dropna()
    known = {f"{100 * mean:.1f}" for mean in means}
    text = "".join(page.read_text() for page in PAGES)
    for block in re.findall(rf"<!-- results: table1 {suite} .*?<!-- end of results -->", text, re.DOTALL):
        rows = [row.split("|")[5:-2] for row in block.splitlines()[3:-1]]
        printed = [
            score for row in rows for cell in row for score in re.findall(r"(?<![\w.(≤±] )(\d+\.\d)(?!\d)", cell)
        ]
        assert set(printed) <= known


def test_a_suite_in_the_place_of_another(judged):
    judged.rename(judged.with_name("other"))
    with complains(DataError, judged.with_name("other"), "'toy_suite'"):
        pages.score("other", "elastic", "lengths", "64")


def test_claims_are_printed_by_outcome(judged):
    text = pages.claims("toy_suite", "other")
    held, not_held, undecided, not_tested = text.splitlines()
    assert "none" in held
    assert "none" in undecided
    assert all(token in not_held for token in ("`toy_suite` lengths", "−1.2", "128 frames", "< 0.001"))
    assert "`other`" in not_tested


def test_table_1_has_the_columns_and_rows_that_are_asked_for(judged):
    all_rows = pages.table1("toy_suite", "*", "*", "3", "5").splitlines()
    lengths = pages.table1("toy_suite", "events", "length", "3").splitlines()
    assert all_rows[0] == f"| {HEAD[3]} | {HEAD[5]} |"
    assert (len(all_rows), len(lengths)) == (2 + 3, 2 + 2)


def test_the_table_of_models_has_the_columns_that_are_asked_for(judged):
    rows = pages.zoo("toy_suite", "other", "1", "3", "18").splitlines()
    assert [row.count("|") for row in rows] == [3] * (2 + 4)  # the last column is of a suite that is not published
    assert rows[-1].startswith("| ElasticAST | 76.6")
    beside = pages.zoo("toy_suite", "toy_suite", "1", "3", "18").splitlines()
    assert all(row.split(" | ")[1] == row.split(" | ")[2].strip(" |") for row in beside[2:])


def test_scores_and_their_intervals(judged):
    assert pages.score("toy_suite", "elastic", "lengths", "64") == "57.4"
    assert pages.interval("toy_suite", "elastic", "lengths", "64") == "57.4 [55.4, 59.4]"
    with complains(DataError, "intervals.csv", "elastic", "lengths", "65"):
        pages.score("toy_suite", "elastic", "lengths", "65")


def test_scores_at_all_points_and_at_one(judged):
    head, _, ast, auc, *others = pages.points("toy_suite", "lengths", "mAP,AUC", "ast64", "ast128").splitlines()
    assert len(others) == 2
    assert head == "| Model | Score | 32 | 64 | 128 | 256 |"
    assert ast.endswith("| mAP | 51.0 | 61.0 | 51.0 | 41.0 |")
    assert auc.endswith("| AUC | 90.0 | 90.0 | 90.0 | 90.0 |")
    one = pages.scores("toy_suite", "lengths", "64", "AUC,mAP", "elastic").splitlines()
    assert (one[0], one[2]) == ("| Model | AUC | mAP |", "| ElasticAST | 90.0 | 57.4 |")
    with complains(DataError, "metrics.csv", "F2", "elastic", "lengths"):
        pages.points("toy_suite", "lengths", "F2", "elastic")
    with complains(DataError, "metrics.csv", "elastic", "lengths", "65"):
        pages.scores("toy_suite", "lengths", "65", "mAP", "elastic")


@pytest.mark.parametrize("which", ["seed == 0", "seed >= 0 and x != 64 or seed == 1"])
def test_points_without_all_of_their_scores_are_refused(judged, monkeypatch, which):
    monkeypatch.setattr(Published, "metrics", pages._published("toy_suite").metrics.query(which))
    with complains(DataError, "metrics.csv", "mAP", "elastic", "lengths"):
        pages.points("toy_suite", "lengths", "mAP", "elastic")


def test_how_far_one_is_ahead_of_another(judged):
    assert pages.ahead("toy_suite", "elastic", "ast64", "lengths", "256") == "+35.6 points (p = 0.90)"
    with complains(DataError, "pairs.csv", "ast64", "elastic"):
        pages.ahead("toy_suite", "ast64", "elastic", "lengths", "256")


def test_a_mean_without_all_of_its_scores_is_refused(judged, monkeypatch):
    one_seed = pages._published("toy_suite").metrics.query("seed == 0")
    monkeypatch.setattr(Published, "metrics", one_seed)
    with complains(DataError, "metrics.csv", "elastic", "lengths", "64"):
        pages.score("toy_suite", "elastic", "lengths", "64")


def test_the_largest_difference_of_repeated_runs(judged):
    table = pd.DataFrame({"run": ["elastic/seed0", "elastic/seed0", "ast64/seed0"], "difference": [0.5, -0.75, 2.0]})
    table.to_csv(judged / pages.REPEATS, index=False)
    assert (pages.moved("toy_suite"), pages.moved("toy_suite", "elastic")) == ("2", "0.75")


def test_scores_in_streams_by_chunk_and_context(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, factor in (("one", 0.25), ("another_one", 0.5)):
        folder = ROOT / "streams" / name
        folder.mkdir(parents=True)
        rows = [
            {
                "chunk": 0.64,
                "context": context,
                "delay": 0.66,
                "real_time_factor": 0.01,
                "metric": metric,
                "value": value,
            }
            for context, values in ((1.28, (factor, 1.0)), (5.12, (factor / 2, 2.0)))
            for metric, value in zip(("mAP", "d_prime"), values, strict=True)
        ]
        pd.DataFrame(rows).to_csv(folder / "stream.csv", index=False)
        write_record(folder / "stream.json", {}, [folder / "stream.csv"])
    page = "<!-- results: streams mAP one another_one -->\n<!-- end of results -->"
    assert refreshed(page).splitlines()[1:-1] == [
        "| Chunk (s) | Context (s) | Delay (s) | one | another one | Real-time factor |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        "| 0.64 | 1.28 | 0.66 | 25.0 | 50.0 | 0.01 |",
        "| 0.64 | 5.12 | 0.66 | 12.5 | 25.0 | 0.01 |",
    ]
    path = ROOT / "streams/one/stream.csv"
    path.write_text(path.read_text().replace("0.25", "0.35"))
    with complains(DataError, path):
        refreshed(page)
    with complains(DataError, "another_one/stream.csv", "no AUC"):
        pages.streams("AUC", "another_one")


def test_a_value_in_a_sentence_is_replaced(judged):
    page = "It has <!-- value: score toy_suite elastic lengths 64 -->12.3<!-- end -->, "
    page += "and <!-- value: score other a b 1 -->9<!-- end -->."
    assert refreshed(page) == page.replace("12.3", "57.4")


def test_a_comment_that_names_nothing_is_an_error(judged):
    with complains(KeyError, "nothing"):
        refreshed("<!-- results: nothing toy_suite -->\n<!-- end of results -->")


def test_claims_are_not_drawn_yet(published):
    pages._rules.cache_clear()
    with complains(DataError, "verdict_claims.csv", "toy_suite"):
        pages.claims("toy_suite")
