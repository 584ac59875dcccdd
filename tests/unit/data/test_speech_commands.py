import hashlib
import io
import logging
import re
import tarfile

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torchaudio.datasets.speechcommands
import yaml

from elasticast.config.dataset import SpeechCommands
from elasticast.data.annotations import check_annotations
from elasticast.data.datasets import speech_commands
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.prepare import prepare
from elasticast.errors import DataError
from elasticast.text import printable
from tests.complaints import assert_names, complains
from tests.unit.data.test_download import serving

CONFIG = SpeechCommands(source="speech_commands")
SPEAKERS = {"train": ["00f0204f", "0165e0e8", "0a7c2a8d"], "dev": ["ce0cb033"], "test": ["1b4c9b89", "9a7c1f83"]}
SPLIT_OF = {speaker: split for split, speakers in SPEAKERS.items() for speaker in speakers}
WORDS = ("backward", "four", "yes")
NAMES = {
    f"{word}/{speaker}_nohash_{number}": split
    for word in WORDS
    for speaker, split in SPLIT_OF.items()
    for number in range(2)
}


def listing(split):
    return "".join(f"{name}.wav\n" for name, of in NAMES.items() if of == split)


@pytest.fixture(scope="module")
def published():
    """A small dataset in the layout of the archive."""
    rng, files = np.random.default_rng(0), {}
    for name in (*NAMES, "_background_noise_/white_noise"):
        buffer = io.BytesIO()
        sf.write(buffer, (rng.standard_normal(1600) * 2000).astype(np.int16), 16000, format="WAV")
        files[f"{name}.wav"] = buffer.getvalue()
    files |= {"validation_list.txt": listing("dev").encode(), "testing_list.txt": listing("test").encode()}
    return files | {"README.md": b"x", "LICENSE": b"x", "_background_noise_/README.md": b"x"}


@pytest.fixture
def folder(tmp_path, published):
    folder = tmp_path / "data" / "speech_commands_v0.02"
    for name, content in published.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def annotate(folder):
    return speech_commands.annotate(CONFIG, folder.parent, folder.parent / "out")


# ---------------------------------------------------------------------------------------------
# As published
# ---------------------------------------------------------------------------------------------


def test_the_words_and_the_checksum_are_the_published_ones():
    assert len(speech_commands.WORDS) == len(set(speech_commands.WORDS)) == 35
    assert sorted(speech_commands.WORDS) == speech_commands.WORDS
    assert len(speech_commands.OLD_WORDS) == 30
    url = speech_commands.URL.replace("https://", "http://")  # torchaudio's address of the same file
    assert torchaudio.datasets.speechcommands._CHECKSUMS[url] == speech_commands.SHA256
    assert sum(speech_commands.PUBLISHED.values()) == 105829


def test_clips_words_splits_and_speakers(folder):
    notes = annotate(folder)
    assert notes.classes == {"word": speech_commands.WORDS}
    assert notes.published == {"train": 84843, "dev": 9981, "test": 11005}
    rows = notes.clips.set_index("id")
    assert rows["split"].to_dict() == NAMES
    assert (rows["reason"] == "").all()
    assert rows.loc["four/9a7c1f83_nohash_1", ["word", "group"]].tolist() == [["four"], "9a7c1f83"]
    for name, path in rows["path"].items():
        assert path == str(folder / f"{name}.wav")


def test_a_share_for_dev_divides_no_speaker(folder):
    clips = check_annotations(annotate(folder).clips, SpeechCommands.tasks, 0.5)
    assert (clips.groupby("group")["split"].nunique() == 1).all()
    assert set(clips.loc[clips["split"] == "test", "group"]) == set(SPEAKERS["test"])


def test_other_files_are_passed_over(folder):
    expected = annotate(folder).clips
    for name in (".DS_Store", "yes/.DS_Store", "yes/._00f0204f_nohash_0.wav", "yes/notes.txt", "noise.wav",
                 "_silence_/0.wav", "yes/old/00f0204f_nohash_7.wav"):  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert annotate(folder).clips.equals(expected)


