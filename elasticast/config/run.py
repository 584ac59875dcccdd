"""Settings of one training run, and which of them do not go together."""

from pydantic import Field, model_validator

from elasticast.config.base import Settings
from elasticast.config.frames import compressed_frames
from elasticast.config.model import ASTSettings, ElasticASTSettings, ModelConfig
from elasticast.config.training import Train
from elasticast.config.view import FrontEnd, NormSettings, View

OF_RUN = "run:"
"""What `model.init` begins with where the weights are those of another experiment."""


class RunSettings(Settings):
    """Settings of the runs of an experiment, the same for every seed."""

    dataset: str
    task: str
    front_end: FrontEnd = FrontEnd()
    norm: NormSettings | None = Field(
        None, description="normalise with this mean and standard deviation; none: with the training split's"
    )
    view: View = View()
    model: ModelConfig
    train: Train

    @model_validator(mode="after")
    def _consistent(self):
        view, model = self.view, self.model
        problems = []
        if model.dim % model.heads:
            problems.append(f"model.dim = {model.dim} is not a multiple of model.heads = {model.heads}")
        lengths = {"front_end.mel_bins": self.front_end.mel_bins}
        lengths |= {"view.frames": view.frames, "view.max_frames": view.max_frames}
        if view.min_frames is not None:
            lengths["view.min_frames"] = view.min_frames
            if view.min_frames > view.max_frames:
                problems.append(f"view.min_frames = {view.min_frames} is above view.max_frames = {view.max_frames}")
        if isinstance(model, ElasticASTSettings):
            lengths["model.max_frames"] = model.max_frames
        for name, frames in lengths.items():
            if frames != "native" and (misfit := model.misfit(frames)):
                problems.append(f"{name} = {frames} {misfit}")
        if isinstance(model, ASTSettings) and model.pooling == "cls" and not model.prefix_tokens:
            problems.append("model.pooling = 'cls' needs model.prefix_tokens = 1 or 2")
        bucketed = view.frames == "native" and self.train.batch.buckets
        if isinstance(model, ASTSettings) and not (
            (bucketed or view.frames != "native") and len(view.compression) == 1
        ):
            said = "as a number (or native with `train.batch.buckets`) and one `view.compression`"
            problems.append(f"a model of kind `ast` needs `view.frames` {said}")
        if isinstance(model, ASTSettings) and self.train.token_dropout:
            problems.append("train.token_dropout needs a model of kind `elasticast`: an `ast` takes whole clips")
        longest = "view.max_frames" if view.frames == "native" else "view.frames"
        if model.limit is not None and self.most_frames(min(view.compression)) > model.limit:
            problems.append(f"{longest} = {lengths[longest]} is beyond model.max_frames = {model.limit}")
        problems += option_problems(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def own_compression(self) -> float:
        """The one that sweeps over something else are made at; the finest of a model that is trained at several."""
        return self.view.compression[0] if len(self.view.compression) == 1 else 1.0

    @property
    def starts_from(self) -> str | None:
        """The experiment whose weights training starts from, if it starts from another experiment."""
        init = self.model.init or ""
        return init.removeprefix(OF_RUN) if init.startswith(OF_RUN) else None

    def most_frames(self, compression: float) -> int:
        """Frames of the longest clip at a compression; a fixed view keeps its seconds."""
        return compressed_frames(self.view.span(), compression, self.model.patch, self.model.stride)


class RunConfig(RunSettings):
    """All that decides the weights of one training run, except for code and data."""

    experiment: str = Field(pattern=r"^\w[\w-]*$")
    seed: int = Field(ge=0)

    @classmethod
    def of(cls, settings: RunSettings, experiment: str, seed: int) -> "RunConfig":
        """The run of one experiment and seed; the settings have been validated already."""
        return cls(experiment=experiment, seed=seed, **dict(settings))

    @property
    def settings(self) -> RunSettings:
        """The settings that all seeds share."""
        return RunSettings.model_construct(**{name: getattr(self, name) for name in RunSettings.model_fields})


def option_problems(run: RunSettings) -> list[str]:
    """Problems between the options of a run."""
    return _buckets(run) + _resolution(run) + _fill(run) + _time_offset(run) + _positions(run) + _cut(run)


def _buckets(run: RunSettings) -> list[str]:
    native_ast = run.model.kind == "ast" and run.view.frames == "native"
    if run.train.batch.buckets and not native_ast:
        needed = "model.kind = 'ast' and view.frames = 'native': nothing else is filled up to a batch's longest clip"
        return [f"train.batch.buckets needs {needed}"]
    if native_ast and run.view.cut_from is not None:
        return ["view.cut_from is for a model of kind `elasticast`: an `ast` fills its clips up again"]
    return []


def _fill(run: RunSettings) -> list[str]:
    if run.view.fill == "mask" and run.view.frames == "native":
        return ["view.fill = 'mask' needs view.frames as a number: a native view has no padding to leave out"]
    return []


def _time_offset(run: RunSettings) -> list[str]:
    as_long = run.view.frames != "native" and run.view.fill != "mask"
    if run.model.kind == "ast" and run.model.time_offset and as_long:
        needed = "view.fill = 'mask': with padding every training clip is as long as the position table"
        return [f"model.time_offset needs {needed}"]
    return []


def _positions(run: RunSettings) -> list[str]:
    model = run.model
    if model.kind != "elasticast":
        return []
    if model.positions == "sinusoidal" and model.dim % 4:
        return [f"model.positions = 'sinusoidal' needs model.dim as a multiple of 4, got {model.dim}"]
    width = model.dim / model.heads
    if model.positions == "rotary" and width % 4:
        return [f"model.positions = 'rotary' needs model.dim / model.heads as a multiple of 4, got {width:g}"]
    return []


def _cut(run: RunSettings) -> list[str]:
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


def _resolution(run: RunSettings) -> list[str]:
    wrong = wrong_resolutions(run, run.view.compression)
    return [f"view.compression: {wrong}"] if wrong else []


def wrong_resolutions(run: RunSettings, compressions: list[float]) -> str | None:
    """What is wrong with the compressions that a run cannot be shown at."""
    if run.view.resolution == "max_pool":
        off = [c for c in compressions if c != int(c)]
        return f"{off} are no whole numbers, which view.resolution = 'max_pool' needs" if off else None
    if off := run.front_end.misfits(compressions):
        return f"{off} times front_end.hop_ms = {run.front_end.hop_ms} are no whole numbers of ms"
    return None
