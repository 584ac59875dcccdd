"""Length: scores and agreement at other lengths, limits of the input, an event in a long background."""

import numpy as np
import torch

from elasticast.audit.cost import LENGTHS
from elasticast.audit.measures import CHANGED, CLOSE, FEWEST_SCORED, LONG_SECONDS, Status, drift
from elasticast.audit.signals import haystack, hide, to_length
from elasticast.audit.subject import Purse, Refusal, Subject, joined

CHECK, NEEDLE = "length", "needle"
NEEDLES = (1.0, 4.0)
HAYSTACKS = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
MOST_CLIPS = 20
MOST_NEEDLES = 10
STEADY = 0.9
"""Share of the score at full length that counts as kept."""
CUT_SECONDS = 0.02
"""Precision (s) of the place where the input is cut."""


def check(subject: Subject, purse: Purse) -> None:
    """Scores and agreement from 0.25 s to 10 min."""
    everything = list(range(len(subject.waves)))
    full = subject.scorer(subject.reference, everything)
    subject.add(CHECK, "full length", {"score": full}, len(everything))
    moved, scores = {}, {}
    for seconds in LENGTHS:
        pass_seconds = subject.speed.estimate(seconds)
        if not purse.affords(2 * pass_seconds):
            subject.untried.append(f"scores from {seconds:g} s: about {pass_seconds:.3g} s a clip (--budget)")
            break
        share = purse.left / max(len(LENGTHS) - len(moved), 1)
        count = min(MOST_CLIPS, max(2, int(share / max(pass_seconds, 1e-9))))
        indices = subject.some(count)
        found = subject.attempt([to_length(subject.waves[i], round(seconds * subject.rate)) for i in indices])
        if isinstance(found, Refusal):
            subject.untried.append(f"scores at {seconds:g} s: {found}")
            continue
        values = subject.compared(found, subject.expected(indices))
        moved[seconds] = values["drift_median"]
        if len(indices) >= FEWEST_SCORED:
            scores[seconds] = values["score"] = subject.scorer(found, indices)
        cut = [len(subject.waves[i]) >= seconds * subject.rate for i in indices]
        case = "cut" if all(cut) else "repeated" if not any(cut) else "cut or repeated"
        subject.add(CHECK, case, values, len(indices), seconds=seconds)
    _verdicts(subject, full, moved, scores)


def _verdicts(subject: Subject, full: float, moved: dict[float, float], scores: dict[float, float]) -> None:
    if not moved:
        subject.find(CHECK, "agreement with the full clip", "none", "no length was accepted")
        return
    kept = [x for x in moved if moved[x] <= CHANGED]
    worst = max(moved[x] for x in moved if x >= 1) if max(moved) >= 1 else max(moved.values())
    status: Status = "pass" if worst <= CHANGED else "warn" if worst <= 1 else "fail"
    first, last = min(moved), max(moved)
    ends = f"{moved[first]:.2g} at {first:g} s, {moved[last]:.2g} at {last:g} s"
    within = (
        f"at most {CHANGED} at {', '.join(f'{x:g}' for x in kept)} s" if kept else f"above {CHANGED} at all lengths"
    )
    subject.find(CHECK, "agreement with the full clip", status, f"drift {within}; {ends}")
    how, metric, chance = subject.scorer.how, subject.scorer.metric, subject.scorer.chance
    steady = [x for x in scores if scores[x] >= STEADY * full]
    text = f"{metric} {full:.2f} at full length (by {how}, chance {chance:.2f}); "
    ends = sorted(scores)[:: max(len(scores) - 1, 1)]
    text += "".join(f"{scores[x]:.2f} at {x:g} s, " for x in ends)
    text += f"at least {STEADY:.0%} of it at {_seconds(steady)}"
    subject.find(CHECK, "score over length", "info", text)


def _seconds(lengths: list[float]) -> str:
    return f"{', '.join(f'{x:g}' for x in lengths)} s" if lengths else "no length"


# ---------------------------------------------------------------------------------------------
# Limits of the input
# ---------------------------------------------------------------------------------------------


def limits(subject: Subject, purse: Purse) -> None:
    """The shortest and the longest input, and what happens beyond."""
    _shortest(subject)
    _longest(subject, purse)


def _shortest(subject: Subject) -> None:
    what, wave = "shortest input", subject.waves[0]
    low, high = 0, 2 * subject.rate
    if isinstance(refused := subject.attempt([to_length(wave, high)]), Refusal):
        subject.find(CHECK, what, "fail", f"2 s are refused: {refused}")
        return
    while high - low > 1:
        middle = (low + high) // 2
        found = subject.attempt([to_length(wave, middle)])
        low, high, refused = (middle, high, found) if isinstance(found, Refusal) else (low, middle, refused)
    subject.add(CHECK, what, {"samples": high, "seconds": high / subject.rate}, 1)
    below = f"; below: {refused}" if isinstance(refused, Refusal) else ""
    text = f"{1000 * high / subject.rate:.3g} ms ({high} samples){below}"
    subject.find(CHECK, what, "pass" if high <= 0.1 * subject.rate else "warn", text)


