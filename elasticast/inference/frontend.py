"""Encode waveforms as the inputs of an exported model: log-mel, padding or cropping, patches.

`elasticast export` puts a copy of this file into exports that are used without this package. It needs torch and
torchaudio, and reads the settings from `export.json` in its folder.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor


def encode(
    waveforms: Sequence[Tensor], settings: dict[str, Any] | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Encode clips of any lengths.

    Parameters
    ----------
    waveforms : sequence of Tensor
        Mono clips `[S]`, float32 with full scale 1, at the sample rate of the model. What is longer than the longest
        clip of the model is cut off.
    settings : dict, optional
        Settings, by default those of the entry ``input`` in `export.json`.

    Returns
    -------
    patches : Tensor
        `[N, P*P]` float32, patches of all clips.
    freq, time : Tensor
        `[N]` int64, place of each patch on the grid of its clip.
    seqlens : Tensor
        `[B]` int64, number of patches of each clip.
    """
    if settings is None:
        settings = json.loads((Path(__file__).parent / "export.json").read_text())["input"]
    clips = [_patches(_log_mel(wave, settings), settings) for wave in waveforms]
    patches, freq, time = (torch.cat(parts) for parts in zip(*clips, strict=True))
    return patches, freq, time, torch.tensor([len(clip[0]) for clip in clips])


def _log_mel(waveform: Tensor, settings: dict[str, Any]) -> Tensor:
    """Log-mel `[F, T]`."""
    rate, window_ms = settings["sample_rate"], settings["window_ms"]
    waveform = waveform - waveform.mean()
    missing = round(window_ms * rate / 1000) - len(waveform)
    return kaldi.fbank(
        torch.nn.functional.pad(waveform, (0, max(0, missing)))[None],
        sample_frequency=rate,
        window_type="hanning",
        num_mel_bins=settings["mel_bins"],
        frame_length=window_ms,
        frame_shift=settings["hop_ms"],
    ).T


def _patches(log_mel: Tensor, settings: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Patches `[n, P*P]` of a log-mel `[F, T]`, lowest band first, and their places."""
    edge, step = settings["patch"], settings["stride"]
    frames = max(log_mel.shape[1], settings["shortest"])
    steps = min(-(-max(0, frames - edge) // step), (settings["longest"] - edge) // step)  # rounded up: no frame is lost
    frames = edge + steps * step
    log_mel = torch.nn.functional.pad(log_mel, (0, max(0, frames - log_mel.shape[1])))[:, :frames]
    grid = ((log_mel - settings["mean"]) / (2 * settings["std"])).unfold(0, edge, step).unfold(1, edge, step)
    rows, columns = grid.shape[:2]
    freq, time = torch.arange(rows).repeat_interleave(columns), torch.arange(columns).repeat(rows)
    return grid.reshape(-1, edge * edge), freq, time
