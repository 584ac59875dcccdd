"""Log-mel spectrograms at any time resolution, and patches.

There are two front ends. ``kaldi`` is the log-mel filterbank of AST: it computes the energies of all frames that fit
entirely in the clip. ``stft`` is the front end of EPIC-SOUNDS (Huh et al. 2023): it computes the magnitudes of frames
centred on every hop and pads the clip with zeros.

Shape legend: S samples, W window, H hop (samples), F mel bins, T frames, N patches of a clip, P patch edge, R stride.
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor

from elasticast.config import FrontEnd
from elasticast.config.frames import hop_samples, margins, window_samples
from elasticast.errors import DataError

KALDI_FLOOR = torch.finfo(torch.float32).eps
"""Minimum energy of a mel bin in Kaldi."""
SILENCE = math.log(KALDI_FLOOR)
"""Log-mel of digital silence with the front end `kaldi`."""
STFT_OFFSET = 1e-6
"""Added to the magnitude of every mel bin by the front end `stft`. Its logarithm is the log-mel of digital silence."""
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
"""Lower edge of the mel bands of `kaldi`; those of `stft` start at 0 Hz. Both end at half the sample rate."""
FRAMES_AT_ONCE = 256
"""Number of frames to transform at once. They fit in the processor's cache, and long clips need little memory."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, as data loader processes do.

    Several threads add floats in another order. Without this, the log-mel would depend on the number of threads, and on
    whether a data loader process or the main process computes it.
    """
    before = torch.get_num_threads()
    if before > 1:  # setting the number is not free
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


def check_rate(front_end: FrontEnd, sample_rate: int, source: object) -> None:
    """Check that audio has the sample rate of the front end.

    Parameters
    ----------
    front_end : FrontEnd
        Settings of the front end.
    sample_rate : int
        Sample rate of the audio (Hz).
    source : object
        Name of the audio, for the error message.

    Raises
    ------
    DataError
        If the sample rates differ.
    """
    if sample_rate != front_end.sample_rate:
        raise DataError(
            f"front_end.sample_rate = {front_end.sample_rate} Hz, but the sample rate of {source} is {sample_rate} Hz"
        )


@one_thread()
def log_mel(waveform: Tensor, front_end: FrontEnd, compression: float = 1.0, *, whole: bool = True) -> Tensor:
    """Compute a log-mel spectrogram.

    Parameters
    ----------
    waveform : Tensor
        `[S]`, float32 in [-1, 1], at `front_end.sample_rate`.
    front_end : FrontEnd
        Kind, mel bands, window and hop.
    compression : float
        The paper's time compression: it lengthens the hop but not the window.
    whole : bool
        Whether `waveform` is a whole clip, so that margins have to be added, or a part that already includes them
        (see :func:`~elasticast.config.frames.margins`).

    Returns
    -------
    Tensor
        `[F, T]`, see :func:`~elasticast.config.frames.frame_count`.
    """
    hop = hop_samples(front_end, compression)
    if front_end.kind == "kaldi":
        return _kaldi(waveform, front_end, hop)
    return _stft(F.pad(waveform, margins(front_end)) if whole else waveform, front_end, hop)


def _kaldi(waveform: Tensor, front_end: FrontEnd, hop: int) -> Tensor:
    """Log-mel of the front end `kaldi`: exactly the values of torchaudio's `kaldi.fbank` with AST's arguments.

    The window and the mel bands are not rebuilt for every clip. As in AST, the mean of the waveform is removed first.
    """
    window = window_samples(front_end)
    points = 1 << (window - 1).bit_length()
    hann = _hann(window, periodic=False)
    waveform = waveform - waveform.mean()
    if len(waveform) < window:
        waveform = F.pad(waveform, (0, window - len(waveform)))
    frames = waveform.unfold(0, window, hop)
    before = frames.new_empty(min(len(frames), FRAMES_AT_ONCE), window)  # of every sample, the one before it, times .97

    def prepare(block: Tensor, out: Tensor) -> None:
        torch.sub(block, block.mean(1, keepdim=True), out=out)
        earlier = torch.mul(out, PREEMPHASIS, out=before[: len(block)])
        out[:, 1:].sub_(earlier[:, :-1])
        out[:, :1].sub_(earlier[:, :1])
        out.mul_(hann)

    magnitudes = _magnitudes(frames, points, prepare)
    energies = magnitudes.mul_(magnitudes)
    bands = _kaldi_bands(front_end.sample_rate, points, front_end.mel_bins)
    return torch.mm(energies, bands.T).clamp_(min=KALDI_FLOOR).log_().T


def _stft(waveform: Tensor, front_end: FrontEnd, hop: int) -> Tensor:
    """Log-mel of the front end `stft`: STFT magnitudes in HTK mel bands, as EPIC-SOUNDS computes them with librosa."""
    window = window_samples(front_end)
    hann = _hann(window, periodic=True)
    frames = waveform.unfold(0, window, hop)
    magnitudes = _magnitudes(frames, front_end.n_fft, lambda block, out: torch.mul(block, hann, out=out))
    bands = _htk_bands(front_end.sample_rate, front_end.n_fft, front_end.mel_bins)
    return torch.mm(magnitudes, bands.T).add_(STFT_OFFSET).log_().T


def _magnitudes(frames: Tensor, points: int, prepare: Callable[[Tensor, Tensor], object]) -> Tensor:
    """Magnitude spectra `[T, points // 2 + 1]` of frames `[T, W]`, each zero-padded to `points` samples.

    ``prepare(block, out)`` writes what is to be transformed of a block of frames. All blocks use the same memory.
    """
    window, bins, block = frames.shape[1], points // 2 + 1, min(len(frames), FRAMES_AT_ONCE)
    padded, spectra = frames.new_zeros(block, points), frames.new_empty(block, bins, dtype=torch.complex64)
    magnitudes = frames.new_empty(len(frames), bins)
    for part, out in zip(frames.split(FRAMES_AT_ONCE), magnitudes.split(FRAMES_AT_ONCE), strict=True):
        prepare(part, padded[: len(part), :window])
        torch.abs(torch.fft.rfft(padded[: len(part)], out=spectra[: len(part)]), out=out)
    return magnitudes


@functools.cache
def _hann(window: int, *, periodic: bool) -> Tensor:
    """Hann window `[W]`."""
    return torch.hann_window(window, periodic=periodic)


@functools.cache
def _kaldi_bands(sample_rate: int, points: int, mel_bins: int) -> Tensor:
    """Kaldi's triangular mel bands `[F, points // 2 + 1]`, without frequency warping."""
    bands, _ = kaldi.get_mel_banks(mel_bins, points, float(sample_rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0)
    return F.pad(bands, (0, 1))


@functools.cache
def _htk_bands(sample_rate: int, points: int, mel_bins: int) -> Tensor:
    """Triangular bands of height 1 `[F, points // 2 + 1]`, evenly spaced in HTK mel up to half the sample rate."""
    mel = torch.linspace(0, 2595 * math.log10(1 + sample_rate / 2 / 700), mel_bins + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, points // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def patchify(spectrogram: Tensor, patch: int, stride: int | None = None) -> Tensor:
    """Cut `[F, T]` into patches `[N, P*P]`, frequency-major: all time patches of the lowest band come first.

    The values inside a patch are also ordered by frequency, then time.

    Parameters
    ----------
    spectrogram : Tensor
        `[F, T]`; both F and T are at least P.
    patch : int
        Patch edge P.
    stride : int, optional
        Step R between patches in mel bins and frames, P by default. Patches overlap if R < P (AST, section 2.1). There
        are ``(F - P) // R + 1`` by ``(T - P) // R + 1`` patches; bins and frames left over at the end are not used.
    """
    stride = stride or patch
    grid = spectrogram.unfold(0, patch, stride).unfold(1, patch, stride)
    return grid.reshape(-1, patch * patch)
