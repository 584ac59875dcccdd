"""Resolution and sampling rate: a longer hop, sound without high frequencies, telephone files."""

from elasticast.audit.measures import CHANGED, CLOSE, FEWEST_SCORED, stability
from elasticast.audit.signals import telephone
from elasticast.audit.subject import Purse, Subject, unless_refused
from elasticast.data.bandwidth import band_limited

CHECK = "sampling"
RATES = (12000, 8000, 4000)
"""Sample rates (Hz) that clips are reduced to."""
MOST_CLIPS = 20
SECONDS = 7.0


def check(subject: Subject, purse: Purse) -> None:
    """Run both parts on the same clips."""
    passes = len(RATES) + 1 + len(subject.encoder.card.compressions) - 1
    indices = subject.some(subject.affordable(purse, passes * subject.speed.estimate(SECONDS), MOST_CLIPS))
    _rates(subject, indices)
    _hops(subject, indices)


def _rates(subject: Subject, indices: list[int]) -> None:
    what, waves, rate = "sound of a lower sample rate", [subject.waves[i] for i in indices], subject.rate
    known = subject.clips.sample_rate
    lower = [low for low in RATES if low < min(known, rate)]
    if not lower:
        subject.find(CHECK, what, "none", f"the clips are at {known} Hz and the encoder at {rate} Hz")
        return
    full = subject.scorer(subject.expected(indices), indices)
    scored = len(indices) >= FEWEST_SCORED
    at_full = {"drift_median": 0.0} | ({"score": full} if scored else {})
    subject.add(CHECK, "sample rate", at_full, len(indices), hertz=min(known, rate))
    moved, scores = {}, {}
    with unless_refused(subject, CHECK, what):
        changes = {f"{low} Hz": (low, [band_limited(wave, rate, low) for wave in waves]) for low in lower}
        if 8000 in lower:
            changes["telephone file"] = (8000, [telephone(wave, rate) for wave in waves])
        for name, (low, changed) in changes.items():
            found = subject.alone(changed)
            values = subject.compared(found, subject.expected(indices))
            moved[name] = values["drift_median"]
            if scored:
                scores[name] = values["score"] = subject.scorer(found, indices)
            case = "telephone file" if name == "telephone file" else "sample rate"
            subject.add(CHECK, case, values, len(indices), hertz=low)
        judged = moved.get("8000 Hz", max(moved.values()))
        text = "drift " + ", ".join(f"{moved[name]:.2g} ({name})" for name in moved)
        if scored:
            text += f"; {subject.scorer.metric} {full:.2f}, then "
            text += ", ".join(f"{scores[name]:.2f}" for name in scores)
        subject.find(CHECK, what, stability(judged), text)


def _hops(subject: Subject, indices: list[int]) -> None:
    what, card = "a longer hop", subject.encoder.card
    factors = [c for c in card.compressions if c != 1]
    if not factors:
        subject.find(CHECK, what, "none", "not applicable: the hop is fixed")
        return
    waves, moved = [subject.waves[i] for i in indices], {}
    with unless_refused(subject, CHECK, what):
        for factor in factors:
            found = subject.alone(waves, factor)
            values = subject.compared(found, subject.expected(indices))
            moved[factor] = values["drift_median"]
            if len(indices) >= FEWEST_SCORED:
                values["score"] = subject.scorer(found, indices)
            subject.add(CHECK, what, values, len(indices), hop_ms=card.hop_ms * factor)
        text = "drift " + ", ".join(f"{moved[x]:.2g} ({card.hop_ms * x:g} ms)" for x in moved)
        worst = max(moved.values())
        status = "pass" if worst <= CLOSE else "warn" if worst <= CHANGED else "fail"
        subject.find(CHECK, what, status, text)
