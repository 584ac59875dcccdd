"""The one dataset class: prepared waveforms in, packed clips out."""

import dataclasses
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from elasticast.config import ASTSettings, RunConfig
from elasticast.data.augment import mixup, spec_augment
from elasticast.data.features import Norm, check_rate
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.packing import PackedClip, kept_tokens, pack_clip
from elasticast.data.sampler import Draw, balanced_weights
from elasticast.data.store import Store
from elasticast.data.views import ClipView, ViewRule, clip_tokens, spectrogram
from elasticast.errors import DataError
from elasticast.files import read_json

KEPT_BYTES = 512 * 2**20
"""Log-mels a training process keeps; they are a sixth to a third of a step of the small models on a CPU."""


def read_norm(path: Path) -> Norm:
    """Read normalisation statistics written by `elasticast stats`."""
    value = read_json(path)
    return Norm(value["mean"], value["std"])


class Clips:
    """The usable clips of one split: waveforms, ids and targets of one task.

    Parameters
    ----------
    prepared : Path
        Folder written by `elasticast prepare`.
    split, task : str
        Split and label set.

    Attributes
    ----------
    ids, classes : list of str
        Clips, and classes of the task.
    kind : {"single", "multi"}
        Whether a clip has one label, or several.
    labels : ndarray
        Place of each label in `classes`, clip after clip.
    first_label : ndarray
        `[clips + 1]` int64: clip i has the labels ``first_label[i]`` to ``first_label[i + 1]``.
    """

    def __init__(self, prepared: Path, split: str, task: str):
        manifest = read_manifest(prepared / "manifest.parquet", split)
        if manifest.empty:
            raise DataError(f"{prepared / 'manifest.parquet'}: split {split!r} has no usable clip")
        self.store = Store(prepared / f"{split}.h5")
        info = read_classes(prepared / "classes.json")
        if task not in info:
            raise DataError(f"{prepared / 'classes.json'}: no task {task!r}. There is: {', '.join(info)}")
        self.ids: list[str] = manifest["id"].tolist()
        self.classes: list[str] = info[task]["classes"]
        self.kind: str = info[task]["kind"]
        counts = manifest[task].map(len).to_numpy(np.int64)
        self.labels = pd.Index(self.classes).get_indexer(np.concatenate(manifest[task].tolist()))
        assert (self.labels >= 0).all(), f"{prepared}: labels of {task} that are not in classes.json"
        self.first_label = np.concatenate([[0], counts.cumsum()])

    def __len__(self) -> int:
        return len(self.ids)

    def target(self, index: int) -> Tensor:
        """`[C]` float32, 1 for the classes of a clip."""
        target = torch.zeros(len(self.classes))
        target[self.labels[self.first_label[index] : self.first_label[index + 1]]] = 1.0
        return target

    @cached_property
    def targets(self) -> Tensor:
        """`[clips, C]`, those of all clips: 4 GB of AudioSet's training split, which training does without."""
        return torch.stack([self.target(i) for i in range(len(self))])

    @cached_property
    def weights(self) -> np.ndarray:
        """`[clips]` float64, how often `train.sampler: balanced` draws each clip, see :func:`balanced_weights`."""
        owners = np.repeat(np.arange(len(self)), np.diff(self.first_label))
        return balanced_weights(owners, self.labels, len(self), len(self.classes))

    @cached_property
    def samples(self) -> np.ndarray:
        """`[clips]` int64, length of each waveform in samples."""
        return np.asarray(self.store.lengths)

    def waveform(self, index: int) -> Tensor:
        """`[S]` float32 in [-1, 1]."""
        return torch.from_numpy(self.store[index].astype(np.float32) / 32768.0)


