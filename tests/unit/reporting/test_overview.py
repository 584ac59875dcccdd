"""The first page of the report: its sentences follow from the results and from paired tests on the same clips."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from elasticast.evaluation.records import write_table
from elasticast.reporting.overview import HELD, NOT_HELD, NOT_TESTED, caveats, headline, judged
from elasticast.reporting.panels import sweep_panels
from elasticast.reporting.read_tables import PAIRS
from tests.unit.reporting.toy_suite import from_metrics, metrics_table, run_script, suite_of

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
    text = " ".join(caveats(panels))
    assert "AST 64: not run" in text
    assert "ElasticAST: 1 of 2 seeds" in text
    assert "one seed" in text
    assert headline(suite, panels_of(project, metrics_table(skip=("elastic",)))[1], None) == []


@pytest.mark.parametrize(
    ("claim", "skip", "outcome"),
    [
        ({"within_own": 5.0}, (), HELD),
        ({"better": "beyond"}, (), HELD),
        ({"better": "elsewhere"}, (), NOT_HELD),
        ({"within_own": 5.0}, ("ast64",), NOT_TESTED),
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
    (found,) = judged(suite, panels)
    assert (found.name, found.ours, found.released) == ("length", outcome, NOT_TESTED)


def test_the_page_holds_figures_and_table_and_escapes_names(project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["experiments"]["ast64"]["label"] = "<i>AST</i> & co"
    raw["title"] = "<script>"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    figure = run_script(project, "fig4_length_curves", *from_metrics(project)).with_suffix(".png")
    write_table(project / "pairs.csv", pairs(0.01, 0.02), {})
    more = ["--template", str(TEMPLATE), "--lengths", str(figure)]
    page = run_script(project, "overview", *from_metrics(project), *more).with_suffix(".html").read_text()
    assert "<script>" not in page
    assert "<i>" not in page
    assert "&lt;i&gt;AST&lt;/i&gt; &amp; co" in page
    assert page.count("data:image/png;base64,") == 1
    assert page.count("<tr>") == 1 + 3  # the heading, two ASTs over length and one over resolution
