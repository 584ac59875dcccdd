"""Embeddings of a model: one vector per clip, and if the model has them, several per clip over time.

Shapes: B clips, D width.
"""

from typing import NamedTuple

from torch import Tensor, nn

from elasticast.data.packing import PackedBatch


class Embeddings(NamedTuple):
    """Embeddings of a batch.

    Attributes
    ----------
    clips : Tensor
        `[B, D]`, the input of the head: of the first submodule in the trait `head`.
    frames : list of Tensor or None
        For each clip, `[frames, D]`: what the method `frame_embeddings` of the model returns. None if it has none.
    """

    clips: Tensor
    frames: list[Tensor] | None


def embed(model: nn.Module, batch: PackedBatch) -> Embeddings:
    """Compute the embeddings of a batch with a model that :func:`~elasticast.models.build_model` built."""
    taken: list[Tensor] = []
    head = model.get_submodule(model.settings.traits.head[0])
    hook = head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    try:
        model(batch)
    finally:
        hook.remove()
    frames = getattr(model, "frame_embeddings", None)
    return Embeddings(taken[-1], frames(batch) if frames else None)
