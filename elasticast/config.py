"""Configuration: every setting of the suite, validated before anything runs.

A *suite* file (``config/suites/NAME.yaml``) holds ``defaults``, ``experiments`` (each only its
difference from the defaults or from a ``base`` experiment) and ``evaluations``. Defaults and
difference are deep-merged and validated into one :class:`RunConfig` per experiment and seed,
which is all that training and evaluation ever read. Labels and colours stay outside of it, so
that a cosmetic change never re-runs anything.

This module imports neither torch nor pandas: it is read by every ``snakemake -n``.
"""

import copy
import difflib
import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from elasticast.errors import ConfigError
from elasticast.files import write_json

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
TaskKind = Literal["single", "multi"]


class Settings(BaseModel):
    """Base of all settings: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


# ---------------------------------------------------------------------------------------------
# Datasets (config/datasets/NAME.yaml)
# ---------------------------------------------------------------------------------------------


class DatasetSettings(Settings):
    """Settings common to every dataset."""

    tasks: ClassVar[dict[str, TaskKind]]
    max_rejected: Share = Field(0.0, description="share of clips that may be unusable before `prepare` fails")

    @model_validator(mode="after")
    def _ordered(self):
        ranges = ("seconds", "snr_db", "recordings", "vocabulary", "gap_seconds")
        wrong = {name: getattr(self, name, None) for name in ranges}
        wrong = {name: value for name, value in wrong.items() if value and value[0] > value[1]}
        if wrong:
            raise ValueError(
                "; ".join(f"{name} = {value}: the smaller one comes first" for name, value in wrong.items())
            )
        return self


class Soundscapes(DatasetSettings):
    """Synthetic soundscapes, see `elasticast.data.datasets.soundscapes`."""

    tasks: ClassVar[dict[str, TaskKind]] = {"events": "multi", "scene": "single"}
    source: Literal["soundscapes"]
    clips: dict[Literal["train", "test"], PositiveInt] = Field(description="number of clips a split")
    seconds: list[PositiveFloat] = Field([0.5, 8.0], min_length=2, max_length=2, description="shortest, longest (s)")
    snr_db: list[float] = Field([0.0, 15.0], min_length=2, max_length=2, description="event level over background")
    seed: int = Field(0, ge=0)


class FsddDigits(DatasetSettings):
    """Free Spoken Digit Dataset, one recording a clip, see `elasticast.data.datasets.fsdd`."""

    tasks: ClassVar[dict[str, TaskKind]] = {"digit": "single", "speaker": "single"}
    source: Literal["fsdd_digits"]


class FsddStrings(DatasetSettings):
    """Free Spoken Digit Dataset, recordings of one speaker joined, see `elasticast.data.datasets.fsdd`."""

    tasks: ClassVar[dict[str, TaskKind]] = {"digits": "multi", "speaker": "single"}
    source: Literal["fsdd_strings"]
    clips: dict[Literal["train", "test"], PositiveInt] = Field(description="number of strings a split")
    recordings: list[PositiveInt] = Field([1, 16], min_length=2, max_length=2, description="fewest, most a string")
    vocabulary: list[Annotated[int, Field(ge=1, le=10)]] = Field(
        [10, 10], min_length=2, max_length=2, description="fewest, most different digits a string is drawn from"
    )
    gap_seconds: list[Annotated[float, Field(ge=0)]] = Field(
        [0.05, 0.3], min_length=2, max_length=2, description="pause between two (s)"
    )
    snr_db: list[float] | None = Field(
        None, min_length=2, max_length=2, description="speech over pink noise; none: clean"
    )
    seed: int = Field(0, ge=0)


DatasetConfig = Annotated[Soundscapes | FsddDigits | FsddStrings, Field(discriminator="source")]


# ---------------------------------------------------------------------------------------------
# One training run
# ---------------------------------------------------------------------------------------------


class FrontEnd(Settings):
    """Waveform to log-mel spectrogram."""

    kind: Literal["kaldi"] = "kaldi"
    sample_rate: PositiveInt = Field(16000, description="Hz; the waveform store is resampled to it")
    mel_bins: PositiveInt = Field(128, description="mel bands, a multiple of the patch size")
    window_ms: PositiveFloat = Field(25.0, description="analysis window, the same at every hop")
    hop_ms: PositiveFloat = Field(10.0, description="hop at compression 1")


class View(Settings):
    """Which part of a clip the model is trained on, at which time resolution."""

    frames: PositiveInt | Literal["native"] = Field(
        "native", description="frames of every clip (cropped or padded), or each clip's own length"
    )
    max_frames: PositiveInt = Field(1024, description="native: longer clips are cut to this many frames")
    compression: list[PositiveFloat] = Field(
        [1.0], min_length=1, description="hop = hop_ms x compression; several: one is drawn for each training clip"
    )
    crop: Literal["random", "start"] = Field(
        "random", description="where training cuts; evaluation cuts from the start"
    )

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
    init: str | None = Field(None, description="weights to start from, see `elasticast.models.pretrained`")
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


class ElasticASTSettings(ModelSettings):
    """`elasticast.models.elasticast.ElasticAST`."""

    kind: Literal["elasticast"]
    max_frames: PositiveInt = Field(1024, description="length of the time position table; no longer clip is allowed")


class ASTSettings(ModelSettings):
    """`elasticast.models.ast.AST`, trained at the fixed length `view.frames`."""

    kind: Literal["ast"]
    prefix_tokens: Literal[0, 1, 2] = Field(1, description="0: none; 1: CLS (ViT); 2: CLS and distillation (DeiT)")
    pooling: Literal["cls", "mean", "attention"] = Field(
        "cls", description="cls: mean of the prefix tokens; mean, attention: over the patches, without prefix tokens"
    )


ModelConfig = Annotated[ElasticASTSettings | ASTSettings, Field(discriminator="kind")]


class Batch(Settings):
    """Size of a training batch: clips or tokens, exactly one."""

    clips: PositiveInt | None = None
    tokens: PositiveInt | None = Field(None, description="token budget before token dropout; a batch never exceeds it")

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
    token_dropout: Share = Field(0.0, description="share of each clip's tokens dropped in training")
    mixup: Share = Field(0.0, description="share of clips mixed with another (waveforms and targets)")
    spec_augment: SpecAugment = SpecAugment()
    workers: int = Field(0, ge=0, description="data loader processes; 0: in the training process")
    checkpoint_every: PositiveInt = Field(200, description="steps")
    log_every: PositiveInt = Field(50, description="steps")

    @model_validator(mode="after")
    def _one_length(self):
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs` (an inherited one is taken back with null)")
        if self.token_dropout >= 1:
            raise ValueError("`token_dropout` must be below 1: at least one token has to stay")
        return self


class RunConfig(Settings):
    """All that decides the weights of one training run, but for the code and the data."""

    experiment: str = Field(pattern=r"^\w[\w-]*$")
    seed: int = Field(ge=0)
    dataset: str
    task: str
    front_end: FrontEnd = FrontEnd()
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
        if isinstance(model, ElasticASTSettings):
            lengths["model.max_frames"] = model.max_frames
        for name, frames in lengths.items():
            if frames != "native" and (misfit := model.misfit(frames)):
                problems.append(f"{name} = {frames} {misfit}")
        if isinstance(model, ASTSettings) and model.pooling == "cls" and not model.prefix_tokens:
            problems.append("model.pooling = 'cls' needs model.prefix_tokens = 1 or 2")
        if isinstance(model, ASTSettings) and (view.frames == "native" or len(view.compression) > 1):
            problems.append("a model of kind `ast` needs `view.frames` as a number and one `view.compression`")
        if isinstance(model, ASTSettings) and self.train.token_dropout:
            problems.append("train.token_dropout needs a model of kind `elasticast`: an `ast` takes whole clips")
        longest = "view.max_frames" if view.frames == "native" else "view.frames"
        if isinstance(model, ElasticASTSettings) and lengths[longest] > model.max_frames:
            problems.append(f"{longest} = {lengths[longest]} is beyond model.max_frames = {model.max_frames}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Evaluation(Settings):
    """A sweep of one trained model over lengths or resolutions."""

    x_name: Literal["max_frames", "compression"]
    x: list[PositiveFloat] = Field(min_length=1, description="frames, or the paper's compression ratio")
    split: Literal["test"] = "test"

    @model_validator(mode="after")
    def _whole_frames(self):
        if self.x_name == "max_frames" and any(x != int(x) for x in self.x):
            raise ValueError(f"x = {self.x}: frames are whole numbers")
        return self


class Experiment(Settings):
    """What a suite says of an experiment beside its settings: never re-runs training."""

    label: str
    color: str | None = Field(None, description="any matplotlib colour; none: from the palette, by label")
    evaluations: list[str] = Field(min_length=1)


class SuiteHead(Settings):
    """What a suite file says beside its experiments and evaluations."""

    title: str
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)

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

    def sweep(self, experiment: str) -> dict[str, Evaluation]:
        """The evaluations of one experiment, by name."""
        return {name: self.evaluations[name] for name in self.experiments[experiment].evaluations}

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
    results: str = Field(description="folder for everything the workflow makes")
    train_threads: PositiveInt = Field(
        1, description="CPU threads of a training run; part of what makes a CPU run repeatable"
    )


# ---------------------------------------------------------------------------------------------
# Reading, merging, error messages
# ---------------------------------------------------------------------------------------------

M = TypeVar("M", bound=BaseModel)
_DIFFERENCE_KEYS = {"base", *Experiment.model_fields, *RunConfig.model_fields} - {"experiment", "seed"}


def digest(value: Any) -> str:
    """Hex digest of a settings object or of any JSON value."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class _Loader(yaml.SafeLoader):
    """YAML in which no key stands twice: the first of two experiments of one name would be lost in silence."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, with an error that names the file and line."""
    if not path.is_file():
        near = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigError([f"{path}: no such file; there is: {', '.join(near) or 'nothing'}"])
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid YAML: {error}"]) from None
    if not isinstance(value, dict):
        raise ConfigError([f"{path}: expected keys and values, found {type(value).__name__}"])
    return value


