"""The table and the figure of models and methods."""

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.config.load_suite import load_suite
from elasticast.evaluation.records import write_table
from elasticast.reporting.read_tables import HISTORY, METRICS, RUNS
from elasticast.reporting.zoo import SECONDS, cost_points, flops_to_equal_score, on_front, read_zoo
from tests.unit.reporting.toy_suite import drawn_figure, line_texts, metrics_table, run_script

SWEEPS = {
    "dropped": {"x_name": "token_drop", "x": [0.0, 0.5]},
    "merged": {"x_name": "token_merge", "x": [0.0, 0.5]},
}
COSTS = {"token_drop": {0.0: 2.0, 0.5: 1.0}, "token_merge": {0.0: 2.0, 0.5: 1.5}}
SCORES = {"ast64": {0.0: 0.4, 0.5: 0.3}, "elastic": {0.0: 0.6, 0.5: 0.2}}


def costed_rows(suite):
    rows = []
    for name, scores in SCORES.items():
        for evaluation, sweep in SWEEPS.items():
            for seed in (0, 1):
                for x in sweep["x"]:
                    about = [suite, name, seed, evaluation, "toy", "events", sweep["x_name"], x]
                    rows.append([*about, "mAP", scores[x] + 0.01 * seed, 50, 60])
                    rows.append([*about, "gflops_per_clip", COSTS[sweep["x_name"]][x], 50, 60])
    return pd.DataFrame(rows, columns=list(METRICS))


def runs_table(names, flops=3e12):
    rows = []
    for number, name in enumerate(names):
        for seed in (0, 1):
            known = {"experiment": name, "seed": seed, "steps": 10, "seconds": 120.0, "parameters": 500_000}
            known |= {"run": f"runs/{name}/seed{seed}", "training_flops": flops * (1 + number)}
            rows.append({**dict.fromkeys(RUNS, 1), **known})
    return pd.DataFrame(rows)


@pytest.fixture
def zoo(project):
    """The toy suite with sweeps over tokens; hop20 learns from ast64. Returns the arguments of the script."""
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["evaluations"] |= SWEEPS
    for name in SCORES:
        raw["experiments"][name]["evaluations"] += list(SWEEPS)
    raw["experiments"]["hop20"]["train"] = {"distill": {"teacher": "run:ast64", "weight": 0.5}}
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    write_table(project / "metrics.csv", pd.concat([metrics_table(), costed_rows("toy_suite")]), {})
    write_table(project / "runs.csv", runs_table(raw["experiments"]), {})
    write_table(project / "history.csv", pd.DataFrame(columns=list(HISTORY)), {})
    return [word for name in ("metrics", "runs", "history") for word in (f"--{name}", str(project / f"{name}.csv"))]


def test_the_front_has_the_points_that_no_cheaper_one_beats():
    costs, scores = pd.Series([1.0, 2.0, 2.0, 3.0, 4.0, 0.5]), pd.Series([0.3, 0.5, 0.6, 0.6, 0.7, 0.1])
    assert on_front(costs, scores).tolist() == [True, False, True, False, True, True]
    rng = np.random.default_rng(0)
    costs, scores = (pd.Series(rng.integers(0, 8, 60).astype(float)) for _ in range(2))
    front = on_front(costs, scores)
    for cost, score, kept in zip(costs, scores, front, strict=True):
        beaten = ((costs <= cost) & (scores > score)) | ((costs < cost) & (scores >= score))
        assert not (kept and beaten.any())
        assert ((costs[front] <= cost) & (scores[front] >= score)).any()  # one of the front is as good as any other


def test_every_point_with_a_cost_is_there(zoo, project):
    suite = load_suite("toy_suite", project / "config")
    metrics = pd.read_csv(project / "metrics.csv")
    found = read_zoo(suite, metrics, pd.read_csv(project / "runs.csv"))
    assert len(found.points) == len(SCORES) * 4
    front = found.points[found.points["front"]].sort_values("gflops")
    assert list(zip(front["gflops"], front["score"].round(3), strict=True)) == [(1.0, 0.305), (2.0, 0.605)]
    assert cost_points(found.panels, metrics[metrics["metric"] == "mAP"]).empty


