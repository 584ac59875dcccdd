"""Settings of the convolutional network."""

from typing import Any, Literal

from pydantic import Field

from elasticast.config.base import PositiveFloat, PositiveInt
from elasticast.config.model.common import ModelSettings
from elasticast.config.model.traits import Traits
from elasticast.errors import Problem

GROUPS = 8
"""Number of groups of channels that are normalised together."""


class CNNSettings(ModelSettings):
    """`elasticast.models.cnn.CNN`."""

    kind: Literal["cnn"] = Field(description="A small convolutional network.")
    width: PositiveInt = Field(32, description=f"Channels of the first stage, a multiple of {GROUPS}.")
    stages: PositiveInt = Field(
        4,
        description="Number of stages. Each halves both axes of the spectrogram, and all but the first double the "
        "channels. `model.patch` is a multiple of 2 to this power.",
    )
    norm_eps: PositiveFloat = Field(1.0e-5, description="Epsilon of the GroupNorms.")

    @property
    def traits(self) -> Traits:
        """Packed clips of any lengths, all tokens of each."""
        return Traits(missing_tokens="never", compiles=False)

    @property
    def size(self) -> dict[str, Any]:
        """The settings in which weights that the model starts from must be equal."""
        return {name: getattr(self, name) for name in ("width", "stages", "patch")}

    @property
    def widths(self) -> list[int]:
        """Channels of each stage."""
        return [self.width * 2**stage for stage in range(self.stages)]

    @property
    def summary(self) -> str:
        """The model in words, after its kind."""
        return f"{self.stages} stages, {self.widths[0]} to {self.widths[-1]} channels, {super().summary}"

    def problems(self, run: Any) -> list[Problem]:
        """Problems of sizes."""
        problems = []
        if self.width % GROUPS:
            problems.append(Problem.between("model.width", self.width, f"is not a multiple of {GROUPS}"))
        if self.patch % 2**self.stages:
            message = f"needs model.patch as a multiple of {2**self.stages}, got {self.patch}"
            problems.append(Problem.between("model.stages", self.stages, message))
        if self.stride != self.patch:
            message = f"needs patches that do not overlap: expected model.patch = {self.patch}, or null"
            problems.append(Problem.between("model.stride", self.stride, message))
        return problems

    def flops(self, tokens: int, classes: int) -> int:
        """Floating-point operations of the forward pass of one clip; a multiplication and an addition count as two.

        With n patch tokens of P x P values, stages i = 1, 2, ... of W_i channels (W_0 = 1), the last of W, and C
        classes::

            sum over i of 2 n (P / 2^i)^2 9 (W_{i-1} W_i + W_i W_i) + 2 W W + head 2 W C
        """
        cost, before, side = 0, 1, self.patch
        for width in self.widths:
            side //= 2
            cost += 2 * tokens * side**2 * 9 * (before * width + width * width)
            before = width
        return cost + 2 * before * (before + classes)
