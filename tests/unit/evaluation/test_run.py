"""Evaluations from a trained run to its tables: what is recorded, and what happens to damaged files."""

import random
import shutil

import pytest
import yaml
from safetensors.torch import load_file, save_file

from elasticast.checksums import FILES, FOLDER, file_sha256, folder_of, with_checksum
from elasticast.errors import DataError, ElasticASTError
from elasticast.evaluation import run as module
from elasticast.evaluation.intervals import resample, write_tables
from elasticast.evaluation.records import mismatch_with_run, read_evaluation
from elasticast.evaluation.run import evaluate_run
from elasticast.files import read_json
from elasticast.inference.export import export
from elasticast.reporting.collect import metrics, runs
from elasticast.reporting.read_tables import read_intervals, read_metrics, read_pairs
from tests.complaints import complains
from tests.fuzz import tries
from tests.records import rewrite_record
from tests.unit.evaluation.conftest import SWEEPS

pytestmark = pytest.mark.usefixtures("cpu")


@pytest.fixture
def evaluated(trained, prepared, sweeps):
    """Evaluates a run; gives its folder."""

    def run(experiment="run", seed=0, **settings):
        folder = trained(experiment, seed, **settings)
        shutil.copy(sweeps, folder)
        evaluate_run(folder, folder / "sweeps.yaml", prepared, folder)
        return folder

    return run


def test_a_record_names_all_that_an_evaluation_came_from(evaluated, prepared):
    folder = evaluated(seed=3)
    record, run = read_evaluation(folder / "metrics.csv"), read_json(folder / "run.json")
    assert record == read_evaluation(folder / "predictions.h5")
    assert set(record[FILES]) == {"metrics.csv", "predictions.h5"}
    same = ("experiment", "seed", "dataset", "task", "data_sha256", "config_digest")
    assert {key: record[key] for key in same} == {key: run[key] for key in same}
    assert record["weights_sha256"] == file_sha256(folder / "model.safetensors")
    assert record["model_sha256"] == file_sha256(folder / "model.json")
    assert (record["suite"], record["notes"], set(record["evaluations"])) == ("s", [], set(SWEEPS))
    assert record["trained_on"] == read_json(prepared / "summary.json")["sha256"]
    assert mismatch_with_run(folder / "evaluation.json", record, folder / "run.json") is None