@pytest.mark.parametrize("change", ["crlf", "bom", "no last newline", "spaces", "blank line"])
def test_a_list_saved_otherwise_is_read_alike(folder, change):
    expected, path, text = annotate(folder).clips, folder / "testing_list.txt", listing("test")
    changed = {
        "crlf": text.replace("\n", "\r\n"),
        "bom": "\ufeff" + text,
        "no last newline": text.rstrip("\n"),
        "spaces": text.replace("\n", " \u00a0\n"),
        "blank line": text + "\n",
    }
    path.write_bytes(changed[change].encode())
    assert annotate(folder).clips.equals(expected)


# ---------------------------------------------------------------------------------------------
# Missing and damaged
# ---------------------------------------------------------------------------------------------


def test_a_listed_clip_that_is_not_there_is_a_row_with_a_reason(folder):
    (folder / "four/9a7c1f83_nohash_1.wav").unlink()
    rows = annotate(folder).clips.set_index("id")
    assert rows.loc["four/9a7c1f83_nohash_1", ["split", "path", "reason"]].tolist() == ["test", "", "missing"]
    assert (rows["reason"] == "").sum() == len(NAMES) - 1


@pytest.mark.parametrize(("split", "file"), list(speech_commands.LISTS.items()))
def test_clips_of_a_list_that_was_cut_off_do_not_slip_into_training(folder, split, file):
    kept = listing(split).splitlines(keepends=True)[:3]
    (folder / file).write_text("".join(kept))
    rows = annotate(folder).clips.set_index("id")
    strays = [name for name, of in NAMES.items() if of == split and f"{name}.wav\n" not in kept]
    strays = [name for name in strays if any(rows.loc[name, "group"] in line for line in kept)]
    assert strays
    assert rows["reason"].to_dict() == dict.fromkeys(NAMES, "") | dict.fromkeys(
        strays, f"its speaker is in {file}, the clip is not"
    )


def test_a_speaker_in_both_lists_is_tested_on_only(folder):
    with open(folder / "validation_list.txt", "a") as file:
        file.write("yes/1b4c9b89_nohash_5.wav\n")
    rows = annotate(folder).clips.set_index("id")
    assert rows.loc["yes/1b4c9b89_nohash_5", "split"] == "dev"
    assert rows.loc["yes/1b4c9b89_nohash_5", "reason"] == "its speaker is in testing_list.txt, the clip is not"
    assert (rows["reason"] == "").sum() == len(NAMES)


def test_clip_in_both_lists_is_reported(folder):
    (folder / "testing_list.txt").write_text(listing("test") + listing("dev"))
    lists = [folder / "testing_list.txt", folder / "validation_list.txt"]
    with complains(DataError, *lists, "line 13", "line 1", "backward/ce0cb033_nohash_0", "dev", "test"):
        annotate(folder)


@pytest.mark.parametrize(
    "bad",
    [
        "hello/1b4c9b89_nohash_0.wav",
        "four/1b4c9b89_0.wav",
        "four/1b4c9b89_nohash_0",
        "1b4c9b89_nohash_0.wav",
        "./four/../yes/1b4c9b89_nohash_0.wav",
        "four,1b4c9b89_nohash_0.wav",
        "#NAME?",
    ],
)
def test_a_damaged_line_is_named(folder, bad):
    path = folder / "testing_list.txt"
    path.write_text(listing("test") + f"{bad}\n")
    with complains(DataError, path, "line 13", repr(bad), "four/1b4c9b89_nohash_2.wav", 1, 13):
        annotate(folder)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\0"])
def test_a_list_that_cannot_be_read(folder, content):
    (folder / "validation_list.txt").unlink()
    if content is not None:
        (folder / "validation_list.txt").write_bytes(content)
    with complains(DataError, "validation_list.txt", "folder"):
        annotate(folder)


