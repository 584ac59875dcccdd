"""Asterisk: recorded prompts of a telephone system in five languages, at 8 kHz.

Description
    The prompts that Debian ships for the telephone system Asterisk: single letters and digits, phrases, and some texts
    of more than a minute; 8 kHz mono 16-bit wav, 0.2-86 s, half of them shorter than 1.4 s. The task ``language`` has
    five classes. All audio is recorded for telephones, so nothing is above 4 kHz, whatever rate the clips are stored
    at.

    There is one voice per language, and one speaker has recorded English and Spanish. A model that distinguishes
    speakers or microphones solves most of the task, so scores do not show that it recognises languages. The dataset is
    useful because it is small, real and free, and has genuine 8 kHz recordings of very different length.

    A prompt has the same file name in every language. A hash of the name decides its split (70 % train, 10 % dev, 20 %
    test), so the same text is never in two splits. The folder ``silence`` is left out, and so are seven sounds without
    speech, of which the languages have the same recording.

Layout
    The folders of the voices, ``en_US_f_Allison``, ``es_MX_f_Allison``, ``fr_CA_f_June``, ``it_IT_m_Carlo`` and
    ``ru_RU_f_IvrvoiceRU``, anywhere below one folder, for example where the packages are unpacked (see Source). They
    contain wav files and the sub-folders ``dictate``, ``digits``, ``followme``, ``letters``, ``phonetic`` and
    ``silence``. Other formats are also read.

Counts
    Version 1.6.1-1 has 551 English, 510 Spanish, 544 French, 582 Italian and 559 Russian clips, without those left out;
    2,746 in all, 2.1 h: 1,969 train, 249 dev and 528 test clips. One of them, Russian ``is.wav``, is empty.

Source
    Debian's packages ``asterisk-core-sounds-{en,es,fr,it,ru}-wav``, 98 MB. On Debian and Ubuntu::

        apt-get download asterisk-core-sounds-{en,es,fr,it,ru}-wav
        for package in asterisk-core-sounds-*.deb; do dpkg -x $package data/asterisk; done

    The files are compared with those of version 1.6.1-1; others are used with a warning. SHA-256 of these packages::

        2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d  asterisk-core-sounds-en-wav_1.6.1-1_all.deb
        9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903  asterisk-core-sounds-es-wav_1.6.1-1_all.deb
        8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e  asterisk-core-sounds-fr-wav_1.6.1-1_all.deb
        5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb  asterisk-core-sounds-it-wav_1.6.1-1_all.deb
        ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201  asterisk-core-sounds-ru-wav_1.6.1-1_all.deb

Licence
    English and Spanish (Allison Smith) and French (June Wallack): Creative Commons Attribution-ShareAlike 3.0 (CC BY-SA
    3.0). Italian (Carlo Flora) and Russian (Maxim Topal): Creative Commons Attribution 3.0 (CC BY 3.0).
"""

import hashlib
import logging
import re
from pathlib import Path

import pandas as pd

from elasticast.checksums import file_sha256
from elasticast.config.dataset import Asterisk
from elasticast.data.annotations import Annotations, hash_fraction
from elasticast.data.lookup import index_audio
from elasticast.errors import DataError

LOG = logging.getLogger(__name__)
VERSION = "1.6.1-1"
VOICES = {
    "en_US_f_Allison": "en",
    "es_MX_f_Allison": "es",
    "fr_CA_f_June": "fr",
    "it_IT_m_Carlo": "it",
    "ru_RU_f_IvrvoiceRU": "ru",
}
LANGUAGES = list(VOICES.values())
SHA256 = {
    "en": "639f708fa737c0f3a9ca1ab757f481a27fbd8803fd420e57e946061804ca7604",
    "es": "c932622dd95eed23053daf6b8ba3b9002da8c5e8b1b682938b08eb35e88d0c16",
    "fr": "33d2801425c44edfb3b8851bcfb5fb06c2bfe6c5d74a77a5f1bd64c37e2acce5",
    "it": "61a247bcad6ca0ba95afa65a3078feac508498593f76ba0425a342f98300bf9e",
    "ru": "58aa5db3c2088a54da6f48144575e801391c19408161182893bd39d6a2c10c92",
}
"""Of the clips of each language: SHA-256 of the lines ``SHA-256  prompt``, sorted by prompt."""
NO_SPEECH = {
    *("ascending-2tone", "beep", "beeperr", "confbridge-join", "confbridge-leave", "descending-2tone", "tt-monkeys"),
}
SHARES = {"test": 0.2, "dev": 0.1}
PUBLISHED = {"train": 1969, "dev": 249, "test": 528}
CLIP = re.compile(rf"(?:^|/)({'|'.join(VOICES)})/(.+)$")
REMEDY = (
    "unpack Debian's packages asterisk-core-sounds-en-wav, ... with `dpkg -x PACKAGE FOLDER`, and set `folder` in the "
    "dataset's settings to that folder, relative to data_root"
)


def fetch(config: Asterisk, data_root: Path, out: Path) -> None:
    """Do nothing: the packages are downloaded with Debian's tools."""


def annotate(config: Asterisk, data_root: Path, out: Path) -> Annotations:
    """Return one row per prompt of each language.

    Raises
    ------
    DataError
        If the folder does not exist or contains no prompt.
    """
    index = index_audio(data_root / config.folder, setting="folder", clip_of=_clip_of)
    names = sorted(index)
    if not names:
        raise DataError(f"{index.folder}: contains none of the folders {', '.join(VOICES)}; {REMEDY}")
    clips = pd.DataFrame({"id": names, "path": index.paths(names)})
    clips["language"] = [[name.partition("/")[0]] for name in names]
    clips["group"] = [name.partition("/")[2] for name in names]
    clips["split"] = clips["group"].map(_split)
    _check_version(index.folder, clips)
    return Annotations(clips, {"language": LANGUAGES}, PUBLISHED)


def _clip_of(relative: str) -> str:
    """The clip as ``language/prompt``, or ``""`` if the file is left out."""
    match = CLIP.search(relative)
    if not match or match[2].startswith("silence/") or match[2] in NO_SPEECH:
        return ""
    return f"{VOICES[match[1]]}/{match[2]}"


def _split(prompt: str) -> str:
    fraction = hash_fraction(f"asterisk {prompt}")
    return "test" if fraction < SHARES["test"] else "dev" if fraction < sum(SHARES.values()) else "train"


def _check_version(folder: Path, clips: pd.DataFrame) -> None:
    """Warn about each language that is missing, or whose files are not those of `VERSION`."""
    for voice, language in VOICES.items():
        of_language = clips[clips["id"].str.startswith(f"{language}/")]
        if of_language.empty:
            LOG.warning("%s: no clip in %s: the folder %s is missing", folder, language, voice)
        elif clips_sha256(of_language) != SHA256[language]:
            LOG.warning("%s: the files in %s are not those of version %s", folder, voice, VERSION)


def clips_sha256(clips: pd.DataFrame) -> str:
    """The checksum of the clips of a language, see `SHA256`."""
    total = hashlib.sha256()
    for prompt, path in sorted(zip(clips["group"], clips["path"], strict=True)):
        try:
            sha256 = file_sha256(Path(path))
        except DataError:  # decoding will reject the clip with a reason
            sha256 = "unreadable"
        total.update(f"{sha256}  {prompt}\n".encode(errors="replace"))
    return total.hexdigest()
