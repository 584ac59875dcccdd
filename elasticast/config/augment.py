"""Settings of the augmentation of training clips."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from elasticast.config.base import NaturalInt, PositiveFloat, PositiveInt, Settings
from elasticast.errors import Problem, SettingsError

Scale = Literal["frames", "compression"]
ClipShare = Annotated[float, Field(gt=0, le=1)]


class TimeWarp(Settings):
    """Displacement of frames in time, see `elasticast.data.time_warp`."""

    kind: Literal["specaugment", "released"] = Field(
        description="`specaugment`: one frame moves and the others follow linearly (Park et al. 2019). `released`: "
        "the erratic displacement of the released EPIC-SOUNDS loader."
    )
    frames: PositiveInt = Field(description="Largest intended displacement. [frames]")
    scale: Scale = Field("frames", description="As `train.spec_augment.scale`, for `frames`.")


class SpecAugment(Settings):
    """Time warp and masks on the log-mel."""

    freq_bins: NaturalInt = Field(0, description="Largest width of a frequency mask. [mel bins]")
    time_frames: NaturalInt = Field(
        0,
        description="Largest width of a time mask, for a clip of 1,024 frames or for compression 1; see `scale`. "
        "[frames]",
    )
    scale: Scale = Field(
        "frames",
        description="How `time_frames` is scaled: with the length of the clip (`frames`), or divided by the "
        "compression, whatever the length (`compression`).",
    )
    masks: PositiveInt = Field(1, description="Number of frequency masks, and of time masks.")
    widths: Literal["inclusive", "exclusive", "nested"] = Field(
        "inclusive",
        description="Widths are drawn uniformly from 0 to the largest (`inclusive`), or to one less (`exclusive`, as "
        "in AST). `nested`: below a bound that is drawn first in the same way, as in EPIC-SOUNDS; a bound of 0 also "
        "ends the masks of this kind.",
    )
    fill: Literal["mean", "raw_zero", "spectrogram_mean"] = Field(
        "mean",
        description="Value of masked bins: the `mean` that `norm` subtracts, a log-mel of 0 before normalisation "
        "(`raw_zero`, as in AST), or the mean of the clip's spectrogram (`spectrogram_mean`, as in EPIC-SOUNDS).",
    )
    warp: TimeWarp | None = Field(None, description="Time warp before the masks; `null` does not warp.")


class ImpulseResponses(Settings):
    """Convolution with impulse responses of devices or rooms, see `elasticast.data.responses`."""

    folder: str = Field(
        min_length=1,
        description="Folder with impulse responses of devices or rooms: audio files of any sample rate, also in "
        "sub-folders. A relative path is looked up in `weights_root`.",
    )
    share: ClipShare = Field(0.5, description="Share of clips that are convolved with a response that is drawn.")


class Mixstyle(Settings):
    """Another clip's mean and standard deviation of each mel bin, see `elasticast.data.timbre.mixstyle`."""

    share: ClipShare = Field(0.5, description="Share of clips that it is applied to.")
    alpha: PositiveFloat = Field(
        0.3, description="A clip keeps max(λ, 1 - λ) of its own statistics, with λ from Beta(`alpha`, `alpha`)."
    )


class FreqWarp(Settings):
    """Some successive mel bins, stretched over all, see `elasticast.data.timbre.freq_warp`."""

    share: ClipShare = Field(0.5, description="Share of clips that it is applied to.")
    least: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.6, description="Smallest share of the mel bins that is kept and stretched; 1 is the largest."
    )


class FilterAugment(Settings):
    """A random gain of each mel bin, see `elasticast.data.timbre.filter_augment`."""

    share: ClipShare = Field(0.8, description="Share of clips that it is applied to.")
    db: PositiveFloat = Field(6.0, description="Largest gain, and largest attenuation. [dB]")
    bands: list[PositiveInt] = Field(
        [3, 5], min_length=2, max_length=2, description="Fewest and most bands that the mel bins are divided into."
    )
    min_bins: PositiveInt = Field(6, description="Smallest width of a band. [mel bins]")
    kind: Literal["linear", "step"] = Field(
        "linear", description="The gain is linear between the edges of a band (`linear`), or constant in it (`step`)."
    )

    @model_validator(mode="after")
    def _ordered(self):
        if self.bands[0] > self.bands[1]:
            raise SettingsError([Problem("", ("bands",), "the smaller number comes first", self.bands)])
        return self
