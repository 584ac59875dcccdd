"""Settings of one training run, and checks that they are compatible."""

from pydantic import Field, model_validator

from elasticast.config.base import Seed, Settings
from elasticast.config.frames import compressed_frames
from elasticast.config.model.own import ModelConfig
from elasticast.config.names import RUN_NAME, Name
from elasticast.config.phases import PATCH, phase_problems, phase_settings, refused_phases
from elasticast.config.stages import stage_problems
from elasticast.config.training import Train
from elasticast.config.view import FrontEnd, NormSettings, View
from elasticast.errors import Problem, SettingsError

OF_RUN = "run:"
"""Prefix of `model.init` and `train.distill.teacher` for weights of another experiment."""
INIT, TEACHER, ENSEMBLE = "model.init", "train.distill.teacher", "train.ensemble"
"""Settings that can name weights of another experiment."""


class RunSettings(Settings):
    """Settings of the runs of an experiment, the same for every seed."""

    dataset: Name = Field(description="Name of a file in `config/datasets`, without `.yaml`.")
    task: str = Field(description="Which labels of the dataset are learned; docs/datasets.md lists the tasks.")
    front_end: FrontEnd = Field(FrontEnd(), description="How the log-mel is computed.")
    norm: NormSettings | None = Field(
        None,
        description="Mean and standard deviation that normalise the log-mel; `null` uses those of the training split.",
    )
    view: View = Field(View(), description="Part of a clip that the model is given.")
    model: ModelConfig = Field(description="The model.")
    train: Train = Field(description="The training.")

    @model_validator(mode="after")
    def _consistent(self):
        if problems := run_problems(self):
            raise SettingsError(problems)
        return self

    @property
    def default_compression(self) -> float:
        """Compression of evaluations that do not vary it: that of training, or 1 if the model is trained at several."""
        return self.view.compression[0] if len(self.view.compression) == 1 else 1.0

    @property
    def trained_first(self) -> dict[str, str]:
        """The experiments that are trained before this one, by the setting that names them."""
        distill = self.train.distill
        sources = {INIT: self.model.init, TEACHER: distill and distill.teacher}
        sources |= {f"{ENSEMBLE}.{number}": source for number, source in enumerate(self.train.ensemble or [])}
        return {key: name.removeprefix(OF_RUN) for key, name in sources.items() if name and name.startswith(OF_RUN)}

    def with_source(self, key: str, source: str) -> "RunSettings":
        """The settings with other weights in a setting of :attr:`trained_first`."""
        if key == INIT:
            return self.model_copy(update={"model": self.model.model_copy(update={"init": source})})
        if key.startswith(ENSEMBLE):
            ensemble = list(self.train.ensemble)
            ensemble[int(key.rpartition(".")[2])] = source
            return self.model_copy(update={"train": self.train.model_copy(update={"ensemble": ensemble})})
        distill = self.train.distill.model_copy(update={"teacher": source})
        return self.model_copy(update={"train": self.train.model_copy(update={"distill": distill})})

    @property
    def fixed_length(self) -> bool:
        """Whether the model is trained at one length only, and takes batches of one length only."""
        return self.model.traits.one_length and self.view.frames != "native"

    def most_frames(self, compression: float) -> int:
        """Frames of the longest clip at a compression. A fixed view keeps its length in seconds."""
        return compressed_frames(self.view.span(), compression, self.model.patch, self.model.stride)


class RunConfig(RunSettings):
    """All settings of one training run. With code and data, they determine its weights."""

    experiment: str = Field(pattern=f"^{RUN_NAME}$", description="Name of the experiment.")
    seed: Seed = Field(description="Seed of all random numbers of the run.")

    @classmethod
    def of(cls, settings: RunSettings, experiment: str, seed: int) -> "RunConfig":
        """Settings of the run of one experiment and seed; `settings` are already validated."""
        return cls(experiment=experiment, seed=seed, **dict(settings))

    @property
    def settings(self) -> RunSettings:
        """The settings that all seeds share."""
        return RunSettings.model_construct(**{name: getattr(self, name) for name in RunSettings.model_fields})


