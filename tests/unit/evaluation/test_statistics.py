"""Bootstrap intervals and paired comparisons: the scores of a draw, coverage, and what a comparison says."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from elasticast.evaluation.metrics import metrics
from elasticast.evaluation.statistics import (
    DRAWS,
    Resampled,
    accuracy,
    chance,
    draw_weights,
    mean_average_precision,
    paired_differences,
    percentiles,
)


def ranked(seed, n=60, classes=7, share=0.3, shift=1.0, decimals=1):
    """Scores, with ties, and targets."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, classes)) < share
    return (rng.standard_normal((n, classes)) + shift * targets).astype(np.float32).round(decimals), targets


def once(n):
    return torch.ones(n, 1)


def draws_of(rng, n, draws):
    """As :func:`draw_weights`, but of a generator: simulations need other draws each."""
    taken = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return torch.from_numpy(np.bincount(taken.ravel(), minlength=draws * n).reshape(draws, n).T.astype(np.float32))


# ---------------------------------------------------------------------------------------------
# Chance
# ---------------------------------------------------------------------------------------------


def test_chance_of_single_labels_is_the_best_constant_answer():
    labels = np.random.default_rng(0).choice([0, 2, 5], size=200, p=[0.2, 0.5, 0.3])
    assert chance(labels, 200, "single") == max(np.mean(labels == answer) for answer in range(6))


def test_chance_of_several_labels_is_the_map_of_clips_in_random_order():
    rng = np.random.default_rng(1)
    targets = rng.random((4000, 5)) < [0.0, 0.1, 0.3, 0.5, 1.0]
    by_chance = metrics(rng.random(targets.shape), targets, "multi")["mAP"]
    assert chance(np.nonzero(targets)[1], len(targets), "multi") == pytest.approx(by_chance, abs=0.02)


def test_chance_is_not_known_if_all_clips_are_alike():
    assert np.isnan(chance(np.zeros(3, int), 3, "multi"))


def test_the_chance_of_clips_is_not_that_of_events():
    assert np.isnan(chance(np.array([0, 1]), 3, "frames"))


# ---------------------------------------------------------------------------------------------
# Scores of a draw
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_of_every_clip_once_the_scores_are_the_metrics(seed):
    scores, targets = ranked(seed)
    found = metrics(scores, targets.astype(np.float32), "multi")["mAP"]
    assert mean_average_precision(scores, targets, once(60))[0] == pytest.approx(found, abs=1e-6)
    single = np.eye(7, dtype=np.float32)[np.random.default_rng(seed).integers(7, size=60)]
    correct = scores.argmax(1) == single.argmax(1)
    assert accuracy(correct, once(60))[0] == pytest.approx(metrics(scores, single, "single")["accuracy"], abs=1e-7)


def test_average_precision_of_a_draw_from_first_principles():
    scores, targets = ranked(3, n=25, classes=3)
    weights = draws_of(np.random.default_rng(0), 25, 6)
    expected = np.zeros((6, 3))
    for draw, c in np.ndindex(6, 3):
        w, total = weights[:, draw].numpy(), 0.0
        for i in np.flatnonzero(targets[:, c]):
            above = (scores[:, c] >= scores[i, c]) & (np.arange(25) != i)
            precision = (1 + w[above & targets[:, c]].sum()) / (1 + w[above].sum())
            total += w[i] * precision
        expected[draw, c] = total / w[targets[:, c]].sum()
    assert mean_average_precision(scores, targets, weights) == pytest.approx(expected.mean(1), abs=1e-6)


def test_accuracy_of_a_draw_is_the_share_of_what_was_drawn():
    correct, weights = np.array([True, False, True, False]), torch.tensor([[1.0, 4], [1, 0], [0, 0], [2, 0]])
    assert accuracy(correct, weights).tolist() == [0.25, 1.0]


def test_classes_without_positives_or_negatives_are_skipped_and_so_are_positives_not_drawn():
    scores, targets = ranked(0, n=30, classes=4)
    targets[:, 1], targets[:, 2] = False, True
    targets[:, 3] = np.arange(30) == 5  # one positive clip
    weights = torch.ones(30, 2)
    weights[5, 1] = 0
    alone = mean_average_precision(scores[:, :1], targets[:, :1], weights)
    both = mean_average_precision(scores, targets, weights)
    assert both[0] == pytest.approx((alone[0] + average_precision_score(targets[:, 3], scores[:, 3])) / 2)
    assert both[1] == pytest.approx(alone[1])


