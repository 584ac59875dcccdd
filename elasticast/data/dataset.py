"""The clips of a prepared split, and the dataset that encodes them for training."""

import dataclasses
import zlib
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from elasticast.config import FrontEnd, RunConfig
from elasticast.config.frames import frame_seconds, patch_frames
from elasticast.data.augment import beta, fitted, mask_value, mixup, spec_augment, warped_labels
from elasticast.data.encoder import ClipEncoder, LogMels, as_waveform
from elasticast.data.events import Mixed, check_frame_head, frame_labels, read_events
from elasticast.data.features import check_rate, one_thread
from elasticast.data.manifest import LACKING, Known, read_classes, read_manifest
from elasticast.data.norm import Norm
from elasticast.data.packing import PackedClip, kept_tokens
from elasticast.data.prepared import REMEDY, verified_file
from elasticast.data.pseudo_labels import PseudoLabels
from elasticast.data.sampler import ClipRequest, balanced_weights
from elasticast.data.store import Store
from elasticast.data.timbre import vary_timbre
from elasticast.data.unlabelled import known_labels
from elasticast.data.views import ClipView, ViewRule
from elasticast.errors import DataError


class Clips:
    """The usable clips of one split: their waveforms, ids, and targets for one task.

    Parameters
    ----------
    prepared : Path
        Folder written by `elasticast prepare`.
    split, task : str
        Names of the split and the task.

    Attributes
    ----------
    ids : list of str
        Id of each clip.
    classes : list of str
        Class names of the task.
    kind : {"single", "multi", "frames"}
        Whether clips have exactly one label, any number of labels, or events with onset and offset.
    labels : ndarray
        Class index of every label of every clip, concatenated in the order of the clips.
    first_label : ndarray
        `[clips + 1]` int64. The labels of clip i are ``labels[first_label[i]:first_label[i + 1]]``.
    events : Events or None
        Events of the clips, for tasks of kind ``frames``.
    known : ndarray or None
        `[clips]`, what is :class:`~elasticast.data.manifest.Known` of each clip. None if all have all labels.
    """

    def __init__(self, prepared: Path, split: str, task: str):
        manifest = read_manifest(prepared / "manifest.parquet", split)
        if manifest.empty:
            hint = "; set `dev_share` in the dataset's settings to use a share of split 'train'" * (split == "dev")
            raise DataError(f"{prepared / 'manifest.parquet'}: split {split!r} has no usable clip{hint}")
        self.store = Store(verified_file(prepared / f"{split}.h5"))
        info = read_classes(prepared / "classes.json")
        if task not in info:
            raise DataError(f"{prepared / 'classes.json'}: no task {task!r}; expected one of: {', '.join(info)}")
        self.ids: list[str] = manifest["id"].tolist()
        self.classes: list[str] = info[task]["classes"]
        self.kind: str = info[task]["kind"]
        self.known = _known(manifest)
        self._check_ids(prepared / "manifest.parquet")
        counts = manifest[task].map(len).to_numpy(np.int64)
        if self.kind == "single" and (counts != 1).any():
            clip = self.ids[int((counts != 1).argmax())]
            raise DataError(f"{prepared / 'manifest.parquet'}: {task} of clip {clip!r}: expected exactly one label")
        names = np.concatenate(manifest[task].tolist())
        self.labels = pd.Index(self.classes).get_indexer(names)
        if (self.labels < 0).any():
            name = str(names[(self.labels < 0).argmax()])
            raise DataError(f"{prepared / 'classes.json'}: {task} has no class {name!r}, a label in manifest.parquet")
        self.first_label = np.concatenate([[0], counts.cumsum()])
        self.events = read_events(prepared, task, self.ids, self.classes) if self.kind == "frames" else None

    def _check_ids(self, manifest: Path) -> None:
        """Check that the clips of the store are those of the manifest, in the same order."""
        if (ids := self.store.ids) == self.ids and len(ids) == len(self.store):
            return
        different = next((i for i, pair in enumerate(zip(ids, self.ids, strict=False)) if pair[0] != pair[1]), None)
        where = f"{len(ids)} clips" if different is None else f"clip {different} is {ids[different]!r}"
        expected = f"{len(self.ids)}" if different is None else repr(self.ids[different])
        raise DataError(f"{self.store.path}: {where}, but {expected} in {manifest}; {REMEDY}")

    def __len__(self) -> int:
        return len(self.ids)

    def target(self, index: int) -> Tensor:
        """Target of a clip: `[C]` float32, 1 for each of its classes."""
        target = torch.zeros(len(self.classes))
        target[self.labels[self.first_label[index] : self.first_label[index + 1]]] = 1.0
        return target

    @cached_property
    def targets(self) -> Tensor:
        """Targets of all clips, `[clips, C]`. Not used in training: for AudioSet's training split they take 4 GB."""
        return torch.stack([self.target(i) for i in range(len(self))])

    @cached_property
    def weights(self) -> np.ndarray:
        """Sampling weights for `train.sampler: balanced`, `[clips]` float64; see :func:`balanced_weights`."""
        clip_of_label = np.repeat(np.arange(len(self)), np.diff(self.first_label))
        return balanced_weights(clip_of_label, self.labels, len(self), len(self.classes))

    @cached_property
    def samples(self) -> np.ndarray:
        """Length of each waveform in samples, `[clips]` int64."""
        return np.asarray(self.store.lengths)

    def check_rate(self, front_end: FrontEnd) -> None:
        """Check that the waveforms have the sample rate of the front end.

        Raises
        ------
        DataError
            If they do not.
        """
        check_rate(front_end, self.store.sample_rate, self.store.path)

    def waveform(self, index: int) -> Tensor:
        """Waveform of a clip: `[S]` float32 in [-1, 1]."""
        return as_waveform(self.store[index])


