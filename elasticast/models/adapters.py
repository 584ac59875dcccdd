"""Adapting trained transformers: parameters that are added to a model, and which of its parameters train.

`model.adapt` freezes a model except for what follows the blocks (last LayerNorm, pooling, head) and the parameters of
its kind, see :mod:`elasticast.config.model.adapting`. Places and sizes are those of Cappellazzo et al. 2023 (arXiv
2312.03694), where the same parameters follow the blocks. Adapters and LoRA start at 0: an adapted model starts equal
to the one that it adapts. Prompts do not.

Shapes: N tokens of all clips, B clips, D width, b width of an adapter.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config.model.adapting import (
    Adaptation,
    BitFit,
    Bottleneck,
    Conformer,
    LoRA,
    Prompts,
    SublayerAdaptation,
)
from elasticast.data.packing import Lengths
from elasticast.models.attention import ClipMask, Rotation

ADDED = ("adapters", "lora", "prompts")
"""Names of the modules that are added to a model."""
PROJECTIONS = ("q", "k", "v")
"""Order of the rows of the weight of `SelfAttention.qkv`."""


def adapt(model: nn.Module, adaptation: Adaptation) -> None:
    """Add the parameters of an adaptation to a model, and freeze all that do not train.

    Parameters
    ----------
    model : AST or ElasticAST
        The model; its attribute `settings` is set. Names of its parameters do not change.
    adaptation : Adaptation
        How it is adapted.
    """
    if isinstance(adaptation, Prompts):
        model.trunk.prompts = PromptTokens(adaptation, model.settings)
    for block in model.trunk.blocks:
        if isinstance(adaptation, LoRA):
            block.attn.qkv = LowRankLinear(block.attn.qkv, adaptation)
        if isinstance(adaptation, SublayerAdaptation):
            block.adapters.update({part: Adapter(adaptation, block.mlp.fc1.in_features) for part in adaptation.parts})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains(name, model))


def trains(name: str, model: nn.Module) -> bool:
    """Whether a parameter of an adapted model trains."""
    adaptation, parts = model.settings.adaptation, name.split(".")
    if follows_blocks(name, model) or name.startswith("trunk.norm.") or is_added(name):
        return True
    if not name.startswith("trunk.blocks."):
        return False
    return (isinstance(adaptation, BitFit) and parts[-1] == "bias") or parts[3] in adaptation.norms


def follows_blocks(name: str, model: nn.Module) -> bool:
    """Whether a parameter is one of the heads or of the pooling."""
    return name.split(".")[0] in (*model.settings.traits.head, "pool")


def is_added(name: str) -> bool:
    """Whether a parameter is one that :func:`adapt` adds."""
    return not set(ADDED).isdisjoint(name.split("."))


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model that training changes: all, or of an adapted model those that train."""
    state = model.state_dict()
    if model.settings.adaptation is None:
        return state
    return {name: value for name, value in state.items() if trains(name, model)}


def load_trained(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load what :func:`trained_state` returned; the other tensors of the model do not change."""
    model.load_state_dict({**model.state_dict(), **tensors})


def trained_parameters(model: nn.Module) -> int:
    """Number of parameters that train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class LowRankLinear(nn.Linear):
    """The projection to q, k and v with low-rank updates: W x + s B A x (Hu et al. 2021, section 4.1).

    A starts as PyTorch's linear layers, and B at 0, as in that paper.

    Parameters
    ----------
    linear : nn.Linear
        The projection, whose parameters are used.
    settings : LoRA
        Rank, scale s and projections.
    """

    def __init__(self, linear: nn.Linear, settings: LoRA):
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias, self.scale = linear.weight, linear.bias, settings.scale
        self.lora = nn.ModuleDict({name: _low_rank(self.in_features, settings.rank) for name in settings.targets})

    def forward(self, x: Tensor) -> Tensor:
        """`[N, D]` to `[N, 3D]`."""
        parts = dict(zip(PROJECTIONS, super().forward(x).chunk(3, -1), strict=True))
        for name, update in self.lora.items():
            parts[name] = parts[name] + self.scale * update(x)
        return torch.cat(list(parts.values()), -1)


def _low_rank(width: int, rank: int) -> nn.Sequential:
    update = nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False))
    nn.init.zeros_(update[1].weight)
    return update


def merge_low_rank(tensors: dict[str, Tensor], settings: LoRA) -> dict[str, Tensor]:
    """The tensors of a model with its low-rank updates added to the weights that they update."""
    merged = {name: value for name, value in tensors.items() if not is_added(name)}
    for name, b in tensors.items():
        layer, _, part = name.partition(".lora.")
        target, _, last = part.partition(".")
        if last == "1.weight":
            update = settings.scale * b @ tensors[f"{layer}.lora.{target}.0.weight"]
            parts = list(merged[f"{layer}.weight"].chunk(3))
            parts[PROJECTIONS.index(target)] = parts[PROJECTIONS.index(target)] + update
            merged[f"{layer}.weight"] = torch.cat(parts)
    return merged