class ClipDataset(Dataset):
    """Clips of one split as a run wants to see them.

    Randomness (compression, length, crop, augmentation, offset, token dropout) is drawn from (seed, epoch, clip), so
    that a clip looks the same whatever the number of workers, the order, or the step a run is resumed at. A clip that
    its epoch draws again, see :class:`~elasticast.data.sampler.Draw`, looks another way each time.

    Parameters
    ----------
    clips : Clips
        Waveforms and targets.
    config : RunConfig
        The run.
    norm : Norm
        Normalisation statistics.
    training : bool
        With augmentation, random crops and token dropout, or without.
    rule : ViewRule, optional
        Another view than the run's own, for sweeps.
    """

    def __init__(self, clips: Clips, config: RunConfig, norm: Norm, *, training: bool, rule: ViewRule | None = None):
        self.clips, self.config, self.norm, self.training = clips, config, norm, training
        check_rate(config.front_end, clips.store.sample_rate, clips.store.path)
        self.rule = rule or ViewRule(config)
        self.epoch = 0
        self._kept: dict[int, Tensor] = {}
        # loader processes start anew every epoch: what they kept would be lost
        self._room = KEPT_BYTES if len(config.view.compression) == 1 and not config.train.workers else 0

    def __len__(self) -> int:
        return len(self.clips)

    def tokens(self) -> np.ndarray:
        """`[clips]` int64, tokens of each clip's largest view, before token dropout."""
        lengths, place = np.unique(self.clips.samples, return_inverse=True)
        return np.array([self.tokens_of(self.rule.largest(int(samples))) for samples in lengths])[place]

    def tokens_of(self, view: ClipView) -> int:
        """Tokens of a view, before token dropout."""
        return clip_tokens(self.config, view)

    def __getitem__(self, index: int) -> PackedClip:
        if not self.training:
            view = self.view(index)
            shown = view.cut(self.spectrogram(self.clips.waveform(index), view.compression))
            return self.packed(index, self.norm(shown), self.clips.target(index), view)
        return self._training_item(index)

    def view(self, index: int, draw: float = 0.0, length: float = 1.0) -> ClipView:
        """How this clip is shown; one of a bucket as long as the longest clip beside it."""
        view = self.rule(int(self.clips.samples[index]), draw, length)
        if not (isinstance(index, Draw) and index.longest):
            return view
        model = self.config.model
        time_patches = index.longest // model.patches(self.config.front_end.mel_bins)
        frames = model.patch + (time_patches - 1) * model.stride
        # where a stretch of the position table is drawn, the places are the table's
        return dataclasses.replace(view, frames=frames, full=self.config.view.longest if model.time_offset else None)

    def spectrogram(self, waveform: Tensor, compression: float) -> Tensor:
        """Log-mel `[F, T]` of a waveform `[S]`, as the run's settings want it."""
        return spectrogram(waveform, self.config.front_end, compression, self.config.view.resolution)

    def packed(self, index: int, spectrogram: Tensor, target: Tensor, view: ClipView) -> PackedClip:
        """Tokens of a normalised spectrogram `[F, T]`, the clip as `view` shows it."""
        return pack_clip(index, spectrogram, target, self.config.model, view.grid_frames)

    def _training_item(self, index: int) -> PackedClip:
        train = self.config.train
        key = f"{self.config.seed}/{self.epoch}/{self.clips.ids[index]}"
        if isinstance(index, Draw) and index.before:
            key += f"/{index.before}"
        generator = Generator().manual_seed(zlib.crc32(key.encode()))
        draw = torch.rand((), generator=generator).item()
        cuts = self.config.view.cut_from is not None
        view = self.view(index, draw, torch.rand((), generator=generator).item() if cuts else 1.0)
        spectrogram, target = self._mixed(index, view.compression, generator)
        start = torch.rand((), generator=generator).item() if self.config.view.crop == "random" else 0.0
        spectrogram = self.norm(view.cut(spectrogram, start))
        clip = self.packed(index, spec_augment(spectrogram, train.spec_augment, 0.0, generator), target, view)
        return self._dropped(self._shifted(clip, generator), generator)

    def _shifted(self, clip: PackedClip, generator: Generator) -> PackedClip:
        """A training clip at a random place of its grid, for `model.time_offset`."""
        model = self.config.model
        if not (isinstance(model, ASTSettings) and model.time_offset):
            return clip
        free = clip.time_patches - int(clip.time.max())  # places for its first patch
        offset = int(torch.rand((), generator=generator).item() * free)
        return dataclasses.replace(clip, time=clip.time + offset)

    def _dropped(self, clip: PackedClip, generator: Generator) -> PackedClip:
        """A training clip without the tokens that dropout leaves out."""
        share, most = self.config.train.dropout_range
        if not most:
            return clip
        if most > share:
            share += (most - share) * torch.rand((), generator=generator).item()
        return clip.only(kept_tokens(len(clip.patches), share, generator))

    def _mixed(self, index: int, compression: float, generator: Generator) -> tuple[Tensor, Tensor]:
        """Log-mel and target of a training clip, or of its mixture with another."""
        if torch.rand((), generator=generator).item() >= self.config.train.mixup:
            return self._log_mel(index, compression), self.clips.target(index)
        other = int(torch.rand((), generator=generator).item() * len(self.clips))
        # Beta(10, 10) as in AST, from two Gammas
        gammas = torch._standard_gamma(torch.full((2,), 10.0), generator=generator)
        share = (gammas[0] / gammas.sum()).item()
        mixed = mixup(self.clips.waveform(index), self.clips.waveform(other), share)
        target = share * self.clips.target(index) + (1 - share) * self.clips.target(other)
        return self.spectrogram(mixed, compression), target

    def _log_mel(self, index: int, compression: float) -> Tensor:
        """Log-mel of a clip; while there is room it is kept for the epochs to come."""
        if index in self._kept:
            return self._kept[index]
        spectrogram = self.spectrogram(self.clips.waveform(index), compression)
        if spectrogram.nbytes <= self._room:
            self._kept[index] = spectrogram.contiguous()
            self._room -= spectrogram.nbytes
        return spectrogram
