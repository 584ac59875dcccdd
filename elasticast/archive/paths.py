"""Refuse files that hold paths of this machine, or its name: others cannot use them, and they are nobody's business."""

import os
import platform
import re
from pathlib import Path

from elasticast.errors import DataError

_TEXT = (".json", ".csv", ".yaml", ".html", ".md", ".tex", ".rst", ".txt", ".py")


def private_words() -> dict[str, re.Pattern[bytes]]:
    """What no file of an archive may hold, with a pattern for each: current folder, home folder, host name."""
    host = platform.node().partition(".")[0]
    folders = {os.getcwd(), os.path.realpath(os.getcwd()), str(Path.home())} - {"/", "/root"}
    words = {folder: re.compile(re.escape(os.fsencode(folder)) + rb"(?![\w-])") for folder in folders}
    if host and host != "localhost":
        words[host] = re.compile(rb"(?<![\w.-])" + re.escape(host.encode()) + rb"(?![\w-])")
    return words


def check_paths(files: dict[str, Path]) -> None:
    """Refuse files of text that hold one of :func:`private_words`, or a path from the root that exists here.

    Raises
    ------
    DataError
        For the first such file.
    """
    words = private_words()
    for name, file in files.items():
        if file.suffix not in _TEXT:
            continue
        content = file.read_bytes()
        found = [word for word, pattern in words.items() if pattern.search(content)] or _existing_paths(content)
        if found:
            raise DataError(
                f"{file}: holds {found[0]!r}, which is of this machine, so it cannot be published as {name}; run the "
                "suite with relative folders in config/config.yaml"
            )


def _existing_paths(content: bytes) -> list[str]:
    """Paths from the root, in quotes or between separators, that exist on this machine."""
    found = re.findall(rb'(?<=["\',\s=])/[\w.-]+(?:/[\w.-]+)+', content)
    return [path for path in dict.fromkeys(os.fsdecode(p) for p in found) if os.path.exists(path)]
