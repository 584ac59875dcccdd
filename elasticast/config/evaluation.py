"""Settings of an evaluation: a sweep of a trained model over lengths, resolutions, or tokens left out."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from elasticast.config.base import Settings
from elasticast.config.run import RunSettings, wrong_resolutions


class Evaluation(Settings):
    """A sweep of one trained model over lengths, resolutions, both, or tokens left out."""

    x_name: Literal["max_frames", "compression", "token_drop"]
    x: list[Annotated[float, Field(ge=0)]] = Field(
        min_length=1, description="frames, the paper's compression ratio, or share of each clip's tokens left out"
    )
    split: Literal["dev", "test"] = Field("test", description="clips that are measured; figures show test alone")
    compression: list[Annotated[float, Field(ge=1)]] | None = Field(
        None, min_length=1, description="max_frames: a grid, every x (frames at compression 1) at each of these"
    )
    windows: bool = Field(
        False, description="max_frames: a fixed view's model hears x frames beyond its own in windows of its own length"
    )

    @model_validator(mode="after")
    def _whole_frames(self):
        if self.x_name == "max_frames" and any(x != int(x) or not x for x in self.x):
            raise ValueError(f"x = {self.x}: frames are whole numbers above 0")
        if self.x_name == "token_drop" and max(self.x) >= 1:
            raise ValueError(f"x = {self.x}: a share below 1, at least one token has to stay")
        if self.x_name == "compression" and min(self.x) < 1:
            raise ValueError(f"x = {self.x}: compression starts at 1; for a finer hop lower front_end.hop_ms")
        for key in ("windows", "compression"):
            if getattr(self, key) and self.x_name != "max_frames":
                raise ValueError(f"`{key}` goes with x_name: max_frames, here it is {self.x_name}")
        if self.windows and self.compression:
            raise ValueError("`windows` are of a model's own resolution: leave out `compression`")
        return self


def sweep_problems(run: RunSettings, name: str, sweep: Evaluation, where: str) -> list[str]:
    """Problems between an experiment and one of its sweeps."""
    where, limit = f"{where}: evaluations.{name}", run.model.limit
    if sweep.x_name == "max_frames":
        return [f"{where}{problem}" for problem in _length_problems(run, sweep)]
    finest = min(sweep.x) if sweep.x_name == "compression" else run.own_compression
    if sweep.x_name == "compression" and (wrong := wrong_resolutions(run, sweep.x)):
        return [f"{where}.x: {wrong}"]
    most = run.most_frames(finest)
    if limit is None or most <= limit:
        return []
    return [f"{where}: {most:g} frames at compression {finest:g}, beyond model.max_frames = {limit}"]


def _length_problems(run: RunSettings, sweep: Evaluation) -> list[str]:
    """What is wrong with a sweep over lengths, each said from behind its name."""
    view, model, problems = run.view, run.model, []
    if sweep.windows and view.frames == "native":
        problems.append(".windows: needs view.frames as a number: a native view takes longer clips whole")
    if sweep.compression is None and len(view.compression) == 1 and view.compression != [1.0]:
        problems.append(f": a sweep over lengths is at compression 1, view.compression is {view.compression}")
    if wrong := wrong_resolutions(run, sweep.compression or []):
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
