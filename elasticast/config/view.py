"""Settings of a model's input: front end, view of a clip, normalisation."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from elasticast.config.base import PositiveFloat, PositiveInt, Settings


class FrontEnd(Settings):
    """Waveform to log-mel spectrogram."""

    kind: Literal["kaldi", "stft"] = Field(
        "kaldi", description="kaldi: energies, as in AST; stft: magnitudes around each hop, as in EPIC-SOUNDS"
    )
    sample_rate: PositiveInt = Field(16000, description="Hz; that of the waveform store")
    mel_bins: PositiveInt = Field(128, description="mel bands, a multiple of the patch size")
    window_ms: PositiveFloat = Field(25.0, description="analysis window, the same at every hop")
    hop_ms: PositiveInt = Field(10, description="hop at compression 1, whole ms as all hops")
    n_fft: PositiveInt | None = Field(
        None, description="stft: points of the Fourier transform, an even number; kaldi: the next power of 2"
    )

    @model_validator(mode="after")
    def _transform(self):
        if (self.kind == "stft") != (self.n_fft is not None):
            raise ValueError("`n_fft` goes with kind `stft`, which needs it (an inherited one is taken back with null)")
        window = self.window_ms * self.sample_rate / 1000
        if self.n_fft is not None and (self.n_fft % 2 or self.n_fft < window):
            raise ValueError(f"n_fft = {self.n_fft}: expected an even number, at least the window's {window:g} samples")
        return self

    def misfits(self, compressions: list[float]) -> list[float]:
        """The compressions at which the hop would not be a whole number of ms."""
        hops = {c: self.hop_ms * c for c in compressions}
        return [c for c, hop in hops.items() if abs(hop - round(hop)) > 1e-6]


class View(Settings):
    """Which part of a clip the model is trained on, at which time resolution."""

    frames: PositiveInt | Literal["native"] = Field(
        "native", description="frames of every clip (cropped or padded), or each clip's own length"
    )
    max_frames: PositiveInt = Field(1024, description="native: longer clips are cut to this many frames")
    min_frames: PositiveInt | None = Field(
        None, description="native: shorter clips are filled up to this many frames; none: to one patch"
    )
    tail: Literal["fill", "drop"] = Field(
        "fill", description="native: frames after the last whole patch are filled up to one, or left out"
    )
    cut_from: PositiveInt | None = Field(
        None,
        description="native: training cuts each clip to a length drawn from this many frames to its own; none: no cut",
    )
    fill: Literal["zeros", "edge", "repeat", "mask"] = Field(
        "zeros",
        description="what fills a short clip up: zeros as in AST, its last frame as in EPIC-SOUNDS, the clip itself "
        "over and over; mask: nothing, the tokens that would hold padding alone are left out of a fixed view",
    )
    compression: list[Annotated[float, Field(ge=1)]] = Field(
        [1.0], min_length=1, description="hop = hop_ms x compression; several: one is drawn for each training clip"
    )
    resolution: Literal["hop", "max_pool"] = Field(
        "hop",
        description="how compression is made: by a longer hop, or by the maximum of so many frames, a whole number",
    )
    crop: Literal["random", "start"] = Field(
        "random", description="where training cuts; evaluation cuts from the start"
    )

    @property
    def longest(self) -> int:
        """Most frames of a clip, counted at the finest compression of the two kinds of view: see `ViewRule`."""
        return self.max_frames if self.frames == "native" else self.frames

    def span(self, frames: int | None = None) -> float:
        """Frames at compression 1 that the longest clip may have.

        Parameters
        ----------
        frames : int, optional
            Another length than the view's: `frames` of a fixed view, which counts them at its first compression, or
            `max_frames` of a native one.
        """
        if self.frames == "native":
            return frames or self.max_frames
        return (frames or self.frames) * self.compression[0]

    @field_validator("frames", mode="before")
    @classmethod
    def _number_or_native(cls, value: Any) -> Any:
        if value != "native" and (type(value) is not int or value <= 0):
            raise ValueError("expected a whole number above 0, or native")
        return value


class NormSettings(Settings):
    """Statistics that the log-mel is normalised with, in place of those of the training split."""

    mean: float
    std: PositiveFloat
