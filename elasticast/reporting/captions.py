"""Sentences that describe in a caption what a figure contains; the report includes them.

Captions are reStructuredText, so names go through :func:`elasticast.text.rst`.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from elasticast.config import DatasetConfig, RunConfig
from elasticast.config.dataset import DatasetSettings
from elasticast.text import rst

ONE_SEED = "With one seed, intervals do not show how much other seeds would differ."


def title_of(datasets: Mapping[str, DatasetConfig], name: str) -> str:
    """Name of a dataset in figures and tables: its setting `title`, or else the name of its file.

    Parameters
    ----------
    datasets : mapping of str to DatasetConfig
        The datasets of a suite or an ablation.
    name : str
        One of their names.
    """
    return datasets[name].title or name.replace("_", " ")


class Coverage(NamedTuple):
    """How many clips of a test split were evaluated.

    Attributes
    ----------
    dataset : str
        Name of the dataset, see :func:`title_of`.
    origin : str
        What the clips are, see `elasticast.config.dataset.DatasetSettings.origin`.
    clips : int
        Number of clips evaluated; 0 if nothing ran.
    listed : int
        Number of clips in the published list, see `elasticast.data.manifest.read_listed`.
    """

    dataset: str
    origin: str
    clips: int
    listed: int

    @property
    def counts(self) -> str:
        """Text such as ``19,445 of 20,371``."""
        return f"{self.clips:,} of {self.listed:,}"

    @property
    def name(self) -> str:
        """Name of the dataset, and what its clips are if not recordings."""
        return self.dataset if self.origin == DatasetSettings.origin else f"{self.dataset} ({self.origin})"


def describe_coverage(test_splits: Iterable[Coverage]) -> list[str]:
    """Sentence with the test clips evaluated, of those listed, of each dataset; none if nothing ran."""
    texts = dict.fromkeys(f"{split.name} {split.counts}" for split in test_splits if split.clips)
    return [f"Test clips evaluated, of those listed: {rst('; '.join(texts))}."] if texts else []


def describe_means(fewest: int, most: int) -> str:
    """Sentence with the fewest and the most seeds that a point is the mean over."""
    if most == 0:
        return "No run of this suite has finished."
    if most == 1:
        return "Every score is of a single run (one seed)."
    return (
        f"Scores are means over {most} seeds." if fewest == most else f"Scores are means over {fewest} to {most} seeds."
    )


def describe_bootstrap(seeds: int) -> str:
    """Name of the bootstrap, with what it resamples given this number of seeds."""
    return "bootstrap over test clips and seeds" if seeds > 1 else "bootstrap over test clips"


def describe_native(run: RunConfig) -> str:
    """Describe how a run limits and fills clips at native length."""
    view, model = run.view, run.model
    shortest = f"at least {view.min_frames} and " if view.min_frames else ""
    tails = {"fill": "the last patch filled up", "drop": "frames after the last whole patch left out"}
    tail = tails.get(view.tail, "filled up to the next patch")
    apart = f", {model.stride} apart" if model.stride != model.patch else ""
    return (
        f"``{run.experiment}``: {shortest}at most {view.max_frames} frames, {tail} "
        f"({model.patch} × {model.patch} patches{apart})"
    )
