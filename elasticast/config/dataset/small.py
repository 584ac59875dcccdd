"""Settings of datasets that are generated, or small enough for a laptop."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from elasticast.config.base import PositiveFloat, PositiveInt, Seed, TaskKind
from elasticast.config.dataset.common import SPLITS, DatasetSettings, Range


class Soundscapes(DatasetSettings):
    """Synthetic soundscapes, see `elasticast.data.datasets.soundscapes`."""

    origin: ClassVar[str] = "synthetic"
    module: ClassVar[str] = "soundscapes"
    generated: ClassVar[bool] = True
    source: Literal["soundscapes"] = Field(description="Synthetic soundscapes.")
    clips: dict[Literal["train", "test"], PositiveInt] = Field(description="Number of clips per split. [clips]")
    seconds: list[PositiveFloat] = Field(
        [0.5, 8.0], min_length=2, max_length=2, description="Shortest and longest clip. [s]"
    )
    snr_db: Range = Field([0.0, 15.0], description="Level of the events above the background, least and most. [dB]")
    seed: Seed = Field(0, description="Seed of the synthesis.")
    event_times: bool = Field(
        False, description="Also keep onset and offset of every event: adds the task `timed_events`, of kind `frames`."
    )

    @property
    def tasks(self) -> dict[str, TaskKind]:
        """Kind of each task."""
        return {"events": "multi", "scene": "single"} | ({"timed_events": "frames"} if self.event_times else {})


class Controls(DatasetSettings):
    """Clips with a known ceiling at every length, see `elasticast.data.datasets.controls`."""

    origin: ClassVar[str] = "synthetic"
    module: ClassVar[str] = "controls"
    tasks: ClassVar[dict[str, TaskKind]] = {"tone": "single"}
    generated: ClassVar[bool] = True
    source: Literal["controls"] = Field(description="Tones in noise, of which the ceiling at every length is known.")
    clips: dict[Literal["train", "test"], PositiveInt] = Field(description="Number of clips per split. [clips]")
    tones: Literal["once", "always"] = Field(
        description="The tone sounds in one slot of the clip, which is drawn evenly (`once`), or in all (`always`)."
    )
    slots: list[PositiveInt] = Field(
        [2, 16], min_length=2, max_length=2, description="Shortest and longest clip, in slots of 0.32 s. [slots]"
    )
    snr_db: Range = Field([5.0, 15.0], description="Level of the tones above the background, least and most. [dB]")
    seed: Seed = Field(0, description="Seed of the synthesis.")

    def code(self) -> tuple[str, ...]:
        """See `DatasetSettings.code`."""
        names = "Event,SAMPLE_RATE,clip_names,clip_rng,generate,mix"
        return (*super().code(), f"data/datasets/soundscapes.py:{names}")


class Scenes(DatasetSettings):
    """Short scenes with a known ceiling at every length, see `elasticast.data.datasets.scenes`."""

    origin: ClassVar[str] = "synthetic"
    module: ClassVar[str] = "scenes"
    tasks: ClassVar[dict[str, TaskKind]] = {"events": "multi", "scene": "single"}
    generated: ClassVar[bool] = True
    source: Literal["scenes"] = Field(description="Synthetic scenes, of which the ceiling at every length is known.")
    clips: dict[Literal["train", "test"], PositiveInt] = Field(description="Number of clips per split. [clips]")
    slots: list[PositiveInt] = Field(
        [1, 8], min_length=2, max_length=2, description="Shortest and longest clip, in slots of 0.64 s. [slots]"
    )
    snr_db: Range = Field([5.0, 20.0], description="Level of the sounds above the background, least and most. [dB]")
    seed: Seed = Field(0, description="Seed of the synthesis.")

    def code(self) -> tuple[str, ...]:
        """See `DatasetSettings.code`."""
        names = "Event,SAMPLE_RATE,SOUNDS,clip_names,clip_rng,generate,mix"
        return (*super().code(), f"data/datasets/soundscapes.py:{names}")


class FsddDigits(DatasetSettings):
    """Free Spoken Digit Dataset, one recording per clip, see `elasticast.data.datasets.fsdd`."""

    module: ClassVar[str] = "fsdd"
    tasks: ClassVar[dict[str, TaskKind]] = {"digit": "single", "speaker": "single"}
    source: Literal["fsdd_digits"] = Field(description="Free Spoken Digit Dataset, one recording per clip.")


class FsddStrings(DatasetSettings):
    """Free Spoken Digit Dataset, recordings of one speaker joined, see `elasticast.data.datasets.fsdd`."""

    module: ClassVar[str] = "fsdd"
    origin: ClassVar[str] = "joined recordings"
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
    event_times: bool = Field(
        False, description="Also keep onset and offset of every digit: adds the task `timed_digits`, of kind `frames`."
    )

    @property
    def tasks(self) -> dict[str, TaskKind]:
        """Kind of each task."""
        return {"digits": "multi", "speaker": "single"} | ({"timed_digits": "frames"} if self.event_times else {})

    def splits(self) -> set[str]:
        """Splits in the dataset's lists; `dev_share` may add split dev."""
        return super().splits() | set(self.clips)


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
