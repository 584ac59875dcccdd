import hashlib
import io
import logging
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import yaml

from elasticast.config.dataset import Esc50
from elasticast.data.annotations import check_annotations
from elasticast.data.datasets import esc50
from elasticast.data.download import read_sums
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import assert_names, complains
from tests.unit.data.test_download import serving, sums_of

HEADER = "filename,fold,target,category,esc10,src_file,take"
ESC10 = {"dog", "rooster", "rain", "sea_waves", "crackling_fire", "crying_baby", "sneezing", "clock_tick"}
ESC10 |= {"helicopter", "chainsaw"}
# two takes of one recording, a recording used for two classes in two folds, and a class of each fold
NAMES = ["1-17-A-0", "1-17-B-0", "2-134049-A-1", "3-134049-A-6", "4-5-A-49", "5-6-A-14", "5-6-B-14"]


def config(**others) -> Esc50:
    return Esc50(source="esc50", **others)


def line(name):
    fold, recording, take, target = name.split("-")
    category = esc50.CLASSES[int(target)]
    return f"{name}.wav,{fold},{target},{category},{category in ESC10},{recording},{take}"


def table(names):
    return "".join(f"{text}\n" for text in (HEADER, *map(line, names)))


def wav(seed):
    buffer = io.BytesIO()
    wave = (np.random.default_rng(seed).standard_normal(4410) * 2000).astype(np.int16)
    sf.write(buffer, wave, 44100, format="WAV")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def published():
    """A small dataset in the layout of the archive, without its outer folder."""
    return {"meta/esc50.csv": table(NAMES).encode()} | {f"audio/{name}.wav": wav(i) for i, name in enumerate(NAMES)}


@pytest.fixture
def data_root(tmp_path, published):
    for name, content in published.items():
        path = tmp_path / "data" / "esc50" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "data"


def annotate(root, **others):
    return esc50.annotate(config(**others), root, root / "out")


# ---------------------------------------------------------------------------------------------
# As published
# ---------------------------------------------------------------------------------------------


def test_the_published_table_is_read_whole(tmp_path):
    # The file names contain every column but the class names. The checksum proves that the result equals the published
    # table byte for byte.
    names = sorted(re.sub(r"audio/(.*)\.wav", r"\1", name) for name in read_sums(esc50.SUMS) if "audio" in name)
    path = tmp_path / "esc50.csv"
    path.write_text(table(sorted(names, key=lambda name: f"{name}.wav")))
    assert hashlib.md5(path.read_bytes()).hexdigest() == read_sums(esc50.SUMS)["meta/esc50.csv"]
    clips = esc50.read_table(path)
    assert len(clips) == clips["id"].nunique() == 2000
    assert clips["fold"].value_counts().to_dict() == dict.fromkeys(esc50.FOLDS, 400)
    assert clips["sound"].str[0].value_counts().to_dict() == dict.fromkeys(esc50.CLASSES, 40)
    folds = clips.groupby("group")["fold"].nunique()
    assert sorted(folds.index[folds > 1]) == ["131943", "134049", "209698", "234879"]


def test_clips_classes_folds_and_recordings(data_root):
    notes = annotate(data_root)
    assert notes.classes == {"sound": list(esc50.CLASSES)}
    assert notes.published == {"train": 1600, "test": 400}
    rows = notes.clips.set_index("id")
    assert list(rows.index) == NAMES
    assert rows["split"].tolist() == ["train"] * 5 + ["test"] * 2
    assert rows["group"].tolist() == ["17", "17", "134049", "134049", "5", "6", "6"]
    assert rows["sound"].tolist() == [["dog"], ["dog"], ["rooster"], ["hen"], ["hand_saw"], *[["chirping_birds"]] * 2]
    assert (rows["reason"] == "").all()
    for name, path in rows["path"].items():
        assert path == str(data_root / "esc50" / "audio" / f"{name}.wav")


@pytest.mark.parametrize(
    ("folds", "counts"),
    [
        ({"test_fold": 1}, {"train": 1600, "test": 400}),
        ({"test_fold": 1, "dev_fold": 2}, {"train": 1200, "dev": 400, "test": 400}),
        ({"test_fold": 5, "dev_fold": 3}, {"train": 1200, "dev": 400, "test": 400}),
    ],
)
def test_folds_are_chosen_by_the_settings(data_root, folds, counts):
    notes = annotate(data_root, **folds)
    chosen = {str(fold): split.removesuffix("_fold") for split, fold in folds.items()}
    assert notes.clips["split"].tolist() == [chosen.get(name[0], "train") for name in NAMES]
    assert notes.published == counts


