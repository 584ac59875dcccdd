"""Generate the documentation of the settings: the tables in config/README.md and the JSON schema of config/config.yaml.

``python -m elasticast.config.document`` refreshes both from the descriptions of the fields. A description may end with
the unit of the value in brackets, such as ``[ms]``.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from elasticast.config.ablation import AblationFile
from elasticast.config.dataset import DatasetConfig, DatasetSettings, TwinnedDataset, TwinSettings
from elasticast.config.dataset.table import Labels
from elasticast.config.evaluation import Evaluation
from elasticast.config.model import ModelSettings, TransformerSettings
from elasticast.config.model.adapting import ADAPTATIONS
from elasticast.config.model.kinds import BUILT_IN
from elasticast.config.phases import Phase
from elasticast.config.run import RunSettings
from elasticast.config.stages import StageSettings
from elasticast.config.suite import Claim, Experiment, SuiteHead
from elasticast.config.training import Train
from elasticast.config.view import FrontEnd, View
from elasticast.config.workflow import WorkflowConfig
from elasticast.files import write_json, write_text

COMMAND = "python -m elasticast.config.document"
PAGE = Path("config/README.md")
SCHEMA = Path("workflow/schemas/config.schema.json")
_TABLE = re.compile(r"<!-- table: (.+?) -->\n.*?<!-- end of table -->", re.DOTALL)
_UNIT = re.compile(r"(.*) \[([^\]]+)\]")


@dataclass(frozen=True)
class Row:
    """One setting: its key, allowed values, default, unit and description, as Markdown."""

    key: str
    values: str
    default: str
    unit: str
    description: str


REQUIRED, NONE = "required", "`null`"
SUITE_KEYS = (
    Row("title", "text", "name of the file", "", "Title of the report and figures."),
    Row("extends", "text", NONE, "", "Another suite. This file then holds only its differences from it."),
    Row("defaults", "settings", REQUIRED, "", "Settings that all experiments start from."),
    Row("experiments", "mapping", REQUIRED, "", "Experiments, by name."),
    Row("evaluations", "mapping", REQUIRED, "", "Evaluations that experiments can name."),
    Row("every", "settings", "`{}`", "", "Settings applied to every experiment last, over those of the experiment."),
    Row("datasets", "mapping", "`{}`", "", "Experiments and folds that name the first dataset use the second."),
)
"""Keys of a suite file that are merged before anything is validated, so no settings class has them as fields."""
BASE_KEY = Row("base", "text", NONE, "", "Another experiment to start from, instead of `defaults`.")


def rows(model: type[BaseModel], prefix: str = "", only: Collection[str] | None = None) -> list[Row]:
    """Rows for the fields of a settings class, nested settings included.

    Parameters
    ----------
    model : type
        The settings class.
    prefix : str
        Prefix of the keys, such as ``"view."``.
    only : collection of str, optional
        Fields to list; all by default.
    """
    schema = model.model_json_schema()
    return list(_rows(schema, schema.get("$defs", {}), prefix, only))


def _rows(schema: dict, shared: dict, prefix: str, only: Collection[str] | None = None) -> Iterator[Row]:
    for name, field in schema["properties"].items():
        if only is not None and name not in only:
            continue
        nested, optional = _nested(field, shared)
        if nested is None or optional:
            yield _row(prefix + name, field, name in schema.get("required", ()))
        if nested is not None:
            yield from _rows(nested, shared, f"{prefix}{name}.")


def _nested(field: dict, shared: dict) -> tuple[dict | None, bool]:
    """The schema of nested settings, if the field holds any, and whether the field can be null."""
    options = field.get("anyOf", [field])
    references = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
    return (shared[references[0]] if references else None), len(options) > 1


def _row(key: str, field: dict, required: bool) -> Row:
    match = _UNIT.fullmatch(field["description"])
    description, unit = match.groups() if match else (field["description"], "")
    if "changes_results" in field:
        description += " Changes no result, so changing it trains nothing again."
    default = REQUIRED if required else f"`{_yaml(field['default'])}`"
    return Row(key, _values(field), default, unit, description)


def _yaml(value: Any) -> str:
    """A value on one line, as in a YAML file."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def _values(field: dict) -> str:
    """The values that a field allows, in words."""
    if "anyOf" in field or "oneOf" in field:
        return ", ".join(dict.fromkeys(_values(option) for option in field.get("anyOf", field.get("oneOf"))))
    if "const" in field or "enum" in field:
        return ", ".join(f"`{_literal(value)}`" for value in field.get("enum", [field.get("const")]))
    if "$ref" in field:
        return "mapping"
    kind = field.get("type")
    if kind == "array":
        how = "pair of" if field.get("maxItems") == 2 else "list of"
        return f"{how} {_plural(_values(field['items']))}"
    if kind == "object":
        return _mapping(field)
    fixed = {"boolean": "`true`, `false`", "string": "text", "null": NONE, None: "any value"}
    return fixed[kind] if kind in fixed else f"{kind}{_limits(field)}"


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(field: dict) -> str:
    keys, values = field.get("propertyNames", {}).get("enum"), field.get("additionalProperties")
    if not isinstance(values, dict) or not keys:
        return "mapping"
    return f"{_values(values)} for each of {', '.join(f'`{key}`' for key in keys)}"


