"""Whether a figure's files show anything, and the same thing."""

import re
import zlib
from pathlib import Path

import matplotlib.pyplot as plt


def assert_drawn(figure: Path) -> None:
    """`figure`.png and `figure`.pdf have the same shape; both hold more than a blank page, up to its edges."""
    image = plt.imread(f"{figure}.png")[..., :3]
    ink = (image < 0.95).any(axis=-1)
    for axis in (0, 1):
        filled = ink.any(axis=axis).nonzero()[0]
        assert filled.max() - filled.min() > 0.8 * ink.shape[1 - axis], f"{figure}.png: mostly empty"
    assert 0.001 < ink.mean() < 0.95
    document = Path(f"{figure}.pdf").read_bytes()
    width, height = map(float, re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", document).groups())
    assert abs(width / height / (image.shape[1] / image.shape[0]) - 1) < 0.02, f"{figure}: PNG and PDF differ in shape"
    page = b"".join(_streams(document))
    assert re.search(rb"\b(Tj|TJ)\b", page), f"{figure}.pdf: no text"
    assert re.search(rb"\b(l|c|re|Do)\n", page), f"{figure}.pdf: no lines"


def _streams(document: bytes) -> list[bytes]:
    found = []
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, re.DOTALL):
        try:
            # the last byte of the data may be a `\r`, which the pattern takes for the end of a line
            found.append(zlib.decompressobj().decompress(packed))
        except zlib.error:
            continue  # not compressed
    return found
