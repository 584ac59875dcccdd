"""Settings of the models."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from elasticast.config.base import PositiveFloat, PositiveInt, Settings
from elasticast.config.frames import patch_count


class ModelSettings(Settings):
    """Settings common to every transformer here."""

    dim: PositiveInt = 192
    depth: PositiveInt = 12
    heads: PositiveInt = 3
    mlp_ratio: PositiveFloat = 4.0
    patch: PositiveInt = Field(16, description="patch edge in mel bins and frames")
    stride: PositiveInt | None = Field(
        None, validate_default=True, description="mel bins and frames between patches; below `patch` they overlap"
    )
    norm_eps: PositiveFloat = Field(1.0e-6, description="epsilon of the LayerNorms")
    head_norm_eps: PositiveFloat | None = Field(None, description="epsilon of the head's LayerNorm; none: the same")
    attention_scale: Literal["none", "sqrt", "qk_norm"] = Field(
        "sqrt",
        description="none: as in the released ElasticAST weights; sqrt: 1/sqrt(head dim); qk_norm: normalised q, k",
    )
    backend: Literal["auto", "xformers", "sdpa", "dense"] = Field(
        "auto", description="auto: xformers on CUDA, sdpa elsewhere; the run records which one ran"
    )
    init: str | None = Field(
        None,
        description="weights to start from, see `elasticast.models.pretrained`; run:NAME: those of another experiment "
        "of the suite, with the same seed",
    )
    pool_init: Literal["mean", "released", "random"] = Field(
        "mean",
        description="with `init`, attention pooling starts from the mean of the blocks' attention weights, from that "
        "mean divided by 6 (as in the released ElasticAST), or at random",
    )

    @field_validator("stride")
    @classmethod
    def _stride_within_patch(cls, stride: int | None, info: ValidationInfo) -> int | None:
        patch = info.data.get("patch")
        if stride is not None and patch is not None and stride > patch:
            raise ValueError(f"a stride above model.patch = {patch} would leave frames out")
        return patch if stride is None else stride

    def patches(self, length: int) -> int:
        """Patches along an axis of `length` mel bins or frames."""
        return patch_count(length, self.patch, self.stride)

    def misfit(self, length: int) -> str | None:
        """What is wrong with an axis of `length` mel bins or frames; what overlapping patches leave over is unused."""
        if self.stride == self.patch and length % self.patch:
            return f"is not a multiple of model.patch = {self.patch}"
        return f"is shorter than model.patch = {self.patch}" if length < self.patch else None

    @property
    def limit(self) -> int | None:
        """Frames of the longest clip that positions reach; none: any."""
        return None


class ElasticASTSettings(ModelSettings):
    """`elasticast.models.elasticast.ElasticAST`."""

    kind: Literal["elasticast"]
    max_frames: PositiveInt = Field(1024, description="length of the time position table; `table`: of the longest clip")
    positions: Literal["table", "interpolated", "fractional", "sinusoidal", "rotary"] = Field(
        "table",
        description="table: a learned one for frequency and one for time; interpolated: longer clips are squeezed onto "
        "the time table; fractional: every clip is stretched over it; sinusoidal: fixed; rotary: of queries and keys",
    )
    pooling: Literal["attention", "mean", "cls"] = Field(
        "attention", description="of a clip's tokens: by a learned query, their mean, or a CLS token of its own"
    )

    @property
    def limit(self) -> int | None:
        """Frames of the longest clip that positions reach; none: any."""
        return self.max_frames if self.positions == "table" else None


class ASTSettings(ModelSettings):
    """`elasticast.models.ast.AST`, trained at the fixed length `view.frames`, or batch by batch at another."""

    kind: Literal["ast"]
    prefix_tokens: Literal[0, 1, 2] = Field(1, description="0: none; 1: CLS (ViT); 2: CLS and distillation (DeiT)")
    pooling: Literal["cls", "mean", "attention"] = Field(
        "cls", description="cls: mean of the prefix tokens; mean, attention: over the patches, without prefix tokens"
    )
    time_offset: bool = Field(
        False,
        description="a clip shorter than the position table takes a stretch of it: in training from a place drawn at "
        "random, in evaluation from the first (PaSST); else the table is interpolated to its length",
    )


ModelConfig = Annotated[ElasticASTSettings | ASTSettings, Field(discriminator="kind")]
