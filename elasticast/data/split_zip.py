"""Read zip archives that were split into several files: ``NAME.z01``, ``NAME.z02``, ..., and ``NAME.zip`` at the end.

``zip -s SIZE`` writes such archives. The directory at the end of ``NAME.zip`` gives the place of each entry as a number
of the file and an offset in it. `zipfile` ignores the numbers, and it refuses archives of more than 4 GiB, whose
directory is announced in the zip64 format. Here, the directory is found first; `zipfile` then reads one file that
consists of all parts and a new end record.
"""

import io
import struct
import zipfile
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO

# Formats of the records at the end of an archive: PKWARE's APPNOTE.TXT, 4.3.14-4.3.16.
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_LONGEST_COMMENT = 0xFFFF
_COPIED = ("orig_filename", "flag_bits", "compress_type", "compress_size", "file_size", "CRC", "external_attr")


class SplitZip(io.RawIOBase):
    """The files of a split archive, as one file that `zipfile` can open.

    Parameters
    ----------
    parts : sequence of Path
        All files in order; ``NAME.zip`` is the last one.

    Raises
    ------
    zipfile.BadZipFile
        If there is no directory, or it belongs to another number of files.
    """

    def __init__(self, parts: Sequence[Path]):
        self._files: list[IO[bytes]] = []
        try:
            for path in parts:
                self._files.append(open(path, "rb"))  # noqa: SIM115
            self._starts = [0, *accumulate(file.seek(0, io.SEEK_END) for file in self._files)]
            self._place = 0
            self._directory, size, entries = self._find_directory()
        except BaseException:
            self.close()
            raise
        self._volumes = self._starts[:-1]
        # `zipfile` takes offsets relative to the directory if the end record says that it begins at 0.
        self._replace_end(_END.pack(b"PK\5\6", 0, 0, *[min(entries, 0xFFFF)] * 2, size, 0, 0), self._directory + size)

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
        super().close()

    def readable(self) -> bool:
        """See `io.IOBase.readable`."""
        return True

    def seekable(self) -> bool:
        """See `io.IOBase.seekable`."""
        return True

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._starts[-1]}[whence]
        return self._place

    def readinto(self, buffer: bytearray) -> int:
        """See `io.RawIOBase.readinto`."""
        if self._place >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._place) - 1
        file, most = self._files[number], self._starts[number + 1] - self._place
        file.seek(self._place - self._starts[number])
        count = file.readinto(memoryview(buffer)[:most])
        self._place += count
        return count

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, even if they are in several files; fewer only at the end."""
        blocks = []
        while size and (block := super().read(size)):
            blocks.append(block)
            size -= len(block) if size > 0 else 0
        return b"".join(blocks)

    def members(self, packed: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        """The entries of `packed`, which reads this file, with their places in it."""
        return [self._member(entry) for entry in packed.infolist()]

    def _member(self, entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
        member = zipfile.ZipInfo(entry.filename, entry.date_time)
        for name in _COPIED:
            setattr(member, name, getattr(entry, name))
        if entry.volume >= len(self._volumes):
            raise zipfile.BadZipFile(f"{entry.filename!r} is in file {entry.volume + 1} of {len(self._volumes)}")
        member.header_offset = entry.header_offset - self._directory + self._volumes[entry.volume]
        return member

    def _replace_end(self, end: bytes, start: int) -> None:
        """Replace all bytes from `start` on. Files behind it are no longer read."""
        kept = bisect_left(self._starts, start)
        for file in self._files[kept:]:
            file.close()
        self._files[kept:] = [io.BytesIO(end)]
        self._starts[kept:] = [start, start + len(end)]

    def _find_directory(self) -> tuple[int, int, int]:
        """Start, size (bytes) and number of entries of the directory, which may begin in an earlier file."""
        self.seek(max(0, self._starts[-1] - _LONGEST_COMMENT - _LOCATOR64.size - _END.size))
        tail = self.read()
        place = tail.rfind(b"PK\5\6")
        if place < 0 or place + _END.size > len(tail):
            raise zipfile.BadZipFile("it has no directory: the last file is truncated, or not a zip archive")
        _, file, first_file, _, entries, size, offset, _ = _END.unpack_from(tail, place)
        locator = tail[place - _LOCATOR64.size : place] if place >= _LOCATOR64.size else b""
        if locator.startswith(b"PK\6\7"):
            file, first_file, entries, size, offset = self._read_end64(*_LOCATOR64.unpack(locator)[1:3])
        if file + 1 != len(self._files) or first_file > file:
            raise zipfile.BadZipFile(f"it consists of {file + 1} files, but there are {len(self._files)}")
        start = self._starts[first_file] + offset
        if start + size > self._starts[-1]:
            raise zipfile.BadZipFile("its directory points outside the file")
        return start, size, entries

    def _read_end64(self, file: int, offset: int) -> tuple[int, int, int, int, int]:
        if file < len(self._files):
            self.seek(self._starts[file] + offset)
            record = self.read(_END64.size)
            if len(record) == _END64.size and record.startswith(b"PK\6\6"):
                return (*_END64.unpack(record)[4:6], *_END64.unpack(record)[7:])
        raise zipfile.BadZipFile("its zip64 directory is not where it should be")
