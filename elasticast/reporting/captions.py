"""Sentences that describe in a caption what a figure contains; the report includes them.

Captions are reStructuredText, so names go through :func:`elasticast.text.rst`.
"""

from elasticast.config import RunConfig

ONE_SEED = "With one seed, intervals do not show how much other seeds would differ."


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
