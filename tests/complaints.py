"""What an error has to say: the kind of error, and the file, key and value it names; never its sentences."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def names(text: str, token: object) -> bool:
    """Whether a text names a file, key or value: 12 is not named in 512, nor `lr` in `lr_scale`."""
    word = re.escape(str(token))
    before, after = (r"(?<!\w)" if word[0].isalnum() else ""), (r"(?!\w)" if word[-1].isalnum() else "")
    return re.search(before + word + after, text) is not None


def assert_names(text: str, *tokens: object) -> None:
    """A text names all tokens."""
    missing = [str(token) for token in tokens if not names(text, token)]
    assert not missing, f"{missing} not named in: {text}"


@contextmanager
def complains(kind: type[Exception], *tokens: object) -> Iterator[pytest.ExceptionInfo]:
    """The block raises this kind of error, whose message names the file, key and value in question."""
    with pytest.raises(kind) as caught:
        yield caught
    assert_names(str(caught.value), *tokens)
