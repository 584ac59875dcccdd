"""Settings of adapting: which parameters are added to trained weights, and which of them train.

The ways and their sizes follow Cappellazzo et al. 2023 (arXiv 2312.03694).
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from elasticast.config.base import PositiveFloat, PositiveInt, Settings
from elasticast.errors import Problem


class Adaptation(Settings):
    """Base of all ways to adapt a model: a few parameters train, the others stay those of `model.init`."""

    plain: ClassVar[bool] = True
    """Whether the result can be written as a model without `model.adapt`."""
    compiles: ClassVar[bool] = True
    """Whether a trunk with these parameters can be compiled."""
    passes: ClassVar[int] = 2
    """Cost of a training step, in forward passes: gradients of frozen weights are not computed."""

    @property
    def extra_tokens(self) -> int:
        """Number of tokens that are added to each clip."""
        return 0

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of the LayerNorms of a block that train."""
        return ()

    def flops(self, width: int, attended: int, fed: int) -> int:
        """Operations that are added to one block; see `TransformerSettings.flops`.

        Parameters
        ----------
        width : int
            Width D of the tokens.
        attended, fed : int
            Number of tokens in the attention and in the MLP.
        """
        return 0

    def problems(self, model: Any) -> list[Problem]:
        """Problems of these settings with those of the model.

        Parameters
        ----------
        model : TransformerSettings
            Settings of the model.
        """
        if model.init is None:
            message = "needs model.init: the weights that are adapted"
            return [Problem.between("model.adapt.kind", self.kind, message)]
        return []

    def _at_most_width(self, key: str, model: Any) -> list[Problem]:
        value = getattr(self, key)
        if value <= model.dim:
            return []
        return [Problem.between(f"model.adapt.{key}", value, f"is above model.dim = {model.dim}")]


class LinearProbe(Adaptation):
    """Only what follows the blocks trains, see `elasticast.models.adapters`."""

    passes: ClassVar[int] = 1
    kind: Literal["linear"] = Field(
        description="Linear probe: what follows the blocks trains, that is the last LayerNorm, the pooling and the "
        "head. These train in the other kinds too."
    )


class BitFit(Adaptation):
    """The biases of all blocks train."""

    kind: Literal["bitfit"] = Field(description="BitFit: the biases of all linear layers and LayerNorms in the blocks.")


class LoRA(Adaptation):
    """Low-rank updates of the attention's projections (Hu et al. 2021)."""

    kind: Literal["lora"] = Field(description="LoRA: projections W x become W x + s B A x. A starts at random, B at 0.")
    rank: PositiveInt = Field(12, description="With `lora`: rank of the updates, at most `model.dim`.")
    scale: PositiveFloat = Field(0.125, description="With `lora`: factor s of the updates.")
    targets: list[Literal["q", "k", "v"]] = Field(
        ["q", "v"], min_length=1, max_length=3, description="With `lora`: projections that are updated."
    )

    def flops(self, width: int, attended: int, fed: int) -> int:
        """Two matrix products per projection."""
        return 4 * attended * width * self.rank * len(set(self.targets))

    def problems(self, model: Any) -> list[Problem]:
        """Problems of the rank and of repeated projections."""
        problems = [*super().problems(model), *self._at_most_width("rank", model)]
        if len(set(self.targets)) < len(self.targets):
            problems.append(Problem.between("model.adapt.targets", self.targets, "names a projection twice"))
        return problems


class Prompts(Adaptation):
    """Learned tokens (Jia et al. 2022, visual prompt tuning)."""

    plain: ClassVar[bool] = False
    compiles: ClassVar[bool] = False
    kind: Literal["prompts"] = Field(
        description="Prompts: learned tokens after the prefix tokens of each clip. All tokens of the clip attend to "
        "them; the pooling does not."
    )
    tokens: PositiveInt = Field(25, description="With `prompts`: their number.")
    deep: bool = Field(False, description="With `prompts`: replace them by new ones before each block after the first.")

    @property
    def extra_tokens(self) -> int:
        """The prompts."""
        return self.tokens


class SublayerAdaptation(Adaptation):
    """Base of small networks next to, or behind, the attention and the MLP of each block."""

    plain: ClassVar[bool] = False
    width: PositiveInt = Field(8, description="With `bottleneck` and `conformer`: width b, at most `model.dim`.")
    place: Literal["pfeiffer", "houlsby"] = Field(
        "pfeiffer",
        description="With `bottleneck` and `conformer`. `pfeiffer`: an adapter for each MLP. `houlsby`: also one for "
        "each attention. The LayerNorms before these train too.",
    )
    order: Literal["parallel", "sequential"] = Field(
        "parallel",
        description="With `bottleneck` and `conformer`: what an adapter is given, the input of its MLP or attention "
        "(`parallel`), or the output (`sequential`). What it computes is added to the output.",
    )

    @property
    def norms(self) -> tuple[str, ...]:
        """The LayerNorms before the adapted parts."""
        return ("norm1", "norm2") if self.place == "houlsby" else ("norm2",)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the adapted parts of a block."""
        return ("attn", "mlp") if self.place == "houlsby" else ("mlp",)

    def flops(self, width: int, attended: int, fed: int) -> int:
        """As many as `token_flops` for each token and adapter."""
        return self.token_flops(width) * (fed + (attended if "attn" in self.parts else 0))

    def token_flops(self, width: int) -> int:
        """Operations of one adapter per token."""
        raise NotImplementedError

    def problems(self, model: Any) -> list[Problem]:
        """Problems of the width."""
        return [*super().problems(model), *self._at_most_width("width", model)]


class Bottleneck(SublayerAdaptation):
    """A narrow MLP (Houlsby et al. 2019; Pfeiffer et al. 2020)."""

    kind: Literal["bottleneck"] = Field(description="Bottleneck adapter: linear to b, GELU, linear back.")

    def token_flops(self, width: int) -> int:
        """Two matrix products."""
        return 4 * width * self.width


class Conformer(SublayerAdaptation):
    """The convolution module of a Conformer (Gulati et al. 2020), narrowed."""

    compiles: ClassVar[bool] = False
    kind: Literal["conformer"] = Field(
        description="Conformer adapter: LayerNorm, linear to 2b, GLU, depthwise convolution over the tokens of the "
        "clip, LayerNorm, SiLU, linear back."
    )
    kernel: PositiveInt = Field(31, description="With `conformer`: width of the convolution, an odd number. [tokens]")

    def token_flops(self, width: int) -> int:
        """Two matrix products and the convolution."""
        return 6 * width * self.width + 2 * self.kernel * self.width

    def problems(self, model: Any) -> list[Problem]:
        """Problems of the width and of the kernel."""
        problems = super().problems(model)
        if self.kernel % 2 == 0:
            message = "expected an odd number, so that a token is in the middle of its neighbours"
            problems.append(Problem.between("model.adapt.kernel", self.kernel, message))
        return problems


ADAPTATIONS: dict[str, type[Adaptation]] = {
    "linear": LinearProbe,
    "bitfit": BitFit,
    "lora": LoRA,
    "prompts": Prompts,
    "bottleneck": Bottleneck,
    "conformer": Conformer,
}
"""Settings of each way to adapt, by kind."""
AnyAdaptation = LinearProbe | BitFit | LoRA | Prompts | Bottleneck | Conformer