def deep_merge(base: dict[str, Any], difference: dict[str, Any]) -> dict[str, Any]:
    """`base` with `difference` laid over it, mappings merged key by key, all else replaced."""
    merged = copy.deepcopy(base)
    for key, value in difference.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _yaml_float(number: float) -> str:
    """`number` in a form that YAML reads as a number: 1.0e-5, not 1e-5 or 1.0e-05."""
    mantissa, exponent = f"{number:e}".split("e")
    mantissa = mantissa.rstrip("0")
    sign = "-" if int(exponent) < 0 else "+"
    return f"{mantissa}{'0' if mantissa.endswith('.') else ''}e{sign}{abs(int(exponent))}"


def _number_hint(value: str, *, whole: bool) -> str:
    """What to write for a number that came as a string."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return f"{value!r} is not a number"
    if "e" not in value.lower():
        return f"{value!r} is a string: write {value.strip()}"
    right = int(number) if whole and number.is_integer() else _yaml_float(number)
    return f"{value!r} is a string: write {right} (YAML reads 1e-5 as text and 1.0e-5 as a number)"


def _unknown_key(key: Any, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(key), allowed, n=1)
    return f"unknown key{f', did you mean `{near[0]}`?' if near else '.'} Allowed: {', '.join(sorted(allowed))}"


def _unknown_keys(value: dict, allowed: Iterable[str], where: str) -> list[str]:
    return [f"{where}: {key}: {_unknown_key(key, allowed)}" for key in value if key not in allowed]


def _hint(error: dict[str, Any], allowed: list[str]) -> str:
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"][-1], allowed)
    if kind in ("float_type", "int_type") and isinstance(value, str):
        return _number_hint(value, whole=kind == "int_type")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected keys and values, found {value!r}"
    if kind == "missing":
        return "this key is required"
    if kind == "union_tag_invalid":
        context = error["ctx"]
        return f"{context['discriminator']} {context['tag']!r} is unknown. Allowed: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"the key {error['ctx']['discriminator']} is required"
    message = error["msg"].removeprefix("Value error, ")
    return message if isinstance(value, dict) else f"{message}, got {value!r}"


def _allowed_keys(model: type[BaseModel], location: tuple) -> list[str]:
    """Keys allowed at the place of an unknown one, following the discriminators in `location`."""
    current: Any = model
    for part in location[:-1]:
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = fields[part].annotation
        for option in getattr(current, "__args__", ()):
            if any(part in getattr(f.annotation, "__args__", ()) for f in getattr(option, "model_fields", {}).values()):
                current = option
    return list(getattr(current, "model_fields", {}))


def validate(model: Any, value: Any, where: str) -> Any:
    """Validate `value`; every problem names `where` and the key.

    Raises
    ------
    ConfigError
        With all problems at once.
    """
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            root = model
            location = item["loc"]
            if not isinstance(model, type):  # a discriminated union: its first location is the tag
                options = model.__origin__.__args__
                tagged = [o for o in options if location and location[0] in repr(o.model_fields)]
                root, location = (tagged[0], location[1:]) if tagged else (options[0], location)
            # pydantic puts the tag of a union between the keys; a reader of the file does not see it there
            key = ".".join(str(p) for p in location if p not in ("elasticast", "ast", "[key]"))
            problems.append(f"{where}: {key + ': ' if key else ''}{_hint(item, _allowed_keys(root, location))}")
        raise ConfigError(list(dict.fromkeys(problems))) from None


def load_workflow_config(value: dict[str, Any], where: str = "config/config.yaml") -> WorkflowConfig:
    """Validate the workflow's own configuration."""
    return validate(WorkflowConfig, value, where)


