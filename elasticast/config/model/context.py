"""Settings of attention by chunks: which part of the past a token attends to."""

from pydantic import Field, model_validator

from elasticast.config.base import NaturalInt, PositiveInt, Settings
from elasticast.errors import Problem, SettingsError


class Context(Settings):
    """Attention by chunks of time: tokens attend to their chunk and to those before it, never to later ones."""

    chunk: PositiveInt = Field(description="Length of a chunk. Its tokens attend to each other. [time patches]")
    past: NaturalInt | None = Field(
        None,
        description="How far the tokens of a chunk attend into the past, before their chunk; a multiple of `chunk`. "
        "`null`: to the start of the clip. [time patches]",
    )

    @model_validator(mode="after")
    def _whole_chunks(self):
        if self.past is not None and self.past % self.chunk:
            message = f"is not a multiple of chunk = {self.chunk}"
            raise SettingsError([Problem("", ("past",), message, self.past)])
        return self

    @property
    def past_chunks(self) -> int | None:
        """Number of earlier chunks that a token attends to; None for all."""
        return None if self.past is None else self.past // self.chunk
