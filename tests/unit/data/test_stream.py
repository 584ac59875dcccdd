import numpy as np
import pytest
import soundfile as sf
import torch
import torchaudio

from elasticast.data import recordings
from elasticast.data.audio import LARGEST_TERM, UnusableAudioError, decode, ratio, resampled
from elasticast.data.stream import BLOCK, file_source, open_source, spans, waveform_source
from elasticast.errors import ElasticASTError
from tests.complaints import complains


def joined(source, rate=16000):
    return torch.cat(list(source.blocks(rate)))


@pytest.mark.parametrize("rate", [8000, 11025, 11127, 16000, 22050, 44100, 96000])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_streamed_equals_prepared(tmp_path, rate, kind):
    path = tmp_path / f"clip.{kind}"
    wave = np.random.default_rng().uniform(-0.5, 0.5, (2 * BLOCK + 77, 2))
    sf.write(path, wave, 48000 if kind == "ogg" else rate, **({} if kind == "ogg" else {"subtype": "PCM_24"}))
    source = file_source(path)
    for new in (16000, 24000):
        found = joined(source, new)
        assert len(found) == source.samples(new)
        np.testing.assert_array_equal(found * 32768, decode(path, rate=new).samples)


@pytest.mark.parametrize("rates", [(441, 160), (1, 2), (3, 1), (160, 441), (441, 320)])
def test_resampling_does_not_see_the_blocks(rates):
    wave = torch.randn(20_000)
    cuts = np.sort(np.random.default_rng().choice(20_000, 30, replace=False)).tolist()
    found = torch.cat(list(resampled(wave.tensor_split(cuts), *rates)))
    whole = torchaudio.transforms.Resample(*rates)(wave)
    assert len(found) == -(-20_000 * rates[1] // rates[0])
    torch.testing.assert_close(found[: len(whole)], whole[: len(found)], atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [5512, 11127, 15999, 22255, 44099, 191_999])
def test_an_odd_rate_takes_the_nearest_small_ratio(rate):
    old, new = ratio(rate, 16000)
    assert max(old, new) <= LARGEST_TERM
    assert old / new == pytest.approx(rate / 16000, rel=1e-4)
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    found = joined(waveform_source(tone, rate))
    assert abs(len(found) - 16000) <= 2
    assert np.abs(np.fft.rfft(found.numpy())).argmax() == 1000


def test_no_more_than_a_block_is_read_at_once(tmp_path, monkeypatch):
    asked = []

    class Watched(sf.SoundFile):
        def read(self, frames=-1, *args, **kwargs):
            asked.append(frames)
            return super().read(frames, *args, **kwargs)

    sf.write(tmp_path / "clip.wav", np.zeros(3 * BLOCK + 5), 16000)
    monkeypatch.setattr(recordings.sf, "SoundFile", Watched)
    sizes = [len(block) for block in file_source(tmp_path / "clip.wav").blocks(16000)]
    assert max(asked) == BLOCK
    assert sizes == [BLOCK] * 3 + [5]


@pytest.mark.parametrize("step", [1, 300, 1000, 1700])
def test_spans_are_slices(step):
    wave = torch.randn(10_000)
    starts = list(range(0, 9_000, step))
    found = list(spans(wave.split(777), starts, 1000))
    torch.testing.assert_close(torch.stack(found), torch.stack([wave[s : s + 1000] for s in starts]), atol=0, rtol=0)


def test_a_stream_that_ends_early_is_truncated():
    with complains(UnusableAudioError, "truncated"):
        list(spans(torch.zeros(900).split(100), [0, 500], 500))


def test_kinds_of_waveforms_are_the_same_audio():
    mono = np.random.default_rng().integers(-20_000, 20_000, 9000).astype(np.int16)
    expected = torch.from_numpy(mono / np.float32(32768))
    both = np.stack([mono, mono])
    forms = [mono, mono[None], both, both.T.copy().T, expected, expected.double(), expected.to(torch.float32)[None]]
    forms += [mono.astype(np.int32) * 65536, mono / 32768, torch.from_numpy(mono), mono[::-1].copy()[::-1]]
    for form in forms:
        torch.testing.assert_close(joined(waveform_source(form, 16000)), expected, atol=0, rtol=0)
    eight_bit = (mono // 256 + 128).astype(np.uint8)
    torch.testing.assert_close(joined(waveform_source(eight_bit, 16000)), expected, atol=1 / 128, rtol=0)


@pytest.mark.parametrize(
    ("wave", "named"),
    [
        (np.zeros(0), "empty"),
        (np.zeros(399), "too short"),
        (np.zeros((1, 2, 9000)), "1, 2, 9000"),
        (np.zeros((9000, 2)), "9000, 2"),
        (np.zeros(9000, dtype=complex), "complex128"),
        (np.zeros(9000, dtype=bool), "bool"),
        ([0.0, 1.0], "list"),
    ],
)
def test_what_is_no_waveform_is_said(wave, named):
    with complains(UnusableAudioError, named):
        open_source(wave, 16000)


def test_a_waveform_needs_a_rate():
    with complains(ElasticASTError, "sample_rate"):
        open_source(np.zeros(9000), None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_samples_are_detected_anywhere(bad):
    wave = np.zeros(3 * BLOCK)
    wave[2 * BLOCK + 1] = bad
    with complains(UnusableAudioError, "non-finite"):
        joined(waveform_source(wave, 16000))
