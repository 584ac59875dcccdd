"""Settings of patches of several sizes: which sizes training draws, and what a size leaves out of a clip."""

from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from elasticast.config.base import PositiveInt, Settings

Axes = Literal["both", "time"]
Remainder = Literal["refuse", "drop", "keep"]


class PatchSize(NamedTuple):
    """Patches of one size, for a model whose weights are for another one.

    Attributes
    ----------
    freq, time : int
        Height in mel bins and width in frames.
    stored : int
        Height and width of the patches that the weights are for, `model.patch`.
    keep : bool
        Whether bins and frames after the last whole patch are kept, by padding them to a patch.
    """

    freq: int
    time: int
    stored: int
    keep: bool

    @property
    def is_stored(self) -> bool:
        """Whether this is the size that the weights are for."""
        return (self.freq, self.time) == (self.stored, self.stored)

    def count(self, length: int, edge: int) -> int:
        """Number of patches of `edge` bins or frames along an axis, at least one. `length` may be a NumPy array."""
        whole = -(-length // edge) if self.keep else length // edge
        return whole + (whole == 0)

    def grid(self, bins: int, frames: int) -> tuple[int, int]:
        """Number of frequency patches and of time patches."""
        return self.count(bins, self.freq), self.count(frames, self.time)

    def rows(self, freq: int, time: int) -> tuple[int, int]:
        """Number of patches along both axes of a grid of `freq` by `time` stored patches."""
        return self.grid(freq * self.stored, time * self.stored)


class PatchSizes(Settings):
    """Patches of several sizes (FlexiAST, Feng et al. 2023): every training step draws one."""

    sizes: list[PositiveInt] = Field(
        min_length=1, description="Sizes that training draws from, all equally likely. [mel bins, frames]"
    )
    axes: Axes = Field(
        "both", description="What a size changes: height and width of a patch (`both`), or only its width (`time`)."
    )
    draw: Literal["step", "process"] = Field(
        "step",
        description="Draw one size per step for all GPUs (`step`), or one for each GPU (`process`, as in the released "
        "code; the result then depends on the number of GPUs).",
    )
    remainder: Remainder = Field(
        "refuse",
        description="Mel bins and frames after the last whole patch. `drop`: left out, as published. `keep`: padded "
        "to a patch by repeating the last bin or frame. `refuse`: as `drop`, and sizes that leave out mel bins are an "
        "error.",
    )

    @field_validator("sizes")
    @classmethod
    def _once(cls, sizes: list[int]) -> list[int]:
        if repeated := sorted({size for size in sizes if sizes.count(size) > 1}):
            raise ValueError(f"{repeated} twice; expected each size once")
        return sizes

    def at(self, size: int, patch: int) -> PatchSize:
        """Patches of one of the sizes, for a model with `model.patch` = `patch`."""
        return PatchSize(patch if self.axes == "time" else size, size, patch, self.remainder == "keep")

    def smallest(self, patch: int) -> PatchSize:
        """Patches of the size that gives most tokens."""
        return self.at(min(self.sizes), patch)

    def wrong(self, patch: int, bins: int, frames: int) -> list[tuple[list[int], str]]:
        """The sizes that do not fit `bins` mel bins or the `frames` frames of the longest clip, and the reasons."""
        height = {size: self.at(size, patch).freq for size in self.sizes}
        reasons = {
            f"more than front_end.mel_bins = {bins}": [s for s in self.sizes if height[s] > bins],
            f"longer than the longest clip, which has {frames} frames": [s for s in self.sizes if s > frames],
        }
        if self.remainder == "refuse":
            reason = (
                f"does not divide front_end.mel_bins = {bins}: set remainder to 'keep', or to 'drop' to leave out the "
                "highest bins as published"
            )
            reasons[reason] = [s for s in self.sizes if height[s] <= bins and bins % height[s]]
        return [(sizes, reason) for reason, sizes in reasons.items() if sizes]
