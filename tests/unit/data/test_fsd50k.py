import hashlib
import io
import logging
import re
import zipfile

import numpy as np
import pytest
import soundfile as sf

from elasticast.config.dataset import Fsd50k
from elasticast.config.resolving import load_dataset
from elasticast.data.annotations import check_annotations
from elasticast.data.datasets import fsd50k
from elasticast.data.manifest import read_classes, read_listed, read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from tests.complaints import assert_names, complains
from tests.unit.data.test_download import serving
from tests.unit.data.test_split_zip import split_zip

CONFIG = Fsd50k(source="fsd50k")
CLASSES = dict(line.split(",")[1:] for line in fsd50k.VOCABULARY.read_text().splitlines())
GUITAR = '"Electric_guitar,Guitar,Plucked_string_instrument,Musical_instrument,Music"'
GUITAR_MIDS = '"/m/02sgy,/m/0342h,/m/0fx80y,/m/04szw,/m/04rlf"'
# Rows as published; a row with a single label has no quotation marks.
DEV = f"""\
fname,labels,mids,split
64760,{GUITAR},{GUITAR_MIDS},train
16399,{GUITAR},{GUITAR_MIDS},train
345111,{GUITAR},{GUITAR_MIDS},val
4258,Wind,/m/03m9d0z,train
4259,"Motorcycle,Motor_vehicle_(road),Vehicle","/m/04_sv,/m/012f08,/m/07yv9",val
"""
EVAL = f"""\
fname,labels,mids
37199,{GUITAR},{GUITAR_MIDS}
1277,Squeak,/m/07q6cd_
"""
SPLITS = {"64760": "train", "16399": "train", "345111": "dev", "4258": "train", "4259": "dev", "37199": "test"}
SPLITS |= {"1277": "test"}


def published():
    """A small dataset: content by path, in the layout of the archives."""
    files = {
        "FSD50K.ground_truth/dev.csv": DEV.encode(),
        "FSD50K.ground_truth/eval.csv": EVAL.encode(),
        "FSD50K.ground_truth/vocabulary.csv": fsd50k.VOCABULARY.read_bytes(),
        "FSD50K.metadata/dev_clips_info_FSD50K.json": b"{}",
        "FSD50K.metadata/collection/collection_dev.csv": b"fname,labels,mids\n",
        "FSD50K.doc/README.md": b"x",
    }
    for name, split in SPLITS.items():
        buffer, rng = io.BytesIO(), np.random.default_rng(int(name))
        sf.write(buffer, (rng.standard_normal(13230 + int(name) % 7) * 2000).astype(np.int16), 44100, format="WAV")
        files[f"FSD50K.{'eval' if split == 'test' else 'dev'}_audio/{name}.wav"] = buffer.getvalue()
    return files


FILES = published()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data" / "FSD50K"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def dev(folder):
    return folder / "FSD50K.ground_truth" / "dev.csv"


def annotate(folder):
    return fsd50k.annotate(CONFIG, folder.parent, folder.parent / "out")


# ---------------------------------------------------------------------------------------------
# As published
# ---------------------------------------------------------------------------------------------


def test_the_vocabulary_is_the_published_file():
    """Its MD5 sum is in the index of soundata 0.1.2."""
    assert hashlib.md5(fsd50k.VOCABULARY.read_bytes()).hexdigest() == "0caaf9955ca53e358e9ab8f1e6271ba2"
    assert len(CLASSES) == len(set(CLASSES.values())) == 200
    assert not any("," in name or " " in name for name in CLASSES)


def test_all_archives_have_a_sum_and_an_order():
    assert len(fsd50k.MD5) == 11
    files = [file for folder in fsd50k.FOLDERS for file in fsd50k.archive(folder).files]
    assert sorted(file.name for file in files) == sorted(fsd50k.MD5)
    assert all(file.url.startswith("https://zenodo.org/records/4060432/files/") for file in files)
    assert all(re.fullmatch(r"md5:[0-9a-f]{32}", file.checksum) for file in files)
    parts = [file.name.rpartition(".")[2] for file in fsd50k.archive("FSD50K.dev_audio").files]
    assert parts == ["z01", "z02", "z03", "z04", "z05", "zip"]
    assert sum(fsd50k.PUBLISHED.values()) == 51197
    assert fsd50k.PUBLISHED["train"] + fsd50k.PUBLISHED["dev"] == 40966


