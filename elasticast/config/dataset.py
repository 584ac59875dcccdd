"""Settings of the datasets (``config/datasets/NAME.yaml``): one class per source.

Relative paths are looked up in `data_root`.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from elasticast.config.base import PositiveFloat, PositiveInt, Seed, Settings, Share, TaskKind
from elasticast.config.names import Line, Name
from elasticast.config.table import CLASSES, ClassNames, Columns, Labels, task_problems
from elasticast.errors import Problem, SettingsError

SPLITS = ("train", "dev", "test")
"""Splits of every prepared dataset; the store of a split without clips is empty."""
TWIN_CODE = ("data/synthesis.py", "data/datasets/soundscapes.py", "data/twins")
"""Code of the package that makes synthetic twins."""
Files = Annotated[list[str], Field(min_length=1)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Ranges(Settings):
    """Settings with ranges, in which the smaller number comes first."""

    @model_validator(mode="after")
    def _ordered(self):
        ranges = ("seconds", "snr_db", "recordings", "vocabulary", "gap_seconds")
        wrong = {name: getattr(self, name, None) for name in ranges}
        wrong = {name: value for name, value in wrong.items() if value and value[0] > value[1]}
        if wrong:
            message = "the smaller number comes first"
            raise SettingsError([Problem("", (name,), message, value) for name, value in wrong.items()])
        return self


class DatasetSettings(_Ranges):
    """Settings common to every dataset."""

    module: ClassVar[str]
    """The module in `elasticast.data.datasets` that reads the dataset."""
    tasks: ClassVar[dict[str, TaskKind]]
    generated: ClassVar[bool] = False
    """Whether the audio is made by `fetch`, not downloaded."""
    origin: ClassVar[str] = "recordings"
    """What the clips are."""
    max_rejected: Share = Field(0.0, description="Share of clips that may be unusable before `prepare` fails.")
    store_rate: PositiveInt = Field(16000, description="Sample rate of the waveform store. [Hz]")
    dev_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Share of the recordings (or videos, speakers) of the training split that become split `dev`, "
        "chosen by a hash of their names.",
    )
    ids: str | dict[Literal["train", "dev", "test"], str] | None = Field(
        None,
        description="File with the ids of the clips to use, one per line, or one such file for each split that is "
        "restricted; `null` uses all clips.",
    )
    shards: PositiveInt = Field(1, description="Number of jobs that share the decoding.")
    stats_clips: PositiveInt | None = Field(
        None,
        description="Number of training clips, evenly spaced, that normalisation statistics are computed from; "
        "`null` uses all. [clips]",
    )

    title: Line | None = Field(
        None, description="Name of the dataset in figures and tables; `null` uses the name of its file."
    )

    def id_files(self) -> dict[str, tuple[str, ...]]:
        """The files in `ids`, each with the splits that it restricts."""
        if isinstance(self.ids, str):
            return {self.ids: SPLITS}
        files = self.ids or {}
        return {file: tuple(split for split in files if files[split] == file) for file in files.values()}

    def recipe(self) -> dict[str, Any]:
        """The settings that determine the prepared data: all but `max_rejected`, `shards`, `stats_clips`, `title`."""
        return self.model_dump(mode="json", exclude={"max_rejected", "shards", "stats_clips", "title"})

    def code(self) -> tuple[str, ...]:
        """Code of the package that makes and reads this dataset, as in `elasticast.provenance.stages.STAGES`."""
        files = (f"config/dataset.py:{type(self).__name__}", f"data/datasets/{self.module}.py")
        return files + (("data/synthesis.py",) if self.generated else ())

    def splits(self) -> set[str]:
        """Splits in the dataset's lists; `dev_share` may add split dev."""
        return {"train", "test"}

    @property
    def dev_remedy(self) -> str:
        """What adds a split `dev`, for error messages."""
        return "set `dev_share` to hold out some clips of its training split"


class Soundscapes(DatasetSettings):
    """Synthetic soundscapes, see `elasticast.data.datasets.soundscapes`."""

    origin: ClassVar[str] = "synthetic"
    module: ClassVar[str] = "soundscapes"
    tasks: ClassVar[dict[str, TaskKind]] = {"events": "multi", "scene": "single"}
    generated: ClassVar[bool] = True
    source: Literal["soundscapes"] = Field(description="Synthetic soundscapes.")
    clips: dict[Literal["train", "test"], PositiveInt] = Field(description="Number of clips per split. [clips]")
    seconds: list[PositiveFloat] = Field(
        [0.5, 8.0], min_length=2, max_length=2, description="Shortest and longest clip. [s]"
    )
    snr_db: Range = Field([0.0, 15.0], description="Level of the events above the background, least and most. [dB]")
    seed: Seed = Field(0, description="Seed of the synthesis.")


