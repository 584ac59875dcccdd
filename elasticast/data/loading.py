"""Load batches of clips, in other processes if the settings ask for them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from elasticast.data.dataset import ClipDataset
from elasticast.data.packing import PackedBatch, pack
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
    return load(
        dataset,
        pack,
        batch_sampler=batches,
        generator=torch.Generator(),  # by default, each new loader would change torch's random state
        num_workers=dataset.config.train.workers,
        worker_init_fn=start,
        pin_memory=pin_memory,
    )


def load(dataset: Dataset, collate: Callable[[list], Any], **options: Any) -> Iterator[Any]:
    """Batches of a `DataLoader`, except that its processes raise the errors of `dataset` unchanged.

    Parameters
    ----------
    dataset : Dataset
        The items.
    collate : callable
        Function that turns the items of a batch into a batch.
    **options
        Further arguments of `DataLoader`.

    Raises
    ------
    ElasticASTError
        If an item cannot be loaded.
    """
    for batch in DataLoader(_Loaded(dataset), collate_fn=_Collated(collate), **options):
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Loaded(Dataset):
    """The items of a batch, or the error of the first that cannot be loaded.

    An exception that leaves a data loader process comes back with a traceback in its message, so it is returned here
    and raised in the main process.
    """

    def __init__(self, items: Dataset):
        self.items = items

    def __getitems__(self, indices: list) -> list | Exception:
        try:
            return [self.items[index] for index in indices]
        except (ElasticASTError, OSError, MemoryError) as error:
            return error


class _Collated:
    """Turn the items of a batch into a batch, or return their error."""

    def __init__(self, collate: Callable[[list], Any]):
        self.collate = collate

    def __call__(self, items: list | Exception) -> Any:
        return items if isinstance(items, Exception) else self.collate(items)
