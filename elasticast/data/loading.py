"""Load batches of clips, in other processes if the settings ask for them."""

import contextlib
import errno
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.queues import Queue
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from elasticast.data.dataset import ClipDataset
from elasticast.data.packing import PackedBatch, pack
from elasticast.data.sampler import ClipRequest
from elasticast.errors import ElasticASTError
from elasticast.faults import SHARED_MEMORY

THREAD_BYTES = 32 << 20
"""Address space for the stack of a thread, and for what it allocates first."""


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
        start=start,
        pin_memory=pin_memory,
    )


def load(
    dataset: Dataset, collate: Callable[[list], Any], *, start: Callable[[int], None] | None = None, **options: Any
) -> Iterator[Any]:
    """Batches of a `DataLoader`, except that errors of its processes are raised here as they are, without traceback.

    A batch that a process cannot send, for lack of shared memory for example, is an error. A `DataLoader` would wait
    for it forever.

    Parameters
    ----------
    dataset : Dataset
        The items.
    collate : callable
        Function that turns the items of a batch into a batch.
    start : callable, optional
        Function that each data loader process calls first.
    **options
        Further arguments of `DataLoader`.

    Raises
    ------
    ElasticASTError
        If an item cannot be loaded.
    OSError, RuntimeError
        If the machine lacks memory, shared memory or file handles, or a process was killed; see
        :mod:`elasticast.faults`.
    """
    options["worker_init_fn"] = partial(_start, start)
    if options.get("num_workers"):
        _check_room()
    failure = None
    with _quiet():
        try:
            for batch in DataLoader(_Loaded(dataset), collate_fn=_Collated(collate), **options):
                if isinstance(batch, Exception):
                    failure = batch
                    break
                yield batch
        except (EOFError, ConnectionError, FileNotFoundError) as error:
            failure = RuntimeError(f"DataLoader worker (pid unknown) exited: {error}")
        except (OSError, RuntimeError) as error:
            failure = error.with_traceback(None)  # else it would keep the loader alive
            if getattr(error, "errno", None) == errno.ENOSPC:  # loaders write nowhere else
                error.filename = SHARED_MEMORY
    if failure:
        raise failure


def _start(start: Callable[[int], None] | None, number: int) -> None:
    """In a new data loader process: let its queue send errors, then call `start`."""
    _check_room()
    Queue._on_queue_feeder_error = _send_error
    if start:
        start(number)


def _check_room() -> None:
    """Raise an error if there is too little memory to start a thread. The loader would wait for it forever."""
    try:
        mmap.mmap(-1, THREAD_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"no room for a thread: {error.strerror}") from None


def _send_error(queue: Queue, error: Exception, batch: object) -> None:
    """Send an error in place of a batch that cannot be sent."""
    if not isinstance(batch, tuple):  # not even an error can be sent
        os._exit(1)
    queue.put((batch[0], error))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Python print no errors of loaders that were only half begun when an error ended them."""
    before = sys.unraisablehook

    def report(error: "sys.UnraisableHookArgs") -> None:
        if error.object is not _MultiProcessingDataLoaderIter.__del__:
            before(error)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before


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
