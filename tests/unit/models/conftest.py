"""Clips that most tests of models share."""

import pytest

from tests.unit.models.test_models import FRAMES, random_clip


@pytest.fixture
def clips(equal):  # after the seed of the comparisons
    return [random_clip(i, frames) for i, frames in enumerate(FRAMES)]