def test_the_table_has_scores_and_costs(zoo, project):
    run_script(project, "zoo", *zoo)
    table = pd.read_csv(project / "out" / "zoo.csv").set_index("experiment")
    assert table.loc["ast64", "score"] == pytest.approx(0.61)  # at its own length, 64
    assert table.loc["elastic", "score"] == pytest.approx(0.5 + 0.256 + 0.01)  # at the largest
    assert table.loc["elastic", "length_mean"] == pytest.approx(0.5 + (32 + 64 + 128 + 256) / 4000 + 0.01)
    assert table.loc["elastic", "gflops"] == 2.0
    assert table.loc["ast128", "gflops"] != table.loc["ast128", "gflops"]  # not known
    assert table["training_tflops"].to_dict() == {"ast64": 3.0, "ast128": 6.0, "hop20": 9.0, "elastic": 12.0}
    assert table["earlier_tflops"].dropna().to_dict() == {"hop20": 3.0}
    assert table["minutes"].tolist() == [2.0] * 4
    for kind in ("md", "tex"):
        text = (project / "out" / f"zoo.{kind}").read_text()
        assert "ElasticAST" in text
        assert "76.6" in text


EVALUATED = {  # dev scores of both seeds after 10, 20 and 30 steps
    "elastic": [(0.2, 0.4), (0.5, 0.7), (0.65, 0.6)],  # the best mean is 0.625
    "ast64": [(0.5, 0.7), (0.7, 0.55), (0.6, 0.6)],  # 0.6 does not reach 0.615, and 0.625 does
    "ast128": [(0.6, 0.6), (0.61, 0.61), (0.55, 0.6)],  # never
}


def history_table():
    rows = [
        (name, seed, 10 * step, "dev", "mAP", value, 1e12 * step)
        for name, values in EVALUATED.items()
        for step, pair in enumerate(values, 1)
        for seed, value in enumerate(pair)
    ]
    rows += [(name, seed, 5, "train", "loss", 9.0, np.nan) for name in EVALUATED for seed in (0, 1)]
    return pd.DataFrame(rows, columns=[*HISTORY, "training_flops"])


def test_the_operations_to_an_equal_score(zoo, project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    history = history_table()
    assert flops_to_equal_score(load_suite("toy_suite", project / "config"), history) == {}  # without a reference
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"references": ["elastic"]}, sort_keys=False))
    suite = load_suite("toy_suite", project / "config")
    assert flops_to_equal_score(suite, history) == {"elastic": 3.0, "ast64": 2.0}
    assert flops_to_equal_score(suite, history.drop(columns="training_flops")) == {}  # of an earlier version
    longer = (*("elastic", 0, 40, "dev", "mAP", 0.99), 4e12)  # of one seed only
    assert flops_to_equal_score(suite, pd.concat([history, pd.DataFrame([longer], columns=history.columns)])) == {
        "elastic": 3.0,
        "ast64": 2.0,
    }
    write_table(project / "history.csv", history, {})
    run_script(project, "zoo", *zoo)
    rows = [line.split(" | ") for line in (project / "out" / "zoo.md").read_text().splitlines()[2:]]
    last = {row[1]: row[-1].strip(" |") for row in rows}
    assert last == {"AST 64": "2", "AST 128": "", "AST 20 ms": "", "ElasticAST": "3"}


def test_a_suite_beside_it_is_drawn_open(zoo, project, monkeypatch):
    resolved = load_suite("toy_suite", project / "config").model_dump(mode="json")
    (project / "other.yaml").write_text(yaml.safe_dump({**resolved, "title": "Equal operations", "name": "other"}))
    table = pd.read_csv(project / "metrics.csv").assign(suite="other")
    write_table(project / "other.csv", table, {})
    write_table(project / "other_runs.csv", runs_table(["ast64", "elastic"], 1e12), {})
    beside = ["--beside", *(str(project / name) for name in ("other.yaml", "other.csv", "other_runs.csv"))]
    figure, caption = drawn_figure(project, monkeypatch, "zoo", [*zoo, *beside])
    scores = figure.axes[-1]
    assert sorted(trainings(scores)) == ["12 · 2", "3 · 1", "6", "9"]
    assert len([line for line in scores.get_lines() if line.get_markerfacecolor() == "white"]) == 4
    assert "Equal operations" in caption
    assert "Pareto front" in line_texts(figure)
    rows = [line.split(" | ") for line in (project / "out" / "zoo.md").read_text().splitlines()[2:]]
    last = {row[1]: row[-1].strip(" |") for row in rows}
    assert last == {"AST 64": "1", "AST 128": "", "AST 20 ms": "", "ElasticAST": "2"}


