"""Damaged annotation files: a message, or a dataset of the clips that remain; never a traceback."""

import shutil
from pathlib import Path
from random import Random

import pytest
import yaml

from tests.attacks.forked import elasticast
from tests.attacks.test_files import flip, truncate

PIPELINE = yaml.safe_load((Path(__file__).parents[1] / "mutation/pipeline.yaml").read_text())
DATASETS = {
    "voices": "voxceleb1",
    "events": "audioset",
    "videos": "vggsound",
    "kitchens": "epic_sounds",
    "sounds": "fsd50k",
}
ODD = [
    '"',
    ",",
    "\t",
    "\r",
    "\n",
    "\0",
    "\ufeff",
    "é",
    "\udcff",
    "=1+1",
    "-1",
    "1e9",
    "nan",
    "#NAME?",
    " ",
    "",
    "'",
    ";",
]


def odd_text(path: Path, random: Random) -> str:
    """Put an odd piece of text in place of a few characters."""
    data = path.read_bytes()
    place, odd = random.randrange(len(data)), random.choice(ODD)
    path.write_bytes(data[:place] + odd.encode(errors="surrogateescape") + data[place + random.randrange(4) :])
    return f"{odd!r} at {place}"


def lines(path: Path, random: Random) -> str:
    """Repeat, drop or exchange lines."""
    rows = path.read_bytes().splitlines(keepends=True)
    one, other = random.randrange(len(rows)), random.randrange(len(rows))
    how = random.choice(["repeat", "drop", "exchange"])
    if how == "repeat":
        rows.insert(other, rows[one])
    elif how == "drop":
        del rows[one]
    else:
        rows[one], rows[other] = rows[other], rows[one]
    path.write_bytes(b"".join(rows))
    return f"{how} line {one}, {other}"


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Twins of the published datasets, prepared."""
    folder = tmp_path_factory.mktemp("twins")
    for name in DATASETS:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(PIPELINE["datasets"][name]))
        ended = prepare(folder, name)
        assert ended.status == 0, ended.text
    return folder


def prepare(folder: Path, name: str):
    options = ["--dataset", folder / f"{name}.yaml", "--root", folder, "--out", folder / name]
    return elasticast("prepare", *options, log=folder / "log")


@pytest.mark.tries(250)
@pytest.mark.parametrize("harm", [flip, truncate, odd_text, lines])
@pytest.mark.parametrize("name", DATASETS)
def test_a_damaged_annotation_file(name, harm, twins, scratch, tries):
    """an annotation file is damaged: a message, or the clips that are still described"""
    for random in tries:
        scratch.mkdir(exist_ok=True)
        shutil.copytree(twins / name, scratch / name, dirs_exist_ok=True)
        shutil.copy(twins / f"{name}.yaml", scratch)
        files = [p for p in (scratch / name / "audio").rglob("*") if p.suffix in (".csv", ".txt", ".pkl")]
        damage = harm(random.choice(sorted(files)), random)
        ended = prepare(scratch, name)
        if ended.crashed:
            tries.add("traceback", f"{damage}\n{ended.text[-2500:]}")
        else:
            tries.add("error" if ended.status else "prepared")
        shutil.rmtree(scratch)
