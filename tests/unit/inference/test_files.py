"""Files and folders that `elasticast predict` is given."""

import pytest

from elasticast.errors import DataError
from elasticast.inference.files import audio_files, common_folder


@pytest.fixture
def folder(tmp_path):
    for name in ("b.wav", "sub/deep/a.flac", "sub/C.MP3", "notes.txt", "sub/labels.csv"):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "sounds"


def test_a_folder_is_searched_for_audio(folder, caplog):
    caplog.set_level("INFO", "elasticast")
    found = audio_files([folder / "notes.txt", folder])
    assert found == [folder / "notes.txt", folder / "b.wav", folder / "sub/C.MP3", folder / "sub/deep/a.flac"]
    assert any(str(folder) in record.message and "3" in record.message for record in caplog.records)


def test_a_folder_without_audio_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        audio_files([tmp_path])
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["a/b/1.wav", "a/b/c/2.wav"], "a/b/"),
        (["/x/1.wav", "/y/2.wav"], ""),
        (["1.wav", "2.wav"], ""),
        (["a/1.wav"], ""),
        (["/a/1.wav", "a/1.wav"], ""),
        (["a/1.wav", "../1.wav"], ""),
    ],
)
def test_the_common_folder(paths, folder):
    assert common_folder(paths) == folder
