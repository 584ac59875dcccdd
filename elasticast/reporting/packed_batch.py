"""A packed batch: the spectrograms of its clips side by side, its attention mask and its pooling mask (figure 3)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elasticast.config import RunConfig, Suite
from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder
from elasticast.data.norm import Norm
from elasticast.data.views import ViewRule
from elasticast.errors import DataError
from elasticast.reporting.captions import describe_native
from elasticast.reporting.style import FAINT, INK, MUTED, SINGLE_COLUMN, new_figure
from elasticast.text import rst

# pale, unlike those of models; neighbours differ in lightness, so that blocks can be distinguished in greyscale
_CLIP_COLORS = ("#6E93C4", "#F2C9A0", "#6FA88B", "#D9B8E0", "#A88B5C", "#B5DDE6", "#B0738C", "#DCE3A8")


class DrawnClip(NamedTuple):
    """A clip of a packed batch.

    Attributes
    ----------
    log_mel : numpy.ndarray
        `[mel_bins, T]`, the T frames given to the model. Padding is NaN, which is drawn blank.
    seconds : float
        Length of the whole clip.
    tokens, padding : int
        Number of tokens of the clip, and how many of them contain only padding.
    """

    log_mel: np.ndarray
    seconds: float
    tokens: int
    padding: int


def packed_run(suite: Suite, dataset: str) -> RunConfig:
    """The suite's first run that packs clips of this dataset at native length.

    Raises
    ------
    DataError
        If the suite has no such run.
    """
    name = suite.packed_experiment(dataset)
    if name is None:
        raise DataError(
            f"suite {suite.name!r}: no experiment packs clips with view.frames: native on dataset {dataset!r}"
        )
    return suite.run_config(name, suite.seeds[0])


def encode_clips(clips: Clips, config: RunConfig, indices: Sequence[int]) -> list[DrawnClip]:
    """Encode clips as for evaluation.

    Parameters
    ----------
    indices : sequence of int
        Indices of the clips in `clips`, in packed order.
    """
    unchanged = Norm(0.0, 0.5)  # draws the log-mel without normalisation
    encoder, rule = ClipEncoder(config, unchanged), ViewRule(config)
    drawn = []
    for i in indices:
        samples = int(clips.samples[i])
        view = rule(samples)
        spectrogram = encoder.spectrogram(clips.waveform(i), view.compression)
        packed = encoder.encode(spectrogram, view)
        padding = int((packed.time * config.model.stride >= spectrogram.shape[1]).sum())
        filled = np.full((spectrogram.shape[0], view.frames), np.nan, dtype=np.float32)
        frames = spectrogram[:, : view.frames].numpy()
        filled[:, : frames.shape[1]] = frames
        drawn.append(DrawnClip(filled, samples / config.front_end.sample_rate, len(packed.patches), padding))
    return drawn


def attention_mask(seqlens: Sequence[int]) -> np.ndarray:
    """Block-diagonal mask of a packed batch, int ``[N, N]``: c + 1 within clip c, 0 elsewhere."""
    clip = np.repeat(np.arange(len(seqlens)), seqlens)
    return np.where(clip[:, None] == clip, clip + 1, 0)


def pooling_mask(seqlens: Sequence[int]) -> np.ndarray:
    """Tokens that the pooling query of each clip attends to, int ``[clips, N]``: c + 1 within clip c, 0 elsewhere."""
    clip = np.repeat(np.arange(len(seqlens)), seqlens)
    return np.where(np.arange(len(seqlens))[:, None] == clip, clip + 1, 0)


def draw_packing(batch: Sequence[DrawnClip]) -> Figure:
    """Draw a packed batch as three panels that share the token axis: spectrograms, attention mask, pooling mask."""
    seqlens = [clip.tokens for clip in batch]
    clips, tokens = len(seqlens), sum(seqlens)
    ratios = [0.62, 2.55, 0.11 * clips]  # heights of the panels, in inches approximately
    figure = new_figure(SINGLE_COLUMN, sum(ratios) + 0.8)
    row, attention, pooling = figure.subplots(3, 1, sharex=True, height_ratios=ratios)
    figure.get_layout_engine().set(hspace=0.02)
    _draw_row(row, batch)
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
    _write_cost(attention, batch)
    figure.align_ylabels()
    return figure


def _draw_row(ax: Axes, batch: Sequence[DrawnClip]) -> None:
    low, high = np.nanpercentile(np.concatenate([clip.log_mel.ravel() for clip in batch]), [2, 99.5])
    start = 0
    # points per token, to decide which names fit above their clip
    per_token = 0.78 * SINGLE_COLUMN * 72 / sum(clip.tokens for clip in batch)
    for i, clip in enumerate(batch):
        extent = (start, start + clip.tokens, 0, clip.log_mel.shape[0])
        look = {"cmap": "magma", "vmin": low, "vmax": high, "interpolation": "nearest", "rasterized": True}
        ax.imshow(clip.log_mel, extent=extent, origin="lower", aspect="auto", **look)
        full = f"{i + 1}: {clip.seconds:.1f} s"
        text = full if len(full) * 4.6 < clip.tokens * per_token else str(i + 1)
        ax.text(start + clip.tokens / 2, 1.06, text, transform=ax.get_xaxis_transform(), ha="center", fontsize=7)
        if start:
            ax.axvline(start, color="white", linewidth=1.2)
        start += clip.tokens
    ax.set_facecolor(FAINT)
    ax.set_yticks([0, batch[0].log_mel.shape[0]])
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


def _write_cost(ax: Axes, batch: Sequence[DrawnClip]) -> None:
    """Write the number of tokens, and of tokens if all clips were padded to the longest, into an empty corner."""
    lengths = np.array([clip.tokens for clip in batch])
    padding = sum(clip.padding for clip in batch)
    tokens, padded = lengths.sum(), len(lengths) * lengths.max()
    pairs = (lengths.astype(float) ** 2).sum() / tokens**2
    text = f"{tokens:,} tokens{f', {padding:,} only padding' if padding else ''}\n"
    text += f"{padded:,} if padded to the longest\n{100 * pairs:.0f} % of token pairs attended"
    ends = np.cumsum(lengths)
    middle = np.searchsorted(ends, 0.45 * tokens)  # the clip at the left edge of the text in the upper corner
    upper = ends[middle] - lengths[middle] > 0.25 * tokens
    place = {"x": 0.97, "y": 0.97, "ha": "right", "va": "top"}
    if not upper:
        place = {"x": 0.03, "y": 0.03, "ha": "left", "va": "bottom"}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 2, "alpha": 0.85}
    ax.text(**place, s=text, transform=ax.transAxes, fontsize=7, color=INK, bbox=box, linespacing=1.35)


def packing_caption(config: RunConfig, batch: Sequence[DrawnClip], dataset: str) -> str:
    """Caption of the figure: the clips of the batch, the title of their dataset, their view and their padding."""
    padding = sum(clip.padding for clip in batch)
    clips = f"{len(batch)} training clips of {rst(dataset)}, as {describe_native(config)}."
    tokens = f"{padding:,} tokens hold only padding." if padding else "Every token holds audio."
    return f"{clips} {tokens} Each clip has a colour, which means nothing else."
