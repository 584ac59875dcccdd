"""Which edits of the code change its digest."""

import pytest

from elasticast.provenance.source import Source
from elasticast.provenance.statements import parse

SOURCE = '''"""What it does."""

import math

LIMIT = 3
"""Most of it."""


class Thing:
    """A thing."""

    size: int = 1
    """How large."""

    def area(self, x):
        """Area."""
        # a comment
        return math.pi * x**2  # another


def nothing():
    """Only words."""
'''
HARMLESS = {
    "comments": ("# a comment", "# another comment, longer"),
    "docstring of the module": ("What it does.", "What it really does."),
    "docstring of a class": ("A thing.", "Some thing."),
    "docstring of a function": ('"""Area."""', '"""Area\n\n        of it.\n        """'),
    "docstring of a constant": ("Most of it.", "The most."),
    "docstring of an attribute": ("How large.", "How small."),
    "no docstring at all": ('    """Only words."""', "    pass"),
    "layout": ("math.pi * x**2", "(math.pi\n            * x ** 2)"),
    "blank lines": ("\n\n\n", "\n\n\n\n\n"),
    "type hints": ("def area(self, x)", "def area(self, x: float) -> float"),
    "type of a constant": ("LIMIT = 3", "LIMIT: int = 3"),
}
EDITS = {
    "constant": ("LIMIT = 3", "LIMIT = 4"),
    "expression": ("x**2", "x**3"),
    "name": ("def nothing", "def something"),
    "default": ("size: int = 1", "size: int = 2"),
    "import": ("import math", "import cmath as math"),
}


SETTINGS = """from typing import Annotated, ClassVar

from elasticast.config.base import Settings

Positive = Annotated[int, "above 0"]


class Base(Settings):
    size: Positive = 3
    model_config = {"frozen": True}
    kinds: ClassVar[tuple] = ("a", "b")

    @model_validator(mode="after")
    def _checked(self):
        raise ValueError("size: too large")

    @property
    def half(self):
        return self.size / 2


class Special(Base):
    more: int = 4
"""
BASE = {"config/base.py": "from pydantic import BaseModel\n\n\nclass Settings(BaseModel):\n    model_config = {}\n"}
DECLARATIONS = {
    "default": ("= 3", "= 4"),
    "new field": ("    size:", "    width: int = 1\n    size:"),
    "model_config": ("True", "False"),
    "check": ("too large", "is too large"),
    "field of a subclass": ("more: int = 4", "more: int = 5"),
    "new class": ("class Special", "class Other(Settings):\n    x: int = 1\n\n\nclass Special"),
}
SETTINGS_CODE = {
    "method": ("/ 2", "/ 3"),
    "ClassVar": ('("a", "b")', '("a",)'),
    "base": ("class Special(Base)", "class Special(Settings)"),
    "new method": ("more: int = 4", "more: int = 4\n\n    def double(self):\n        return 2 * self.more"),
}


@pytest.fixture
def digest(tmp_path):
    """Digest of the named parts of a package with these files."""

    def of(files, *parts, **options):
        for old in tmp_path.rglob("*.py"):
            old.unlink()
        for name, source in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(source)
        return Source(tmp_path, **options).digest(parts or files)

    return of


def changed(source, edit):
    before, after = edit
    assert before in source
    return source.replace(before, after)


@pytest.mark.parametrize("edit", HARMLESS)
def test_comments_docstrings_type_hints_and_layout_are_no_part_of_the_code(digest, edit):
    assert digest({"a.py": changed(SOURCE, HARMLESS[edit])}) == digest({"a.py": SOURCE})


def test_f_strings_are_written_alike_by_all_versions_of_python():
    """3.12 and later put other quotes around them than 3.11, and 3.12.1 has an empty part after `width`."""
    (statement,) = parse("""x = f'{a["b"]!r}, {c:>{width}}' f"{'d'}" """, frozenset()).statements
    assert statement.text == "x = f((a['b'], 114, None), ', ', (c, -1, f('>', (width, -1, None))), ('d', -1, None))"


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_the_code_is(digest, edit):
    assert digest({"a.py": changed(SOURCE, EDITS[edit])}) != digest({"a.py": SOURCE})


@pytest.mark.parametrize("edit", DECLARATIONS)
def test_declarations_of_settings_are_no_part_of_the_code_unless_asked_for(digest, edit):
    before, after = {**BASE, "a.py": SETTINGS}, {**BASE, "a.py": changed(SETTINGS, DECLARATIONS[edit])}
    assert digest(after) == digest(before)
    assert digest(after, declarations=True) != digest(before, declarations=True)


def test_a_type_that_only_restricts_values_is_no_part_of_the_code(digest):
    after = changed(SETTINGS, ('"above 0"', '"above 1"'))
    assert digest({**BASE, "a.py": after}) == digest({**BASE, "a.py": SETTINGS})


