"""Helpers for generating audio: noise, levels, wav files, and a folder that records how its files were generated."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from elasticast.config.dataset import DatasetSettings
from elasticast.files import write_atomic, write_text
from elasticast.provenance import code_digest

PEAK = 0.99


def pink_noise(rng: np.random.Generator, samples: int, exponent: float = 1.0) -> np.ndarray:
    """Gaussian noise with an RMS of 1 and a power spectrum of ``1 / f ** exponent``; float64 ``[samples]``."""
    size = 1 << max(samples - 1, 1).bit_length()  # a Fourier transform of prime length is several times slower
    spectrum = np.fft.rfft(rng.standard_normal(size))
    steps = np.maximum(np.arange(len(spectrum)), 1)
    spectrum *= steps ** (-exponent / 2)
    spectrum[0] = 0  # no offset
    return unit_rms(np.fft.irfft(spectrum, size)[:samples])


def rms(wave: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(wave))))


def unit_rms(wave: np.ndarray) -> np.ndarray:
    """Scale `wave` to an RMS of 1. Silence is returned unchanged."""
    return wave / max(rms(wave), 1e-12)


def gain(decibel: float) -> float:
    """Amplitude factor of a level difference (dB)."""
    return 10.0 ** (decibel / 20)


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Convert to int16. If any sample would clip, the whole wave is attenuated."""
    peak = float(np.abs(wave).max(initial=0.0))
    return np.round(wave * (min(1.0, PEAK / peak) if peak else 1.0) * 32767).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write int16 mono samples atomically."""
    write_atomic(path, lambda file: sf.write(file, samples, sample_rate, subtype="PCM_16", format="WAV"))


def audio_folder(out: Path, config: DatasetSettings, **more: Any) -> Path:
    """Create the folder ``out/audio``. Existing files are deleted if they were generated with other settings or code.

    Parameters
    ----------
    out : Path
        Folder of the prepared dataset.
    config : DatasetSettings
        Settings of the dataset. Those that all datasets share, and the number of clips, do not affect a wav file.
    more
        Other values that affect the wav files.
    """
    settings = config.model_dump(mode="json", exclude={"clips", *DatasetSettings.model_fields}) | more
    code = code_digest("synthesis", *config.code())
    recipe = json.dumps({"settings": settings, "code": code}, sort_keys=True)
    folder, stamp = out / "audio", out / "audio" / "recipe.json"
    if folder.is_dir() and not (stamp.is_file() and stamp.read_text(encoding="utf-8") == recipe):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(stamp, recipe)
    return folder
