"""Settings of Audio Mamba."""

import math
from typing import Literal

from pydantic import Field

from elasticast.config.base import PositiveFloat, PositiveInt
from elasticast.config.model.common import ModelSettings
from elasticast.config.model.traits import Traits
from elasticast.text import counted

SCAN_OPERATIONS = 9
"""Operations per token, channel and state that count as the cost of a scan, the usual number."""


class AuMSettings(ModelSettings):
    """`elasticast.models.aum.AuM`."""

    kind: Literal["aum"] = Field(description="The Audio Mamba model.")
    dim: PositiveInt = Field(192, description="Width of the tokens.")
    depth: PositiveInt = Field(24, description="Number of Mamba blocks.")
    direction: Literal["fo_fo", "fo_bi", "bi_bi"] = Field(
        "fo_bi",
        description="How blocks read the tokens. `fo_fo`: forwards. `fo_bi`: forward projections and convolution, "
        "scans in both directions. `bi_bi`: projections, convolution and scans in both directions.",
    )
    d_state: PositiveInt = Field(16, description="Number of states per channel.")
    d_conv: PositiveInt = Field(4, description="Number of taps of the convolution.")
    expand: PositiveInt = Field(2, description="Number of channels in a block, as a multiple of `model.dim`.")
    dt_rank: PositiveInt | None = Field(
        None, description="Rank of the projection to step sizes; `null` means `model.dim` / 16, rounded up."
    )
    order: Literal["frequency", "time"] = Field(
        "frequency",
        description="Order of the tokens. `frequency`: all tokens of the lowest band, then the next band. `time`: all "
        "tokens of the first time patch, then the next.",
    )
    pooling: Literal["cls", "mean"] = Field(
        "cls", description="How tokens become one vector: a `cls` token in each clip, or the `mean` of the patches."
    )
    cls_place: Literal["first", "middle", "last"] = Field(
        "middle", description="Where the CLS token is among the tokens of its clip."
    )
    positions: Literal["resized", "cut"] = Field(
        "resized",
        description="How clips shorter than the longest view use the table of positions: `resized` to their length, or "
        "its first columns (`cut`). For longer clips the table is always resized.",
    )
    norm_eps: PositiveFloat = Field(1.0e-5, description="Epsilon of the RMSNorms.")
    scan: Literal["auto", "torch"] = Field(
        "auto",
        description="What computes the scan: PyTorch (`torch`), or on CUDA the kernel of mamba_ssm if it is installed "
        "(`auto`).",
    )
    backward_dt: Literal["same", "released"] = Field(
        "same",
        description="How step sizes of the backward scan of `bi_bi` start: as those of the forward scan, or near 0.69 "
        "(`released`, as in the released code).",
    )

    @property
    def traits(self) -> Traits:
        """Packed clips of any lengths."""
        return Traits(extra_tokens=int(self.pooling == "cls"), patch_sizes=True, compiles=False, blocks="blocks")

    @property
    def size(self) -> dict[str, object]:
        """The settings in which weights that the model starts from must be equal."""
        names = ("dim", "depth", "direction", "d_state", "d_conv", "expand", "patch", "pooling")
        return {name: getattr(self, name) for name in names} | {"dt_rank": self.rank}

    @property
    def rank(self) -> int:
        """Rank of the projection to step sizes."""
        return self.dt_rank or math.ceil(self.dim / 16)

    @property
    def summary(self) -> str:
        """The model in words, after its kind."""
        direction = {"fo_fo": "Fo-Fo", "fo_bi": "Fo-Bi", "bi_bi": "Bi-Bi"}[self.direction]
        return f"{direction}, {counted(self.depth, 'block')}, {self.dim} wide, {super().summary}"

    def flops(self, tokens: int, classes: int) -> int:
        """Floating-point operations of the forward pass of one clip; a multiplication and an addition count as two.

        With n patch tokens of P x P values, m tokens including CLS, width D, E channels, S states, rank R, p
        projections and s scans per block (1 and 1 for Fo-Fo, 1 and 2 for Fo-Bi, 2 and 2 for Bi-Bi), K blocks, and C
        classes::

            patches 2 n P^2 D + K m (6 D E + p 2 E (2 R + 2 S) + s 9 E S) + head 2 D C

        Matrix products count, as in `torch.utils.flop_counter`, and scans, at 9 operations per channel and state.
        """
        channels, length = self.expand * self.dim, tokens + self.traits.extra_tokens
        projections, scans = {"fo_fo": (1, 1), "fo_bi": (1, 2), "bi_bi": (2, 2)}[self.direction]
        block = 6 * self.dim * channels + scans * SCAN_OPERATIONS * channels * self.d_state
        block += projections * 4 * channels * (self.rank + self.d_state)
        return 2 * tokens * self.patch**2 * self.dim + self.depth * length * block + 2 * self.dim * classes
