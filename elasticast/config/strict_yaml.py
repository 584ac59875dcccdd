"""Load YAML that says what it seems to say.

Refused are values that are easily misread (duplicate keys, of which PyYAML would silently drop the first; keys that are
no text, such as `yes`; numbers that YAML 1.1 reads with base 8 or 60), tags, and text that expands to far more than a
person writes: deep nesting, and aliases (``*name``) that repeat values without limit.
"""

import re
from typing import Any, NoReturn

import yaml

MAX_DEPTH = 32
MAX_REPEATED = 100_000
"""Largest number of values that aliases may add."""
_AMBIGUOUS = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
"""Numbers that YAML 1.1 reads with base 8 or 60: 010 is 8, and 1:30 is 90."""
_TAG = "tag:yaml.org,2002:"


def load(text: str) -> Any:
    """Load one YAML document.

    Raises
    ------
    yaml.YAMLError
        If the text is no YAML, or is refused; with the line.
    ValueError
        If a date does not exist, or a number has thousands of digits.
    """
    _Size().check(text)
    return yaml.load(text, _Loader)


def _refuse(message: str, node: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(None, None, message, node.start_mark)


class _Loader(yaml.CSafeLoader):
    """Loader that refuses what is easily misread."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        names = set()
        for key, _ in node.value:
            if key.tag == f"{_TAG}merge":
                continue
            if key.tag != f"{_TAG}str":
                _refuse(f"expected text as key, got {key.value!r}; write it in quotes if it is text", key)
            if key.value in names:
                _refuse(f"the key {key.value!r} appears twice", key)
            names.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        if _AMBIGUOUS.fullmatch(node.value):
            _refuse(f"{node.value} is read with base 8 or 60; write a decimal number, or text in quotes", node)
        return self.construct_yaml_int(node) if node.tag == f"{_TAG}int" else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"{_TAG}{_kind}", _Loader.construct_number)


class _Size:
    """Counts the values of a YAML text as if its aliases were written out, before any Python object is made of it."""

    def __init__(self):
        self.total = self.repeated = 0
        self.of_anchor: dict[str | None, int] = {}
        self.open: list[tuple[str | None, int]] = []  # anchor of a collection, and number of values before it

    def check(self, text: str) -> None:
        """Refuse tags, deep nesting, and aliases that repeat too much."""
        for event in yaml.parse(text, yaml.CSafeLoader):
            if getattr(event, "tag", None) is not None:
                _refuse(f"tags such as {event.tag} are not used", event)
            self._count(event)
            if len(self.open) > MAX_DEPTH:
                _refuse(f"expected at most {MAX_DEPTH} levels", event)
            if self.repeated > MAX_REPEATED:
                _refuse(f"expected at most {MAX_REPEATED:,} values through aliases", event)

    def _count(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.of_anchor:
                _refuse(f"the alias *{event.anchor} is not defined before this line, or contains itself", event)
            self.total += self.of_anchor[event.anchor]
            self.repeated += self.of_anchor[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            self.total += 1
            self.of_anchor[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open.append((event.anchor, self.total))
            self.of_anchor.pop(event.anchor, None)
            self.total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.open.pop()
            self.of_anchor[anchor] = self.total - before
