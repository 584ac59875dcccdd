"""Captions of figures: what was drawn, in sentences; the report includes them.

Captions are reStructuredText, so names go through :func:`escape`.
"""

import re

from elasticast.reporting.legend import Marks, marks_of
from elasticast.reporting.panels import Panel

ONE_SEED = "With one seed, intervals do not show how much other seeds would differ."


def escape(text: str) -> str:
    """Escape the characters that reStructuredText takes as markup."""
    return re.sub(r"([\\*`_|])", r"\\\1", text)


def curve_caption(panels: list[Panel]) -> str:
    """What the curves, bands and markers of a figure are."""
    marks = marks_of(panels)
    sentences = [means(*marks.seeds), *_bands(marks)]
    if marks.training_marks:
        sentences.append(f"Open markers show the training {' or '.join(marks.training_marks)} of each AST.")
    if marks.released:
        sentences.append("Thin lines with crosses are the curves that the authors released.")
    sentences += [f"Dotted lines are the means of the suite “{escape(title)}”." for title in marks.others]
    return " ".join(sentences)


def means(fewest: int, most: int) -> str:
    """How many seeds the points are means of."""
    if most == 0:
        return "No run of this suite has finished."
    if most == 1:
        return "Every score is of a single run (one seed)."
    return (
        f"Scores are means over {most} seeds." if fewest == most else f"Scores are means over {fewest} to {most} seeds."
    )


def bootstrap(seeds: int) -> str:
    """What the bootstrap resamples when there are so many seeds."""
    return "bootstrap over test clips and seeds" if seeds > 1 else "bootstrap over test clips"


def _bands(marks: Marks) -> list[str]:
    """What the bands show; which curves have which band, if they differ."""
    intervals = f"95 % intervals from a {bootstrap(marks.seeds[1])}"
    kinds = {intervals: marks.intervals, "the minimum and maximum over seeds": marks.ranges}
    drawn = {text: labels for text, labels in kinds.items() if labels}
    if not drawn:
        return ["There are no bands."] if marks.bare else []
    if len(drawn) == 1 and not marks.bare:
        sentence = f"Bands show {next(iter(drawn))}."
    else:
        named = [f"{text} ({', '.join(map(escape, labels))})" for text, labels in drawn.items()]
        sentence = f"Bands show {' or '.join(named)}{'; the other curves have none' if marks.bare else ''}."
    return [sentence, ONE_SEED] if marks.intervals and marks.seeds[1] == 1 else [sentence]
