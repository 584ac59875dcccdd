"""ElasticAST and AST as functions of tensors alone, so that other tools can run them.

A packed batch has Python integers for the lengths of its clips, which a traced graph would keep as constants. Here the
lengths are a tensor, and attention has a dense mask: its memory grows with the square of the number of tokens.

Shapes: N tokens of all clips, B clips, P patch edge, D width, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elasticast.config import RunConfig
from elasticast.models.ast import AST
from elasticast.models.elasticast import ElasticAST


@dataclass
class GivenMask:
    """A mask in place of :class:`~elasticast.models.attention.ClipMask`.

    Attributes
    ----------
    allowed : Tensor
        `[Nq, Nkv]` bool, True where attention is allowed.
    """

    allowed: Tensor
    backend: str = "dense"
    sizes: None = None
    rows: None = None

    def dense(self) -> Tensor:
        """The mask."""
        return self.allowed

    @property
    def queries(self) -> int:
        """Number of queries."""
        return self.allowed.shape[0]


def problems(config: RunConfig) -> list[str]:
    """Why a model cannot be written as a graph: one line per setting, empty if it can."""
    model, view = config.model, config.view
    if model.kind not in ("elasticast", "ast"):
        return [f"model.kind = {model.kind!r}: expected 'elasticast' or 'ast'"]
    found = []
    if model.merge is not None:
        found.append("model.merge: which tokens merge depends on their values (expected null)")
    if model.crnn is not None:
        found.append("model.crnn: a recurrent network over clips of any lengths is not supported (expected null)")
    if model.adapt is not None:
        found.append(f"model.adapt.kind = {model.adapt.kind!r}: prompts and adapters are not supported (expected null)")
    if getattr(model, "positions", None) == "grid":
        found.append("model.positions = 'grid': the table is resized to each clip (expected other positions)")
    if model.kind == "ast" and view.frames == "native":
        found.append("view.frames = 'native': positions are interpolated for each batch (expected a number of frames)")
    return found


class TensorModel(nn.Module):
    """A model as a function of tensors; its logits are those of the model.

    Parameters
    ----------
    model : ElasticAST or AST
        The model, of which the weights are used.
    config : RunConfig
        Settings of the run, without :func:`problems`.
    """

    def __init__(self, model: nn.Module, config: RunConfig):
        super().__init__()
        self.model, self.settings = model, model.settings
        fixed = config.view.frames != "native"
        self.time_patches = model.settings.patches(config.view.frames) if fixed else None
        self.rotary = isinstance(model, ElasticAST) and model.settings.positions == "rotary"

    def forward(self, patches: Tensor, freq: Tensor, time: Tensor, seqlens: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute the logits of packed clips; of a model with a frame head, also those of time patches.

        Parameters
        ----------
        patches : Tensor
            `[N, P*P]` float32, normalised log-mel.
        freq, time : Tensor
            `[N]` int64, position of each token on the grid of its clip.
        seqlens : Tensor
            `[B]` int64, number of tokens of each clip; they sum to N.

        Returns
        -------
        Tensor
            `[B, C]`, logits of the clips.
        Tensor
            `[N, C]`, for each patch the logits of its time patch; only with a frame head.
        """
        model, clips = self.model, seqlens.shape[0]
        token, clip = torch.arange(patches.shape[0]), torch.arange(clips)
        ends = seqlens.cumsum(0)
        owner = (token[:, None] >= ends).sum(1)
        x, prefix = model.patch_embed(patches), self._prefix()
        if not self.rotary:
            x = x + self._positions(freq, time, clip[:, None] == owner)
        count = len(prefix)
        if count:  # the order of tokens does not matter: those of all clips come first
            x, owner = torch.cat([prefix.repeat(clips, 1), x]), torch.cat([clip.repeat_interleave(count), owner])
        rotation = self._rotation(freq, time, clips * count) if self.rotary else None
        x = model.trunk(x, GivenMask(self._allowed(owner, time)), rotation)
        first, rest = x[: clips * count].unflatten(0, (clips, count)) if count else None, x[clips * count :]
        owner = owner[clips * count :]
        logits = model.head(model.head_norm(self._pooled(first, rest, clip[:, None] == owner)))
        if not self.settings.frame_head:
            return logits
        together = (owner[:, None] == owner) & (time[:, None] == time)
        means = together.to(rest.dtype) @ rest / together.sum(1, keepdim=True)
        return logits, nn.functional.linear(means, model.frame_head.weight, model.frame_head.bias)

    def _allowed(self, owner: Tensor, time: Tensor) -> Tensor:
        """Which tokens of the same clip each token attends to, `[N, N]`."""
        allowed, context = owner[:, None] == owner, getattr(self.settings, "context", None)
        if context is None:
            return allowed
        chunk = time // context.chunk  # no prefix tokens
        age = chunk[:, None] - chunk
        return allowed & (age >= 0) & (True if context.past_chunks is None else age <= context.past_chunks)

    def _prefix(self) -> Tensor:
        """Prefix tokens of a clip `[p, D]`, with their positions."""
        if isinstance(self.model, AST):
            return self.model.prefix + self.model.prefix_positions
        return self.model.cls[None] if self.settings.pooling == "cls" else torch.empty(0, self.settings.dim)

    def _positions(self, freq: Tensor, time: Tensor, of_clip: Tensor) -> Tensor:
        """Position embeddings `[N, D]`; `of_clip` `[B, N]` says which tokens a clip has."""
        if isinstance(self.model, AST):
            return self.model.positions(self.time_patches).index_select(0, freq * self.time_patches + time)

        def lengths() -> Tensor:
            if self.time_patches is not None:
                return torch.full_like(time, self.time_patches)
            last = torch.where(of_clip, time, -1).amax(1)
            return (torch.where(of_clip, last[:, None], -1).amax(0)) + 1

        return self.model.positions(freq, time, lengths)

    def _rotation(self, freq: Tensor, time: Tensor, prefix: int):
        """Rotation of all tokens; the prefix tokens are at position (0, 0), which is not rotated."""
        return self.model.positions(*(torch.cat([index.new_zeros(prefix), index]) for index in (freq, time)))

    def _pooled(self, prefix: Tensor | None, patches: Tensor, of_clip: Tensor) -> Tensor:
        """Pool the tokens of each clip to a vector `[B, D]`."""
        match self.settings.pooling:
            case "cls":
                return prefix.mean(1)
            case "mean":
                shares = of_clip.to(patches.dtype)
                return shares @ patches / shares.sum(1, keepdim=True)
            case "attention":
                return self.model.pool(patches, GivenMask(of_clip))
