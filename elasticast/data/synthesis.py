"""What the generators of audio share: noise, levels, and a folder of wavs that knows its recipe."""

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
    """Gaussian noise of unit RMS whose power falls as ``1 / f ** exponent``; float64 ``[samples]``."""
    size = 1 << max(samples - 1, 1).bit_length()  # a transform of prime length takes several times longer
    spectrum = np.fft.rfft(rng.standard_normal(size))
    steps = np.maximum(np.arange(len(spectrum)), 1)
    spectrum *= steps ** (-exponent / 2)
    spectrum[0] = 0  # no offset
    return unit_rms(np.fft.irfft(spectrum, size)[:samples])


def rms(wave: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(wave))))


def unit_rms(wave: np.ndarray) -> np.ndarray:
    """`wave` scaled to an RMS of 1; silence stays silence."""
    return wave / max(rms(wave), 1e-12)


def gain(decibel: float) -> float:
    """Amplitude factor of a level difference."""
    return 10.0 ** (decibel / 20)


def to_int16(wave: np.ndarray) -> np.ndarray:
    """int16 samples; a wave that would clip is turned down as a whole."""
    peak = float(np.abs(wave).max(initial=0.0))
    return np.round(wave * (min(1.0, PEAK / peak) if peak else 1.0) * 32767).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write int16 mono samples, all or nothing."""
    write_atomic(path, lambda file: sf.write(file, samples, sample_rate, subtype="PCM_16", format="WAV"))


def audio_folder(out: Path, config: DatasetSettings, **more: Any) -> Path:
    """``out/audio``, emptied when what is in it was made by other settings or other code.

    Parameters
    ----------
    config : DatasetSettings
        Its own settings, without the number of clips, decide the content of a wav of a given name.
    more
        What else decides it.
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
