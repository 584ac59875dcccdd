"""The generated tables of config/README.md and the JSON schema: complete, and up to date."""

import inspect
import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

import elasticast.config as package
from elasticast.config import Settings, dataset
from elasticast.config.document import COMMAND, PAGE, SCHEMA, SUITE_KEYS, markdown, refreshed, rows, schema, tables
from elasticast.config.merging import OPTIONAL, REQUIRED

ROOT = Path(__file__).parents[3]
REFRESH = f"is out of date; refresh it with `{COMMAND}` in the root of the repository"
DOCUMENTED = [
    value
    for module in (package, dataset)
    for value in vars(module).values()
    if inspect.isclass(value) and issubclass(value, Settings) and not value.__name__.startswith("_")
]


class Inner(Settings):
    """Nested settings."""

    width: Annotated[int, Field(gt=0)] = Field(3, description="Width. [mm]")


class Sample(Settings):
    """One field of every sort."""

    name: str = Field(description="Name.")
    share: float = Field(0.5, ge=0, le=1, description="Share.")
    kind: Literal["a", "b"] | None = Field(None, description="Either | or.")
    span: list[float] = Field([1.0e-6, 2.0], min_length=2, max_length=2, description="From and to.")
    inner: Inner = Field(Inner(), description="Inner.")
    other: Inner | None = Field(None, description="Other.")


def test_the_page_is_up_to_date():
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page == refreshed(page), f"{PAGE} {REFRESH}"


def test_the_schema_is_up_to_date():
    found = json.loads((ROOT / SCHEMA).read_text(encoding="utf-8"))
    assert found == schema(), f"{SCHEMA} {REFRESH}"
    assert found["additionalProperties"] is False


def test_the_page_has_every_table():
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    missing = [name for name in tables() if f"<!-- table: {name} -->" not in page]
    assert not missing


def test_every_key_of_a_suite_file_is_documented():
    documented = {row.key for row in tables()["suite"]}
    assert documented == {*REQUIRED, *OPTIONAL}
    assert {row.key for row in SUITE_KEYS} <= documented


@pytest.mark.parametrize("model", DOCUMENTED, ids=lambda model: model.__name__)
def test_every_setting_has_a_description(model):
    missing = [name for name, field in model.model_fields.items() if not field.description]
    assert not missing


def test_rows_of_every_sort():
    found = {row.key: row for row in rows(Sample, "x.")}
    assert [*found] == ["x.name", "x.share", "x.kind", "x.span", "x.inner.width", "x.other", "x.other.width"]
    assert (found["x.name"].values, found["x.name"].default) == ("text", "required")
    assert found["x.share"].values == "number 0–1"
    assert (found["x.kind"].values, found["x.kind"].default) == ("`a`, `b`, `null`", "`null`")
    assert (found["x.span"].values, found["x.span"].default) == ("pair of numbers", "`[1.0e-06, 2.0]`")
    width = found["x.inner.width"]
    assert (width.values, width.default, width.unit, width.description) == ("integer ≥ 1", "`3`", "mm", "Width.")


def test_tables_are_valid_markdown():
    lines = markdown(rows(Sample)).splitlines()
    columns = {line.replace("\\|", "").count("|") for line in lines}
    assert len(columns) == 1 and "Either \\| or." in "".join(lines)  # noqa: PT018
    assert "unit" in lines[0] and "unit" not in markdown(rows(Sample, only=("name",)))  # noqa: PT018


def test_a_marker_that_names_no_table_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        refreshed("<!-- table: nothing -->\n<!-- end of table -->")