def _known(manifest: pd.DataFrame) -> np.ndarray | None:
    if LACKING not in manifest:
        return None
    known = np.array([Known[name.upper()] for name in manifest[LACKING]], np.int64)
    return known if (known < Known.ALL).any() else None


class ClipDataset(Dataset):
    """Training clips of a run as tokens, indexed by :class:`~elasticast.data.sampler.ClipRequest`.

    Compression, length, crop, augmentation, offset and token dropout are random. The random generator is seeded with
    the run's seed, the clip, the epoch and the draw, so the tokens do not depend on the number of workers, the order
    of the clips, or the step at which a run is resumed.

    Parameters
    ----------
    clips : Clips
        Waveforms and targets.
    config : RunConfig
        The run.
    norm : Norm
        Normalisation statistics.
    teacher : callable, optional
        Encodes the same clips for a teacher, see :class:`~elasticast.data.teacher.TeacherView`.
    mean_teacher : bool
        Whether each clip is also encoded for a mean teacher: the same part of it, with all tokens, without masks and
        with its own timbre.
    interpolation : bool
        Whether the mean teacher is given both clips of a mixture alone, instead of the mixture.
    pseudo_labels : PseudoLabels, optional
        Probabilities of the classes of the clips over time, by other models.
    responses : callable, optional
        Convolves a waveform with an impulse response that is drawn, see :class:`~elasticast.data.responses.Responses`;
        needed for clips of runs with `train.impulse_responses`.
    """

    def __init__(
        self,
        clips: Clips,
        config: RunConfig,
        norm: Norm,
        teacher: Callable[[int, Tensor | None, float], PackedClip] | None = None,
        *,
        mean_teacher: bool = False,
        interpolation: bool = False,
        pseudo_labels: PseudoLabels | None = None,
        responses: Callable[[Tensor, Generator], Tensor] | None = None,
    ):
        clips.check_rate(config.front_end)
        check_frame_head(config, clips.kind)
        self.clips, self.config, self.teacher, self.responses = clips, config, teacher, responses
        self.mean_teacher, self.interpolation, self.pseudo_labels = mean_teacher, interpolation, pseudo_labels
        self.known = known_labels(config, clips.ids, clips.known)
        self.encoder, self.rule = ClipEncoder(config, norm), ViewRule(config)
        self.fill = mask_value(config.train.spec_augment, norm)
        # Worker processes are restarted every epoch, so what they keep would be lost.
        self.log_mels = LogMels(clips.store.__getitem__, self.encoder, keep=not config.train.workers)

    def __len__(self) -> int:
        return len(self.clips)

    def tokens(self) -> np.ndarray:
        """Number of tokens of each clip's largest view with the smallest patches, before token dropout.

        Returns
        -------
        ndarray
            `[clips]` int64.
        """
        model, bins = self.config.model, self.config.front_end.mel_bins
        frames = self.rule.most_frames(self.clips.samples)
        if model.patch_sizes is None:
            return model.patches(frames) * model.patches(bins)
        rows, columns = model.patch_sizes.smallest(model.patch).grid(bins, frames)
        return rows * columns

    @one_thread()
    def __getitem__(self, request: ClipRequest) -> PackedClip:
        generator = self._generator(request)
        draw = torch.rand((), generator=generator).item()
        random_length = self.config.view.cut_from is not None
        view = self._view(request, draw, torch.rand((), generator=generator).item() if random_length else 1.0)
        mixed, target, partner = self._mixture(request.index, generator)
        spectrogram = self.log_mels(request.index, view.compression, mixed)
        labels = self._labels(request.index, partner, spectrogram, view.compression)
        pseudo = self._pseudo_labels(request.index, partner, spectrogram, view.compression)
        heard = self._heard(request.index, mixed, generator)
        heard = spectrogram if heard is None else self.log_mels(request.index, view.compression, heard)
        varied = self._varied(request.index, heard, view.compression, generator)
        start = torch.rand((), generator=generator).item() if self.config.view.crop == "random" else 0.0
        masks = {"settings": self.config.train.spec_augment, "generator": generator, "compression": view.compression}
        options = {"augment": partial(spec_augment, fill=self.fill, **masks), "warp": partial(warped_labels, **masks)}
        options |= {"index": request.index, "target": target, "start": start, "labels": labels}
        options |= {"patch_size": request.patch_size, "pseudo_labels": pseudo}
        clip = self.encoder.encode(varied, view, **options)
        seen = self._drop_tokens(self._shift(clip, generator), generator)
        if self.known is not None:
            seen.known = Known(self.known[request.index])
        if seen.known == Known.NOTHING:
            seen.target.zero_()  # so that no label can be used by mistake
        if self.teacher is not None:
            seen.teacher = self.teacher(request.index, mixed, start)
        if self.mean_teacher:
            seen.teacher = self._for_mean_teacher(request.index, partner, spectrogram, view, start)
        return seen

    def _for_mean_teacher(
        self, index: int, partner: Mixed | None, log_mel: Tensor, view: ClipView, start: float
    ) -> PackedClip:
        """A clip or mixture with all tokens, without masks and with its own timbre.

        With `interpolation`, both clips of a mixture alone.
        """
        encode = partial(self.encoder.encode, view=view, start=start)
        if partner is None or not self.interpolation:
            return encode(log_mel, index=index)
        clip = encode(self.log_mels(index, view.compression), index=index)
        samples, fill = int(self.clips.samples[index]), self.config.train.mixup_fill
        waveform = fitted(self.log_mels.waveform(partner.clip), samples, fill)  # as it sounds in the mixture
        clip.partner = encode(self.log_mels(partner.clip, view.compression, waveform), index=partner.clip)
        clip.share = partner.share
        return clip

    def _generator(self, request: ClipRequest) -> Generator:
        key = f"{self.config.seed}/{request.epoch}/{self.clips.ids[request.index]}"
        if request.draw:
            key += f"/{request.draw}"
        return Generator().manual_seed(zlib.crc32(key.encode()))

    def _view(self, request: ClipRequest, draw: float, length: float) -> ClipView:
        """The view of a clip. With length buckets, a model of one length is given the longest one of the batch."""
        view, model = self.rule(int(self.clips.samples[request.index]), draw, length), self.config.model
        if not (request.fill_to and model.traits.one_length):
            return view
        time_patches = request.fill_to // model.patches(self.config.front_end.mel_bins)
        frames = patch_frames(time_patches, model.patch, model.stride)
        # A random time offset needs the grid of the longest view, not that of this batch's longest clip.
        return dataclasses.replace(
            view, frames=frames, full=self.config.view.longest if model.traits.random_offset else None
        )

    def _shift(self, clip: PackedClip, generator: Generator) -> PackedClip:
        """Shift the time positions of a clip by a random offset within its grid, for the trait `random_offset`."""
        if not self.config.model.traits.random_offset:
            return clip
        offsets = clip.time_patches - int(clip.time.max())  # number of possible offsets
        offset = int(torch.rand((), generator=generator).item() * offsets)
        return dataclasses.replace(clip, time=clip.time + offset)

    def _drop_tokens(self, clip: PackedClip, generator: Generator) -> PackedClip:
        """Apply token dropout."""
        share, highest = self.config.train.dropout_range
        if not highest:
            return clip
        if highest > share:
            share += (highest - share) * torch.rand((), generator=generator).item()
        return clip.select(kept_tokens(len(clip.patches), share, generator, self.config.train.token_rounding))

    def _mixture(self, index: int, generator: Generator) -> tuple[Tensor | None, Tensor, Mixed | None]:
        """Mix a clip with another one, with probability `train.mixup`. Returns waveform, target, and the other clip."""
        if torch.rand((), generator=generator).item() >= self.config.train.mixup:
            return None, self.clips.target(index), None
        draw = torch.rand((), generator=generator).item()
        partner = self._partner(index, draw)
        share = beta(10, generator)  # as in AST
        waveforms = self.log_mels.waveform(index), self.log_mels.waveform(partner)
        mixed = mixup(*waveforms, share, self.config.train.mixup_fill)
        target = share * self.clips.target(index) + (1 - share) * self.clips.target(partner)
        return mixed, target, Mixed(partner, share)

    def _heard(self, index: int, mixed: Tensor | None, generator: Generator) -> Tensor | None:
        """Waveform `[S]` of a clip, or of its mixture, through a device, with probability `impulse_responses.share`."""
        settings = self.config.train.impulse_responses
        if settings is None or torch.rand((), generator=generator).item() >= settings.share:
            return None
        return self.responses(self.log_mels.waveform(index) if mixed is None else mixed, generator)

    def _varied(self, index: int, log_mel: Tensor, compression: float, generator: Generator) -> Tensor:
        """A log-mel `[F, T]` with another timbre."""

        def other() -> Tensor:
            return self.log_mels(self._partner(index, torch.rand((), generator=generator).item()), compression)

        return vary_timbre(log_mel, self.config.train, self.config.front_end, other, generator)

    def _partner(self, index: int, draw: float) -> int:
        """The clip that `draw` in [0, 1) selects to be mixed with another one; it has the labels that this one has."""
        if self.known is None:
            return int(draw * len(self.clips))
        partners = np.flatnonzero(self.known >= self.known[index])
        return int(partners[int(draw * len(partners))])

    def _labels(self, index: int, partner: Mixed | None, log_mel: Tensor, compression: float) -> Tensor | None:
        """Share of each frame of a log-mel `[F, T]` that events cover, `[C, T]`; None without events."""
        if self.clips.events is None:
            return None
        if self.known is not None and self.known[index] < Known.ALL:
            return torch.zeros(len(self.clips.classes), log_mel.shape[1])
        seconds = self.clips.samples / self.config.front_end.sample_rate
        hop = frame_seconds(self.config.front_end, compression, self.config.view.resolution)
        size, fill = (len(self.clips.classes), log_mel.shape[1], hop), self.config.train.mixup_fill
        return frame_labels(self.clips.events, index, partner, seconds, size, fill)

    def _pseudo_labels(self, index: int, partner: Mixed | None, log_mel: Tensor, compression: float) -> Tensor | None:
        """Probabilities by other models in each frame of a log-mel `[F, T]`, `[C, T]`; None without such models."""
        if self.pseudo_labels is None:
            return None
        hop = frame_seconds(self.config.front_end, compression, self.config.view.resolution)
        return self.pseudo_labels(index, partner, log_mel.shape[1], hop)
