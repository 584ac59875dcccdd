"""Unpack archives: only plain files, only below one folder, and no more bytes than expected.

An archive from the network may be damaged, or made to do harm: a few kB can unpack to many GB, and entries can be
links, devices, or paths outside the folder. Nothing of such an archive is kept.
"""

import errno
import gzip
import logging
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from elasticast.data.split_zip import SplitZip
from elasticast.progress import Progress
from elasticast.text import printable

LOG = logging.getLogger(__name__)
BLOCK = 1 << 20
MOST_BYTES = 4 << 30
"""Default limit of the unpacked size of an archive."""
MOST_ENTRIES = 1_000_000
RATIO = 100
"""Largest ratio of unpacked to packed size. Audio shrinks to a half, or to a twentieth if most of it is silence."""
SMALL = 64 << 20
"""Archives that unpack to less (bytes) may have any ratio."""
LONGEST_NAME = 255  # bytes; limit of Linux file systems
RESERVE = 64 << 20
"""Free space (bytes) that stays on the disk."""


class DamagedArchiveError(Exception):
    """The archive is incomplete, or differs from the published one."""


class RefusedArchiveError(Exception):
    """The archive would write what it must not. The message names the entry."""


DAMAGED = (DamagedArchiveError, tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
Wanted = Callable[[PurePosixPath], str | None]


class Entry(NamedTuple):
    """An entry of an archive: path, unpacked size (bytes), whether it is a plain file, and its content."""

    name: str
    size: int
    plain: bool
    content: IO[bytes] | None


def extract(packed: Sequence[Path], folder: Path, wanted: Wanted, most: int = MOST_BYTES) -> None:
    """Write the wanted files of an archive to a new folder.

    Parameters
    ----------
    packed : sequence of Path
        The archive, ``.zip`` or ``.tar.gz``; of a split zip archive, all files in order, ``.zip`` at the end.
    folder : Path
        Folder to create.
    wanted : callable
        Maps the path of a file in the archive to its path in the folder, or to None if the file is not needed.
    most : int
        Largest unpacked size of all entries, with their headers (bytes).

    Raises
    ------
    RefusedArchiveError
        If an entry is outside the folder, a wanted entry is not a plain file, two files have the same name, or the
        archive is too large. The message contains the entry.
    DamagedArchiveError
        If the archive is damaged or contains no wanted file. A damaged archive may also raise one of :data:`DAMAGED`.
    OSError
        If a file cannot be written, for example because the disk is full.
    """
    folder.mkdir()
    size, name = sum(path.stat().st_size for path in packed), packed[-1].name
    most, names, files = min(most, max(SMALL, RATIO * size)), _Names(), 0
    with _opened(packed) as file, Progress(f"MiB of {name} unpacked", -(-size // BLOCK)) as progress:
        for entry in (_zip_entries if name.endswith(".zip") else _tar_entries)(file, most):
            relative = _relative(entry, wanted)
            if relative is not None:
                names.add(relative, entry.name)
                _write(entry, folder / relative)
                files += 1
            progress.update(file.tell() // BLOCK)
    if not files:
        raise DamagedArchiveError("it contains none of the expected files")
    LOG.info("%s: %d files unpacked", packed[-1], files)


def _opened(packed: Sequence[Path]) -> IO[bytes]:
    return open(packed[0], "rb") if len(packed) == 1 else SplitZip(packed)


def _relative(entry: Entry, wanted: Wanted) -> str | None:
    """Path in the folder of an entry, None if the entry is not needed."""
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts:
        raise RefusedArchiveError(f"entry {printable(entry.name)!r} is outside the folder")
    relative = wanted(path)
    if relative is not None and not entry.plain:
        raise RefusedArchiveError(f"entry {printable(entry.name)!r} is a link or a device, not a file")
    if relative is not None and max(len(os.fsencode(part)) for part in path.parts) > LONGEST_NAME:
        raise RefusedArchiveError(f"entry {printable(entry.name)!r} has a name of more than {LONGEST_NAME} bytes")
    return relative


class _Names:
    """The files written so far. Names are compared without case: some disks do not distinguish it."""

    def __init__(self):
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, relative: str, entry: str) -> None:
        """Add the path of a file in the folder. Raise an error if another entry has the same path."""
        folded = PurePosixPath(unicodedata.normalize("NFC", relative).casefold())
        parents = [str(parent) for parent in folded.parents][:-1]
        other = self._files.get(str(folded), self._folders.get(str(folded)))
        other = next((self._files[parent] for parent in parents if parent in self._files), other)
        if other is not None:
            raise RefusedArchiveError(f"entry {printable(entry)!r} has the same path as entry {printable(other)!r}")
        self._files[str(folded)] = entry
        self._folders |= dict.fromkeys(parents, entry)


def _write(entry: Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(target.parent).free < entry.size + RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    with open(target, "wb") as out:
        shutil.copyfileobj(entry.content, out)


def _check_limits(entries: int, size: int, most: int, name: str) -> None:
    """Check the number and the size (bytes) of all entries so far."""
    if entries > MOST_ENTRIES:
        raise RefusedArchiveError(f"entry {printable(name)!r}: more than {MOST_ENTRIES:,} entries")
    if size > most:
        raise RefusedArchiveError(
            f"entry {printable(name)!r}: the archive unpacks to {size:,} bytes or more, allowed are {most:,}"
        )


def _zip_entries(file: IO[bytes], most: int) -> Iterator[Entry]:
    """All entries of a zip file but folders. Reading a content to its end checks its CRC-32.

    `zipfile` never reads more from an entry than the directory declares, so the declared sizes can be checked first.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            members, size = file.members(packed) if isinstance(file, SplitZip) else packed.infolist(), 0
            for number, member in enumerate(members, start=1):
                size += member.file_size
                _check_limits(number, size, most, member.filename)
            for member in members:
                kind = stat.S_IFMT(member.external_attr >> 16)  # 0 if the archive was not created on Unix
                if not member.is_dir() and kind != stat.S_IFDIR:
                    with packed.open(member) as content:
                        yield Entry(member.filename, member.file_size, kind in (0, stat.S_IFREG), content)
    except RefusedArchiveError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise DamagedArchiveError("its directory points outside the file") from None
    except Exception as error:  # zipfile raises many kinds of errors for a damaged directory
        raise DamagedArchiveError(error) from None


class _Bounded(gzip.GzipFile):
    """A gzip file that refuses to unpack more than a number of bytes, whatever its headers declare."""

    most = MOST_BYTES
    name_of_entry = ""

    def read(self, size: int = -1) -> bytes:
        """See `gzip.GzipFile.read`."""
        data = super().read(min(size, self.most + BLOCK) if size >= 0 else self.most + BLOCK)
        _check_limits(0, self.tell(), self.most, self.name_of_entry)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `gzip.GzipFile.seek`."""
        _check_limits(0, offset, self.most, self.name_of_entry)
        return super().seek(offset, whence)


def _tar_entries(file: IO[bytes], most: int) -> Iterator[Entry]:
    """All entries of a gzipped tar file but folders."""
    with _Bounded(fileobj=file, mode="rb") as unzipped:
        unzipped.most = most
        with tarfile.open(fileobj=unzipped, mode="r:") as packed:
            for number, member in enumerate(packed, start=1):
                unzipped.name_of_entry = member.name
                _check_limits(number, member.offset_data + member.size, most, member.name)
                if not member.isdir():
                    content = packed.extractfile(member) if member.isfile() else None
                    yield Entry(member.name, member.size, member.isfile(), content)
            while unzipped.read(BLOCK):  # read to the end, where gzip stores its checksum
                pass
