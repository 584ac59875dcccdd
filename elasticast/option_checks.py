"""Options of a run, and runs and sweeps, that do not go together: said with key, value and what would be right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `elasticast.config` asks these questions of its own models
    from elasticast.config import Evaluation, RunConfig


def option_problems(run: "RunConfig") -> list[str]:
    """Problems between the options of a run."""
    return _buckets(run) + _resolution(run) + _fill(run) + _time_offset(run) + _positions(run) + _cut(run)


def _buckets(run: "RunConfig") -> list[str]:
    native_ast = run.model.kind == "ast" and run.view.frames == "native"
    if run.train.batch.buckets and not native_ast:
        needed = "model.kind = 'ast' and view.frames = 'native': nothing else is filled up to a batch's longest clip"
        return [f"train.batch.buckets needs {needed}"]
    if native_ast and run.view.cut_from is not None:
        return ["view.cut_from is for a model of kind `elasticast`: an `ast` fills its clips up again"]
    return []


def _fill(run: "RunConfig") -> list[str]:
    if run.view.fill == "mask" and run.view.frames == "native":
        return ["view.fill = 'mask' needs view.frames as a number: a native view has no padding to leave out"]
    return []


def _time_offset(run: "RunConfig") -> list[str]:
    as_long = run.view.frames != "native" and run.view.fill != "mask"
    if run.model.kind == "ast" and run.model.time_offset and as_long:
        needed = "view.fill = 'mask': with padding every training clip is as long as the position table"
        return [f"model.time_offset needs {needed}"]
    return []


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


def _resolution(run: "RunConfig") -> list[str]:
    wrong = _no_resolutions(run, run.view.compression)
    return [f"view.compression: {wrong}"] if wrong else []


def _no_resolutions(run: "RunConfig", compressions: list[float]) -> str | None:
    """What is wrong with the compressions that a run cannot be shown at."""
    if run.view.resolution == "max_pool":
        off = [c for c in compressions if c != int(c)]
        return f"{off} are no whole numbers, which view.resolution = 'max_pool' needs" if off else None
    if off := run.front_end.misfits(compressions):
        return f"{off} times front_end.hop_ms = {run.front_end.hop_ms} are no whole numbers of ms"
    return None


def sweep_problems(run: "RunConfig", name: str, sweep: "Evaluation", where: str) -> list[str]:
    """Problems between an experiment and one of its sweeps."""
    where, limit = f"{where}: evaluations.{name}", run.model.limit
    if sweep.x_name == "max_frames":
        return [f"{where}{problem}" for problem in _length_problems(run, sweep)]
    finest = min(sweep.x) if sweep.x_name == "compression" else run.own_compression
    if sweep.x_name == "compression" and (wrong := _no_resolutions(run, sweep.x)):
        return [f"{where}.x: {wrong}"]
    most = run.most_frames(finest)
    if limit is None or most <= limit:
        return []
    return [f"{where}: {most:g} frames at compression {finest:g}, beyond model.max_frames = {limit}"]


def _length_problems(run: "RunConfig", sweep: "Evaluation") -> list[str]:
    """What is wrong with a sweep over lengths, each said from behind its name."""
    view, model, problems = run.view, run.model, []
    if sweep.windows and view.frames == "native":
        problems.append(".windows: needs view.frames as a number: a native view takes longer clips whole")
    if sweep.compression is None and len(view.compression) == 1 and view.compression != [1.0]:
        problems.append(f": a sweep over lengths is at compression 1, view.compression is {view.compression}")
    if wrong := _no_resolutions(run, sweep.compression or []):
        problems.append(f".compression: {wrong}")
    if off := [x for x in sweep.x if model.misfit(int(x))]:
        wrong = "not multiples of" if model.stride == model.patch else "shorter than"
        problems.append(f".x: {off} are {wrong} model.patch = {model.patch}")
    finest = min(sweep.compression or [1.0])
    if model.limit is not None and not sweep.windows and (far := [x for x in sweep.x if x / finest > model.limit]):
        problems.append(f".x: {far} lie beyond model.max_frames = {model.limit}")
    least = view.min_frames if view.frames == "native" and view.min_frames else 0
    if few := [x for x in sweep.x if x < least]:
        problems.append(f".x: {few} lie below view.min_frames = {least}")
    return problems
