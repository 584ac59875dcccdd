"""Free Spoken Digit Dataset: single digits, and strings of digits.

Description
    3,000 recordings of six speakers of English, 50 per speaker and digit; 8 kHz mono 16-bit wav, trimmed, 0.14-2.28 s.
    Recordings 0-4 of each speaker and digit are the test split, 5-49 the training split, as the dataset defines them.
    If strings are asked for in a split dev, it has recordings 5-9.

    ``fsdd_digits``: each recording is a clip. The tasks ``digit`` and ``speaker`` have one label each.

    ``fsdd_strings``: each clip consists of 1-16 recordings of the same speaker and split, joined with random gaps. If
    ``snr_db`` is set, pink noise is added. The tasks are ``digits`` (the set of spoken digits) and ``speaker``. The
    number of recordings is log-uniform, so that both short and long strings occur. If a string is shorter than 0.3 s,
    more recordings are added; if the next recording would make it longer than 10 s, it is not added. No recording is
    used twice in a string. If ``vocabulary`` allows fewer than ten digits, the number of allowed digits and the digits
    themselves are drawn first for each string. Otherwise long strings would contain nearly all digits, and the length
    of a string would predict its labels. Every string has a separate random stream, keyed by (seed, split, index).
    With ``event_times``, the task ``timed_digits`` has the digits with onset and offset: those of the recordings, which
    are trimmed.

Source
    https://github.com/Jakobovski/free-spoken-digit-dataset, release 1.0.10, in ``data_root/fsdd/recordings``.
    Every file is compared with ``fsdd.sha256``. A clip is rejected if a recording it uses is missing or differs.

Licence
    Creative Commons Attribution-ShareAlike 4.0 (CC BY-SA 4.0), Zohar Jackson and the contributors.
"""

import math
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile as sf

from elasticast.config.dataset import FsddDigits, FsddStrings
from elasticast.data.annotations import Annotations
from elasticast.data.download import Archive, ArchiveFile, compare_sums, fetch_archive, read_sums
from elasticast.data.event_lists import events_of
from elasticast.data.synthesis import audio_folder, gain, pink_noise, rms, to_int16, write_wav
from elasticast.progress import track

URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
SUMS = Path(__file__).with_name("fsdd.sha256")
UNPACKED = 256 << 20  # bytes; several times its size
SAMPLE_RATE = 8000
TEST_INDICES = range(5)
DEV_INDICES = range(5, 10)
"""Recordings of split dev, if strings are asked for in it; otherwise they belong to split train."""
STRING_SECONDS = (0.3, 10.0)
STREAMS = {"train": 0, "test": 1, "dev": 2}
LAYOUT = "fsdd/recordings/{digit}_{speaker}_{index}.wav"


class Utterance(NamedTuple):
    """A recording of the dataset."""

    name: str
    digit: str
    speaker: str
    split: str


# ---------------------------------------------------------------------------------------------
# The recordings
# ---------------------------------------------------------------------------------------------


def checksums() -> dict[str, str]:
    """The expected SHA-256 of every recording, by file name."""
    return read_sums(SUMS)


def recordings(dev: bool = False) -> list[Utterance]:
    """All published recordings, sorted by name, whether their files exist or not; `dev` makes a split dev."""
    utterances = []
    for name in sorted(checksums()):
        digit, speaker, index = name.removesuffix(".wav").split("_")
        split = "test" if int(index) in TEST_INDICES else "dev" if dev and int(index) in DEV_INDICES else "train"
        utterances.append(Utterance(name, digit, speaker, split))
    return utterances


def verify(folder: Path) -> dict[str, str]:
    """Compare the recordings with their checksums; see :func:`~elasticast.data.download.compare_sums`."""
    return compare_sums(folder, SUMS)


def ensure_recordings(data_root: Path, url: str | None = None) -> Path:
    """Return the folder of the recordings. Download them if it does not exist.

    Raises
    ------
    DataError
        If the folder does not exist and the recordings cannot be downloaded. The message lists the remedies.
    """
    folder, expected = data_root / "fsdd" / "recordings", checksums()

    def wanted(path: PurePosixPath) -> str | None:
        return path.name if path.parent.name == "recordings" and path.name in expected else None

    contents = f"{LAYOUT} ({len(expected)} files)"
    file = ArchiveFile(url or URL, "fsdd.tar.gz")
    fetch_archive(Archive((file,), wanted, contents, unpacked=UNPACKED), folder)
    return folder


# ---------------------------------------------------------------------------------------------
# Strings
# ---------------------------------------------------------------------------------------------


class DigitString(NamedTuple):
    """The recordings of a string, and the gap (s) before each of them."""

    parts: tuple[Utterance, ...]
    gaps: tuple[float, ...]


Pools = dict[str, dict[str, list[Utterance]]]


def pools(dev: bool = False) -> Pools:
    """The recordings to choose from, by split and speaker; `dev` makes a split dev."""
    by_split: Pools = {split: {} for split in STREAMS if dev or split != "dev"}
    for recording in recordings(dev):
        by_split[recording.split].setdefault(recording.speaker, []).append(recording)
    return by_split


def _rng(config: FsddStrings, split: str, index: int, step: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, STREAMS[split], index, step])


