"""Settings of training: batches, learning rate, loss, augmentation."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from elasticast.config.base import PositiveFloat, PositiveInt, Settings, Share
from elasticast.errors import Problem, SettingsError


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
            raise ValueError("give exactly one of `clips` and `tokens` (null removes an inherited one)")
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
            raise ValueError("give exactly one of `steps` and `epochs` (null removes an inherited one)")
        low, high = self.dropout_range
        if high >= 1:
            message = "should be below 1: at least one token has to stay"
            raise SettingsError([Problem("", ("token_dropout",), message, self.token_dropout)])
        if low > high:
            message = "the smaller number comes first"
            raise SettingsError([Problem("", ("token_dropout",), message, self.token_dropout)])
        return self

    @property
    def dropout_range(self) -> tuple[float, float]:
        """Least and most share of a clip's tokens that is dropped."""
        value = self.token_dropout
        return (value[0], value[1]) if isinstance(value, list) else (value, value)
