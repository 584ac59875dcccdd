"""Summary tables of a suite."""

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.checksums import read_record, write_record
from elasticast.config import FrontEnd
from elasticast.errors import DataError
from elasticast.evaluation.records import write_table
from elasticast.reporting.collect import adopt, metrics, norms, runs
from elasticast.reporting.read_tables import INTERVALS, METRICS, PAIRS, read_intervals, read_metrics, read_pairs
from tests.complaints import assert_names, complains
from tests.records import rewrite_record
from tests.unit.reporting.recorded import evaluation_table, write_evaluation


def test_statistics_that_runs_set_stand_beside_those_of_their_data(tmp_path, tiny):
    front_end = FrontEnd().model_dump()
    stats = {"mean": -4.0, "std": 3.0, "mean_error": 0.0, "std_error": 0.0, "clips": 2, "of": 2, "front_end": front_end}
    (tmp_path / "soundscapes").mkdir()
    statistics = tmp_path / "soundscapes" / "norm-a.json"
    write_record(statistics, stats | {"module": None})
    runs = []
    for name, difference in {"one": {}, "two": {}, "three": {"front_end": {"hop_ms": 20}}}.items():
        config = tiny(experiment=name, norm={"mean": -4.5, "std": 5}, **difference)
        runs.append(tmp_path / f"{name}.yaml")
        runs[-1].write_text(yaml.safe_dump(config.model_dump(mode="json")))
    norms([statistics, *runs], tmp_path / "norms.csv")
    table = pd.read_csv(tmp_path / "norms.csv").set_index("source")
    assert list(table.index) == ["this data", "`norm` of one, two", "`norm` of three"]
    assert table.loc["`norm` of one, two", ["mean", "std", "mean_difference", "std_difference"]].tolist() == [
        -4.5,
        5,
        -0.5,
        2,
    ]
    assert table.loc["`norm` of three", ["mean_difference", "clips"]].isna().all()
    norms(runs[:1], tmp_path / "norms.csv")
    assert pd.read_csv(tmp_path / "norms.csv")["source"].tolist() == ["`norm` of one"]


# ---------------------------------------------------------------------------------------------
# Evaluations that belong together
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(tmp_path):
    """`metrics.csv` of two experiments with two seeds."""
    runs = [(name, seed) for name in ("ast", "elastic") for seed in (0, 1)]
    return [write_evaluation(tmp_path / "runs" / n / f"seed{s}", n, s) for n, s in runs]


def test_all_metrics_are_joined_as_they_are(evaluated, tmp_path):
    metrics(evaluated, tmp_path / "metrics.csv")
    lines = [file.read_text().splitlines() for file in evaluated]
    joined = [lines[0][0], *(row for rows in lines for row in rows[1:])]
    assert (tmp_path / "metrics.csv").read_text().splitlines() == joined
    record = read_record(tmp_path / "metrics.json", "")
    assert sorted(record["predictions"]) == ["ast/seed0", "ast/seed1", "elastic/seed0", "elastic/seed1"]
    assert list(record["pieces"]) == [str(file.with_name("evaluation.json")) for file in evaluated]
    assert len(read_metrics(tmp_path / "metrics.csv", "s")) == sum(map(len, lines)) - 4


def test_no_runs_are_a_table_without_rows(tmp_path):
    metrics([], tmp_path / "metrics.csv")
    assert tuple(read_metrics(tmp_path / "metrics.csv", "s")) == METRICS


def change(column, value, rows=slice(0, 1)):
    def edit(table):
        table = table.astype({column: object})
        table.iloc[rows, table.columns.get_loc(column)] = value
        return table

    return edit


