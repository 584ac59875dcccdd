"""Drift does not depend on scale and offset; scores need no training; exponents are fitted."""

import numpy as np
import pytest
import torch

from elasticast.audit.clips import AuditClips
from elasticast.audit.measures import SAME, Scorer, compare, drift, equality, exponent, stability, typical_distance
from elasticast.encoders import Card, Encoded

EMBEDDINGS = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))


def clips_of(labels, kind="single"):
    targets = torch.nn.functional.one_hot(torch.tensor(labels)).float()
    names = tuple(f"class {i}" for i in range(targets.shape[1]))
    return AuditClips("", 16000, tuple(torch.zeros(1) for _ in labels), targets, names, kind)


@pytest.mark.parametrize(("factor", "offset"), [(1e-3, 0.0), (1.0, 1e3), (1e4, -5.0)])
def test_drift_does_not_depend_on_scale_and_offset(factor, offset):
    moved = EMBEDDINGS + 0.3 * torch.randn_like(EMBEDDINGS)
    expected = drift(moved, EMBEDDINGS, typical_distance(EMBEDDINGS))
    ours, theirs = (x.double() * factor + offset for x in (moved, EMBEDDINGS))
    torch.testing.assert_close(drift(ours, theirs, typical_distance(theirs)), expected, rtol=1e-6, atol=0)


def test_drift_is_zero_for_the_same_answer_and_one_for_another_clip():
    scale = typical_distance(EMBEDDINGS)
    assert drift(EMBEDDINGS, EMBEDDINGS, scale).eq(0).all()
    assert drift(EMBEDDINGS.roll(1, 0), EMBEDDINGS, scale).median().item() == pytest.approx(1, abs=0.3)


def test_a_changed_label_is_counted():
    logits = torch.eye(4)
    other = logits.clone()
    other[0] = logits[1]
    values = compare(Encoded(EMBEDDINGS[:4], other), Encoded(EMBEDDINGS[:4], logits), 1.0)
    assert (values["top_label_changed"], values["logit_max_abs"], values["drift_max"]) == (0.25, 1.0, 0.0)


def test_statuses_follow_the_limits():
    assert [equality(x) for x in (0, SAME, 0.05, 0.2)] == ["pass", "pass", "warn", "fail"]
    assert [stability(x) for x in (0.05, 0.3, 0.7)] == ["pass", "warn", "fail"]


def test_neighbours_of_separate_classes_score_one_and_a_clip_has_no_vote_for_itself():
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    embeddings = torch.randn(8, 6) * 0.01 + torch.tensor(labels)[:, None]
    card = Card("a", "", 16000, "fixed")
    scorer = Scorer(card, clips_of(labels), embeddings)
    assert scorer(Encoded(embeddings), list(range(8))) == 1.0
    assert (scorer.how, scorer.chance) == ("neighbours", 0.5)
    lonely = Scorer(card, clips_of([0, 1, 1, 1]), embeddings[[0, 4, 5, 6]])
    assert lonely(Encoded(embeddings[:1]), [0]) == 0.0  # the only clip of its class: only itself would vote for it


def test_labels_of_the_same_names_are_scored_by_name():
    labels = [0, 1, 1, 0]
    names = ("Class 1", "other", "CLASS 0")
    scorer = Scorer(Card("a", "", 16000, "fixed", labels=names), clips_of(labels), EMBEDDINGS[:4])
    logits = torch.tensor([[0, 9, 1.0], [1, 9, 0], [1, 9, 0], [1, 9, 0]])
    assert scorer.how == "labels"
    assert scorer(Encoded(EMBEDDINGS[:4], logits), [0, 1, 2, 3]) == 0.75


def test_exponents_are_those_of_power_laws():
    x = np.array([1.0, 2, 5, 9])
    assert exponent(list(x), list(3 * x**1.7)) == pytest.approx(1.7)
    assert np.isnan(exponent([1, 2], [1, 2]))
    assert np.isnan(exponent([1, 2, 3], [0, 0, 0]))
