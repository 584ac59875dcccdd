"""Settings of coarse-to-fine training: phases of lower time resolution before the full one (Feng et al. 2024)."""

from fractions import Fraction
from typing import Any, Literal

from pydantic import Field

from elasticast.config.base import Settings
from elasticast.config.frames import compressed_frames
from elasticast.config.model.patch_sizes import PatchSizes
from elasticast.errors import Problem

PATCH = "patch"
"""The resolution of phases with wider patches."""
TOLERANCE = Fraction(1, 10**6)
"""Largest difference from 1 of the sum of all shares."""


class Phase(Settings):
    """A phase of training at one time resolution."""

    compression: float = Field(ge=1, description="Compression of the clips in this phase; see `view.compression`.")
    resolution: Literal["hop", "max_pool", "patch"] | None = Field(
        None,
        description="How this compression is made: a longer `hop`, the maximum over frames (`max_pool`), or wider "
        "patches (`patch`), see `model.patch_sizes`. `null` means `view.resolution`.",
    )
    share: float = Field(gt=0, le=1, description="Length of this phase, as a share; see `train.phase_shares`.")


def share_problem(key: str, given: list[float]) -> Problem | None:
    """The problem of parts of a training, in a setting `key`, whose shares do not sum to 1; None if they do."""
    total = sum(Fraction(str(share)) for share in given)
    if abs(total - 1) <= TOLERANCE:
        return None
    shares = " + ".join(f"{share:g}" for share in given)
    return Problem("", (key,), f"expected shares that sum to 1, got {shares} = {float(total):g}")


def phase_settings(run: Any) -> list[Any]:
    """Settings of each phase: the `RunSettings` of the run, with the view or the patches of the phase.

    The last phase has the settings of the run.
    """
    return [*(_at_phase(run, phase) for phase in (run.train.phases or [])[:-1]), run]


def _at_phase(run: Any, phase: Phase) -> Any:
    view, model = run.view, run.model
    if phase.resolution == PATCH:
        widths = PatchSizes(sizes=[max(1, round(patch_width(run, phase)))], axes="time", remainder="keep")
        return run.model_copy(update={"model": model.model_copy(update={"patch_sizes": widths})})
    changes = {"compression": [phase.compression], "resolution": phase.resolution or view.resolution}
    if view.frames != "native":  # a fixed view counts its frames at its own compression
        changes["frames"] = compressed_frames(view.span(), phase.compression, model.patch, model.stride)
        if view.segment is not None:
            segment = round(view.segment * view.compression[0] / phase.compression)
            changes["segment"] = max(segment, changes["frames"])
    return run.model_copy(update={"view": view.model_copy(update=changes)})


def patch_width(run: Any, phase: Phase) -> Fraction:
    """Frames of the patches of a phase with `resolution: patch`. Its view is that of the last phase."""
    return run.model.patch * Fraction(str(phase.compression)) / Fraction(str(run.view.compression[0]))


def phase_problems(run: Any) -> list[Problem]:
    """Problems of phases that do not fit the view of a run (`RunSettings`)."""
    phases, view, train = run.train.phases, run.view, run.train
    if phases is None:
        return []
    compressions = [phase.compression for phase in phases]
    if len(view.compression) > 1:
        message = "needs a single view.compression, that of the last phase"
    elif compressions[-1] != view.compression[0]:
        message = f"the last phase is at full resolution: expected compression {view.compression[0]:g}"
    elif phases[-1].resolution not in (None, view.resolution):
        message = f"the last phase is at full resolution: expected resolution {view.resolution!r}, or null"
    elif compressions != sorted(compressions, reverse=True):
        message = "a phase is coarser than the one before: expected falling compressions"
    elif train.steps is not None and any(_steps(phase, train.steps) < 1 for phase in phases):
        message = f"a phase has less than one of the {train.steps} steps"
    else:
        message = next((error for phase in phases if (error := _patch_error(run, phase))), None)
    return [refused_phases(run, message)] if message else []


def _patch_error(run: Any, phase: Phase) -> str | None:
    """Why a phase cannot have wider patches, or None if it can or has none."""
    if phase.resolution != PATCH:
        return None
    width, frames = patch_width(run, phase), run.most_frames(run.default_compression)
    if run.model.no_patch_sizes or run.model.patch_sizes is not None:
        return f"resolution 'patch': {run.model.no_patch_sizes or 'needs model.patch_sizes = null'}"
    if run.train.batch.buckets:
        return "resolution 'patch': needs train.batch.buckets = false"
    if width != int(width):
        return f"model.patch = {run.model.patch} at compression {phase.compression:g} is no whole number of frames"
    if width > frames:
        return f"patches of {int(width)} frames are longer than the longest clip, which has {frames} frames"
    return None


def refused_phases(run: Any, message: str) -> Problem:
    """A problem of the phases of a run."""
    phases = [phase.model_dump(exclude_none=True) for phase in run.train.phases]
    return Problem.between("train.phases", phases, message)


def _steps(phase: Phase, steps: int) -> float:
    return Fraction(str(phase.share)) * steps
