"""Histograms of lengths and classes: every clip is counted, whatever the lengths and the names."""

import re

import numpy as np
import pandas as pd
import pytest

from elasticast.reporting.data_overview import MOST_CLASSES, class_counts, describe, draw, length_bins
from elasticast.reporting.style import paper_style, save
from tests.complaints import assert_names
from tests.drawn import assert_drawn

NAMES = ("dog", "bird, large", "a\nb", "$x_1$ & #", "ü" * 60)


def clips(seconds, names=NAMES):
    labels = [[names[i % len(names)]] for i in range(len(seconds))]
    splits = [("train", "train", "test")[i % 3] for i in range(len(seconds))]
    return pd.DataFrame({"split": splits, "duration": seconds, "label": labels})


LENGTHS = {
    "even": np.linspace(0.5, 8, 60),
    "long tail": np.exp(np.linspace(-1.6, 6.6, 60)),
    "equal": np.full(60, 5.0),
    "one": np.array([2.0]),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_every_clip_is_in_a_bin(kind):
    seconds = pd.Series(LENGTHS[kind])
    assert np.histogram(seconds, length_bins(seconds))[0].sum() == len(seconds)


@pytest.mark.parametrize("kind", ["even", "long tail", "equal"])
def test_a_figure_is_drawn(tmp_path, kind):
    with paper_style():
        save(draw(clips(LENGTHS[kind]), {"label": list(NAMES)}), tmp_path / kind)
    assert_drawn(tmp_path / kind)


def test_the_text_counts_clips_by_class_and_split():
    text = describe(clips(LENGTHS["even"]), {"label": [*NAMES, "unused"]})
    assert_names(text, 60, "train 8", "test 4", "label", "unused")
    bars = [int(match) for match in re.findall(r" s +(\d+)  ", text)]
    assert sum(bars) == 60
    assert max(map(len, text.splitlines())) < 120


def test_clips_of_unknown_length_are_left_out_of_lengths_only():
    table = clips(np.array([1.0, np.nan, 2.0]))
    assert class_counts(table, "label", list(NAMES)).to_numpy().sum() == 3
    assert "2 clips" in describe(table, {"label": list(NAMES)})
    assert describe(clips(np.array([np.nan])), {"label": list(NAMES)})


@pytest.mark.parametrize(
    ("each", "said"), [([2, 2], "2 clips each"), ([1, 1], "1 clip each"), ([1, 3], "1 to 3 clips")]
)
def test_classes_of_equal_size_are_said_once(each, said):
    names = [name for name, count in zip("ab", each, strict=True) for _ in range(count)]
    assert f"2 classes of {said}" in describe(clips(np.linspace(1, 2, len(names)), names), {"label": ["a", "b"]})


def test_only_the_most_frequent_classes_are_listed():
    names = [f"class {i}" for i in range(100)]
    text = describe(clips(np.linspace(1, 2, 150), names), {"label": names})
    assert len([line for line in text.splitlines() if "class " in line]) == MOST_CLASSES
