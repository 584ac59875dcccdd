"""Labels and titles that contain markup, formulas and line breaks change no table, figure or caption."""

import csv
import re

import docutils.core
import pandas as pd
import pytest
import yaml
from markdown_it import MarkdownIt
from matplotlib.text import Text

from elasticast.reporting.tables import LATEX, MARKDOWN, latex_row, markdown_table, tidy_csv
from elasticast.text import one_line
from tests.unit.reporting.toy_suite import change_experiments, drawn_figure, from_metrics, run_script, suite_of

LABELS = [
    "=1+2|cmd",
    "a|b & c\\d",
    "costs $5, not $x_1^2$",
    "**bold** _em_ `code` {brace} #1 100 % ~",
    "two\nlines\r\n| x |",
    "[first] <b>cell</b>",
    "-dash, `x`_ and |sub|",
    "ends in \\",
]


@pytest.fixture(params=LABELS)
def label(request, project):
    """A label of ElasticAST, the same of AST 64 with another end, and both in the title of the suite."""
    change_experiments(project, elastic={"label": request.param}, ast64={"label": f"{request.param} too"})
    path = project / "config/suites/toy_suite.yaml"
    raw = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**raw, "title": request.param}))
    return one_line(request.param)


def rows_of_markdown(text):
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    rows, cells = [], [token for token in tokens if token.type in ("tr_open", "inline")]
    for token in cells:
        if token.type == "tr_open":
            rows.append([])
        elif rows:
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_labels_are_one_line_of_text(project, label):
    suite = suite_of(project)
    assert suite.title == suite.experiments["elastic"].label == label


def test_tables_have_the_same_rows_and_columns(project, label):
    out = run_script(project, "table1", *from_metrics(project))
    head, *rows = rows_of_markdown(out.with_suffix(".md").read_text())
    assert {len(row) for row in (head, *rows)} == {14}
    assert {row[3] for row in rows} == {f"{label} too", "AST 128", "AST 20 ms"}
    assert {row[6] for row in rows} == {label}
    lines = out.with_suffix(".tex").read_text().splitlines()
    assert len(lines) == 5 + 2 * 2 + 3 + 2  # head, titles of two blocks, three rows, end
    assert not [line for line in lines if re.search(r"\\\\$", line) and line.startswith(("[", "*"))]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines if "pm" in line} == {9}


def test_cells_of_csv_are_no_formulas(project, label):
    out = run_script(project, "table1", *from_metrics(project))
    with open(f"{out}.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert {len(row) for row in rows} == {len(head)}
    column = [row[head.index("flexible")] for row in rows]
    assert {cell.removeprefix("'") for cell in column} == {label}
    assert not [cell for row in rows for cell in row if re.match(r"[=+@\t\r]|-(?![\d.])", cell)]


def test_figures_show_the_label_itself(project, monkeypatch, label):
    figure, caption = drawn_figure(project, monkeypatch, "fig4_length_curves", from_metrics(project))
    texts = figure.findobj(Text)
    assert label in [text.get_text() for text in texts]
    assert not [text for text in texts if text.get_text() and text.get_parse_math()]
    figure.savefig(project / "figure.png")
    tree = docutils.core.publish_doctree(caption, settings_overrides={"halt_level": 2})
    assert not list(
        tree.findall(lambda node: node.tagname in ("strong", "emphasis", "literal", "raw", "system_message"))
    )


# ---------------------------------------------------------------------------------------------
# The functions that all tables use
# ---------------------------------------------------------------------------------------------


def test_a_table_of_markdown_keeps_its_columns():
    rows = [[MARKDOWN.bold(MARKDOWN.words(label)), "1"] for label in LABELS]
    found = rows_of_markdown(markdown_table(["Label", "n"], ["---", "---"], rows))
    assert found == [["Label", "n"], *([one_line(label), "1"] for label in LABELS)]


def test_a_row_of_latex_keeps_its_columns():
    for label in LABELS:
        row = latex_row([LATEX.bold(LATEX.words(label)), LATEX.numbers("1.0 ± 0.1")])
        assert len(re.findall(r"(?<!\\)&", row)) == 1
        assert row.endswith(r"1.0 $\pm$ 0.1 \\")
        assert "\n" not in row


def test_a_table_for_people_keeps_numbers():
    table = pd.DataFrame({"label": ["=1", "-2", "a"], "value": [-1.5, 2.0, None], "text": ["-1.5", "not run", "+"]})
    assert tidy_csv(table).splitlines() == ["label,value,text", "'=1,-1.5,-1.5", "-2,2.0,not run", "a,n/a,'+"]
