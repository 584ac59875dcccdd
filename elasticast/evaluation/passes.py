"""Forward passes of a sweep: which a clip has at one x, and the logits of each."""

import itertools
import math
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elasticast.config import Evaluation, PatchSize, RunConfig, TokenMerging
from elasticast.config.evaluation import REDUCING, swept_patches
from elasticast.data.bandwidth import band_limited
from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder
from elasticast.data.packing import PackedBatch, PackedClip, kept_tokens, pack
from elasticast.data.sampler import token_batches
from elasticast.data.views import ClipView, ViewRule, view_tokens
from elasticast.data.windows import window_views
from elasticast.models.frame_head import split_clips
from elasticast.models.token_merging import with_merging

TOKEN_BUDGET = 16384
"""Maximum number of tokens per forward pass."""


class ClipPass(NamedTuple):
    """One clip in one forward pass.

    Attributes
    ----------
    view : ClipView
        View of the clip.
    clip : int
        Index of the clip in its split.
    dropped : float
        Share of its tokens that are dropped.
    rate : float
        Sample rate (Hz) that the clip is reduced to. Infinite for the whole clip.
    merged : tuple of (str, float) or None
        Method of `model.merge`, and share of its tokens that are merged or pruned. None for what `model.merge` says.
    patch_size : PatchSize or None
        Size of the patches. None for `model.patch`.
    """

    view: ClipView
    clip: int
    dropped: float = 0.0
    rate: float = math.inf
    merged: tuple[str, float] | None = None
    patch_size: PatchSize | None = None


def clip_passes(
    rule: ViewRule, x: float, evaluation: Evaluation, config: RunConfig, clip: int, samples: int
) -> list[tuple[ClipPass, float]]:
    """Passes of a clip at one x and their weights: one pass per window if the sweep uses windows, else a single one."""
    if evaluation.windows and x > config.view.span():
        compression = config.default_compression
        views = window_views(samples, ViewRule(config), compression, int(x / compression))
        return [(ClipPass(view, clip), weight) for view, weight in views]
    places = {"token_drop": "dropped", "sample_rate": "rate"}
    place: dict = {places[evaluation.x_name]: x} if evaluation.x_name in places else {}
    if evaluation.x_name in REDUCING:
        place["merged"] = REDUCING[evaluation.x_name], x
    if sizes := swept_patches(config, evaluation):
        place["patch_size"] = sizes[x]
    return [(ClipPass(rule(samples), clip, **place), 1.0)]


@torch.inference_mode()
def run_passes(
    model: nn.Module, clips: Clips, encoder: ClipEncoder, passes: set[ClipPass], *, frames: bool
) -> dict[ClipPass, tuple[Tensor, ...]]:
    """Logits `[C]` of each pass, float32 on the CPU; with `frames`, see :func:`split_clips`."""
    pass_logits: dict[ClipPass, tuple[Tensor, ...]] = {}
    for members, merging, packed in packed_passes(model, clips, encoder, passes):
        if frames:
            rows = split_clips(merging(packed, frames=True), packed.clip_time_patches)
        else:
            rows = [(row,) for row in merging(packed).float().cpu()]
        pass_logits |= dict(zip(members, rows, strict=True))
    return pass_logits


def packed_passes(
    model: nn.Module, clips: Clips, encoder: ClipEncoder, passes: set[ClipPass]
) -> Iterator[tuple[list[ClipPass], nn.Module, PackedBatch]]:
    """Passes that are computed together, the model as it merges in them, and their clips on its device."""
    device = next(model.parameters()).device
    for batch in _batches(clips, encoder, passes):
        merged = batch[0][0].merged
        merging = model if merged is None else merging_model(model, *merged)
        yield [clip_pass for clip_pass, _ in batch], merging, pack([clip for _, clip in batch]).to(device)


def merging_model(model: nn.Module, method: str, share: float) -> nn.Module:
    """The model with this method and share of `model.merge`, and its schedule; a constant one if it has none."""
    schedule = {} if model.settings.merge is None else {"schedule": model.settings.merge.schedule}
    return with_merging(model, TokenMerging(share=share, method=method, **schedule) if share else None)


def _batches(clips: Clips, encoder: ClipEncoder, passes: set[ClipPass]) -> Iterator[list[tuple[ClipPass, PackedClip]]]:
    """Yield batches of packed clips. All clips of a batch merge alike and have patches of one size.

    For a model of one length, they have it too. Each log-mel is computed once per clip, compression and sample rate.
    """
    one_length = encoder.config.model.traits.one_length

    def together(clip_pass: ClipPass) -> tuple:
        return clip_pass.view.grid_frames if one_length else 0, clip_pass.merged, clip_pass.patch_size

    def order(clip_pass: ClipPass) -> tuple:
        view = clip_pass.view
        sound = view.compression, clip_pass.rate
        return sound, together(clip_pass), clip_pass.clip, view.frames, view.first, clip_pass.dropped

    for (compression, rate), group in itertools.groupby(sorted(passes, key=order), key=lambda p: order(p)[0]):
        spectrograms: dict[int, Tensor] = {}
        for _, alike in itertools.groupby(group, key=together):
            members = list(alike)
            tokens = [view_tokens(encoder.config, member.view, member.patch_size) for member in members]
            for indices in token_batches(list(range(len(members))), tokens, TOKEN_BUDGET):
                batch = []
                for member in (members[k] for k in indices):
                    if member.clip not in spectrograms:
                        wave = band_limited(clips.waveform(member.clip), clips.store.sample_rate, rate)
                        spectrograms[member.clip] = encoder.spectrogram(wave, compression)
                    batch.append((member, _encode(clips, encoder, member, spectrograms[member.clip])))
                yield batch


def _encode(clips: Clips, encoder: ClipEncoder, clip_pass: ClipPass, spectrogram: Tensor) -> PackedClip:
    """Encode a clip and drop a share of its tokens.

    The id of the clip seeds the random choice. Tokens dropped at a smaller share are also dropped at a larger one.
    """
    index = clip_pass.clip
    size, target = clip_pass.patch_size, clips.targets[index]
    clip = encoder.encode(spectrogram, clip_pass.view, index=index, target=target, patch_size=size)
    if not clip_pass.dropped:
        return clip
    generator = torch.Generator().manual_seed(zlib.crc32(clips.ids[index].encode()))
    return clip.select(kept_tokens(len(clip.patches), clip_pass.dropped, generator))