def test_scores_of_other_weights_are_on_no_model_card(evaluated, tmp_path):
    folder = evaluated(seed=3)
    export(folder, tmp_path / "out")
    assert "mAP over max_frames" in (tmp_path / "out" / "README.md").read_text()
    tensors = load_file(folder / "model.safetensors")
    save_file({name: 1.01 * tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    for name in ("model.json", "run.json"):  # as if it had been trained again
        rewrite_record(folder / name)
    with complains(DataError, folder / "evaluation.json", folder / "run.json"):
        export(folder, tmp_path / "again")


def test_an_evaluation_that_is_interrupted_while_writing_leaves_nothing_valid(evaluated, prepared, monkeypatch):
    folder = evaluated()

    def killed(*_):
        raise KeyboardInterrupt

    for name in ("write_text", "write_record"):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, killed)
            with pytest.raises(KeyboardInterrupt):
                evaluate_run(folder, folder / "sweeps.yaml", prepared, folder)
        for file in ("metrics.csv", "predictions.h5"):
            with complains(DataError, folder / "evaluation.json"):
                read_evaluation(folder / file)
        evaluate_run(folder, folder / "sweeps.yaml", prepared, folder)


@pytest.mark.parametrize("name", ["summary.json", "classes.json", "test.h5"])
def test_damaged_data_stop_an_evaluation_before_it_begins(evaluated, prepared, tmp_path, monkeypatch, name):
    folder, data = evaluated(), tmp_path / "data"
    shutil.copytree(prepared, data)
    monkeypatch.setattr(module, "evaluate", None)
    (data / name).unlink()
    with complains(DataError, data / name):
        evaluate_run(folder, folder / "sweeps.yaml", data, tmp_path / "out")


def test_changed_weights_can_be_evaluated_in_the_name_of_their_run(evaluated, trained, prepared, tmp_path):
    folder = evaluated()
    changed = trained("run", 0, view={"max_frames": 192}).rename(tmp_path / "changed")
    (changed / "run.json").unlink()
    folder = evaluated()
    evaluate_run(changed, folder / "sweeps.yaml", prepared, folder)
    with complains(DataError, folder / "run.json", folder / "evaluation.json"):
        metrics([folder / "metrics.csv"], tmp_path / "metrics.csv")
    evaluate_run(changed, folder / "sweeps.yaml", prepared, folder, changed_from=folder)
    metrics([folder / "metrics.csv"], tmp_path / "metrics.csv")


def test_seeds_that_are_copies_are_not_resampled(evaluated, tmp_path):
    one = evaluated()
    other = tmp_path / "copy"
    shutil.copytree(one, other)
    with complains(DataError, one / "evaluation.json", other / "evaluation.json", "run/seed0"):
        resample([one / "predictions.h5", other / "predictions.h5"], tmp_path / "out.h5", 10)
    with complains(DataError, one / "predictions.h5"):
        resample([one / "predictions.h5"] * 2, tmp_path / "out.h5", 10)


def test_resampled_predictions_of_one_run_in_two_files_are_refused(evaluated, tmp_path):
    predictions = evaluated() / "predictions.h5"
    for name in "ab":
        resample([predictions], tmp_path / f"{name}.h5", 10)
    with complains(DataError, tmp_path / "b.json", "run/seed0"):
        write_tables([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "i.csv", tmp_path / "p.csv")


# --- random flips ----------------------------------------------------------------------------

TRIES = tries(40)
CHAIN = {
    "metrics.csv": "metrics",
    "evaluation.json": "metrics",
    "run.json": "metrics",
    "predictions.h5": "resample",
    "resampled.h5": "intervals",
    "resampled.json": "intervals",
    "sweeps.yaml": "evaluate",
    "metrics table": "figure",
    "metrics record": "figure",
    "intervals table": "figure",
    "pairs record": "figure",
}
"""What is damaged, and the first job that reads it."""


class Chain:
    """The jobs from an evaluation to the tables of the figures, of one ElasticAST and one AST."""

    def __init__(self, folders, data, out):
        self.folders, self.data, self.out = folders, data, out
        self.summary = {name: out / f"{name}.csv" for name in ("metrics", "runs", "intervals", "pairs")}

    def file(self, name):
        table, _, kind = name.partition(" ")
        if kind:
            return self.summary[table].with_suffix(".csv" if kind == "table" else ".json")
        return self.folders[0] / name

    def evaluate(self):
        folder = self.folders[0]
        evaluate_run(folder, folder / "sweeps.yaml", self.data, folder)
        self.metrics()

    def metrics(self):
        metrics([folder / "metrics.csv" for folder in self.folders], self.summary["metrics"])
        runs([folder / "run.json" for folder in self.folders], self.summary["runs"])
        self.resample()

    def resample(self):
        for folder in self.folders:
            resample([folder / "predictions.h5"], folder / "resampled.h5", 5)
        self.intervals()

    def intervals(self):
        files = [folder / "resampled.h5" for folder in self.folders]
        write_tables(files, self.summary["intervals"], self.summary["pairs"])
        self.figure()

    def figure(self):
        path = self.summary["metrics"]
        tables = [read_metrics(path, "s"), read_intervals(self.summary["intervals"], path)]
        self.result = [table.to_csv() for table in (*tables, read_pairs(self.summary["pairs"], path))]


@pytest.fixture
def chain(evaluated, prepared, tmp_path):
    made = Chain([evaluated("elastic"), evaluated("ast", model={"kind": "ast"})], prepared, tmp_path)
    made.metrics()
    return made


@pytest.mark.parametrize("name", CHAIN)
def test_a_flipped_bit_is_an_error_or_changes_nothing(chain, name):
    rng, file, job = random.Random(name), chain.file(name), getattr(chain, CHAIN[name])
    content, expected, errors = file.read_bytes(), chain.result, []
    count = TRIES // 4 if name == "sweeps.yaml" else TRIES
    for _ in range(count):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        chain.result = None
        try:
            job()
        except ElasticASTError as error:
            errors.append(str(error))
        else:
            assert chain.result == expected
    assert len(errors) > count // 2
    assert all(any(named in error for named in (file.stem, "evaluation.json")) for error in errors)


@pytest.mark.parametrize("name", [name for name in CHAIN if name.endswith(("csv", "h5", "table"))])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_cut_file_is_an_error(chain, name, keep):
    file = chain.file(name)
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    with complains(DataError, file):
        getattr(chain, CHAIN[name])()


def test_the_other_runs_predictions_are_refused(chain):
    shutil.copy(chain.folders[1] / "predictions.h5", chain.folders[0])
    with complains(DataError, chain.folders[0] / "predictions.h5"):
        chain.resample()


@pytest.mark.parametrize("name", ["evaluation.json", "run.json", "resampled.json"])
def test_all_files_of_another_run_together_are_refused(chain, prepared, name, tmp_path):
    folder, other = chain.folders
    shutil.copytree(other, folder, dirs_exist_ok=True)
    with complains(DataError, folder / name, folder_of(folder / name), folder_of(other / name)):
        if name == "evaluation.json":
            metrics([folder / "metrics.csv"], tmp_path / "m.csv")
        elif name == "run.json":
            evaluate_run(folder, folder / "sweeps.yaml", prepared, folder)
        else:
            write_tables([folder / "resampled.h5"], tmp_path / "i.csv", tmp_path / "p.csv")


def test_sweeps_of_another_run_are_refused(chain, prepared):
    folder, other = chain.folders
    settings = {FOLDER: folder_of(other / "sweeps.yaml"), "suite": "s", "evaluations": SWEEPS}
    for run in (folder, other):
        (run / "sweeps.yaml").write_text(with_checksum(yaml.safe_dump(settings)))
    evaluate_run(other, other / "sweeps.yaml", prepared, other)
    with complains(DataError, folder / "sweeps.yaml", settings[FOLDER], folder_of(folder / "sweeps.yaml")):
        evaluate_run(folder, folder / "sweeps.yaml", prepared, folder)


def test_tables_of_an_earlier_evaluation_are_refused(chain):
    predictions = read_json(chain.summary["intervals"].with_suffix(".json"))["predictions"]
    rewrite_record(chain.summary["intervals"].with_suffix(".json"), predictions=predictions | {"ast/seed0": "f" * 64})
    with complains(DataError, chain.summary["intervals"], chain.summary["metrics"], "ast/seed0"):
        chain.figure()