class PromptTokens(nn.Module):
    """Learned tokens that pass the blocks with the tokens of each clip (Jia et al. 2022, equations 4-7).

    They come after the prefix tokens of the clip, and are left out again after the last block. Their starting values
    are uniform within ±√(6 / (3 P² + D)), for patches of P x P, as in that paper.

    Parameters
    ----------
    prompts : Prompts
        Number of prompts n, and whether each block has its own.
    settings : TransformerSettings
        Settings of the model.
    """

    def __init__(self, prompts: Prompts, settings):
        super().__init__()
        self.prefix = settings.traits.extra_tokens
        bound = (6 / (3 * settings.patch**2 + settings.dim)) ** 0.5
        shape = settings.depth if prompts.deep else 1, prompts.tokens, settings.dim
        self.tokens = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self, blocks: nn.ModuleList, x: Tensor, mask: ClipMask, rotation: Rotation | None) -> Tensor:
        """Run blocks on `[N, D]` and the prompts of each clip; returns `[N, D]`."""
        lengths, count = mask.q, self.tokens.shape[1]
        longer = lengths.plus(count)
        others, prompts = self._rows(lengths, longer)
        mask = ClipMask(longer, longer, mask.backend)
        if rotation is not None:  # prompts have no position, so they are not rotated
            size = sum(longer.counts), *rotation.cos.shape[1:]
            cos = rotation.cos.new_ones(size).index_copy(0, others, rotation.cos)
            rotation = Rotation(cos, rotation.sin.new_zeros(size).index_copy(0, others, rotation.sin))
        x = x.new_zeros(sum(longer.counts), x.shape[1]).index_copy(0, others, x)
        for number, block in enumerate(blocks):
            if number < len(self.tokens):
                x = x.index_copy(0, prompts, self.tokens[number].to(x.dtype).repeat(len(lengths), 1))
            x = block(x, mask, rotation)
        return x.index_select(0, others)

    def _rows(self, lengths: Lengths, longer: Lengths) -> tuple[Tensor, Tensor]:
        """Rows `[N]` of the tokens and `[B * n]` of the prompts in a batch with both."""
        count, device = self.tokens.shape[1], lengths.bounds.device
        owners = lengths.owners()
        rows = torch.arange(len(owners), device=device)
        after = rows - lengths.bounds[owners] >= self.prefix
        first = longer.bounds[:-1].long() + self.prefix
        prompts = first[:, None] + torch.arange(count, device=device)
        return rows + count * (owners + after), prompts.flatten()


class Adapter(nn.Module):
    """A small network whose output is added to that of the attention or of the MLP of a block.

    Parameters
    ----------
    settings : SublayerAdaptation
        Kind, width and order.
    dim : int
        Width D of the tokens.
    """

    def __init__(self, settings: SublayerAdaptation, dim: int):
        super().__init__()
        self.parallel = settings.order == "parallel"
        kind = {Bottleneck: BottleneckNetwork, Conformer: ConformerNetwork}[type(settings)]
        self.network = kind(settings, dim)

    def forward(self, x: Tensor, y: Tensor, mask: ClipMask) -> Tensor:
        """The output `y` `[N, D]` of a part with input `x` `[N, D]`, and that of the adapter."""
        return y + self.network(x if self.parallel else y, mask.q)


class BottleneckNetwork(nn.Module):
    """Linear to b, GELU, linear to D. Only the last layer starts at 0: if both did, neither would ever change."""

    def __init__(self, settings: Bottleneck, dim: int):
        super().__init__()
        self.down, self.up = nn.Linear(dim, settings.width), _zeros(settings.width, dim)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """`[N, D]` to `[N, D]`."""
        return self.up(F.gelu(self.down(x)))


class ConformerNetwork(nn.Module):
    """LayerNorm, linear to 2b, GLU, depthwise convolution, LayerNorm, SiLU, linear to D.

    The convolution runs over the tokens of a clip in their order, with zeros before and after, and never over two
    clips. The second LayerNorm is over the channels of one token: in its place, Conformers have a BatchNorm, whose
    statistics would mix the clips of a batch.
    """

    def __init__(self, settings: Conformer, dim: int):
        super().__init__()
        width = settings.width
        self.norm, self.down = nn.LayerNorm(dim), nn.Linear(dim, 2 * width)
        self.conv = nn.Conv1d(width, width, settings.kernel, padding=settings.kernel // 2, groups=width)
        self.conv_norm, self.up = nn.LayerNorm(width), _zeros(width, dim)

    def forward(self, x: Tensor, lengths: Lengths) -> Tensor:
        """`[N, D]` to `[N, D]`."""
        x = self._convolved(F.glu(self.down(self.norm(x)), -1), lengths)
        return self.up(F.silu(self.conv_norm(x)))

    def _convolved(self, x: Tensor, lengths: Lengths) -> Tensor:
        """Convolve `[N, b]` within clips: between two clips, there are as many zeros as the kernel reaches."""
        gap = self.conv.padding[0]
        rows = torch.arange(len(x), device=x.device) + gap * lengths.owners()
        spaced = x.new_zeros(len(x) + gap * (len(lengths) - 1), x.shape[1]).index_copy(0, rows, x)
        return self.conv(spaced.T[None])[0].T.index_select(0, rows)


def _zeros(width: int, dim: int) -> nn.Linear:
    linear = nn.Linear(width, dim)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
