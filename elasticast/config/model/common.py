"""What the settings of all models have in common."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from elasticast.config.base import PositiveInt, Settings
from elasticast.config.frames import patch_count
from elasticast.config.model.adapting import Adaptation
from elasticast.config.model.patch_sizes import PatchSizes
from elasticast.config.model.traits import Traits
from elasticast.errors import Problem


class ModelSettings(Settings):
    """Base of the settings of every model."""

    patch: PositiveInt = Field(16, description="Height and width of a patch. [mel bins, frames]")
    stride: PositiveInt | None = Field(
        None,
        validate_default=True,
        description="Step between patches; `null` means `model.patch`. Patches overlap if it is smaller. [mel "
        "bins, frames]",
    )
    patch_sizes: PatchSizes | None = Field(
        None, description="Patches of several sizes in training; `null`: all patches have the size `patch`."
    )
    backend: Literal["auto", "varlen", "xformers", "sdpa", "dense"] = Field(
        "auto",
        description="Attention backend. On CUDA, `auto` selects `varlen` (PyTorch's flash attention) in half "
        "precision and `xformers` in fp32, elsewhere `sdpa`. `dense` is the reference implementation.",
    )
    init: str | None = Field(
        None,
        description="Weights to start from: the folder of a run, a published weight file or folder, "
        "`hf:OWNER/NAME[@REVISION]`, `timm:NAME`, or `run:NAME` (another experiment of the suite or variant of the "
        "ablation, same seed). `null` starts at random.",
    )

    @field_validator("stride")
    @classmethod
    def _stride_within_patch(cls, stride: int | None, info: ValidationInfo) -> int | None:
        patch = info.data.get("patch")
        if stride is not None and patch is not None and stride > patch:
            raise ValueError(f"is above model.patch = {patch}, so that frames between patches would be left out")
        return patch if stride is None else stride

    @property
    def traits(self) -> Traits:
        """What the model needs and can do; a model declares it here."""
        return Traits()

    @property
    def adaptation(self) -> Adaptation | None:
        """How the weights of `init` are adapted; None if all of them train."""
        return None

    @property
    def limit(self) -> int | None:
        """Largest number of frames that the positions cover, or None if there is no limit."""
        return self.traits.longest

    @property
    def size(self) -> dict[str, Any]:
        """The settings in which weights that the model starts from must be equal."""
        return {"patch": self.patch}

    @property
    def summary(self) -> str:
        """The model in words, after its kind."""
        return f"patches of {self.patch}"

    @property
    def described(self) -> str:
        """The kind of model, for messages."""
        return f"a model of kind `{self.kind}`" + (f" with {self.adaptation.kind}" if self.adaptation else "")

    @property
    def no_patch_sizes(self) -> str | None:
        """Why the model takes no patches of other sizes, or None if it does."""
        if not self.traits.patch_sizes:
            return f"{self.described} takes patches of one size only"
        overlap = self.stride != self.patch
        return f"needs model.stride = model.patch = {self.patch}, got {self.stride}" if overlap else None

    def patches(self, length: int) -> int:
        """Number of patches along an axis of `length` mel bins or frames."""
        return patch_count(length, self.patch, self.stride)

    def length_error(self, length: int) -> str | None:
        """Why patches do not fit an axis of `length` mel bins or frames, or None if they fit.

        Overlapping patches may leave a remainder, which is not used.
        """
        if self.stride == self.patch and length % self.patch:
            return f"is not a multiple of model.patch = {self.patch}"
        return f"is shorter than model.patch = {self.patch}" if length < self.patch else None

    def problems(self, run: Any) -> list[Problem]:
        """Problems of a run with this model, besides those that follow from the traits.

        Parameters
        ----------
        run : RunSettings
            All settings of the run.
        """
        return []

    def flops(self, tokens: int, classes: int) -> int | None:
        """Floating-point operations of the forward pass of one clip; a multiplication and an addition count as two.

        Only matrix products count, as in `torch.utils.flop_counter`.

        Parameters
        ----------
        tokens : int
            Number of patch tokens of the clip.
        classes : int
            Number of classes.

        Returns
        -------
        int or None
            None if the model has no formula: they are then counted while it runs.
        """
        return None

    def frame_flops(self, time_patches: int, classes: int) -> int:
        """Operations that ``forward(batch, frames=True)`` adds to :meth:`flops` for one clip; see `Traits.frames`."""
        return 0

    def lengthened(self, frames: int) -> dict[str, Any]:
        """The settings to change, so that the positions cover clips of `frames` frames."""
        return {}
