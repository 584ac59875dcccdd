"""The one dataset class: prepared waveforms in, packed clips out."""

import json
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from elasticast.config import RunConfig
from elasticast.data.augment import mixup, spec_augment
from elasticast.data.features import Norm, log_mel, patchify
from elasticast.data.packing import PackedClip, grid_positions, kept_tokens
from elasticast.data.store import Store
from elasticast.data.views import ClipView, ViewRule, crop_or_pad
from elasticast.errors import DataError


def read_norm(path: Path) -> Norm:
    """Read normalisation statistics written by `elasticast stats`."""
    value = json.loads(path.read_text())
    return Norm(value["mean"], value["std"])


class Clips:
    """The usable clips of one split: waveforms, ids and targets of one task.

    Parameters
    ----------
    prepared : Path
        Folder written by `elasticast prepare`.
    split, task : str
        Split and label set.
    """

    def __init__(self, prepared: Path, split: str, task: str):
        manifest = pd.read_parquet(prepared / "manifest.parquet")
        manifest = manifest[(manifest["split"] == split) & (manifest["status"] == "ok")]
        if manifest.empty:
            raise DataError(f"{prepared / 'manifest.parquet'}: split {split!r} has no usable clip")
        self.store = Store(prepared / f"{split}.h5")
        info = json.loads((prepared / "classes.json").read_text())
        if task not in info:
            raise DataError(f"{prepared / 'classes.json'}: no task {task!r}. There is: {', '.join(info)}")
        self.ids: list[str] = manifest["id"].tolist()
        self.classes: list[str] = info[task]["classes"]
        self.kind: str = info[task]["kind"]
        place = {name: i for i, name in enumerate(self.classes)}
        self.targets = torch.zeros(len(self.ids), len(self.classes))
        for row, labels in enumerate(manifest[task]):
            self.targets[row, [place[name] for name in labels]] = 1.0

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def samples(self) -> np.ndarray:
        """`[clips]` int64, length of each waveform in samples."""
        return np.asarray(self.store.lengths)

    def waveform(self, index: int) -> Tensor:
        """`[S]` float32 in [-1, 1]."""
        return torch.from_numpy(self.store[index].astype(np.float32) / 32768.0)


class ClipDataset(Dataset):
    """Clips of one split as a run wants to see them.

    Randomness (crop, compression, augmentation, token dropout) is drawn from (seed, epoch, clip), so that a
    clip looks the same whatever the number of workers, the order, or the step a run is resumed at.

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
        self.rule = rule or ViewRule(config)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.clips)

    def tokens(self, index: int) -> int:
        """Tokens of a clip's largest view, before token dropout."""
        return self.tokens_of(self.rule.largest(int(self.clips.samples[index])))

    def tokens_of(self, view: ClipView) -> int:
        """Tokens of a view, before token dropout."""
        patch = self.config.model.patch
        return view.frames // patch * (self.config.front_end.mel_bins // patch)

    def __getitem__(self, index: int) -> PackedClip:
        if not self.training:
            view = self.view(index)
            spectrogram = log_mel(self.clips.waveform(index), self.config.front_end, view.compression)
            return self.packed(index, self.norm(crop_or_pad(spectrogram, view.frames)), self.clips.targets[index])
        return self._training_item(index)

    def view(self, index: int, draw: float = 0.0) -> ClipView:
        """How this clip is shown."""
        return self.rule(int(self.clips.samples[index]), draw)

    def packed(self, index: int, spectrogram: Tensor, target: Tensor) -> PackedClip:
        """Tokens of a normalised spectrogram `[F, T]`."""
        patch = self.config.model.patch
        freq, time = grid_positions(spectrogram.shape[0] // patch, spectrogram.shape[1] // patch)
        return PackedClip(index, patchify(spectrogram, patch), freq, time, target)

    def _training_item(self, index: int) -> PackedClip:
        train = self.config.train
        generator = self._generator(index)
        waveform, target = self._mixed(index, generator)
        view = self.view(index, torch.rand((), generator=generator).item())
        start = torch.rand((), generator=generator).item() if self.config.view.crop == "random" else 0.0
        spectrogram = crop_or_pad(log_mel(waveform, self.config.front_end, view.compression), view.frames, start)
        spectrogram = spec_augment(self.norm(spectrogram), train.spec_augment, 0.0, generator)
        clip = self.packed(index, spectrogram, target)
        if train.token_dropout:
            keep = kept_tokens(len(clip.patches), train.token_dropout, generator)
            clip = PackedClip(index, clip.patches[keep], clip.freq[keep], clip.time[keep], target)
        return clip

    def _generator(self, index: int) -> Generator:
        key = f"{self.config.seed}/{self.epoch}/{self.clips.ids[index]}"
        return Generator().manual_seed(zlib.crc32(key.encode()))

    def _mixed(self, index: int, generator: Generator) -> tuple[Tensor, Tensor]:
        waveform, target = self.clips.waveform(index), self.clips.targets[index]
        if torch.rand((), generator=generator).item() >= self.config.train.mixup:
            return waveform, target
        other = int(torch.rand((), generator=generator).item() * len(self.clips))
        # Beta(10, 10) as in AST, from two Gammas
        gammas = torch._standard_gamma(torch.full((2,), 10.0), generator=generator)
        share = (gammas[0] / gammas.sum()).item()
        mixed = mixup(waveform, self.clips.waveform(other), share)
        return mixed, share * target + (1 - share) * self.clips.targets[other]
