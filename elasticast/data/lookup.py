"""Finding the audio file of each clip: one scan of a folder, however large and however nested."""

import logging
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
# Where several files fit one clip, the first of these is taken: lossless, then lossy, then video.
EXTENSIONS = (
    *("wav", "flac", "aiff", "aif"),
    *("ogg", "oga", "opus", "mp3", "m4a", "mka", "aac", "wma"),
    *("mp4", "m4v", "mkv", "webm", "mov", "avi", "3gp"),
)
_ORDER = {extension: place for place, extension in enumerate(EXTENSIONS)}


def stem_of(relative: str) -> str:
    """The last part of a path: by default the clip that a file is the audio of."""
    return relative.rpartition("/")[2]


def index_audio(folder: Path, *, setting: str = "audio", clip_of: Callable[[str], str] = stem_of) -> "AudioIndex":
    """Scan `folder` and all below it for audio files.

    Links are followed, but no folder is entered twice; names that begin with a dot (folders of snapshots, macOS's
    ``._`` files) are passed over. Folders that cannot be read, or named, are counted in a warning.

    Parameters
    ----------
    setting : str
        The key of the dataset's settings that names `folder`, for error messages.
    clip_of : callable
        The clip a file is the audio of; ``""`` for none. Its argument is the path below `folder` without the
        extension, with ``/`` between folders, in Unicode's composed form (NFC).

    Raises
    ------
    DataError
        If `folder` is not there, cannot be read or holds no audio file.
    """
    should = f"`{setting}` in the dataset's settings should name the folder of the audio files, relative to data_root"
    if not folder.is_dir():
        raise DataError(f"{folder}: {'a file, not a folder' if folder.exists() else 'no such folder'}; {should}")
    index, files = AudioIndex(folder), 0
    for path, relative in _scan(folder, should):
        index.example = index.example or path
        files += 1
        clip = clip_of(_composed(relative))
        if clip:
            index.add(clip, path)
    if not files:
        raise DataError(f"{folder}: no audio file in it or below ({', '.join(EXTENSIONS)}); {should}")
    LOG.info("%s: %d audio files, of %d clips", folder, files, len(index))
    return index


class AudioIndex:
    """The audio files of a folder by the clip they belong to; made by `index_audio`.

    A clip is found under the composed (NFC) and the decomposed (NFD) form of its name alike.

    Attributes
    ----------
    example : str
        Path of one of the files, of a clip or not.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.example = ""
        # clip -> what stands before and after its name in the path, shared by all files for which it is the same: of
        # millions of files, the paths themselves would be most of the memory. Where the path does not hold the name
        # (decomposed on disk), the whole path is the only part.
        self._parts: dict[str, tuple[str, ...]] = {}
        self._shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._several: set[str] = set()

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __contains__(self, clip: str) -> bool:
        return _composed(clip) in self._parts

    def add(self, clip: str, path: str) -> None:
        """Note a file; of several of one clip one stays, whatever order they come in, see `_preference`."""
        if clip in self._parts:
            self._several.add(clip)
            path = min(self.find(clip), path, key=_preference)
        before, name, after = path.rpartition(clip)
        parts = (before, after) if name else (path,)
        self._parts[clip] = self._shared.setdefault(parts, parts)

    def find(self, clip: str) -> str:
        """Path of the clip's audio file; ``""`` where there is none."""
        clip = _composed(clip)
        parts = self._parts.get(clip)
        return clip.join(parts) if parts else ""

    def paths(self, clips: Iterable[str]) -> list[str]:
        """Path of every clip's audio file, ``""`` where there is none; warns if some have several, or all have none."""
        clips = list(clips)
        found = [self.find(clip) for clip in clips]
        several = [clip for clip in clips if _composed(clip) in self._several] if self._several else []
        if several:
            what = f"{len(several)} clips have several audio files; of clip {several[0]}, for example,"
            LOG.warning("%s: %s %s is used", self.folder, what, self.find(several[0]))
        if clips and not any(found):
            what = f"none of the {len(clips)} clips, such as {clips[0]}, has an audio file"
            LOG.warning("%s: %s; the names there are like %r", self.folder, what, self.example)
        return found


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _preference(path: str) -> tuple[int, int, str]:
    """Sorts the files of one clip: the longest name first (it says most of the clip), then `EXTENSIONS`, then paths."""
    stem, _, extension = stem_of(path).rpartition(".")
    return -len(stem), _ORDER[extension.lower()], path


def _scan(folder: Path, should: str) -> Iterator[tuple[str, str]]:
    """Path, and path below `folder` without extension, of every audio file; folders in the order of their names.

    Files come one by one as the file system gives them: two million in one folder are never a list.
    """
    seen: set[tuple[int, int]] = set()
    waiting, left_out = [(str(folder), "")], []
    while waiting:
        at, below = waiting.pop()
        folders: list[str] = []
        try:
            status = os.stat(at)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(at) as entries:
                for name in _files(entries, folders):
                    yield f"{at}/{name}", below + name.rpartition(".")[0]
        except OSError as error:
            if not below:
                raise DataError(f"{folder}: cannot be read: {error.strerror}; {should}") from None
            left_out.append(f"{at}: {error.strerror}")
        for name in sorted(folders, reverse=True):
            if _has_text_name(name):
                waiting.append((f"{at}/{name}", f"{below}{name}/"))
            else:
                left_out.append(f"{at}/{name!a}: its name is not UTF-8, rename it")
    if left_out:
        LOG.warning("%s: %d folders left out, such as %s", folder, len(left_out), left_out[0])


def _files(entries: Iterable[os.DirEntry], folders: list[str]) -> Iterator[str]:
    """Names of the audio files of a folder; those of its folders are added to `folders`."""
    for entry in entries:
        name = entry.name
        if name.startswith("."):
            continue
        try:
            if name.rpartition(".")[2].lower() in _ORDER and entry.is_file():
                yield name
            elif entry.is_dir():
                folders.append(name)
        except OSError:  # a link to itself, or into a folder that cannot be read: like a broken link, it is no file
            continue


def _has_text_name(name: str) -> bool:
    """Whether a name can be written to a manifest; Python gives bytes that are not UTF-8 as lone surrogates."""
    return not any("\udc80" <= letter <= "\udcff" for letter in name)
