"""Settings of your own recordings that `Table` and `Folders` in `elasticast.config.dataset` consist of."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from elasticast.config.base import Settings
from elasticast.errors import Problem, SettingsError

Column = str | Literal[False] | None
ClassNames = str | list[str] | None
CLASSES = (
    "Class names in their order, or a text file in `folder` with one per line. A label that is none of them is an "
    "error. `null` uses all labels, sorted."
)
RESERVED = (
    *("id", "split", "path", "key", "start", "duration", "longest", "reason", "known", "group"),
    *("sample_rate", "channels"),
    *("status", "sha256", "seconds"),
)
"""Columns of the manifest and of the annotations, which no task can have as its name."""
_REGRESSION = ("regression", "number", "float", "continuous", "ordinal", "score")


class Columns(Settings):
    """Names of the columns of a table; :data:`elasticast.data.tables.columns.GUESSES` has the usual ones."""

    path: str | None = Field(
        None,
        description="Audio file, relative to the folder of the table or to `audio`, with or without extension. `null` "
        "looks for a column with a usual name: `file_name`, `filename`, `path`, `file`, ...",
    )
    id: Column = Field(
        None,
        description="Id of the clip. `null` looks for `id` and `clip_id`, if they differ in every row; `false`: the "
        "path and the span are the id.",
    )
    start: Column = Field(
        None, description="Start of the clip in its file (s). `null` looks for `start`, `onset`, ...; `false`: none."
    )
    end: Column = Field(
        None, description="End of the clip in its file (s). `null` looks for `end`, `offset`, ...; `false`: none."
    )
    split: Column = Field(None, description="Split. `null` looks for `split` and `subset`; `false`: none.")
    fold: Column = Field(None, description="Fold, used if there is no split. `null` looks for `fold`; `false`: none.")
    group: Column = Field(
        None,
        description="Speaker, recording or site; a drawn split never divides one. `null` looks for `speaker`, "
        "`speaker_id`, `client_id`, `group`, `src_file`, ...; `false`: none.",
    )


class Labels(Settings):
    """How the labels of a task are read from a table."""

    kind: Literal["single", "multi"] = Field("single", description="One label per clip, or any number of labels.")
    columns: list[str] = Field(
        [],
        description="Columns with labels. The default is the column with the task's name, or else one with a usual "
        "name: `label`, `labels`, `category`, `class`, `target`, `tags`, ...",
    )
    separator: str | None = Field(None, min_length=1, description="What separates the labels in a cell, with `multi`.")
    one_hot: bool = Field(
        False, description="Columns are named after classes and hold 0 or 1 (or no or yes, false or true)."
    )
    classes: ClassNames = Field(None, description=CLASSES)

    @field_validator("kind", mode="before")
    @classmethod
    def _is_classification(cls, kind: Any) -> Any:
        if str(kind).lower() in _REGRESSION:
            raise ValueError(
                "regression is not supported; expected 'single' or 'multi', for example with ranges of the values as "
                "classes"
            )
        return kind

    @model_validator(mode="after")
    def _consistent(self):
        problems = []
        if self.separator is not None and (self.kind == "single" or self.one_hot):
            problems.append(Problem("", ("separator",), "needs kind = 'multi' and one_hot = false", self.separator))
        if self.one_hot and len(self.columns) < 2:
            message = "expected the columns of at least two classes, because one_hot = true"
            problems.append(Problem("", ("columns",), message, self.columns))
        if self.one_hot and self.classes is not None:
            problems.append(Problem("", ("classes",), "with one_hot = true, the columns are the classes", self.classes))
        if self.kind == "single" and not self.one_hot and len(self.columns) > 1:
            message = "expected one column, because kind = 'single' and one_hot = false"
            problems.append(Problem("", ("columns",), message, self.columns))
        if problems:
            raise SettingsError(problems)
        return self


def task_problems(key: str, tasks: list[str]) -> list[Problem]:
    """Problems of the names of tasks, which become columns of the manifest."""
    message = f"a task cannot have this name. Reserved names: {', '.join(RESERVED)}"
    return [Problem("", (key,), message, task) for task in tasks if task in RESERVED]
