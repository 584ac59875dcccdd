"""Figure 3: a packed batch, counted as the data path packs it."""

import numpy as np
import pytest

from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.norm import Norm
from elasticast.data.sampler import ClipRequest
from elasticast.reporting.packed_batch import (
    attention_mask,
    draw_packing,
    encode_clips,
    packed_run,
    packing_caption,
    pooling_mask,
)
from tests.unit.reporting.toy_suite import VIEWS, change_experiments, line_texts, prepare_data, suite_of


@pytest.fixture
def packed(project):
    """The clips of a batch of random lengths, the run, and the clips as they are drawn."""

    def make(case: str, seed: int):
        seconds = np.random.default_rng(seed).lognormal(-0.5, 0.9, 7).clip(0.01, 4)
        data = prepare_data(project / "toy", np.append(seconds, 0.1))  # the last one is shorter than the fewest frames
        change_experiments(project, **VIEWS[case])
        config, clips = packed_run(suite_of(project), "toy"), Clips(data, "train", "events")
        return clips, config, encode_clips(clips, config, range(len(clips)))

    return make


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", VIEWS)
def test_tokens_are_those_of_packed_clips(packed, case, seed):
    clips, config, batch = packed(case, seed)
    from_start = config.model_copy(update={"view": config.view.model_copy(update={"crop": "start"})})
    dataset = ClipDataset(clips, from_start, Norm(0.0, 0.5))
    patch, stride = config.model.patch, config.model.stride
    for i, drawn in enumerate(batch):
        item = dataset[ClipRequest(i)]
        assert drawn.tokens == len(item.patches)
        assert drawn.log_mel.shape == (128, patch + int(item.time.max()) * stride)
        blank = np.isnan(drawn.log_mel).all(0)
        only_padding = [blank[t * stride : t * stride + patch].all() for t in item.time]
        assert drawn.padding == sum(only_padding)
        first = drawn.log_mel[:patch, :patch]
        own = ~np.isnan(first)
        np.testing.assert_array_equal(first[own], item.patches[0].reshape(patch, patch).numpy()[own])


@pytest.mark.parametrize("case", ["tail and stride", "fewest frames", "stride"])
def test_the_figure_shows_the_counted_tokens(packed, case):
    _, config, batch = packed(case, 0)
    figure = draw_packing(batch)
    tokens, padding = sum(clip.tokens for clip in batch), sum(clip.padding for clip in batch)
    row, attention, pooling = figure.axes
    assert [image.get_extent()[1] for image in row.get_images()] == np.cumsum([clip.tokens for clip in batch]).tolist()
    assert attention.get_images()[0].get_array().shape == (tokens, tokens)
    assert pooling.get_images()[0].get_array().shape == (len(batch), tokens)
    assert bool(padding) == ("frames" in case or "tail" in case)
    (cost,) = [text for text in line_texts(figure) if "tokens" in text]
    assert f"{tokens:,} tokens" in cost
    for text in (cost, packing_caption(config, batch, "a dataset")):
        assert (f"{padding:,}" in text and "only padding" in text) if padding else "padding" not in text.split("if")[0]


def test_masks_are_block_diagonal():
    mask = attention_mask([2, 1])
    assert mask.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert pooling_mask([2, 1]).tolist() == [[1, 1, 0], [0, 0, 2]]