def test_files_that_are_not_named_as_clips_are_rejected(folder):
    (folder / "yes/me.wav").write_bytes(b"x")
    rows = annotate(folder).clips.set_index("id")
    assert rows["reason"].to_dict() == dict.fromkeys(NAMES, "") | {"yes/me": "not named SPEAKER_nohash_NUMBER"}


def test_folders_of_other_words_are_left_out_with_a_warning(folder, caplog):
    (folder / "hello").mkdir()
    (folder / "hello/00f0204f_nohash_0.wav").write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert len(annotate(folder).clips) == len(NAMES)
    assert_names(caplog.text, 1, 35, "hello")


def test_prepared_with_a_clip_missing(folder, tmp_path):
    (folder / "four/9a7c1f83_nohash_1.wav").unlink()
    config = CONFIG.model_copy(update={"max_rejected": 0.1, "store_rate": 8000})
    prepare(config, folder.parent, tmp_path / "words")
    rows = read_manifest(tmp_path / "words/manifest.parquet").set_index("id")
    assert rows.loc[rows["status"] == "rejected", "reason"].to_dict() == {"four/9a7c1f83_nohash_1": "missing"}
    assert rows["split"].to_dict() == NAMES
    assert read_classes(tmp_path / "words/classes.json")["word"]["classes"] == speech_commands.WORDS


def test_odd_names_of_files_do_not_stop_the_others(folder, tmp_path, published, caplog):
    good = ["yes/it's \"$`;_nohash_0", "yes/-lead_nohash_0", "yes/ sp ace_nohash_1", f"yes/{'a' * 242}_nohash_0"]
    bad = {
        "yes/new\nline_nohash_0": "id is not printable UTF-8",
        "yes/tab\t_nohash_0": "id is not printable UTF-8",
        "yes/caf\udce9_nohash_0": "not named SPEAKER_nohash_NUMBER",
        f"yes/{'é' * 125}": "not named SPEAKER_nohash_NUMBER",
    }
    for name in (*good, *bad):
        (folder / f"{name}.wav").write_bytes(published["yes/00f0204f_nohash_0.wav"])
    prepare(CONFIG.model_copy(update={"max_rejected": 0.5}), folder.parent, tmp_path / "words")
    rows = read_manifest(tmp_path / "words/manifest.parquet").set_index("id")
    expected = {printable(name): reason for name, reason in (dict.fromkeys([*NAMES, *good], "") | bad).items()}
    assert rows["reason"].to_dict() == expected
    ids = (tmp_path / "words/ids.txt").read_text().splitlines()
    assert sorted(ids) == sorted([*NAMES, *good])
    rejected = pd.read_csv(tmp_path / "words/rejected.csv")
    assert set(rejected["id"]) == {printable(name) for name in bad}
    assert_names(caplog.text, r"caf\xe9_nohash_0.wav")


@pytest.mark.parametrize("word", ["Yes", "YES", "yes ", "back ward"])
def test_a_folder_of_a_mistyped_word_is_refused(folder, word):
    (folder / word).mkdir()
    (folder / word / "00f0204f_nohash_0.wav").write_bytes(b"x")
    with complains(DataError, folder, repr(word), repr(word.lower().replace(" ", ""))):
        annotate(folder)


def test_a_mistyped_word_in_a_list_names_the_word_that_is_meant(folder):
    path = folder / "testing_list.txt"
    path.write_text(listing("test") + "Backward/1b4c9b89_nohash_0.wav\n")
    with complains(DataError, path, "line 13", "'Backward/1b4c9b89_nohash_0.wav'", "'backward'"):
        annotate(folder)


