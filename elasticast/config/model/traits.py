"""Traits: what the suite must know of a model to train, evaluate and compare it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Traits:
    """What a model needs and can do. Its settings class declares them once, as the property `traits`.

    Attributes
    ----------
    lengths : {"any", "one", "padded"}
        Which clips a batch may hold. ``any``: packed clips of any lengths. ``one``: packed clips of one length.
        ``padded``: clips of any lengths, but the model is given a :class:`~elasticast.data.padding.PaddedBatch`.
    pad_to : tuple of int
        With ``padded``: ascending numbers of tokens. The clips of a batch are padded to the smallest that is not below
        the longest clip; without one, to the longest clip.
    views : tuple of {"native", "fixed"}
        Which kinds of `view.frames` it can train on. A model of one length trains on native views in length buckets.
    missing_tokens : {"train", "evaluate", "never"}
        When it takes clips of which some tokens are left out: in training too (`train.token_dropout`), in evaluation
        only (`x_name: token_drop`, `view.fill: mask`), or never.
    extra_tokens : int
        Number of tokens that it adds to those of each clip.
    longest : int or None
        Largest number of frames that its positions cover; None if there is no limit.
    merges : bool
        Whether it can merge tokens (`model.merge`, `x_name: token_merge`).
    chunks : bool
        Whether it can compute a clip chunk by chunk, each from its tokens and what is kept of earlier chunks: it then
        has the method ``next_chunk``, see :mod:`elasticast.models.chunks`.
    frames : bool
        Whether ``forward(batch, frames=True)`` computes logits of every time patch, for tasks of kind ``frames``. The
        linear layer is the submodule ``frame_head``.
    patch_sizes : bool
        Whether its positions fit patches of other sizes (`model.patch_sizes`, `x_name: patch_size`,
        `x_name: patch_width`).
    random_offset : bool
        Whether training moves each clip to a random place in the grid of the longest view.
    starts_from : tuple of str
        Kinds of models whose weights it can start from, besides its own kind.
    compiles : bool
        Whether it may have transformer blocks, which `train.compile` compiles.
    blocks : str or None
        Name of the `nn.ModuleList` of its layers, from the input to the output, for `train.layer_decay`. A submodule
        ``norm`` next to it follows the layers.
    head : tuple of str
        Names of the submodules that belong to the classes. They start anew if weights have other classes. The last one
        computes the logits. In stages that freeze the transformer, they train, and the submodule ``pool``.
    """

    lengths: Literal["any", "one", "padded"] = "any"
    pad_to: tuple[int, ...] = ()
    views: tuple[Literal["native", "fixed"], ...] = ("native", "fixed")
    missing_tokens: Literal["train", "evaluate", "never"] = "train"
    extra_tokens: int = 0
    longest: int | None = None
    merges: bool = False
    chunks: bool = False
    frames: bool = False
    patch_sizes: bool = False
    random_offset: bool = False
    starts_from: tuple[str, ...] = ()
    compiles: bool = True
    blocks: str | None = None
    head: tuple[str, ...] = ("head",)

    @property
    def one_length(self) -> bool:
        """Whether all clips of a batch must have the same length."""
        return self.lengths == "one"

    @property
    def pads(self) -> bool:
        """Whether the model is given padded batches."""
        return self.lengths == "padded"

    def row_tokens(self, longest: int) -> int:
        """Number of tokens, padding included, that each clip has in a batch whose longest clip has `longest`."""
        return next((size for size in self.pad_to if size >= longest), longest)
