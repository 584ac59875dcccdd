"""Sound files in memory, and what `prepare` and `predict` make of them."""

import io

import numpy as np
import soundfile as sf

from elasticast.data.audio import decode
from elasticast.data.recordings import UnusableAudioError
from elasticast.data.stream import file_source

RATE = 16000
LENGTH = 24000


def tone(seed=0, length=LENGTH, channels=1):
    """16-bit samples of a tone with some noise."""
    rng = np.random.default_rng(seed)
    wave = 0.3 * np.sin(np.arange(length) * (0.1 + 0.05 * seed)) + 0.01 * rng.standard_normal(length)
    wave = np.round(wave * 32768).astype(np.int16)
    return wave if channels == 1 else np.stack([wave] * channels, axis=1)


def written(kind, subtype=None, wave=None, **options):
    """Bytes of a file that soundfile writes."""
    file, wave = io.BytesIO(), tone() if wave is None else wave
    if subtype in ("FLOAT", "DOUBLE"):  # soundfile does not scale integers to floats
        wave = wave / 32768
    sf.write(file, wave, RATE, format=kind, subtype=subtype, **options)
    return file.getvalue()


def prepared(path, content):
    """Samples that `prepare` stores of a file with this content, or the reason why not. `predict` agrees."""
    path.write_bytes(content)
    try:
        found = decode(path, rate=RATE).samples
    except UnusableAudioError as error:
        return str(error)
    streamed = np.concatenate([block.numpy() for block in file_source(path).blocks(RATE)])
    np.testing.assert_array_equal(found, np.round(streamed * 32768).astype(np.int16))
    return found