def test_a_share_for_dev_keeps_recordings_whole(data_root):
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        clips = check_annotations(annotate(data_root).clips, Esc50.tasks, share).set_index("id")
        assert clips.loc["1-17-A-0", "split"] == clips.loc["1-17-B-0", "split"]
        assert (clips.loc[["5-6-A-14", "5-6-B-14"], "split"] == "test").all()


@pytest.mark.parametrize("change", ["bom", "crlf", "no last newline", "further column", "order of columns"])
def test_a_table_saved_otherwise_is_read_alike(data_root, change):
    path, expected = data_root / "esc50/meta/esc50.csv", annotate(data_root).clips
    frame = pd.read_csv(path, dtype=str)
    changed = {
        "bom": "\ufeff" + table(NAMES),
        "crlf": table(NAMES).replace("\n", "\r\n"),
        "no last newline": table(NAMES).rstrip("\n"),
        "further column": frame.assign(note="x, y").to_csv(index=False),
        "order of columns": frame[frame.columns[::-1]].to_csv(index=False),
    }
    path.write_bytes(changed[change].encode())
    pd.testing.assert_frame_equal(annotate(data_root).clips, expected)


# ---------------------------------------------------------------------------------------------
# Missing and damaged
# ---------------------------------------------------------------------------------------------


def test_a_missing_clip_is_a_row_with_a_reason(data_root):
    (data_root / "esc50/audio/1-17-B-0.wav").unlink()
    rows = annotate(data_root).clips.set_index("id")
    assert rows.loc["1-17-B-0", ["path", "reason"]].tolist() == ["", "missing"]
    assert rows["reason"].tolist().count("") == len(NAMES) - 1


def test_other_formats_and_two_files_for_one_clip(data_root, caplog):
    audio = data_root / "esc50/audio"
    (audio / "1-17-A-0.wav").rename(audio / "1-17-A-0.flac")
    (audio / "4-5-A-49.ogg").write_bytes(b"x")
    (audio / "._4-5-A-49.wav").write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        rows = annotate(data_root).clips.set_index("id")
    assert rows.loc["1-17-A-0", "path"].endswith("1-17-A-0.flac")
    assert rows.loc["4-5-A-49", "path"] == str(audio / "4-5-A-49.wav")
    assert_names(caplog.text, 1, audio / "4-5-A-49.wav")


GOOD = line("2-134049-A-1")


@pytest.mark.parametrize(
    "bad",
    [
        GOOD.replace(",2,1,", ",3,1,"),  # another fold
        GOOD.replace(",2,1,", ",2,6,"),  # another target
        GOOD.replace("rooster", "cockerel"),  # not a class
        GOOD.replace("rooster", "hen"),
        GOOD.replace(",134049,", ",1.34049E5,"),
        GOOD.replace("2-134049-A-1.wav,2,1", "6-134049-A-1.wav,6,1"),  # there are five folds
        GOOD.replace("A-1.wav,2,1,", "A-50.wav,2,50,"),  # and fifty classes
        GOOD.replace("2-134049", "../2-134049"),
        GOOD.replace(".wav", ""),
        GOOD.replace(",", ";"),
        "#NAME?" + GOOD[16:],
        GOOD[:30],
    ],
)
def test_a_damaged_line_is_named(data_root, bad):
    path = data_root / "esc50/meta/esc50.csv"
    path.write_text(table(NAMES).replace(GOOD, bad))
    with complains(DataError, path, "line 4", repr(bad.split(",")[0])[:-1], "1-100032-A-0.wav,1,0,dog", 1, 7):
        annotate(data_root)


def test_a_quote_that_swallows_lines_is_said(data_root):
    path = data_root / "esc50/meta/esc50.csv"
    path.write_text(table(NAMES).replace(GOOD, f'"{GOOD}'))
    with complains(DataError, "esc50.csv", "line 8", 1, 3):
        annotate(data_root)


@pytest.mark.parametrize("header", ["", "filename;fold;target;category;esc10;src_file;take", "a,b,c", line(NAMES[0])])
def test_another_header_is_said(data_root, header):
    path = data_root / "esc50/meta/esc50.csv"
    path.write_text(table(NAMES).replace(HEADER, header, 1).lstrip("\n"))
    with complains(DataError, "esc50.csv", "line 1", "filename", "fold", "target"):
        annotate(data_root)


def test_a_table_that_was_cut_off_between_lines(data_root):
    (data_root / "esc50/meta/esc50.csv").write_text(table(NAMES[:-2]))
    with complains(DataError, 2, "meta/esc50.csv", "5-6-A-14"):
        annotate(data_root)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\0a", b"a\0b\n\0"])