def _plural(values: str) -> str:
    return re.sub(r"^(integer|number)\b", r"\1s", values).replace("any value", "values")


def _limits(field: dict) -> str:
    """The range of a number, with a space before it; empty if there is none."""
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    if below in (2**31, 2**63):  # limits of memory and of PyTorch, far above any useful value
        below = None
    if field["type"] == "integer" and above is not None:
        low, above = above + 1, None
    if low is not None and high is not None:
        return f" {low:g}–{high:g}"
    limits = {"≥": low, ">": above, "≤": high, "<": below}
    text = ", ".join(f"{sign} {limit:g}" for sign, limit in limits.items() if limit is not None)
    return f" {text}" if text else ""


def _added_fields(model: type[BaseModel], parent: type[BaseModel]) -> list[str]:
    """Fields that a class adds to its parent, or redefines."""
    return [name for name in model.model_fields if name in model.__annotations__ or name not in parent.model_fields]


def tables() -> dict[str, list[Row]]:
    """The rows of each table of the page, by the name in the table's marker."""
    by_name = {
        "config.yaml": rows(WorkflowConfig),
        "suite": [*SUITE_KEYS, *rows(SuiteHead, only=("seeds", "claims", "references", "folds"))],
        "experiment": [BASE_KEY, *rows(Experiment)],
        "run": rows(RunSettings, only=("dataset", "task", "norm")),
        "front_end": rows(FrontEnd, "front_end."),
        "view": rows(View, "view."),
        "model": rows(ModelSettings, "model."),
        "model transformer": rows(TransformerSettings, "model.", _added_fields(TransformerSettings, ModelSettings)),
        "train": rows(Train, "train."),
        "phase": rows(Phase, "train.phases[]."),
        "stage": rows(StageSettings, "train.stages[]."),
        "evaluation": rows(Evaluation),
        "claim": rows(Claim),
        "ablation": rows(AblationFile),
        "dataset": rows(DatasetSettings),
        "labels": rows(Labels, "labels.TASK."),
        "twin": [*rows(TwinnedDataset, only=("twin",))[:1], *rows(TwinSettings, "twin.")],
    }
    for kind, model in BUILT_IN.items():
        parent = TransformerSettings if issubclass(model, TransformerSettings) else ModelSettings
        by_name[f"model {kind}"] = rows(model, "model.", _added_fields(model, parent))
    adapt = dict.fromkeys(row for adaptation in ADAPTATIONS.values() for row in rows(adaptation, "model.adapt."))
    by_name["adapt"] = sorted(adapt, key=lambda row: row.key != "model.adapt.kind")
    for model in get_args(get_args(DatasetConfig)[0]):
        fields = [name for name in _added_fields(model, DatasetSettings) if name != "twin"]
        source = get_args(model.model_fields["source"].annotation)[0]
        by_name[f"dataset {source}"] = sorted(rows(model, only=fields), key=lambda row: row.key != "source")
    return by_name


def markdown(table: list[Row]) -> str:
    """A table in Markdown; the column of units is left out if no row has one."""
    units = any(row.unit for row in table)
    head = ["key", "values", "default", *(["unit"] if units else []), "description"]
    lines = [head, ["---"] * len(head)]
    for row in table:
        lines.append([f"`{row.key}`", row.values, row.default, *([row.unit or "-"] if units else []), row.description])
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def refreshed(page: str) -> str:
    """The page with new tables.

    Raises
    ------
    KeyError
        If a marker names an unknown table.
    """
    tables_by_name = tables()

    def table(match: re.Match) -> str:
        return f"<!-- table: {match[1]} -->\n{markdown(tables_by_name[match[1]])}<!-- end of table -->"

    return _TABLE.sub(table, page)


def schema() -> dict[str, Any]:
    """The JSON schema of `config/config.yaml`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **WorkflowConfig.model_json_schema()}


def main() -> None:
    """Refresh the page and the schema of the repository in the current folder."""
    write_text(PAGE, refreshed(PAGE.read_text(encoding="utf-8")))
    write_json(SCHEMA, schema())


if __name__ == "__main__":
    main()
