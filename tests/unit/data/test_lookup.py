import logging
import os
import subprocess
import sys
import unicodedata

import pytest

from elasticast.data.lookup import EXTENSIONS, index_audio
from elasticast.errors import DataError
from elasticast.faults import PASSING
from tests.complaints import assert_names, complains


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder, **options):
    """Clip to path below `folder`."""
    index = index_audio(folder, **options)
    return {clip: os.path.relpath(index.find(clip), folder) for clip in index}


# ---------------------------------------------------------------------------------------------
# Matching files to clips
# ---------------------------------------------------------------------------------------------


def test_flat_and_nested_files_match_by_stem(tmp_path):
    names = {"a": "a.wav", "-b_c": "deep/er/-b_c.FLAC", "30.000": "one/30.000.mp3", "--": "--/--.mp4", "a b": "a b.ogg"}
    touch(tmp_path, *names.values())
    assert found(tmp_path) == names


@pytest.mark.parametrize("extension", [*EXTENSIONS, "WAV"])
def test_every_known_extension_is_audio(tmp_path, extension):
    touch(tmp_path, f"a.{extension}")
    assert found(tmp_path) == {"a": f"a.{extension}"}


def test_other_and_hidden_files_are_passed_over(tmp_path):
    touch(tmp_path, "a.wav", "a.txt", "a.wav.part", "wav", "._a.wav", ".snapshot/a.wav", "b.csv")
    (tmp_path / "b.wav").mkdir()
    touch(tmp_path, "b.wav/c.wav")
    assert found(tmp_path) == {"a": "a.wav", "c": "b.wav/c.wav"}


def test_clip_of_names_the_clip_or_none(tmp_path):
    touch(tmp_path, "x/1/a.wav", "x/2/a.wav", "a.wav")
    kept = {"x/1/a": "one", "x/2/a": "2/a"}
    assert found(tmp_path, clip_of=lambda relative: kept.get(relative, "")) == {"one": "x/1/a.wav", "2/a": "x/2/a.wav"}


def test_paths_are_in_the_order_asked_for_and_empty_where_nothing_is(tmp_path):
    touch(tmp_path, "a.wav", "sub/b.flac")
    index, a, b = index_audio(tmp_path), f"{tmp_path}/a.wav", f"{tmp_path}/sub/b.flac"
    assert index.paths(["b", "none", "a", "b"]) == [b, "", a, b]
    assert "b" in index
    assert "none" not in index
    assert len(index) == 2


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_either_unicode_form_finds_the_other(tmp_path, on_disk, asked):
    name = "Café_Ångström_한국"
    touch(tmp_path, f"{unicodedata.normalize(on_disk, 'é')}/{unicodedata.normalize(on_disk, name)}.wav", "plain.wav")
    index = index_audio(tmp_path)
    path = index.find(unicodedata.normalize(asked, name))
    assert os.path.samefile(path, next(tmp_path.glob("*/*.wav")))
    assert unicodedata.normalize(asked, name) in index


def test_both_unicode_forms_of_a_name_are_one_clip(tmp_path, caplog):
    touch(tmp_path, *(f"{unicodedata.normalize(form, 'é')}.wav" for form in ("NFC", "NFD")))
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system knows one form only")
    index = index_audio(tmp_path)
    assert len(index) == 1
    assert index.paths([unicodedata.normalize("NFD", "é")]) == [index.find("é")]
    assert_names(caplog.text, 1)


# ---------------------------------------------------------------------------------------------
# Several files of one clip
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.mp4", "a.flac", "a.wav", "a.mp3"], "a.wav"),
        (["a.mkv", "a.opus"], "a.opus"),
        (["z/a.wav", "b/a.wav"], "b/a.wav"),
        (["b/a.flac", "z/a.wav"], "z/a.wav"),
    ],
)
def test_one_of_several_is_chosen_whatever_their_order_on_disk(tmp_path, caplog, names, chosen):
    for turn, order in enumerate((names, names[::-1])):
        folder = tmp_path / str(turn)
        touch(folder, *order, "other.wav")
        caplog.clear()
        assert index_audio(folder).paths(["a", "other"]) == [str(folder / chosen), str(folder / "other.wav")]
        assert_names(caplog.text, 1, "a", folder / chosen)
        assert len(caplog.records) == 1


def test_longest_name_is_chosen(tmp_path):
    touch(tmp_path, "a.wav", "a_30.mp3")
    assert found(tmp_path, clip_of=lambda relative: relative[0]) == {"a": "a_30.mp3"}


def test_copies_of_clips_nobody_asks_for_are_not_mentioned(tmp_path, caplog):
    touch(tmp_path, "a.wav", "a.mp3", "b.wav")
    index_audio(tmp_path).paths(["b"])
    assert not caplog.records


# ---------------------------------------------------------------------------------------------
# Links and folders that cannot be read
# ---------------------------------------------------------------------------------------------


