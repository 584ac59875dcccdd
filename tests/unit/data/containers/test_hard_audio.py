"""Files of other tools and their right values; skipped where the files are missing."""

import csv
import re
from pathlib import Path

import pytest

from elasticast.data.manifest import reason_kind
from tests.unit.data.sounds import prepared

FOLDER = Path(__file__).parents[5] / "shared" / "data" / "hard_audio"
REASONS = {
    "truncated": "truncated",
    "not scaled": "samples not scaled to [-1, 1]",
    "full scale": "samples not scaled to [-1, 1]",
}
ROWS = list(csv.DictReader((FOLDER / "expected.csv").open(encoding="utf-8"))) if FOLDER.is_dir() else []
DELAY = 3 * 1152


@pytest.mark.skipif(not ROWS, reason=f"no {FOLDER}")
@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_hard_audio(tmp_path, row):
    found = prepared(tmp_path / "clip", (FOLDER / row["file"]).read_bytes())
    if row["samples"]:
        assert not isinstance(found, str), found
        exact = not re.search("about", row["expected"])
        assert abs(len(found) - int(row["samples"])) <= (0 if exact else DELAY)
    else:
        assert reason_kind(found) == next(kind for text, kind in REASONS.items() if text in row["expected"])
