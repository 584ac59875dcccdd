"""Cost of a forward pass, computed from the settings of the model."""

from elasticast.config import ASTSettings, ModelSettings, RunConfig


def forward_flops(config: RunConfig, tokens: int, classes: int) -> int:
    """Floating-point operations of the forward pass of one clip; a multiplication and an addition count as two.

    With n patch tokens of P x P values, m tokens including prefix or CLS tokens, width D, K blocks, hidden width H of
    the MLP, and C classes::

        patches 2 n P^2 D + K (2 m D 3D + 4 m^2 D + 2 m D D + 4 m D H) + pooling + head 2 D C

    where attention pooling costs 2 n D 2D + 4 n D + 4 D D. Only matrix products count, as in
    `torch.utils.flop_counter`.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    tokens : int
        Number of patch tokens n.
    classes : int
        Number of classes C.
    """
    model = config.model
    width, hidden, length = model.dim, round(model.dim * model.mlp_ratio), tokens + _prefix_tokens(model)
    block = 2 * length * width * (4 * width + 2 * length + 2 * hidden)
    pooling = 4 * width * (tokens * (width + 1) + width) if model.pooling == "attention" else 0
    return 2 * tokens * model.patch**2 * width + model.depth * block + pooling + 2 * width * classes


def _prefix_tokens(model: ModelSettings) -> int:
    return model.prefix_tokens if isinstance(model, ASTSettings) else int(model.pooling == "cls")
