"""The verdict: claims as rules, ours beside released, and what is said where something has not run."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.text import Text

from elasticast.config import Suite
from elasticast.config.load_suite import load_suite
from elasticast.errors import DataError
from elasticast.evaluation.records import write_table
from elasticast.reporting.claims import combine_outcomes, judge_claims
from elasticast.reporting.curves import draw_sweeps
from elasticast.reporting.panels import sweep_panels
from elasticast.reporting.read_tables import (
    INTERVALS,
    METRICS,
    PAIRS,
    read_intervals,
    read_notes,
    read_pairs,
    read_released,
)
from elasticast.reporting.released_curves import released_curves
from elasticast.reporting.style import line_styles
from elasticast.reporting.verdict import claim_table, curve_table, latex, markdown, write_verdict
from tests.complaints import assert_names, complains

ROOT = Path(__file__).parents[3]
CURVES = ROOT / "paper_figures" / "reference" / "released_curves.csv"
ASTS = ("ast400", "ast1024", "ast1600")


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The experiments of the paper on VoxCeleb1."""
    paper = load_suite("paper", ROOT / "config")
    names = [f"voxceleb1_{model}" for model in (*ASTS, "elastic")]
    parts = {part: {n: getattr(paper, part)[n] for n in names} for part in ("experiments", "runs")}
    return paper.model_copy(update={**parts, "claims": {"voxceleb1": paper.claims["voxceleb1"]}})


@pytest.fixture(scope="module")
def released(suite) -> dict:
    return released_curves(suite, read_released(CURVES), "max_frames")


def metrics_of(curves: dict[str, pd.Series], seeds=(0, 1, 2), spread=0.01) -> pd.DataFrame:
    """Results as tidy metrics, three seeds around each curve."""
    rows = []
    for name, curve in curves.items():
        for seed in seeds:
            for x, value in curve.items():
                about = ["paper", name, seed, "length", "voxceleb1", "speaker", "max_frames"]
                rows.append([*about, x, "accuracy", value + spread * (seed - 1), 8000, 8251])
    return pd.DataFrame(rows, columns=list(METRICS))


def panels_of(suite, released, curves, **more):
    return sweep_panels(suite, metrics_of(curves, **more), "max_frames", released=released)


def changed(curves, name, x, value):
    """The curves with one point of one of them moved by `value`."""
    curve = curves[name].copy()
    curve.loc[x] += value
    return {**curves, name: curve}


def tables(suite, panels, **options):
    tests = judge_claims(suite, panels, released=False)
    return curve_table(suite, panels, tests, **options), claim_table(suite, panels)


# --- rules -----------------------------------------------------------------------------------


def test_the_released_curves_against_themselves_hold(suite, released):
    tests = judge_claims(suite, panels_of(suite, released, released), released=False)
    assert [t.outcome for t in tests] == ["holds"] * 6
    assert [t.rule for t in tests[:2]] == ["within 1 at 400 frames", "better beyond 400 frames"]
    theirs = judge_claims(suite, panels_of(suite, released, {}), released=True)
    for own, other in zip(tests, theirs, strict=True):
        assert own.difference == pytest.approx(other.difference)
        assert (own.x, own.outcome) == (other.x, other.outcome)


@pytest.mark.parametrize(
    ("x", "value", "rule", "outcome"),
    [
        (1024.0, -0.006, "within 1 at 1024 frames", "holds"),  # 0.35 + 0.6 points below
        (1024.0, -0.007, "within 1 at 1024 frames", "does not hold"),
        (1152.0, -0.002, "better beyond 1024 frames", "holds"),
        (1152.0, -0.003, "better beyond 1024 frames", "does not hold"),
        (896.0, -0.2, "better beyond 1024 frames", "holds"),  # shorter than that AST's own
    ],
)
def test_one_point_decides_a_rule(suite, released, x, value, rule, outcome):
    panels = panels_of(suite, released, changed(released, "voxceleb1_elastic", x, value))
    found = {t.rule: t for t in judge_claims(suite, panels, released=False)}
    assert found[rule].outcome == outcome
    assert outcome == "holds" or found[rule].x == x


