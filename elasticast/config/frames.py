"""The arithmetic of lengths: samples to frames of the log-mel, frames to patches.

All code that counts frames uses these functions: checks of settings, views, windows and figures. Functions of `samples`
or `length` also take NumPy arrays of whole numbers.
"""

import math

from elasticast.config.view import FrontEnd, Tail


def hop_samples(front_end: FrontEnd, compression: float = 1.0) -> int:
    """Hop in samples at a compression; the hop is a whole number of ms, as in the paper.

    It is rounded, because ``int`` would lose 1 ms to float noise: 10 x 2.3 is 22.999999999999996.
    """
    hop_ms = round(front_end.hop_ms * compression)
    return round(hop_ms * front_end.sample_rate / 1000)


def window_samples(front_end: FrontEnd) -> int:
    """Analysis window in samples."""
    return round(front_end.window_ms * front_end.sample_rate / 1000)


def margins(front_end: FrontEnd) -> tuple[int, int]:
    """Zeros added before the first and after the last sample of a clip."""
    window = window_samples(front_end)
    return (0, 0) if front_end.kind == "kaldi" else (window - window // 2, window // 2)


def frame_count(samples: int, front_end: FrontEnd, compression: float = 1.0) -> int:
    """Frames T that :func:`~elasticast.data.features.log_mel` computes from S samples.

    ``1 + (S - W) // H`` for `kaldi`, where a clip shorter than a window gives one frame; ``1 + S // H`` for `stft`.
    """
    surplus = samples + sum(margins(front_end)) - window_samples(front_end)
    return 1 + (surplus > 0) * (surplus // hop_samples(front_end, compression))


def spectrogram_frames(samples: int, front_end: FrontEnd, compression: float, resolution: str) -> int:
    """Frames T that :meth:`~elasticast.data.encoder.ClipEncoder.spectrogram` computes from S samples."""
    if resolution == "hop":
        return frame_count(samples, front_end, compression)
    return -(-frame_count(samples, front_end) // int(compression))


def frame_seconds(front_end: FrontEnd, compression: float, resolution: str) -> float:
    """Time from one frame to the next, in s. Frame t stands for the time from t to t + 1 times this."""
    if resolution == "hop":
        return hop_samples(front_end, compression) / front_end.sample_rate
    return hop_samples(front_end) * int(compression) / front_end.sample_rate


def patch_count(length: int, patch: int, stride: int) -> int:
    """Number of patches along an axis of `length` mel bins or frames."""
    return (length - patch) // stride + 1


def patch_frames(patches: int, patch: int, stride: int) -> int:
    """Number of frames that this many patches cover."""
    return patch + (patches - 1) * stride


def native_frames(samples: int, front_end: FrontEnd, patch: int, stride: int | None = None, tail: Tail = "fill") -> int:
    """Frames of a clip at compression 1, in whole patches, at least one.

    Parameters
    ----------
    tail : {"fill", "drop", "extend"}
        Whether frames after the last whole patch are padded to one more patch, or left out. With "extend", one more
        patch is added even if no frame is left over.
    """
    stride = stride or patch
    surplus = frame_count(samples, front_end) - patch
    steps = {"fill": -(-surplus // stride), "drop": surplus // stride, "extend": surplus // stride + 1}[tail]
    return patch + (surplus >= 0) * steps * stride


def compressed_frames(frames: float, compression: float, patch: int, stride: int | None = None) -> int:
    """``floor(frames / compression / patch) * patch``, at least one patch.

    With a `stride` below `patch`, this is the number of frames that whole, overlapping patches cover.
    The small constant compensates float noise: 768 / 1.2 / 16 is 40.00000000000001 or 39.99999999999999.
    """
    stride = stride or patch
    return patch + max(0, math.floor((frames / compression - patch) / stride + 1e-6)) * stride