def compose(config: FsddStrings, split: str, index: int, pools: Pools, seconds: dict[str, float]) -> DigitString:
    """Choose the recordings and gaps of string `index` of `split`.

    Parameters
    ----------
    config : FsddStrings
        Settings of the dataset.
    split : str
        The split.
    index : int
        Index of the string in the split.
    pools : dict
        See :func:`pools`.
    seconds : dict
        Length of every usable recording (s), by file name. Other recordings have length 0; strings that use one are
        rejected later.
    """
    rng = _rng(config, split, index, step=0)
    speakers = sorted(pools[split])
    digits = _vocabulary(config, split, index)
    pool = [r for r in pools[split][speakers[rng.integers(len(speakers))]] if r.digit in digits]
    fewest, most = config.recordings
    count = int(fewest * ((most + 1) / fewest) ** rng.uniform())
    order, gaps = rng.permutation(len(pool)), rng.uniform(*config.gap_seconds, len(pool))
    gaps[0] = 0.0
    parts: list[Utterance] = []
    total = 0.0
    for number, gap in zip(order, gaps, strict=True):
        longer = total + gap + seconds.get(pool[number].name, 0.0)
        if (len(parts) >= count and total >= STRING_SECONDS[0]) or (parts and longer > STRING_SECONDS[1]):
            break
        parts.append(pool[number])
        total = longer
    return DigitString(tuple(parts), tuple(gaps[: len(parts)].tolist()))


def _vocabulary(config: FsddStrings, split: str, index: int) -> set[str]:
    """The digits that a string may contain."""
    rng = _rng(config, split, index, step=2)
    size = rng.integers(config.vocabulary[0], config.vocabulary[1] + 1)
    return {str(digit) for digit in rng.permutation(10)[:size]}


def render(config: FsddStrings, split: str, index: int, string: DigitString, folder: Path) -> np.ndarray:
    """Generate the samples of a string; int16 ``[samples]`` at 8 kHz."""
    pieces = []
    for part, gap in zip(string.parts, string.gaps, strict=True):
        pieces += [np.zeros(round(gap * SAMPLE_RATE)), sf.read(folder / part.name)[0]]
    speech = np.concatenate(pieces)
    if config.snr_db is not None:
        rng = _rng(config, split, index, step=1)
        level = rms(np.concatenate(pieces[1::2])) * gain(-rng.uniform(*config.snr_db))
        speech = speech + level * pink_noise(rng, len(speech))
    return to_int16(speech)


def times(string: DigitString, folder: Path) -> list[tuple[str, float, float]]:
    """Digit, onset (s) and offset (s) of each recording of a string."""
    events, end = [], 0
    for part, gap in zip(string.parts, string.gaps, strict=True):
        begin = end + round(gap * SAMPLE_RATE)
        end = begin + sf.info(folder / part.name).frames
        events.append((part.digit, begin / SAMPLE_RATE, end / SAMPLE_RATE))
    return events


def _strings(config: FsddStrings, folder: Path) -> list[tuple[str, str, int, DigitString, str]]:
    """``(id, split, index, string, reason)`` for every string."""
    reasons = verify(folder)
    seconds = {name: sf.info(folder / name).duration for name, reason in reasons.items() if not reason}
    strings, available = [], pools("dev" in config.clips)
    for split in STREAMS:
        for index in range(config.clips.get(split, 0)):
            string = compose(config, split, index, available, seconds)
            problems = [f"{part.name}: {reasons[part.name]}" for part in string.parts if reasons[part.name]]
            strings.append((f"{split}_{index:06d}", split, index, string, problems[0] if problems else ""))
    return strings


# ---------------------------------------------------------------------------------------------
# The two functions of every dataset module
# ---------------------------------------------------------------------------------------------


def fetch(config: FsddDigits | FsddStrings, data_root: Path, out: Path) -> None:
    """Download the recordings if they are missing, and write the strings that do not exist yet to ``out/audio``."""
    folder = ensure_recordings(data_root)
    if isinstance(config, FsddDigits):
        return
    audio = audio_folder(out, config, checksums=checksums())
    strings = _strings(config, folder)
    todo = [item for item in strings if not item[4] and not (audio / f"{item[0]}.wav").is_file()]
    for name, split, index, string, _ in track(todo, len(todo), "strings joined"):
        write_wav(audio / f"{name}.wav", render(config, split, index, string, folder), SAMPLE_RATE)


def annotate(config: FsddDigits | FsddStrings, data_root: Path, out: Path) -> Annotations:
    """Return one row per recording or string."""
    folder = ensure_recordings(data_root)
    whole_file = {"start": 0.0, "duration": math.nan}
    rows = []
    if isinstance(config, FsddDigits):
        reasons = verify(folder)
        for item in recordings():
            row = {"id": item.name.removesuffix(".wav"), "split": item.split, "path": str(folder / item.name)}
            labels = {"digit": [item.digit], "speaker": [item.speaker]}
            rows.append(row | whole_file | {"reason": reasons[item.name]} | labels)
        clips = pd.DataFrame(rows)
        return Annotations(clips, published=clips["split"].value_counts().to_dict())
    events = []
    for name, split, _, string, reason in _strings(config, folder):
        row = {"id": name, "split": split, "path": str(out / "audio" / f"{name}.wav"), "reason": reason}
        digits = sorted({part.digit for part in string.parts})
        rows.append(row | whole_file | {"digits": digits, "speaker": [string.parts[0].speaker]})
        events += [(name, *event, name) for event in times(string, folder)] if config.event_times and not reason else []
    return Annotations(pd.DataFrame(rows), events={"timed_digits": events_of(events)})
