"""Legend and caption of figures of curves; both are derived from the same :class:`Marks`."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from elasticast.reporting.captions import (
    ONE_SEED,
    Coverage,
    describe_bootstrap,
    describe_coverage,
    describe_means,
)
from elasticast.reporting.identity import LineStyle
from elasticast.reporting.panels import NOT_IN_SUITE, NOT_RUN, Panel
from elasticast.reporting.style import MUTED
from elasticast.text import rst

Styles = dict[str, LineStyle]
CHARACTER = 4.2  # mean width of a character at a font size of 7 points, in points
# The released curves and those of another suite have the colours of ours. They differ in style: a thin line with
# crosses, a marker that ours never have, and with the dashes of ours; and a dotted line without markers.
RELEASED_LINE = {"linewidth": 0.8, "alpha": 0.85, "marker": "x", "markersize": 3, "markeredgewidth": 0.7}
OTHER_LINE = {"linewidth": 0.9, "linestyle": (0, (1, 1.4))}
CHANCE_LINE = {"linewidth": 0.6, "linestyle": "-", "color": "#9A9A9A", "zorder": 1}
CEILING_LINE = {
    "linewidth": 0.8,
    "linestyle": (0, (4, 2)),
    "color": "#8C8C8C",
    "zorder": 7,
}  # above curves that reach it
_CHANCE = {"accuracy": "always answering the most frequent class", "mAP": "clips in random order"}
_TRAINED_AT = {"max_frames": "length", "compression": "resolution"}


@dataclass(frozen=True)
class Marks:
    """What a figure of curves contains in addition to the means.

    Attributes
    ----------
    seeds : tuple of int
        Fewest and most seeds that a point is the mean over; (0, 0) if nothing ran.
    intervals, ranges, bare : tuple of str
        Labels of the curves with a 95 % interval, with a band from the minimum to the maximum over seeds, and without
        a band.
    range_seeds : int
        Largest number of seeds of a band from minimum to maximum; 0 if there is no such band.
    training_marks : tuple of str
        What the open markers mark: the training length, the training resolution, or both. Empty if there are no such
        markers.
    released : bool
        Whether the authors' curves are drawn.
    other_titles : tuple of str
        Titles of the other suites whose curves are drawn too.
    chances : dict of str to list of float
        Chance (fractions) of the panels with each metric, in the order of the panels.
    ceiling : bool
        Whether the scores of a perfect listener are drawn.
    """

    seeds: tuple[int, int]
    intervals: tuple[str, ...]
    ranges: tuple[str, ...]
    bare: tuple[str, ...]
    range_seeds: int
    training_marks: tuple[str, ...]
    released: bool
    other_titles: tuple[str, ...]
    chances: dict[str, list[float]]
    ceiling: bool


def marks_of(panels: list[Panel]) -> Marks:
    """Collect what is drawn in these panels in addition to the means."""
    run = [s for p in panels for s in p.series if s.seeds_run]
    counts = [n for s in run for n in s.points["seeds"] if n]
    swept = dict.fromkeys(p.x_name for p in panels for s in p.fixed if s.training_point)
    other_titles = (p.other_title for p in panels if any(s.other_has_run for s in p.series))
    banded = {
        band: tuple(dict.fromkeys(s.label for s in run if s.band == band)) for band in ("interval", "seeds", None)
    }
    return Marks(
        seeds=(int(min(counts, default=0)), int(max(counts, default=0))),
        intervals=banded["interval"],
        ranges=banded["seeds"],
        bare=banded[None],
        range_seeds=max((s.seeds_run for s in run if s.band == "seeds"), default=0),
        training_marks=tuple(_TRAINED_AT[x_name] for x_name in swept),
        released=any(s.released is not None for p in panels for s in p.series),
        other_titles=tuple(dict.fromkeys(other_titles)),
        chances={
            metric: [p.chance for p in panels if p.metric == metric and p.chance is not None]
            for metric in dict.fromkeys(p.metric for p in panels)
        },
        ceiling=any(p.ceiling is not None for p in panels),
    )


def open_marker(color: str) -> dict:
    """Matplotlib keyword arguments for a large marker that is white inside."""
    return {"markersize": 6, "markerfacecolor": "white", "markeredgecolor": color, "markeredgewidth": 1.3}


# ---------------------------------------------------------------------------------------------
# Caption
# ---------------------------------------------------------------------------------------------


def curve_caption(panels: list[Panel]) -> str:
    """Caption of a figure of curves: its test clips, and what its points, bands, markers and further lines are."""
    marks = marks_of(panels)
    coverage = describe_coverage(panel.coverage for panel in panels)
    sentences = [describe_means(*marks.seeds), *coverage, *_bands(marks)]
    if marks.training_marks:
        sentences.append(f"Open markers show the training {' or '.join(marks.training_marks)} of each AST.")
    if marks.released:
        sentences.append("Thin lines with crosses are the curves that the authors released.")
    sentences += _chance(marks)
    if marks.ceiling:
        sentences.append("The ceiling is what a perfect listener of clips cut to the length can reach.")
    sentences += [f"Dotted lines are the means of the suite “{rst(title)}”." for title in marks.other_titles]
    return " ".join(sentences)


def _chance(marks: Marks) -> list[str]:
    """Sentence with the chance level of the panels; none if it is not known."""
    known = [
        f"{', '.join(f'{100 * value:.1f}' for value in values)} % {metric} ({_CHANCE[metric]})"
        for metric, values in marks.chances.items()
        if values
    ]
    return [f"Chance is {' and '.join(known)}."] if known else []


def _bands(marks: Marks) -> list[str]:
    """Sentences about the bands; they name the curves of each kind of band if there are several kinds."""
    intervals = f"95 % intervals from a {describe_bootstrap(marks.seeds[1])}"
    kinds = {intervals: marks.intervals, "the minimum and maximum over seeds": marks.ranges}
    drawn = {text: labels for text, labels in kinds.items() if labels}
    if not drawn:
        return ["There are no bands."] if marks.bare else []
    if len(drawn) == 1 and not marks.bare:
        sentence = f"Bands show {next(iter(drawn))}."
    else:
        named = [f"{text} ({', '.join(map(rst, labels))})" for text, labels in drawn.items()]
        sentence = f"Bands show {' or '.join(named)}{'; the other curves have none' if marks.bare else ''}."
    return [sentence, ONE_SEED] if marks.intervals and marks.seeds[1] == 1 else [sentence]


# ---------------------------------------------------------------------------------------------
# Legend
# ---------------------------------------------------------------------------------------------


def curve_handles(panels: list[Panel], styles: Styles) -> list[Artist]:
    """Legend entries of the experiments that have a curve in any panel."""
    labels = dict.fromkeys(s.label for p in panels for s in p.listed)
    return [Line2D([], [], **styles[label].line(), label=label) for label in labels]


def mark_handles(panels: list[Panel]) -> list[Artist]:
    """Legend entries of everything except the curves, see :class:`Marks`, and the number of test clips."""
    marks, handles = marks_of(panels), []
    if marks.training_marks:
        label = f"training {marks.training_marks[0]}" if len(marks.training_marks) == 1 else "as in training"
        handles.append(Line2D([], [], linestyle="none", marker="o", **open_marker(MUTED), label=label))
    band = {"color": MUTED, "alpha": 0.25, "linewidth": 0}
    if marks.intervals:
        handles.append(Patch(**band, label="95 % interval"))
    if marks.ranges:
        handles.append(Patch(**band, label=f"min–max of {marks.range_seeds} seeds"))
    if marks.released:
        handles.append(Line2D([], [], color=MUTED, **RELEASED_LINE, label="released values"))
    if any(panel.chance_is_near for panel in panels):
        handles.append(Line2D([], [], **CHANCE_LINE, label="chance"))
    if marks.ceiling:
        handles.append(Line2D([], [], **CEILING_LINE, label="ceiling"))
    handles += [Line2D([], [], color=MUTED, **OTHER_LINE, label=title) for title in marks.other_titles]
    return handles + coverage_handles(panel.coverage for panel in panels)


def coverage_handles(test_splits: Iterable[Coverage]) -> list[Artist]:
    """Legend entries without a mark: the test clips evaluated, of those listed, of each dataset."""
    texts = dict.fromkeys(f"{split.name}: {split.counts} test clips" for split in test_splits if split.clips)
    return [Line2D([], [], linestyle="none", label=text) for text in texts]


def legend_below(figure: Figure, handles: list[Artist]) -> None:
    """Add one legend for the whole figure, in as many columns as fit, and make the figure higher by its rows.

    Texts without a mark are above the entries, over all columns.
    """
    marked = [h for h in handles if isinstance(h, Patch) or h.get_linestyle() != "None" or h.get_marker() != "None"]
    texts = [h.get_label() for h in handles if h not in marked]
    if not handles:
        return
    room = int(figure.get_figwidth() * 72 / CHARACTER)
    title = textwrap.fill(" · ".join(texts), room, break_on_hyphens=False)
    widths = [(len(h.get_label()) * CHARACTER + 48) / 72 for h in marked]  # inches, with line and gap
    columns = next((n for n in range(len(widths), 1, -1) if _width(widths, n) < figure.get_figwidth()), 1)
    _grow(figure, -(-len(widths) // columns) + (title.count("\n") + 1 if title else 0))
    figure.legend(handles=marked, loc="outside lower center", ncols=columns, title=title or None, title_fontsize=7)


def _width(widths: list[float], columns: int) -> float:
    """Width of a legend in inches, if its entries fill one column after another."""
    return sum(max(part) for part in np.array_split(widths, columns))


def _grow(figure: Figure, lines: int) -> None:
    """Increase the height of the figure by this number of lines of text."""
    figure.set_figheight(figure.get_figheight() + 0.155 * lines)


# ---------------------------------------------------------------------------------------------
# Missing runs
# ---------------------------------------------------------------------------------------------


def note_missing_runs(figure: Figure, axes: list[Axes], panels: list[Panel], width: float, rows: int) -> None:
    """Write below each panel what has not run, and increase the height of the figure to fit the text.

    `width` is the width of a panel in inches, `rows` the number of rows of panels.
    """
    most = 0
    for ax, panel in zip(axes, panels, strict=False):
        short = [f"{s.label}: {s.shortfall}" for s in panel.series if s.shortfall]
        if not any(s.seeds_run for s in panel.series):
            short = [f"{'this suite' if panel.other_title else 'ours'}: {NOT_RUN}"]
        short += _missing_in_other_suite(panel)
        if short and any(s.drawn for s in panel.series):
            lines = textwrap.wrap("; ".join(short), int((width - 0.3) * 72 / CHARACTER))
            ax.set_xlabel("\n".join([ax.get_xlabel(), *lines]), linespacing=1.3)
            most = max(most, len(lines))
    _grow(figure, rows * most)


def _missing_in_other_suite(panel: Panel) -> list[str]:
    """One entry with what the other suite has not run; empty if nothing is missing."""
    if panel.other_title is None:
        return []
    missing = [(s.label, s.other.shortfall if s.other else NOT_IN_SUITE) for s in panel.series]
    words = {words for _, words in missing}
    named = [f"{label} ({words})" for label, words in missing if words] if len(words) > 1 else sorted(words - {""})
    return [f"“{panel.other_title}”: {', '.join(named)}"] if named else []
