"""Impulse responses of devices or rooms, with which training clips are convolved.

Shape legend: S samples of a clip, R samples of a response.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from elasticast.checksums import file_sha256
from elasticast.config import RunConfig
from elasticast.data.audio import open_recording, resampled, to_mono
from elasticast.data.augment import uniform
from elasticast.data.lookup import EXTENSIONS, scan_audio
from elasticast.data.recordings import UnusableAudioError
from elasticast.errors import DataError

LONGEST_SECONDS = 10.0
"""Longest response. A longer file is a recording."""
FFT_STEP = 4096
"""Sizes of Fourier transforms are multiples of this. With a large prime factor, they take several times as long."""
SETTING = "train.impulse_responses.folder"


@dataclass(frozen=True)
class Responses:
    """Impulse responses.

    Attributes
    ----------
    waves : list of Tensor
        `[R]` each, with an energy of 1, at the sample rate of the clips.
    sha256 : str
        Of the SHA-256 of the files, in the order of their names.
    """

    waves: list[Tensor]
    sha256: str

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Convolve a waveform `[S]` with a response that is drawn. Sounds stay where they are.

        Returns
        -------
        Tensor
            `[S]`. The largest sample of the response is at a delay of 0.
        """
        wave = self.waves[uniform(len(self.waves), generator)]
        points = FFT_STEP * math.ceil((len(waveform) + len(wave)) / FFT_STEP)
        convolved = torch.fft.irfft(torch.fft.rfft(waveform, points) * torch.fft.rfft(wave, points), points)
        first = int(wave.abs().argmax())
        return convolved[first : first + len(waveform)]


def responses_of(config: RunConfig, root: Path) -> Responses | None:
    """Read `train.impulse_responses` of a run, a relative folder in `root`; None if it is not set."""
    settings = config.train.impulse_responses
    return settings and read_responses(root / settings.folder, config.front_end.sample_rate)


def read_responses(folder: Path, sample_rate: int) -> Responses:
    """Read the audio files in a folder and its sub-folders. Channels are averaged.

    Parameters
    ----------
    folder : Path
        The folder.
    sample_rate : int
        Sample rate to resample to (Hz).

    Raises
    ------
    DataError
        If there is no such folder or no audio file in it, or if a file is no response: unreadable, silent, not finite,
        or longer than :data:`LONGEST_SECONDS`.
    """
    remedy = f"set {SETTING} to a folder of impulse responses, absolute or in weights_root"
    if not folder.is_dir():
        raise DataError(f"{folder}: {'a file, not a folder' if folder.exists() else 'no such folder'}; {remedy}")
    files = sorted(Path(file) for file, _ in scan_audio(folder, remedy))
    if not files:
        raise DataError(f"{folder}: contains no audio file ({', '.join(EXTENSIONS)}); {remedy}")
    sums = [file_sha256(file) for file in files]
    return Responses([_read(file, sample_rate) for file in files], hashlib.sha256("".join(sums).encode()).hexdigest())


def _read(file: Path, sample_rate: int) -> Tensor:
    try:
        with open_recording(file) as recording:
            longest = round(LONGEST_SECONDS * recording.rate)
            blocks = [torch.from_numpy(to_mono(b)) for b in recording.blocks(0, min(recording.frames, longest + 1))]
            if sum(map(len, blocks)) > longest:
                raise UnusableAudioError(f"longer than {LONGEST_SECONDS:g} s")
            wave = torch.cat([torch.empty(0), *resampled(blocks, recording.rate, sample_rate)])
        if not wave.isfinite().all():
            raise UnusableAudioError("non-finite samples")
        if not wave.any():
            raise UnusableAudioError("silent")
    except UnusableAudioError as error:
        raise DataError(f"{file}: no impulse response: {error} ({SETTING})") from None
    return wave / wave.norm()