class FsddDigits(DatasetSettings):
    """Free Spoken Digit Dataset, one recording per clip, see `elasticast.data.datasets.fsdd`."""

    module: ClassVar[str] = "fsdd"
    tasks: ClassVar[dict[str, TaskKind]] = {"digit": "single", "speaker": "single"}
    source: Literal["fsdd_digits"] = Field(description="Free Spoken Digit Dataset, one recording per clip.")


class FsddStrings(DatasetSettings):
    """Free Spoken Digit Dataset, recordings of one speaker joined, see `elasticast.data.datasets.fsdd`."""

    module: ClassVar[str] = "fsdd"
    origin: ClassVar[str] = "joined recordings"
    tasks: ClassVar[dict[str, TaskKind]] = {"digits": "multi", "speaker": "single"}
    generated: ClassVar[bool] = True
    source: Literal["fsdd_strings"] = Field(
        description="Free Spoken Digit Dataset, several recordings of one speaker joined."
    )
    clips: dict[Literal["train", "dev", "test"], PositiveInt] = Field(
        description="Number of strings per split. With split dev, its recordings are not used in split train. [clips]"
    )
    recordings: list[PositiveInt] = Field(
        [1, 16], min_length=2, max_length=2, description="Fewest and most recordings per string. [recordings]"
    )
    vocabulary: list[Annotated[int, Field(ge=1, le=10)]] = Field(
        [10, 10],
        min_length=2,
        max_length=2,
        description="Fewest and most different digits that a string is drawn from. [digits]",
    )
    gap_seconds: list[Annotated[float, Field(ge=0)]] = Field(
        [0.05, 0.3], min_length=2, max_length=2, description="Shortest and longest pause between recordings. [s]"
    )
    snr_db: Range | None = Field(
        None, description="Level of speech above pink noise, least and most; `null` adds no noise. [dB]"
    )
    seed: Seed = Field(0, description="Seed of the synthesis.")

    def splits(self) -> set[str]:
        """Splits in the dataset's lists; `dev_share` may add split dev."""
        return super().splits() | set(self.clips)


