"""Settings of your own recordings."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from elasticast.config.base import Seed, TaskKind
from elasticast.config.dataset.common import DatasetSettings, Files
from elasticast.config.dataset.table import CLASSES, ClassNames, Columns, Labels, task_problems
from elasticast.config.names import Name
from elasticast.errors import Problem, SettingsError


class OwnRecordings(DatasetSettings):
    """Settings common to the two sources of your own recordings, see :mod:`elasticast.data.tables`."""

    folder: str = Field(description="Folder of the recordings; absolute, or relative to `data_root`.")
    all_test: bool = Field(
        False,
        description="All clips are split `test`: data on which trained models are evaluated, as with `elasticast "
        "sweep`. No split is read or drawn.",
    )
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
        return (*super().code(), "config/dataset/own.py:OwnRecordings", "config/dataset/table.py", "data/tables")

    def splits(self) -> set[str]:
        """See `DatasetSettings.splits`."""
        if self.all_test:
            return {"test"}
        return set(self.split_values or ("train", "test")) | ({"dev"} if self.dev_fold is not None else set())

    @property
    def dev_remedy(self) -> str:
        """See `DatasetSettings.dev_remedy`."""
        return "set `split_values`, `dev_fold` or `dev_share`"

    def split_settings(self) -> dict[str, Any]:
        """Settings that `all_test` excludes, by key; those that are not set are None."""
        keys = ("split_values", "test_fold", "dev_fold")
        return {key: getattr(self, key) for key in keys} | {"dev_share": self.dev_share or None}

    @model_validator(mode="after")
    def _all_or_divided(self):
        if self.all_test:
            settings = {key: value for key, value in self.split_settings().items() if value is not None}
            message = "all clips are in split test (`all_test: true`); leave one of the two settings out"
            if settings:
                raise SettingsError([Problem("", tuple(k.split(".")), message, v) for k, v in settings.items()])
        return self

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

    def split_settings(self) -> dict[str, Any]:
        """See `OwnRecordings.split_settings`."""
        columns = {"columns.split": self.columns.split or None, "columns.fold": self.columns.fold or None}
        return super().split_settings() | columns | {"table": self.table if isinstance(self.table, dict) else None}

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
