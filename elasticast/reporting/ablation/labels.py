"""Names of variants and settings in tables and figures."""

from elasticast.config.ablation_names import format_value
from elasticast.config.load_ablation import Ablation
from elasticast.reporting.ablation.scores import AblationResults


def describe_settings(ablation: Ablation, variant: str) -> str:
    """Text for the settings in which a variant differs from the base."""
    changes = [f"{key} = {format_value(value)}" for key, value in ablation.factors[variant].items()]
    evaluations, base_evaluations = (ablation.experiments[v].evaluations for v in (variant, ablation.base))
    if evaluations != base_evaluations:
        changes.append(f"evaluations = {', '.join(evaluations)}")
    return "; ".join(changes) or "as the base"


def figure_title(results: AblationResults) -> str:
    """Title of a figure: dataset, task, and the test clips evaluated, of those listed."""
    coverage, task = results.coverage, results.ablation.runs[results.ablation.base].task
    counted = f", {coverage.counts} test clips" if coverage.clips else ""
    return f"{coverage.name} · {task.replace('_', ' ')}{counted}"


def name_varied_settings(ablation: Ablation) -> str:
    """Names of the settings that vary, as the heading of the column of variants."""
    words = ", ".join(map(setting_name, ablation.grid)) or "variant"
    return words[0].upper() + words[1:]


def setting_name(key: str) -> str:
    """Name of a dotted setting without its section: ``train.batch.tokens`` is "batch tokens"."""
    return " ".join(key.split(".")[1:] or [key]).replace("_", " ")
