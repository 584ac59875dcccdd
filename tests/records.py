"""Records that fit files which a test has changed."""

from pathlib import Path
from typing import Any

from elasticast.checksums import FILES, OWN, write_record
from elasticast.files import read_json


def rewrite_record(source: Path, **changes: Any) -> None:
    """Write a record again, with changed values and the checksums that its files have now."""
    record = read_json(source) | changes
    files = [source.with_name(name) for name in record.get(FILES, {})]
    write_record(source, {key: value for key, value in record.items() if key not in (OWN, FILES)}, files)
