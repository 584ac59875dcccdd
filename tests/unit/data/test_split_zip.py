"""Split zip archives: as `zip -s` writes them, in both formats of the end record, and damaged ones."""

import io
import random
import shutil
import struct
import subprocess
import zipfile

import pytest

from elasticast.data.download import Archive, ArchiveFile, fetch_archive
from elasticast.data.unpack import DAMAGED, extract
from elasticast.errors import DataError
from tests.unit.data.test_download import files_in, sums_of

FILES = {
    "audio/a.wav": bytes(5000),
    "audio/b.wav": random.Random(0).randbytes(3000),
    "audio/empty.wav": b"",
    "list.csv": b"a\nb\n",
}


def split_zip(files, size, zip64=False, method=zipfile.ZIP_DEFLATED):
    """The files of a split archive, of `size` bytes each but the last."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
        start = packed.start_dir
    entries = b"PK\7\x08" + buffer.getvalue()[:start]  # all offsets grow by the four bytes of the marker
    directory = bytearray(buffer.getvalue()[start:-22])
    place = 0
    while place < len(directory):
        *lengths, offset = struct.unpack_from("<3H8xL", directory, place + 28)
        file, offset = divmod(offset + 4, size)
        struct.pack_into("<H", directory, place + 34, file)
        struct.pack_into("<L", directory, place + 42, offset)
        place += 46 + sum(lengths)
    file, offset = divmod(len(entries) + len(directory), size)  # of the zip64 record
    total = len(entries) + len(directory) + (56 + 20 if zip64 else 0) + 22
    last, (first, begin) = (total - 1) // size, divmod(len(entries), size)
    end = struct.pack("<4s4H2LH", b"PK\5\6", last, first, len(files), len(files), len(directory), begin, 0)
    if zip64:
        end = struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)
        counts = (len(files), len(files), len(directory), begin)
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, last, first, *counts)
        end = record + struct.pack("<4sLQL", b"PK\6\7", file, offset, last + 1) + end
    whole = entries + directory + end
    return [whole[place : place + size] for place in range(0, len(whole), size)]


def write(parts, folder, name="data"):
    names = [f"{name}.z{number:02d}" for number in range(1, len(parts))] + [f"{name}.zip"]
    for file, content in zip(names, parts, strict=True):
        (folder / file).write_bytes(content)
    return [folder / file for file in names]


def archive_of(files, sums):
    return Archive(tuple(ArchiveFile("http://127.0.0.1:9/", path.name) for path in files), str, "data", sums)


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("size", [40, 97, 1000, 3300, 100_000])
def test_it_is_unpacked_as_it_is(size, method, zip64, tmp_path):
    """With files smaller than a header, records of the directory begin in one file and end in the next."""
    packed = write(split_zip(FILES, size, zip64, method), tmp_path)
    extract(packed, tmp_path / "out", str)
    assert files_in(tmp_path / "out") == FILES


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs zip")
@pytest.mark.parametrize("options", [["-0"], ["-9"]])
def test_those_of_zip_are_unpacked(options, tmp_path):
    files = {f"data/{number}.wav": random.Random(number).randbytes(20_000) for number in range(20)}
    (tmp_path / "data").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    subprocess.run(["zip", "-q", "-s", "64k", "-r", *options, "x.zip", "data"], cwd=tmp_path, check=True)
    packed = [*sorted(tmp_path.glob("x.z[0-9]*")), tmp_path / "x.zip"]
    assert len(packed) > 5
    with pytest.raises(zipfile.BadZipFile), zipfile.ZipFile(tmp_path / "x.zip") as alone:
        alone.read("data/0.wav")  # why they need a reader
    extract(packed, tmp_path / "out", str)
    assert files_in(tmp_path / "out") == files


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize(
    "harm",
    [
        lambda parts: parts[:-1],
        lambda parts: parts[1:],
        lambda parts: [*parts[:1], *parts[2:]],
        lambda parts: [parts[1], parts[0], *parts[2:]],
        lambda parts: [*parts[:2], parts[2][:-1], *parts[3:]],
        lambda parts: [*parts[:-1], parts[-1][:-1]],
        lambda parts: [*parts[:-1], b""],
        lambda parts: [b"<html>gone</html>"] * 2,
    ],
)
def test_files_that_are_missing_cut_or_exchanged_are_noticed(harm, zip64, tmp_path):
    packed = write(harm(split_zip(FILES, 1000, zip64)), tmp_path)
    with pytest.raises(DAMAGED):
        extract(packed, tmp_path / "out", str)


@pytest.mark.parametrize("zip64", [False, True])
def test_whichever_byte_is_damaged_the_folder_is_whole_or_not_there(zip64, tmp_path):
    files = {"a.wav": b"abc" * 40, "b.wav": bytes(range(60))}
    sums = sums_of(files, tmp_path / "data.md5")
    parts = split_zip(files, 150, zip64)
    for number, part in enumerate(parts):
        for place in range(len(part)):
            damaged = part[:place] + bytes([part[place] ^ 0xFF]) + part[place + 1 :]
            packed = write([*parts[:number], damaged, *parts[number + 1 :]], tmp_path)
            folder = tmp_path / f"out{number}-{place}"
            try:
                fetch_archive(archive_of(packed, sums), folder)
            except DataError:
                assert not folder.exists()
            else:  # a date or a reserved field
                assert files_in(folder) == files
            assert not any(path.exists() for path in packed)
