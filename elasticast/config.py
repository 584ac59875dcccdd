"""Settings of runs, suites and the workflow: names, types, units, defaults.

:class:`RunConfig` is all that training and evaluation ever read; labels and colours stay outside of it, so
that a cosmetic change never re-runs anything. `elasticast.validation` reads files and says what is wrong in
them, `elasticast.suites` merges a suite. None of the three imports torch or pandas: every ``snakemake -n``
reads them.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from elasticast.claim_config import Claim, ReleasedSeries
from elasticast.dataset_config import DatasetConfig
from elasticast.option_checks import option_problems
from elasticast.settings import PositiveFloat, PositiveInt, Settings, Share, TaskKind

# ---------------------------------------------------------------------------------------------
# One training run
# ---------------------------------------------------------------------------------------------


OF_RUN = "run:"
"""What `model.init` begins with where the weights are those of another experiment."""


class FrontEnd(Settings):
    """Waveform to log-mel spectrogram."""

    kind: Literal["kaldi", "stft"] = Field(
        "kaldi", description="kaldi: energies, as in AST; stft: magnitudes around each hop, as in EPIC-SOUNDS"
    )
    sample_rate: PositiveInt = Field(16000, description="Hz; that of the waveform store")
    mel_bins: PositiveInt = Field(128, description="mel bands, a multiple of the patch size")
    window_ms: PositiveFloat = Field(25.0, description="analysis window, the same at every hop")
    hop_ms: PositiveInt = Field(10, description="hop at compression 1, whole ms as all hops")
    n_fft: PositiveInt | None = Field(
        None, description="stft: points of the Fourier transform, an even number; kaldi: the next power of 2"
    )

    @model_validator(mode="after")
    def _transform(self):
        if (self.kind == "stft") != (self.n_fft is not None):
            raise ValueError("`n_fft` goes with kind `stft`, which needs it (an inherited one is taken back with null)")
        window = self.window_ms * self.sample_rate / 1000
        if self.n_fft is not None and (self.n_fft % 2 or self.n_fft < window):
            raise ValueError(f"n_fft = {self.n_fft}: expected an even number, at least the window's {window:g} samples")
        return self

    def misfits(self, compressions: list[float]) -> list[float]:
        """The compressions at which the hop would not be a whole number of ms."""
        hops = {c: self.hop_ms * c for c in compressions}
        return [c for c, hop in hops.items() if abs(hop - round(hop)) > 1e-6]


class View(Settings):
    """Which part of a clip the model is trained on, at which time resolution."""

    frames: PositiveInt | Literal["native"] = Field(
        "native", description="frames of every clip (cropped or padded), or each clip's own length"
    )
    max_frames: PositiveInt = Field(1024, description="native: longer clips are cut to this many frames")
    min_frames: PositiveInt | None = Field(
        None, description="native: shorter clips are filled up to this many frames; none: to one patch"
    )
    tail: Literal["fill", "drop"] = Field(
        "fill", description="native: frames after the last whole patch are filled up to one, or left out"
    )
    cut_from: PositiveInt | None = Field(
        None,
        description="native: training cuts each clip to a length drawn from this many frames to its own; none: no cut",
    )
    fill: Literal["zeros", "edge", "repeat", "mask"] = Field(
        "zeros",
        description="what fills a short clip up: zeros as in AST, its last frame as in EPIC-SOUNDS, the clip itself "
        "over and over; mask: nothing, the tokens that would hold padding alone are left out of a fixed view",
    )
    compression: list[Annotated[float, Field(ge=1)]] = Field(
        [1.0], min_length=1, description="hop = hop_ms x compression; several: one is drawn for each training clip"
    )
    resolution: Literal["hop", "max_pool"] = Field(
        "hop",
        description="how compression is made: by a longer hop, or by the maximum of so many frames, a whole number",
    )
    crop: Literal["random", "start"] = Field(
        "random", description="where training cuts; evaluation cuts from the start"
    )

    @property
    def longest(self) -> int:
        """Most frames of a clip, counted at the finest compression of the two kinds of view: see `ViewRule`."""
        return self.max_frames if self.frames == "native" else self.frames

    @field_validator("frames", mode="before")
    @classmethod
    def _number_or_native(cls, value: Any) -> Any:
        if value != "native" and (type(value) is not int or value <= 0):
            raise ValueError("expected a whole number above 0, or native")
        return value


class ModelSettings(Settings):
    """Settings common to every transformer here."""

    dim: PositiveInt = 192
    depth: PositiveInt = 12
    heads: PositiveInt = 3
    mlp_ratio: PositiveFloat = 4.0
    patch: PositiveInt = Field(16, description="patch edge in mel bins and frames")
    stride: PositiveInt | None = Field(
        None, validate_default=True, description="mel bins and frames between patches; below `patch` they overlap"
    )
    norm_eps: PositiveFloat = Field(1.0e-6, description="epsilon of the LayerNorms")
    head_norm_eps: PositiveFloat | None = Field(None, description="epsilon of the head's LayerNorm; none: the same")
    attention_scale: Literal["none", "sqrt", "qk_norm"] = Field(
        "sqrt",
        description="none: as in the released ElasticAST weights; sqrt: 1/sqrt(head dim); qk_norm: normalised q, k",
    )
    backend: Literal["auto", "xformers", "sdpa", "dense"] = Field(
        "auto", description="auto: xformers on CUDA, sdpa elsewhere; the run records which one ran"
    )
    init: str | None = Field(
        None,
        description="weights to start from, see `elasticast.models.pretrained`; run:NAME: those of another experiment "
        "of the suite, with the same seed",
    )
    pool_init: Literal["mean", "released", "random"] = Field(
        "mean",
        description="with `init`, attention pooling starts from the mean of the blocks' attention weights, from that "
        "mean divided by 6 (as in the released ElasticAST), or at random",
    )

    @field_validator("stride")
    @classmethod
    def _stride_within_patch(cls, stride: int | None, info: ValidationInfo) -> int | None:
        patch = info.data.get("patch")
        if stride is not None and patch is not None and stride > patch:
            raise ValueError(f"a stride above model.patch = {patch} would leave frames out")
        return patch if stride is None else stride

    def patches(self, length: int) -> int:
        """Patches along an axis of `length` mel bins or frames."""
        return (length - self.patch) // self.stride + 1

    def misfit(self, length: int) -> str | None:
        """What is wrong with an axis of `length` mel bins or frames; what overlapping patches leave over is unused."""
        if self.stride == self.patch and length % self.patch:
            return f"is not a multiple of model.patch = {self.patch}"
        return f"is shorter than model.patch = {self.patch}" if length < self.patch else None

    @property
    def limit(self) -> int | None:
        """Frames of the longest clip that positions reach; none: any."""
        return None


class ElasticASTSettings(ModelSettings):
    """`elasticast.models.elasticast.ElasticAST`."""

    kind: Literal["elasticast"]
    max_frames: PositiveInt = Field(1024, description="length of the time position table; `table`: of the longest clip")
    positions: Literal["table", "interpolated", "fractional", "sinusoidal", "rotary"] = Field(
        "table",
        description="table: a learned one for frequency and one for time; interpolated: longer clips are squeezed onto "
        "the time table; fractional: every clip is stretched over it; sinusoidal: fixed; rotary: of queries and keys",
    )
    pooling: Literal["attention", "mean", "cls"] = Field(
        "attention", description="of a clip's tokens: by a learned query, their mean, or a CLS token of its own"
    )

    @property
    def limit(self) -> int | None:
        """Frames of the longest clip that positions reach; none: any."""
        return self.max_frames if self.positions == "table" else None


class ASTSettings(ModelSettings):
    """`elasticast.models.ast.AST`, trained at the fixed length `view.frames`, or batch by batch at another."""

    kind: Literal["ast"]
    prefix_tokens: Literal[0, 1, 2] = Field(1, description="0: none; 1: CLS (ViT); 2: CLS and distillation (DeiT)")
    pooling: Literal["cls", "mean", "attention"] = Field(
        "cls", description="cls: mean of the prefix tokens; mean, attention: over the patches, without prefix tokens"
    )
    time_offset: bool = Field(
        False,
        description="a clip shorter than the position table takes a stretch of it: in training from a place drawn at "
        "random, in evaluation from the first (PaSST); else the table is interpolated to its length",
    )


class NormSettings(Settings):
    """Statistics that the log-mel is normalised with, in place of those of the training split."""

    mean: float
    std: PositiveFloat


ModelConfig = Annotated[ElasticASTSettings | ASTSettings, Field(discriminator="kind")]


class Batch(Settings):
    """What an optimisation step sees, on all GPUs together: clips or tokens, exactly one."""

    clips: PositiveInt | None = None
    tokens: PositiveInt | None = Field(None, description="token budget before token dropout; a batch never exceeds it")
    buckets: bool = Field(
        False,
        description="clips of similar length make a batch, filled up to its longest; for an `ast` at native length",
    )

    @model_validator(mode="after")
    def _one(self):
        if (self.clips is None) == (self.tokens is None):
            raise ValueError("give exactly one of `clips` and `tokens` (an inherited one is taken back with null)")
        return self


class Schedule(Settings):
    """Learning rate after warm-up."""

    kind: Literal["constant", "step", "cosine"] = "cosine"
    gamma: PositiveFloat = Field(0.5, description="step: factor of each decay")
    start_epoch: PositiveFloat = Field(2, description="step: epoch of the first decay")
    every_epochs: PositiveFloat = Field(1, description="step: epochs between decays")


class SpecAugment(Settings):
    """Masks on the log-mel; the time mask scales with the clip's length."""

    freq_bins: int = Field(0, ge=0, description="widest frequency mask")
    time_frames: int = Field(0, ge=0, description="widest time mask in a clip of 1,024 frames")


