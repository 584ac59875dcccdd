"""Metrics against scikit-learn, class by class, and against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from elasticast.evaluation.metrics import d_prime, metrics, ranking_scores


def draw(seed, n=60, classes=7, kind="multi"):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n, classes)).astype(np.float32).round(1)  # ties occur
    if kind == "single":
        return scores, np.eye(classes, dtype=np.float32)[rng.integers(classes, size=n)]
    return scores, (rng.random((n, classes)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("seed", range(5))
def test_map_and_auc_are_the_means_over_classes(seed, kind):
    scores, targets = draw(seed, kind=kind)
    found = metrics(scores, targets, kind)
    columns = list(zip(scores.T, targets.T, strict=True))
    assert found["mAP"] == pytest.approx(np.mean([average_precision_score(t, s) for s, t in columns]))
    assert found["AUC"] == pytest.approx(np.mean([roc_auc_score(t, s) for s, t in columns]))
    assert found["d_prime"] == d_prime(found["AUC"])
    assert ("accuracy" in found) == (kind == "single")


@pytest.mark.parametrize("usable", [1, 2, 5])
def test_classes_without_positives_or_without_negatives_are_skipped(usable):
    scores, targets = draw(0)
    targets[:, usable:] = 0
    targets[:, usable + 1 :: 2] = 1
    found = metrics(scores, targets, "multi")
    assert found == pytest.approx(metrics(scores[:, :usable], targets[:, :usable], "multi"))
    assert all(math.isfinite(value) for value in found.values())


def test_nothing_to_measure_is_nan():
    scores, _ = draw(0)
    found = metrics(scores, np.zeros_like(scores), "multi")
    assert set(found) == {"mAP", "AUC", "d_prime"}
    assert all(math.isnan(value) for value in found.values())
    one_class = np.eye(7, dtype=np.float32)[np.zeros(60, int)]
    found = metrics(scores, one_class, "single")
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == 0).mean())
    assert math.isnan(found["mAP"])


def test_only_the_order_of_scores_counts():
    scores, targets = draw(1)
    assert metrics(scores, targets, "multi") == pytest.approx(metrics(np.exp(3 * scores) - 5, targets, "multi"))


def test_accuracy_is_the_share_of_clips():
    scores, targets = draw(2, kind="single")
    right = sum(int(s.argmax() == t.argmax()) for s, t in zip(scores, targets, strict=True))
    assert metrics(scores, targets, "single")["accuracy"] == right / len(scores)
    assert metrics(targets, targets, "single")["accuracy"] == 1.0


def test_perfect_scores():
    _, targets = draw(3)
    found = metrics(targets - 0.5, targets, "multi")
    assert (found["mAP"], found["AUC"], found["d_prime"]) == (1.0, 1.0, math.inf)
    assert metrics(0.5 - targets, targets, "multi")["d_prime"] == -math.inf


def test_d_prime_is_the_distance_of_two_unit_normals_of_that_auc():
    assert d_prime(0.5) == pytest.approx(0)
    for distance in (0.3, 1.0, 2.5):
        auc = 0.5 * (1 + math.erf(distance / 2))  # P(x < y), x ~ N(0, 1), y ~ N(distance, 1)
        assert d_prime(auc) == pytest.approx(distance)
        assert d_prime(1 - auc) == pytest.approx(-distance)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_class_with_one_positive_or_one_negative_clip_counts(value):
    scores, targets = draw(4)
    targets[:, 1] = value
    targets[3, 1] = 1 - value
    found = metrics(scores, targets, "multi")
    every = [roc_auc_score(targets[:, c], scores[:, c]) for c in range(targets.shape[1])]
    assert found["AUC"] == pytest.approx(np.mean(every))
    assert found["AUC"] != pytest.approx(np.mean(every[:1] + every[2:]))


# ---------------------------------------------------------------------------------------------
# Scores that rank clips
# ---------------------------------------------------------------------------------------------


def ranked(logits: np.ndarray, loss: str) -> np.ndarray:
    return ranking_scores(torch.from_numpy(logits.astype(np.float32)), loss)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0, 20.0, 1000.0]))
def test_a_constant_per_clip_changes_no_metric_of_cross_entropy(seed, spread):
    rng = np.random.default_rng(seed)
    logits, targets = draw(seed, kind="single")
    logits = (64 * logits).round() / 64  # with these, float32 adds the constants exactly
    offsets = (64 * spread * rng.standard_normal((60, 1))).round() / 64
    assert metrics(ranked(logits + offsets, "ce"), targets, "single") == pytest.approx(
        metrics(ranked(logits, "ce"), targets, "single"), nan_ok=True
    )


def test_constants_per_clip_would_ruin_the_map_of_logits():
    """The simulation that showed the fault: probabilities and accuracy stay as they are, the mAP of logits does not."""
    rng, classes = np.random.default_rng(0), 20
    targets = np.eye(classes)[rng.integers(classes, size=2000)]
    logits = rng.standard_normal((2000, classes)) + 2.2 * targets
    moved = logits + 8 * rng.standard_normal((2000, 1))
    before, after = (metrics(x, targets, "single") for x in (logits, moved))
    assert after["accuracy"] == before["accuracy"]
    assert before["mAP"] > 0.45
    assert after["mAP"] < 0.2
    right, unmoved = (metrics(ranked(x, "ce"), targets, "single") for x in (moved, logits))
    assert right == pytest.approx(unmoved, abs=1e-4)
    assert right["mAP"] > 0.5


def test_scores_rank_as_probabilities_do():
    logits, targets = draw(4, kind="single")
    softmax = torch.from_numpy(logits).double().softmax(1).numpy()
    sigmoid = torch.from_numpy(logits).double().sigmoid().numpy()
    assert np.exp(ranked(logits, "ce")) == pytest.approx(softmax, rel=1e-12)
    for loss, probabilities in (("ce", softmax), ("bce", sigmoid)):
        found = metrics(ranked(logits, loss), targets, "single")
        assert found == pytest.approx(metrics(probabilities, targets, "single"))


@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_scores_of_very_confident_models_are_not_tied(loss):
    """Their probabilities are all 1, even in float64."""
    logits = np.array([[margin, 0.0, -1.0] for margin in (40, 50, 80, 500)])
    scores = ranked(logits, loss)
    assert (np.diff(scores[:, 0]) > 0).all()
    assert (np.diff(scores[:, 1]) <= 0).all()
    assert np.isfinite(scores).all()
    assert (scores.argmax(1) == 0).all()


def test_the_released_scores_tie_confident_classes():
    logits = torch.tensor([[8.0, 9.0, 10.0, 7.0], [-30.0, 3.0, 8.4, 8.5], [5.0, 6.0, 7.0, 8.0]])
    scores = ranking_scores(logits, "ce", "released_fp16_sigmoid")
    assert scores.argmax(1).tolist() == [1, 2, 3]
    assert (scores[0, 1:3] == 1).all()
    assert scores[0, 0] < 1
    assert scores[1, 2] == scores[1, 3] == 1
    np.testing.assert_allclose(scores, logits.sigmoid(), atol=1e-3)
    assert np.array_equal(scores, ranking_scores(logits, "bce", "released_fp16_sigmoid"))
    assert np.array_equal(scores, scores.astype(np.float16))  # saving them rounds nothing