EDITS = {
    "above 1": (change("value", 9.7), ["line 2", "value", 9.7]),
    "below 0": (change("value", -0.4), ["line 2", "value", -0.4]),
    "a text": (change("value", "high", slice(3, 4)), ["line 5", "value", "'high'"]),
    "infinite x": (change("x", "inf"), ["line 2", "x"]),
    "no seed": (change("seed", ""), ["line 2", "seed"]),
    "half a clip": (change("n", 50.5), ["line 2", "n", 50.5]),
    "other clips at a point": (change("n", 49, slice(4, 5)), ["n", "length"]),
    "contradicting rows": (lambda t: pd.concat([t, t[:1].assign(value=0.1)]), ["line 20", "line 2", "length", "mAP"]),
    "a row twice": (lambda t: pd.concat([t, t[:1]]), ["line 20", "line 2"]),
    "a missing row": (lambda t: t.drop(index=4), ["'length'", "AUC", "x = 256"]),
    "a missing point": (
        lambda t: t[(t["evaluation"] != "grid") | (t["compression"] != 2) | (t["x"] != 64)],
        ["'grid'"],
    ),
    "a missing evaluation": (lambda t: t[t["evaluation"] != "grid"], ["'grid'", "mAP"]),
    "another evaluation": (lambda t: t[:6].assign(evaluation="hops"), ["'hops'"]),
    "another seed": (change("seed", 1, slice(None)), ["seed", 1, 0, "evaluation.json"]),
    "another experiment": (change("experiment", "ast", slice(None)), ["experiment", "'ast'", "'elastic'"]),
    "another suite": (change("suite", "t", slice(None)), ["suite", "'t'", "'s'"]),
    "a missing column": (lambda t: t.drop(columns="n"), ["n"]),
}


@pytest.mark.parametrize("case", EDITS)
def test_impossible_and_incomplete_metrics_are_refused(tmp_path, case):
    """Although the record fits the file."""
    edit, named = EDITS[case]
    file = write_evaluation(tmp_path / "run", "elastic", 0, edit(evaluation_table("elastic", 0)))
    with complains(DataError, file, *named):
        metrics([file], tmp_path / "metrics.csv")
    assert not (tmp_path / "metrics.csv").exists()


def test_accuracy_is_never_nan_and_map_may_be(tmp_path):
    table = evaluation_table("elastic", 0)
    table.loc[table["metric"] == "mAP", "value"] = np.nan
    metrics([write_evaluation(tmp_path / "a", "elastic", 0, table)], tmp_path / "metrics.csv")
    assert read_metrics(tmp_path / "metrics.csv", "s")["value"].isna().sum() == 6
    table["metric"] = table["metric"].replace("mAP", "accuracy")
    file = write_evaluation(tmp_path / "b", "elastic", 0, table, kind="single")
    with complains(DataError, file, "value", "line 2"):
        metrics([file], tmp_path / "metrics.csv")


@pytest.mark.parametrize("name", ["metrics.csv", "evaluation.json"])
def test_an_edited_file_or_another_runs_file_in_its_place_is_refused(evaluated, tmp_path, name):
    file, other = (run.with_name(name) for run in evaluated[:2])
    before = file.read_bytes()
    file.write_bytes(before.replace(b"0.4", b"0.5").replace(b'"toy"', b'"foo"'))
    with complains(DataError, file):
        metrics(evaluated, tmp_path / "metrics.csv")
    file.write_bytes(other.read_bytes())
    with complains(DataError, evaluated[0].parent):
        metrics(evaluated, tmp_path / "metrics.csv")
    file.unlink()
    with complains(DataError, file):
        metrics(evaluated, tmp_path / "metrics.csv")
    file.write_bytes(before)
    metrics(evaluated, tmp_path / "metrics.csv")


def test_a_copied_folder_is_refused(evaluated, tmp_path):
    shutil.rmtree(evaluated[1].parent)
    shutil.copytree(evaluated[0].parent, evaluated[1].parent)
    sources = [file.with_name("evaluation.json") for file in evaluated[:2]]
    with complains(DataError, *sources, "ast/seed0"):
        metrics(evaluated, tmp_path / "metrics.csv")


def test_a_file_given_twice_is_refused(evaluated, tmp_path):
    with complains(DataError, evaluated[0]):
        metrics([*evaluated, evaluated[0]], tmp_path / "metrics.csv")