# ---------------------------------------------------------------------------------------------
# Version 0.01
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def old_lists(folder):
    """Lists of version 0.01 with a folder of version 0.02."""
    for split, file in speech_commands.LISTS.items():
        words = speech_commands.OLD_WORDS
        (folder / file).write_text("".join(f"{word}/{SPEAKERS[split][0]}_nohash_0.wav\n" for word in words))
    return folder


def test_lists_of_version_1_are_refused(old_lists):
    with complains(DataError, old_lists, 30, "0.01", "backward"):
        annotate(old_lists)


def test_a_folder_of_version_1_is_refused(folder):
    (folder / "backward").rename(folder.parent / "elsewhere")
    for word in speech_commands.OLD_WORDS:
        (folder / word).mkdir(exist_ok=True)
        (folder / word / "00f0204f_nohash_0.wav").write_bytes(b"x")
    # 12 clips each in two folders, one more in the 28 others
    with complains(DataError, folder, 52, 30, "0.01", "0.02", "105,829", speech_commands.URL):
        annotate(folder)


def test_a_folder_of_some_words_is_refused(folder):
    (folder / "backward").rename(folder.parent / "elsewhere")
    with complains(DataError, folder, 24, 2, "backward", "follow"):
        annotate(folder)


# ---------------------------------------------------------------------------------------------
# The download
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def server(published, monkeypatch):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (published | {".DS_Store": b"x"}).items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with serving(buffer.getvalue(), monkeypatch) as server:
        monkeypatch.setattr(speech_commands, "URL", server.url)
        monkeypatch.setattr(speech_commands, "SHA256", hashlib.sha256(server.content).hexdigest())
        yield server


def test_what_is_missing_is_downloaded_once(server, published, tmp_path):
    for _ in range(2):
        speech_commands.fetch(CONFIG, tmp_path / "fresh", tmp_path / "out")
    folder = tmp_path / "fresh" / "speech_commands_v0.02"
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == published
    assert {path.name for path in (tmp_path / "fresh").iterdir()} == {folder.name, f".{folder.name}.lock"}
    assert server.asked == [None]
    assert annotate(folder).clips["split"].tolist() == [NAMES[name] for name in sorted(NAMES)]


def test_an_interrupted_download_goes_on(server, published, tmp_path):
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh/speech_commands_v0.02.tar.gz.part").write_bytes(server.content[:5000])
    speech_commands.fetch(CONFIG, tmp_path / "fresh", tmp_path / "out")
    assert server.asked == ["bytes=5000-"]
    assert (tmp_path / "fresh/speech_commands_v0.02/README.md").is_file()


def test_what_is_there_is_used(server, folder, tmp_path):
    speech_commands.fetch(CONFIG, folder.parent, tmp_path / "out")
    assert not server.asked


def test_another_archive_is_refused(server, tmp_path):
    server.content += b"\0"
    with complains(DataError, server.url, hashlib.sha256(server.content).hexdigest(), speech_commands.SHA256):
        speech_commands.fetch(CONFIG, tmp_path / "fresh", tmp_path / "out")
    assert {path.name for path in (tmp_path / "fresh").iterdir()} == {".speech_commands_v0.02.lock"}


def test_offline_error_gives_remedies(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(speech_commands, "URL", "http://127.0.0.1:9/nothing.tar.gz")
    folder = tmp_path / "nowhere/speech_commands_v0.02"
    named = (folder, f"{folder}.tar.gz", "data_root", "config/config.yaml", "speech_commands_v0.02/validation_list.txt")
    with complains(DataError, *named, "105,829", "http://127.0.0.1:9/nothing.tar.gz"):
        speech_commands.fetch(CONFIG, tmp_path / "nowhere", tmp_path / "out")


def test_the_committed_settings(request):
    path = request.config.rootpath / "config/datasets/speech_commands.yaml"
    committed = SpeechCommands.model_validate(yaml.safe_load(path.read_text()))
    assert committed.model_copy(update={"title": None}) == CONFIG
    assert re.search(r"84,843 train, 9,981 dev and 11,005 test", path.read_text())
