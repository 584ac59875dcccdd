"""Names of variants and settings, for readers of tables and figures."""

from elasticast.config.ablation_names import format_value
from elasticast.config.load_ablation import Ablation


def setting(ablation: Ablation, variant: str) -> str:
    """The settings in which a variant differs from the base, in words."""
    changes = [f"{key} = {format_value(value)}" for key, value in ablation.factors[variant].items()]
    own, others = (ablation.experiments[v].evaluations for v in (variant, ablation.base))
    if own != others:
        changes.append(f"evaluations = {', '.join(own)}")
    return "; ".join(changes) or "as the base"


def varied(ablation: Ablation) -> str:
    """What varies between the variants, as the heading of their column."""
    words = ", ".join(map(setting_name, ablation.grid)) or "variant"
    return words[0].upper() + words[1:]


def setting_name(key: str) -> str:
    """A dotted setting for readers: ``train.batch.tokens`` is "batch tokens"."""
    return " ".join(key.split(".")[1:] or [key]).replace("_", " ")