def test_clips_labels_and_splits(folder):
    notes = annotate(folder)
    assert notes.classes == {"events": list(CLASSES)}
    assert notes.published == fsd50k.PUBLISHED
    rows = notes.clips.set_index("id")
    assert rows["split"].to_dict() == SPLITS
    assert (rows["reason"] == "").all()
    assert rows.loc["64760", "events"] == GUITAR.strip('"').split(",")
    assert rows.loc["4258", "events"] == ["Wind"]
    for name, path in rows["path"].items():
        part = "eval" if SPLITS[name] == "test" else "dev"
        assert path == str(folder / f"FSD50K.{part}_audio/{name}.wav")
    clips = check_annotations(notes.clips, Fsd50k.tasks)
    assert (clips["reason"] == "").all()


@pytest.mark.parametrize("change", ["crlf", "bom", "no last newline", "spaces", "blank lines", "all quoted"])
def test_a_list_saved_otherwise_is_read_alike(folder, dev, change):
    expected = annotate(folder).clips
    changed = {
        "crlf": DEV.replace("\n", "\r\n"),
        "bom": "\ufeff" + DEV,
        "no last newline": DEV.rstrip("\n"),
        "spaces": DEV.replace("\n", " \u00a0\n").replace("Electric_guitar,", "Electric_guitar, "),
        "blank lines": DEV.replace("\n", "\n\n"),
        "all quoted": DEV.replace("Wind,/m/03m9d0z,train", '"Wind","/m/03m9d0z","train"'),
    }
    dev.write_bytes(changed[change].encode())
    assert annotate(folder).clips.equals(expected)


def test_a_list_that_is_not_the_published_one_is_named(folder, dev, caplog):
    annotate(folder)
    assert_names(caplog.text, dev, hashlib.md5(DEV.encode()).hexdigest(), fsd50k.LISTS_MD5["dev.csv"], 5)


def test_the_published_list_is_used_without_a_warning(folder, dev, caplog, monkeypatch):
    sums = {name: hashlib.md5((dev.parent / name).read_bytes()).hexdigest() for name in ("dev.csv", "eval.csv")}
    monkeypatch.setattr(fsd50k, "LISTS_MD5", sums)
    annotate(folder)
    assert not caplog.records


def test_other_formats_are_read_and_other_files_ignored(folder):
    audio = folder / "FSD50K.dev_audio"
    (audio / "4258.wav").rename(audio / "4258.flac")
    for name in ("._64760.wav", ".DS_Store", "notes.txt", "1.wav"):
        (audio / name).write_bytes(b"x")
    rows = annotate(folder).clips.set_index("id")
    assert rows.loc["4258", "path"].endswith("4258.flac")
    assert rows["split"].to_dict() == SPLITS


# ---------------------------------------------------------------------------------------------
# Missing and damaged
# ---------------------------------------------------------------------------------------------


def test_a_clip_without_audio_or_in_the_wrong_folder_is_a_row_with_a_reason(folder):
    (folder / "FSD50K.dev_audio/64760.wav").unlink()
    (folder / "FSD50K.eval_audio/1277.wav").rename(folder / "FSD50K.dev_audio/1277.wav")
    rows = annotate(folder).clips.set_index("id")
    assert rows.loc[["64760", "1277"], "reason"].tolist() == ["missing", "missing"]
    assert (rows["reason"] == "").sum() == len(SPLITS) - 2


ROW = f"99,{GUITAR},{GUITAR_MIDS},train"


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        ("99,Wind,/m/03m9d0z", ["4"]),
        (ROW.replace('"', ""), ["12", "4"]),
        (ROW.replace("train", "test"), ["'test'", "train", "val"]),
        (ROW.replace("train", "Train"), ["'Train'"]),
        (ROW.replace("train", ""), ["train"]),
        (ROW.replace("Guitar,", "Gitar,"), ["'Gitar'", "'Guitar'", "200"]),
        (ROW.replace(',Music"', ',music"'), ["'music'", "'Music'"]),
        (ROW.replace("/m/02sgy", "/m/018vs"), ["/m/018vs", "/m/02sgy"]),
        (ROW.replace("/m/02sgy,", ""), ["/m/02sgy"]),
        ('99,"Wind,Wind","/m/03m9d0z,/m/03m9d0z",train', ["Wind"]),
        ("99,,,train", ["''"]),
        ("a99,Wind,/m/03m9d0z,train", ["'a99'"]),
        ("1.2E+05,Wind,/m/03m9d0z,train", ["1.2E+05"]),
        ("#NAME?,Wind,/m/03m9d0z,train", ["#NAME?"]),
        ('99,"Wind,/m/03m9d0z,train', ["99"]),
        ("99;Wind;/m/03m9d0z;train", ["99;Wind"]),
    ],
)
def test_a_damaged_row_is_named(folder, dev, row, tokens):
    dev.write_text(f"{DEV}{row}\n")
    with complains(DataError, dev, "line 7", *tokens):
        annotate(folder)