def write_schema(path: Path = Path("workflow/schemas/config.schema.json")) -> None:
    """Write the JSON schema of `config/config.yaml`; ``python -m elasticast.config`` does it."""
    write_json(path, {"$schema": "https://json-schema.org/draft/2020-12/schema", **WorkflowConfig.model_json_schema()})


def load_run_config(path: Path) -> RunConfig:
    """Read a run's `config.yaml`."""
    return validate(RunConfig, read_yaml(path), str(path))


def load_resolved_suite(path: Path) -> Suite:
    """Read `results/SUITE/summary/suite.yaml`: a suite as it was run."""
    return validate(Suite, read_yaml(path), str(path))


def load_dataset(path: Path) -> DatasetConfig:
    """Read `config/datasets/NAME.yaml`."""
    return validate(DatasetConfig, read_yaml(path), str(path))


def _load_named_dataset(config_dir: Path, name: str, where: str) -> DatasetConfig:
    path = config_dir / "datasets" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ConfigError([f"{where}: dataset: {name!r} is unknown ({path} does not exist). There is: {known}"])
    return load_dataset(path)


def load_suite(name: str, config_dir: Path = Path("config")) -> Suite:
    """Read, merge and check a suite; all problems of all its experiments are raised at once.

    Parameters
    ----------
    name : str
        File name in ``config_dir/suites`` without ``.yaml``.
    config_dir : Path
        Folder that holds ``suites`` and ``datasets``.

    Raises
    ------
    ConfigError
        If anything in the suite or in a dataset it uses is wrong.
    """
    path = config_dir / "suites" / f"{name}.yaml"
    raw = read_yaml(path)
    problems: list[str] = []
    known = {"title", "seeds", "defaults", "experiments", "evaluations"}
    problems += _unknown_keys(raw, known, str(path))
    problems += [f"{path}: {key}: this key is required" for key in sorted(known - {"title"}) if key not in raw]
    if problems:
        raise ConfigError(problems)

    for key in ("defaults", "experiments", "evaluations"):
        if not isinstance(raw[key], dict) or not raw[key]:
            problems.append(f"{path}: {key}: expected keys and values, found {raw[key]!r}")
    if problems:
        raise ConfigError(problems)
    problems += _unknown_keys(raw["defaults"], _DIFFERENCE_KEYS - {"base"}, f"{path}: defaults")
    if problems:
        raise ConfigError(problems)

    head = {"title": raw.get("title", name), "seeds": raw["seeds"]}
    _collect(problems, {"head": (SuiteHead, head, str(path))})
    evaluations = _collect(
        problems, {n: (Evaluation, v, f"{path}: evaluations.{n}") for n, v in raw["evaluations"].items()}
    )
    experiments, runs, datasets = {}, {}, {}
    wrong: dict[str, list[str]] = {}
    for key, difference in raw["experiments"].items():
        where = f"{path}: experiments.{key}"
        found: list[str] = []
        try:
            merged = _merge_experiment(raw, key, difference, where)
            experiment, run = _split_experiment(key, merged, where, found)
            if run.dataset not in datasets:
                datasets[run.dataset] = _load_named_dataset(config_dir, run.dataset, where)
            found += _check_experiment(run, experiment, datasets[run.dataset], raw["evaluations"], evaluations, where)
            experiments[key], runs[key] = experiment, run.model_dump(mode="json", exclude={"experiment", "seed"})
        except ConfigError as error:
            found += error.problems
        wrong[key] = [p.removeprefix(where) for p in found]
    problems += _said_once(raw, wrong, experiments, str(path))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    fields = {**head, "name": name, "experiments": experiments, "runs": runs}
    return validate(Suite, {**fields, "evaluations": evaluations, "datasets": datasets}, str(path))


