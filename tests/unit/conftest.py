import hashlib
import io

import numpy as np
import pytest
import soundfile as sf

from elasticast.data.datasets import fsdd

SPEAKERS = ("ada", "bob")


@pytest.fixture(scope="session")
def published():
    """File name to content of a small dataset of the same naming: 2 speakers, 10 digits, 7 recordings each."""
    rng, files = np.random.default_rng(0), {}
    for speaker in SPEAKERS:
        for digit in range(10):
            for index in range(7):
                buffer = io.BytesIO()
                wave = (rng.standard_normal(round(8000 * rng.uniform(0.15, 0.6))) * 2000).astype(np.int16)
                sf.write(buffer, wave, 8000, format="WAV")
                files[f"{digit}_{speaker}_{index}.wav"] = buffer.getvalue()
    return files


@pytest.fixture
def sums(tmp_path, published, monkeypatch):
    """The small dataset's checksums in place of the committed ones."""
    path = tmp_path / "fsdd.sha256"
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in published.items()]
    path.write_text("".join(lines))
    monkeypatch.setattr(fsdd, "SUMS", path)
