"""Load batches of training clips, in other processes if the settings ask for them."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from elasticast.data.dataset import ClipDataset
from elasticast.data.packing import PackedBatch, PackedClip, pack
from elasticast.data.sampler import ClipRequest
from elasticast.errors import ElasticASTError


def load_batches(
    dataset: ClipDataset, batches: Iterable[list[ClipRequest]], start: Callable[[int], None], *, pin_memory: bool
) -> Iterator[PackedBatch]:
    """Load batches, in order. `train.workers` does not change them.

    Parameters
    ----------
    dataset : ClipDataset
        The clips.
    batches : iterable of list of ClipRequest
        Clips of each batch.
    start : callable
        Function that each data loader process calls first.
    pin_memory : bool
        Whether the batches are copied to page-locked memory, from which copies to a GPU are faster.

    Raises
    ------
    ElasticASTError
        If a clip cannot be loaded.
    """
    loader = DataLoader(
        _Loaded(dataset),
        batch_sampler=batches,
        collate_fn=_pack,
        generator=torch.Generator(),  # by default, each new loader would change torch's random state
        num_workers=dataset.config.train.workers,
        worker_init_fn=start,
        pin_memory=pin_memory,
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Loaded(Dataset):
    """The clips of a batch, or the error of the first that cannot be loaded.

    An exception that leaves a data loader process comes back with a traceback in its message, so it is returned here
    and raised in the main process.
    """

    def __init__(self, clips: ClipDataset):
        self.clips = clips

    def __getitems__(self, requests: list[ClipRequest]) -> list[PackedClip] | Exception:
        try:
            return [self.clips[request] for request in requests]
        except (ElasticASTError, OSError, MemoryError) as error:
            return error


def _pack(clips: list[PackedClip] | Exception) -> PackedBatch | Exception:
    return clips if isinstance(clips, Exception) else pack(clips)
