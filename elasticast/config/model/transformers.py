"""Settings of ElasticAST and AST, which share the transformer blocks."""

from typing import Annotated, Any, Literal

from pydantic import Field

from elasticast.config.base import PositiveFloat, PositiveInt
from elasticast.config.model.adapting import Adaptation, AnyAdaptation, Conformer, Prompts
from elasticast.config.model.common import ModelSettings
from elasticast.config.model.context import Context
from elasticast.config.model.crnn import CRNN
from elasticast.config.model.token_merging import TokenMerging
from elasticast.config.model.traits import Traits
from elasticast.errors import Problem
from elasticast.text import counted


class TransformerSettings(ModelSettings):
    """Settings of the models that share the transformer blocks of `elasticast.models.transformer`."""

    dim: PositiveInt = Field(192, description="Width of the tokens, a multiple of `model.heads`.")
    depth: PositiveInt = Field(12, description="Number of transformer blocks.")
    heads: PositiveInt = Field(3, description="Number of attention heads.")
    mlp_ratio: PositiveFloat = Field(
        4.0, description="Width of the hidden layer of each MLP, as a multiple of `model.dim`."
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
    merge: TokenMerging | None = Field(
        None, description="Token merging or pruning in training and evaluation; `null` does neither."
    )
    frame_head: bool = Field(
        False,
        description="Also compute logits of every time patch: the mean over frequency, and a linear layer. For tasks "
        "of kind `frames`, which need it.",
    )
    crnn: CRNN | None = Field(
        None,
        description="A frame head that also convolves the spectrogram and reads it in time, instead of the mean and "
        "the linear layer; `null`: these.",
    )
    adapt: AnyAdaptation | None = Field(
        None,
        discriminator="kind",
        description="Train a few parameters only, and keep the others as they are in `init`; `null` trains all.",
    )

    @property
    def adaptation(self) -> Adaptation | None:
        """How the weights of `init` are adapted; None if all of them train."""
        return self.adapt

    @property
    def size(self) -> dict[str, Any]:
        """The settings in which weights that the model starts from must be equal."""
        return {name: getattr(self, name) for name in ("dim", "depth", "heads", "mlp_ratio")}

    @property
    def head(self) -> tuple[str, ...]:
        """Names of the submodules of the head, see `Traits.head`."""
        return ("head_norm", "frame_head", "head") if self.frame_head else ("head_norm", "head")

    @property
    def summary(self) -> str:
        """The model in words, after its kind."""
        return f"{counted(self.depth, 'block')}, {self.dim} wide, {counted(self.heads, 'head')}, {super().summary}"

    def problems(self, run: Any) -> list[Problem]:
        """Problems of sizes, and of how the head starts."""
        problems = []
        if self.dim % self.heads:
            message = f"is not a multiple of model.heads = {self.heads}"
            problems.append(Problem.between("model.dim", self.dim, message))
        if self.head_norm_init == "trunk" and self.init is None:
            message = "needs model.init: the LayerNorm is copied from these weights"
            problems.append(Problem.between("model.head_norm_init", "trunk", message))
        if self.frame_head and self.merge is not None and self.merge.method == "prune":
            message = "needs model.merge.method = 'merge': pruned tokens have no state to compute frames from"
            problems.append(Problem.between("model.frame_head", True, message))
        return problems + [problem for part in (self.crnn, self.adapt) if part for problem in part.problems(self)]

    def flops(self, tokens: int, classes: int) -> int | None:
        """Floating-point operations of the forward pass of one clip; a multiplication and an addition count as two.

        None with `crnn`: they are then counted, since they depend on the mel bins too.

        With n patch tokens of P x P values, m tokens including prefix or CLS tokens, width D, K blocks, hidden width H
        of the MLP, and C classes::

            patches 2 n P^2 D + K (2 m D 3D + 4 m^2 D + 2 m D D + 4 m D H) + pooling + head 2 D C

        where attention pooling costs 2 n D 2D + 4 n D + 4 D D. Only matrix products and convolutions count, as in
        `torch.utils.flop_counter`. With token merging, n and m fall from block to block, and comparing the n tokens of
        a block that merges costs 2 (n^2 / 4) E, with E channels per head. A block that prunes computes its attention a
        second time, 2 m^2 D. Prompts count in m; for adapters see `Adaptation.flops`.
        """
        if self.crnn is not None:
            return None
        width, hidden, extra = self.dim, round(self.dim * self.mlp_ratio), self.traits.extra_tokens
        extra += self.adapt.extra_tokens if self.adapt else 0
        left, cost = tokens, 2 * tokens * self.patch**2 * width + 2 * width * classes
        for after in self.merge.counts(tokens, self.depth) if self.merge else [tokens] * self.depth:
            cost += 4 * (left + extra) * width * (2 * width + left + extra) + 4 * (after + extra) * width * hidden
            if after < left:
                compared = (left * left // 4) * (width // self.heads)
                cost += 2 * (compared if self.merge.method == "merge" else (left + extra) ** 2 * width)
            cost += self.adapt.flops(width, left + extra, after + extra) if self.adapt else 0
            left = after
        return cost + (4 * width * (left * (width + 1) + width) if self.pooling == "attention" else 0)

    def frame_flops(self, time_patches: int, classes: int) -> int:
        """Floating-point operations of the frame head on one clip, 2 D C per time patch; 0 without one."""
        return 2 * time_patches * self.dim * classes if self.frame_head else 0


class ElasticASTSettings(TransformerSettings):
    """`elasticast.models.elasticast.ElasticAST`."""

    kind: Literal["elasticast"] = Field(description="The ElasticAST model.")
    max_frames: PositiveInt = Field(
        1024,
        description="Length of the table of time positions. With `positions: table` it is also the longest clip "
        "allowed. [frames]",
    )
    positions: Literal["table", "interpolated", "fractional", "grid", "sinusoidal", "rotary"] = Field(
        "table",
        description="`table`: learned, for frequency and time. `interpolated`: longer clips are squeezed onto the "
        "table. `fractional`: every clip is stretched over the table, as in NaViT. `grid`: the same with one table "
        "of frequency by time, as in NaFlexVit. `sinusoidal`: fixed. `rotary`: rotates queries and keys.",
    )
    grid_resize: Literal["bicubic", "bilinear"] = Field(
        "bicubic",
        description="With `positions: grid`: how the table is resized to a clip, with antialiasing. `bicubic` as in "
        "timm, `bilinear` as in SigLIP 2.",
    )
    rotary_base: PositiveFloat = Field(
        100.0,
        description="With `positions: rotary`: longest wavelength, divided by 2 pi. 100 as in Heo et al. 2024, 10000 "
        "as in timm and in the audio tower of open_clip. [patches]",
    )
    padding: Literal["longest"] | Annotated[list[PositiveInt], Field(min_length=1)] | None = Field(
        None,
        description="`null` packs clips. Otherwise clips are padded, and attention is masked, as in NaFlexVit: to the "
        "`longest` clip of the batch, or to the smallest number in a list that is not below it. A batch with a longer "
        "clip is padded to that clip. The weights and logits are those of packed clips. [tokens]",
    )
    pooling: Literal["attention", "mean", "cls"] = Field(
        "attention",
        description="How the tokens of a clip become one vector: `attention` with a learned query, their `mean`, "
        "or a `cls` token per clip.",
    )
    context: Context | None = Field(
        None,
        description="Attention by chunks, for streams: tokens attend to their chunk and to the past, not to what "
        "comes later. Needs `positions: rotary`. `null`: to the whole clip.",
    )

    @property
    def traits(self) -> Traits:
        """Packed or padded clips of any lengths, up to the end of a table of positions."""
        return Traits(
            lengths="any" if self.padding is None else "padded",
            pad_to=tuple(sorted(self.padding)) if isinstance(self.padding, list) else (),
            extra_tokens=int(self.pooling == "cls"),
            longest=self.max_frames if self.positions == "table" else None,
            merges=self.padding is None and not isinstance(self.adapt, Prompts) and self.context is None,
            chunks=self.no_chunks is None,
            frames=self.frame_head and self.padding is None,
            patch_sizes=self.context is None,
            starts_from=("ast",),
            blocks="trunk.blocks",
            head=self.head,
        )

    @property
    def no_chunks(self) -> str | None:
        """Why the model cannot compute a clip chunk by chunk, or None if it can."""
        if self.positions != "rotary":
            return (
                f"needs model.positions = 'rotary', got {self.positions!r}: the others count from the start of a clip"
            )
        if self.pooling == "cls":
            return "needs model.pooling = 'attention' or 'mean', got 'cls': this token attends to all chunks"
        if isinstance(self.adapt, Prompts | Conformer):
            return f"cannot be combined with model.adapt.kind = {self.adapt.kind!r}"
        clashing = next((name for name in ("merge", "padding") if getattr(self, name) is not None), None)
        return None if clashing is None else f"cannot be combined with model.{clashing}"

    @property
    def described(self) -> str:
        """The kind of model, for messages."""
        others = [name for name in ("context", "padding") if getattr(self, name) is not None]
        return super().described + "".join(f" with model.{name}" for name in others)

    def flops(self, tokens: int, classes: int) -> int | None:
        """As for all transformers; with `context` they are counted, since they depend on the chunk of each token."""
        return None if self.context else super().flops(tokens, classes)

    def problems(self, run: Any) -> list[Problem]:
        """Problems of the positions and of chunks, besides those of all transformers."""
        problems, width = super().problems(run), self.dim / self.heads
        if self.context and self.no_chunks:
            problems.append(Problem.between("model.context", self.context, self.no_chunks))
        elif self.context and self.context.chunk > (longest := self.patches(run.view.longest)):
            message = f"is above the {longest} time patches of the longest view"
            problems.append(Problem.between("model.context.chunk", self.context.chunk, message))
        if message := self.length_error(self.max_frames):
            problems.append(Problem.between("model.max_frames", self.max_frames, message))
        if self.positions == "sinusoidal" and self.dim % 4:
            message = f"needs model.dim as a multiple of 4, got {self.dim}"
            problems.append(Problem.between("model.positions", self.positions, message))
        elif self.positions == "rotary" and width % 4:
            message = f"needs model.dim / model.heads as a multiple of 4, got {width:g}"
            problems.append(Problem.between("model.positions", self.positions, message))
        if self.padding is not None:
            problems += self._padding_problems()
        return problems

    def _padding_problems(self) -> list[Problem]:
        problems = []
        if self.frame_head:
            message = "needs model.padding = null: frames are computed from packed clips"
            problems.append(Problem.between("model.frame_head", True, message))
        if self.adapt is not None:
            message = "needs model.padding = null: weights are adapted with packed clips"
            problems.append(Problem.between("model.adapt", self.adapt.kind, message))
        return problems

    def lengthened(self, frames: int) -> dict[str, Any]:
        """The length of a table of positions."""
        return {} if self.limit is None else {"max_frames": frames}


class ASTSettings(TransformerSettings):
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

    @property
    def traits(self) -> Traits:
        """Packed clips of one length."""
        return Traits(
            lengths="one",
            missing_tokens="evaluate",
            extra_tokens=self.prefix_tokens,
            merges=not isinstance(self.adapt, Prompts),
            frames=self.frame_head,
            patch_sizes=True,
            random_offset=self.time_offset,
            starts_from=("elasticast",),
            blocks="trunk.blocks",
            head=self.head,
        )

    def problems(self, run: Any) -> list[Problem]:
        """Problems of prefix tokens and time offsets, besides those of all transformers."""
        problems, view = super().problems(run), run.view
        if self.pooling == "cls" and not self.prefix_tokens:
            problems.append(Problem.between("model.pooling", "cls", "needs model.prefix_tokens = 1 or 2"))
        if self.time_offset and view.frames != "native" and view.fill != "mask":
            message = "needs view.fill = 'mask': with padding every training clip is as long as the position table"
            problems.append(Problem.between("model.time_offset", True, message))
        return problems
