"""Options of a run that do not go together, said with key, value and what would be right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `elasticast.config` asks these questions of its own models
    from elasticast.config import RunConfig


def option_problems(run: "RunConfig") -> list[str]:
    """Problems between the options of a run."""
    return _positions(run) + _cut(run)


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


def _cut(run: "RunConfig") -> list[str]:
    view, cut = run.view, run.view.cut_from
    if cut is None:
        return []
    if view.frames != "native":
        return [
            f"view.cut_from = {cut} needs view.frames = 'native', which is {view.frames}: a fixed view has one length"
        ]
    if misfit := run.model.misfit(cut):
        return [f"view.cut_from = {cut} {misfit}"]
    least = view.min_frames or run.model.patch
    if not least <= cut <= view.max_frames:
        return [f"view.cut_from = {cut}: expected {least} to {view.max_frames}, the lengths that clips are shown at"]
    return []
