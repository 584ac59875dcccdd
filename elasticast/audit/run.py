"""Audit encoders one after another, and write the table, the record, the figures and the page.

The result of each encoder is written as soon as it is complete. An audit that was interrupted, or to which an encoder
is added, computes only what is missing.
"""

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from elasticast.audit import consistency, cost, length, sampling
from elasticast.audit.clips import AuditClips
from elasticast.audit.figures import draw
from elasticast.audit.measures import CHANGED, CLOSE, SAME
from elasticast.audit.page import write_page
from elasticast.audit.subject import Purse, Refusal, Subject
from elasticast.checksums import read_record, write_record
from elasticast.data.manifest import write_csv
from elasticast.encoders import Encoder, open_encoder
from elasticast.errors import DataError
from elasticast.models.device import device_name
from elasticast.progress import LOG
from elasticast.provenance import code_digest, provenance
from elasticast.text import csv_cell, file_name

CSV, RECORD, PAGE = "audit.csv", "audit.json", "audit.html"
COLUMNS = ("encoder", "check", "case", "x_name", "x", "metric", "value", "n")
REMEDY = "delete it to audit the encoder again"
STEPS: tuple[tuple[str, float, Callable[[Subject, Purse], None]], ...] = (
    ("cost", 0.15, cost.check),
    ("reference", 0.15, Subject.refer),
    ("consistency", 0.2, consistency.check),
    ("limits", 0.1, length.limits),
    ("length", 0.15, length.check),
    ("needles", 0.15, length.needles),
    ("sampling", 0.1, sampling.check),
)
"""Steps in order, and their shares of the budget. Cost is first: it gives the times that the others plan with."""


CHECKS = {"reference": "consistency", "limits": "length", "needles": "needle"}
"""Groups of the verdict whose names are not those of their steps."""


def audit(sources: Sequence[str], clips: AuditClips, out: Path, budget: float) -> Path:
    """Audit encoders.

    Parameters
    ----------
    sources : sequence of str
        The encoders, see :func:`~elasticast.encoders.opening.open_encoder`.
    clips : AuditClips
        Clips with labels.
    out : Path
        Folder to write.
    budget : float
        Time to spend on each encoder (s), a guide.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If an encoder cannot be opened. All are opened before any work.
    """
    encoders = _distinct([open_encoder(source) for source in sources])
    results = [_result(encoder, clips, out, budget) for encoder in encoders]
    rows = [{"encoder": csv_cell(r["card"]["name"]), **row} for r in results for row in r["rows"]]
    write_csv(pd.DataFrame(rows, columns=list(COLUMNS)), out / CSV)
    about = {
        "data": {"name": clips.name, "clips": len(clips), "sample_rate": clips.sample_rate, "sha256": clips.sha256()},
        "budget": budget,
        "limits": {"same": SAME, "close": CLOSE, "changed": CHANGED},
        **provenance(),
    }
    figures = draw(results, out / "figures")
    write_page(results, about, figures, out / PAGE)
    summary = [{key: value for key, value in result.items() if key != "rows"} for result in results]
    write_record(out / RECORD, {**about, "encoders": summary}, [out / CSV, out / PAGE])
    return out / PAGE


def _distinct(encoders: list[Encoder]) -> list[Encoder]:
    """Number encoders of the same name."""
    seen: dict[str, int] = {}
    for encoder in encoders:
        name = encoder.card.name
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            encoder.card = dataclasses.replace(encoder.card, name=f"{name} #{seen[name]}")
    return encoders


def _result(encoder: Encoder, clips: AuditClips, out: Path, budget: float) -> dict[str, Any]:
    """The result of an encoder: from its file if it is the same audit, else computed and written."""
    key = _key(encoder, clips, budget)
    path = out / "encoders" / f"{file_name(encoder.card.name)}-{key[:8]}.json"
    if path.is_file():
        try:
            found = read_record(path, REMEDY)
        except DataError as error:
            LOG.warning("%s; it is audited again", error)
        else:
            LOG.info("%s: audited before, see %s", encoder.card.name, path)
            return found["result"]
    result = audit_one(encoder, clips, budget)
    write_record(path, {"key": key, "result": result})
    return result


def _key(encoder: Encoder, clips: AuditClips, budget: float) -> str:
    """Digest of everything that decides a result, but for the load of the machine."""
    machine = [device_name(encoder.device), torch.get_num_threads()]
    card = dataclasses.asdict(encoder.card)
    decides = [card, encoder.parameters, clips.sha256(), budget, machine, code_digest("audit")]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def audit_one(encoder: Encoder, clips: AuditClips, budget: float) -> dict[str, Any]:
    """Audit one encoder; returns what goes into its record."""
    begun, subject = time.monotonic(), Subject(encoder, clips, budget)
    for name, share, step in STEPS:
        LOG.info("%s: %s", encoder.card.name, name)
        try:
            step(subject, Purse(share * budget))
        except Exception as error:  # an encoder of another package may raise any
            LOG.warning("%s: %s: %s", encoder.card.name, name, error)
            subject.find(CHECKS.get(name, name), name, "fail", str(Refusal.of(error)))
            if subject.scorer is None and step is Subject.refer:
                break  # without reference answers nothing can be compared
    scorer = subject.scorer
    return {
        "card": dataclasses.asdict(encoder.card),
        "parameters": encoder.parameters,
        "device": device_name(encoder.device),
        "clips": len(subject.waves),
        "score_by": scorer.how if scorer else "none",
        "metric": scorer.metric if scorer else "none",
        "chance": scorer.chance if scorer else 0.0,
        "seconds": round(time.monotonic() - begun, 1),
        "findings": [finding._asdict() for finding in subject.findings],
        "untried": subject.untried,
        "rows": [{key: _json(value) for key, value in row.items()} for row in subject.rows],
    }


def _json(value: Any) -> Any:
    """A value that JSON has: None for NaN and infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
