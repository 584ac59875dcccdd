"""Settings: their classes, and how YAML files are read, merged and checked.

These modules import neither torch nor pandas, because every ``snakemake -n`` imports them.
"""

from elasticast.config.ablation import Ablation, AblationFile
from elasticast.config.augment import FilterAugment, SpecAugment, TimeWarp
from elasticast.config.base import PRIMARY_METRIC, Settings, TaskKind, digest
from elasticast.config.dataset import DatasetConfig
from elasticast.config.deciding import deciding
from elasticast.config.evaluation import Evaluation
from elasticast.config.model import (
    ASTSettings,
    AuMSettings,
    CNNSettings,
    Context,
    ElasticASTSettings,
    ModelConfig,
    ModelSettings,
    PatchSize,
    PatchSizes,
    TokenMerging,
    Traits,
    TransformerSettings,
)
from elasticast.config.run import OF_RUN, RunConfig
from elasticast.config.suite import Claim, Experiment, ReleasedSeries, Suite, SuiteHead
from elasticast.config.training import Batch, Schedule, Select, Train
from elasticast.config.view import FrontEnd, NormSettings, View
from elasticast.config.workflow import WorkflowConfig

__all__ = [
    "OF_RUN",
    "PRIMARY_METRIC",
    "ASTSettings",
    "Ablation",
    "AblationFile",
    "AuMSettings",
    "Batch",
    "CNNSettings",
    "Claim",
    "Context",
    "DatasetConfig",
    "ElasticASTSettings",
    "Evaluation",
    "Experiment",
    "FilterAugment",
    "FrontEnd",
    "ModelConfig",
    "ModelSettings",
    "NormSettings",
    "PatchSize",
    "PatchSizes",
    "ReleasedSeries",
    "RunConfig",
    "Schedule",
    "Select",
    "Settings",
    "SpecAugment",
    "Suite",
    "SuiteHead",
    "TaskKind",
    "TimeWarp",
    "TokenMerging",
    "Train",
    "Traits",
    "TransformerSettings",
    "View",
    "WorkflowConfig",
    "deciding",
    "digest",
]
