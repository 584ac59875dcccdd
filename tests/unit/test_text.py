import csv
import io
import json
import os
import re

import docutils.core
import pytest
from markdown_it import MarkdownIt

from elasticast.text import (
    LONGEST_STEM,
    counted,
    csv_cell,
    decodable,
    file_name,
    latex,
    markdown,
    one_line,
    printable,
    rst,
)

HOSTILE = [
    '=HYPERLINK("http://x","y")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "a|b", "a\\b", "a\\|b", "ends in \\",
    "100 % & more", "$x_1$ costs $5", "#1", "snake_case _em_ __strong__", "{braces}", "~tilde^hat", "*em* **strong**",
    "<script>alert(1)</script>", "&amp; &lt;", "`code` ``more``", "[link](http://x)", "[red]rich[/red]", "![image](x)",
    ":smile:", '"quoted"', "it's", "1. list", "- list", "> quote", "a ~~gone~~ b", "|sub|", "word_ and `x`_", "[1]_",
    ".. raw:: html", "::", "{{ jinja }}", "{% raw %}", "%s %d", "Ünïcödé 한국", "/m/09x0r", "a--b", "it...",
]  # fmt: skip
BROKEN = [
    "two\nlines",
    "a\r\nb",
    "a\tb",
    "para\n\ngraph",
    "a\u2028b",
    "a\x0bb",
    "a\n.. raw:: html\n\n   <b>",
    "a\n| b |",
]


def test_one_thing_is_singular():
    assert [counted(n, noun) for n, noun in ((1, "block"), (1200, "block"), (0, "class"))] == [
        "1 block",
        "1,200 blocks",
        "0 classes",
    ]


@pytest.mark.parametrize("text", BROKEN)
def test_line_breaks_become_spaces(text):
    line = one_line(text)
    assert line.split() == text.split()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"), ("\x1b[31mred", "\\x1b[31mred"), ("caf\udce9", "caf\\xe9"), ("\ud800", "\\ud800"),
        ("nul\0", "nul\\x00"), ("nbsp\u00a0", "nbsp\\xa0"), ("right\u202eleft", "right\\u202eleft"),
        ("café 한국", "café 한국"),
    ],
)  # fmt: skip
def test_what_is_not_printable_is_an_escape(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_only_bytes_that_are_not_utf8_are_undecodable():
    assert decodable("caf\udce9 \u00e9\n") == "caf\\xe9 é\n"


# ---------------------------------------------------------------------------------------------
# Every kind of output shows the text and nothing else
# ---------------------------------------------------------------------------------------------


def shown_by_markdown(source):
    """Cells of a table as text; the parser fails on anything that is not text."""
    tokens = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .parse(f"| a | b |\n| --- | --- |\n| {source} | x |\n\nend\n")
    )
    cells = [token for token in tokens if token.type == "inline"]
    assert [child.type for cell in cells for child in cell.children if child.type not in ("text", "text_special")] == []
    return ["".join(child.content for child in cell.children) for cell in cells]


@pytest.mark.parametrize("text", [*HOSTILE, *BROKEN])
def test_a_cell_of_markdown_shows_the_text(text):
    shown = shown_by_markdown(markdown(text))
    assert shown == ["a", "b", one_line(text), "x", "end"]


@pytest.mark.parametrize("text", [*HOSTILE, *BROKEN])
def test_a_sentence_of_restructuredtext_shows_the_text(text):
    tree = docutils.core.publish_doctree(f"Curve {rst(text)}, end.", settings_overrides={"halt_level": 2})
    assert tree.astext() == f"Curve {one_line(text)}, end."
    assert not list(tree.findall(lambda node: node.tagname in ("strong", "emphasis", "literal", "raw", "target")))


UNESCAPE = {
    r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<",
    r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', "{[}": "[", "{]}": "]", "{*}": "*",
    **{"\\" + character: character for character in "&%$#_{}"},
}  # fmt: skip


@pytest.mark.parametrize("text", [*HOSTILE, *BROKEN])
def test_a_cell_of_latex_shows_the_text(text):
    source = latex(text)
    pattern = "|".join(map(re.escape, sorted(UNESCAPE, key=len, reverse=True)))
    assert re.sub(pattern, lambda match: UNESCAPE[match[0]], source) == one_line(text)
    rest = re.sub(pattern, "", source)  # no special character is left
    assert not re.search(r"[\\&%$#_{}~^\[\]*<>|\n]", rest)
    assert not source.startswith(("[", "*"))


@pytest.mark.parametrize("text", [*HOSTILE, *BROKEN])
def test_a_cell_of_csv_is_never_a_formula(text):
    file = io.StringIO()
    csv.writer(file).writerow([csv_cell(text), "x"])
    ((cell, other),) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert other == "x"
    assert cell.removeprefix("'") == text.removeprefix("'")
    assert cell[0] not in "=+-@\t\r"


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e-05", "-12.5%", ".5", "plain", "", "it's", "a=b"])
def test_numbers_and_other_text_stay_as_they_are(text):
    assert csv_cell(text) == text


# ---------------------------------------------------------------------------------------------
# Names of files
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a", "a b", "-lead", "café", "'quote\"", "x" * LONGEST_STEM])
def test_a_usual_name_stays_as_it_is(text):
    assert file_name(text) == text


@pytest.mark.parametrize("text", ["new\nline", "tab\t", "caf\udce9", "a" * 255, "é" * 127, "한" * 85, "\udcff" * 250])
def test_every_name_can_be_written_with_a_suffix(tmp_path, text):
    name = file_name(text)
    assert name.isprintable()
    assert len(os.fsencode(name)) <= LONGEST_STEM
    (tmp_path / f"{name}_2.claims.csv").touch()
    json.dumps(name).encode("utf-8")


def test_long_names_with_the_same_start_differ():
    assert file_name("a" * 254) != file_name("a" * 253 + "b")
