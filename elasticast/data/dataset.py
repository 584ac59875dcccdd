"""Clips of a prepared split, and the dataset that training reads them from."""

import dataclasses
import zlib
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from elasticast.config import ASTSettings, FrontEnd, RunConfig
from elasticast.config.frames import patch_frames
from elasticast.data.augment import mixup, spec_augment
from elasticast.data.encoder import ClipEncoder
from elasticast.data.features import Norm, check_rate
from elasticast.data.manifest import read_classes, read_manifest
from elasticast.data.packing import PackedClip, kept_tokens
from elasticast.data.sampler import ClipRequest, balanced_weights
from elasticast.data.store import Store
from elasticast.data.views import ClipView, ViewRule
from elasticast.errors import DataError, ElasticASTError
from elasticast.files import read_json

KEPT_BYTES = 512 * 2**20
"""Log-mels a training process keeps; they are a sixth to a third of a step of the small models on a CPU."""


def read_norm(path: Path) -> Norm:
    """Read normalisation statistics written by `elasticast stats`."""
    value = read_json(path)
    return Norm(value["mean"], value["std"])


def norm_of(config: RunConfig, file: Path | None) -> Norm:
    """What a run normalises with: the statistics in its settings, else those of a file.

    Raises
    ------
    ElasticASTError
        If there is neither.
    """
    if config.norm is not None:
        return Norm(config.norm.mean, config.norm.std)
    if file is None:
        raise ElasticASTError("--norm: needed unless the run's settings give `norm`; `elasticast stats` makes the file")
    return read_norm(file)


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
            hint = "; `dev_share` in the dataset's settings sets clips of the training split aside" * (split == "dev")
            raise DataError(f"{prepared / 'manifest.parquet'}: split {split!r} has no usable clip{hint}")
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

    def check_rate(self, front_end: FrontEnd) -> None:
        """Refuse another sample rate than the front end's.

        Raises
        ------
        DataError
            If they differ.
        """
        check_rate(front_end, self.store.sample_rate, self.store.path)

    def waveform(self, index: int) -> Tensor:
        """`[S]` float32 in [-1, 1]."""
        return torch.from_numpy(self.store[index].astype(np.float32) / 32768.0)


class ClipDataset(Dataset):
    """Training clips of a run, each as tokens; a :class:`~elasticast.data.sampler.ClipRequest` is the index.

    Randomness (compression, length, crop, augmentation, offset, token dropout) is drawn from the seed, the clip, the
    epoch and the draw. So a clip does not depend on the number of workers, the order, or the step a run is resumed at.

    Parameters
    ----------
    clips : Clips
        Waveforms and targets.
    config : RunConfig
        The run.
    norm : Norm
        Normalisation statistics.
    """

    def __init__(self, clips: Clips, config: RunConfig, norm: Norm):
        clips.check_rate(config.front_end)
        self.clips, self.config = clips, config
        self.encoder, self.rule = ClipEncoder(config, norm), ViewRule(config)
        self._kept: dict[int, Tensor] = {}
        # loader processes start anew every epoch: what they kept would be lost
        self._room = KEPT_BYTES if len(config.view.compression) == 1 and not config.train.workers else 0

    def __len__(self) -> int:
        return len(self.clips)

    def tokens(self) -> np.ndarray:
        """`[clips]` int64, tokens of each clip's largest view, before token dropout."""
        model = self.config.model
        frames = self.rule.most_frames(self.clips.samples)
        return model.patches(frames) * model.patches(self.config.front_end.mel_bins)

    def __getitem__(self, request: ClipRequest) -> PackedClip:
        generator = self._generator(request)
        draw = torch.rand((), generator=generator).item()
        cuts = self.config.view.cut_from is not None
        view = self._view(request, draw, torch.rand((), generator=generator).item() if cuts else 1.0)
        spectrogram, target = self._mixed(request.index, view.compression, generator)
        start = torch.rand((), generator=generator).item() if self.config.view.crop == "random" else 0.0
        mask = partial(spec_augment, settings=self.config.train.spec_augment, fill=0.0, generator=generator)
        about = {"index": request.index, "target": target, "start": start, "augment": mask}
        clip = self.encoder.encode(spectrogram, view, **about)
        return self._dropped(self._shifted(clip, generator), generator)

    def _generator(self, request: ClipRequest) -> Generator:
        key = f"{self.config.seed}/{request.epoch}/{self.clips.ids[request.index]}"
        if request.draw:
            key += f"/{request.draw}"
        return Generator().manual_seed(zlib.crc32(key.encode()))

    def _view(self, request: ClipRequest, draw: float, length: float) -> ClipView:
        """The view of a clip, in a batch of a bucket as long as the batch's longest clip."""
        view = self.rule(int(self.clips.samples[request.index]), draw, length)
        if not request.fill_to:
            return view
        model = self.config.model
        time_patches = request.fill_to // model.patches(self.config.front_end.mel_bins)
        frames = patch_frames(time_patches, model.patch, model.stride)
        # where a stretch of the position table is drawn, the places are the table's
        return dataclasses.replace(view, frames=frames, full=self.config.view.longest if model.time_offset else None)

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
        return self.encoder.spectrogram(mixed, compression), target

    def _log_mel(self, index: int, compression: float) -> Tensor:
        """Log-mel of a clip; while there is room it is kept for the epochs to come."""
        if index in self._kept:
            return self._kept[index]
        spectrogram = self.encoder.spectrogram(self.clips.waveform(index), compression)
        if spectrogram.nbytes <= self._room:
            self._kept[index] = spectrogram.contiguous()
            self._room -= spectrogram.nbytes
        return spectrogram
