"""Settings of the datasets (``config/datasets/NAME.yaml``): one class per source.

Relative paths are looked up in `data_root`.
"""

from typing import Annotated

from pydantic import Field

from elasticast.config.dataset.common import SPLITS, DatasetSettings
from elasticast.config.dataset.own import Folders, OwnRecordings, Table
from elasticast.config.dataset.small import (
    Asterisk,
    Controls,
    FsddDigits,
    FsddStrings,
    Scenes,
    Soundscapes,
)
from elasticast.config.dataset.strong import AudioSetStrong, Desed
from elasticast.config.dataset.twinned import (
    AudioSet,
    EpicSounds,
    Esc50,
    Fsd50k,
    SpeechCommands,
    TwinnedDataset,
    TwinSettings,
    VggSound,
    VoxCeleb1,
)

__all__ = [
    "SPLITS",
    "Asterisk",
    "AudioSet",
    "AudioSetStrong",
    "Controls",
    "DatasetConfig",
    "DatasetSettings",
    "Desed",
    "EpicSounds",
    "Esc50",
    "Folders",
    "Fsd50k",
    "FsddDigits",
    "FsddStrings",
    "OwnRecordings",
    "Scenes",
    "Soundscapes",
    "SpeechCommands",
    "Table",
    "TwinSettings",
    "TwinnedDataset",
    "VggSound",
    "VoxCeleb1",
]

DatasetConfig = Annotated[
    Soundscapes
    | Controls
    | Scenes
    | FsddDigits
    | FsddStrings
    | Esc50
    | SpeechCommands
    | Asterisk
    | AudioSet
    | AudioSetStrong
    | Desed
    | VggSound
    | VoxCeleb1
    | EpicSounds
    | Fsd50k
    | Table
    | Folders,
    Field(discriminator="source"),
]