def test_two_suites_and_two_versions_of_the_data_are_refused(evaluated, tmp_path):
    other = {"suite": "t", "data_sha256": "e" * 64}
    for key, value in other.items():
        table = evaluation_table("third", 0)
        table = table.assign(suite=value) if key == "suite" else table
        file = write_evaluation(tmp_path / "runs" / "third" / key, "third", 0, table, **{key: value})
        sources = [path.with_name("evaluation.json") for path in (evaluated[0], file)]
        with complains(DataError, *sources, key):
            metrics([*evaluated, file], tmp_path / "metrics.csv")


def test_other_datasets_have_other_data(evaluated, tmp_path):
    table = evaluation_table("third", 0).assign(dataset="other")
    file = write_evaluation(tmp_path / "third", "third", 0, table, dataset="other", data_sha256="e" * 64)
    metrics([*evaluated, file], tmp_path / "metrics.csv")


def test_the_same_weights_under_two_names_are_a_warning(evaluated, tmp_path, caplog):
    file = write_evaluation(tmp_path / "third", "third", 0)
    sums = read_record(evaluated[0].with_name("run.json"), "")["files"]
    weights = {"weights_sha256": sums["model.safetensors"], "model_sha256": sums["model.json"]}
    write_evaluation(tmp_path / "third", "third", 0, **weights)
    rewrite_record(file.with_name("run.json"), files=sums)
    metrics([*evaluated, file], tmp_path / "metrics.csv")
    assert_names(
        caplog.text, evaluated[0].with_name("evaluation.json"), file.with_name("evaluation.json"), "third/seed0"
    )


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_an_evaluation_of_other_weights_than_those_of_the_run_is_refused_or_left_out(evaluated, tmp_path, name, caplog):
    run = evaluated[3].with_name("run.json")
    files = read_record(run, "")["files"]
    rewrite_record(run, files=files | {name: "f" * 64})
    with complains(DataError, run, evaluated[3].with_name("evaluation.json"), "f" * 16):
        metrics(evaluated, tmp_path / "metrics.csv")
    metrics(evaluated, tmp_path / "metrics.csv", partial=True)
    assert_names(caplog.text, run)
    table = read_metrics(tmp_path / "metrics.csv", "s")
    assert set(zip(table["experiment"], table["seed"], strict=True)) == {("ast", 0), ("ast", 1), ("elastic", 0)}


def test_a_damaged_record_of_a_run_is_refused(evaluated, tmp_path):
    run = evaluated[0].with_name("run.json")
    run.write_text(run.read_text().replace('"seed": 0', '"seed": 2'))
    for out in ("metrics", "runs"):
        with complains(DataError, run):
            (metrics if out == "metrics" else runs)(evaluated if out == "metrics" else [run], tmp_path / f"{out}.csv")


def test_notes_of_evaluations_are_kept(evaluated, tmp_path):
    write_evaluation(evaluated[0].parent, "ast", 0, notes=["names of classes are not known"])
    metrics(evaluated, tmp_path / "metrics.csv")
    assert read_record(tmp_path / "metrics.json", "")["notes"] == {"ast/seed0": ["names of classes are not known"]}


# ---------------------------------------------------------------------------------------------
# Tables of one's own
# ---------------------------------------------------------------------------------------------


def test_an_edited_table_is_refused_until_it_is_adopted(evaluated, tmp_path, caplog):
    path = tmp_path / "metrics.csv"
    metrics(evaluated, path)
    path.write_text(path.read_text().replace("0.4", "0.5"))
    with complains(DataError, path, f"elasticast adopt {path}"):
        read_metrics(path, "s")
    adopt([path])
    assert (read_metrics(path, "s")["value"] > 0.5).any()
    assert_names(caplog.text, path)


def test_more_clips_than_were_listed_are_refused(evaluated, tmp_path):
    path = tmp_path / "metrics.csv"
    metrics(evaluated, path)
    table = pd.read_csv(path)
    table.assign(listed=table["n"] - 1).to_csv(path, index=False)
    adopt([path])
    with complains(DataError, path, "line 2", "n", "listed"):
        read_metrics(path, "s")


