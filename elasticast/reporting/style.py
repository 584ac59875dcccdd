"""The style of all figures, and writing them to files.

Figures have their final size in inches and are not scaled in the paper. `elasticast.reporting.identity` says which
model has which colour, dashes and marker.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from elasticast.config import Suite
from elasticast.config.run import RunSettings
from elasticast.files import write_atomic, write_text
from elasticast.reporting.identity import LineStyle, styles_of

SINGLE_COLUMN, DOUBLE_COLUMN = 3.3, 7.0  # inches
TITLE = {"x": 0.01, "ha": "left", "fontsize": 8}
"""Position and font size of a title above all panels."""
INK, MUTED, FAINT = "#222222", "#5F5F5F", "#D9D9D9"

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
    "legend.handlelength": 4.2,  # two periods of every dash pattern
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


@contextmanager
def paper_style() -> Iterator[None]:
    """Context manager that sets the style of the paper; draw and save figures inside it."""
    base = {**sns.axes_style("ticks"), **sns.plotting_context("paper")}
    with mpl.rc_context({**base, **_SIZES, **_COLOURS, **_OUTPUT}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure with a size in inches and automatic layout; this needs no display."""
    return Figure(figsize=(width, height), layout="constrained")


def line_styles(suite: Suite, base: str | None = None) -> dict[str, LineStyle]:
    """Styles by label, one per label of the suite; they depend on the models, see `elasticast.reporting.identity`.

    The setting `color` of an experiment replaces the colour of its label.

    Parameters
    ----------
    base : str, optional
        Name of the experiment that is the base of an ablation.
    """
    runs: dict[str, RunSettings] = {}
    figures: dict[str, set[str]] = {}
    colors: dict[str, str] = {}
    for name, experiment in suite.experiments.items():
        runs.setdefault(experiment.label, suite.runs[name])
        swept = {suite.evaluations[evaluation].x_name for evaluation in experiment.evaluations}
        figures.setdefault(experiment.label, set()).update(swept)
        if experiment.color:
            colors.setdefault(experiment.label, experiment.color)
    return styles_of(runs, figures=figures, colors=colors, base=base and suite.experiments[base].label)


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
