"""The style of all figures, and writing them to files.

The palette is that of Okabe & Ito (2008), which colour-blind readers can distinguish. In greyscale, series differ in
dashes, marker and lightness. Figures have their final size in inches and are not scaled in the paper.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from elasticast.config import Suite
from elasticast.files import write_atomic, write_text

SINGLE_COLUMN, DOUBLE_COLUMN = 3.3, 7.0  # inches
TITLE = {"x": 0.01, "ha": "left", "fontsize": 8}
"""Position and font size of a title above all panels."""
INK, MUTED, FAINT = "#222222", "#5F5F5F", "#D9D9D9"

# dark colours for flexible models or the base of an ablation, which stand out in greyscale too
_STRONG = ("#08306B", "#000000", "#4A1486")
# purple and green are darker than the originals, so that neighbours in this list differ in lightness
_PALETTE = ("#D55E00", "#56B4E9", "#9C3D7A", "#E69F00", "#007A5A", "#8C8C8C", "#5C3A21", "#B3A700")
# the numbers of dashes, markers and colours have no common factor, so a combination repeats only after 280 series
_DASHES = ((4, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (2.5, 1), (6, 1.2, 1.2, 1.2, 1.2, 1.2), (8, 2), (3, 1, 1, 1, 3, 2))
_MARKERS = ("s", "^", "D", "v", "P")

_SIZES = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.titlepad": 4,
    "axes.labelpad": 2.5,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "legend.handletextpad": 0.6,
}
_COLOURS = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#E6E6E6",
    "hatch.color": "white",
}
_OUTPUT = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures look the same on every machine
    "mathtext.fontset": "dejavusans",
    "text.parse_math": False,  # a label may contain dollar signs
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.dpi": 300,
    "figure.dpi": 100,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
}


@dataclass(frozen=True)
class LineStyle:
    """Line style of one label, the same in every panel of a figure."""

    color: str
    dashes: tuple[float, ...]
    marker: str
    width: float
    zorder: float

    def line(self) -> dict:
        """Keyword arguments for a matplotlib line."""
        style = (0, self.dashes) if self.dashes else "-"
        look = {"color": self.color, "linestyle": style, "linewidth": self.width, "marker": self.marker}
        return {**look, "markersize": 3.2, "markeredgecolor": "white", "markeredgewidth": 0.4, "zorder": self.zorder}

    def text_color(self) -> tuple[float, ...]:
        """The colour of the line, darkened so that small text in it is readable on white."""
        return sns.dark_palette(self.color, 10)[6 if self.dashes else 9]


@contextmanager
def paper_style() -> Iterator[None]:
    """Context manager that sets the style of the paper; draw and save figures inside it."""
    base = {**sns.axes_style("ticks"), **sns.plotting_context("paper")}
    with mpl.rc_context({**base, **_SIZES, **_COLOURS, **_OUTPUT}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure with a size in inches and automatic layout; this needs no display."""
    return Figure(figsize=(width, height), layout="constrained")


def line_styles(suite: Suite, emphasized: set[str] | None = None) -> dict[str, LineStyle]:
    """Styles by label, one per label of the suite.

    The setting `color` of an experiment replaces the palette's colour for its label.

    Parameters
    ----------
    emphasized : set of str, optional
        Names of the experiments that are drawn dark and thick, by default the flexible models.
    """
    if emphasized is None:
        emphasized = {name for name, run in suite.runs.items() if not run.model.traits.one_length}
    strong: dict[str, None] = {}
    plain: dict[str, None] = {}
    colors: dict[str, str] = {}
    for name, experiment in suite.experiments.items():
        (strong if name in emphasized else plain).setdefault(experiment.label)
        if experiment.color:
            colors.setdefault(experiment.label, experiment.color)
    return label_styles(list(strong), list(plain), colors)


def label_styles(strong: list[str], plain: list[str], colors: dict[str, str] | None = None) -> dict[str, LineStyle]:
    """Styles by label; `strong` labels are dark and thick, and `colors` replace those of the palette."""
    styles, colors = {}, colors or {}
    for i, label in enumerate(plain):
        color = colors.get(label, _PALETTE[i % len(_PALETTE)])
        styles[label] = LineStyle(color, _DASHES[i % len(_DASHES)], _MARKERS[i % len(_MARKERS)], 1.2, 3)
    for i, label in enumerate(strong):
        color = colors.get(label, _STRONG[i % len(_STRONG)])
        styles[label] = LineStyle(color, _DASHES[i - 1] if i else (), "o", 2.0, 4)
    return styles


def save(figure: Figure, out: Path, caption: str | None = None) -> None:
    """Write a figure to ``OUT.pdf`` and ``OUT.png``; the same figure always gives the same bytes.

    Parameters
    ----------
    caption : str, optional
        Description of the figure as reStructuredText. It is written to ``OUT.rst``, which the figure's caption in the
        report includes.
    """
    metadata = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
    for kind, entries in metadata.items():
        path = out.with_name(f"{out.name}.{kind}")
        write_atomic(path, lambda file, k=kind, m=entries: figure.savefig(file, format=k, metadata=m))
    if caption is not None:
        lines = textwrap.wrap(caption, 120, break_on_hyphens=False, break_long_words=False)
        write_text(out.with_name(f"{out.name}.rst"), "\n".join(lines) + "\n")
