"""Settings of published datasets, each of which has a synthetic twin."""

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from elasticast.config.base import PositiveFloat, PositiveInt, Seed, TaskKind
from elasticast.config.dataset.common import SPLITS, DatasetSettings, Files, Range, Ranges
from elasticast.errors import Problem, SettingsError

TWIN_CODE = ("data/synthesis.py", "data/datasets/soundscapes.py", "data/twins")
"""Code of the package that makes synthetic twins."""
ESC50_FOLDS = 5


class TwinSettings(Ranges):
    """A synthetic twin, see `elasticast.data.twins`."""

    clips: dict[Literal["train", "dev", "test"], PositiveInt] = Field(
        description="Number of clips in the lists of each split, including those without usable audio. [clips]"
    )
    seconds: list[PositiveFloat] = Field(
        min_length=2, max_length=2, description="Shortest and longest clip; lengths are log-normal in between. [s]"
    )
    missing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of clips without usable audio. Must stay below `max_rejected`."
    )
    snr_db: Range = Field([5.0, 20.0], description="Level of the sounds above the background, least and most. [dB]")
    seed: Seed = Field(0, description="Seed of the synthesis.")


class TwinnedDataset(DatasetSettings):
    """A published dataset, or its synthetic twin."""

    longest: ClassVar[float] = math.inf
    """Longest clip of the published dataset, if its twin must not have longer ones (s)."""
    twin: TwinSettings | None = Field(
        None,
        description="Replace the dataset by a small synthetic one in the same file formats; `null` reads the real "
        "one from `data_root`.",
    )

    def code(self) -> tuple[str, ...]:
        """See `DatasetSettings.code`."""
        return super().code() + (TWIN_CODE if self.twin else ())

    @property
    def origin(self) -> str:
        """See `DatasetSettings.origin`."""
        return f"synthetic twin of {self.module}" if self.twin else super().origin

    @model_validator(mode="after")
    def _twin_fits(self):
        if self.twin is None:
            return self
        if problems := self._twin_problems():
            raise SettingsError(problems)
        return self

    def _twin_problems(self) -> list[Problem]:
        """Why there can be no such twin."""
        problems, expected = [], self.splits()
        if set(self.twin.clips) != expected:
            splits = ", ".join(split for split in SPLITS if split in expected)
            message = f"expected the splits in the lists of {self.module}: {splits}"
            problems.append(Problem("", ("twin", "clips"), message, self.twin.clips))
        if max(self.twin.seconds) > self.longest:
            message = f"expected at most {self.longest:g} s, the longest clip of {self.module}"
            problems.append(Problem("", ("twin", "seconds"), message, self.twin.seconds))
        for name, path in self._paths():
            if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
                message = "expected a relative path: the files of a twin are written below the prepared dataset"
                problems.append(Problem("", (name,), message, path))
        return problems

    def _paths(self) -> Iterator[tuple[str, str]]:
        """Key and path of every file or folder that the dataset is read from."""
        for name in ("folder", "segments", "annotations", "labels", "audio"):
            value = getattr(self, name, None)
            files = [value] if isinstance(value, str) else chain.from_iterable((value or {}).values())
            yield from ((name, file) for file in files)


class AudioSet(TwinnedDataset):
    """AudioSet, see `elasticast.data.datasets.audioset`."""

    module: ClassVar[str] = "audioset"
    tasks: ClassVar[dict[str, TaskKind]] = {"events": "multi"}
    source: Literal["audioset"] = Field(description="AudioSet.")
    segments: dict[Literal["train", "dev", "test"], Files] = Field(description="Segment lists (csv) of each split.")
    labels: str = Field("audioset/class_labels_indices.csv", description="List of the 527 classes (csv), in order.")
    audio: str = Field("audioset/audio", description="Folder with the clips, flat or in sub-folders.")

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(self.segments)


class VggSound(TwinnedDataset):
    """VGGSound, see `elasticast.data.datasets.vggsound`."""

    module: ClassVar[str] = "vggsound"
    tasks: ClassVar[dict[str, TaskKind]] = {"sound": "single"}
    source: Literal["vggsound"] = Field(description="VGGSound.")
    annotations: str = Field("vggsound/vggsound.csv", description="List of clips (csv): id, start, label, split.")
    labels: str | None = Field(
        None,
        description="List of the classes in order (csv with a column `display_name`); `null` sorts them "
        "alphabetically.",
    )
    audio: str = Field("vggsound/audio", description="Folder with the clips, flat or in sub-folders.")