def test_links_are_followed_and_loops_are_left(tmp_path):
    touch(tmp_path, "audio/sub/a.wav", "elsewhere/b.wav", "elsewhere/more/c.wav")
    audio = tmp_path / "audio"
    (audio / "sub" / "up").symlink_to(audio)
    (audio / "sub" / "self").symlink_to(audio / "sub")
    (audio / "there").symlink_to(tmp_path / "elsewhere")
    (audio / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(audio)
    (audio / "d.wav").symlink_to(tmp_path / "elsewhere" / "b.wav")
    assert found(audio) == {"a": "sub/a.wav", "b": "again/b.wav", "c": "again/more/c.wav", "d": "d.wav"}
    (tmp_path / "link").symlink_to(audio)
    assert len(index_audio(tmp_path / "link")) == 4


def test_broken_links_and_links_to_themselves_are_no_files(tmp_path):
    touch(tmp_path, "a.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert found(tmp_path) == {"a": "a.wav"}


SCAN = """
import logging, os, sys
from pathlib import Path
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError
if os.geteuid() == 0:
    os.seteuid(65534)
logging.basicConfig(format="%(message)s", level="WARNING", stream=sys.stdout)
try:
    print(sorted(index_audio(Path(sys.argv[1]))))
except DataError as error:
    print(error)
"""


@pytest.fixture
def as_anybody(tmp_path):
    """Index a folder as an unprivileged user, because root ignores permissions, and print the result."""
    own = [folder for folder in (tmp_path, *tmp_path.parents) if folder.stat().st_uid == os.geteuid()]
    modes = {folder: folder.stat().st_mode for folder in own}
    closed = [folder for folder in own if not modes[folder] & 0o001]

    def scan(folder):
        command = [sys.executable, "-c", SCAN, folder]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    for folder in closed:
        folder.chmod(modes[folder] | 0o055)
    yield scan
    for folder in closed:
        folder.chmod(modes[folder])


def test_a_folder_that_cannot_be_read_is_named_once(tmp_path, as_anybody):
    touch(tmp_path, "a.wav", "shut/b.wav", "shut too/c.wav", "open/d.wav")
    for name in ("shut", "shut too"):
        (tmp_path / name).chmod(0)
    lines = as_anybody(tmp_path).splitlines()
    for name in ("shut", "shut too"):
        (tmp_path / name).chmod(0o755)
    assert len(lines) == 2
    assert_names(lines[0], tmp_path, 2, f"{tmp_path}/shut: Permission denied")
    assert lines[1] == "['a', 'd']"


def test_an_audio_folder_that_cannot_be_read_is_an_error(tmp_path, as_anybody):
    touch(tmp_path, "audio/a.wav")
    (tmp_path / "audio").chmod(0)
    text = as_anybody(tmp_path / "audio")
    (tmp_path / "audio").chmod(0o755)
    assert_names(text, f"{tmp_path}/audio", "Permission denied", "`audio`")


@pytest.mark.parametrize("number", PASSING)
def test_a_folder_that_the_machine_cannot_read_now_is_not_skipped(tmp_path, monkeypatch, number):
    """The clips in it would be missing."""
    touch(tmp_path, "a.wav", "more/b.wav")
    scan = os.scandir

    def failing(folder):
        if folder == f"{tmp_path}/more":
            raise OSError(number, "")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(OSError, match="more") as caught:
        index_audio(tmp_path)
    monkeypatch.undo()
    assert (caught.value.errno, caught.value.filename) == (number, f"{tmp_path}/more")


def test_names_that_are_not_utf8_do_no_harm(tmp_path, caplog):
    touch(tmp_path, "a.wav")
    for name in (b"caf\xe9", b"caf\xe9/b.wav", b"\xff.wav"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(path) if b"." not in name else open(path, "wb").close()
    index = index_audio(tmp_path)
    assert index.paths(["a", "b"]) == [str(tmp_path / "a.wav"), ""]
    assert_names(caplog.text, 2, rf"{tmp_path}/\xff.wav")
    caplog.text.encode()


# ---------------------------------------------------------------------------------------------
# Wrong folders
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere", "list.csv", "empty"])
def test_a_wrong_folder_names_the_setting(tmp_path, name):
    touch(tmp_path, "list.csv", "empty/sub/notes.txt")
    with complains(DataError, tmp_path / name, "sound", "data_root"):
        index_audio(tmp_path / name, setting="sound")


def test_warning_gives_a_clip_and_a_file_if_no_clip_has_a_file(tmp_path, caplog):
    touch(tmp_path, "clip-0001.wav")
    assert index_audio(tmp_path).paths(["0001", "0002"]) == ["", ""]
    assert_names(caplog.text, 2, "0001", f"{tmp_path}/clip-0001.wav")


def test_the_count_of_files_and_clips_is_logged(tmp_path, caplog):
    touch(tmp_path, "a.wav", "a.mp3", "b.wav")
    with caplog.at_level(logging.INFO):
        index_audio(tmp_path)
    assert_names(caplog.text, 3, 2)


# ---------------------------------------------------------------------------------------------
# Many files
# ---------------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from pathlib import Path
from elasticast.data.lookup import index_audio
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
index = index_audio(Path(sys.argv[1]))
print(len(index), (peak() - before) / len(index))
"""


@pytest.mark.slow
@pytest.mark.parametrize("folders", [1, 50])
def test_an_index_takes_less_than_its_paths_would(tmp_path, folders):
    # A string of this length takes more than 150 bytes.
    names = [f"{i % folders:03d}/Y{i:011d}_30000_40000.flac" for i in range(100_000)]
    for name in names[:folders]:
        (tmp_path / "audio" / name).parent.mkdir(parents=True)
    for name in names:
        os.close(os.open(tmp_path / "audio" / name, os.O_CREAT | os.O_WRONLY))
    output = subprocess.run([sys.executable, "-c", MEASURE, tmp_path / "audio"], capture_output=True, check=True).stdout
    count, bytes_each = output.split()
    assert int(count) == len(names)
    assert float(bytes_each) < len(str(tmp_path / "audio" / names[0])) + 49
