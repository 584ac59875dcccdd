"""The page of an audit: one HTML file that needs no other file and runs no code."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from elasticast.encoders.contract import BATCHING
from elasticast.files import write_text
from elasticast.text import printable

TEMPLATE = "page.html.j2"
CHECKS = {
    "consistency": "Consistency: is the answer for a clip the same in every batch?",
    "length": "Length: from 0.25 s to 10 min",
    "needle": "Needle in a haystack: an event in a long background",
    "sampling": "Sampling rate and resolution",
    "cost": "Cost",
}
MARKS = {"pass": "pass", "warn": "note", "fail": "fail", "info": "", "none": "–"}


def write_page(
    results: list[dict[str, Any]], about: dict[str, Any], figures: dict[str, tuple[str, bytes]], path: Path
) -> None:
    """Write the page.

    Parameters
    ----------
    results : list of dict
        One result per encoder, see :func:`elasticast.audit.run.audit_one`.
    about : dict
        Data, limits and provenance of the audit.
    figures : dict
        Name to caption and SVG.
    path : Path
        File to write.
    """
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    images = {name: (caption, base64.b64encode(svg).decode("ascii")) for name, (caption, svg) in figures.items()}
    page = environment.get_template(TEMPLATE).render(
        results=[_printable(result) for result in results],
        about=_printable(about),
        figures=images,
        groups=_groups(results),
        batching=BATCHING,
        marks=MARKS,
    )
    write_text(path, page + "\n")


def _groups(results: list[dict[str, Any]]) -> list[tuple[str, str, list[tuple[str, list[dict | None]]]]]:
    """Findings by check: its name, its title, and one row per question with the finding of each encoder."""
    groups = []
    for check, title in CHECKS.items():
        found = [{f["what"]: _printable(f) for f in r["findings"] if f["check"] == check} for r in results]
        whats = dict.fromkeys(what for one in found for what in one)
        groups.append((check, title, [(what, [one.get(what) for one in found]) for what in whats]))
    return groups


def _printable(value: Any) -> Any:
    """The same value, without characters that are not printable, such as control characters of a label."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value
