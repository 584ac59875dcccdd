"""Options of a run that do not go together, said with key, value and what would be right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `elasticast.config` asks these questions of its own models
    from elasticast.config import RunConfig


def option_problems(run: "RunConfig") -> list[str]:
    """Problems between the options of a run."""
    return _positions(run)


def _positions(run: "RunConfig") -> list[str]:
    model = run.model
    if model.kind != "elasticast":
        return []
    if model.positions == "sinusoidal" and model.dim % 4:
        return [f"model.positions = 'sinusoidal' needs model.dim as a multiple of 4, got {model.dim}"]
    width = model.dim / model.heads
    if model.positions == "rotary" and width % 4:
        return [f"model.positions = 'rotary' needs model.dim / model.heads as a multiple of 4, got {width:g}"]
    return []
