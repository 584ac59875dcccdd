"""Embeddings over time of a trained model: one per time patch, of clips of any length."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.frames import frame_seconds
from elasticast.data.packing import PackedClip, equally_long, pack
from elasticast.data.stream import open_source, spans
from elasticast.data.views import ViewRule
from elasticast.data.windows import OVERLAP, Windows, cut_windows
from elasticast.encoders.contract import Frames
from elasticast.errors import DataError
from elasticast.inference.classifier import AudioClassifier


def frame_embeddings(classifier: AudioClassifier, waveforms: list[Tensor], budget: int) -> list[Frames]:
    """Embed clips over time.

    A clip longer than the model's view is cut into windows that overlap by half, as in prediction. An embedding of the
    clip is the mean over the windows that contain it. Where windows begin within a patch, the nearest patch counts.

    Parameters
    ----------
    classifier : AudioClassifier
        A classifier of which the model has a method `frame_embeddings`.
    waveforms : list of Tensor
        Clips `[S]` at the sample rate of the model.
    budget : int
        Maximum number of tokens per forward pass.
    """
    config, rate = classifier.config, classifier.config.front_end.sample_rate
    rule = ViewRule(config, compression=classifier.compression)
    cut = [cut_windows(len(wave), rule, classifier.compression, OVERLAP) for wave in waveforms]
    found: list[list[Tensor]] = [[] for _ in waveforms]
    for batch in _batches(_windows(classifier, waveforms, cut), budget):
        for number, embeddings in _embedded(classifier, batch):
            found[number].append(embeddings)
    return [
        _joined(rows, windows, len(wave) / rate, config)
        for rows, windows, wave in zip(found, cut, waveforms, strict=True)
    ]


def _windows(classifier: AudioClassifier, waveforms: list[Tensor], cut: list[Windows]) -> Iterator[PackedClip]:
    """Tokens of each window of each clip; `index` is the number of the clip."""
    rate = classifier.config.front_end.sample_rate
    for number, (wave, windows) in enumerate(zip(waveforms, cut, strict=True)):
        blocks = windows.stream(open_source(wave, rate).blocks(rate))
        for part in spans(blocks, windows.starts.tolist(), windows.span):
            whole = not any(windows.margins)
            log_mel = classifier.encoder.spectrogram(part, windows.view.compression, whole=whole)
            yield classifier.encoder.encode(log_mel, windows.view, index=number)


def _batches(clips: Iterator[PackedClip], budget: int) -> Iterator[list[PackedClip]]:
    """Successive windows of at most `budget` tokens, or one window."""
    batch: list[PackedClip] = []
    for clip in clips:
        if batch and sum(len(c.patches) for c in [*batch, clip]) > budget:
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def _embedded(classifier: AudioClassifier, batch: list[PackedClip]) -> list[tuple[int, Tensor]]:
    """Number of the clip and embeddings `[time patches, D]` of each window, in order."""
    one_length = classifier.config.model.traits.one_length
    groups = equally_long([clip.time_patches for clip in batch]) if one_length else [list(range(len(batch)))]
    rows: dict[int, Tensor] = {}
    device = next(classifier.model.parameters()).device
    for group in groups:
        found = classifier.model.frame_embeddings(pack([batch[i] for i in group]).to(device))
        rows |= dict(zip(group, (clip.float().cpu() for clip in found), strict=True))
    for i, clip in enumerate(batch):
        if len(rows[i]) != clip.time_patches:
            raise DataError(
                f"{classifier.pretrained.description}: frame_embeddings gives {len(rows[i])} embeddings of "
                f"{clip.time_patches} time patches, so their times are not known"
            )
    return [(clip.index, rows[i]) for i, clip in enumerate(batch)]


def _joined(rows: list[Tensor], windows: Windows, seconds: float, config: RunConfig) -> Frames:
    """Join the embeddings of windows; leave out those whose middle is after the end of the clip."""
    stride, lead = config.model.stride, (config.model.patch - config.model.stride) // 2
    hop = frame_seconds(config.front_end, windows.view.compression, config.view.resolution)
    first = np.round(windows.starts / config.front_end.sample_rate / hop / stride).astype(int)
    count = max(start + len(part) for start, part in zip(first, rows, strict=True))
    sums, windows_of = torch.zeros(count, rows[0].shape[1]), torch.zeros(count, 1)
    for start, part in zip(first, rows, strict=True):
        sums[start : start + len(part)] += part
        windows_of[start : start + len(part)] += 1
    middles = (lead + (torch.arange(count, dtype=torch.float64) + 0.5) * stride) * hop
    inside = max(1, int((middles <= seconds).sum()))
    return Frames(sums[:inside] / windows_of[:inside], middles[:inside].clamp(max=seconds))