WRONG = {
    "empty": (lambda text: "", []),
    "a longer line": (lambda text: text.replace("events,", "events,,", 1), ["line 2"]),
    "a shorter line": (lambda text: text.replace(",50\n", "\n", 1), ["line 2"]),
    "two columns of a name": (lambda text: text.replace("task", "seed", 1), ["task"]),
    "a second header": (lambda text: text + text.splitlines()[0] + "\n", ["line 74", "seed"]),
    "no text": (lambda text: text.replace("events", "\udcff", 1), []),
    "an open quote": (lambda text: text.replace("events", '"events', 1), []),
}


@pytest.mark.parametrize("case", WRONG)
def test_own_tables_that_cannot_be_read_are_one_error(evaluated, tmp_path, case):
    path, (change_text, named) = tmp_path / "metrics.csv", WRONG[case]
    metrics(evaluated, path)
    path.write_bytes(change_text(path.read_text()).encode(errors="surrogateescape"))
    adopt([path])
    with complains(DataError, path, *named):
        read_metrics(path, "s")


def test_own_tables_may_have_further_columns_and_other_line_ends(evaluated, tmp_path):
    path = tmp_path / "metrics.csv"
    metrics(evaluated, path)
    expected = read_metrics(path, "s")
    path.write_bytes("".join(f"{line},more\r\n" for line in path.read_text().splitlines()).encode())
    adopt([path])
    pd.testing.assert_frame_equal(read_metrics(path, "s")[list(expected)], expected)


def test_intervals_and_metrics_of_different_evaluations_are_refused(evaluated, tmp_path):
    path, other = tmp_path / "metrics.csv", tmp_path / "intervals.csv"
    metrics(evaluated, path)
    predictions = read_record(tmp_path / "metrics.json", "")["predictions"]
    rows = [["s", "ast", "length", "max_frames", 64.0, "mAP", 0.4, 0.3, 0.5, 2, 50]]
    write_table(other, pd.DataFrame(rows, columns=list(INTERVALS)), {"predictions": predictions})
    assert len(read_intervals(other, path)) == 1
    write_table(other, pd.DataFrame(rows, columns=list(INTERVALS)), {"predictions": {**predictions, "ast/seed1": "f"}})
    with complains(DataError, path, other, "ast/seed1"):
        read_intervals(other, path)
    write_table(other, pd.DataFrame(rows, columns=list(INTERVALS)), {"predictions": {"foreign/seed0": "f"}})
    with complains(DataError, path, other, "foreign/seed0", "ast/seed0"):
        read_intervals(other, path)


@pytest.mark.parametrize(
    ("column", "value"), [("value", 1.2), ("low", -0.1), ("low", 0.6), ("seeds", 0), ("clips", "many"), ("x", "")]
)
def test_impossible_intervals_are_refused(tmp_path, column, value):
    row = dict(zip(INTERVALS, ["s", "ast", "length", "max_frames", 64.0, "mAP", 0.4, 0.3, 0.5, 2, 50], strict=True))
    write_table(tmp_path / "intervals.csv", pd.DataFrame([row | {column: value}]), {})
    with complains(DataError, tmp_path / "intervals.csv", "line 2", column):
        read_intervals(tmp_path / "intervals.csv")


@pytest.mark.parametrize(
    ("column", "value"), [("difference", 1.2), ("low", 0.6), ("p", -0.1), ("p_corrected", "small"), ("comparisons", 0)]
)
def test_impossible_pairs_are_refused(tmp_path, column, value):
    row = dict(zip(PAIRS, ["length", 64.0, "mAP", "elastic", "ast", 0.1, 0.05, 0.2, 0.01, 0.02, 3], strict=True))
    write_table(tmp_path / "pairs.csv", pd.DataFrame([row | {column: value}]), {})
    with complains(DataError, tmp_path / "pairs.csv", "line 2", column):
        read_pairs(tmp_path / "pairs.csv")