@pytest.mark.parametrize("header", ["", "fname,labels,mids", "fname;labels;mids;split", "64760,Wind,/m/03m9d0z,train"])
def test_a_list_with_another_header_is_refused(folder, dev, header):
    dev.write_text(DEV.replace("fname,labels,mids,split", header))
    with complains(DataError, dev, "line 1", "fname,labels,mids,split"):
        annotate(folder)


def test_the_unsmeared_labels_of_the_collection_are_refused(folder, dev):
    """Its files have the names of classes that were merged."""
    dev.write_text(DEV + "51690,Owl,/m/09d5_,train\n")
    with complains(DataError, dev, "line 7", "'Owl'"):
        annotate(folder)


@pytest.mark.parametrize("file", ["dev.csv", "eval.csv", "vocabulary.csv"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe\0", b""])
def test_a_file_that_cannot_be_read(folder, file, content):
    path = folder / "FSD50K.ground_truth" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with complains(DataError, path):
        annotate(folder)


def test_a_list_without_clips_is_refused(folder, dev):
    dev.write_text(DEV.splitlines()[0] + "\n")
    with complains(DataError, dev):
        annotate(folder)


def test_a_clip_in_both_lists_or_twice_is_refused(folder, dev):
    with open(dev, "a") as file:
        file.write("4258,Wind,/m/03m9d0z,val\n")
    with complains(DataError, dev, "line 7", "line 5", "4258", "train", "dev"):
        annotate(folder)
    dev.write_text(DEV.replace("4258", "1277"))
    with complains(DataError, dev, "eval.csv", "1277", "dev.csv"):
        annotate(folder)


@pytest.mark.parametrize(
    ("change", "tokens"),
    [
        (lambda text: text.replace("1,Accordion,", "1,Acordion,"), ["line 2", "Acordion", "1,Accordion,/m/0mkg"]),
        (lambda text: text.replace("/m/0mkg", "/m/0mkx"), ["line 2", "/m/0mkx"]),
        (lambda text: text[: text.index("150,")], [150, 200]),
        (lambda text: "index,label,mid\n" + text, ["line 1", "index,label,mid"]),
        (lambda text: text + "200,Owl,/m/09d5_\n", [201, 200]),
    ],
)
def test_another_vocabulary_is_refused(folder, change, tokens):
    path = folder / "FSD50K.ground_truth/vocabulary.csv"
    path.write_text(change(path.read_text()))
    with complains(DataError, path, *tokens):
        annotate(folder)


@pytest.mark.parametrize("part", ["dev", "eval"])
def test_a_folder_of_audio_that_does_not_exist(folder, part):
    (folder / f"FSD50K.{part}_audio").rename(folder / "elsewhere")
    with complains(DataError, folder / f"FSD50K.{part}_audio", "folder"):
        annotate(folder)


def test_prepared_with_a_clip_missing(folder, tmp_path, caplog):
    (folder / "FSD50K.eval_audio/1277.wav").unlink()
    prepare(CONFIG.model_copy(update={"max_rejected": 0.2}), folder.parent, tmp_path / "sounds")
    rows = read_manifest(tmp_path / "sounds/manifest.parquet").set_index("id")
    assert rows.loc[rows["status"] == "rejected", "reason"].to_dict() == {"1277": "missing"}
    assert (rows.loc[rows["status"] == "ok", "sample_rate"] == 44100).all()
    assert read_classes(tmp_path / "sounds/classes.json")["events"] == {"kind": "multi", "classes": list(CLASSES)}
    assert_names(caplog.text, "6 of 51,197", "3 of 36,796 train", "2 of 4,170 dev", "1 of 10,231 test")
    assert read_listed(tmp_path / "sounds", "test") == 10231


# ---------------------------------------------------------------------------------------------
# The download
# ---------------------------------------------------------------------------------------------


def pack(folder):
    """The archive of a folder, as it is published: one file, or some parts of a split archive."""
    files = {name: content for name, content in FILES.items() if name.startswith(f"{folder}/")}
    names = [name for name in fsd50k.MD5 if name.startswith(f"{folder}.")]
    if len(names) == 1:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return {names[0]: buffer.getvalue()}
    size = -(-sum(map(len, split_zip(files, 1 << 30, zip64=True))) // len(names))
    return dict(zip(names, split_zip(files, size, zip64=True), strict=True))


ARCHIVES = {name: content for folder in fsd50k.FOLDERS for name, content in pack(folder).items()}


@pytest.fixture
def server(monkeypatch):
    with serving(b"", monkeypatch) as server:
        server.contents = dict(ARCHIVES)
        monkeypatch.setattr(fsd50k, "URL", server.url.rpartition("/")[0] + "/{}?download=1")
        monkeypatch.setattr(fsd50k, "MD5", {name: hashlib.md5(data).hexdigest() for name, data in ARCHIVES.items()})
        yield server


def fetch(root):
    fsd50k.fetch(CONFIG, root, root / "out")
    folder = root / "FSD50K"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_downloaded_and_unpacked_once(server, tmp_path):
    for _ in range(2):
        content = fetch(tmp_path)
        assert {name: data for name, data in content.items() if not name.startswith(".")} == FILES
    assert len(server.asked) == 11
    assert annotate(tmp_path / "FSD50K").clips["split"].tolist() == list(SPLITS.values())


def test_an_interrupted_download_goes_on(server, tmp_path):
    (tmp_path / "FSD50K").mkdir()
    part = tmp_path / "FSD50K/FSD50K.dev_audio.z03.part"
    part.write_bytes(ARCHIVES["FSD50K.dev_audio.z03"][:500])
    (tmp_path / "FSD50K/FSD50K.dev_audio.z01").write_bytes(ARCHIVES["FSD50K.dev_audio.z01"])
    fetch(tmp_path)
    assert len(server.asked) == 10
    assert [asked for asked in server.asked if asked] == ["bytes=500-"]


@pytest.mark.parametrize("name", [name for name in ARCHIVES if "audio" in name or "ground" in name])
def test_a_wrong_sum_names_the_file_which_is_downloaded_again(server, name, tmp_path):
    damaged = bytes([ARCHIVES[name][0] ^ 1]) + ARCHIVES[name][1:]
    server.contents[name] = damaged
    with complains(DataError, name, hashlib.md5(damaged).hexdigest(), fsd50k.MD5[name], "MD5"):
        fetch(tmp_path)
    assert not (tmp_path / "FSD50K" / name).exists()
    server.contents[name], asked = ARCHIVES[name], len(server.asked)
    fetch(tmp_path)
    assert len(server.asked) == asked + 11 - list(ARCHIVES).index(name)  # what came before was kept
    assert annotate(tmp_path / "FSD50K").clips["split"].tolist() == list(SPLITS.values())


def test_an_archive_that_was_cut_is_named(server, tmp_path):
    name = "FSD50K.eval_audio.zip"
    server.contents[name] = ARCHIVES[name][:-100]
    with complains(DataError, name, fsd50k.MD5[name]):
        fetch(tmp_path)


def test_folders_that_exist_are_used(server, folder):
    fsd50k.fetch(CONFIG, folder.parent, folder.parent / "out")
    (folder / "FSD50K.doc/README.md").unlink()
    fsd50k.fetch(CONFIG, folder.parent, folder.parent / "out")
    assert not server.asked


def test_nothing_needs_the_licences(server, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    server.contents["FSD50K.metadata.zip"] = b"gone"
    assert "FSD50K.doc/README.md" in fetch(tmp_path)
    assert_names(caplog.text, "FSD50K.metadata.zip")


def test_offline_error_gives_remedies(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fsd50k, "URL", "http://127.0.0.1:9/{}")
    folder = tmp_path / "FSD50K"
    named = (folder / "FSD50K.ground_truth", folder / "FSD50K.ground_truth.zip", "data_root", "config/config.yaml")
    with complains(DataError, *named, "http://127.0.0.1:9/FSD50K.ground_truth.zip"):
        fetch(tmp_path)


def test_the_committed_settings(request):
    committed = load_dataset(request.config.rootpath / "config/datasets/fsd50k.yaml")
    assert committed.model_copy(update={"title": None}) == CONFIG
