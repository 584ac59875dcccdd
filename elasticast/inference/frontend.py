"""Encode waveforms as the inputs of an exported model: log-mel, padding or cropping, patches.

`elasticast export` puts a copy of this file into exports that are used without this package. It needs torch and
torchaudio, and reads the settings from `export.json` in its folder.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor

LARGEST = 4.0
"""Largest sample that can still be a recording with full scale 1."""


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

    Raises
    ------
    ValueError
        If a waveform is not a mono clip of floats with full scale 1, or if a file of the export was changed.
    """
    if settings is None:
        settings = _verified(Path(__file__).parent)["input"]
    for number, wave in enumerate(waveforms):
        if wrong := _problem(wave):
            raise ValueError(f"waveforms[{number}]: expected floats [S] with full scale 1: {wrong}")
    clips = [_patches(_log_mel(wave, settings), settings) for wave in waveforms]
    patches, freq, time = (torch.cat(parts) for parts in zip(*clips, strict=True))
    return patches, freq, time, torch.tensor([len(clip[0]) for clip in clips])


@cache
def _verified(folder: Path) -> dict[str, Any]:
    """Content of `export.json`, after comparing it and the files that it names with their SHA-256."""
    source = folder / "export.json"
    record = json.loads(source.read_text())
    content = json.dumps({key: record[key] for key in record if key != "record_sha256"}, sort_keys=True)
    sums = {source: (content.encode(), record.get("record_sha256"))}
    sums |= {folder / name: ((folder / name).read_bytes(), expected) for name, expected in record["files"].items()}
    for path, (data, expected) in sums.items():
        if hashlib.sha256(data).hexdigest() != expected:
            raise ValueError(f"{path}: was damaged, edited or exchanged; export the model again")
    return record


def _problem(wave: Tensor) -> str:
    """Why a waveform cannot be used; empty if it can."""
    if wave.dim() != 1 or not wave.is_floating_point() or not len(wave):
        return f"got {wave.dtype} of shape {list(wave.shape)}"
    largest = wave.abs().max().item()
    return "" if largest <= LARGEST else f"a sample is {largest:g}"  # also if it is NaN


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
