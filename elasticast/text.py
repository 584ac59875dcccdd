"""Text that other people wrote (labels, titles, file names), escaped for each kind of output.

A label or a name may contain line breaks, markup, formulas, or bytes that are not UTF-8. Every output goes through one
of these functions, so it shows the text as it is, and nothing in the text acts as a command.
"""

import hashlib
import re
from html import escape

LONGEST_STEM = 200  # bytes; leaves room for numbers, suffixes and the names of temporary files
FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~$&!#]|(?<![^\W_])_|_(?![^\W_]))")
_RST = re.compile(r"([\\*`_|<>])")
_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row, it would start an optional argument
    "]": "{]}",
    "*": "{*}",
    '"': r"\textquotedbl{}",
    "·": r"$\cdot$",
    "–": "--",
    "−": "$-$",
    "≤": r"$\le$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
}


def one_line(text: str) -> str:
    r"""Return text on one line: line breaks become spaces, and other characters that are not printable escapes."""
    return printable(" ".join(text.split()))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural: ``1 block``, ``12 blocks``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def decodable(text: str) -> str:
    r"""Replace bytes that are not UTF-8 by escapes such as ``\xff``; Python keeps them as lone surrogates."""
    if text.isascii():
        return text
    return "".join(_escape(c) if "\ud800" <= c <= "\udfff" else c for c in text)


def printable(text: str) -> str:
    r"""Return text on one line: everything that is not printable becomes an escape such as ``\n`` or ``\xff``."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def file_name(text: str) -> str:
    """Return the stem of a file name for an output named after another file.

    Line breaks, other characters that are not printable, and bytes that are not UTF-8 become ``_``. A name of more than
    `LONGEST_STEM` bytes ends with a digest of the whole name instead of its last characters.
    """
    name = "".join(c if c.isprintable() and c != "/" else "_" for c in text)
    encoded = name.encode()
    if len(encoded) <= LONGEST_STEM:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{encoded[: LONGEST_STEM - 9].decode(errors='ignore')}-{digest}"


def csv_cell(text: str) -> str:
    """Return the text of a cell of a CSV file that people open.

    A spreadsheet program runs text that starts with ``= + - @``, a tab or a carriage return as a formula. Such text
    gets an apostrophe in front, as OWASP recommends; numbers do not.
    """
    text = decodable(text)
    return "'" + text if text.startswith(FORMULA) and not _NUMBER.fullmatch(text) else text


def markdown(text: str) -> str:
    """Escape text for a line or a table cell of Markdown."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def html(text: str) -> str:
    """Escape text for an element or an attribute of HTML."""
    return escape(one_line(text))


def rst(text: str) -> str:
    """Escape text for a sentence of reStructuredText."""
    return _RST.sub(r"\\\1", one_line(text))


def latex(text: str) -> str:
    """Escape text for a line or a table cell of LaTeX."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))
