"""The archive of a suite: complete, verified, free of paths of this machine, and the same after unpacking."""

import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from elasticast.archive.contents import TABLES, contents
from elasticast.archive.croissant import croissant
from elasticast.archive.paths import check_paths
from elasticast.archive.write import SUMS, archive
from elasticast.checksums import file_sha256, read_record, with_checksum, write_record
from elasticast.config.dataset import Soundscapes
from elasticast.config.load_suite import load_resolved_suite, load_suite
from elasticast.errors import DataError
from elasticast.evaluation.records import KEYS, write_table
from elasticast.published.layout import TABLES as PUBLISHED
from tests.unit.reporting.toy_suite import EVALUATIONS, experiments

VALIDATORS = os.environ.get("ELASTICAST_VALIDATORS")
ROOT = Path(__file__).parents[3]
RUN = "toy/runs/elastic/seed1"


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Folder with the results of a suite, relative as in a project, and a Git checkout with its code."""
    monkeypatch.chdir(tmp_path)
    # the weights of these runs cannot be loaded
    monkeypatch.setattr("elasticast.archive.write.run_card", lambda run, **_: f"# Card of {run.parent.name}\n")
    write_suite(Path("config"))
    suite = load_suite("toy", Path("config"))
    results = Path("results")
    for name in TABLES:
        (results / "toy/summary").mkdir(parents=True, exist_ok=True)
        write_table(results / f"toy/summary/{name}.csv", pd.DataFrame({"a": [1]}), {})
    settings = yaml.safe_dump(suite.model_dump(mode="json"), sort_keys=False)
    (results / "toy/summary/suite.yaml").write_text(with_checksum(settings))
    (results / "toy/index.html").write_text("<h1>Toy</h1>")
    for name in suite.experiments:
        for seed in suite.seeds:
            write_run(results / f"toy/runs/{name}/seed{seed}", name, seed)
    write_data(results / "data/toy")
    Path("paper_figures/toy").mkdir(parents=True)
    Path("paper_figures/toy/table1.csv").write_text("a\n1\n")
    make_checkout(Path("code"))
    return load_resolved_suite(results / "toy/summary/suite.yaml"), results


def write_suite(config: Path) -> None:
    (config / "suites").mkdir(parents=True)
    (config / "datasets").mkdir()
    defaults = {"train": {"steps": 1, "batch": {"clips": 2}}}
    suite = {"title": "Toy", "seeds": [0, 1], "defaults": defaults, "experiments": experiments()}
    (config / "suites/toy.yaml").write_text(yaml.safe_dump({**suite, "evaluations": EVALUATIONS}, sort_keys=False))
    (config / "datasets/toy.yaml").write_text("source: soundscapes\nclips: {train: 2, test: 2}\n")


def write_run(folder: Path, experiment: str, seed: int) -> None:
    (folder / "history").mkdir(parents=True)
    for name in ("config.yaml", "sweeps.yaml", "model.json", "model.safetensors", "metrics.csv", "predictions.h5"):
        (folder / name).write_text(f"{name} of {experiment}, {seed}\n")
    (folder / "history/history.csv").write_text("step,loss\n1,0.5\n")
    (folder / f"history/events.out.tfevents.1.{platform.node()}").write_text("host")
    about = {"folder": f"toy/runs/{experiment}/seed{seed}", "experiment": experiment, "seed": seed}
    files = [folder / "model.json", folder / "model.safetensors"]
    write_record(folder / "run.json", {**about, "git_commit": "0123abc"}, files)
    evaluated = [folder / "metrics.csv", folder / "predictions.h5"]
    write_record(folder / "evaluation.json", {**dict.fromkeys(KEYS), **about}, evaluated)


def write_data(folder: Path) -> None:
    folder.mkdir(parents=True)
    clips = {"id": ["a", "b"], "split": ["train", "test"], "path": ["results/a.wav", "results/b.wav"]}
    clips |= {"duration": [1.0, 2.5], "sample_rate": [16000, 16000], "status": ["ok", "ok"], "reason": ["", ""]}
    pd.DataFrame({**clips, "events": [["x", "y"], []], "scene": [["s"], ["t"]]}).to_parquet(folder / "manifest.parquet")
    for name in ("summary.csv", "classes.json", "ids.txt"):
        (folder / name).write_text(f"{name}\n")
    files = [folder / name for name in ("manifest.parquet", "summary.csv", "classes.json", "ids.txt")]
    write_record(folder / "summary.json", {"sha256": "0"}, files)
    (folder / "norm-0.json").write_text("{}")


def make_checkout(code: Path) -> None:
    code.mkdir()
    (code / "CITATION.cff").write_text((ROOT / "CITATION.cff").read_text())
    (code / "Snakefile").write_text("rule all:\n")
    (code / "run").write_text("#!/bin/sh\n")
    (code / "run").chmod(0o755)
    for place in ("elasticast/__init__.py", "config/config.yaml"):
        (code / place).parent.mkdir()
        (code / place).write_text("\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(code), *command], check=True)


def unpacked(finished, tmp_path: Path, **options) -> Path:
    """The archive, unpacked in another folder."""
    pytest.importorskip("rocrate")
    suite, results = finished
    out = Path("elasticast-toy-1.zip")
    archive(suite, results, Path("paper_figures/toy"), out, checkout=Path("code"), **options)
    elsewhere = tmp_path / "elsewhere"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", out, elsewhere], check=True)
    return elsewhere / out.stem


# ---------------------------------------------------------------------------------------------
# What belongs into it
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [False, True])
def test_it_holds_what_others_need_and_weights_if_asked(finished, weights):
    suite, results = finished
    files = contents(suite, results, Path("paper_figures/toy"), weights=weights)
    runs = {f"results/toy/runs/{name}/seed{seed}" for name in suite.experiments for seed in suite.seeds}
    for name in ("config.yaml", "run.json", "evaluation.json", "metrics.csv", "predictions.h5", "history/history.csv"):
        assert {f"{run}/{name}" for run in runs} <= set(files)
    assert {"results/toy/summary/metrics.csv", "results/toy/index.html", "paper_figures/toy/table1.csv"} <= set(files)
    assert {"results/data/toy/manifest.parquet", "results/data/toy/summary.json"} <= set(files)
    assert sum(name.endswith("model.safetensors") for name in files) == weights * len(runs)
    assert not [name for name in files if "events.out" in name]  # their names hold the host


@pytest.mark.parametrize("weights", [False, True])
def test_weights_come_with_model_cards(finished, tmp_path, weights):
    folder = unpacked(finished, tmp_path, weights=weights)
    cards = {path.parents[1].name: path.read_text() for path in folder.glob("results/toy/runs/*/*/README.md")}
    assert cards == ({name: f"# Card of {name}\n" for name in finished[0].experiments} if weights else {})
    assert ("README.md" in (folder / "ARCHIVE.md").read_text()) == weights


@pytest.mark.parametrize(
    "file",
    [f"{RUN}/metrics.csv", f"{RUN}/predictions.h5", f"{RUN}/run.json", f"{RUN}/model.json", "toy/summary/pairs.csv",
     "data/toy/manifest.parquet"],
)  # fmt: skip
@pytest.mark.parametrize("change", ["edited", "missing"])
def test_what_was_changed_or_is_missing_is_refused(finished, file, change):
    suite, results = finished
    path = results / file
    path.write_bytes(path.read_bytes() + b" ") if change == "edited" else path.unlink()
    if file.endswith("run.json") and change == "edited":
        path.write_text(path.read_text().replace("0123abc", "0123abd"))
    with pytest.raises(DataError) as caught:
        contents(suite, results, Path("paper_figures/toy"), weights=False)
    assert str(path) in str(caught.value)


def test_it_holds_all_tables_that_publishing_needs():
    assert set(PUBLISHED) <= set(TABLES)


def test_without_a_checkout_there_is_no_archive(finished, tmp_path):
    suite, results = finished
    with pytest.raises(DataError) as caught:
        archive(suite, results, Path("paper_figures/toy"), Path("a.zip"), checkout=results)
    assert str(results.absolute()) in str(caught.value)
    assert not Path("a.zip").exists()


# ---------------------------------------------------------------------------------------------
# Nothing of this machine
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        lambda: os.getcwd(),
        lambda: f'"{os.getcwd()}/results"',
        lambda: f'["{sys.executable}"]',
        lambda: f"on {platform.node()}.",
    ],
)
def test_a_path_or_the_host_name_is_refused(finished, words):
    file = Path("notes.json")
    file.write_text(f"some {words()}")
    with pytest.raises(DataError) as caught:
        check_paths({"results/notes.json": file})
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("words", ["results/toy", "a/b", "1/2", "https://w3id.org/ro", "</b>", "4/usr", "and/or"])
def test_other_words_are_allowed(finished, words):
    Path("notes.json").write_text(f'some "{words}" {words}')
    check_paths({"notes.json": Path("notes.json")})


def test_nothing_of_this_machine_is_in_the_archive(finished, tmp_path):
    folder = unpacked(finished, tmp_path, weights=True)
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for word in (str(tmp_path), str(Path.home() / ""), sys.prefix, f" {platform.node()}."):
            assert word.encode() not in content or word == "/root", (path, word)
            assert platform.node() not in path.name.split(".")


# ---------------------------------------------------------------------------------------------
# The same elsewhere
# ---------------------------------------------------------------------------------------------


def test_every_file_has_a_checksum_and_records_verify_elsewhere(finished, tmp_path):
    folder = unpacked(finished, tmp_path, weights=True)
    sums = dict(reversed(line.split("  ", 1)) for line in (folder / SUMS).read_text().splitlines())
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert sums == {place: file_sha256(path) for place, path in files.items() if place != SUMS}
    record = read_record(folder / "results" / RUN / "run.json", "")
    assert file_sha256(folder / "results" / RUN / "model.safetensors") == record["files"]["model.safetensors"]
    suite = load_resolved_suite(folder / "results/toy/summary/suite.yaml")
    assert contents(suite, folder / "results", folder / "paper_figures/toy", weights=True)


def test_equal_contents_are_equal_archives(finished):
    pytest.importorskip("rocrate")
    suite, results = finished
    for name in ("one/toy.zip", "two/toy.zip"):
        archive(suite, results, Path("paper_figures/toy"), Path(name), checkout=Path("code"))
    assert Path("one/toy.zip").read_bytes() == Path("two/toy.zip").read_bytes()
    with zipfile.ZipFile("one/toy.zip") as members:
        modes = {info.filename: info.external_attr >> 16 for info in members.infolist()}
    assert modes["toy/run"] & 0o777 == 0o755


def test_the_crate_describes_files_that_are_there(finished, tmp_path):
    folder = unpacked(finished, tmp_path)
    entities = {
        entity["@id"]: entity for entity in json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    }
    parts = [part["@id"] for part in entities["./"]["hasPart"]]
    files = [place for place in parts if place in entities and "File" in entities[place]["@type"]]
    assert {"Snakefile", "results/toy/summary/metrics.csv", "results/data/toy/croissant.json"} <= set(files)
    for place in files:
        assert file_sha256(folder / place) == entities[place].get("sha256", file_sha256(folder / place))
    authors = yaml.safe_load((ROOT / "CITATION.cff").read_text())["authors"]
    assert [entities[author["@id"]]["name"] for author in entities["./"]["author"]] == [a["name"] for a in authors]


def test_croissant_has_a_field_for_each_task(finished):
    suite, results = finished
    manifest = results / "data/toy/manifest.parquet"
    described = croissant("toy", suite.datasets["toy"], manifest, {"version": "1"})
    (record_set,) = described["recordSet"]
    fields = {field["name"]: field for field in record_set["field"]}
    assert {"id", "split", "duration", "events", "scene"} <= set(fields)
    assert fields["events"]["repeated"]
    assert described["distribution"][0]["sha256"] == file_sha256(manifest)


def test_croissant_says_how_many_labels_a_clip_has(prepared):
    dataset = Soundscapes(source="soundscapes", clips={"train": 1, "test": 1}, seconds=[1, 2], event_times=True)
    (records,) = croissant("sounds", dataset, prepared / "manifest.parquet", {})["recordSet"]
    found = {field["name"]: field["description"] for field in records["field"]}
    several = {task: "any number" in found[task] for task in dataset.tasks}
    assert several == {"events": True, "scene": False, "timed_events": True}


@pytest.mark.skipif(VALIDATORS is None, reason="set ELASTICAST_VALIDATORS, see CONTRIBUTING.md")
def test_the_validators_of_both_formats_find_nothing(finished, tmp_path):
    folder = unpacked(finished, tmp_path)
    script, python = Path(__file__).with_name("validators.py"), f"{VALIDATORS}/bin/python"
    for kind, path in (("rocrate", folder), ("croissant", folder / "results/data/toy/croissant.json")):
        found = subprocess.run([python, script, kind, path], capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout.splitlines()[-1]) == [], found.stdout
