"""YAML that is misread, damaged or endless is one error that names the file."""

import pytest

from elasticast.config import reading
from elasticast.config.reading import read_yaml
from elasticast.errors import ConfigError
from tests.complaints import complains

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "deep, flow": ("a: " + "[" * 100_000, "32"),
    "deep, block": ("".join(" " * level + "a:\n" for level in range(200)), "32"),
    "billion laughs": (LAUGHS, "aliases"),
    "alias in itself": ("a: &a [*a]\n", "*a"),
    "unknown alias": ("a: *b\n", "*b"),
    "key twice": ("a: 1\na: 2\n", "line 2"),
    "key twice, below": ("a:\n  b: {c: 1, c: 2}\n", "line 2"),
    "octal": ("a: 010\n", "010"),
    "sexagesimal": ("a: 1:30\n", "1:30"),
    "sexagesimal fraction": ("a: [1:30.5]\n", "1:30.5"),
    "no such date": ("a: 2024-13-45\n", ""),
    "too many digits": ("a: " + "1" * 5000, ""),
    "tab": ("a:\n\tb: 1\n", "line 2"),
    "empty": ("", "NoneType"),
    "comment": ("# nothing\n", "NoneType"),
    "list": ("- 1\n", "list"),
    "text": ("a\n", "str"),
    "key yes": ("yes: 1\n", "yes"),
    "key number": ("a: {1: 2}\n", "1"),
    "key null": ("null: 1\n", "null"),
    "key list": ("? [a]\n: 1\n", "line 1"),
    "tag": ("a: !!python/object/apply:os.system ['touch pwned']\n", "os.system"),
    "empty integer": ("a: !!int\n", "int"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2"),
    "control character": ("a: \x01\n", ""),
    "lone surrogate": ('a: "\\ud800"\n', "line 1"),
    "unclosed": ("a: [1, 2\n", "line"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_misread_or_endless_is_refused(tmp_path, name):
    text, named = REFUSED[name]
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    with complains(ConfigError, path, *filter(None, [named])):
        read_yaml(path)


@pytest.mark.parametrize("content", [b"a: \xff\n", "a: é\n".encode("utf-16"), "a: é\n".encode("latin-1")])
def test_other_encodings_are_refused(tmp_path, content):
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    with complains(ConfigError, path):
        read_yaml(path)


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
    path = tmp_path / "file.yaml"
    path.write_text("a: " + "x" * 200)
    with complains(ConfigError, path):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\ufeffa: 1\n", {"a": 1}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}\n", {"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 2}}),
        ("a: [0, 0.5, -1, 1.0e-5, 0x10, 1e-5, '010', é]\n", {"a": [0, 0.5, -1, 1e-5, 16, "1e-5", "010", "é"]}),
        ("'yes': no\n'1': null\n", {"yes": False, "1": None}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ],
)
def test_all_else_is_read(tmp_path, text, value):
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_yaml(path) == value