def trainings(ax):
    """The operations of training in words."""
    return [text.get_text() for text in ax.texts if text.get_text()[:1].isdigit()]


def test_lines_join_the_points_of_a_model_that_no_other_of_its_points_beats(zoo, project, monkeypatch):
    figure, _ = drawn_figure(project, monkeypatch, "zoo", zoo)
    lengths, hops, cost, inference, scores = figure.axes
    _front, *lines = [line for line in inference.get_lines() if line.get_linestyle() != "None"]
    assert [line.get_xdata().tolist() for line in lines] == [[1.0, 2.0]] * 2  # 1.5 merged is as bad as 1 without tokens
    points = [line for line in inference.get_lines() if line.get_linestyle() == "None"]
    assert sum(len(line.get_xdata()) for line in points) == len(SCORES) * 4
    assert [label.get_text() for label in scores.get_yticklabels()][-1] == "ElasticAST"  # the best is at the top
    assert {len(line.get_xdata()) for line in cost.get_lines()} == {len(SECONDS)}
    assert len(lengths.get_lines()) >= 3
    assert len(hops.get_lines()) >= 2


def test_part_of_the_runs_and_one_seed_are_drawn(zoo, project, monkeypatch):
    metrics, runs = (pd.read_csv(project / f"{name}.csv") for name in ("metrics", "runs"))
    some = [table[(table["experiment"] != "ast64") & (table["seed"] == 0)] for table in (metrics, runs)]
    for name, table in zip(("metrics", "runs"), some, strict=True):
        write_table(project / f"{name}.csv", table, {})
    figure, caption = drawn_figure(project, monkeypatch, "zoo", zoo)
    assert "AST 64" not in [label.get_text() for label in figure.axes[-1].get_yticklabels()]
    assert len(trainings(figure.axes[-1])) == 3
    assert "one seed" in caption.lower()


def test_differences_from_the_reference_are_on_whole_clips(zoo, project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"references": ["elastic"]}, sort_keys=False))
    about = {"x_name": "max_frames", "metric": "mAP", "low": -0.5, "high": 0.5, "p": 0.01, "comparisons": 4}
    rows = [
        about
        | {"evaluation": evaluation, "x": x, "experiment": one, "against": other, "difference": d, "p_corrected": p}
        for evaluation, x, one, other, d, p in (
            ("lengths", 64.0, "elastic", "ast64", 0.1, 0.5),
            ("lengths", 256.0, "elastic", "ast64", 0.25, 0.0004),
            ("hops", 1.0, "elastic", "hop20", -0.125, 0.75),
            ("lengths", 256.0, "ast64", "ast128", 0.3, 0.1),
        )
    ]
    write_table(project / "pairs.csv", pd.DataFrame(rows), {})
    run_script(project, "zoo", *zoo, "--pairs", str(project / "pairs.csv"))
    table = pd.read_csv(project / "out" / "zoo.csv").set_index("experiment")
    assert table["difference"].dropna().to_dict() == {"ast64": -0.25, "hop20": 0.125}
    assert table["p"].dropna().to_dict() == {"ast64": 0.0004, "hop20": 0.75}
    assert "−25.0 | < 0.001" in (project / "out" / "zoo.md").read_text()


def test_the_operations_of_a_model_that_merges_are_those_of_its_own_share(zoo, project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["experiments"]["elastic"]["model"]["merge"] = {"share": 0.5}
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    run_script(project, "zoo", *zoo)
    table = pd.read_csv(project / "out" / "zoo.csv").set_index("experiment")
    assert table.loc["elastic", "gflops"] == COSTS["token_merge"][0.5]
    assert table.loc["elastic", "gflops_long"] < table.loc["ast64", "gflops_long"]


def test_a_suite_that_has_not_run_is_drawn_without_points(zoo, project, monkeypatch):
    write_table(project / "metrics.csv", metrics_table().iloc[:0], {})
    write_table(project / "runs.csv", runs_table(["elastic"]).iloc[:0], {})
    figure, caption = drawn_figure(project, monkeypatch, "zoo", zoo)
    assert not [line for ax in figure.axes for line in ax.get_lines() if len(line.get_xdata())]
    assert all("not run" in [text.get_text() for text in ax.texts] for ax in figure.axes)
    assert caption
    table = pd.read_csv(project / "out" / "zoo.csv")
    assert len(table) == 4
    assert table[["score", "gflops", "training_tflops"]].isna().all(axis=None)
