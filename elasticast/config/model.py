"""Settings of the models."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from elasticast.config.base import PositiveFloat, PositiveInt, Settings
from elasticast.config.frames import patch_count


class ModelSettings(Settings):
    """Settings common to all models."""

    dim: PositiveInt = Field(192, description="Width of the tokens, a multiple of `model.heads`.")
    depth: PositiveInt = Field(12, description="Number of transformer blocks.")
    heads: PositiveInt = Field(3, description="Number of attention heads.")
    mlp_ratio: PositiveFloat = Field(
        4.0, description="Width of the hidden layer of each MLP, as a multiple of `model.dim`."
    )
    patch: PositiveInt = Field(16, description="Height and width of a patch. [mel bins, frames]")
    stride: PositiveInt | None = Field(
        None,
        validate_default=True,
        description="Step between patches; `null` means `model.patch`. Patches overlap if it is smaller. [mel "
        "bins, frames]",
    )
    norm_eps: PositiveFloat = Field(1.0e-6, description="Epsilon of the LayerNorms.")
    head_norm_eps: PositiveFloat | None = Field(
        None, description="Epsilon of the LayerNorm in the classification head; `null` means `model.norm_eps`."
    )
    attention_scale: Literal["none", "sqrt", "qk_norm"] = Field(
        "sqrt",
        description="Scaling of attention scores. `sqrt`: 1 / sqrt(head dim). `none`: no scaling, as in the "
        "released ElasticAST weights. `qk_norm`: normalised queries and keys.",
    )
    backend: Literal["auto", "varlen", "xformers", "sdpa", "dense"] = Field(
        "auto",
        description="Attention backend. On CUDA, `auto` selects `varlen` (PyTorch's flash attention) in half "
        "precision and `xformers` in fp32, elsewhere `sdpa`. `dense` is the reference implementation.",
    )
    init: str | None = Field(
        None,
        description="Weights to start from: the folder of a run, a published weight file or folder, "
        "`hf:OWNER/NAME[@REVISION]`, `timm:NAME`, or `run:NAME` (another experiment of the suite, same seed). `null` "
        "starts at random.",
    )
    pool_init: Literal["mean", "released", "random"] = Field(
        "mean",
        description="How attention pooling starts if `init` is set: from the `mean` of the blocks' attention "
        "weights, from that mean divided by 6 (`released`), or at `random`.",
    )

    query_init: Literal["scaled", "normal"] = Field(
        "scaled",
        description="How the query of attention pooling starts: normal with standard deviation 1 / sqrt(dim) "
        "(`scaled`) or 1 (`normal`, as in the released ElasticAST).",
    )
    head_init: Literal["xavier", "torch"] = Field(
        "xavier",
        description="How the linear layer of the head starts: as the others (`xavier`), or as PyTorch's default "
        "(`torch`, as in the released models).",
    )
    head_norm_init: Literal["ones", "trunk"] = Field(
        "ones",
        description="How the LayerNorm of the head starts: with weights 1 and biases 0, or as a copy of the last "
        "LayerNorm of the weights in `init` (`trunk`, as in the released ElasticAST for VoxCeleb1).",
    )

    @field_validator("stride")
    @classmethod
    def _stride_within_patch(cls, stride: int | None, info: ValidationInfo) -> int | None:
        patch = info.data.get("patch")
        if stride is not None and patch is not None and stride > patch:
            raise ValueError(f"is above model.patch = {patch}, so that frames between patches would be left out")
        return patch if stride is None else stride

    def patches(self, length: int) -> int:
        """Number of patches along an axis of `length` mel bins or frames."""
        return patch_count(length, self.patch, self.stride)

    def length_error(self, length: int) -> str | None:
        """Why patches do not fit an axis of `length` mel bins or frames, or None if they fit.

        Overlapping patches may leave a remainder, which is not used.
        """
        if self.stride == self.patch and length % self.patch:
            return f"is not a multiple of model.patch = {self.patch}"
        return f"is shorter than model.patch = {self.patch}" if length < self.patch else None

    @property
    def limit(self) -> int | None:
        """Largest number of frames that the positions cover, or None if there is no limit."""
        return None


class ElasticASTSettings(ModelSettings):
    """`elasticast.models.elasticast.ElasticAST`."""

    kind: Literal["elasticast"] = Field(description="The ElasticAST model.")
    max_frames: PositiveInt = Field(
        1024,
        description="Length of the table of time positions. With `positions: table` it is also the longest clip "
        "allowed. [frames]",
    )
    positions: Literal["table", "interpolated", "fractional", "sinusoidal", "rotary"] = Field(
        "table",
        description="`table`: learned, for frequency and time. `interpolated`: longer clips are squeezed onto the "
        "table. `fractional`: every clip is stretched over the table, as in NaViT. `sinusoidal`: "
        "fixed. `rotary`: rotates queries and keys.",
    )
    pooling: Literal["attention", "mean", "cls"] = Field(
        "attention",
        description="How the tokens of a clip become one vector: `attention` with a learned query, their `mean`, "
        "or a `cls` token per clip.",
    )

    @property
    def limit(self) -> int | None:
        """Largest number of frames that the positions cover, or None if there is no limit."""
        return self.max_frames if self.positions == "table" else None


class ASTSettings(ModelSettings):
    """`elasticast.models.ast.AST`, trained at a fixed length, or at that of the longest clip of each batch."""

    kind: Literal["ast"] = Field(description="The AST model.")
    prefix_tokens: Literal[0, 1, 2] = Field(
        1, description="Tokens before the patches: 1 is CLS (ViT), 2 is CLS and distillation (DeiT)."
    )
    pooling: Literal["cls", "mean", "attention"] = Field(
        "cls",
        description="How tokens become one vector: `cls` averages the prefix tokens; `mean` and `attention` pool "
        "the patches and ignore the prefix tokens.",
    )
    time_offset: bool = Field(
        False,
        description="Give short clips a section of the time positions (random in training, the first in "
        "evaluation, as in PaSST). Otherwise the table is interpolated to their length.",
    )


ModelConfig = Annotated[ElasticASTSettings | ASTSettings, Field(discriminator="kind")]
