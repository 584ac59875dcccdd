"""Log-mel spectrograms at any time resolution, normalisation, and patches.

Two front ends. ``kaldi`` is the log-mel filterbank of AST: energies of the frames that lie wholly in the clip. ``stft``
is that of EPIC-SOUNDS (Huh et al. 2023): magnitudes of frames centred on every hop, zeros around the clip.

Shape legend: S samples, W window, H hop (samples), F mel bins, T frames, N patches of a clip, P patch edge, R stride.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor

from elasticast.config import FrontEnd
from elasticast.config.frames import hop_samples, margins, window_samples
from elasticast.errors import DataError

KALDI_FLOOR = torch.finfo(torch.float32).eps
"""Kaldi's least energy of a mel bin."""
SILENCE = math.log(KALDI_FLOOR)
"""Log-mel of digital silence, front end `kaldi`."""
STFT_OFFSET = 1e-6
"""Front end `stft`: added to the magnitude of every mel bin, so that digital silence is its logarithm."""
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
"""Where the mel bands of `kaldi` begin; those of `stft` begin at 0. Both end at half the sample rate."""
FRAMES_AT_ONCE = 256
"""Frames transformed at once: they fit in a processor's cache, and a clip of many minutes needs little memory."""


@dataclass(frozen=True)
class Norm:
    """Mean and standard deviation of the log-mel over a training split."""

    mean: float
    std: float

    def __call__(self, log_mel: Tensor) -> Tensor:
        """Normalise as AST does: ``(x - mean) / (2 std)`` (Gong 2021, section 2.2: mean 0, std 0.5)."""
        return (log_mel - self.mean) / (2 * self.std)


def check_rate(front_end: FrontEnd, sample_rate: int, where: object) -> None:
    """Refuse a store of another sample rate than the front end's.

    Raises
    ------
    DataError
        If they differ.
    """
    if sample_rate != front_end.sample_rate:
        raise DataError(f"front_end.sample_rate = {front_end.sample_rate}, but {where} holds {sample_rate} Hz")


def log_mel(waveform: Tensor, front_end: FrontEnd, compression: float = 1.0, *, whole: bool = True) -> Tensor:
    """Log-mel spectrogram.

    Parameters
    ----------
    waveform : Tensor
        `[S]`, float32 in [-1, 1], at `front_end.sample_rate`.
    front_end : FrontEnd
        Kind, bands, window and hop.
    compression : float
        The paper's time compression: the hop grows, the window stays.
    whole : bool
        Whether this is a whole clip; a part cut out of one has its `margins` already.

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
    """The very numbers of torchaudio's `kaldi.fbank` as AST calls it, without building window and bands every time.

    The waveform's mean is removed first, as in AST.
    """
    window = window_samples(front_end)
    points = 1 << (window - 1).bit_length()
    hann = torch.hann_window(window, periodic=False)
    waveform = waveform - waveform.mean()
    if len(waveform) < window:
        waveform = F.pad(waveform, (0, window - len(waveform)))

    def prepared(frames: Tensor) -> Tensor:
        frames = frames - frames.mean(1, keepdim=True)
        before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
        return (frames - PREEMPHASIS * before) * hann

    energies = _magnitudes(waveform.unfold(0, window, hop), points, prepared).pow_(2)
    bands = _kaldi_bands(front_end.sample_rate, points, front_end.mel_bins)
    return torch.mm(energies, bands.T).clamp_(min=KALDI_FLOOR).log_().T


def _stft(waveform: Tensor, front_end: FrontEnd, hop: int) -> Tensor:
    """Magnitudes of the short-time Fourier transform in HTK mel bands, as EPIC-SOUNDS computes them with librosa."""
    window = window_samples(front_end)
    hann = torch.hann_window(window)
    magnitudes = _magnitudes(waveform.unfold(0, window, hop), front_end.n_fft, lambda frames: frames * hann)
    bands = _htk_bands(front_end.sample_rate, front_end.n_fft, front_end.mel_bins)
    return torch.mm(magnitudes, bands.T).add_(STFT_OFFSET).log_().T


def _magnitudes(frames: Tensor, points: int, prepared: Callable[[Tensor], Tensor]) -> Tensor:
    """Spectrum of each frame, `[T, W]` to `[T, points // 2 + 1]`, zeros appended to W samples."""
    found = frames.new_empty(len(frames), points // 2 + 1)
    for some, out in zip(frames.split(FRAMES_AT_ONCE), found.split(FRAMES_AT_ONCE), strict=True):
        torch.abs(torch.fft.rfft(prepared(some), n=points), out=out)
    return found


@functools.cache
def _kaldi_bands(sample_rate: int, points: int, mel_bins: int) -> Tensor:
    """Kaldi's triangular mel bands `[F, points // 2 + 1]`, without frequency warping."""
    bands, _ = kaldi.get_mel_banks(mel_bins, points, float(sample_rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0)
    return F.pad(bands, (0, 1))


@functools.cache
def _htk_bands(sample_rate: int, points: int, mel_bins: int) -> Tensor:
    """Triangular bands of height 1 `[F, points // 2 + 1]`, evenly spaced in HTK's mel from 0 Hz to half the rate."""
    mel = torch.linspace(0, 2595 * math.log10(1 + sample_rate / 2 / 700), mel_bins + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, points // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def patchify(spectrogram: Tensor, patch: int, stride: int | None = None) -> Tensor:
    """Cut `[F, T]` into `[N, P*P]` patches, frequency-major (all time patches of the lowest band first).

    Inside a patch the order is frequency, then time.

    Parameters
    ----------
    spectrogram : Tensor
        `[F, T]`, neither smaller than P.
    patch : int
        Patch edge P.
    stride : int, optional
        Mel bins and frames R between patches, P unless given; below P they overlap (AST, section 2.1). There are
        ``(F - P) // R + 1`` by ``(T - P) // R + 1`` patches, and what is left over at the ends is not used.
    """
    stride = stride or patch
    grid = spectrogram.unfold(0, patch, stride).unfold(1, patch, stride)
    return grid.reshape(-1, patch * patch)
