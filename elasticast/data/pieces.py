"""Cut a live stream into windows or chunks while it is read; its length is not known.

A piece is the span of samples that its frames need, so a log-mel never depends on samples that are not there yet, nor
on how the stream was divided into blocks. Frames are those of the whole signal: two successive chunks overlap by the
analysis window minus a hop, and with `stft` the zeros before the signal come before the first chunk only.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from elasticast.config.frames import (
    compressed_frames,
    frame_count,
    hop_samples,
    margins,
    native_frames,
    spectrogram_frames,
    window_samples,
)
from elasticast.data.views import ClipView, ViewRule


class Piece(NamedTuple):
    """A window or chunk of a stream.

    Attributes
    ----------
    number : int
        Number of pieces before it.
    first : int
        Its first sample, counted from the start of the margin before the stream.
    wave : Tensor
        `[S]`, its samples.
    view : ClipView
        Its view.
    whole : bool
        Whether it is the whole stream, to which margins have to be added.
    """

    number: int
    first: int
    wave: Tensor
    view: ClipView
    whole: bool = False


@dataclass(frozen=True)
class Pieces:
    """How a stream is cut.

    Parameters
    ----------
    rule : ViewRule
        Rule for the views of pieces.
    compression : float
        The paper's time compression.
    view : ClipView
        View of every piece, except perhaps the last.
    step : int
        Number of frames from one piece to the next.
    chunks : bool
        What happens at the end of the stream: with chunks, the rest is a shorter piece; the last window ends with the
        stream, as in :func:`~elasticast.data.windows.cut_windows`.
    """

    rule: ViewRule
    compression: float
    view: ClipView
    step: int
    chunks: bool

    @property
    def _pooled(self) -> tuple[int, float]:
        """How many frames are pooled to one, and the compression of these frames."""
        pools = self.rule.view.resolution == "max_pool"
        return (int(self.compression), 1.0) if pools else (1, self.compression)

    @property
    def hop(self) -> int:
        """Samples from one frame of a view to the next."""
        pooled, finest = self._pooled
        return pooled * hop_samples(self.rule.front_end, finest)

    @property
    def span(self) -> int:
        """Samples per piece."""
        pooled, finest = self._pooled
        hop = hop_samples(self.rule.front_end, finest)
        return (self.view.frames * pooled - 1) * hop + window_samples(self.rule.front_end)

    @property
    def delay(self) -> float:
        """Longest time from a sample to the first piece that covers it (s), except for samples of the first piece."""
        late = self.span - margins(self.rule.front_end)[0] - self.view.frames * self.hop
        return (self.step * self.hop + late) / self.rule.front_end.sample_rate

    def seconds(self, frames: int) -> float:
        """Length of a number of frames (s)."""
        return frames * self.hop / self.rule.front_end.sample_rate

    def times(self, piece: Piece, past: int = 0) -> tuple[float, float]:
        """Start and end (s) of the audio of a piece and of `past` pieces before it."""
        rate, zeros = self.rule.front_end.sample_rate, margins(self.rule.front_end)
        samples = len(piece.wave) - (0 if piece.whole else sum(zeros))
        first = piece.first - min(past, piece.number) * self.step * self.hop
        return first / rate, (piece.first + samples) / rate

    def cut(self, blocks: Iterable[Tensor]) -> Iterator[Piece]:
        """Cut a stream of mono blocks `[samples]` of any lengths. Each piece comes as soon as its samples are there."""
        zeros = margins(self.rule.front_end)
        held, begin, end = [], 0, 0  # samples from `begin` to `end` are in memory
        number = start = 0
        for block in itertools.chain([torch.zeros(zeros[0])], blocks, [torch.zeros(zeros[1])]):
            held.append(block)
            end += len(block)
            if end < start + self.span:
                continue
            buffer = torch.cat(held)
            while end >= start + self.span:
                yield Piece(number, start, buffer[start - begin :][: self.span], self.view)
                number, start = number + 1, start + self.step * self.hop
            kept = start - self.step * self.hop  # the last window may begin anywhere after the one before it
            held, begin = [buffer[kept - begin :].clone()], kept
        if samples := end - sum(zeros):
            yield from self._rest(torch.cat(held), begin, samples, number)

    def _rest(self, buffer: Tensor, begin: int, samples: int, number: int) -> Iterator[Piece]:
        """The last piece of a stream of `samples` samples, after `number` pieces.

        `buffer` begins at sample `begin`, and ends with the margin after the stream.
        """
        if self.chunks:
            start, frames = number * self.step * self.hop, self._rest_frames(samples, number)
            if frames:
                fixed = self.rule.fixed and self.rule.view.fill != "mask"
                view = self.view if fixed else replace(self.view, frames=frames)
                yield Piece(number, start, buffer[start - begin :], view)
        elif not number:
            first = margins(self.rule.front_end)[0]
            view = self.rule.at(samples, self.compression)
            yield Piece(0, 0, buffer[first : first + samples], view, whole=True)
        else:
            pooled, finest = self._pooled
            start = (frame_count(samples, self.rule.front_end, finest) // pooled - self.view.frames) * self.hop
            if start > (number - 1) * self.step * self.hop:
                yield Piece(number, start, buffer[start - begin :][: self.span], self.view)

    def _rest_frames(self, samples: int, number: int) -> int:
        """Frames, in whole patches, that are left after `number` chunks; 0 if there are none.

        With `view.tail: extend`, a patch that is padding only is left out.
        """
        front_end, view = self.rule.front_end, self.rule.view
        done = number * self.step
        if spectrogram_frames(samples, front_end, self.compression, view.resolution) <= done:
            return 0
        native = native_frames(samples, front_end, *self.rule.steps, view.tail)
        frames = compressed_frames(native, self.compression, *self.rule.steps) - done
        return 0 if frames < self.rule.steps[0] else min(frames, self.view.frames)
