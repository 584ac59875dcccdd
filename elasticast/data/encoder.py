"""From a waveform to the tokens of a clip: log-mel, the part that a view gives the model, normalisation, patches.

Training, sweeps and inference all encode clips here, so that a model is used on what it was trained on.

Shape legend: S samples, F mel bins, T frames, n tokens, P patch edge, C classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.data.features import Norm, log_mel
from elasticast.data.packing import PackedClip, pack_clip
from elasticast.data.views import ClipView, Fill

NO_TARGET = torch.empty(0)


class ClipEncoder:
    """Makes tokens of waveforms as a run's settings want them.

    Parameters
    ----------
    config : RunConfig
        The run: `front_end`, `view.resolution` and `model` decide.
    norm : Norm
        Normalisation statistics.
    """

    def __init__(self, config: RunConfig, norm: Norm):
        self.config, self.norm = config, norm

    def spectrogram(self, waveform: Tensor, compression: float = 1.0, *, whole: bool = True) -> Tensor:
        """Log-mel `[F, T]` of a waveform.

        With `view.resolution: hop` a compression makes the hop longer. With `max_pool` it takes the maximum of every
        `compression` frames, a whole number; frames left over at the end are pooled too.

        Parameters
        ----------
        waveform : Tensor
            `[S]`, float32 in [-1, 1], at `front_end.sample_rate`.
        compression : float
            The paper's time compression.
        whole : bool
            See :func:`~elasticast.data.features.log_mel`.
        """
        front_end = self.config.front_end
        if self.config.view.resolution == "hop":
            return log_mel(waveform, front_end, compression, whole=whole)
        frames = log_mel(waveform, front_end, whole=whole)
        return torch.nn.functional.max_pool1d(frames, int(compression), ceil_mode=True)

    def encode(
        self,
        spectrogram: Tensor,
        view: ClipView,
        *,
        index: int = 0,
        target: Tensor = NO_TARGET,
        start: float = 0.0,
        augment: Callable[[Tensor], Tensor] | None = None,
    ) -> PackedClip:
        """Tokens of a clip.

        Parameters
        ----------
        spectrogram : Tensor
            `[F, T]`, the log-mel of the clip at the compression of the view, see :meth:`spectrogram`.
        view : ClipView
            The part of the clip to take.
        index : int
            Place of the clip in its dataset.
        target : Tensor
            `[C]`, 1 for the classes of the clip.
        start : float
            Where to cut a clip longer than the view, see :func:`crop_or_pad`.
        augment : callable, optional
            Changes the normalised log-mel `[F, view.frames]`.
        """
        shown = self.norm(crop_or_pad(spectrogram[:, view.first :], view.frames, start, view.fill))
        return pack_clip(index, augment(shown) if augment else shown, target, self.config.model, view.grid_frames)


def crop_or_pad(log_mel: Tensor, frames: int, start: float = 0.0, fill: Fill = "zeros") -> Tensor:
    """Cut or pad `[F, T]` to `[F, frames]`.

    Parameters
    ----------
    start : float
        Where to cut, 0 the first possible place, 1 the last.
    fill : {"zeros", "edge", "repeat", "mask"}
        Pad with zeros *before* normalisation, as in AST's data loader, or with the last frame, as in EPIC-SOUNDS', or
        with the clip from its begin on. Where padding is masked, what is left of the last patch is zeros.
    """
    surplus = log_mel.shape[1] - frames
    if surplus < 0 and fill == "repeat":
        return log_mel.repeat(1, -(-frames // log_mel.shape[1]))[:, :frames]
    if surplus <= 0:
        return torch.nn.functional.pad(log_mel, (0, -surplus), "replicate" if fill == "edge" else "constant")
    first = round(start * surplus)
    return log_mel[:, first : first + frames]
