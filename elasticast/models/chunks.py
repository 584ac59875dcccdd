"""What a transformer keeps of a stream: the keys, values and last states of its latest chunks.

A chunk that attends to kept keys and values has the states that it has in a whole clip under the mask of
`model.context`, because under that mask no token attends to a later chunk. Keys are kept before they are rotated, and
places are counted from the oldest chunk that is kept: rotary positions only depend on distances, and counts would lose
precision after hours.

Shapes: N tokens of a chunk, M tokens of this chunk and of those that are kept, D width.
"""

from collections import defaultdict, deque

import torch
from torch import Tensor

from elasticast.data.packing import Lengths
from elasticast.models.attention import ClipMask, Rotation
from elasticast.models.transformer import Trunk


class ChunkMemory:
    """The latest chunks of one stream.

    Parameters
    ----------
    past : int
        Number of chunks to keep for those that follow. Older ones are forgotten.
    """

    def __init__(self, past: int):
        self._layers = defaultdict(lambda: deque(maxlen=past + 1))
        self._states: deque[Tensor] = deque(maxlen=past + 1)
        self._places: deque[tuple[Tensor, Tensor]] = deque(maxlen=past + 1)
        self._next = 0

    def places(self, freq: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Add the next chunk's places `[N]` in frequency and time; returns those of all chunks that are kept, `[M]`.

        `time` counts from the start of the chunk, in time patches. The result counts from the oldest chunk.
        """
        start = self._next
        self._next += int(time.max()) + 1
        self._places.append((freq, time + start))
        freq, time = (torch.cat(parts) for parts in zip(*self._places, strict=True))
        return freq, time - time.min()

    def add(self, trunk: Trunk, x: Tensor, rotation: Rotation, backend: str) -> Tensor:
        """Run the blocks on the tokens of the next chunk `[N, D]`; returns the last states of all chunks, `[M, D]`.

        `rotation` is that of the places that :meth:`places` returned.
        """
        mask = ClipMask(*(Lengths.of([count], x.device) for count in (len(x), len(rotation.cos))), backend)
        for number, block in enumerate(trunk.blocks):
            normed = block.norm1(x)
            attended = block.attn.continued(normed, mask, rotation, self._layers[number])
            x = block.feed_forward(x + block.adapted("attn", normed, attended, mask), mask)
        self._states.append(trunk.norm(x))
        return torch.cat(list(self._states))