def test_exactly_one_point_below_is_within_one_point(suite, released):
    flat = {name: pd.Series(0.5, index=curve.index) for name, curve in released.items()}
    flat["voxceleb1_elastic"] -= 0.01
    tests = judge_claims(suite, panels_of(suite, released, flat, spread=0), released=False)
    assert {t.outcome for t in tests if t.rule.startswith("within")} == {"holds"}
    assert {t.outcome for t in tests if t.rule.startswith("better")} == {"does not hold"}


def test_elsewhere_looks_at_both_sides(suite, released):
    claim = suite.claims["voxceleb1"].model_copy(update={"better": "elsewhere"})
    other = suite.model_copy(update={"claims": {"voxceleb1": claim}})
    tests = {t.rule: t for t in judge_claims(other, panels_of(suite, released, released), released=True)}
    assert tests["better elsewhere than 1024 frames"].outcome == "does not hold"
    assert tests["better elsewhere than 1024 frames"].x == 640


@pytest.mark.parametrize(("half_width", "outcome"), [(0.01, "holds"), (0.03, "does not hold")])
def test_native_compares_whole_clips_with_the_length_of_training(suite, half_width, outcome):
    """The model is 5 points better there; the intervals must be apart, whatever the curves do elsewhere."""
    claim = suite.claims["voxceleb1"].model_copy(
        update={"better": "native", "within_own": None, "against": ["voxceleb1_ast1024"]}
    )
    judged = suite.model_copy(update={"claims": {"native": claim}})
    xs = suite.evaluations[claim.evaluation].x
    own, model = pd.Series(0.1, index=xs), pd.Series(0.0, index=xs)
    own[1024.0], model[max(xs)] = 0.6, 0.65
    metrics = metrics_of({"voxceleb1_ast1024": own, "voxceleb1_elastic": model})
    table = metrics.groupby([c for c in INTERVALS if c in metrics and c != "value"], as_index=False)["value"].mean()
    table = table.assign(low=table["value"] - half_width, high=table["value"] + half_width)
    panels = sweep_panels(judged, metrics, "max_frames", intervals=table)
    (test,) = judge_claims(judged, panels)
    assert (test.x, test.outcome) == (max(xs), outcome)
    assert test.difference == pytest.approx(5)
    assert claim_table(judged, panels, pd.DataFrame(columns=list(PAIRS)))["p"].isna().all()
    (missing,) = judge_claims(judged, panels, released=True)
    assert missing.outcome == "not run"


def test_a_rule_with_no_x_to_test_says_so(suite, released):
    short = {name: e.model_copy(update={"x": [400.0]}) for name, e in suite.evaluations.items() if name == "length"}
    tests = judge_claims(suite.model_copy(update={"evaluations": short}), panels_of(suite, released, {}), released=True)
    assert [t.outcome for t in tests] == ["holds", *["not in sweep"] * 5]


def test_what_fails_decides_then_what_is_missing():
    assert combine_outcomes(["holds", "not run", "does not hold"]) == "does not hold"
    assert combine_outcomes(["holds", "not run"]) == "not run"
    assert combine_outcomes(["holds", "not in sweep"]) == "holds"
    assert combine_outcomes([]) == "no claim"


def test_a_point_that_fails_is_said_though_others_have_not_run(suite, released):
    curves = changed(released, "voxceleb1_elastic", 1664.0, -0.05)
    curves["voxceleb1_elastic"] = curves["voxceleb1_elastic"].loc[:1700]
    tests = {t.rule: t.outcome for t in judge_claims(suite, panels_of(suite, released, curves), released=False)}
    assert tests["better beyond 1600 frames"] == "does not hold"
    assert tests["better beyond 400 frames"] == "not run"
    assert tests["within 1 at 400 frames"] == "holds"