def run_problems(run: RunSettings) -> list[Problem]:
    """Problems of settings that are valid one by one, but incompatible."""
    views = (_length_problems, _kind_of_view, _resolution, _fill, _cut, _segment)
    checks = (
        *views,
        _compiling,
        _merging,
        _context,
        _adapting,
        _layer_decay,
        _patch_sizes,
        _buckets,
        _mask_fill,
        _filter_bands,
        phase_problems,
        _phase_resolutions,
        stage_problems,
    )
    return [*(problem for check in checks for problem in check(run)), *run.model.problems(run)]


def _length_problems(run: RunSettings) -> list[Problem]:
    """Problems of lengths that are not whole patches or that the positions do not cover."""
    view, model, problems = run.view, run.model, []
    lengths = {"front_end.mel_bins": run.front_end.mel_bins}
    lengths |= {"view.frames": view.frames, "view.max_frames": view.max_frames}
    if view.min_frames is not None:
        lengths["view.min_frames"] = view.min_frames
        if view.min_frames > view.max_frames:
            message = f"is above view.max_frames = {view.max_frames}"
            problems.append(Problem.between("view.min_frames", view.min_frames, message))
    for key, frames in lengths.items():
        if frames != "native" and (message := model.length_error(frames)):
            problems.append(Problem.between(key, frames, message))
    longest = "view.max_frames" if view.frames == "native" else "view.frames"
    if model.limit is not None and run.most_frames(min(view.compression)) > model.limit:
        problems.append(Problem.between(longest, lengths[longest], f"is above model.max_frames = {model.limit}"))
    return problems


def _kind_of_view(run: RunSettings) -> list[Problem]:
    """Problems of views and of token dropout that the traits of the model exclude."""
    view, traits, problems = run.view, run.model.traits, []
    kind, needed = f"a model of kind `{run.model.kind}`", "native" if view.frames == "native" else "fixed"
    if needed not in traits.views:
        expected = "a number" if needed == "native" else "'native'"
        problems.append(Problem.between("view.frames", view.frames, f"{kind} needs {expected}"))
    elif traits.one_length and view.frames == "native" and not run.train.batch.buckets:
        message = f"{kind} needs a number (or native with train.batch.buckets = true)"
        problems.append(Problem.between("view.frames", view.frames, message))
    if traits.one_length and len(view.compression) > 1:
        problems.append(Problem.between("view.compression", view.compression, f"{kind} needs a single factor"))
    if run.train.token_dropout and traits.missing_tokens != "train":
        message = f"{kind} does not train with it; model.kind = 'elasticast' does"
        problems.append(Problem.between("train.token_dropout", run.train.token_dropout, message))
    return problems


def _compiling(run: RunSettings) -> list[Problem]:
    """Problems of compiling a model that pads clips, or has nothing to compile."""
    traits = run.model.traits
    if run.train.compile != "on" or (traits.compiles and not traits.pads):
        return []
    why = "pads clips" if traits.compiles else "has no transformer blocks"
    message = f"expected 'auto' or 'off': {run.model.described} {why}, so it is not compiled"
    return [Problem.between("train.compile", "on", message)]


def _merging(run: RunSettings) -> list[Problem]:
    merging, problems = getattr(run.model, "merge", None), []  # a model of the user may have no such setting
    if merging is not None and not run.model.traits.merges:
        message = f"{run.model.described} does not merge tokens: set it to null"
        problems.append(Problem.between("model.merge", merging, message))
    elif merging is not None and run.train.compile == "on":
        message = "expected 'auto' or 'off': a model with model.merge is not compiled"
        problems.append(Problem.between("train.compile", "on", message))
    return problems


def _context(run: RunSettings) -> list[Problem]:
    """Problems of compiling attention by chunks."""
    if getattr(run.model, "context", None) is None:
        return []
    problems = []
    if run.train.compile == "on":
        message = "expected 'auto' or 'off': a model with model.context is not compiled"
        problems.append(Problem.between("train.compile", "on", message))
    if run.train.cuda_graphs:
        problems.append(Problem.between("train.cuda_graphs", True, "needs model.context = null"))
    return problems