class Esc50(DatasetSettings):
    """ESC-50, see `elasticast.data.datasets.esc50`."""

    module: ClassVar[str] = "esc50"
    tasks: ClassVar[dict[str, TaskKind]] = {"sound": "single"}
    source: Literal["esc50"] = Field(description="ESC-50.")
    folder: str = Field("esc50", description="Folder with `meta/esc50.csv` and `audio/`.")
    test_fold: Annotated[int, Field(ge=1, le=5)] = Field(5, description="Fold used as split `test`.")
    dev_fold: Annotated[int, Field(ge=1, le=5)] | None = Field(
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


class SpeechCommands(DatasetSettings):
    """Speech Commands v0.02, see `elasticast.data.datasets.speech_commands`."""

    module: ClassVar[str] = "speech_commands"
    tasks: ClassVar[dict[str, TaskKind]] = {"word": "single"}
    source: Literal["speech_commands"] = Field(description="Speech Commands v0.02.")
    folder: str = Field("speech_commands_v0.02", description="Folder with the lists and one sub-folder per word.")

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(SPLITS)


class TwinSettings(_Ranges):
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
        problems, expected = [], self.splits()
        if set(self.twin.clips) != expected:
            splits = ", ".join(split for split in SPLITS if split in expected)
            message = f"expected the splits in the lists of {self.module}: {splits}"
            problems.append(Problem("", ("twin", "clips"), message, self.twin.clips))
        for name, path in self._paths():
            if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
                message = "expected a relative path: the files of a twin are written below the prepared dataset"
                problems.append(Problem("", (name,), message, path))
        if problems:
            raise SettingsError(problems)
        return self

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


class OwnRecordings(DatasetSettings):
    """Settings common to the two sources of your own recordings, see :mod:`elasticast.data.tables`."""

    folder: str = Field(description="Folder of the recordings; absolute, or relative to `data_root`.")
    split_values: dict[Literal["train", "dev", "test"], Files] | None = Field(
        None,
        description="Names that each split has in the table or the folders. `null` expects splits train and test "
        "under their usual names: `train`, `training`; `test`, `testing`, `eval`, `evaluation`.",
    )
    folds: Annotated[int, Field(ge=2, le=1000)] = Field(
        5,
        description="Number of folds that are drawn if there are neither splits nor folds. A hash of the group (or id) "
        "decides.",
    )
    test_fold: int | str | None = Field(
        None,
        description="Fold used as split `test`, also if there are splits; `null` means 1 if folds are used.",
    )
    dev_fold: int | str | None = Field(None, description="Fold used as split `dev`; `null` makes no such split.")
    split_seed: Seed = Field(0, description="Another number draws other folds.")
    allow_leakage: bool = Field(
        False, description="Allow the same audio in two splits. Otherwise this is an error after decoding."
    )

    def code(self) -> tuple[str, ...]:
        """See `DatasetSettings.code`."""
        return (*super().code(), "config/dataset.py:OwnRecordings", "config/table.py", "data/tables")

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(self.split_values or ("train", "test")) | ({"dev"} if self.dev_fold is not None else set())

    @property
    def dev_remedy(self) -> str:
        """See `DatasetSettings.dev_remedy`."""
        return "set `split_values`, `dev_fold` or `dev_share`"

    @model_validator(mode="after")
    def _splits_fit(self):
        problems, tests = [], "1" if self.test_fold is None else str(self.test_fold)
        if self.dev_fold is not None and str(self.dev_fold) == tests:
            message = "is already used as `test_fold`; choose another fold"
            problems.append(Problem("", ("dev_fold",), message, self.dev_fold))
        named = self.split_values or {"train": [], "test": []}
        if missing := {"train", "test"}.difference(named):
            message = f"expected names for splits train and test; {', '.join(sorted(missing))} is missing"
            problems.append(Problem("", ("split_values",), message, self.split_values))
        names = [name for values in named.values() for name in values]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            problems.append(Problem("", ("split_values",), "expected every name once", twice[0]))
        problems += task_problems("labels" if "labels" in type(self).model_fields else "task", list(self.tasks))
        if problems:
            raise SettingsError(problems)
        return self


class Table(OwnRecordings):
    """Your own recordings, listed in a table, see `elasticast.data.datasets.table`."""

    module: ClassVar[str] = "table"
    source: Literal["table"] = Field(description="Your own recordings, listed in a table.")
    table: str | dict[Literal["train", "dev", "test"], str] | None = Field(
        None,
        description="CSV, TSV or Parquet file in `folder`, or one for each split. `null` uses the only one there.",
    )
    audio: str | None = Field(
        None,
        description="Folder in `folder` with the audio files, also in sub-folders; `null` means `folder`.",
    )
    columns: Columns = Field(Columns(), description="Names of the columns.")
    labels: dict[Name, Labels] = Field(
        {"label": Labels()}, min_length=1, description="The tasks, and how their labels are read."
    )

    @property
    def tasks(self) -> dict[str, TaskKind]:
        """Kind of each task."""
        return {name: labels.kind for name, labels in self.labels.items()}

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(self.table) if isinstance(self.table, dict) else super().splits()

    @model_validator(mode="after")
    def _table_per_split(self):
        if isinstance(self.table, dict):
            settings = {"test_fold": self.test_fold, "dev_fold": self.dev_fold, "split_values": self.split_values}
            settings |= {"columns.split": self.columns.split or None, "columns.fold": self.columns.fold or None}
            message = "the tables are those of the splits; leave this setting out"
            wrong = [Problem("", tuple(key.split(".")), message, v) for key, v in settings.items() if v is not None]
            if missing := {"train", "test"}.difference(self.table):
                message = f"expected tables of splits train and test; {', '.join(sorted(missing))} is missing"
                wrong.append(Problem("", ("table",), message, self.table))
            if wrong:
                raise SettingsError(wrong)
        return self


class Folders(OwnRecordings):
    """Your own recordings, in one folder per class, see `elasticast.data.datasets.folders`."""

    module: ClassVar[str] = "folders"
    source: Literal["folders"] = Field(description="Your own recordings, in one folder per class.")
    task: Name = Field("label", description="Name of the task.")
    classes: ClassNames = Field(None, description=CLASSES)

    @property
    def tasks(self) -> dict[str, TaskKind]:
        """Kind of each task."""
        return {self.task: "single"}


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


class Asterisk(DatasetSettings):
    """Recorded prompts of the telephone system Asterisk, see `elasticast.data.datasets.asterisk`."""

    module: ClassVar[str] = "asterisk"
    tasks: ClassVar[dict[str, TaskKind]] = {"language": "single"}
    source: Literal["asterisk"] = Field(description="Recorded prompts of the telephone system Asterisk.")
    folder: str = Field(
        "asterisk",
        description="Folder that Debian's packages are unpacked to; the folders of the voices may lie deeper.",
    )

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(SPLITS)


DatasetConfig = Annotated[
    Soundscapes
    | FsddDigits
    | FsddStrings
    | Esc50
    | SpeechCommands
    | Asterisk
    | AudioSet
    | VggSound
    | VoxCeleb1
    | EpicSounds
    | Fsd50k
    | Table
    | Folders,
    Field(discriminator="source"),
]
