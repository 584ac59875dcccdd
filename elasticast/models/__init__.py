"""Models: one transformer trunk, two ways to feed it."""

from elasticast.config import ASTSettings, ElasticASTSettings, RunConfig
from elasticast.models.ast import AST
from elasticast.models.elasticast import ElasticAST

__all__ = ["AST", "ElasticAST", "build_model"]


def build_model(config: RunConfig, classes: int) -> ElasticAST | AST:
    """The model of a run, freshly initialised from torch's current random state."""
    freq = config.model.patches(config.front_end.mel_bins)
    match config.model:
        case ElasticASTSettings():
            return ElasticAST(config.model, freq_patches=freq, classes=classes)
        case ASTSettings():
            time = config.model.patches(config.view.longest)
            return AST(config.model, grid=(freq, time), classes=classes)
