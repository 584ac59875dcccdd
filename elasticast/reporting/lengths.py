"""Native lengths of the clips, and what cropping and padding them to a fixed length costs (fig. 2)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from elasticast.config import Suite
from elasticast.errors import DataError
from elasticast.reporting.style import DOUBLE_COLUMN, INK, MUTED, new_figure

_COLUMNS = ("duration", "status")
_FEWEST_ROWS = 4  # below that a row would be too low for its histogram
KEPT, DISCARDED, ADDED = "#2F4B6E", "#D55E00", "#E4E4E4"


@dataclass(frozen=True)
class Grid:
    """How seconds become frames, and frames tokens."""

    sample_rate: int = 16000
    window_ms: float = 25.0
    hop_ms: float = 10.0
    patch: int = 16
    mel_bins: int = 128
    centred: bool = False

    @property
    def tokens_per_frame(self) -> float:
        """Patches of ``patch`` frames times ``patch`` bins, per frame."""
        return self.mel_bins / self.patch / self.patch

    def frames(self, seconds: np.ndarray) -> np.ndarray:
        """Frames of clips (s), rounded up to whole patches; at least one patch.

        Kaldi counts only windows that lie wholly in the clip (``snip_edges``); `centred` ones stand at every hop.
        """
        window, hop = (round(self.sample_rate * ms / 1000) for ms in (self.window_ms, self.hop_ms))
        samples = np.rint(np.asarray(seconds) * self.sample_rate)
        frames = 1 + (samples if self.centred else samples - window) // hop
        return (self.patch * np.maximum(1, np.ceil(frames / self.patch))).astype(int)

    def seconds(self, frames: float) -> float:
        """Seconds that ``frames`` hops span."""
        return frames * self.hop_ms / 1000


@dataclass(frozen=True)
class TokenShares:
    """Tokens of a whole data set when every clip is brought to one length.

    ``kept + discarded`` are the tokens of the native clips, ``kept + added`` those of the fixed ones.
    """

    kept: float
    discarded: float
    added: float

    @property
    def native(self) -> float:
        """Tokens of the clips at native length."""
        return self.kept + self.discarded


def token_shares(frames: np.ndarray, length: int, grid: Grid, least: int | None = None) -> TokenShares:
    """Crop clips of ``frames`` frames to ``length``, and pad them to it, or only to ``least`` (0: crop only)."""
    kept = np.minimum(frames, length).sum()
    added = np.maximum((length if least is None else least) - frames, 0).sum()
    per_frame = grid.tokens_per_frame
    return TokenShares(kept * per_frame, (frames.sum() - kept) * per_frame, added * per_frame)


@dataclass(frozen=True)
class Lengths:
    """One data set's clips and the lengths the suite's models give them.

    Attributes
    ----------
    seconds : numpy.ndarray
        Duration of each usable clip.
    fixed : list of int
        Frames of the fixed-length models at the native hop.
    longest : int or None
        Frames at which the flexible model cuts native clips.
    least : int
        Frames that it fills shorter ones up to.
    """

    dataset: str
    seconds: np.ndarray
    grid: Grid
    fixed: list[int]
    longest: int | None
    least: int = 0

    def rows(self) -> list[tuple[str, TokenShares]]:
        """Name and shares of each length, the native one last."""
        frames = self.grid.frames(self.seconds)
        rows = [(str(n), token_shares(frames, n, self.grid)) for n in self.fixed]
        if self.longest is not None:
            rows.append((f"native, ≤ {self.longest}", token_shares(frames, self.longest, self.grid, self.least)))
        return rows


def read_lengths(manifest: Path, suite: Suite) -> Lengths:
    """Read the durations in ``results/data/DATASET/manifest.parquet`` and the suite's lengths for them.

    Raises
    ------
    DataError
        If the file or a column is missing, no clip is usable, or the suite does not use the data set.
    """
    if not manifest.is_file():
        raise DataError(f"{manifest}: no such file; `elasticast prepare` makes it")
    table = pd.read_parquet(manifest)
    missing = [c for c in _COLUMNS if c not in table.columns]
    if missing:
        raise DataError(f"{manifest}: missing column {', '.join(missing)}; expected at least {', '.join(_COLUMNS)}")
    seconds = table.loc[table["status"] == "ok", "duration"].to_numpy(float)
    if not len(seconds):
        raise DataError(f"{manifest}: no clip has status 'ok'")
    dataset = manifest.parent.name
    runs = [run for run in suite.runs.values() if run.dataset == dataset]
    if not runs:
        known = ", ".join(sorted({run.dataset for run in suite.runs.values()}))
        raise DataError(
            f"{manifest}: suite {suite.name!r} has no dataset {dataset!r} (the folder's name); it has {known}"
        )
    front, patch = runs[0].front_end, runs[0].model.patch
    framing = (front.sample_rate, front.window_ms, front.hop_ms)
    grid = Grid(*framing, patch, front.mel_bins, centred=front.kind == "stft")
    # at another hop the same frames span another time: those models belong to fig. 5
    at_native_hop = [r for r in runs if r.view.compression == [1.0]]
    lengths = {r.view.frames for r in at_native_hop if r.model.kind == "ast"}
    fixed = sorted(lengths - {"native"})
    flexible = [r.view for r in runs if r.view.frames == "native"]
    longest = max((view.max_frames for view in flexible), default=None)
    return Lengths(dataset, seconds, grid, fixed, longest, max((v.min_frames or 0 for v in flexible), default=0))


def draw_lengths(datasets: list[Lengths]) -> Figure:
    """One row a data set: histogram of native lengths, and what each fixed length does to the tokens."""
    heights = [0.75 + 0.19 * max(_FEWEST_ROWS, len(d.fixed) + 1) for d in datasets]
    figure = new_figure(DOUBLE_COLUMN, sum(heights) + 0.35)
    axes = figure.subplots(len(datasets), 2, squeeze=False, height_ratios=heights, width_ratios=[1, 1.15])
    for i, (data, (left, right)) in enumerate(zip(datasets, axes, strict=True)):
        letter = f"({chr(97 + i)}) " if len(datasets) > 1 else ""
        count = f"{len(data.seconds):,} clips, median {np.median(data.seconds):.1f} s"
        left.set_title(f"{letter}{data.dataset.replace('_', ' ')}: {count}", loc="left")
        _draw_histogram(left, data)
        _draw_shares(right, data)
    axes[-1][0].set_xlabel("Native length (s)")
    axes[-1][1].set_xlabel("Tokens (% of the native tokens)")
    figure.legend(handles=_handles(), loc="outside lower right", ncols=3)
    return figure


def _draw_histogram(ax: Axes, data: Lengths) -> None:
    seconds = data.seconds
    long_tail = bool(seconds.max() > 12 * np.median(seconds))
    span = None if long_tail else (0, seconds.max())
    sns.histplot(x=seconds, bins=40, binrange=span, ax=ax, color=KEPT, linewidth=0, alpha=0.9, log_scale=long_tail)
    ax.set(xlabel="", ylabel="Clips")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    if long_tail:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        ax.set_xlim(left=0)
    end = data.grid.seconds(max(data.fixed, default=0))
    ax.set_xlim(right=max(ax.get_xlim()[1], 1.03 * end))
    ax.set_ylim(top=ax.get_ylim()[1] * 1.28)
    sns.despine(ax=ax)
    _mark_lengths(ax, data)


def _mark_lengths(ax: Axes, data: Lengths) -> None:
    """Dashed lines at the fixed lengths; names too close to each other go to a second row."""
    width = 180  # points, about that of the histogram
    taken = {0: -1.0, 1: -1.0}
    for n in data.fixed:
        x = data.grid.seconds(n)
        at = ax.transAxes.inverted().transform(ax.transData.transform((x, 0)))[0]
        half = (4.6 * len(str(n)) + 3) / 2 / width
        row = next((r for r, end in taken.items() if at - half > end), 1)
        taken[row] = at + half
        top = 0.79 + 0.11 * row
        ax.axvline(x, ymax=top, color=INK, linewidth=0.8, dashes=(3, 1.5))
        ax.text(x, top + 0.01, str(n), transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=7)


def _draw_shares(ax: Axes, data: Lengths) -> None:
    rows = data.rows()
    for y, (_, shares) in enumerate(rows):
        kept, discarded, added = (100 * v / shares.native for v in (shares.kept, shares.discarded, shares.added))
        ax.barh(y, kept, color=KEPT, height=0.68)
        ax.barh(y, discarded, left=kept, color=DISCARDED, hatch="/////", height=0.68, linewidth=0)
        ax.barh(y, added, left=100, color=ADDED, edgecolor=MUTED, height=0.68, linewidth=0.5)
        said = {"transform": ax.get_yaxis_transform(), "va": "center", "ha": "right", "fontsize": 7}
        ax.text(1.12, y, _percent(discarded, "−"), color="#A34700", **said)
        ax.text(1.25, y, _percent(added, "+"), color=MUTED, **said)
    ax.axvline(100, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.set_ylim(max(len(rows), _FEWEST_ROWS) - 0.5, -0.5)
    ax.set_ylabel("Length (frames)")
    ax.tick_params(axis="y", length=0)
    sns.despine(ax=ax, left=True)


def _percent(value: float, sign: str) -> str:
    if value == 0:
        return "0"
    return f"{sign}{value:.0f}" if value >= 0.5 else "<1"


def _handles() -> list[Patch]:
    return [
        Patch(facecolor=KEPT, label="kept"),
        Patch(facecolor=DISCARDED, hatch="/////", linewidth=0, label="discarded by cropping (−%)"),
        Patch(facecolor=ADDED, edgecolor=MUTED, linewidth=0.5, label="added by padding (+%)"),
    ]
