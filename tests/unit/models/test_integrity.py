"""Weights that are damaged, exchanged or not finite are never used."""

import json
import math
import os
import shutil
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from elasticast.checksums import OWN, write_record
from elasticast.data.norm import read_norm
from elasticast.errors import DataError, ElasticASTError
from elasticast.inference.export import export
from elasticast.models.pretrained import load_model
from elasticast.models.weights.sources import read_tensors
from elasticast.training.checkpoint import save_model
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer
from tests.complaints import complains

FILES = ("model.safetensors", "model.json", "run.json")
NOBODY = 65534


@pytest.fixture(scope="module")
def trained(tmp_path_factory, train_clips, norm):
    from tests.conftest import make_config

    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        for name, difference in {"one": {}, "two": {"seed": 1}}.items():
            Trainer(make_config(**difference), RunInputs(train_clips, norm, "data"), out / name).fit()
    return out


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained / "one", tmp_path / "run")
    return tmp_path / "run"


def flip(file: Path, position: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def reseal(file: Path, **changes: object) -> None:
    """Change values of a record, with its checksum."""
    content = {key: value for key, value in json.loads(file.read_text()).items() if key != OWN}
    write_record(file, content | changes, [file.with_name(name) for name in content["files"]])


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_of_a_run_is_used(run, name):
    load_model(run)
    rng = np.random.default_rng(0)
    for _ in range(40):
        position, bit = int(rng.integers((run / name).stat().st_size)), int(rng.integers(8))
        flip(run / name, position, bit)
        with complains(DataError, run / name):
            load_model(run)
        flip(run / name, position, bit)
    load_model(run)


@pytest.mark.parametrize("name", FILES[:2])
def test_no_flipped_bit_of_an_export_is_used(run, tmp_path, name):
    export(run, tmp_path / "out")
    file, rng = tmp_path / "out" / name, np.random.default_rng(0)
    for _ in range(20):
        position, bit = int(rng.integers(file.stat().st_size)), int(rng.integers(8))
        flip(file, position, bit)
        with complains(DataError, file):
            load_model(tmp_path / "out")
        flip(file, position, bit)
    load_model(tmp_path / "out")


@pytest.mark.parametrize("names", [FILES[:1], FILES[1:2], FILES[:2], FILES[2:]])
def test_files_of_another_run_are_not_used(trained, run, names):
    for name in names:
        shutil.copy(trained / "two" / name, run)
    with complains(DataError, run / ("model.safetensors" if names == FILES[:1] else "model.json")):
        load_model(run)


def test_classes_in_another_order_are_not_used(run):
    classes = json.loads((run / "model.json").read_text())["classes"]
    reseal(run / "model.json", classes=classes[::-1])
    with complains(DataError, run / "model.json", "run.json"):
        load_model(run)


def test_a_damaged_run_is_not_exported_and_starts_no_other(run, tmp_path, tiny, train_clips, norm, cpu):
    flip(run / "model.safetensors", 5000)
    with complains(DataError, run / "model.safetensors"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    config = tiny(model={"init": str(run)})
    with complains(DataError, run / "model.safetensors"):
        Trainer(config, RunInputs(train_clips, norm, "data", init=str(run)), tmp_path / "second")


def test_an_export_into_the_folder_of_another_run_is_refused(run, trained):
    with complains(DataError, trained / "two"):
        export(run, trained / "two")


# ---------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_neither_written_nor_used(run, tmp_path, value):
    model = load_model(run)
    torch.nn.init.constant_(model.model.head.bias, value)
    with complains(ElasticASTError, tmp_path / "other" / "model.safetensors", "head.bias"):
        save_model(tmp_path / "other", model.model, model.config, model.norm, model.classes, model.kind)
    assert not (tmp_path / "other").exists()
    save_file(load_file(run / "model.safetensors") | {"head.bias": model.model.head.bias}, run / "model.safetensors")
    reseal(run / "model.json")
    reseal(run / "run.json")
    with complains(DataError, run, "head.bias"):
        load_model(run)


@pytest.mark.parametrize("change", [{"std": 0.0}, {"std": -1.0}, {"mean": 1.0e400}, {"std": float("nan")}])
def test_statistics_that_cannot_normalise_are_not_used(run, tmp_path, change):
    norm = {"mean": -5.0, "std": 4.0, **change}
    finite = all(map(math.isfinite, norm.values()))
    if finite:
        write_record(tmp_path / "norm.json", norm)
    else:
        (tmp_path / "norm.json").write_text(json.dumps(norm))
    with complains(DataError, tmp_path / "norm.json", *(change.values() if finite else ())):
        read_norm(tmp_path / "norm.json")
    if finite:
        reseal(run / "model.json", norm=norm)
        reseal(run / "run.json")
        with complains(DataError, run, *change.values()):
            load_model(run)


def test_a_flipped_bit_in_a_file_of_torch_is_found(tmp_path):
    """`torch.load` does not compare the checksums that the file has."""
    torch.save({"a": torch.rand(1000), "b": torch.rand(1000)}, tmp_path / "weights.pth")
    content = (tmp_path / "weights.pth").read_bytes()
    flip(tmp_path / "weights.pth", content.index(b"data/1") + 1000)
    with complains(DataError, tmp_path / "weights.pth"):
        read_tensors(tmp_path / "weights.pth")
    (tmp_path / "weights.pth").write_bytes(content)
    assert set(read_tensors(tmp_path / "weights.pth")) == {"a", "b"}


# ---------------------------------------------------------------------------------------------
# Permissions
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_permissions_of_the_umask(trained, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        model = load_model(trained / "one")
        save_model(tmp_path / "run", model.model, model.config, model.norm, model.classes, model.kind)
        export(trained / "one", tmp_path / "out")
    finally:
        os.umask(before)
    files = [file for folder in ("run", "out") for file in (tmp_path / folder).iterdir()]
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in files} == dict.fromkeys(
        ("model.safetensors", "model.json", "README.md"), mode
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("private", [*FILES, "folder"])
def test_a_colleague_without_permission_is_told_so(trained, private):
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        shutil.copytree(trained / "one", folder / "run")
        path = folder / "run" if private == "folder" else folder / "run" / private
        path.chmod(0o600)
        os.seteuid(NOBODY)
        try:
            with complains(DataError, path, "Permission denied"):
                load_model(folder / "run")
        finally:
            os.seteuid(0)
    finally:
        shutil.rmtree(folder)