def test_a_draw_takes_as_many_clips_as_there_are_and_is_the_same_for_all():
    weights = draw_weights(50, 20)
    assert (weights.sum(0) == 50).all()
    assert torch.equal(weights, draw_weights(50, 20))
    assert len({tuple(column) for column in weights.T.tolist()}) == 20
    assert draw_weights(50).shape == (50, DRAWS)


def test_copies_of_a_clip_do_not_raise_the_average_precision():
    """Taken as clips of their own they do, by more than the standard error."""
    scores, targets = ranked(1, n=800, classes=80, share=0.02, shift=2.0, decimals=4)
    weights = draws_of(np.random.default_rng(0), 800, 60)
    value = mean_average_precision(scores, targets, once(800))[0]
    found = mean_average_precision(scores, targets, weights)
    rows = [np.repeat(np.arange(800), w.int().numpy()) for w in weights.T]
    copied = np.array([average_precision_score(targets[r], scores[r], average="macro") for r in rows])
    assert abs(found.mean() - value) < 0.5 * found.std()
    assert copied.mean() - value > found.std()


# ---------------------------------------------------------------------------------------------
# Coverage, at a level of 95 %
# ---------------------------------------------------------------------------------------------


def accuracies(rng, clips, seeds, spread):
    """A made-up experiment: clips differ in difficulty, seeds by `spread`; its true accuracy is 2/3."""
    easy = rng.beta(3, 1.5, size=clips) + rng.normal(0, spread, size=(seeds, 1))
    return rng.random((seeds, clips)) < np.clip(easy, 0, 1)


def resampled(correct, weights, name="e"):
    return Resampled(name, correct.mean(1), np.stack([accuracy(seed, weights) for seed in correct], 1))


@pytest.mark.parametrize(
    ("seeds", "spread", "least", "most"),
    # where seeds are alike, the variance within seed and clip counts more than once: on the safe side
    [(1, 0.0, 0.92, 0.98), (5, 0.03, 0.92, 0.99), (3, 0.0, 0.95, 1.0), (3, 0.03, 0.91, 0.99)],
)
def test_intervals_of_accuracy_hold_the_truth_95_percent_of_the_time(seeds, spread, least, most):
    rng, inside = np.random.default_rng(7), []
    for number in range(300):
        correct = accuracies(rng, 300, seeds, spread)
        low, high = resampled(correct, draws_of(rng, 300, 200), f"e{number}").interval()
        inside.append(low <= 2 / 3 <= high)
    assert least <= np.mean(inside) <= most


def test_intervals_of_map_hold_the_truth_95_percent_of_the_time():
    values, intervals = [], []
    for seed in range(200):
        scores, targets = ranked(seed, n=200, classes=5, share=0.15, decimals=3)
        values.append(mean_average_precision(scores, targets, once(200))[0])
        weights = draws_of(np.random.default_rng(1000 + seed), 200, 200)
        intervals.append(percentiles(mean_average_precision(scores, targets, weights)))
    inside = [low <= np.mean(values) <= high for low, high in intervals]
    assert 0.91 <= np.mean(inside) <= 0.98


def test_of_one_seed_clips_alone_vary_and_of_several_the_variance_is_that_of_their_mean():
    draws = np.random.default_rng(0).normal(0.7, 0.01, size=(50, 1))
    assert Resampled("e", np.array([0.7]), draws).interval() == percentiles(draws[:, 0])
    values = np.array([0.70, 0.72, 0.71, 0.76])
    found = Resampled("e", values, np.tile(values, (20000, 1))).means()
    assert found.mean() == pytest.approx(values.mean(), abs=1e-3)
    assert found.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.05)


# ---------------------------------------------------------------------------------------------
# Comparisons
# ---------------------------------------------------------------------------------------------


def paired_difference(first, second):
    """The only comparison of its family."""
    (found,) = paired_differences([(first, second)])
    assert found.p_corrected == found.p
    return found


