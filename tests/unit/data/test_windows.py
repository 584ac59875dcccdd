import numpy as np
import pytest
import torch

from elasticast.data.encoder import ClipEncoder
from elasticast.data.features import log_mel
from elasticast.data.norm import Norm
from elasticast.data.views import ViewRule
from elasticast.data.windows import cut_windows, window_starts, window_weights

LENGTHS = [1, 15, 16, 63, 64, 65, 95, 96, 97, 127, 128, 129, 160, 191, 192, 193, 1000, 1024, 4096, 4097]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("frames", LENGTHS)
def test_windows_cover_every_frame_and_the_last_ends_with_the_clip(frames, overlap):
    window, step = 64, max(1, round(64 * (1 - overlap)))
    starts = window_starts(frames, window, overlap)
    assert len(starts) == 1 + max(0, -(-(frames - window) // step))
    assert starts[0] == 0
    assert starts[-1] == max(0, frames - window)
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= step).all()
    assert (np.diff(starts)[:-1] == step).all()  # only the last step is shorter


@pytest.mark.parametrize("repeat", range(20))
def test_every_frame_weighs_the_same(repeat):
    rng = np.random.default_rng()
    window, overlap = int(rng.integers(1, 40)), rng.uniform(0, 0.95)
    starts = window_starts(int(rng.integers(window, 500)), window, overlap)
    covered = np.zeros((len(starts), starts[-1] + window))
    for row, start in zip(covered, starts, strict=True):
        row[start : start + window] = 1
    expected = (covered / covered.sum(0)).sum(1) / covered.shape[1]
    np.testing.assert_allclose(window_weights(starts, window), expected, atol=1e-12)
    assert window_weights(starts, window).sum() == pytest.approx(1)


def samples_of(frames, hop=160):
    return (frames - 1) * hop + 400


@pytest.mark.parametrize(
    ("samples", "windows"),
    [
        (480, 1),
        (samples_of(256), 1),
        (samples_of(256) + 1, 1),  # less than one more frame
        (samples_of(257) - 1, 1),
        (samples_of(257), 2),
        (samples_of(384), 2),  # window and one step: the last window is a whole one
        (samples_of(385), 3),
        (samples_of(512), 3),
        (samples_of(513), 4),
    ],
)
def test_number_of_windows_at_every_boundary(tiny, samples, windows):
    assert len(cut_windows(samples, ViewRule(tiny()), 1.0, 0.5)) == windows


@pytest.mark.parametrize("compression", [1.0, 1.2, 2.0, 4.0])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_are_parts_of_the_clips_log_mel(tiny, compression, overlap):
    config, samples = tiny(), samples_of(700) + 77
    torch.manual_seed(0)
    wave = torch.randn(samples) * 0.1
    windows = cut_windows(samples, ViewRule(config, compression=compression), compression, overlap)
    whole = log_mel(wave, config.front_end, compression)
    assert whole.shape[1] == windows.frames
    hop = round(160 * compression)
    for start in windows.starts.tolist():
        part = log_mel(wave[start : start + windows.span], config.front_end, compression)
        assert part.shape[1] == windows.view.frames
        torch.testing.assert_close(part, whole[:, start // hop :][:, : windows.view.frames], atol=1e-3, rtol=0)


@pytest.mark.parametrize("front_end", [{}, {"kind": "stft", "n_fft": 512}])
@pytest.mark.parametrize("frames", [700, 701, 702, 513, 1024])
def test_windows_of_pooled_frames_are_parts_of_the_pooled_log_mel(tiny, frames, front_end):
    config = tiny(view={"resolution": "max_pool", "compression": [3.0]}, front_end=front_end)
    wave = torch.randn(samples_of(frames)) * 0.1
    windows = cut_windows(len(wave), ViewRule(config), 3.0, 0.5)
    encoder = ClipEncoder(config, Norm(0.0, 0.5))
    whole = encoder.spectrogram(wave, 3.0)
    assert whole.shape[1] - windows.frames in (0, 1)  # frames that do not fill a pooled frame are not used
    stream = torch.cat(list(windows.stream([wave])))
    for start in windows.starts.tolist():
        part = encoder.spectrogram(stream[start : start + windows.span], 3.0, whole=not any(windows.margins))
        first = start // 480
        assert part.shape[1] == windows.view.frames == 80
        torch.testing.assert_close(part, whole[:, first : first + 80], atol=1e-3, rtol=0)


def test_ast_takes_its_own_length(tiny):
    rule = ViewRule(tiny(model={"kind": "ast"}))
    assert len(cut_windows(samples_of(64), rule, 1.0, 0.5)) == 1
    assert cut_windows(samples_of(20), rule, 1.0, 0.5).view.frames == 64
    longer = cut_windows(samples_of(65), rule, 1.0, 0.5)
    assert (len(longer), longer.view.frames, longer.starts.tolist()) == (2, 64, [0, 160])


EPIC = {"kind": "stft", "sample_rate": 24000, "n_fft": 2048, "window_ms": 10, "hop_ms": 5}


@pytest.mark.parametrize("compression", [1.0, 1.2, 2.0])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("samples", [255 * 120, 256 * 120, 100_000, 700 * 120 - 1, 700 * 120])
def test_windows_of_the_other_front_end_are_parts_of_the_clips_log_mel_to_its_edges(
    tiny, samples, compression, overlap
):
    config = tiny(front_end=EPIC)
    wave = torch.randn(samples) * 0.1
    windows = cut_windows(samples, ViewRule(config, compression=compression), compression, overlap)
    whole = log_mel(wave, config.front_end, compression)
    assert whole.shape[1] == windows.frames
    stream = torch.cat(list(windows.stream(wave.split(10_000))))
    assert windows.starts[-1] + windows.span <= len(stream)
    first = windows.starts // round(120 * compression)
    assert (len(windows) == 1) == (samples < 256 * 120)
    for begin, start in zip(first.tolist(), windows.starts.tolist(), strict=True):
        part = log_mel(
            stream[start : start + windows.span], config.front_end, compression, whole=not any(windows.margins)
        )
        assert part.shape[1] == windows.view.frames or len(windows) == 1  # a whole clip is cut afterwards
        torch.testing.assert_close(part, whole[:, begin:][:, : part.shape[1]], atol=1e-5, rtol=0)
    assert first[-1] + part.shape[1] == whole.shape[1]