def _said_once(raw: dict, wrong: dict[str, list[str]], valid: Iterable[str], path: str) -> list[str]:
    """All problems, a wrong value under where it stands (defaults, base, experiment), not under each that inherits it.

    A `valid` experiment has no wrong value, only values that do not go together: that is always its own problem.
    """
    problems = []
    for name, found in wrong.items():
        difference = raw["experiments"][name]
        base = difference.get("base") if isinstance(difference, dict) else None
        inherited = wrong.get(base, ()) if isinstance(base, str) and base != name else ()
        value_of_defaults = base is None and name not in valid
        for problem in found:
            if not problem.startswith(": "):  # of another file
                problems.append(problem)
            elif value_of_defaults and _stands_in(raw["defaults"], problem) and not _stands_in(difference, problem):
                problems.append(f"{path}: defaults{problem}")
            elif problem not in inherited:
                problems.append(f"{path}: experiments.{name}{problem}")
    return problems


def _stands_in(settings: Any, problem: str) -> bool:
    """Whether the key a problem begins with is set in `settings`."""
    for key in problem.split(": ")[1].split("."):
        if not isinstance(settings, dict) or key not in settings:
            return isinstance(settings, list) and key.isdigit()
        settings = settings[key]
    return True


def _split_experiment(name: str, merged: dict, where: str, problems: list[str]) -> tuple[Experiment, RunConfig]:
    """What a suite says of an experiment, and the settings of its runs; the problems of both are raised together."""
    cosmetic = {k: v for k, v in merged.items() if k in Experiment.model_fields}
    settings = {k: v for k, v in merged.items() if k not in cosmetic} | {"experiment": name, "seed": 0}
    parts = {"experiment": (Experiment, cosmetic, where), "run": (RunConfig, settings, where)}
    checked = _collect(problems, parts)
    if len(checked) < len(parts):
        raise ConfigError([])
    return checked["experiment"], checked["run"]


