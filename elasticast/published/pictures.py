"""Of which data the published figures and tables were drawn.

``figures/pictures.json`` is a record: it holds the SHA-256 of each figure and table, and of each file it was drawn
from. So a figure that is older than its data is noticed without comparing pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elasticast.checksums import FILES, file_sha256, read_record, write_record
from elasticast.errors import DataError
from elasticast.files import is_file
from elasticast.published.layout import FIGURES, PICTURES

DRAWN_FROM = "drawn_from"
"""Key of the record: SHA-256 of the data of each picture, by file."""
KEPT = (".png", ".rst", ".csv", ".md")
"""Kinds of files of which checksums are kept. Others, such as PDF, are not part of the repository."""


def record_pictures(out: Path, inputs: Mapping[str, Sequence[str]]) -> None:
    """Write ``pictures.json``.

    Parameters
    ----------
    out : Path
        ``docs/results/SUITE/figures/pictures.json``.
    inputs : mapping of str to sequence of str
        Files that each picture or table was drawn from, by its file.
    """
    pictures = [path for name in inputs for path in _files_of(Path(name))]
    sums = {Path(name).name: {file: file_sha256(Path(file)) for file in files} for name, files in inputs.items()}
    write_record(out, {DRAWN_FROM: sums}, sorted(set(pictures)))


def _files_of(picture: Path) -> list[Path]:
    """The files that were written with a picture or table, such as its caption."""
    names = (picture.stem, f"{picture.stem}_claims")
    return [path for kind in KEPT for name in names if (path := picture.with_name(name + kind)).is_file()]


def changes(folder: Path, root: Path = Path()) -> list[str]:
    """What changed since the published pictures were drawn: one line per picture and file; empty if nothing did.

    Parameters
    ----------
    folder : Path
        Folder of the published results, ``docs/results/SUITE``.
    root : Path
        Folder of the repository, which the names of data are relative to.

    Raises
    ------
    DataError
        If the pictures have no record.
    """
    source = folder / FIGURES / PICTURES
    record = read_record(source, f"run `snakemake redraw --forceall --config suite={folder.name}`")
    if DRAWN_FROM not in record:
        raise DataError(f"{source}: does not say what the pictures were drawn from")
    lines = [
        f"{source.parent / picture}: drawn from another {file}"
        for picture, files in record[DRAWN_FROM].items()
        for file, expected in files.items()
        if _sum(root / file) != expected
    ]
    own = record.get(FILES, {}).items()
    return lines + [f"{source.parent / name}: not the picture that was drawn" for name, expected in own
                    if _sum(source.parent / name) != expected]  # fmt: skip


def _sum(path: Path) -> Any:
    """SHA-256 of a file; None if there is none."""
    return file_sha256(path) if is_file(path) else None
