"""Packed batches: clips of any length and resolution, concatenated without padding.

The paper packs clips into rows of at most L' = 2,048 tokens and uses a mask to restrict attention to tokens of the same
clip. Block-diagonal attention over one flat sequence computes the same result (NaViT, Dehghani et al. 2023), so there
are no rows here.

Shape legend: B clips, n tokens of a clip, N tokens of all clips, P patch edge, C classes.
"""

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from elasticast.config import ModelSettings, PatchSize
from elasticast.data.features import patchify
from elasticast.data.manifest import Known
from elasticast.data.patch_sizes import resized_patches


@dataclass
class PackedClip:
    """A clip as tokens.

    Attributes
    ----------
    index : int
        Index of the clip in its dataset.
    patches : Tensor
        `[n, P*P]`, normalised log-mel.
    freq, time : Tensor
        `[n]` int64, position of each token on the grid of the clip.
    target : Tensor
        `[C]`, 1 for each class of the clip.
    time_patches : int
        Number of time patches of the grid, including dropped tokens. By default, the grid ends with the last token.
    patch_size : PatchSize or None
        Size of the patches before they were resized to P x P. None if they were not.
    teacher : PackedClip, optional
        The same clip as a teacher is given it, see :class:`~elasticast.data.teacher.TeacherView`.
    frame_target : Tensor or None
        `[time_patches, C]`, share of each time patch that events of each class cover, for tasks of kind ``frames``.
    pseudo_target : Tensor or None
        `[time_patches, C]`, probabilities of the classes in each time patch by other models.
    known : Known
        Which labels of the clip may be used.
    partner : PackedClip, optional
        For a teacher whose scores of both clips are mixed: the clip that the student's clip is mixed with, on the same
        grid.
    share : float
        Share of the clip in the mixture. The partner has the rest.
    """

    index: int
    patches: Tensor
    freq: Tensor
    time: Tensor
    target: Tensor
    time_patches: int = 0
    patch_size: PatchSize | None = None
    teacher: "PackedClip | None" = None
    frame_target: Tensor | None = None
    pseudo_target: Tensor | None = None
    known: Known = Known.ALL
    partner: "PackedClip | None" = None
    share: float = 1.0

    def __post_init__(self):
        self.time_patches = self.time_patches or int(self.time.max()) + 1

    def select(self, keep: Tensor) -> "PackedClip":
        """The clip with only the tokens whose indices are in `keep`, on the same grid."""
        return replace(self, patches=self.patches[keep], freq=self.freq[keep], time=self.time[keep])


@dataclass(frozen=True)
class Lengths:
    """Number of tokens of each clip in a flat sequence.

    The numbers are there twice: as integers, and as a tensor on the device of the tokens. A model then neither waits
    for a GPU to read them nor copies them to it.

    Attributes
    ----------
    counts : list of int
        Number of tokens of each of the B clips.
    bounds : Tensor
        `[B + 1]` int32. The tokens of clip i are those from ``bounds[i]`` up to, but not including, ``bounds[i + 1]``.
    """

    counts: list[int]
    bounds: Tensor

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device | str = "cpu") -> "Lengths":
        """Lengths of clips with these numbers of tokens."""
        bounds = torch.tensor([0, *itertools.accumulate(counts)], dtype=torch.int32)
        # the copy does not wait, because the numbers are in memory that nobody else changes
        return cls(list(counts), bounds if torch.device(device).type == "cpu" else bounds.to(device, non_blocking=True))

    @classmethod
    def ones(cls, clips: int, device: torch.device | str) -> "Lengths":
        """Lengths of `clips` clips of one token each, such as pooling queries."""
        return cls([1] * clips, torch.arange(clips + 1, dtype=torch.int32, device=device))

    def plus(self, tokens: int) -> "Lengths":
        """Lengths with `tokens` more tokens for each clip."""
        extra = torch.arange(len(self.bounds), dtype=torch.int32, device=self.bounds.device) * tokens
        return Lengths([n + tokens for n in self.counts], self.bounds + extra)

    def owners(self) -> Tensor:
        """Index of the clip of each token, `[N]` int64."""
        clips = torch.arange(len(self), device=self.bounds.device)
        return clips.repeat_interleave(self.bounds.diff(), output_size=sum(self.counts))

    @property
    def equal(self) -> bool:
        """Whether all clips have the same number of tokens."""
        return len(set(self.counts)) == 1

    def __len__(self) -> int:
        return len(self.counts)


