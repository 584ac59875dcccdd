"""Consistency: the answer for a clip must not depend on its batch, and little on silence around it or a small shift."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from elasticast.audit.measures import Status, equality, stability
from elasticast.audit.signals import silence, to_length
from elasticast.audit.subject import Purse, Subject, joined, unless_refused
from elasticast.encoders.contract import BATCHING, Encoded

CHECK = "consistency"
LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Lengths (s) of clips that are batched with a longer one."""
NEIGHBOUR_SECONDS = 10.0
SILENCES = (0.1, 1.0, 5.0)
JUDGED = "1 s"
"""The silence (s) that decides the status. All encoders that average over time change with a longer one."""
SHIFTS_MS = (1.0, 5.0, 10.0, 40.0, 80.0)
"""The first milliseconds that are cut off; a patch of 16 frames of 10 ms has 160 ms."""
QUIET = 0.03
MOST_CLIPS = 12
PASSES = 30
"""Rough number of passes per clip of all cases together."""


def check(subject: Subject, purse: Purse) -> None:
    """Run all cases on the same clips."""
    indices = subject.some(subject.affordable(purse, PASSES * subject.speed.estimate(6.0), MOST_CLIPS))
    waves, expected = [subject.waves[i] for i in indices], subject.expected(indices)
    _repeated(subject, waves, expected)
    _batched(subject, waves, expected)
    _short_with_long(subject, waves)
    _loud_neighbour(subject, waves)
    _silence(subject, waves, expected)
    _shifted(subject, waves, expected)


def _verdict(
    subject: Subject, what: str, judge: Callable[[float], Status], cases: dict[str, dict[str, float]], key: str
) -> None:
    """Add a line for the worst of some cases."""
    worst = max(cases, key=lambda case: cases[case][key])
    values = cases[worst]
    text = f"drift {values[key]:.2g}" + (f" ({worst})" if len(cases) > 1 else "")
    text += f", cosine {values['cosine_min']:.6g}"
    if "top_label_changed" in values:
        text += f", top label changed for {values['top_label_changed']:.0%}"
    subject.find(CHECK, what, judge(values[key]), text)


def _repeated(subject: Subject, waves: Sequence[Tensor], expected: Encoded) -> None:
    what = "the same clip twice"
    with unless_refused(subject, CHECK, what):
        values = subject.compared(subject.alone(waves), expected)
        subject.add(CHECK, what, values, len(waves))
        _verdict(subject, what, equality, {what: values}, "drift_max")


def _batched(subject: Subject, waves: Sequence[Tensor], expected: Encoded) -> None:
    """All clips in one batch: of one length, of their lengths, in another order."""
    shortest = min(map(len, waves))
    cut = [wave[:shortest] for wave in waves]
    batching = subject.encoder.card.batching
    cases = {
        "in a batch of one length": lambda: (subject.encoder.encode(cut), subject.alone(cut)),
        "in a batch of several lengths": lambda: (subject.encoder.encode(waves), expected),
        "in another order": lambda: (_flipped(subject.encoder.encode(waves[::-1])), subject.encoder.encode(waves)),
    }
    for what, answers in cases.items():
        with unless_refused(subject, CHECK, what):
            values = subject.compared(*answers())
            subject.add(CHECK, what, values, len(waves))
            _verdict(subject, what, equality, {what: values}, "drift_max")
            if "several" in what:
                line = subject.findings[-1]
                subject.findings[-1] = line._replace(text=f"{line.text}; {BATCHING[batching]}")


def _flipped(found: Encoded) -> Encoded:
    return Encoded(*(None if x is None else x.flip(0) for x in found))


def _firsts(batches: Sequence[Encoded]) -> Encoded:
    """The answers for the first clip of each batch."""
    return joined([Encoded(*(None if x is None else x[:1] for x in batch)) for batch in batches])


def _short_with_long(subject: Subject, waves: Sequence[Tensor]) -> None:
    """Short clips, each in a batch with one of 10 s."""
    what, cases = "a short clip in a batch with one of 10 s", {}
    long = to_length(waves[-1], round(NEIGHBOUR_SECONDS * subject.rate))
    with unless_refused(subject, CHECK, what):
        for seconds in LENGTHS:
            short = [to_length(wave, round(seconds * subject.rate)) for wave in waves[:4]]
            together = [subject.encoder.encode([wave, long]) for wave in short]
            found = Encoded(
                *(None if x[0] is None else torch.cat([y[:1] for y in x]) for x in zip(*together, strict=True))
            )
            cases[f"{seconds:g} s"] = subject.compared(found, subject.alone(short))
            subject.add(CHECK, what, cases[f"{seconds:g} s"], len(short), seconds=seconds)
        _verdict(subject, what, equality, cases, "drift_max")


def _loud_neighbour(subject: Subject, waves: Sequence[Tensor]) -> None:
    """Quiet clips, each in a batch with a loud one of the same length, so that nothing is padded."""
    what = "a quiet clip in a batch with a loud one"
    with unless_refused(subject, CHECK, what):
        seconds = min(2.0, min(map(len, waves)) / subject.rate)
        cut = [wave[: round(seconds * subject.rate)] for wave in waves]
        quiet = [QUIET * wave for wave in cut]
        loud = [wave / wave.abs().max().clamp(min=1e-9) for wave in (*cut[1:], cut[0])]
        together = [subject.encoder.encode(pair) for pair in zip(quiet, loud, strict=True)]
        found = _firsts(together)
        values = subject.compared(found, subject.alone(quiet))
        subject.add(CHECK, what, values, len(quiet))
        _verdict(subject, what, equality, {what: values}, "drift_max")


def _silence(subject: Subject, waves: Sequence[Tensor], expected: Encoded) -> None:
    for where in ("appended", "prepended"):
        what, cases = f"silence {where}", {}
        with unless_refused(subject, CHECK, what):
            for seconds in SILENCES:
                zeros = silence(round(seconds * subject.rate))
                changed = [torch.cat([wave, zeros] if where == "appended" else [zeros, wave]) for wave in waves]
                cases[f"{seconds:g} s"] = subject.compared(subject.alone(changed), expected)
                subject.add(CHECK, what, cases[f"{seconds:g} s"], len(waves), seconds=seconds)
            each = ", ".join(f"{values['drift_median']:.2g} ({case})" for case, values in cases.items())
            subject.find(CHECK, what, stability(cases[JUDGED]["drift_median"]), f"drift {each}")


def _shifted(subject: Subject, waves: Sequence[Tensor], expected: Encoded) -> None:
    what, cases = "start cut off by less than a patch", {}
    with unless_refused(subject, CHECK, what):
        for ms in SHIFTS_MS:
            changed = [wave[round(ms * subject.rate / 1000) :] for wave in waves]
            cases[f"{ms:g} ms"] = subject.compared(subject.alone(changed), expected)
            subject.add(CHECK, what, cases[f"{ms:g} ms"], len(waves), ms=ms)
        _verdict(subject, what, stability, cases, "drift_median")
