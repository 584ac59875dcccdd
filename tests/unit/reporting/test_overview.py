"""The first page of the report: its sentences follow from the results and from paired tests on the same clips."""

import html
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from elasticast.evaluation.records import write_table
from elasticast.reporting.claims import FAILS, HELD, HOLDS, NOT_HELD, UNDECIDED, UNTESTED, conclude
from elasticast.reporting.overview import caveats, headline, judged
from elasticast.reporting.overview_data import MOST_STEPS
from elasticast.reporting.panels import sweep_panels
from elasticast.reporting.read_tables import PAIRS
from elasticast.reporting.style import line_styles
from elasticast.reporting.verdict import claim_table
from tests.unit.reporting.toy_suite import (
    EVALUATIONS,
    experiments,
    from_metrics,
    metrics_table,
    run_script,
    score,
    suite_of,
)

TEMPLATE = Path(__file__).parents[3] / "workflow" / "report" / "overview.html.j2"
# mAP of seeds 0 and 1 at the greatest length, 256 frames
ELASTIC, AST128 = 0.766, 0.51


def panels_of(project, metrics=None):
    suite = suite_of(project)
    return suite, sweep_panels(suite, metrics_table() if metrics is None else metrics, "max_frames")


def pairs(low: float, high: float, turned: bool = False) -> pd.DataFrame:
    first, second = ("ast128", "elastic") if turned else ("elastic", "ast128")
    low, high = (-high, -low) if turned else (low, high)
    row = ["lengths", 256.0, "mAP", first, second, (low + high) / 2, low, high, 0.5, 0.5, 3]
    return pd.DataFrame([row], columns=list(PAIRS))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.02, "not distinguishable")]
)
def test_a_difference_is_called_one_only_if_its_interval_excludes_zero(project, low, high, word, turned):
    (sentence,) = headline(*panels_of(project), pairs(low, high, turned))
    assert sentence.endswith(f", {word}.")
    assert f"ElasticAST {100 * ELASTIC:.1f} %" in sentence
    assert f"AST 128, the best fixed-length model there, {100 * AST128:.1f} %" in sentence


@pytest.mark.parametrize("found", [None, pairs(0.1, 0.2).assign(x=64.0), pairs(0.1, 0.2).assign(evaluation="other")])
def test_a_difference_without_a_test_is_not_called_one(project, found):
    (sentence,) = headline(*panels_of(project), found)
    assert "not tested" in sentence
    assert not any(word in sentence for word in ("better", "worse", "distinguishable", "["))


def test_runs_that_are_missing_are_said(project):
    suite, panels = panels_of(project, metrics_table(skip=("ast64", "ast128"), seeds=(0,)))
    assert "No fixed-length model has run" in headline(suite, panels, None)[0]
    text = " ".join(caveats(suite, panels, pd.DataFrame()))
    assert "AST 64: not run" in text
    assert "ElasticAST: 1 of 2 seeds" in text
    assert "one seed" in text
    assert headline(suite, panels_of(project, metrics_table(skip=("elastic",)))[1], None) == []


@pytest.mark.parametrize(
    ("converged", "said", "unsaid"),
    [
        ([True, True, True, None], ["Every run", "train.select.patience"], ["Not converged"]),
        ([True, False, False, None], ["Not converged", "AST 64 (1 of 2 runs)", "ElasticAST (1 of 1 runs)"], ["Every"]),
        ([None] * 4, [], ["onverged", "train.select"]),
    ],
)
def test_runs_that_did_not_converge_are_said(project, converged, said, unsaid):
    suite, panels = panels_of(project)
    runs = pd.DataFrame({"experiment": ["ast64", "ast64", "elastic", "ast128"], "converged": converged})
    for table in (runs, pd.read_csv(io.StringIO(runs.to_csv(index=False)))):
        text = " ".join(caveats(suite, panels, table))
        assert [words for words in said if words not in text] == []
        assert [words for words in unsaid if words in text] == []


