"""Settings common to all datasets."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from elasticast.config.base import PositiveInt, Settings, Share, TaskKind
from elasticast.config.names import Line
from elasticast.errors import Problem, SettingsError

SPLITS = ("train", "dev", "test")
"""Splits of every prepared dataset; the store of a split without clips is empty."""
Files = Annotated[list[str], Field(min_length=1)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class Ranges(Settings):
    """Settings with ranges, in which the smaller number comes first."""

    @model_validator(mode="after")
    def _ordered(self):
        ranges = ("seconds", "slots", "snr_db", "recordings", "vocabulary", "gap_seconds")
        wrong = {name: getattr(self, name, None) for name in ranges}
        wrong = {name: value for name, value in wrong.items() if value and value[0] > value[1]}
        if wrong:
            message = "the smaller number comes first"
            raise SettingsError([Problem("", (name,), message, value) for name, value in wrong.items()])
        return self


class DatasetSettings(Ranges):
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
        place = type(self).__module__.partition(".")[2].replace(".", "/")
        files = (f"{place}.py:{type(self).__name__}", f"data/datasets/{self.module}.py")
        return files + (("data/synthesis.py",) if self.generated else ())

    def splits(self) -> set[str]:
        """Splits in the dataset's lists; `dev_share` may add split dev."""
        return {"train", "test"}

    @property
    def dev_remedy(self) -> str:
        """What adds a split `dev`, for error messages."""
        return "set `dev_share` to hold out some clips of its training split"
