"""Count the tokens that cropping clips to a length discards and that padding adds (figure 2).

Frames and tokens are counted with `elasticast.data.views.ViewRule`, as in training and evaluation.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elasticast.config import RunConfig, Suite
from elasticast.config.frames import native_frames
from elasticast.config.view import Tail
from elasticast.data.views import ViewRule
from elasticast.errors import DataError
from elasticast.reporting.captions import title_of
from elasticast.reporting.read_tables import read_durations


@dataclass(frozen=True)
class TokenShares:
    """Number of tokens of all clips of a dataset after cropping or padding each clip to one length.

    Attributes
    ----------
    kept, discarded : int
        Tokens of the clips at native length that are kept, and that cropping discards.
    added : int
        Tokens added by padding. A model is given ``kept + added`` tokens.
    """

    kept: int
    discarded: int
    added: int

    @property
    def native(self) -> int:
        """Number of tokens of the clips at native length."""
        return self.kept + self.discarded


@dataclass(frozen=True)
class Length:
    """A length to which a model of the suite crops or pads clips.

    Attributes
    ----------
    name : str
        Label of the length in the figure.
    seconds : float or None
        The fixed length. None for native length.
    shares : TokenShares
        Tokens that are kept, discarded and added at this length.
    """

    name: str
    seconds: float | None
    shares: TokenShares


@dataclass(frozen=True)
class DatasetLengths:
    """The clips of a dataset and the lengths to which the models of a suite crop or pad them.

    Attributes
    ----------
    title : str
        Name of the dataset in figures and tables.
    seconds : numpy.ndarray
        `[n]`, duration of each usable clip.
    lengths : list of Length
        Fixed lengths in ascending order, then native length.
    native : RunConfig or None
        The run whose native length is drawn. None if the suite has none on this dataset.
    """

    title: str
    seconds: np.ndarray
    lengths: list[Length]
    native: RunConfig | None

    @property
    def fixed(self) -> list[Length]:
        """The fixed lengths."""
        return [length for length in self.lengths if length.seconds is not None]


def token_shares(config: RunConfig, samples: np.ndarray, tail: Tail) -> TokenShares:
    """Count the tokens given to a model, compared with those of the same clips at native length.

    Parameters
    ----------
    config : RunConfig
        The run whose view is applied, at its finest compression.
    samples : numpy.ndarray
        `[n]`, length of each clip in samples.
    tail : {"fill", "drop", "extend"}
        Whether native length includes the frames after the last whole patch, see `view.tail`.
    """
    model, bands = config.model, config.model.patches(config.front_end.mel_bins)
    native = model.patches(native_frames(samples, config.front_end, model.patch, model.stride, tail)) * bands
    given = model.patches(ViewRule(config).most_frames(samples)) * bands
    kept = np.minimum(native, given)
    return TokenShares(int(kept.sum()), int((native - kept).sum()), int((given - kept).sum()))


def read_lengths(table: Path, suite: Suite) -> list[DatasetLengths]:
    """Read the durations of clips, and count the tokens at each length of a suite's runs, one item per dataset.

    Parameters
    ----------
    table : Path
        ``results/SUITE/summary/lengths.csv``.

    Raises
    ------
    DataError
        If the file or a column is missing, if it was changed, or if the suite does not use one of the datasets.
    """
    return [_dataset_lengths(table, dataset, seconds, suite) for dataset, seconds in read_durations(table).items()]


def _dataset_lengths(table: Path, dataset: str, seconds: np.ndarray, suite: Suite) -> DatasetLengths:
    names = [name for name, run in suite.runs.items() if run.dataset == dataset]
    if not names:
        known = ", ".join(sorted({run.dataset for run in suite.runs.values()}))
        raise DataError(f"{table}: suite {suite.name!r} has no dataset {dataset!r}; it has {known}")
    # at another hop, the same number of frames is another duration: those models belong in figure 5
    runs = [suite.run_config(name, suite.seeds[0]) for name in names if min(suite.runs[name].view.compression) == 1]
    native = max((r for r in runs if r.view.frames == "native"), key=lambda r: r.view.max_frames, default=None)
    tail = native.view.tail if native else "fill"
    lengths = [
        Length(name, run.view.frames * run.front_end.hop_ms / 1000, _share_tokens(run, seconds, tail))
        for name, run in _fixed_runs(suite, runs).items()
    ]
    if native:
        lengths.append(Length(f"native, ≤ {native.view.max_frames}", None, _share_tokens(native, seconds, tail)))
    return DatasetLengths(title_of(suite.datasets, dataset), seconds, lengths, native)


def _fixed_runs(suite: Suite, runs: list[RunConfig]) -> dict[str, RunConfig]:
    """One run per fixed length, by the name of the length.

    Runs of the same length that count tokens differently are all included; their names also contain the label.
    """
    run_by_key: dict[tuple, RunConfig] = {}
    for run in (r for r in runs if r.fixed_length):
        key = (run.view.frames, run.model.patch, run.model.stride, run.view.fill == "mask", run.front_end)
        run_by_key.setdefault(key, run)
    ordered = sorted(run_by_key.values(), key=lambda run: run.view.frames)
    frames = [run.view.frames for run in ordered]
    labels = {r.experiment: suite.experiments[r.experiment].label for r in ordered}
    return {
        str(r.view.frames) if frames.count(r.view.frames) == 1 else f"{r.view.frames}, {labels[r.experiment]}": r
        for r in ordered
    }


def _share_tokens(run: RunConfig, seconds: np.ndarray, tail: Tail) -> TokenShares:
    return token_shares(run, np.rint(seconds * run.front_end.sample_rate).astype(np.int64), tail)