@pytest.mark.parametrize("seeds", [1, 3])
def test_models_that_are_alike_do_not_differ(seeds):
    correct = accuracies(np.random.default_rng(0), 300, seeds, 0.05)
    weights = draw_weights(300, 400)
    found = paired_difference(resampled(correct, weights, "one"), resampled(correct, weights, "other"))
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.low <= 0 <= found.high


def test_the_other_way_round_it_is_the_negative():
    rng, weights = np.random.default_rng(1), draw_weights(200, 400)
    one, other = (resampled(accuracies(rng, 200, 2, 0.02), weights, name) for name in "ab")
    there, back = paired_difference(one, other), paired_difference(other, one)
    assert there[:3] == pytest.approx((-back.difference, -back.high, -back.low))
    assert there.p == back.p


def test_a_sure_difference_has_the_least_p_and_the_interval_leaves_0_out():
    rng, weights = np.random.default_rng(2), draw_weights(400, 400)
    better, worse = rng.random((2, 400)) < 0.9, rng.random((2, 400)) < 0.6
    found = paired_difference(resampled(better, weights, "a"), resampled(worse, weights, "b"))
    assert found.p == 1 / 401
    assert 0 < found.low < found.difference < found.high


def test_models_of_the_same_quality_differ_5_percent_of_the_time():
    rng, ps = np.random.default_rng(3), []
    for _ in range(400):
        easy = rng.beta(3, 1.5, size=300)  # the same clips for both: what one knows the other tends to know
        both = rng.random((2, 1, 300)) < easy
        weights = draws_of(rng, 300, 199)
        ps.append(
            paired_difference(*(resampled(correct, weights, name) for correct, name in zip(both, "ab", strict=True))).p
        )
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.08
    assert np.mean(np.array(ps) <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_pairs_are_compared_clip_by_clip():
    """Two models that fail on the same clips are told apart by few others, however uncertain each score is."""
    weights, known = draw_weights(500, 400), np.random.default_rng(4).random(500) < 0.5
    better = known.copy()
    better[np.flatnonzero(~known)[:12]] = True
    one, other = (resampled(correct[None], weights, name) for correct, name in ((better, "a"), (known, "b")))
    low, high = one.interval()
    found = paired_difference(one, other)
    assert low < other.value < high
    assert found.p < 0.01
    assert found.low > 0


# ---------------------------------------------------------------------------------------------
# Several comparisons
# ---------------------------------------------------------------------------------------------


def family(rng, m, draws, *, effects=0.0, shared=0.0):
    """Pairs of one seed. The errors of their differences are normal, with a correlation of `shared`."""

    def errors(*shape):
        common, own = rng.standard_normal((1, *shape)), rng.standard_normal((m, *shape))
        return shared**0.5 * common + (1 - shared) ** 0.5 * own

    values = errors() + effects
    zero = Resampled("zero", np.zeros(1), np.zeros((draws, 1)))
    differences = values[:, None] + errors(draws)
    return [
        (Resampled("e", np.array([value]), row[:, None]), zero) for value, row in zip(values, differences, strict=True)
    ]


def corrected(pairs):
    return np.array([test.p_corrected for test in paired_differences(pairs)])


def alone(pairs):
    return np.array([test.p for test in paired_differences(pairs)])


@pytest.mark.parametrize("seed", range(5))
def test_correction_raises_p_and_keeps_the_order_of_differences(seed):
    pairs = family(np.random.default_rng(seed), 30, 300, effects=np.linspace(0, 5, 30))
    p, p_corrected = alone(pairs), corrected(pairs)
    assert (p_corrected >= p).all()
    assert (p_corrected <= 1).all()
    sizes = [abs(a.value) / a.draws.std() for a, _ in pairs]
    assert (np.diff(p_corrected[np.argsort(sizes)]) <= 0).all()
    assert corrected(pairs[::-1]).tolist() == p_corrected[::-1].tolist()


def test_corrected_p_is_the_share_of_draws_in_which_any_smaller_difference_deviates_as_much():
    pairs = family(np.random.default_rng(0), 6, 99, effects=[0, 1, 2, 3, 4, 5])
    draws = np.stack([a.draws[:, 0] for a, _ in pairs])
    values = np.array([a.value for a, _ in pairs])
    errors = draws.std(1)
    expected = {}
    for size, place in sorted(zip(abs(values) / errors, range(6), strict=True), reverse=True):
        rest = [k for k in range(6) if k not in expected]
        beyond = sum(any(abs(draws[k, b] - values[k]) / errors[k] >= size for k in rest) for b in range(99))
        expected[place] = max([(1 + beyond) / 100, *expected.values()])
    assert corrected(pairs) == pytest.approx([expected[k] for k in range(6)])


def test_of_independent_comparisons_it_is_as_strict_as_holm():
    pairs = family(np.random.default_rng(1), 10, 20_000, effects=[5, 4, 3.5, 3, 2.5, 0, 0, 0, 0, 0])
    p = alone(pairs)
    order = np.argsort(p)
    holm = np.empty(10)
    holm[order] = np.minimum(1, np.maximum.accumulate((10 - np.arange(10)) * p[order]))
    small = holm < 0.2
    assert small.sum() > 2
    assert corrected(pairs)[small] == pytest.approx(holm[small], rel=0.25, abs=2e-3)


def test_the_same_comparison_several_times_is_one_comparison():
    pairs = family(np.random.default_rng(2), 1, 500, effects=2.2)
    assert corrected(pairs * 50).tolist() == alone(pairs * 50).tolist()


def test_a_clear_difference_stays_clear_among_many_comparisons():
    """Its p is the least that there is: 1,000 draws are enough for any number of comparisons."""
    effects = np.zeros(300)
    effects[7] = 8
    p = corrected(family(np.random.default_rng(3), 300, DRAWS, effects=effects))
    assert p[7] == 1 / (DRAWS + 1)
    assert (np.delete(p, 7) > 0.05).all()


def test_scale_does_not_matter():
    """Differences are compared in standard errors, so noisy comparisons do not drown the others."""
    pairs = family(np.random.default_rng(4), 8, 400, effects=np.linspace(0, 4, 8))
    scaled = [(a._replace(values=a.values * 4**k, draws=a.draws * 4**k), zero) for k, (a, zero) in enumerate(pairs)]
    assert corrected(scaled).tolist() == corrected(pairs).tolist()


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_of_models_that_are_alike_some_difference_is_found_5_percent_of_the_time(shared):
    rng = np.random.default_rng(5)
    families = [family(rng, 40, 199, shared=shared) for _ in range(400)]
    assert 0.025 <= np.mean([corrected(pairs).min() <= 0.05 for pairs in families]) <= 0.08
    assert np.mean([alone(pairs).min() <= 0.05 for pairs in families]) > 0.2


def test_true_differences_do_not_make_others_found():
    rng = np.random.default_rng(6)
    effects = np.where(np.arange(40) < 20, 8.0, 0.0)
    found = [corrected(family(rng, 40, 199, effects=effects))[20:].min() <= 0.05 for _ in range(400)]
    assert 0.025 <= np.mean(found) <= 0.085


def test_comparisons_without_scores_or_without_variation():
    pairs = family(np.random.default_rng(7), 3, 50, effects=[0, 3, 3])
    zero = pairs[0][1]
    unscored = Resampled("e", np.array([np.nan]), np.full((50, 1), np.nan))
    constant = Resampled("e", np.array([0.5]), np.full((50, 1), 0.5))
    *tests, nothing, fixed, same = paired_differences([*pairs, (unscored, zero), (constant, zero), (zero, zero)])
    assert np.isnan([nothing.p, nothing.p_corrected]).all()
    assert (fixed.p, fixed.p_corrected) == (1 / 51, 1 / 51)
    assert (same.p, same.p_corrected) == (1.0, 1.0)
    assert [t.p_corrected for t in tests] == corrected(pairs).tolist()
    some = pairs[1][0]._replace(draws=np.where(np.arange(50)[:, None] < 10, np.nan, pairs[1][0].draws))
    (test,) = paired_differences([(some, zero)])
    assert test.p_corrected >= test.p >= 11 / 51
    assert paired_differences([]) == []