class VoxCeleb1(TwinnedDataset):
    """VoxCeleb1, identification, see `elasticast.data.datasets.voxceleb1`."""

    module: ClassVar[str] = "voxceleb1"
    tasks: ClassVar[dict[str, TaskKind]] = {"speaker": "single"}
    source: Literal["voxceleb1"] = Field(description="VoxCeleb1, identification.")
    annotations: str = Field("voxceleb1/iden_split.txt", description="File with the identification split.")
    audio: str = Field(
        "voxceleb1", description="Folder with `id10001/...`, or with `wav/`, `dev/wav/` and `test/wav/`."
    )

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(SPLITS)


class EpicSounds(TwinnedDataset):
    """EPIC-SOUNDS, see `elasticast.data.datasets.epic_sounds`."""

    module: ClassVar[str] = "epic_sounds"
    tasks: ClassVar[dict[str, TaskKind]] = {"sound": "single"}
    source: Literal["epic_sounds"] = Field(description="EPIC-SOUNDS.")
    store_rate: PositiveInt = Field(24000, description="Sample rate of the waveform store. [Hz]")
    annotations: dict[Literal["train", "dev", "test"], Files] = Field(
        description="Annotation files (csv) of each split."
    )
    audio: str = Field(
        "epic_sounds/audio",
        description="Folder with one audio file per video, or an HDF5 file with one dataset per video.",
    )

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(self.annotations)


class Fsd50k(TwinnedDataset):
    """FSD50K, see `elasticast.data.datasets.fsd50k`."""

    module: ClassVar[str] = "fsd50k"
    tasks: ClassVar[dict[str, TaskKind]] = {"events": "multi"}
    source: Literal["fsd50k"] = Field(description="FSD50K.")
    folder: str = Field(
        "FSD50K", description="Folder with `FSD50K.ground_truth/`, `FSD50K.dev_audio/` and `FSD50K.eval_audio/`."
    )

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(SPLITS)


class Esc50(TwinnedDataset):
    """ESC-50, see `elasticast.data.datasets.esc50`."""

    module: ClassVar[str] = "esc50"
    tasks: ClassVar[dict[str, TaskKind]] = {"sound": "single"}
    longest: ClassVar[float] = 5.0
    source: Literal["esc50"] = Field(description="ESC-50.")
    folder: str = Field("esc50", description="Folder with `meta/esc50.csv` and `audio/`.")
    test_fold: Annotated[int, Field(ge=1, le=ESC50_FOLDS)] = Field(5, description="Fold used as split `test`.")
    dev_fold: Annotated[int, Field(ge=1, le=ESC50_FOLDS)] | None = Field(
        None, description="Fold used as split `dev`; `null` makes no such split."
    )
    trim_silence: bool = Field(
        False, description="Remove the digital silence that pads most clips to 5 s, which restores their native length."
    )

    @field_validator("dev_fold")
    @classmethod
    def _another_fold(cls, fold: int | None, info: Any) -> int | None:
        if fold is not None and fold == info.data.get("test_fold"):
            raise ValueError("is already used as `test_fold`; choose another fold")
        return fold

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return super().splits() | ({"dev"} if self.dev_fold else set())

    def _twin_problems(self) -> list[Problem]:
        if problems := super()._twin_problems():
            return problems
        clips, folds = self.twin.clips, ESC50_FOLDS - len(self.splits()) + 1
        expected = {"train": folds * clips["test"]} | ({"dev": clips["test"]} if self.dev_fold else {})
        message = f"expected {{}}: each of the {ESC50_FOLDS} folds has as many clips as split test, {clips['test']}"
        wrong = [split for split, count in expected.items() if clips[split] != count]
        return [Problem("", ("twin", "clips", split), message.format(expected[split]), clips[split]) for split in wrong]


class SpeechCommands(TwinnedDataset):
    """Speech Commands v0.02, see `elasticast.data.datasets.speech_commands`."""

    module: ClassVar[str] = "speech_commands"
    tasks: ClassVar[dict[str, TaskKind]] = {"word": "single"}
    longest: ClassVar[float] = 1.0
    source: Literal["speech_commands"] = Field(description="Speech Commands v0.02.")
    folder: str = Field("speech_commands_v0.02", description="Folder with the lists and one sub-folder per word.")

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(SPLITS)