def _collect(problems: list[str], items: dict[str, tuple]) -> dict[str, Any]:
    found = {}
    for name, (model, value, where) in items.items():
        try:
            found[name] = validate(model, value, where)
        except ConfigError as error:
            problems += error.problems
    return found


def _merge_experiment(raw: dict, name: str, difference: dict, where: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Defaults, then the chain of `base` experiments, then the experiment's own difference."""
    if not isinstance(difference, dict):
        raise ConfigError([f"{where}: expected keys and values, found {difference!r}"])
    unknown = _unknown_keys(difference, _DIFFERENCE_KEYS, where)
    if unknown:
        raise ConfigError(unknown)
    base = difference.get("base")
    if base is None:
        start = raw["defaults"]
    elif base == name or base in seen:
        raise ConfigError([f"{where}: base: {base!r} leads back to itself"])
    elif not isinstance(base, str) or base not in raw["experiments"]:
        raise ConfigError([f"{where}: base: unknown experiment {base!r}. There is: {', '.join(raw['experiments'])}"])
    else:
        start = _merge_experiment(raw, base, raw["experiments"][base], where, (*seen, name))
    return deep_merge(start, {k: v for k, v in difference.items() if k != "base"})


def _check_experiment(
    run: RunConfig, experiment: Experiment, dataset: Any, named: dict, evaluations: dict[str, Evaluation], where: str
) -> list[str]:
    """Problems between an experiment, its dataset and its sweeps (`named` in the file, `evaluations` when valid)."""
    problems = []
    if run.task not in dataset.tasks:
        allowed = ", ".join(dataset.tasks)
        problems.append(f"{where}: task: {run.task!r} is no task of dataset {run.dataset!r}. Allowed: {allowed}")
    elif dataset.tasks[run.task] == "multi" and run.train.loss == "ce":
        problems.append(f"{where}: train.loss: 'ce' needs one label a clip, task {run.task!r} has several: use 'bce'")
    for name in experiment.evaluations:
        if name not in named:
            problems.append(f"{where}: evaluations: unknown evaluation {name!r}. There is: {', '.join(named)}")
        sweep = evaluations.get(name)
        if sweep is None or sweep.x_name != "max_frames":
            continue
        off = [x for x in sweep.x if run.model.misfit(int(x))]
        limit = run.model.max_frames if isinstance(run.model, ElasticASTSettings) else max(sweep.x)
        far = [x for x in sweep.x if x > limit]
        if off:
            wrong = "not multiples of" if run.model.stride == run.model.patch else "shorter than"
            problems.append(f"{where}: evaluations.{name}.x: {off} are {wrong} model.patch = {run.model.patch}")
        if far:
            problems.append(f"{where}: evaluations.{name}.x: {far} lie beyond model.max_frames = {limit}")
    return problems


if __name__ == "__main__":
    write_schema()
