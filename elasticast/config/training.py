"""Settings of training: batches, learning rate, loss, augmentation."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from elasticast.config.augment import FilterAugment, FreqWarp, ImpulseResponses, Mixstyle, SpecAugment
from elasticast.config.base import NaturalInt, PositiveFloat, PositiveInt, Scores, Settings, Share
from elasticast.config.deciding import NO_EFFECT
from elasticast.config.phases import Phase, share_problem
from elasticast.config.stages import Averaging, StageSettings, Unlabelled
from elasticast.errors import Problem, SettingsError


class Batch(Settings):
    """Size of a batch on all GPUs together, in clips or in tokens."""

    clips: PositiveInt | None = Field(
        None, description="Clips per optimisation step. Set either this or `tokens`. [clips]"
    )
    tokens: PositiveInt | None = Field(
        None,
        description="Token budget per optimisation step, counted before token dropout, with the smallest patches, and "
        "never exceeded. [tokens]",
    )
    buckets: bool = Field(
        False,
        description="Group clips of similar length. For models that pad clips to the longest of the batch: those of "
        "one length, such as `ast`, with `view.frames: native`, and those with `model.padding`.",
    )
    last: Literal["drop", "keep"] = Field(
        "drop", description="With `clips`: drop or keep the incomplete last batch of an epoch."
    )

    @model_validator(mode="after")
    def _one(self):
        if (self.clips is None) == (self.tokens is None):
            raise ValueError("set exactly one of `clips` and `tokens` (null removes an inherited one)")
        return self


class Schedule(Settings):
    """Learning rate after warm-up."""

    kind: Literal["constant", "step", "cosine", "plateau"] = Field(
        "cosine",
        description="Learning rate after the warm-up. `plateau` decays it when the score of `select` stops rising.",
    )
    gamma: PositiveFloat = Field(0.5, description="With `step` and `plateau`: factor of each decay.")
    start_epoch: PositiveFloat = Field(2, description="With `step`: when the first decay happens. [epochs]")
    every_epochs: PositiveFloat = Field(1, description="With `step`: time between decays. [epochs]")
    patience: PositiveInt = Field(
        3,
        description="With `plateau`: the rate decays after so many evaluations in a row, counted from the last decay, "
        "that were not better than the best one. PyTorch's `ReduceLROnPlateau` calls this a patience of one less. "
        "[evaluations]",
    )


class Select(Settings):
    """How the weights of a run are selected: the best of several evaluations on a split, by accuracy or mAP."""

    split: Literal["dev", "test"] = Field(description="Split that the model is evaluated on during training.")
    every_epochs: PositiveInt = Field(
        1, description="Time between these evaluations; the last one is at the end of training. [epochs]"
    )
    patience: PositiveInt | None = Field(
        None,
        description="Training ends early, as converged, once so many evaluations in a row were not better than the "
        "best one before; `null` always trains to the end. Best with `schedule: {kind: plateau}` or `constant`: a rate "
        "that falls until the end, as with `cosine`, would be cut off while it is high. [evaluations]",
    )
    scores: Scores = Field("exact", description="Scores that accuracy or mAP is computed from, as in an evaluation.")


class EventLoss(Settings):
    """Weights of the losses that training on events adds up."""

    clips: Annotated[float, Field(ge=0)] = Field(0.5, description="Weight of the loss of the classes of each clip.")
    frames: PositiveFloat = Field(1.0, description="Weight of the loss of the classes of each time patch.")


class Distill(Settings):
    """Knowledge distillation: a trained model teaches the run."""

    teacher: str = Field(
        description="The teacher: weights as in `model.init`, such as `run:NAME` (another experiment of the suite "
        "or variant of the ablation, same seed). It needs the classes and the sample rate of the run."
    )
    weight: Share = Field(description="Weight of the teacher's term in the loss; the labels have the rest.")
    temperature: PositiveFloat = Field(
        1.0, description="The logits of both models are divided by it, and the term is multiplied by its square."
    )


def _one_or_range(value: Any) -> str:
    return "[range]" if isinstance(value, list) else "[share]"


OneOrRange = Annotated[
    Annotated[Share, Tag("[share]")] | Annotated[list[Share], Field(min_length=2, max_length=2), Tag("[range]")],
    Discriminator(_one_or_range),
]


class Train(Settings):
    """Optimisation."""

    steps: PositiveInt | None = Field(
        None, description="Length of training. Set one of `steps`, `epochs` and `flops`. [steps]"
    )
    epochs: PositiveInt | None = Field(None, description="Length of training. [epochs]")
    flops: PositiveFloat | None = Field(
        None,
        description="Length of training, as the floating-point operations that it may cost: as many steps as are "
        "expected to cost this, with those of a teacher. [FLOPs]",
    )
    batch: Batch = Field(description="Size of a batch, shared by all GPUs.")
    optimizer: Literal["adam", "adamw"] = Field(
        "adamw",
        description="`adam` adds the decay to the gradient (L2), `adamw` applies it to the weights directly.",
    )
    lr: float = Field(1.0e-3, gt=0, le=1.0e6, description="Learning rate after the warm-up.")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Learning rates fall from layer to layer: that of a layer is so many times that of the layer "
        "above. Heads, pooling and the last LayerNorm have the full rate, the last layer one decay, patches and "
        "positions the most. For fine-tuning (`model.init`); 1 gives all the same rate.",
    )
    betas: list[Share] = Field(
        [0.9, 0.999], min_length=2, max_length=2, description="Coefficients of Adam's running averages."
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay.")
    decay: Literal["matrices", "all"] = Field(
        "matrices",
        description="What decays: the matrices of linear layers, or all weights, biases, LayerNorms and positions "
        "included.",
    )
    warmup_steps: NaturalInt = Field(0, description="Length of the linear warm-up. [steps]")
    warmup_epochs: PositiveFloat | None = Field(
        None, description="Length of the linear warm-up, instead of `warmup_steps`. [epochs]"
    )
    warmup_start: Share = Field(
        0.0, description="Learning rate at the first step, as a share of `lr`. 0 starts with one step of the warm-up."
    )
    warmup_hold: PositiveInt | None = Field(
        None,
        description="Warm-up: change the rate only every so many steps, from 0 on, as in AST; `null` changes it at "
        "every step. [steps]",
    )
    schedule: Schedule = Field(Schedule(), description="Learning rate after the warm-up.")
    loss: Literal["bce", "ce"] = Field(
        "bce",
        description="Binary cross-entropy (`bce`) or cross-entropy (`ce`). `ce` needs a task with one label per clip.",
    )
    event_loss: EventLoss = Field(
        EventLoss(), description="Tasks of kind `frames`: weights of the losses of clips and of frames."
    )
    loss_weights: Literal["clip", "token"] = Field(
        "clip",
        description="What counts equally in the mean loss of a batch: every `clip`, or every `token`, so that long "
        "clips count more.",
    )
    distill: Distill | None = Field(None, description="Learn from a teacher too; `null` learns from labels only.")
    grad_clip: PositiveFloat | None = Field(1.0, description="Largest gradient norm; `null` does not clip.")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="Autocast type. `fp16` needs CUDA.")
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compile the transformer blocks with `torch.compile`. `auto` does so with the attention backend "
        "`varlen`; `on` needs it, and a model that can be compiled.",
    )
    cuda_graphs: bool = Field(
        False,
        description="With `compile`, on one GPU: replay batches of up to 16,384 tokens as CUDA graphs. Half the time "
        "of a step of 12 clips with a ViT-B on an H200. Experimental.",
    )
    phases: list[Phase] | None = Field(
        None,
        min_length=1,
        description="Coarse-to-fine training: phases of falling compression, the last one that of `view`. Warm-up, "
        "learning rate and optimiser start anew in each phase; `null` has no phases.",
    )
    phase_shares: Literal["length", "flops"] = Field(
        "length",
        description="What phases have shares of: of the `length` of the training, in `steps`, `epochs` or `flops`, or "
        "of the `flops` that this training would need without phases.",
    )
    stages: list[StageSettings] | None = Field(
        None,
        min_length=1,
        description="Multi-stage training: what trains, how fast, and which losses count besides that of labels. "
        "Warm-up, learning rate and optimiser start anew in each stage; `null` has no stages.",
    )
    unlabelled: Unlabelled | None = Field(
        None, description="Training clips without labels; `null` uses none of them, and the labels of all others."
    )
    mean_teacher: Averaging = Field(Averaging(), description="With `stages`: the mean teacher.")
    ensemble: list[str] | None = Field(
        None,
        min_length=1,
        description="With `stages`: models with a frame head, named as in `model.init`. Pseudo-labels are the sigmoids "
        "of the mean of their logits. Each needs the classes and the sample rate of the run.",
    )
    sampler: Literal["shuffle", "balanced"] = Field(
        "shuffle",
        description="What an epoch is. `shuffle`: every clip once. `balanced`: as many draws with replacement, "
        "clips with rare labels more often, as in AST.",
    )
    token_dropout: OneOrRange = Field(
        0.0,
        description="Share of the tokens of each clip dropped in training (not by `ast`). `[least, most]` "
        "draws a share per clip.",
    )
    token_rounding: Literal["nearest", "down"] = Field(
        "nearest", description="How the number of tokens that token dropout keeps is rounded."
    )
    mixup: Share = Field(0.0, description="Share of clips mixed with another clip (waveforms and targets).")
    mixup_fill: Literal["repeat", "zeros"] = Field(
        "repeat", description="Whether a shorter clip is repeated to the length of the other one, or followed by zeros."
    )
    impulse_responses: ImpulseResponses | None = Field(
        None, description="Convolve waveforms with impulse responses of devices or rooms; `null` does not."
    )
    mixstyle: Mixstyle | None = Field(
        None,
        description="Give clips a mixture of their own mean and standard deviation of each mel bin and those of "
        "another clip; `null` does not.",
    )
    freq_warp: FreqWarp | None = Field(
        None, description="Stretch some successive mel bins over all of them; `null` does not."
    )
    filter_augment: FilterAugment | None = Field(
        None, description="Amplify and attenuate bands of the log-mel at random; `null` does not."
    )
    spec_augment: SpecAugment = Field(SpecAugment(), description="Time warp and masks on the log-mel.")
    select: Select | None = Field(
        None, description="Keep the best weights on a split, by accuracy or mAP; `null` keeps the last."
    )
    workers: NaturalInt = Field(
        0,
        description="Data loader processes; 0 loads data in the training process.",
        json_schema_extra=NO_EFFECT,
    )
    checkpoint_every: PositiveInt = Field(
        200, description="Time between checkpoints; the last two are kept. [steps]", json_schema_extra=NO_EFFECT
    )
    log_every: PositiveInt = Field(
        50, description="Time between entries in the log. [steps]", json_schema_extra=NO_EFFECT
    )

    @model_validator(mode="after")
    def _one_length(self):
        if sum(length is not None for length in (self.steps, self.epochs, self.flops)) != 1:
            raise ValueError("set exactly one of `steps`, `epochs` and `flops` (null removes an inherited one)")
        if self.warmup_epochs is not None and self.warmup_steps:
            message = f"is already set as warmup_steps = {self.warmup_steps}; set that to 0"
            raise SettingsError([Problem("", ("warmup_epochs",), message, self.warmup_epochs)])
        low, high = self.dropout_range
        if high >= 1:
            message = "expected shares below 1: at least one token must remain"
            raise SettingsError([Problem("", ("token_dropout",), message, self.token_dropout)])
        if low > high:
            message = "the smaller number comes first"
            raise SettingsError([Problem("", ("token_dropout",), message, self.token_dropout)])
        if self.schedule.kind == "plateau" and (self.select is None or self.phases or self.stages):
            message = "plateau decays by the scores of train.select, which must be set, without phases and stages"
            raise SettingsError([Problem("", ("schedule", "kind"), message, self.schedule.kind)])
        for name in ("phases", "stages"):
            parts = getattr(self, name)
            if parts is not None and (problem := share_problem(name, [part.share for part in parts])):
                raise SettingsError([problem])
        return self

    @property
    def dropout_range(self) -> tuple[float, float]:
        """Smallest and largest share of the tokens of a clip that are dropped."""
        value = self.token_dropout
        return (value[0], value[1]) if isinstance(value, list) else (value, value)