def test_a_table_that_cannot_be_read(data_root, content):
    path = data_root / "esc50/meta/esc50.csv"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with complains(DataError, path):
        annotate(data_root)


def test_no_folder_of_audio(data_root):
    (data_root / "esc50/audio").rename(data_root / "esc50/sounds")
    with complains(DataError, "esc50/audio", "folder"):
        annotate(data_root)


def test_a_clip_named_twice_is_refused(data_root):
    path = data_root / "esc50/meta/esc50.csv"
    path.write_text(table([*NAMES, NAMES[0]]))
    with complains(DataError, path, f"line {len(NAMES) + 2}", "line 2", NAMES[0]):
        annotate(data_root)


def test_prepared_with_a_clip_missing_and_an_empty_one(data_root, tmp_path):
    (data_root / "esc50/audio/1-17-B-0.wav").unlink()
    (data_root / "esc50/audio/4-5-A-49.wav").write_bytes(b"")
    prepare(config(max_rejected=0.3), data_root, tmp_path / "esc50")
    rows = read_manifest(tmp_path / "esc50/manifest.parquet").set_index("id")
    assert rows.loc[rows["status"] == "rejected", "reason"].to_dict() == {"1-17-B-0": "missing", "4-5-A-49": "empty"}
    assert rows.loc[rows["status"] == "ok", "duration"].tolist() == pytest.approx([0.1] * 5)
    assert read_classes(tmp_path / "esc50/classes.json")["sound"]["classes"] == list(esc50.CLASSES)


# ---------------------------------------------------------------------------------------------
# The download
# ---------------------------------------------------------------------------------------------


def pack(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(f"ESC-50-33c8ce9/{name}", content)
    return buffer.getvalue()


@pytest.fixture
def server(published, tmp_path, monkeypatch):
    more = {"README.md": b"x", "esc50.gif": b"x"}
    with serving(pack(published | more), monkeypatch) as server:
        monkeypatch.setattr(esc50, "URL", server.url)
        monkeypatch.setattr(esc50, "SUMS", sums_of(published, tmp_path / "esc50.md5"))
        yield server


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_committed_checksums_are_of_the_whole_dataset():
    names = list(read_sums(esc50.SUMS))
    assert len(names) == 2001
    assert all(re.fullmatch(r"[0-9a-f]{32}", digest) for digest in read_sums(esc50.SUMS).values())
    assert all(esc50.CLIP.fullmatch(Path(name).stem) for name in names if name != "meta/esc50.csv")


def test_what_is_missing_is_downloaded_once(server, published, tmp_path):
    for _ in range(2):
        esc50.fetch(config(), tmp_path / "fresh", tmp_path / "out")
    assert files_in(tmp_path / "fresh/esc50") == published
    assert server.asked == [None]
    assert (annotate(tmp_path / "fresh").clips["reason"] == "").all()


def test_what_is_there_is_used(server, data_root, tmp_path):
    esc50.fetch(config(), data_root, tmp_path / "out")
    esc50.fetch(config(folder=str(data_root / "esc50")), tmp_path / "elsewhere", tmp_path / "out")
    assert not server.asked


@pytest.mark.parametrize(
    ("name", "content"), [("audio/4-5-A-49.wav", None), ("audio/4-5-A-49.wav", wav(99)), ("meta/esc50.csv", b"x\n")]
)
def test_an_archive_that_differs_in_one_file_is_refused(server, published, name, content, tmp_path):
    server.content = pack({k: v for k, v in (published | {name: content}).items() if v is not None})
    with complains(DataError, server.url, name, 1):
        esc50.fetch(config(), tmp_path / "fresh", tmp_path / "out")
    assert {path.name for path in (tmp_path / "fresh").iterdir()} == {".esc50.lock"}


def test_offline_error_gives_remedies(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(esc50, "URL", "http://127.0.0.1:9/nothing.zip")
    named = ("nowhere/esc50", "nowhere/ESC-50.zip", "data_root", "config/config.yaml", "--config data_root=")
    with complains(DataError, *named, "esc50/meta/esc50.csv", "esc50/audio/", "http://127.0.0.1:9/nothing.zip"):
        esc50.fetch(config(), tmp_path / "nowhere", tmp_path / "out")


def test_the_committed_settings(request):
    path = request.config.rootpath / "config/datasets/esc50.yaml"
    committed = Esc50.model_validate(yaml.safe_load(path.read_text()))
    assert committed.model_copy(update={"title": None}) == config()
