"""What a forward pass costs, counted from the model's settings."""

from elasticast.config import ASTSettings, ModelSettings, RunConfig


def forward_flops(config: RunConfig, tokens: int, classes: int) -> int:
    """Floating-point operations of one clip's forward pass, a multiplication and an addition counted as two.

    With n tokens of P x P values, m = n and the prefix or CLS tokens, width D, K blocks, hidden width H, C classes::

        patches 2 n P^2 D + K (2 m D 3D + 4 m^2 D + 2 m D D + 4 m D H) + pooling + head 2 D C

    where attention pooling costs 2 n D 2D + 4 n D + 4 D D. Matrix products only, as `torch.utils.flop_counter` counts.
    """
    model = config.model
    width, hidden, own = model.dim, round(model.dim * model.mlp_ratio), tokens + _prefix_tokens(model)
    block = 2 * own * width * (4 * width + 2 * own + 2 * hidden)
    pooling = 4 * width * (tokens * (width + 1) + width) if model.pooling == "attention" else 0
    return 2 * tokens * model.patch**2 * width + model.depth * block + pooling + 2 * width * classes


def _prefix_tokens(model: ModelSettings) -> int:
    return model.prefix_tokens if isinstance(model, ASTSettings) else int(model.pooling == "cls")
