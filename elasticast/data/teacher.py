"""What a teacher is given of the clips that its student is trained on."""

from torch import Tensor

from elasticast.config import RunConfig
from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder, LogMels
from elasticast.data.norm import Norm
from elasticast.data.packing import PackedClip
from elasticast.data.views import ViewRule


class TeacherView:
    """Encode clips for a teacher, with its own front end, resolution and length.

    A clip that is too long for the teacher is cropped at the same relative place as for the student. There is no
    augmentation besides mixup, which mixes waveforms.

    Parameters
    ----------
    clips : Clips
        The clips.
    config : RunConfig
        Settings of the teacher.
    norm : Norm
        Its normalisation.
    keep : bool
        Whether to keep log-mels for later epochs.
    """

    def __init__(self, clips: Clips, config: RunConfig, norm: Norm, *, keep: bool):
        self.clips, self.encoder = clips, ClipEncoder(config, norm)
        self.rule = ViewRule(config, compression=config.default_compression)
        self.log_mels = LogMels(clips.store.__getitem__, self.encoder, keep=keep)

    def __call__(self, index: int, mixed: Tensor | None, start: float) -> PackedClip:
        """Encode a clip.

        Parameters
        ----------
        index : int
            Index of the clip.
        mixed : Tensor or None
            Waveform `[S]` of the clip mixed with another one, if it was mixed.
        start : float
            Where to crop a clip that is too long: 0 at its beginning, 1 at its end.
        """
        view = self.rule(int(self.clips.samples[index]))
        spectrogram = self.log_mels(index, view.compression, mixed)
        return self.encoder.encode(spectrogram, view, index=index, start=start)
