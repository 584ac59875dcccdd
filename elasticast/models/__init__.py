"""Models: AST and ElasticAST, which share a transformer trunk."""

from elasticast.config import ASTSettings, ElasticASTSettings, RunConfig
from elasticast.models.ast import AST
from elasticast.models.elasticast import ElasticAST

__all__ = ["AST", "ElasticAST", "build_model"]


def build_model(config: RunConfig, classes: int) -> ElasticAST | AST:
    """Build the model of a run, initialised from torch's global random state.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    classes : int
        Number of classes.
    """
    freq = config.model.patches(config.front_end.mel_bins)
    match config.model:
        case ElasticASTSettings():
            return ElasticAST(config.model, freq_patches=freq, classes=classes)
        case ASTSettings():
            time = config.model.patches(config.view.longest)
            return AST(config.model, grid=(freq, time), classes=classes)
