"""Audio Mamba (Erol, Senocak, Feng, Chung 2024): a state-space model in place of attention, for packed clips.

Shapes: B clips, N tokens of all clips, D width, E channels of a block, S states per channel, R rank of step sizes.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import AuMSettings
from elasticast.data.packing import Lengths, PackedBatch
from elasticast.models.frame_head import clip_time_means
from elasticast.models.pooling import mean_pooling
from elasticast.models.positions import GridPositions
from elasticast.models.scan import has_kernel, kernel_scan, selective_scan

STEP_SIZES = 1e-3, 1e-1
"""Range of the initial step sizes."""
SMALLEST_STEP = 1e-4
"""Lower limit of the initial step sizes."""


class Places:
    """Where each token is in its clip.

    Parameters
    ----------
    lengths : Lengths
        Number of tokens of each clip.

    Attributes
    ----------
    before, after : Tensor
        `[N]`, number of tokens of the clip before and after the token.
    clips : int
        Number of clips.
    """

    def __init__(self, lengths: Lengths):
        owners, bounds, self.clips = lengths.owners(), lengths.bounds.long(), len(lengths)
        index = torch.arange(len(owners), device=owners.device)
        self.before = index - bounds.index_select(0, owners)
        self.after = bounds.index_select(0, owners + 1) - 1 - index


class Direction(nn.Module):
    """Convolution, projections, and the parameters of the scan in one direction.

    Parameters
    ----------
    settings : AuMSettings
        Sizes.
    """

    def __init__(self, settings: AuMSettings):
        super().__init__()
        channels, self.sizes = settings.expand * settings.dim, (settings.rank, settings.d_state, settings.d_state)
        self.conv = nn.Conv1d(channels, channels, settings.d_conv, groups=channels)
        self.x_proj = nn.Linear(channels, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(settings.rank, channels)
        self.a_log = nn.Parameter(initial_a_log(channels, settings.d_state))
        self.d = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, places: Places, backward: bool = False) -> tuple[Tensor, ...]:
        """Inputs `[N, E]`, step sizes `[N, E]`, and how states are written and read `[N, S]`, of a scan."""
        u = F.silu(self._convolve(x, places.after if backward else places.before, backward))
        rank, b, c = self.x_proj(u).split(self.sizes, -1)
        # under autocast, the product is in 16 bits, and the bias makes it float32 again
        return u, F.softplus(F.linear(rank, self.dt_proj.weight) + self.dt_proj.bias), b, c

    def _convolve(self, x: Tensor, before: Tensor, backward: bool) -> Tensor:
        """Causal convolution of `[N, E]` within clips; `before` counts the tokens since the first, in its direction."""
        taps = self.conv.weight[:, 0].to(x.dtype).unbind(1)
        y = torch.addcmul(self.conv.bias.to(x.dtype), x, taps[-1])
        for shift, tap in enumerate(reversed(taps[:-1]), start=1):
            if shift >= len(x):
                break
            padding = x.new_zeros(shift, x.shape[1])
            shifted = torch.cat([x[shift:], padding] if backward else [padding, x[:-shift]])
            y = y + shifted * (before >= shift)[:, None] * tap
        return y


def initial_a_log(channels: int, states: int) -> Tensor:
    """Logarithm `[E, S]` of the negative rates of decay: 1 to S in each channel (S4D-real)."""
    return torch.arange(1, states + 1, dtype=torch.float32).log().repeat(channels, 1)


def scan(
    inputs: tuple[Tensor, ...], a_log: Tensor, places: Places, *, backward: bool = False, kernel: bool = False
) -> Tensor:
    """Selective scan `[N, E]` of the clips, forwards or from their last token to the first; `kernel`: by mamba_ssm."""
    before = places.after.flip(0) if backward else places.before
    u, delta, b, c = (x.flip(0) for x in inputs) if backward else inputs
    compute = functools.partial(kernel_scan, clips=places.clips) if kernel else selective_scan
    y = compute(u, delta, -a_log.exp(), b, c, before == 0)
    return y.flip(0) if backward else y


class Mixer(nn.Module):
    """Mamba's mixer of tokens, in one or both directions.

    With the input u of a scan and its output y, a direction gives y + d u, times SiLU(z). Fo-Bi adds the two scans, and
    d u once for each; Bi-Bi takes the mean of its directions.

    Parameters
    ----------
    settings : AuMSettings
        Sizes and directions.
    """

    def __init__(self, settings: AuMSettings):
        super().__init__()
        channels, self.direction, self.kind = settings.expand * settings.dim, settings.direction, settings.scan
        self.in_proj = nn.Linear(settings.dim, 2 * channels, bias=False)
        self.forwards = Direction(settings)
        if self.direction == "bi_bi":
            self.backwards = Direction(settings)
        if self.direction == "fo_bi":
            self.backward_a_log = nn.Parameter(initial_a_log(channels, settings.d_state))
        self.out_proj = nn.Linear(channels, settings.dim, bias=False)

    def forward(self, x: Tensor, places: Places) -> Tensor:
        """`[N, D]` to `[N, D]`, without mixing clips."""
        x, z = self.in_proj(x).chunk(2, -1)
        kernel = self.kind == "auto" and has_kernel(x.device.type)
        inputs = self.forwards(x, places)
        y = scan(inputs, self.forwards.a_log, places, kernel=kernel) + self.forwards.d * inputs[0]
        if self.direction == "fo_bi":
            backward = scan(inputs, self.backward_a_log, places, backward=True, kernel=kernel)
            y = y + backward + self.forwards.d * inputs[0]
        elif self.direction == "bi_bi":
            inputs = self.backwards(x, places, backward=True)
            backward = scan(inputs, self.backwards.a_log, places, backward=True, kernel=kernel)
            backward = backward + self.backwards.d * inputs[0]
            y = (y + backward) / 2
        return self.out_proj(y.to(z.dtype) * F.silu(z))


class MambaBlock(nn.Module):
    """RMSNorm, mixer and a residual connection, which stays in float32 under autocast."""

    def __init__(self, settings: AuMSettings):
        super().__init__()
        self.norm = nn.RMSNorm(settings.dim, eps=settings.norm_eps)
        self.mixer = Mixer(settings)

    def forward(self, x: Tensor, places: Places) -> Tensor:
        """`[N, D]` to `[N, D]`, without mixing clips."""
        return x + self.mixer(self.norm(x), places)


class AuM(nn.Module):
    """Audio Mamba for packed batches of clips of different lengths.

    Parameters
    ----------
    settings : AuMSettings
        Settings of the model.
    grid : tuple of int
        Number of frequency patches, and of time patches of the longest view: the size of the table of positions.
    classes : int
        Number of classes C.
    """

    Settings = AuMSettings

    def __init__(self, settings: AuMSettings, *, grid: tuple[int, int], classes: int):
        super().__init__()
        self.settings = settings
        self.patch_embed = nn.Linear(settings.patch**2, settings.dim)
        self.positions = GridPositions(grid, settings.dim, cut=settings.positions == "cut")
        if settings.pooling == "cls":
            self.cls, self.cls_position = (nn.Parameter(torch.empty(settings.dim)) for _ in range(2))
        self.blocks = nn.ModuleList(MambaBlock(settings) for _ in range(settings.depth))
        self.norm = nn.RMSNorm(settings.dim, eps=settings.norm_eps)
        self.head = nn.Linear(settings.dim, classes)
        init_weights(self)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Compute logits `[B, C]`, in the order of the clips. Tokens of the clips may be dropped."""
        x, cls_rows = self._states(batch)
        if cls_rows is None:
            return self.head(mean_pooling(self.norm(x), batch.lengths))
        return self.head(self.norm(x.index_select(0, cls_rows)))

    def frame_embeddings(self, batch: PackedBatch) -> list[Tensor]:
        """Mean `[time patches, D]` of the last states of each time patch, of each clip; 0 without tokens."""
        x, cls_rows = self._states(batch)
        if cls_rows is not None:
            is_patch = torch.ones(len(x), dtype=torch.bool, device=x.device).index_fill(0, cls_rows, False)
            x = x[is_patch]
        if self.settings.order == "time":
            x = torch.empty_like(x).index_copy(0, time_major(batch), x)
        return clip_time_means(self.norm(x), batch)

    def _states(self, batch: PackedBatch) -> tuple[Tensor, Tensor | None]:
        """Tokens after the last block, in the order of the scan, and the rows `[B]` of CLS tokens, if there are any."""
        x, lengths = self.patch_embed(batch.patches) + self._positions(batch), batch.lengths
        if self.settings.order == "time":
            x = x.index_select(0, time_major(batch))
        cls_rows = None
        if self.settings.pooling == "cls":
            x, cls_rows = insert_cls(x, self.cls + self.cls_position, lengths, self.settings.cls_place)
        places = Places(lengths if cls_rows is None else lengths.plus(1))
        for block in self.blocks:
            x = block(x, places)
        return x, cls_rows

    def _positions(self, batch: PackedBatch) -> Tensor:
        """Position embeddings `[N, D]`, from a table for each number of time patches in the batch."""
        tables = {n: self.positions(n, batch.patch_size) for n in sorted(set(batch.clip_time_patches))}
        start, starts = 0, {}
        for n, table in tables.items():
            starts[n], start = start, start + len(table)
        first = torch.tensor([starts[n] for n in batch.clip_time_patches]).to(batch.freq.device, non_blocking=True)
        rows = first.index_select(0, batch.lengths.owners()) + batch.freq * batch.grid_lengths() + batch.time
        return torch.cat(list(tables.values())).index_select(0, rows)