# --- tables ----------------------------------------------------------------------------------


def test_ours_and_released_are_compared_over_the_whole_sweep(suite, released):
    curves = {name: curve + 0.004 for name, curve in released.items()}
    curves = changed(curves, "voxceleb1_ast400", 2048.0, -0.03)
    table, rules = tables(suite, panels_of(suite, released, curves))
    assert "VoxCeleb1 · speaker, accuracy, 8,000 of 8,251 test clips" in markdown(table, rules, suite)
    table = table.set_index("experiment")
    row = table.loc["voxceleb1_ast1024"]
    assert (row["x"], row["seeds"], row["clips"], row["listed"], row["status"]) == (1024, 3, 8000, 8251, "ok")
    assert row["ours"] == pytest.approx(0.5928978306 + 0.004)
    assert row["released"] == 0.5928978306
    assert (row["mean_difference"], row["max_difference"]) == pytest.approx((0.4, 0.4))
    moved = table.loc["voxceleb1_ast400"]
    assert (moved["max_difference"], moved["max_at"]) == pytest.approx((-2.6, 2048))
    assert moved["mean_difference"] == pytest.approx(0.4 - 3 / 25)
    assert table.loc["voxceleb1_elastic", "x"] == 3072  # native length


@pytest.mark.parametrize("off", [0.0009, 0.0011])
def test_agreement_is_of_every_point(suite, released, off):
    curves = changed(released, "voxceleb1_elastic", 512.0, -off)
    table = tables(suite, panels_of(suite, released, curves), tolerance=0.1)[0].set_index("experiment")
    assert table["agrees"].drop("voxceleb1_elastic").tolist() == ["holds"] * 3
    assert table.loc["voxceleb1_elastic", "agrees"] == ("holds" if off < 0.001 else "does not hold")


def test_what_has_not_run_says_so_in_every_format(suite, released, tmp_path):
    curves = {name: curve for name, curve in released.items() if name != "voxceleb1_ast1024"}
    some, rules = tables(suite, panels_of(suite, released, curves), tolerance=0.1)
    write_verdict(some, rules, suite, tmp_path / "verdict")
    tidy = pd.read_csv(tmp_path / "verdict.csv", dtype=str, keep_default_na=False).set_index("experiment")
    assert not (tidy == "").to_numpy().any()
    row = tidy.loc["voxceleb1_ast1024"]
    columns = ["ours", "low", "mean_difference", "max_difference", "max_at", "claim", "agrees", "status"]
    assert set(row[columns]) == {"not run"}
    assert (row["seeds"], float(row["released"])) == ("0", 0.5928978306)
    assert set(tidy.drop("voxceleb1_ast1024")["low"]) == {"not computed"}
    tested = pd.read_csv(tmp_path / "verdict_claims.csv", dtype=str, keep_default_na=False)
    assert not (tested == "").to_numpy().any()
    assert set(tested.loc[tested["against"] == "voxceleb1_ast1024", "outcome"]) == {"not run"}
    assert set(tested["released_outcome"]) == {"holds"}
    text = (tmp_path / "verdict.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| AST 1024 | 1024 frames"))
    assert line == "| AST 1024 | 1024 frames | not run | 59.3 | not run | not run | 0 of 3 | not run | not run |"
    assert "longer one: not tested (released values: held)**" in text
    assert "|  |" not in text
    assert "AST 1024 & 1024 frames & not run" in (tmp_path / "verdict.tex").read_text()


def test_no_run_at_all(suite, released):
    some, rules = tables(suite, panels_of(suite, released, {}))
    assert set(some["status"]) == set(rules["outcome"]) == {"not run"}
    assert "nan" not in (markdown(some, rules, suite) + latex(some, rules, suite)).lower()