def _adapting(run: RunSettings) -> list[Problem]:
    """Problems of training only some parameters on a GPU, or in phases."""
    adaptation, train = run.model.adaptation, run.train
    if adaptation is None:
        return []
    problems = []
    if train.compile == "on" and not adaptation.compiles:
        message = f"expected 'auto' or 'off': {run.model.described} is not compiled"
        problems.append(Problem.between("train.compile", "on", message))
    if train.cuda_graphs:
        problems.append(Problem.between("train.cuda_graphs", True, "needs model.adapt = null"))
    coarser = {phase.compression for phase in train.phases or [] if phase.resolution != PATCH}
    if coarser - set(run.view.compression) and getattr(run.model, "positions", "table") in ("table", "interpolated"):
        message = "needs model.adapt = null: a phase interpolates the table of positions, which does not train"
        problems.append(refused_phases(run, message))
    return problems


def _layer_decay(run: RunSettings) -> list[Problem]:
    if run.train.layer_decay == 1 or run.model.traits.blocks is not None:
        return []
    message = f"expected 1: a model of kind `{run.model.kind}` does not say what its layers are (trait `blocks`)"
    return [Problem.between("train.layer_decay", run.train.layer_decay, message)]


def _patch_sizes(run: RunSettings) -> list[Problem]:
    sizes, problems = run.model.patch_sizes, []
    if sizes is None:
        return []
    if wrong := run.model.no_patch_sizes:
        problems.append(Problem.between("model.patch_sizes", sizes.sizes, wrong))
    if run.train.batch.buckets:
        message = "expected false: with model.patch_sizes, clips are not padded to the longest of a batch"
        problems.append(Problem.between("train.batch.buckets", True, message))
    phases = [phase.compression for phase in run.train.phases or []]
    frames = run.most_frames(max([*run.view.compression, *phases]))
    unfit = sizes.wrong(run.model.patch, run.front_end.mel_bins, frames)
    return problems + [Problem.between("model.patch_sizes.sizes", *pair) for pair in unfit]


def _buckets(run: RunSettings) -> list[Problem]:
    native, traits = run.view.frames == "native", run.model.traits
    if run.train.batch.buckets and not (native and (traits.one_length or traits.pads)):
        message = (
            "needs view.frames = 'native', and a model of one length (such as model.kind = 'ast') or with "
            "model.padding: only their batches are padded to the longest clip"
        )
        return [Problem.between("train.batch.buckets", True, message)]
    if native and traits.one_length and run.view.cut_from is not None:
        message = (
            f"needs a model that takes any lengths: a model of kind `{run.model.kind}` pads the shortened clips again"
        )
        return [Problem.between("view.cut_from", run.view.cut_from, message)]
    return []


def _fill(run: RunSettings) -> list[Problem]:
    if run.view.fill == "mask" and run.view.frames == "native":
        message = "needs view.frames as a number: a native view has no padding to leave out"
        return [Problem.between("view.fill", "mask", message)]
    if run.view.fill == "mask" and run.model.traits.missing_tokens == "never":
        message = f"a model of kind `{run.model.kind}` takes no clips of which tokens are left out"
        return [Problem.between("view.fill", "mask", message)]
    return []


def _cut(run: RunSettings) -> list[Problem]:
    view, cut = run.view, run.view.cut_from
    if cut is None:
        return []
    shortest = view.min_frames or run.model.patch
    if view.frames != "native":
        message = f"needs view.frames = 'native', got {view.frames}"
    elif length_error := run.model.length_error(cut):
        message = length_error
    elif not shortest <= cut <= view.max_frames:
        message = f"expected {shortest} to {view.max_frames}, the range of lengths in this view"
    else:
        return []
    return [Problem.between("view.cut_from", cut, message)]


def _segment(run: RunSettings) -> list[Problem]:
    view, message = run.view, None
    if view.segment is None:
        return []
    if view.frames == "native" or view.crop != "random" or len(view.compression) > 1:
        message = "needs view.frames as a number, view.crop = 'random' and a single view.compression"
    elif view.segment < view.frames:
        message = f"is below view.frames = {view.frames}"
    return [Problem.between("view.segment", view.segment, message)] if message else []


