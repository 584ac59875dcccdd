"""Settings of published datasets with onset and offset of every event."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from elasticast.config.base import TaskKind
from elasticast.config.dataset.common import DatasetSettings, Files
from elasticast.errors import Problem, SettingsError


class AudioSetStrong(DatasetSettings):
    """AudioSet with times of events, see `elasticast.data.datasets.audioset_strong`."""

    module: ClassVar[str] = "audioset_strong"
    tasks: ClassVar[dict[str, TaskKind]] = {"timed_events": "frames"}
    source: Literal["audioset_strong"] = Field(description="AudioSet-Strong.")
    annotations: dict[Literal["train", "dev", "test"], Files] = Field(
        description="Lists of events (tsv) of each split."
    )
    labels: str = Field(
        "audioset_strong/mid_to_display_name.tsv", description="List of the names of classes (tsv), without a header."
    )
    audio: str = Field("audioset/audio", description="Folder with the clips, flat or in sub-folders.")

    def code(self) -> tuple[str, ...]:
        """See `DatasetSettings.code`."""
        return (*super().code(), "data/datasets/audioset.py:MAX_EXTRA_SECONDS,clip_of")

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(self.annotations)


class Desed(DatasetSettings):
    """Sounds in homes with times of events, see `elasticast.data.datasets.desed`."""

    module: ClassVar[str] = "desed"
    tasks: ClassVar[dict[str, TaskKind]] = {"timed_events": "frames"}
    source: Literal["desed"] = Field(description="DESED, or another dataset in its format.")
    annotations: dict[Literal["train", "dev", "test"], Files] = Field(
        description="Lists of events (tsv) of each split."
    )
    weak: list[str] = Field(
        [], description="Lists of training clips of which only the classes are known, not when they sound (tsv)."
    )
    unlabelled: str | None = Field(
        None,
        description="Folder with further training clips, without labels, flat or in sub-folders: stages with "
        "`train.unlabelled` use them. Clips in a list are left out; `null` has none.",
    )
    audio: str = Field("desed/audio", description="Folder with the clips of the lists, flat or in sub-folders.")
    aliases: dict[str, str] = Field(
        {},
        description="Classes of the lists that are read as another class, such as `{people talking: Speech}`. Each "
        "must be in a list.",
    )

    @model_validator(mode="after")
    def _one_step(self):
        wrong = {name: other for name, other in self.aliases.items() if other in self.aliases or not other.strip()}
        if wrong:
            message = "expected the name of a class that is not read as another one itself"
            raise SettingsError([Problem("", ("aliases", name), message, other) for name, other in wrong.items()])
        return self

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        return set(self.annotations)