def test_a_seed_that_is_missing_is_counted(suite, released):
    some, rules = tables(suite, panels_of(suite, released, released, seeds=(0, 1)))
    assert set(some["status"]) == {"2 of 3 seeds"}
    assert "| 2 of 3 |" in markdown(some, rules, suite)


def test_a_suite_without_claims_and_released_curves(suite):
    plain = {name: e.model_copy(update={"released": None}) for name, e in suite.experiments.items()}
    other = suite.model_copy(update={"claims": {}, "experiments": plain})
    curves = {name: pd.Series([0.5, 0.6], index=[400.0, 512.0]) for name in suite.runs}
    some, rules = tables(other, sweep_panels(other, metrics_of(curves), "max_frames"))
    assert rules.empty
    assert set(some["claim"]) == {"no claim"}
    text = markdown(some, rules, other)
    assert "| AST 400 | 400 frames | 50.0 ± 1.0 | not released | not released | not released | 3 | no claim |" in text
    assert latex(some, rules, other).count(r"\begin{tabular}") == 1


# --- intervals and paired tests --------------------------------------------------------------


def intervals_of(curves) -> pd.DataFrame:
    rows = [
        ["paper", name, "length", "max_frames", x, "accuracy", value, value - 0.011, value + 0.012, 3, 8251]
        for name, curve in curves.items()
        for x, value in curve.items()
    ]
    return pd.DataFrame(rows, columns=list(INTERVALS))


def test_intervals_take_the_place_of_the_spread_over_seeds(suite, released, tmp_path):
    path = tmp_path / "intervals.csv"
    own = intervals_of({"voxceleb1_elastic": released["voxceleb1_elastic"]})
    grid = own.assign(evaluation="grid", low=0.0, high=1.0)  # of an evaluation that is no curve
    write_table(path, pd.concat([grid, own]), {})
    (panel,) = sweep_panels(
        suite, metrics_of(released), "max_frames", released=released, intervals=read_intervals(path)
    )
    some, rules = tables(suite, [panel])
    table = some.set_index("experiment")
    value = released["voxceleb1_elastic"][3072.0]
    assert table.loc["voxceleb1_elastic", ["low", "high"]].tolist() == pytest.approx([value - 0.011, value + 0.012])
    assert table["low"].isna().sum() == 3  # not computed of the others
    assert "| ElasticAST | 3072 frames | 59.4 [58.3, 60.6] |" in markdown(some, rules, suite)
    figure = draw_sweeps([panel], line_styles(suite))
    texts = [t.get_text() for t in figure.findobj(Text)]
    assert "95 % interval" in texts
    assert "min–max of 3 seeds" in texts  # of the others


@pytest.mark.parametrize("turned", [False, True])
def test_a_paired_test_is_found_whichever_way_round(suite, released, tmp_path, turned):
    row = ["length", 400, "accuracy", "voxceleb1_elastic", "voxceleb1_ast400", 0.043, 0.03, 0.05, 0.0004, 0.012, 30]
    if turned:
        row = [*row[:3], row[4], row[3], -0.043, -0.05, -0.03, *row[8:]]
    write_table(tmp_path / "pairs.csv", pd.DataFrame([row], columns=list(PAIRS)), {})
    panels = panels_of(suite, released, released)
    rules = claim_table(suite, panels, read_pairs(tmp_path / "pairs.csv"))
    found = rules.set_index("rule").loc["within 1 at 400 frames"]
    assert found[["low", "high", "p", "p_corrected"]].tolist() == pytest.approx([3, 5, 0.0004, 0.012])
    assert rules["p"].isna().sum() == rules["p_corrected"].isna().sum() == 5
    text = markdown(tables(suite, panels)[0], rules, suite)
    assert (
        "| AST 400 | within 1 at 400 frames | +4.27 (at 400) | < 0.001 | 0.012 | holds | +4.27 (at 400) | holds |"
        in text
    )