def _longest(subject: Subject, purse: Purse) -> None:
    """The longest input: refused, cut in silence, or not reached."""
    what, accepted, refused = "longest input", 0.0, None
    tried = [x for x in LENGTHS if x >= 1]
    for seconds in tried:
        if accepted >= 2 and not purse.affords(3 * subject.speed.estimate(seconds)):
            break
        found = subject.attempt([to_length(subject.waves[0], round(seconds * subject.rate))])
        if isinstance(found, Refusal):
            refused = seconds, found
            break
        accepted = seconds
    if refused:
        limit = _bisect(subject, accepted, refused[0], purse)
        subject.add(CHECK, what, {"seconds": limit}, 1)
        subject.find(CHECK, what, "warn", f"{limit:.4g} s; beyond, an error: {refused[1]}")
    elif (cut := _cut(subject, accepted)) is not None:
        subject.add(CHECK, what, {"seconds": cut}, 1)
        subject.find(CHECK, what, "warn", f"cut in silence: what follows after {cut:.4g} s changes nothing")
    else:
        subject.add(CHECK, what, {"tried_seconds": accepted}, 1)
        stated = subject.encoder.card.longer
        status: Status = "pass" if accepted >= LONG_SECONDS else "info"
        subject.find(CHECK, what, status, f"not reached: {accepted:g} s are taken, to their end (stated: {stated})")
    if accepted < max(tried) and not refused:
        subject.untried.append(f"input longer than {accepted:g} s (--budget)")


def _bisect(subject: Subject, accepted: float, refused: float, purse: Purse) -> float:
    """Longest accepted input (s) between two lengths."""
    while refused - accepted > CUT_SECONDS and purse.affords(2 * subject.speed.estimate(refused)):
        middle = (accepted + refused) / 2
        found = subject.attempt([to_length(subject.waves[0], round(middle * subject.rate))])
        accepted, refused = (accepted, middle) if isinstance(found, Refusal) else (middle, refused)
    return accepted


def _cut(subject: Subject, seconds: float) -> float | None:
    """Place (s) after which the input is ignored; None if its last tenth matters."""
    samples = round(seconds * subject.rate)
    wave, other = to_length(subject.waves[0], samples), to_length(subject.waves[-1].flip(0), samples)
    expected = subject.alone([wave]).embeddings

    def ignored(start: int) -> bool:
        found = subject.alone([torch.cat([wave[:start], other[start:]])]).embeddings
        return drift(found, expected, subject.scale).item() < 1e-6

    low, high = 0, round(0.9 * samples)
    if not ignored(high):
        return None
    while high - low > CUT_SECONDS * subject.rate:
        middle = (low + high) // 2
        low, high = (low, middle) if ignored(middle) else (middle, high)
    return high / subject.rate


# ---------------------------------------------------------------------------------------------
# Needle in a haystack
# ---------------------------------------------------------------------------------------------


def needles(subject: Subject, purse: Purse) -> None:
    """An event of a few seconds in quiet noise of 10 s to 10 min: whether the answer still depends on it, and scores.

    The response is the drift between the answers for the haystack with and without the event.
    """
    share = purse.left / len(NEEDLES)
    for seconds in NEEDLES:
        _needle(subject, seconds, Purse(share))


def _needle(subject: Subject, seconds: float, purse: Purse) -> None:
    what, responses, scores = f"an event of {seconds:g} s in a long background", {}, {}
    for length in HAYSTACKS:
        each = subject.speed.estimate(length)
        if not purse.affords(3 * each):
            subject.untried.append(f"an event of {seconds:g} s in {length:g} s: about {each:.3g} s a clip (--budget)")
            break
        share = purse.left / (len(HAYSTACKS) - len(responses))
        indices = subject.some(min(MOST_NEEDLES, max(2, int(share / max(each, 1e-9)) - 1)))
        values = _response(subject, indices, seconds, length)
        if isinstance(values, Refusal):
            subject.untried.append(f"an event of {seconds:g} s in {length:g} s: {values}")
            break
        subject.add(NEEDLE, f"{seconds:g} s", values, len(indices), seconds=length)
        responses[length] = values["response"]
        scores |= {length: values["score"]} if "score" in values else {}
    if not responses:
        subject.find(NEEDLE, what, "none", "not tried, see below")
        return
    lost = [x for x in responses if responses[x] < CLOSE]
    first, last = min(responses), max(responses)
    if lost:
        status: Status = "warn" if min(lost) > LONG_SECONDS else "fail"
    else:
        status = "pass" if last >= LONG_SECONDS else "info"
    text = f"response {responses[first]:.2g} in {first:g} s, {responses[last]:.2g} in {last:g} s"
    text += f"; below {CLOSE} from {min(lost):g} s on" if lost else ""
    if scores and subject.scorer.how == "labels":  # neighbours without a haystack say little
        text += f"; {subject.scorer.metric} " + ", ".join(f"{scores[x]:.2f} in {x:g} s" for x in scores)
    subject.find(NEEDLE, what, status, text)


def _response(subject: Subject, indices: list[int], seconds: float, length: float) -> dict[str, float] | Refusal:
    hay = haystack(round(length * subject.rate), seed=int(length))
    places = np.random.default_rng([11, int(length)]).uniform(size=len(indices))
    events = [to_length(subject.waves[i], round(seconds * subject.rate)) for i in indices]
    empty = subject.attempt([hay])
    found = subject.attempt([hide(event, hay, place) for event, place in zip(events, places, strict=True)])
    for answer in (empty, found):
        if isinstance(answer, Refusal):
            return answer
    response = drift(found.embeddings, joined([empty] * len(indices)).embeddings, subject.scale)
    values = {"response": response.median().item(), "response_min": response.min().item()}
    if len(indices) >= FEWEST_SCORED:
        values["score"] = subject.scorer(found, indices)
    return values
