"""Settings of the documentation, for Sphinx: `make docs` builds it into docs/_build.

The source folder is the repository, not docs/, so that links between pages are the same here and on GitHub.
"""

import json
import os
import shutil
from pathlib import Path

import typer
from myst_parser.parsers.sphinx_ import MystParser

import elasticast
from elasticast.cli import app as commands

ROOT = Path(__file__).resolve().parents[1]

project = "ElasticAST suite"
author = "The ElasticAST suite maintainers"
version = release = elasticast.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx.ext.viewcode",
    "sphinxcontrib.mermaid",
]

# pages
root_doc = "README"
include_patterns = ["*.md", "config/README.md", "results/README.md", "docs/*.md", "docs/*.ipynb"]
include_patterns += ["elasticast/models/demo/README.md", "paper_figures/reference/README.md"]
# folders that Sphinx need not search: results and environments can be large
exclude_patterns = [".*", "data", "docs/_build", "profiles", "results/[!R]*", "slurm", "tests", "workflow"]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
myst_heading_anchors = 6  # all levels, with the names that GitHub gives them
myst_fence_as_directive = ["mermaid"]

mermaid_height = "auto"
mermaid_fullscreen = False

# docstrings
default_role = "literal"  # `name`
autodoc_typehints = "none"  # types are in the docstrings, with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the page says which members it shows

# looks
html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
if repository := os.environ.get("GITHUB_REPOSITORY"):  # in GitHub Actions: every page links to its source
    html_theme_options = {
        "source_repository": f"https://github.com/{repository}/",
        "source_branch": "main",
        "source_directory": "",
    }


class NotebookParser(MystParser):
    """Reads a notebook without outputs as a Markdown page."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document) -> None:
        """Parse the JSON of the notebook."""
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(inputstring)["cells"]]
        pages = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells]
        super().parse("\n\n".join(pages), document)


def add_generated_text(_, page: str, text: list[str]) -> None:
    """Add the list of all pages to the first one, which GitHub shows too, and the help of all commands to theirs."""
    if page == root_doc:
        text[0] += (ROOT / "docs/contents.txt").read_text()
    elif page == "docs/commands":
        text[0] += help_of_commands()


def help_of_commands() -> str:
    """All commands with their arguments and options, as Markdown."""
    from typer.cli import get_docs_for_click

    command = typer.main.get_command(commands)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="elasticast")
    return text.removeprefix("# `elasticast`\n")  # the page has a title


def copy_first_page(app, error: Exception | None) -> None:
    """Let a browser that is given the folder alone show the first page."""
    if error is None and app.builder.format == "html":
        shutil.copy(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app) -> None:
    """Add the parser of notebooks and the functions above."""
    app.add_source_parser(NotebookParser)
    app.connect("source-read", add_generated_text)
    app.connect("build-finished", copy_first_page)