@pytest.mark.parametrize(
    ("claim", "skip", "outcome"),
    [
        ({"within_own": 5.0}, (), HELD),
        ({"better": "beyond"}, (), HELD),
        ({"better": "elsewhere"}, (), NOT_HELD),
        ({"within_own": 5.0}, ("ast64",), UNTESTED),
    ],
)
def test_claims_held_did_not_hold_or_were_not_tested(project, claim, skip, outcome):
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    about = {"says": "A claim.", "evaluation": "lengths", "model": "elastic", "against": ["ast64"]}
    raw["claims"] = {"length": {**about, **claim}}
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    metrics = metrics_table(skip)
    metrics.loc[(metrics["experiment"] == "elastic") & (outcome == NOT_HELD), "value"] -= 0.2
    suite, panels = panels_of(project, metrics)
    rules = claim_table(suite, panels)
    (found,) = judged(rules)
    assert (found.name, found.ours, found.released) == ("length", outcome, UNTESTED)


@pytest.mark.parametrize(
    ("ps", "outcome"),
    [
        ((0.9, 0.01, 0.9), NOT_HELD),  # one of the failures is clear
        ((0.9, None, 0.9), NOT_HELD),
        ((0.01, 0.2, 0.3), UNDECIDED),  # the clear difference is of a rule that holds
    ],
)
def test_a_claim_that_fails_by_chance_is_undecided(ps, outcome):
    outcomes = pd.Series([HOLDS, FAILS, FAILS])
    assert conclude(outcomes, pd.Series(ps, dtype=float)) == outcome
    assert conclude(outcomes[:1], pd.Series(ps[:1], dtype=float)) == HELD
    assert conclude(outcomes) == NOT_HELD


# ---------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------


def run_table(project: Path) -> pd.DataFrame:
    """Records of the runs of both seeds; only those of seed 0 have their folders next to the page."""
    rows = []
    for name in experiments():
        for seed in (0, 1):
            folder = project / "out" / "runs" / name / f"seed{seed}"
            if seed == 0:
                folder.mkdir(parents=True, exist_ok=True)
            numbers = {"steps": 9, "seconds": 60.0 + 60 * seed, "clips_per_s": 5.0, "tokens_per_s": 50.0}
            row = {"run": folder.as_posix(), "experiment": name, "seed": seed, "parameters": 2_000_000, **numbers}
            row |= dict.fromkeys(("config_digest", "code_digest", "data_sha256"), "d")
            rows.append({**row, "device": "cpu", "peak_memory_mib": 100, "git_commit": "0123456789abcdef"})
    return pd.DataFrame(rows)


def history_table() -> pd.DataFrame:
    """A loss that is infinite once, and accuracies on dev."""
    rows = [["elastic", seed, step, "train", "loss", 1 / step] for seed in (0, 1) for step in range(1, 1001)]
    rows += [["ast64", 0, 1, "train", "loss", float("inf")], ["ast64", 0, 2, "train", "loss", 0.25]]
    rows += [["elastic", 0, step, "dev", "mAP", 0.5] for step in (500, 1000)]
    return pd.DataFrame(rows, columns=["experiment", "seed", "step", "split", "metric", "value"])


def page_of(project: Path, *extra: str, runs: pd.DataFrame | None = None) -> Path:
    for name, table in (("runs", run_table(project) if runs is None else runs), ("history", history_table())):
        write_table(project / f"{name}.csv", table, {})
    tables = ["--runs", str(project / "runs.csv"), "--history", str(project / "history.csv")]
    files = [*from_metrics(project), *tables, "--template", str(TEMPLATE)]
    return run_script(project, "overview", *files, *extra, out="index").with_suffix(".html")


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def data_of(page: Path) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text, parse_constant=refuse)