@pytest.mark.parametrize("edit", SETTINGS_CODE)
def test_methods_and_constants_of_settings_are(digest, edit):
    assert digest({**BASE, "a.py": changed(SETTINGS, SETTINGS_CODE[edit])}) != digest({**BASE, "a.py": SETTINGS})


def test_fields_of_other_classes_are(digest):
    source = "from typing import NamedTuple\n\nclass Pair(NamedTuple):\n    low: int = 1\n    high: int = 2\n"
    assert digest({"a.py": source.replace("= 2", "= 3")}) != digest({"a.py": source})


# ---------------------------------------------------------------------------------------------
# Where code is
# ---------------------------------------------------------------------------------------------

USER = """import numpy as np

from elasticast.tools import scale as scaled


def use(x):
    return np.sqrt(scaled(x))
"""
TOOLS = """import math

LIMIT = 3


def scale(x):
    return math.floor(x) * LIMIT


def other():
    from elasticast.deep.more import helper

    return helper()
"""
HELPER = "def helper():\n    return 1\n"
FILES = {"user.py": USER, "tools.py": TOOLS, "deep/more.py": HELPER}


def test_moving_a_module_changes_nothing(digest):
    moved = {"user.py": USER.replace("elasticast.tools", "elasticast.room.box"), "room/box.py": TOOLS}
    assert digest({**moved, "deep/more.py": HELPER}) == digest(FILES)
    inside = TOOLS.replace("elasticast.deep.more", "elasticast.helpers")
    assert digest({"user.py": USER, "tools.py": inside, "helpers.py": HELPER}) == digest(FILES)


def test_splitting_a_module_changes_nothing(digest):
    scale, other = TOOLS.split("\n\n\ndef other")
    split = {"user.py": USER, "tools.py": scale, "rest.py": f"def other{other}", "deep/more.py": HELPER}
    assert digest(split) == digest(FILES)


def test_an_import_through_another_module_changes_nothing(digest):
    through = {**FILES, "front.py": "from elasticast.tools import scale\n"}
    through["user.py"] = USER.replace("elasticast.tools", "elasticast.front")
    assert digest(through, *FILES) == digest(FILES)


def test_what_names_refer_to_counts(digest):
    """The statements are the same in all of these; what differs is which of them a name means."""
    two = {"a.py": "X = 1\n\ndef f():\n    return X\n", "b.py": "X = 2\n\ndef g():\n    return X\n"}
    swapped = {"a.py": two["a.py"].replace("1", "2"), "b.py": two["b.py"].replace("2", "1")}
    assert digest(two) != digest(swapped)
    user = "from elasticast.{} import X\n\ndef h():\n    return X\n"
    assert digest({**two, "c.py": user.format("a")}) != digest({**two, "c.py": user.format("b")})
    inside = "def h():\n    from elasticast.{} import X\n\n    return X\n"
    assert digest({**two, "c.py": inside.format("a")}) != digest({**two, "c.py": inside.format("b")})


def test_imports_of_other_packages_count(digest):
    assert digest({"a.py": changed(SOURCE, ("import math", "import cmath as math"))}) != digest({"a.py": SOURCE})
    unused = "import math\nimport readline\n"
    assert digest({"a.py": changed(SOURCE, ("import math\n", unused))}) != digest({"a.py": SOURCE})


def test_the_order_of_what_is_no_definition_counts(digest):
    lines = ["X = []", "X.append(1)", "X.append(2)"]
    assert digest({"a.py": "\n".join(lines)}) != digest({"a.py": "\n".join([lines[0], lines[2], lines[1]])})
    assert digest({"a.py": "X = 1\nX = 2\n"}) != digest({"a.py": "X = 2\nX = 1\n"})
    assert digest({"a.py": "X = 1\nY = 2\n"}) == digest({"a.py": "Y = 2\nX = 1\n"})


# ---------------------------------------------------------------------------------------------
# Parts of the package
# ---------------------------------------------------------------------------------------------


def test_some_definitions_of_a_module_bring_those_that_they_mention(digest):
    part = "tools.py:scale"
    before = digest(FILES, part)
    assert digest({**FILES, "tools.py": TOOLS.replace("LIMIT = 3", "LIMIT = 4")}, part) != before
    assert digest({**FILES, "tools.py": TOOLS.replace("return helper()", "return 2")}, part) == before
    effect = f"{TOOLS}\nprint(LIMIT)\n"
    assert digest({**FILES, "tools.py": effect}, part) != before


def test_a_folder_is_all_modules_in_it(digest):
    before = digest(FILES, "deep")
    assert digest({**FILES, "deep/new.py": "x = 1\n"}, "deep") != before
    assert digest({**FILES, "new.py": "x = 1\n"}, "deep") == before


def test_parts_that_do_not_exist_are_errors(digest):
    with pytest.raises(ValueError, match=r"tools\.py.*nothing"):
        digest(FILES, "tools.py:nothing")
    with pytest.raises(FileNotFoundError, match="missing"):
        digest(FILES, "missing.py")
