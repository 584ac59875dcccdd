"""Settings of a model's input: front end, view of a clip, normalisation."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from elasticast.config.base import PositiveFloat, PositiveInt, Settings
from elasticast.errors import Problem, SettingsError

Tail = Literal["fill", "drop", "extend"]


class FrontEnd(Settings):
    """How a waveform becomes a log-mel spectrogram."""

    kind: Literal["kaldi", "stft"] = Field(
        "kaldi",
        description="Kind of log-mel. `kaldi`: energies, as in AST. `stft`: magnitudes around each hop, HTK mel, "
        "log(x + 1e-6), as in EPIC-SOUNDS.",
    )
    sample_rate: PositiveInt = Field(
        16000, description="Sample rate of the waveform. Must equal `store_rate` of the dataset. [Hz]"
    )
    mel_bins: PositiveInt = Field(128, description="Number of mel bands, a multiple of `model.patch`.")
    window_ms: PositiveFloat = Field(25.0, description="Length of the analysis window, the same at every hop. [ms]")
    hop_ms: PositiveInt = Field(10, description="Hop at compression 1. [ms]")
    n_fft: PositiveInt | None = Field(
        None,
        description="Size of the Fourier transform, an even number. Required with `stft`; `kaldi` uses the next "
        "power of 2. [samples]",
    )

    @model_validator(mode="after")
    def _transform(self):
        if (self.kind == "stft") != (self.n_fft is not None):
            raise ValueError("`n_fft` is for kind `stft`, which requires it (null removes an inherited one)")
        window = self.window_ms * self.sample_rate / 1000
        if self.n_fft is not None and (self.n_fft % 2 or self.n_fft < window):
            message = f"expected an even number, at least the {window:g} samples of the window"
            raise SettingsError([Problem("", ("n_fft",), message, self.n_fft)])
        return self

    def fractional_hops(self, compressions: list[float]) -> list[float]:
        """The compressions for which the hop is not a whole number of ms."""
        hops = {c: self.hop_ms * c for c in compressions}
        return [c for c, hop in hops.items() if abs(hop - round(hop)) > 1e-6]


class View(Settings):
    """Part and time resolution of a clip that the model is trained on."""

    frames: PositiveInt | Literal["native"] = Field(
        "native",
        description="`native` keeps each clip's length. A number crops or pads every clip to that many frames. "
        "[frames]",
    )
    max_frames: PositiveInt = Field(1024, description="Native view: longer clips are cut to this length. [frames]")
    min_frames: PositiveInt | None = Field(
        None, description="Native view: shorter clips are padded to this length; `null` pads to one patch. [frames]"
    )
    tail: Tail = Field(
        "fill",
        description="Native view: pad the frames after the last whole patch to a patch (`fill`), or leave them "
        "out (`drop`). `extend` pads to the next patch even if no frame is left over, as in the released "
        "EPIC-SOUNDS loader.",
    )
    cut_from: PositiveInt | None = Field(
        None,
        description="Native view: training cuts each clip to a random length between this one and its full "
        "length; `null` does not cut. [frames]",
    )
    fill: Literal["zeros", "edge", "repeat", "mask"] = Field(
        "zeros",
        description="How short clips are padded: `zeros` as in AST, `edge` (the last frame) as in EPIC-SOUNDS, "
        "`repeat` (the clip again and again). `mask` leaves padded tokens out of a fixed view.",
    )
    compression: list[Annotated[float, Field(ge=1)]] = Field(
        [1.0],
        min_length=1,
        description="The hop is `front_end.hop_ms` times this factor. With several factors, training draws one "
        "per clip.",
    )
    resolution: Literal["hop", "max_pool"] = Field(
        "hop",
        description="How compression is made: a longer `hop`, or `max_pool`, the maximum over that many frames "
        "(whole factors only).",
    )
    crop: Literal["random", "start"] = Field(
        "random", description="Where training cuts a clip. Evaluation always cuts from the start."
    )
    segment: PositiveInt | None = Field(
        None,
        description="Fixed view with `crop: random`: a crop is the beginning of a random segment of this length, so "
        "that it starts at least this far from the end of a longer clip; `null` means `frames`. [frames]",
    )

    @property
    def longest(self) -> int:
        """Largest number of frames of a clip, at the first compression for a fixed view and at 1 for a native one."""
        return self.max_frames if self.frames == "native" else self.frames

    def span(self, frames: int | None = None) -> float:
        """Length of the longest clip, in frames at compression 1.

        Parameters
        ----------
        frames : int, optional
            Replaces the length of the view. It counts at compression 1, so that it is the same number of seconds for
            all runs with the same hop. (`frames` of a fixed view counts at the first compression instead.)
        """
        if frames:
            return frames
        return self.max_frames if self.frames == "native" else self.frames * self.compression[0]

    @field_validator("frames", mode="before")
    @classmethod
    def _number_or_native(cls, value: Any) -> Any:
        if value != "native" and (type(value) is not int or value <= 0):
            raise ValueError("expected a whole number above 0, or `native`")
        return value


class NormSettings(Settings):
    """Statistics that normalise the log-mel, in place of those of the training split."""

    mean: float = Field(description="Mean that is subtracted from the log-mel.")
    std: PositiveFloat = Field(description="Standard deviation. The log-mel is divided by twice this value, as in AST.")