class Select(Settings):
    """Which weights of a run are kept: the best of several times on a split, by accuracy or mAP."""

    split: Literal["dev", "test"] = Field(description="what the model is evaluated on while it trains")
    every_epochs: PositiveInt = Field(1, description="whole epochs between evaluations; the last is at the end")


def _one_or_range(value: Any) -> str:
    return "[range]" if isinstance(value, list) else "[share]"


OneOrRange = Annotated[
    Annotated[Share, Tag("[share]")] | Annotated[list[Share], Field(min_length=2, max_length=2), Tag("[range]")],
    Discriminator(_one_or_range),
]


class Train(Settings):
    """Optimisation."""

    steps: PositiveInt | None = None
    epochs: PositiveInt | None = None
    batch: Batch
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: PositiveFloat = 1.0e-3
    betas: list[Share] = Field([0.9, 0.999], min_length=2, max_length=2)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: int = Field(0, ge=0)
    schedule: Schedule = Schedule()
    loss: Literal["bce", "ce"] = "bce"
    grad_clip: PositiveFloat | None = Field(1.0, description="largest gradient norm; none: no clipping")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="autocast; fp16 on CUDA only")
    sampler: Literal["shuffle", "balanced"] = Field(
        "shuffle",
        description="an epoch: every clip once; or as many draws with replacement, rare labels more often, as in AST",
    )
    token_dropout: OneOrRange = Field(
        0.0, description="share of each clip's tokens dropped in training, or [least, most]: drawn for each clip"
    )
    mixup: Share = Field(0.0, description="share of clips mixed with another (waveforms and targets)")
    spec_augment: SpecAugment = SpecAugment()
    select: Select | None = Field(None, description="keep the best weights on a split; none: the last")
    workers: int = Field(0, ge=0, description="data loader processes; 0: in the training process")
    checkpoint_every: PositiveInt = Field(200, description="steps")
    log_every: PositiveInt = Field(50, description="steps")

    @model_validator(mode="after")
    def _one_length(self):
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs` (an inherited one is taken back with null)")
        low, high = self.dropout_range
        if high >= 1:
            raise ValueError("`token_dropout` must be below 1: at least one token has to stay")
        if low > high:
            raise ValueError(f"token_dropout = {self.token_dropout}: the smaller one comes first")
        return self

    @property
    def dropout_range(self) -> tuple[float, float]:
        """Least and most share of a clip's tokens that is dropped."""
        value = self.token_dropout
        return (value[0], value[1]) if isinstance(value, list) else (value, value)


class RunConfig(Settings):
    """All that decides the weights of one training run, but for the code and the data."""

    experiment: str = Field(pattern=r"^\w[\w-]*$")
    seed: int = Field(ge=0)
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

    def most_frames(self, compression: float) -> float:
        """Frames of the longest clip at a compression; a fixed view keeps its seconds."""
        view = self.view
        if view.frames == "native":
            return view.max_frames / compression
        return view.frames * view.compression[0] / compression


def start_of(run: dict[str, Any]) -> str | None:
    """The experiment whose weights a run's training starts from, where it does."""
    init = run["model"]["init"] or ""
    return init.removeprefix(OF_RUN) if init.startswith(OF_RUN) else None


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


class Experiment(Settings):
    """What a suite says of an experiment beside its settings: never re-runs training."""

    label: str
    color: str | None = Field(
        None, pattern="^#[0-9A-Fa-f]{6}$", description="#RRGGBB; none: from the palette, by label"
    )
    evaluations: list[str] = Field(min_length=1)
    released: ReleasedSeries | None = Field(None, description="the authors' curve of the same experiment; none: none")


class SuiteHead(Settings):
    """What a suite file says beside its experiments and evaluations."""

    title: str
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    claims: dict[str, Claim] = Field({}, description="what the paper says, as rules that are tested")

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("each seed stands once")
        return seeds


class Suite(SuiteHead):
    """A whole suite, resolved: `runs[name]` is the experiment's `RunConfig` without its seed."""

    name: str
    experiments: dict[str, Experiment]
    runs: dict[str, dict[str, Any]]
    evaluations: dict[str, Evaluation]
    datasets: dict[str, DatasetConfig]

    def run_config(self, experiment: str, seed: int) -> RunConfig:
        """The run of one experiment and seed."""
        return RunConfig.model_validate({**self.runs[experiment], "experiment": experiment, "seed": seed})

    def starts_from(self, experiment: str) -> str | None:
        """The experiment whose weights another one starts from, where it does."""
        return start_of(self.runs[experiment])

    def folders(self, experiment: str) -> tuple[str, str]:
        """Where the runs of an experiment lie among the results, and where their evaluations do."""
        return (f"{self.name}/runs/{experiment}",) * 2

    def sweep(self, experiment: str) -> dict[str, Evaluation]:
        """The evaluations of one experiment, by name."""
        return {name: self.evaluations[name] for name in self.experiments[experiment].evaluations}

    def curve(self, experiment: str, x_name: str) -> dict[str, Evaluation]:
        """The evaluations that make a curve over `x_name`: on split test, no grids; windows only without any other."""
        sweeps = {n: e for n, e in self.sweep(experiment).items() if e.x_name == x_name and e.split == "test"}
        some = {n: e for n, e in sweeps.items() if e.compression is None}
        return {n: e for n, e in some.items() if not e.windows} or some

    def shares_curve(self, other: "Suite", experiment: str, x_name: str) -> bool:
        """Whether another suite has an experiment of this name with a curve over `x_name`, in the same metric."""
        there = [suite for suite in (self, other) if experiment in suite.runs and suite.curve(experiment, x_name)]
        return len(there) == 2 and len({suite.task_kind(experiment) for suite in there}) == 1

    def task_kind(self, experiment: str) -> TaskKind:
        """Whether an experiment's task has one label a clip (`single`) or a set (`multi`)."""
        run = self.runs[experiment]
        return self.datasets[run["dataset"]].tasks[run["task"]]


class WorkflowConfig(Settings):
    """`config/config.yaml`: which suite runs, and where things lie."""

    suite: str = Field(description="name of a file in config/suites, without .yaml")
    data_root: str = Field(
        description="folder with downloaded datasets, one sub-folder each; missing ones are fetched into it"
    )
    results: str = Field(description="folder for data, runs and tables")
    weights_root: str = Field(".", description="folder with published weights: where a relative model.init is found")
    released_weights: str | None = Field(
        None, description="folder with the authors' four ElasticAST files, for `snakemake released`"
    )
    beside: str | None = Field(
        None, description="another suite whose curves figures 4 and 5 show as well; its results have to be there"
    )
    partial: bool = Field(False, description="draw and judge with the runs that exist; train and evaluate nothing")
    custom: bool = Field(True, description="include the rules of your own in workflow/custom, see docs/extending.md")
    train_threads: PositiveInt = Field(
        1, description="CPU threads of a training run; part of what makes a CPU run repeatable"
    )
    train_gpus: Annotated[int, Field(ge=0)] = Field(
        0,
        description="GPUs that a training run asks a cluster for, one process each; 0: none, the run uses what it sees",
    )

    @field_validator("partial", "custom", "beside", mode="before")
    @classmethod
    def _of_the_command_line(cls, value: Any) -> Any:
        # `--config partial=true` arrives as text: Snakemake knows Python's True only
        return {"true": True, "false": False, "null": None}.get(value, value) if isinstance(value, str) else value


def digest(value: Any) -> str:
    """Hex digest of a settings object or of any JSON value."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
