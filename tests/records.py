"""Records that fit files which a test has changed."""

from pathlib import Path
from typing import Any

from elasticast.checksums import FILES, OWN, write_record
from elasticast.files import read_json


def rewrite_record(source: Path, **changes: Any) -> None:
    """Write a record again, with changed values and the checksums that its files have now."""
    record = read_json(source)
    files = [source.with_name(name) for name in record.pop(FILES, {})]
    del record[OWN]
    write_record(source, record | changes, [] if FILES in changes else files)
