"""How a batch is packed: spectrograms in one row, who attends to whom, and the pooling (fig. 3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elasticast.config import RunConfig, Suite
from elasticast.errors import DataError
from elasticast.reporting.style import FAINT, INK, MUTED, SINGLE_COLUMN, new_figure

# neighbours differ in lightness, so that blocks stay apart in greyscale
_CLIP_COLORS = ("#0072B2", "#E69F00", "#006B4E", "#56B4E9", "#A8487F", "#F0C75E", "#08306B", "#CC79A7")


def packed_run(suite: Suite, dataset: str) -> RunConfig:
    """The suite's first run that packs clips of this data set at native length.

    Raises
    ------
    DataError
        If there is none.
    """
    for name, run in suite.runs.items():
        native = run.view.frames == "native" and run.model.kind == "elasticast"
        if run.dataset == dataset and native:
            return suite.run_config(name, suite.seeds[0])
    raise DataError(f"suite {suite.name!r}: no ElasticAST with view.frames: native on dataset {dataset!r}")


def fill_patches(log_mel: np.ndarray, frames: int) -> np.ndarray:
    """Bring ``[mel_bins, T]`` to ``frames`` frames: cut, or filled with NaN, which is drawn blank."""
    filled = np.full((log_mel.shape[0], frames), np.nan, dtype=np.float32)
    width = min(frames, log_mel.shape[1])
    filled[:, :width] = log_mel[:, :width]
    return filled


def attention_mask(seqlens: Sequence[int]) -> np.ndarray:
    """Block-diagonal mask of a packed batch, int ``[N, N]``: 0 hidden, c + 1 within clip c."""
    owner = np.repeat(np.arange(len(seqlens)), seqlens)
    return np.where(owner[:, None] == owner, owner + 1, 0)


def pooling_mask(seqlens: Sequence[int]) -> np.ndarray:
    """Which tokens each clip's query pools, int ``[clips, N]``: 0 hidden, c + 1 within clip c."""
    owner = np.repeat(np.arange(len(seqlens)), seqlens)
    return np.where(np.arange(len(seqlens))[:, None] == owner, owner + 1, 0)


def draw_packing(spectrograms: Sequence[np.ndarray], labels: Sequence[str], seqlens: Sequence[int]) -> Figure:
    """Draw a packed batch; all three panels share the token axis.

    Parameters
    ----------
    spectrograms : sequence of numpy.ndarray
        Log-mels ``[mel_bins, T_i]``, in packed order; NaN where a last patch is filled up.
    labels : sequence of str
        Short name of each clip, written above it where it fits.
    seqlens : sequence of int
        Tokens of each clip, as handed to the model.
    """
    clips, tokens = len(seqlens), int(sum(seqlens))
    ratios = [0.62, 2.55, 0.11 * clips]  # about inches
    figure = new_figure(SINGLE_COLUMN, sum(ratios) + 0.8)
    row, attention, pooling = figure.subplots(3, 1, sharex=True, height_ratios=ratios)
    figure.get_layout_engine().set(hspace=0.02)
    _draw_row(row, spectrograms, labels, seqlens)
    _draw_mask(attention, attention_mask(seqlens), clips)
    _draw_mask(pooling, pooling_mask(seqlens), clips)
    _draw_edges(attention, seqlens)
    row.set_ylabel("Mel bin")
    attention.set_ylabel("Query token")
    attention.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    attention.tick_params(labelbottom=False, bottom=False)
    pooling.set_ylabel("Pooling\nquery")
    pooling.set_yticks(np.arange(clips) + 0.5, range(1, clips + 1))
    pooling.tick_params(axis="y", length=0)
    pooling.set_xlabel("Key token")
    pooling.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    pooling.set_xlim(0, tokens)
    _say_cost(attention, seqlens)
    figure.align_ylabels()
    return figure


def _draw_row(ax: Axes, spectrograms: Sequence[np.ndarray], labels: Sequence[str], seqlens: Sequence[int]) -> None:
    low, high = np.nanpercentile(np.concatenate([s.ravel() for s in spectrograms]), [2, 99.5])
    start = 0
    # points of the drawn row a token gets, to know which names fit
    per_token = 0.78 * SINGLE_COLUMN * 72 / sum(seqlens)
    for i, (spectrogram, label, length) in enumerate(zip(spectrograms, labels, seqlens, strict=True)):
        extent = (start, start + length, 0, spectrogram.shape[0])
        look = {"cmap": "magma", "vmin": low, "vmax": high, "interpolation": "nearest", "rasterized": True}
        ax.imshow(spectrogram, extent=extent, origin="lower", aspect="auto", **look)
        full = f"{i + 1}: {label}"
        text = full if len(full) * 4.6 < length * per_token else str(i + 1)
        ax.text(start + length / 2, 1.06, text, transform=ax.get_xaxis_transform(), ha="center", fontsize=7)
        if start:
            ax.axvline(start, color="white", linewidth=1.2)
        start += length
    ax.set_facecolor(FAINT)
    ax.set_yticks([0, spectrograms[0].shape[0]])
    ax.tick_params(labelbottom=False, bottom=False)


def _draw_mask(ax: Axes, mask: np.ndarray, clips: int) -> None:
    colors = ["#F4F4F4", *(_CLIP_COLORS[i % len(_CLIP_COLORS)] for i in range(clips))]
    height, width = mask.shape
    extent = (0, width, height, 0)
    look = {"cmap": ListedColormap(colors), "vmin": 0, "vmax": clips, "interpolation": "nearest", "rasterized": True}
    ax.imshow(mask, extent=extent, aspect="auto", **look)


def _draw_edges(ax: Axes, seqlens: Sequence[int]) -> None:
    for edge in np.cumsum(seqlens)[:-1]:
        ax.axvline(edge, color=MUTED, linewidth=0.3, alpha=0.6)
        ax.axhline(edge, color=MUTED, linewidth=0.3, alpha=0.6)


def _say_cost(ax: Axes, seqlens: Sequence[int]) -> None:
    """In an empty corner: what padding these clips to the longest would have cost."""
    lengths = np.asarray(seqlens)
    tokens, padded = lengths.sum(), len(lengths) * lengths.max()
    pairs = (lengths.astype(float) ** 2).sum() / tokens**2
    said = f"{tokens:,} tokens, none only padding\n(padded batch: {padded:,})\n{100 * pairs:.0f} % of pairs attended"
    ends = np.cumsum(lengths)
    middle = np.searchsorted(ends, 0.45 * tokens)  # the clip under the left edge of the upper corner
    upper = ends[middle] - lengths[middle] > 0.25 * tokens
    place = {"x": 0.97, "y": 0.97, "ha": "right", "va": "top"}
    if not upper:
        place = {"x": 0.03, "y": 0.03, "ha": "left", "va": "bottom"}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 2, "alpha": 0.85}
    ax.text(**place, s=said, transform=ax.transAxes, fontsize=7, color=INK, bbox=box, linespacing=1.35)