def test_every_point_has_its_value_seeds_and_interval(project):
    data = data_of(page_of(project))
    assert list(data["figures"]) == ["figure4", "figure5"]
    (panel,) = data["figures"]["figure4"]
    curve = next(curve for curve in panel["curves"] if curve["experiment"] == "ast64")
    assert curve["x"] == EVALUATIONS["lengths"]["x"]
    for seed in (0, 1):
        assert curve["seeds"][str(seed)] == [pytest.approx(100 * score("ast64", seed, x)) for x in curve["x"]]
    assert curve["mean"] == [pytest.approx(100 * score("ast64", 0.5, x)) for x in curve["x"]]
    assert (curve["low"], curve["high"]) == (curve["seeds"]["0"], curve["seeds"]["1"])
    assert curve["tokens"] == [8 * x / 16 for x in curve["x"]]
    assert curve["trained_at"] == 64
    (panel,) = data["figures"]["figure5"]
    tokens = {curve["experiment"]: curve["tokens"] for curve in panel["curves"]}
    assert tokens["elastic"] == [128, 104, 64, 32]  # of 256 frames: 16, 13, 8 and 4 columns of 8 patches


def test_every_run_has_settings_and_provenance_and_a_link_if_its_folder_is_there(project):
    data = data_of(page_of(project))
    assert set(data["experiments"]) == set(experiments())
    for name, about in data["experiments"].items():
        assert yaml.safe_load(about["settings"])["model"]["kind"] == experiments()[name]["model"]["kind"]
        assert [run["folder"] for run in about["runs"]] == [f"runs/{name}/seed0", None]
        assert {run["record"]["git_commit"] for run in about["runs"]} == {"0123456789abcdef"}
        assert str(project) not in json.dumps(about)


def test_learning_curves_are_thinned_and_have_no_infinite_numbers(project):
    panels = {panel["metric"]: panel["curves"] for panel in data_of(page_of(project))["learning"]}
    assert list(panels) == ["Training loss", "mAP on dev (%)"]
    assert [(curve["experiment"], curve["seed"]) for curve in panels["Training loss"]] == [
        ("elastic", 0), ("elastic", 1), ("ast64", 0),
    ]  # fmt: skip
    assert all(len(curve["x"]) <= MOST_STEPS for curve in panels["Training loss"])
    assert panels["Training loss"][-1]["y"] == [None, 0.25]
    assert panels["mAP on dev (%)"][0]["y"] == [50, 50]


def test_looks_are_those_of_the_figures(project):
    styles = data_of(page_of(project))["styles"]
    drawn = line_styles(suite_of(project))
    assert {label: style["color"] for label, style in styles.items()} == {k: v.color for k, v in drawn.items()}
    assert all(style["marker"].startswith("M") and style["marker"].endswith("Z") for style in styles.values())


def test_names_are_text(project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    hostile = "</script><script>alert(1)</script><i>AST</i> & co"
    raw["experiments"]["ast64"]["label"] = raw["title"] = hostile
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    page = page_of(project, runs=run_table(project).assign(device=hostile))
    text = page.read_text()
    assert text.count("<script") == text.count("</script>") == 2
    assert "<i>" not in text
    assert hostile in data_of(page)["styles"]
    script = (TEMPLATE.parent / "overview.js").read_text()
    assert not [
        word for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval(", "document.write") if word in script
    ]


def test_the_page_needs_no_network_and_is_light(project):
    text = page_of(project).read_text()
    assert not re.findall(r"(?:src|href)=\"(?!#|report\.html)", text)
    assert "default-src 'none'" in text
    assert not [word for word in ("url(", "@import", "fetch(", "XMLHttpRequest", "import(") if word in text]
    assert len(text) < 200_000
    assert (
        max(len(html.escape(line)) for line in text.splitlines()) < 10_000
    )  # the most that docutils reads, in the report


def test_a_suite_without_runs_has_a_page(project):
    none = metrics_table(skip=tuple(experiments()))
    write_table(project / "metrics.csv", none, {})
    page = page_of(project, runs=run_table(project).iloc[:0])
    assert all(not about["runs"] for about in data_of(page)["experiments"].values())
    assert "No sweep over length or resolution has run" in page.read_text()


def test_table_1_has_a_row_for_each_pair(project):
    page = page_of(project).read_text()
    assert (
        page[: page.index("Table 1.")].count("<tr>") == 1 + 3
    )  # the heading, two ASTs over length, one over resolution