@dataclass
class PackedBatch:
    """A batch of clips as one flat token sequence.

    Attributes
    ----------
    patches : Tensor
        `[N, P*P]`, normalised log-mel.
    freq, time : Tensor
        `[N]` int64, position of each token on the grid of its clip.
    seqlens : list of int
        Number of tokens per clip; they sum to N.
    targets : Tensor
        `[B, C]`, 1 for each class of the clip.
    index : list of int
        Index of each clip in its dataset.
    clip_time_patches : list of int
        Number of time patches of each clip's grid. Stored as integers, so that a model can check them without waiting
        for the GPU.
    bounds : Tensor
        `[B + 1]` int32, where the tokens of each clip begin and end, see :class:`Lengths`.
    patch_size : PatchSize or None
        Size of the patches of all clips before they were resized to P x P. None if they were not.
    teacher : PackedBatch, optional
        The same clips as a teacher is given them.
    frame_targets, pseudo_targets : Tensor or None
        The `frame_target` and the `pseudo_target` of each clip, concatenated.
    labelled, timed : Tensor or None
        `[B]` bool, whether the classes of each clip may be used, and whether their times may. None if those of all
        clips may.
    partners : PackedBatch, optional
        The `partner` of each clip that has one.
    partnered : list of int
        The places in the batch of the clips that have a partner.
    shares : Tensor or None
        `[B]`, the `share` of each clip. None if no clip has a partner.
    """

    patches: Tensor
    freq: Tensor
    time: Tensor
    seqlens: list[int]
    targets: Tensor
    index: list[int]
    clip_time_patches: list[int]
    bounds: Tensor = field(default=None)
    patch_size: PatchSize | None = None
    teacher: "PackedBatch | None" = None
    frame_targets: Tensor | None = None
    pseudo_targets: Tensor | None = None
    labelled: Tensor | None = None
    timed: Tensor | None = None
    partners: "PackedBatch | None" = None
    partnered: list[int] = field(default_factory=list)
    shares: Tensor | None = None

    def __post_init__(self):
        if self.bounds is None:
            self.bounds = Lengths.of(self.seqlens, self.patches.device).bounds

    @property
    def lengths(self) -> Lengths:
        """Number of tokens of each clip."""
        return Lengths(self.seqlens, self.bounds)

    @property
    def time_patches(self) -> int:
        """Time patches of the longest clip."""
        return max(self.clip_time_patches)

    def grid_lengths(self) -> Tensor:
        """Number of time patches of each token's clip, `[N]` int64."""
        lengths = torch.tensor(self.clip_time_patches).to(self.patches.device, non_blocking=True)
        return lengths.index_select(0, self.lengths.owners())

    def to(self, device: torch.device | str) -> "PackedBatch":
        """Copy the batch to a device; copies from pinned memory are asynchronous."""
        return self._each_tensor(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> "PackedBatch":
        """Copy the batch to page-locked memory. A `DataLoader` with `pin_memory` calls this method."""
        return self._each_tensor(Tensor.pin_memory)

    def _each_tensor(self, change: Callable[[Tensor], Tensor]) -> "PackedBatch":
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {k: change(v) if isinstance(v, Tensor) else v for k, v in values.items()}
        nested = {k: v._each_tensor(change) for k, v in values.items() if isinstance(v, PackedBatch)}
        return PackedBatch(**changed | nested)

    def only(self, clips: Sequence[int]) -> "PackedBatch":
        """The batch with some of its clips, given by their places in it, in this order."""
        tokens = {}
        for name in ("patches", "freq", "time"):
            parts = getattr(self, name).split(self.seqlens)
            tokens[name] = torch.cat([parts[i] for i in clips])
        chosen = {name: [getattr(self, name)[i] for i in clips] for name in ("seqlens", "index", "clip_time_patches")}
        if self.frame_targets is not None:
            parts = self.frame_targets.split(self.clip_time_patches)
            chosen["frame_targets"] = torch.cat([parts[i] for i in clips])
        return PackedBatch(**tokens, **chosen, targets=self.targets[list(clips)], patch_size=self.patch_size)

    def __len__(self) -> int:
        return len(self.seqlens)


def grid_positions(freq_patches: int, time_patches: int) -> tuple[Tensor, Tensor]:
    """Frequency and time index of each patch, in the order of :func:`~elasticast.data.features.patchify`."""
    freq = torch.arange(freq_patches).repeat_interleave(time_patches)
    return freq, torch.arange(time_patches).repeat(freq_patches)


def pack_clip(
    index: int,
    spectrogram: Tensor,
    target: Tensor,
    model: ModelSettings,
    grid_frames: int | None = None,
    patch_size: PatchSize | None = None,
) -> PackedClip:
    """Cut a normalised spectrogram `[F, T]` into tokens.

    Parameters
    ----------
    index : int
        Index of the clip in its dataset.
    spectrogram : Tensor
        `[F, T]`.
    target : Tensor
        `[C]`, 1 for each class of the clip.
    model : ModelSettings
        Patch size and stride.
    grid_frames : int, optional
        Number of frames of the clip's grid, T by default. A larger grid continues after the last token.
    patch_size : PatchSize, optional
        Size of the patches, `model.patch` by default. Other patches are resized to that size.
    """
    if patch_size is not None and not patch_size.is_stored:
        grid = patch_size.grid(*spectrogram.shape)
        time_patches = patch_size.count(grid_frames or spectrogram.shape[1], patch_size.time)
        patches = resized_patches(spectrogram, patch_size)
        return PackedClip(index, patches, *grid_positions(*grid), target, time_patches, patch_size)
    freq, time = grid_positions(*map(model.patches, spectrogram.shape))
    patches = patchify(spectrogram, model.patch, model.stride)
    return PackedClip(index, patches, freq, time, target, model.patches(grid_frames or spectrogram.shape[1]))


def patch_labels(labels: Tensor, model: ModelSettings, grid_frames: int | None = None) -> Tensor:
    """Labels of time patches: the mean over the `stride` frames in the middle of each patch, which no other one has.

    Parameters
    ----------
    labels : Tensor
        `[C, T]`, labels of frames.
    model : ModelSettings
        Patch size and stride.
    grid_frames : int, optional
        Number of frames of the clip's grid, T by default. Time patches after the last frame have labels of 0.

    Returns
    -------
    Tensor
        `[time patches of the grid, C]`.
    """
    first, count = (model.patch - model.stride) // 2, model.patches(labels.shape[1])
    middle = labels[:, first : first + count * model.stride]
    means = middle.unflatten(1, (count, model.stride)).mean(2).T
    return torch.nn.functional.pad(means, (0, 0, 0, model.patches(grid_frames or labels.shape[1]) - count))


def kept_count(tokens: int, dropout: float, rounding: Literal["nearest", "down"] = "nearest") -> int:
    """Number of tokens that are kept: ``(1 - dropout) * tokens``, rounded, but at least one."""
    kept = (1 - dropout) * tokens
    return max(1, round(kept) if rounding == "nearest" else int(kept))


def kept_tokens(
    tokens: int, dropout: float, generator: Generator, rounding: Literal["nearest", "down"] = "nearest"
) -> Tensor:
    """Draw at random which tokens to keep (see :func:`kept_count`). Returns their sorted indices."""
    return torch.randperm(tokens, generator=generator)[: kept_count(tokens, dropout, rounding)].sort().values


def equally_long(lengths: Sequence[Hashable]) -> list[list[int]]:
    """Places of the clips of each length, in the order of the first clip that has it."""
    groups: dict[Hashable, list[int]] = {}
    for place, length in enumerate(lengths):
        groups.setdefault(length, []).append(place)
    return list(groups.values())


def pack(clips: list[PackedClip]) -> PackedBatch:
    """Concatenate clips to a batch, in the given order.

    Raises
    ------
    ValueError
        If the patches of the clips had different sizes.
    """
    if len(sizes := {clip.patch_size for clip in clips}) > 1:
        raise ValueError(f"the clips of a batch have patches of one size, got {len(sizes)} sizes")
    teacher = [c.teacher for c in clips if c.teacher is not None]
    partnered = [place for place, c in enumerate(clips) if c.partner is not None]
    return PackedBatch(
        patches=torch.cat([c.patches for c in clips]),
        freq=torch.cat([c.freq for c in clips]),
        time=torch.cat([c.time for c in clips]),
        seqlens=[len(c.patches) for c in clips],
        targets=torch.stack([c.target for c in clips]),
        index=[c.index for c in clips],
        clip_time_patches=[c.time_patches for c in clips],
        patch_size=clips[0].patch_size,
        teacher=pack(teacher) if teacher else None,
        frame_targets=_joined([c.frame_target for c in clips]),
        pseudo_targets=_joined([c.pseudo_target for c in clips]),
        labelled=_know(clips, Known.CLASSES),
        timed=_know(clips, Known.ALL),
        partners=pack([clips[place].partner for place in partnered]) if partnered else None,
        partnered=partnered,
        shares=torch.tensor([c.share for c in clips]) if partnered else None,
    )


def _know(clips: list[PackedClip], least: Known) -> Tensor | None:
    """Whether at least so much is known of each clip, `[B]` bool; None if it is of all."""
    known = torch.tensor([clip.known >= least for clip in clips])
    return None if known.all() else known


def _joined(targets: list[Tensor | None]) -> Tensor | None:
    return None if targets[0] is None else torch.cat(targets)
