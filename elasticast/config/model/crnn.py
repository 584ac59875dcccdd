"""Settings of the convolutional recurrent frame head."""

from typing import Annotated, Any

from pydantic import Field

from elasticast.config.base import PositiveInt, Settings
from elasticast.errors import Problem


class CRNN(Settings):
    """A frame head that is also given the spectrogram: convolutions, then a recurrent network over time."""

    channels: list[PositiveInt] = Field(
        [16, 32, 64], min_length=1, description="Channels of each convolution of the spectrogram."
    )
    width: PositiveInt = Field(64, description="Width of the recurrent network (GRU), in each direction.")
    layers: PositiveInt = Field(1, description="Number of its layers.")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Dropout after each convolution and after the recurrent network."
    )

    def problems(self, model: Any) -> list[Problem]:
        """Problems of this head with the other settings of a model (`TransformerSettings`)."""
        problems = []
        if not model.frame_head:
            message = "needs model.frame_head = true: it is the frame head"
            problems.append(Problem.between("model.crnn", self.model_dump(), message))
        if model.stride != model.patch:
            message = f"with model.crnn, patches do not overlap: expected model.patch = {model.patch}, or null"
            problems.append(Problem.between("model.stride", model.stride, message))
        if getattr(model, "context", None) is not None:
            message = "needs model.context = null: the recurrent network also reads what comes later"
            problems.append(Problem.between("model.crnn", self.model_dump(), message))
        return problems
