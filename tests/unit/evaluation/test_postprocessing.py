from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import median_filter

from elasticast.evaluation.event_f1 import event_counts
from elasticast.evaluation.postprocessing import box_scores, boxes, detections, filter_length, median_filtered
from elasticast.evaluation.psds import StepScores, psds

EDGES = np.arange(51) * 0.1
DEFAULTS = {"window": 0.5, "absolute": 1.0, "relative": 2.0}


def steps(*spans, level=0.8):
    values = np.zeros(50)
    for first, end in spans:
        values[first:end] = level
    return values


@pytest.mark.parametrize("span", [(0, 10), (5, 20), (10, 12), (3, 4), (20, 50), (45, 50), (0, 50)])
def test_the_box_of_a_step_has_its_edges(span):
    (box,) = boxes(steps(span), EDGES, **DEFAULTS)
    assert (box.onset, box.offset) == pytest.approx((EDGES[span[0]], EDGES[span[1]]), abs=1e-6)
    assert box.confidence == pytest.approx(0.8)


def test_boxes_shift_with_the_scores():
    for shift in range(1, 8):
        pair = [boxes(steps((5 + s, 15 + s), (22 + s, 30 + s)), EDGES, **DEFAULTS) for s in (0, shift)]
        times = [[time for box in found for time in box[:2]] for found in pair]
        assert times[1] == pytest.approx([time + 0.1 * shift for time in times[0]], abs=1e-6)


def test_thresholds_of_merging():
    values = np.random.default_rng(0).random(50)
    apart = boxes(values, EDGES, 0.5, 0.0, 2.0)
    (one,) = boxes(values, EDGES, 0.5, np.inf, np.inf)
    assert len(apart) > 3
    assert all(a.offset <= b.onset for a, b in pairwise(apart))
    assert (one.onset, one.offset) == (apart[0].onset, apart[-1].offset)


def test_a_gap_counts_in_the_confidence():
    (box,) = boxes(steps((10, 20), (21, 31)), EDGES, 0.2, np.inf, np.inf)
    assert box.confidence == pytest.approx(0.8 * 20 / 21)


def test_scores_of_zero_have_no_box():
    assert boxes(np.zeros(50), EDGES, **DEFAULTS) == []


def test_boxes_and_thresholds_find_the_same_events_in_clear_scores():
    values = np.stack([steps((5, 20), (30, 40)), steps((12, 22)), np.zeros(50)])
    scores = [StepScores(values, np.tile(EDGES, (3, 1)))]
    boxed_scores = box_scores(scores, [tuple(DEFAULTS.values())])
    plain, boxed = detections(scores, 0.5), detections(boxed_scores, 0.5)
    assert len(plain) == len(boxed) == 3
    assert event_counts(boxed, plain, 1, collar=1e-6, share=0.0).micro() == 1
    assert psds(boxed_scores, plain, 15.0)[0] == pytest.approx(1)


def test_the_median_filter_is_that_of_scipy_for_each_class():
    scores = np.random.default_rng(0).random((30, 3))
    filtered = median_filtered(scores, np.array([1, 3, 7]))
    for column, length in enumerate((1, 3, 7)):
        np.testing.assert_array_equal(filtered[:, column], median_filter(scores[:, column], length, mode="reflect"))


def test_lengths_of_filters_are_odd():
    assert [filter_length(seconds, 0.1) for seconds in (0.0, 0.1, 0.29, 0.3, 0.51)] == [1, 1, 3, 3, 5]
