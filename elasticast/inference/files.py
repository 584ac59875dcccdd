"""The audio files that a user names: files, and all audio files in folders."""

import os
from collections.abc import Iterable
from pathlib import Path

from elasticast.data.lookup import EXTENSIONS, scan_audio
from elasticast.errors import DataError
from elasticast.progress import LOG


def audio_files(paths: Iterable[Path]) -> list[Path]:
    """Replace each folder by the audio files in it and in its sub-folders, in order of their names.

    The number of files of each folder is logged. Files are taken as they are, whatever their names.

    Raises
    ------
    DataError
        If a folder contains no audio file.
    """
    files = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(Path(file) for file, _ in scan_audio(path, "give other files or folders"))
        if not found:
            raise DataError(f"{path}: contains no audio file ({', '.join(EXTENSIONS)})")
        LOG.info("%s: %d audio %s", path, len(found), "file" if len(found) == 1 else "files")
        files += found
    return files


def common_folder(paths: list[str]) -> str:
    """The deepest folder that contains all files, with a separator at its end; empty if there is none to leave out."""
    if len(paths) < 2 or len({os.path.isabs(path) for path in paths}) > 1:
        return ""
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return os.path.join(folder, "") if folder not in ("", os.sep) else ""
