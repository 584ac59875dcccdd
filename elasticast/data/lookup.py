"""Find the audio file of each clip with one scan of a folder, which may be large and nested."""

import logging
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from elasticast.errors import DataError
from elasticast.faults import raise_if_passing
from elasticast.text import decodable, printable

LOG = logging.getLogger(__name__)
# In order of preference if a clip has several files: lossless, then lossy, then video.
EXTENSIONS = (
    *("wav", "flac", "aiff", "aif"),
    *("ogg", "oga", "opus", "mp3", "m4a", "mka", "aac", "wma"),
    *("mp4", "m4v", "mkv", "webm", "mov", "avi", "3gp"),
)
_ORDER = {extension: rank for rank, extension in enumerate(EXTENSIONS)}


def stem_of(relative: str) -> str:
    """The last part of a path. By default, it is the name of the clip that a file belongs to."""
    return relative.rpartition("/")[2]


def index_audio(folder: Path, *, setting: str = "audio", clip_of: Callable[[str], str] = stem_of) -> "AudioIndex":
    r"""Scan `folder` and its subfolders for audio files.

    Links are followed, but no folder is entered twice. Names that start with a dot (folders of snapshots, macOS's
    ``._`` files) are skipped. A warning counts the folders that cannot be read, and the files and folders whose names
    are not UTF-8, which manifests require. Such folders are skipped, and such files have paths with escapes (``\xe9``),
    which do not exist.

    Parameters
    ----------
    folder : Path
        The folder.
    setting : str
        The key of the dataset's settings that names `folder`, for error messages.
    clip_of : callable
        Function that returns the clip that a file belongs to, or ``""`` if it belongs to none. Its argument is the path
        of the file relative to `folder`, without the extension, with ``/`` between folders, in Unicode's composed form
        (NFC).

    Raises
    ------
    DataError
        If `folder` does not exist, cannot be read or contains no audio file.
    """
    remedy = f"set `{setting}` in the dataset's settings to the folder of the audio files, relative to data_root"
    if not folder.is_dir():
        raise DataError(f"{folder}: {'a file, not a folder' if folder.exists() else 'no such folder'}; {remedy}")
    index, files = AudioIndex(folder), 0
    for path, relative in scan_audio(folder, remedy):
        index.example = index.example or path
        files += 1
        clip = clip_of(_composed(relative))
        if clip:
            index.add(clip, path)
    if not files:
        raise DataError(f"{folder}: contains no audio file ({', '.join(EXTENSIONS)}); {remedy}")
    LOG.info("%s: %d audio files for %d clips", folder, files, len(index))
    return index


class AudioIndex:
    """The audio file of each clip in a folder; see :func:`index_audio`.

    Names may be given in composed (NFC) or decomposed (NFD) form.

    Attributes
    ----------
    folder : Path
        The folder.
    example : str
        Path of the first audio file of the scan, which may belong to no clip.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.example = ""
        # Clip -> the parts of its path before and after its name. Files with equal parts share one tuple: whole paths
        # of millions of files would need much more memory. If the path does not contain the name (because it is
        # decomposed on disk), the whole path is the only part.
        self._parts: dict[str, tuple[str, ...]] = {}
        self._shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._ambiguous: set[str] = set()

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __contains__(self, clip: str) -> bool:
        return _composed(clip) in self._parts

    def add(self, clip: str, path: str) -> None:
        """Add a file. If a clip has several, `_preference` decides which one is used, whatever their order."""
        if clip in self._parts:
            self._ambiguous.add(clip)
            path = min(self.find(clip), path, key=_preference)
        before, name, after = path.rpartition(clip)
        parts = (before, after) if name else (path,)
        self._parts[clip] = self._shared.setdefault(parts, parts)

    def find(self, clip: str) -> str:
        """Path of the audio file of a clip, or ``""`` if there is none."""
        clip = _composed(clip)
        parts = self._parts.get(clip)
        return clip.join(parts) if parts else ""

    def paths(self, clips: Iterable[str]) -> list[str]:
        """Path of the audio file of each clip, or ``""`` if there is none.

        Log a warning if some clips have several files, or if no clip has a file.
        """
        clips = list(clips)
        paths = [self.find(clip) for clip in clips]
        ambiguous = [clip for clip in clips if _composed(clip) in self._ambiguous] if self._ambiguous else []
        if ambiguous:
            text = f"{len(ambiguous)} clips have several audio files; for clip {printable(ambiguous[0])}, for example,"
            LOG.warning("%s: %s %s is used", self.folder, text, printable(self.find(ambiguous[0])))
        if clips and not any(paths):
            text = f"none of the {len(clips)} clips, such as {clips[0]}, has an audio file"
            LOG.warning("%s: %s; the audio files there have paths like %r", self.folder, text, self.example)
        return paths


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _preference(path: str) -> tuple[int, int, str]:
    """Sort key for the files of a clip: longest name first (it is the most specific), then `EXTENSIONS`, then path."""
    stem, _, extension = stem_of(path).rpartition(".")
    return -len(stem), _ORDER[extension.lower()], path


def scan_audio(folder: Path, remedy: str) -> Iterator[tuple[str, str]]:
    """Path of every audio file, and its path relative to `folder` without extension. Folders are sorted by name.

    `remedy` ends the message of the error that is raised if `folder` cannot be read.

    The files of a folder are yielded one by one in the order of the file system, because a list of millions of files
    would take too much memory.
    """
    seen: set[tuple[int, int]] = set()
    waiting, skipped = [(str(folder), "")], []
    while waiting:
        current, relative = waiting.pop()
        folders: list[str] = []
        try:
            status = os.stat(current)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                for name in _files(entries, folders):
                    if not _has_text_name(name):
                        skipped.append(_rename(current, name))
                        name = decodable(name)
                    yield f"{current}/{name}", relative + name.rpartition(".")[0]
        except OSError as error:
            raise_if_passing(error, Path(current))
            if not relative:
                raise DataError(f"{folder}: cannot be read: {error.strerror}; {remedy}") from None
            skipped.append(f"{printable(current)}: {error.strerror}")
        for name in sorted(folders, reverse=True):
            if _has_text_name(name):
                waiting.append((f"{current}/{name}", f"{relative}{name}/"))
            else:
                skipped.append(_rename(current, name))
    if skipped:
        LOG.warning("%s: %d files or folders were skipped, such as %s", folder, len(skipped), skipped[0])


def _files(entries: Iterable[os.DirEntry], folders: list[str]) -> Iterator[str]:
    """Yield the names of the audio files of a folder, and append the names of its subfolders to `folders`."""
    for entry in entries:
        name = entry.name
        if name.startswith("."):
            continue
        try:
            if name.rpartition(".")[2].lower() in _ORDER and entry.is_file():
                yield name
            elif entry.is_dir():
                folders.append(name)
        except OSError as error:  # a link to itself or into an unreadable folder; skip it like a broken link
            raise_if_passing(error, Path(entry.path))


def _rename(folder: str, name: str) -> str:
    return f"{printable(folder)}/{printable(name)}: its name is not UTF-8, rename it"


def _has_text_name(name: str) -> bool:
    """Whether a name is valid UTF-8, as manifests require. Python represents other bytes as lone surrogates."""
    return not any("\udc80" <= letter <= "\udcff" for letter in name)