def time_major(batch: PackedBatch) -> Tensor:
    """Rows `[N]` of the tokens, clip by clip, sorted by time and then by frequency."""
    bands = batch.freq.max() + 1
    key = (batch.lengths.owners() * batch.time_patches + batch.time) * bands + batch.freq
    return key.argsort(stable=True)


def insert_cls(x: Tensor, cls: Tensor, lengths: Lengths, place: str) -> tuple[Tensor, Tensor]:
    """Insert the vector `cls` into each clip of `x` `[N, D]`.

    Returns
    -------
    Tensor
        `[N + B, D]`.
    Tensor
        `[B]`, rows of the inserted vectors. In the middle of n tokens, n // 2 of them come before it.
    """
    clips, counts, owners = len(lengths), lengths.bounds.diff().long(), lengths.owners()
    before = {"first": torch.zeros_like(counts), "middle": counts // 2, "last": counts}[place]
    cls_rows = lengths.bounds[:-1].long() + torch.arange(clips, device=x.device) + before
    after = Places(lengths).before >= before.index_select(0, owners)
    token_rows = torch.arange(len(x), device=x.device) + owners + after
    order = torch.empty(len(x) + clips, dtype=torch.int64, device=x.device)
    order[cls_rows] = torch.arange(clips, device=x.device)
    order[token_rows] = torch.arange(clips, len(order), device=x.device)
    return torch.cat([cls.to(x.dtype).expand(clips, -1), x]).index_select(0, order), cls_rows


@torch.no_grad()
def init_weights(model: AuM) -> None:
    """Initialise as Vision Mamba does; linear layers that are not named here keep PyTorch's default.

    `backward_dt: released` repeats a slip of the released code: step sizes of the backward scan start near
    softplus(0) = 0.69.
    """
    settings = model.settings
    for name, parameter in model.named_parameters():
        if name in ("cls", "cls_position", "positions.table", "head.weight"):
            nn.init.trunc_normal_(parameter, std=0.02)
        elif name in ("patch_embed.bias", "head.bias"):
            nn.init.zeros_(parameter)
        elif name == "patch_embed.weight":  # LeCun normal: 0.88 is the standard deviation of a normal cut at 2
            std = 1 / settings.patch / 0.87962566
            nn.init.trunc_normal_(parameter, std=std, a=-2 * std, b=2 * std)
        elif name.endswith("out_proj.weight"):
            parameter.div_(math.sqrt(settings.depth))
    for name, module in model.named_modules():
        if isinstance(module, Direction):
            init_step_sizes(module.dt_proj, released=name.endswith("backwards") and settings.backward_dt == "released")


def init_step_sizes(projection: nn.Linear, *, released: bool) -> None:
    """Draw initial step sizes log-uniformly from :data:`STEP_SIZES`; the bias is the inverse of softplus of them."""
    if released:
        nn.init.zeros_(projection.bias)
        return
    bound = projection.in_features**-0.5
    nn.init.uniform_(projection.weight, -bound, bound)
    low, high = map(math.log, STEP_SIZES)
    steps = torch.empty_like(projection.bias).uniform_(low, high).exp().clamp(min=SMALLEST_STEP)
    projection.bias.copy_(steps + torch.log(-torch.expm1(-steps)))
