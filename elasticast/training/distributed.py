"""Data-parallel training: one run on several processes, started by torchrun.

The clips of a batch depend on the settings only, not on the number of processes. The processes split each batch among
themselves, so N GPUs compute the same training steps as one GPU, up to the order in which floats are summed. More GPUs
are faster and have memory for larger batches. Without torchrun, or with a single process, no process group is created.
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
import torch._dynamo  # imported by the optimiser; importing it after the process group keeps its threads alive
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from elasticast.data.sampler import deal
from elasticast.errors import ElasticASTError
from elasticast.models.device import default_device
from elasticast.progress import LOG

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)
"""Timeout of collective operations. It has to cover saving on rank 0 and reading a slow batch."""


@dataclass(frozen=True)
class World:
    """The processes that train a run together; by default only the current process.

    All methods except :meth:`share` wait for the other ranks: every rank has to call them, in the same order.

    Attributes
    ----------
    rank : int
        Index of this process.
    size : int
        Number of processes on all machines.
    device : torch.device
        Device of this process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=default_device)

    @property
    def main(self) -> bool:
        """Whether this process writes files and reports progress: it is rank 0."""
        return self.rank == 0

    def share(self, batch: list[T], tokens: list[int]) -> tuple[list[T], float]:
        """Select the clips of a batch that this rank computes.

        Every rank has to compute something, because the others wait for its gradients. If there are fewer clips than
        ranks, each remaining rank computes the smallest clip with weight 0.

        Parameters
        ----------
        batch : list
            Clips of the batch.
        tokens : list of int
            Number of tokens of each clip.

        Returns
        -------
        clips : list
            Clips of this rank.
        weight : float
            Number of these clips divided by the number of clips in the batch.
        """
        indices = deal(tokens, self.size)[self.rank]
        if indices:
            return [batch[index] for index in indices], len(indices) / len(batch)
        return [batch[tokens.index(min(tokens))]], 0.0

    def replicate(self, model: nn.Module) -> nn.Module:
        """Copy rank 0's weights to all ranks, and average gradients over ranks in the backward pass."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def sum(self, *values: float) -> list[float]:
        """Sum each value over ranks. The values stay on the CPU, so this does not wait for a GPU."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: T) -> list[T]:
        """Collect the values of all ranks, in order of rank."""
        if self.size == 1:
            return [value]
        values: list = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T) -> T:
        """Send rank 0's value to all ranks; the values of the others are ignored."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def wait(self) -> None:
        """Wait until all ranks have called this method."""
        self.sum(0)


@contextmanager
def join_processes() -> Iterator[World]:
    """Join the processes that torchrun started; without torchrun, the world has one process.

    If a rank fails, all ranks end, and only one of them reports the error.

    Raises
    ------
    ElasticASTError
        If there are more processes than GPUs, or if another process ended without reporting an error.
    """
    size = int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1
    if size == 1:
        yield World()
        return
    rank = int(os.environ["RANK"])
    if rank:
        LOG.setLevel(logging.WARNING)
    store, _, _ = next(dist.rendezvous("env://", timeout=TIMEOUT))
    with _report_once(store, rank):
        device = local_device(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
        yield World(rank, size, device)


def local_device(local_rank: int, local_size: int) -> torch.device:
    """The GPU of a process, or the CPU if there is no GPU.

    Parameters
    ----------
    local_rank : int
        Index of the process on this machine.
    local_size : int
        Number of processes on this machine.

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
                f"torchrun started {local_size} processes on {platform.node()}, which has {gpus} usable GPU(s); "
                f"set --nproc-per-node to {gpus} at most"
            )
        torch.cuda.set_device(local_rank)
    return device


@contextmanager
def _report_once(store: dist.Store, rank: int) -> Iterator[None]:
    """Let only the first rank that fails report its error; the others fail as a consequence and exit quietly."""
    try:
        yield
    except SystemExit:  # all ranks stopped and saved
        dist.destroy_process_group()
        raise
    except BaseException as error:
        # do not destroy a group with a missing rank: NCCL could wait for that rank again
        if not _is_first(store):
            raise SystemExit(1) from None
        if _is_lost_contact(error):
            raise ElasticASTError(
                f"rank {rank} on {platform.node()} lost another rank: it ended without an error message (killed, out "
                f"of memory?) or did not answer for {TIMEOUT}; see the output of torchrun for how it ended"
            ) from error
        raise
    dist.destroy_process_group()


def _is_first(store: dist.Store) -> bool:
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    try:
        return store.add(f"elasticast/failed/{attempt}", 1) == 1
    except dist.DistError:  # the process that hosts the store has ended
        return True  # rather report the error twice than not at all


def _is_lost_contact(error: BaseException) -> bool:
    """Whether a collective operation failed; gloo raises plain RuntimeErrors."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
