"""The pages: links lead somewhere, files that they name exist, the README stays short."""

import importlib
import re
from pathlib import Path

import pytest

import elasticast

ROOT = Path(__file__).parents[2]
PATTERNS = ("*.md", "docs/*.md", "[!.]*/README.md", "paper_figures/*/README.md", "elasticast/models/*/README.md")
PAGES = sorted(page for pattern in PATTERNS for page in ROOT.glob(pattern))
ARCHITECTURE = ROOT / "docs/architecture.md"
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`([\w/.-]+\.(?:py|yaml|toml|yml|smk))`")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):  # a link to a folder leads nowhere in the documentation that `make docs` builds
    wrong = []
    for link in LINK.findall(page.read_text()):
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        if "://" not in link and (not target.is_file() or (anchor and anchor not in anchors(target))):
            wrong.append(link)
    assert not wrong


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_every_suite_is_listed():
    text = (ROOT / "docs/suites.md").read_text()
    assert not [path.stem for path in ROOT.glob("config/suites/*.yaml") if f"`{path.stem}`" not in text]


def test_files_named_by_the_architecture_page_exist():
    named = {name for name in FILE.findall(ARCHITECTURE.read_text()) if "NAME" not in name and "STAGE" not in name}
    folders = [ROOT, ROOT / "elasticast", ROOT / "workflow/rules", *ROOT.glob("workflow/plugin/*")]
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert not missing


def test_every_module_has_a_room_on_the_architecture_page():
    text = ARCHITECTURE.read_text()
    rooms = [p for p in (ROOT / "elasticast").iterdir() if p.is_dir() and p.name != "__pycache__"]
    files = [p for p in (ROOT / "elasticast").glob("*.py") if not p.name.startswith("__")]
    missing = [p.name for p in [*rooms, *files] if f"`{p.name}" not in text]
    assert not missing


# ---------------------------------------------------------------------------------------------
# The documentation that `make docs` builds
# ---------------------------------------------------------------------------------------------

API = (ROOT / "docs/api.md").read_text()
DOCUMENTED = re.findall(r"^\.\. auto\w+:: (\S+)$", API, re.MULTILINE)
EXAMPLE = re.compile(r"^(?:from (elasticast[\w.]*) import ([\w, ]+)$)", re.MULTILINE)


def test_every_page_has_a_place_in_the_documentation():
    listed = set(re.findall(r"^(?:.* <)?([\w/]+)>?$", (ROOT / "docs/contents.txt").read_text(), re.MULTILINE))
    pages = {str(page.relative_to(ROOT).with_suffix("")) for page in [*PAGES, *ROOT.glob("docs/*.ipynb")]}
    assert listed == pages - {"README"}


def test_the_reference_has_every_public_name_and_every_import_of_an_example():
    imported = {
        f"{module}.{name.strip()}"
        for page in PAGES
        for module, names in EXAMPLE.findall("".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)))
        for name in names.split(",")
    }
    public = {f"elasticast.{name}" for name in dir(elasticast) if not name.startswith("__")}
    constants = {name for name in imported if name.rpartition(".")[2].isupper()}
    assert imported | public <= {*DOCUMENTED, *constants}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_names_of_the_reference_exist_and_have_a_docstring(name):
    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(module), attribute).__doc__
