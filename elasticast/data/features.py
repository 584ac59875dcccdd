"""Log-mel spectrograms at any time resolution, normalisation, and patches.

Shape legend: S samples, F mel bins, T frames, N patches of a clip, P patch edge, R stride.
"""

import math
from dataclasses import dataclass

import torch
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor

from elasticast.config import FrontEnd

SILENCE = math.log(torch.finfo(torch.float32).eps)
"""Log-mel of digital silence: Kaldi floors the energy at the float32 epsilon."""


@dataclass(frozen=True)
class Norm:
    """Mean and standard deviation of the log-mel over a training split."""

    mean: float
    std: float

    def __call__(self, log_mel: Tensor) -> Tensor:
        """Normalise as AST does: ``(x - mean) / (2 std)`` (Gong 2021, section 2.2: mean 0, std 0.5)."""
        return (log_mel - self.mean) / (2 * self.std)


def hop_samples(front_end: FrontEnd, compression: float) -> int:
    """Hop in samples at a compression; the hop is a whole number of ms, as in the paper.

    ``round`` and not ``int``: 10 x 1.2 is 12.000000000000002 but 10 x 2.3 is 22.999999999999996.
    """
    hop_ms = round(front_end.hop_ms * compression)
    return round(hop_ms * front_end.sample_rate / 1000)


def window_samples(front_end: FrontEnd) -> int:
    """Analysis window in samples."""
    return round(front_end.window_ms * front_end.sample_rate / 1000)


def frame_count(samples: int, front_end: FrontEnd, compression: float = 1.0) -> int:
    """Frames that :func:`log_mel` makes of `samples` samples; fewer than a window make one."""
    return 1 + max(0, samples - window_samples(front_end)) // hop_samples(front_end, compression)


def log_mel(waveform: Tensor, front_end: FrontEnd, compression: float = 1.0) -> Tensor:
    """Kaldi-compatible log-mel filterbank features.

    Parameters
    ----------
    waveform : Tensor
        `[S]`, in [-1, 1], at `front_end.sample_rate`. Its mean is removed, as in AST.
    front_end : FrontEnd
        Bands, window and hop.
    compression : float
        The paper's time compression: the hop grows, the window stays.

    Returns
    -------
    Tensor
        `[F, T]` with ``T = 1 + (S - window) // hop``; a waveform shorter than the window gives one frame.
    """
    window = window_samples(front_end)
    waveform = waveform - waveform.mean()
    if waveform.numel() < window:
        waveform = torch.nn.functional.pad(waveform, (0, window - waveform.numel()))
    hop_ms = 1000 * hop_samples(front_end, compression) / front_end.sample_rate
    features = kaldi.fbank(
        waveform[None],
        sample_frequency=front_end.sample_rate,
        num_mel_bins=front_end.mel_bins,
        window_type="hanning",
        frame_length=front_end.window_ms,
        frame_shift=hop_ms,
        htk_compat=True,
        use_energy=False,
        dither=0.0,
    )
    return features.T


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
