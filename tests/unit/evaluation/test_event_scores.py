import json
from pathlib import Path

import numpy as np
import pytest

from elasticast.data.events import Events
from elasticast.evaluation.event_f1 import event_counts, segment_counts
from elasticast.evaluation.psds import PSDS1, PSDS2, StepScores, psds
from tests.golden import event_scores

REFERENCE = json.loads(Path(event_scores.__file__).with_suffix(".json").read_text())
CRITERIA = {"PSDS1": PSDS1, "PSDS2": PSDS2}
COUNTS = {"event": event_counts, "segment": segment_counts}


def events_in(clips, what="events"):
    return Events.of([(i, *event) for i, clip in enumerate(clips) for event in clip[what]])


def step_scores(clips, classes):
    longest = max(len(clip["scores"]) for clip in clips)
    values = np.full((classes, len(clips), longest), -np.inf)
    edges = np.zeros((len(clips), longest + 1))
    for i, clip in enumerate(clips):
        count = len(clip["scores"])
        values[:, i, :count] = clip["scores"].T
        edges[i] = np.append(clip["edges"], np.full(longest - count, clip["edges"][-1]))
    return [StepScores(one, edges) for one in values]


def score(clips, classes, criteria, change=lambda scores: scores):
    scores = [StepScores(change(one.values), one.edges) for one in step_scores(clips, classes)]
    return psds(scores, events_in(clips), sum(clip["edges"][-1] for clip in clips), criteria)


@pytest.mark.parametrize("seed", range(event_scores.CASES))
def test_psds_is_that_of_sed_scores_eval(seed):
    case, reference = event_scores.case(seed), REFERENCE[seed]
    for name, criteria in CRITERIA.items():
        value, single = score(case["clips"], case["classes"], criteria._replace(e_max=case["e_max"]))
        assert value == pytest.approx(reference[name]["all"], abs=1e-9)
        np.testing.assert_allclose(single, reference[name]["classes"], rtol=0, atol=1e-9)


def test_the_reference_is_not_trivial():
    for name in CRITERIA:
        values = [reference[name]["all"] for reference in REFERENCE]
        assert sum(0.01 < value < 0.99 for value in values) > 8


@pytest.mark.parametrize("seed", range(event_scores.CASES))
@pytest.mark.parametrize("kind", COUNTS)
def test_f1_is_that_of_sed_eval(seed, kind):
    """A class with events but without detections has F1 = 0; sed_eval has none for segments."""
    case, reference = event_scores.case(seed), REFERENCE[seed][kind]
    counts = COUNTS[kind](events_in(case["clips"], "detections"), events_in(case["clips"]), case["classes"])
    assert counts.micro() == pytest.approx(reference["micro"], abs=1e-9)
    np.testing.assert_allclose(counts.f1(), np.nan_to_num(reference["classes"]), rtol=0, atol=1e-9)
    assert counts.macro() == pytest.approx(np.nan_to_num(reference["classes"]).mean(), abs=1e-9)


def perfect(seed=5):
    """Clips in which the scores are 1 during events, which begin and end with intervals, and 0 elsewhere."""
    clips = event_scores.case(seed)["clips"]
    for clip in clips:
        edges, covered = clip["edges"], set()
        clip["scores"][:] = 0
        clip["events"] = [[c, *np.searchsorted(edges, [on, off])] for c, on, off in clip["events"]]
        kept = []
        for label, first, last in clip["events"]:
            places = {(label, place) for place in range(first - 1, last + 1)}
            if first < last and not places & covered:
                covered |= places
                clip["scores"][first:last, label] = 1
                kept.append([label, float(edges[first]), float(edges[last])])
        clip["events"] = kept
    return clips


@pytest.mark.parametrize("criteria", CRITERIA.values())
def test_perfect_scores_have_psds_1(criteria):
    clips = perfect()
    value, single = score(clips, clips[0]["scores"].shape[1], criteria)
    assert value == pytest.approx(1, abs=1e-12)
    assert np.nanmin(single) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("criteria", CRITERIA.values())
def test_only_the_order_of_scores_matters(criteria):
    case = event_scores.case(5)
    value, single = score(case["clips"], case["classes"], criteria._replace(e_max=3600))
    other, others = score(case["clips"], case["classes"], criteria._replace(e_max=3600), lambda s: 3 * np.exp(s))
    assert value == pytest.approx(other, abs=1e-12)
    np.testing.assert_allclose(single, others, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_penalty_of_differences_between_classes_lowers_the_score(seed):
    case = event_scores.case(seed)
    values = [
        score(case["clips"], case["classes"], PSDS1._replace(alpha_st=alpha, e_max=case["e_max"]))[0]
        for alpha in (0, 0.5, 1)
    ]
    assert values == sorted(values, reverse=True)


def test_classes_without_events_do_not_count():
    case = event_scores.case(5)
    wide = [{**clip, "scores": np.pad(clip["scores"], ((0, 0), (0, 2)))} for clip in case["clips"]]
    for criteria in CRITERIA.values():
        criteria = criteria._replace(e_max=3600)
        value, single = score(wide, case["classes"] + 2, criteria)
        assert value == pytest.approx(score(case["clips"], case["classes"], criteria)[0], abs=1e-12)
        assert np.isnan(single[-2:]).all()


def test_data_without_any_event_have_no_score():
    case = event_scores.case(5)
    empty = [{**clip, "events": []} for clip in case["clips"]]
    assert np.isnan(score(empty, case["classes"], PSDS1)[0])
    assert np.isnan(event_counts(Events.of([]), Events.of([]), 3).macro())


EVENTS = Events.of([(0, 0, 1.0, 2.0), (0, 1, 3.0, 4.5), (1, 0, 0.5, 1.5)])


def shifted(seconds):
    return Events(EVENTS.clip, EVENTS.label, EVENTS.onset + seconds, EVENTS.offset + seconds)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1), (0.19, 1), (-0.19, 1), (0.21, 0), (-0.35, 0)])
def test_a_shift_beyond_the_collar_gives_0(shift, expected):
    counts = event_counts(shifted(shift), EVENTS, 2)
    assert counts.macro() == counts.micro() == expected


def test_events_match_in_their_clip_and_class_only():
    others = [(1 - EVENTS.clip, EVENTS.label), (EVENTS.clip, 1 - EVENTS.label)]
    for clip, label in others:
        moved = Events.of(list(zip(clip, label, EVENTS.onset, EVENTS.offset, strict=True)))
        for count in COUNTS.values():
            assert count(moved, EVENTS, 2).micro() < 1
    assert segment_counts(EVENTS, EVENTS, 2).micro() == 1


def test_an_event_matches_one_detection():
    twice = Events.of([(0, 0, 1.0, 2.0), (0, 0, 1.05, 2.05)])
    one = Events.of([(0, 0, 1.0, 2.0)])
    assert event_counts(twice, one, 1).f1() == pytest.approx(2 / 3)
    assert event_counts(one, twice, 1).f1() == pytest.approx(2 / 3)


def test_as_many_events_match_as_possible():
    """The first detection is nearer to the second event, but only the other assignment matches both."""
    events = Events.of([(0, 0, 1.0, 2.0), (0, 0, 1.3, 2.3)])
    found = Events.of([(0, 0, 1.18, 2.18), (0, 0, 1.45, 2.45)])
    assert event_counts(found, events, 1).f1() == 1
