"""Settings of an evaluation: a sweep of a trained model over lengths, resolutions, tokens or sample rates."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from elasticast.config.base import PositiveFloat, Scores, Settings, Share, TaskKind
from elasticast.config.model.patch_sizes import PatchSize, PatchSizes
from elasticast.config.reading import one_or_by_class
from elasticast.config.run import RunSettings, invalid_compressions
from elasticast.errors import Problem, SettingsError

LOWEST_RATE = 1000
PATCHES = {"patch_size": "both", "patch_width": "time"}
"""Sweeps over patches, and the axes along which they vary."""
REDUCING = {"token_merge": "merge", "token_prune": "prune"}
"""Sweeps over a share of tokens that the blocks take away, and the method of `model.merge`."""
COSTED = ("token_drop", *REDUCING, *PATCHES)
"""Sweeps whose results include the operations of a forward pass, `gflops_per_clip`."""
_NEEDED = {"windows": ("max_frames",), "compression": ("max_frames",), "remainder": tuple(PATCHES)}
"""Settings of an evaluation that belong to some sweeps only."""


Positive = Annotated[
    Annotated[PositiveFloat, Tag("[one]")] | Annotated[dict[str, PositiveFloat], Tag("[by class]")],
    Discriminator(one_or_by_class),
]
NotNegative = Annotated[
    Annotated[float, Field(ge=0), Tag("[one]")]
    | Annotated[dict[str, Annotated[float, Field(ge=0)]], Tag("[by class]")],
    Discriminator(one_or_by_class),
]
Factor = Annotated[
    Annotated[float, Field(ge=1), Tag("[one]")]
    | Annotated[dict[str, Annotated[float, Field(ge=1)]], Tag("[by class]")],
    Discriminator(one_or_by_class),
]


class Boxes(Settings):
    """Change-point boxes, see `elasticast.evaluation.postprocessing.boxes`.

    A setting may be given by class; classes that are not named have its default.
    """

    window: Positive = Field(
        0.5, description="Length of the window in which changes are looked for, for all classes or by class. [s]"
    )
    absolute: NotNegative = Field(
        1.0,
        description="Events are merged if their largest scores exceed the gap by less than this, for all classes or by "
        "class.",
    )
    relative: Factor = Field(
        2.0,
        description="Events are merged if their largest scores exceed the gap by less than this factor, for all "
        "classes or by class.",
    )


class Detection(Settings):
    """How events follow from the scores of time patches. Tasks of kind `frames` only."""

    median_seconds: NotNegative = Field(
        0.0, description="Length of a median filter, for all classes or by class; 0 does not filter. [s]"
    )
    boxes: Boxes | None = Field(None, description="Replace scores by change-point boxes; `null` does not.")
    threshold: Share = Field(0.5, description="Score above which a class counts as detected, for F1.")

    @model_validator(mode="after")
    def _one(self):
        if self.boxes is not None and self.median_seconds:
            message = "expected 0 with `boxes`, which follow from the scores themselves"
            raise SettingsError([Problem("", ("median_seconds",), message, self.median_seconds)])
        return self


class Evaluation(Settings):
    """A sweep of one trained model: over lengths, resolutions, patches, tokens left out or merged, or sample rates."""

    x_name: Literal[
        "max_frames",
        "compression",
        "patch_size",
        "patch_width",
        "token_drop",
        "token_merge",
        "token_prune",
        "sample_rate",
    ] = Field(
        description="What varies: the length (`max_frames`), the resolution (`compression`), the height and width of "
        "the patches (`patch_size`) or only their width (`patch_width`), the share of tokens left out at random "
        "(`token_drop`), merged into others (`token_merge`) or left out by attention (`token_prune`), or the sample "
        "rate (`sample_rate`)."
    )
    x: list[Annotated[float, Field(ge=0)]] = Field(
        min_length=1,
        description="Values of the sweep: frames at compression 1, compression factors, sizes, shares, or Hz.",
    )
    split: Literal["dev", "test"] = Field(
        "test", description="Split that is evaluated. Figures and table 1 only show `test`."
    )
    scores: Scores = Field(
        "exact",
        description="Scores that accuracy, mAP, AUC and d′ are computed from. `exact`: log-probabilities (`ce`) or "
        "logits (`bce`). `released_fp16_sigmoid`: sigmoids in half precision, which tie confident classes, as in the "
        "released evaluation.",
    )
    compression: list[Annotated[float, Field(ge=1)]] | None = Field(
        None,
        min_length=1,
        description="With `max_frames`: evaluate every length at each of these compressions. The length in seconds "
        "is the same at all of them.",
    )
    windows: bool = Field(
        False,
        description="With `max_frames`, for fixed views: evaluate longer inputs in half-overlapping windows of "
        "the view's length.",
    )
    detection: Detection | None = Field(
        None,
        description="Tasks of kind `frames`: how events follow from scores; `null` uses the scores as they are, and a "
        "threshold of 0.5.",
    )

    remainder: Literal["drop", "keep"] | None = Field(
        None,
        description="With `patch_size` and `patch_width`: as `model.patch_sizes.remainder`; `null` uses the setting of "
        "the model, or `refuse`.",
    )

    @model_validator(mode="after")
    def _whole_frames(self):
        message = None
        if self.x_name == "max_frames" and any(x != int(x) or not x for x in self.x):
            message = "expected numbers of frames: whole numbers above 0"
        elif self.x_name in PATCHES and any(x != int(x) or not x for x in self.x):
            message = "expected sizes in mel bins and frames: whole numbers above 0"
        elif self.x_name in ("token_drop", *REDUCING) and max(self.x) >= 1:
            message = "expected shares below 1: at least one token must remain"
        elif self.x_name == "sample_rate" and any(x != int(x) or x < LOWEST_RATE for x in self.x):
            message = f"expected sample rates in Hz: whole numbers of at least {LOWEST_RATE}"
        elif self.x_name == "compression" and min(self.x) < 1:
            message = "expected compressions of at least 1; for a finer hop lower front_end.hop_ms"
        problems = [Problem("", ("x",), message, self.x)] if message else []
        for key, needed in _NEEDED.items():
            if getattr(self, key) and self.x_name not in needed:
                message = f"needs x_name: {' or '.join(needed)}, got {self.x_name}"
                problems.append(Problem("", (key,), message, getattr(self, key)))
        if self.windows and self.compression:
            message = "expected null: `windows` are evaluated at the resolution of training"
            problems.append(Problem("", ("compression",), message, self.compression))
        if problems:
            raise SettingsError(problems)
        return self


def sweep_problems(run: RunSettings, sweep: Evaluation, kind: TaskKind | None = None) -> list[Problem]:
    """Problems of a sweep that does not fit a run, of a task of this kind; their keys are relative to the sweep."""
    if kind == "frames" and sweep.windows:
        message = f"task {run.task!r} is of kind 'frames', whose windows are not joined; use false"
        return [Problem.between("windows", True, message)]
    if kind == "frames" and sweep.x_name in PATCHES:
        message = f"task {run.task!r} is of kind 'frames', whose labels do not follow other patches"
        return [Problem.between("x_name", sweep.x_name, message)]
    if kind != "frames" and kind is not None and sweep.detection is not None:
        return [Problem.between("detection", sweep.detection, f"task {run.task!r} is of kind {kind!r}, not 'frames'")]
    if sweep.x_name == "max_frames":
        return _length_problems(run, sweep)
    if sweep.x_name == "token_drop" and run.model.traits.missing_tokens == "never":
        message = f"a model of kind `{run.model.kind}` takes no clips of which tokens are left out"
        return [Problem.between("x_name", sweep.x_name, message)]
    if sweep.x_name in REDUCING and not run.model.traits.merges:
        message = f"{run.model.described} does not {REDUCING[sweep.x_name]} tokens"
        return [Problem.between("x_name", sweep.x_name, message)]
    if sweep.x_name == "token_prune" and kind == "frames":
        message = f"task {run.task!r} is of kind 'frames', which need the states of all tokens"
        return [Problem.between("x_name", sweep.x_name, message)]
    if sweep.x_name in PATCHES and (problems := _patch_size_problems(run, sweep)):
        return problems
    rate = run.front_end.sample_rate
    if sweep.x_name == "sample_rate" and (higher := [x for x in sweep.x if x > rate]):
        return [Problem.between("x", higher, f"above front_end.sample_rate = {rate}")]
    limit = run.model.limit
    finest = min(sweep.x) if sweep.x_name == "compression" else run.default_compression
    if sweep.x_name == "compression" and (wrong := invalid_compressions(run, sweep.x)):
        return [Problem.between("x", *wrong)]
    most = run.most_frames(finest)
    if limit is None or most <= limit:
        return []
    message = f"the longest clip has {most:g} frames at compression {finest:g}, above model.max_frames = {limit}"
    return [Problem.between("x", sweep.x, message)]


def swept_patches(run: RunSettings, sweep: Evaluation) -> dict[float, PatchSize]:
    """Patches at each x of a sweep over patches; none for other sweeps."""
    if sweep.x_name not in PATCHES:
        return {}
    sizes = _swept_sizes(run, sweep)
    return {x: sizes.at(int(x), run.model.patch) for x in sweep.x}


def _swept_sizes(run: RunSettings, sweep: Evaluation) -> PatchSizes:
    trained = run.model.patch_sizes
    remainder = sweep.remainder or (trained.remainder if trained else "refuse")
    sizes = list(dict.fromkeys(map(int, sweep.x)))
    # not validated: a size above all limits is one of those that do not fit
    return PatchSizes.model_construct(sizes=sizes, axes=PATCHES[sweep.x_name], remainder=remainder)


def _patch_size_problems(run: RunSettings, sweep: Evaluation) -> list[Problem]:
    if refused := run.model.no_patch_sizes:
        return [Problem.between("x_name", sweep.x_name, refused)]
    frames = run.most_frames(run.default_compression)
    wrong = _swept_sizes(run, sweep).wrong(run.model.patch, run.front_end.mel_bins, frames)
    return [Problem.between("x", *pair) for pair in wrong]


def _length_problems(run: RunSettings, sweep: Evaluation) -> list[Problem]:
    """Problems of a sweep over lengths."""
    view, model, problems = run.view, run.model, []
    if sweep.windows and view.frames == "native":
        message = "needs view.frames as a number: a native view needs no windows"
        problems.append(Problem.between("windows", True, message))
    if sweep.compression is None and len(view.compression) == 1 and view.compression != [1.0]:
        message = f"a sweep over lengths uses compression 1, but view.compression is {view.compression}"
        problems.append(Problem.between("x_name", sweep.x_name, message))
    if wrong := invalid_compressions(run, sweep.compression or []):
        problems.append(Problem.between("compression", *wrong))
    if partial := [x for x in sweep.x if model.length_error(int(x))]:
        reason = "not multiples of" if model.stride == model.patch else "shorter than"
        problems.append(Problem.between("x", partial, f"{reason} model.patch = {model.patch}"))
    finest = min(sweep.compression or [1.0])
    if model.limit is not None and not sweep.windows and (too_long := [x for x in sweep.x if x / finest > model.limit]):
        problems.append(Problem.between("x", too_long, f"above model.max_frames = {model.limit}"))
    shortest = view.min_frames if view.frames == "native" and view.min_frames else 0
    if too_short := [x for x in sweep.x if x < shortest]:
        problems.append(Problem.between("x", too_short, f"below view.min_frames = {shortest}"))
    return problems
