"""Data-parallel training: the processes that torchrun started work on one run together.

The settings alone decide which clips a step sees. N processes deal that batch out among themselves, so that N GPUs
take the trajectory of one, up to the order in which floats are summed: they buy speed, and room for a larger batch.
Without torchrun, or with one process of it, there is no process group and nothing is exchanged.
"""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch._dynamo  # the optimiser does; later than the process group, it would keep the group's threads to the end
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from elasticast.data.sampler import deal
from elasticast.errors import ElasticASTError
from elasticast.models.device import default_device
from elasticast.progress import LOG

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)
"""Longest wait of one process for another: for rank 0 to save, or for a slow batch to be read."""


@dataclass(frozen=True)
class World:
    """The processes of a run, as one of them sees them; by default this process is the only one.

    Every method but :meth:`share` waits for the other ranks: all have to call it, in the same order.

    Attributes
    ----------
    rank, size : int
        Number of this process, and how many there are, on all machines.
    device : torch.device
        Where this process computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=default_device)

    @property
    def main(self) -> bool:
        """Whether this process writes files and tells of progress."""
        return self.rank == 0

    def share(self, batch: list[T], tokens: list[int]) -> tuple[list[T], float]:
        """Clips of a batch for this rank, and its weight: the share of the batch's clips they are.

        Every rank has to compute something, or the others would wait for its gradients: where there are fewer clips
        than ranks, those left over take the smallest clip, with weight 0.

        Parameters
        ----------
        batch : list
            The clips.
        tokens : list of int
            Tokens of each.
        """
        own = deal(tokens, self.size)[self.rank]
        if own:
            return [batch[place] for place in own], len(own) / len(batch)
        return [batch[tokens.index(min(tokens))]], 0.0

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model with rank 0's weights, whose backward pass leaves each gradient's mean over ranks on every rank."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def sum(self, *values: float) -> list[float]:
        """Each value's sum over ranks. It goes from CPU to CPU, so that no GPU has to be waited for."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in their order."""
        if self.size == 1:
            return [value]
        found: list = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def broadcast(self, value: T) -> T:
        """Rank 0's value; that of the others does not matter."""
        if self.size == 1:
            return value
        found = [value]
        dist.broadcast_object_list(found)
        return found[0]

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        self.sum(0)


@contextmanager
def joined() -> Iterator[World]:
    """Join the other processes that torchrun started; a process of its own is a world of one.

    When a rank fails, the others end too, and what went wrong is said once.

    Raises
    ------
    ElasticASTError
        If there are more processes than GPUs, or another process ended without a word.
    """
    size = int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1
    if size == 1:
        yield World()
        return
    rank = int(os.environ["RANK"])
    if rank:
        LOG.setLevel(logging.WARNING)
    store, _, _ = next(dist.rendezvous("env://", timeout=TIMEOUT))
    with _one_voice(store, rank):
        device = local_device(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
        yield World(rank, size, device)


def local_device(local_rank: int, local_size: int) -> torch.device:
    """The GPU of one of `local_size` processes on this machine, or the CPU where there are no GPUs.

    Raises
    ------
    ElasticASTError
        If there are more processes than GPUs.
    """
    device = default_device()
    if device.type == "cuda":
        gpus = torch.cuda.device_count()
        if local_size > gpus:
            raise ElasticASTError(
                f"torchrun started {local_size} processes on {platform.node()}, which has {gpus} GPU(s) to use; "
                f"--nproc-per-node can be {gpus} at most"
            )
        torch.cuda.set_device(local_rank)
    return device


@contextmanager
def _one_voice(store: dist.Store, rank: int) -> Iterator[None]:
    """Let the rank that fails first say why; the others, which fail of its absence, end in silence."""
    try:
        yield
    except SystemExit:  # stopped and saved, all ranks alike
        dist.destroy_process_group()
        raise
    except BaseException as error:
        # a group with a rank missing is left as it is: NCCL could wait for that rank once more
        if not _is_first(store):
            raise SystemExit(1) from None
        if _is_lost_contact(error):
            raise ElasticASTError(
                f"rank {rank} on {platform.node()} lost another rank: it ended without a word (killed, out of memory?) "
                f"or did not answer for {TIMEOUT}; torchrun says how it ended"
            ) from error
        raise
    dist.destroy_process_group()


def _is_first(store: dist.Store) -> bool:
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    try:
        return store.add(f"elasticast/failed/{attempt}", 1) == 1
    except dist.DistError:  # whoever kept the store is gone: better said twice than never
        return True


def _is_lost_contact(error: BaseException) -> bool:
    """Whether a collective operation failed; gloo's errors have no class of their own."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