def _mask_fill(run: RunSettings) -> list[Problem]:
    """Refuse `fill: mean` if `norm.mean` is 0. Masks of 0 would be louder than any sound."""
    masks = run.train.spec_augment
    if run.norm is None or run.norm.mean or masks.fill != "mean" or not (masks.freq_bins or masks.time_frames):
        return []
    message = "norm.mean = 0 is not the mean of a log-mel, so masks would be loud blocks; use 'spectrogram_mean'"
    return [Problem.between("train.spec_augment.fill", masks.fill, message)]


def _filter_bands(run: RunSettings) -> list[Problem]:
    settings, bins = run.train.filter_augment, run.front_end.mel_bins
    if settings is None or settings.bands[1] * settings.min_bins <= bins:
        return []
    message = (
        f"{settings.bands[1]} bands of at least {settings.min_bins} bins are more than front_end.mel_bins = {bins}"
    )
    return [Problem.between("train.filter_augment.bands", settings.bands, message)]


def _resolution(run: RunSettings) -> list[Problem]:
    wrong = invalid_compressions(run, run.view.compression)
    return [Problem.between("view.compression", *wrong)] if wrong else []


def init_problems(run: RunSettings, start: RunSettings) -> list[Problem]:
    """Problems of initial weights that are those of another run: the parameters that it added to a model."""
    if start.model.adaptation is None or start.model.adaptation.plain:
        return []
    message = f"has model.adapt.kind = {start.model.adaptation.kind!r}, so it is no plain model; use the weights that "
    return [Problem.between(INIT, run.model.init, message + f"it adapts, {start.model.init}")]


def teacher_problems(run: RunSettings, key: str, name: str, teacher: RunSettings) -> list[Problem]:
    """Problems of a teacher that is another run: its classes, its sample rate, its loss, and in an ensemble its frames.

    Parameters
    ----------
    run : RunSettings
        The run that learns from it.
    key, name : str
        Setting that names the teacher, and its value.
    teacher : RunSettings
        Settings of the teacher.
    """
    message = None
    if run.dataset == teacher.dataset and run.task != teacher.task:
        message = f"has the classes of task {teacher.task!r}, but this run learns task {run.task!r}"
    elif run.front_end.sample_rate != teacher.front_end.sample_rate:
        rates = f"{teacher.front_end.sample_rate} Hz, but this run has {run.front_end.sample_rate} Hz"
        message = f"has front_end.sample_rate = {rates}"
    elif wrong := teacher_loss_error(run, teacher):
        message = wrong
    elif key != TEACHER and not teacher.model.traits.frames:
        message = "has no frame head (model.frame_head), so it makes no pseudo-labels of time patches"
    return [Problem.between(key, name, message)] if message else []


def teacher_loss_error(run: RunSettings, teacher: RunSettings) -> str | None:
    """Why the logits of a teacher cannot be compared with those of a run, or None if they can.

    Cross-entropy does not change if all logits of a clip rise by the same number, but their sigmoids do.
    """
    if (teacher.train.loss, run.train.loss) != ("ce", "bce"):
        return None
    return "was trained with train.loss = 'ce', whose logits have no sigmoids; this run has 'bce', which needs them"


def _phase_resolutions(run: RunSettings) -> list[Problem]:
    """Problems of phases whose compression cannot be made."""
    wrong = (invalid_compressions(at_phase, at_phase.view.compression) for at_phase in phase_settings(run)[:-1])
    return [Problem.between("train.phases", *compressions) for compressions in wrong if compressions]


def invalid_compressions(run: RunSettings, compressions: list[float]) -> tuple[list[float], str] | None:
    """The compressions that a run cannot use, and the reason; None if it can use all."""
    if run.view.resolution == "max_pool":
        wrong = [c for c in compressions if c != int(c)]
        message = "view.resolution = 'max_pool' needs whole numbers"
    else:
        wrong = run.front_end.fractional_hops(compressions)
        message = f"times front_end.hop_ms = {run.front_end.hop_ms} is not a whole number of ms"
    return (wrong, message) if wrong else None