@pytest.mark.parametrize(("read", "columns"), [(read_intervals, INTERVALS), (read_pairs, PAIRS)])
def test_a_table_without_a_column_is_refused(tmp_path, read, columns):
    path = tmp_path / "table.csv"
    with complains(DataError, path):
        read(path)
    write_table(path, pd.DataFrame(columns=list(columns[:-1])), {})
    with complains(DataError, path, columns[-1], columns[0]):
        read(path)


# --- figures and the script ------------------------------------------------------------------


def lines_of(figure):
    return [line for ax in figure.axes for line in ax.get_lines() if line.get_marker() == "x"]


def test_released_curves_are_drawn_thin_and_marked(suite, released):
    figure = draw_sweeps(panels_of(suite, released, released), line_styles(suite))
    thin = lines_of(figure)
    assert len(thin) == 4
    assert max(line.get_linewidth() for line in thin) < 1
    np.testing.assert_allclose(thin[0].get_ydata(), 100 * released["voxceleb1_ast400"])
    assert "released values" in [t.get_text() for t in figure.findobj(Text)]
    without = draw_sweeps(sweep_panels(suite, metrics_of(released), "max_frames"), line_styles(suite))
    assert not lines_of(without)


@pytest.mark.parametrize(("run", "said"), [(("elastic",), "AST 400: not run"), ((), "ours: not run")])
def test_released_curves_are_drawn_where_nothing_of_ours_has_run(suite, released, run, said):
    curves = {f"voxceleb1_{name}": released[f"voxceleb1_{name}"] for name in run}
    figure = draw_sweeps(panels_of(suite, released, curves), line_styles(suite))
    assert len(lines_of(figure)) == 4
    assert said in " ".join(t.get_text().replace("\n", " ") for t in figure.findobj(Text))


def test_the_legend_lists_the_curves_that_are_drawn(suite, released):
    curve = released["voxceleb1_elastic"]
    only = {"voxceleb1_elastic": curve, "voxceleb1_ast400": curve}  # a curve that two name is drawn once
    figure = draw_sweeps(sweep_panels(suite, metrics_of({}), "max_frames", released=only), line_styles(suite))
    curves = [text.get_text() for text in figure.legends[0].get_texts()]
    first = next(name for name in suite.experiments if name in only)
    assert curves == [suite.experiments[first].label, "released values"]


@pytest.mark.parametrize("options", [(), ("--released-weights", "--tolerance", "0.1")])
def test_the_script(suite, released, tmp_path, options):
    spec = importlib.util.spec_from_file_location("verdict", ROOT / "paper_figures" / "verdict.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite.model_dump(mode="json")))
    write_table(tmp_path / "metrics.csv", metrics_of(released, seeds=(0,), spread=0), {})
    files = {"--suite": "suite.yaml", "--metrics": "metrics.csv", "--out": "verdict"}
    given = [part for key, name in files.items() for part in (key, str(tmp_path / name))]
    script.main([*given, "--released", str(CURVES), *options])
    table = pd.read_csv(tmp_path / "verdict.csv").set_index("experiment")
    if options:  # one seed is all there is of released weights, and only ElasticAST's were released
        assert table["agrees"].to_dict() == {"voxceleb1_elastic": "holds"}
        assert table["status"].tolist() == ["ok"]
    else:
        assert table["status"].tolist() == ["1 of 3 seeds"] * 4


def test_notes_of_evaluations_are_printed_below_the_tables(suite, released, tmp_path):
    notes = {"voxceleb1_elastic/seed0": ["no names"], "voxceleb1_elastic/seed1": ["no names"]}
    write_table(tmp_path / "metrics.csv", metrics_of(released), {"notes": notes})
    panels = panels_of(suite, released, released)
    write_verdict(*tables(suite, panels), suite, tmp_path / "verdict", read_notes(tmp_path / "metrics.csv"))
    for suffix in ("md", "tex"):
        last = (tmp_path / f"verdict.{suffix}").read_text().splitlines()[-1]
        assert_names(last, *notes, "no names")
