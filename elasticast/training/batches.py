"""The batches of a training, phase by phase."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from elasticast.data.dataset import ClipDataset
from elasticast.data.loading import load_batches
from elasticast.data.packing import PackedBatch
from elasticast.data.patch_sizes import drawn_size
from elasticast.data.sampler import ClipRequest
from elasticast.data.teacher import TeacherView
from elasticast.training.distributed import World
from elasticast.training.inputs import RunInputs
from elasticast.training.phases import TrainingPhase


class Step(NamedTuple):
    """What a training step computes.

    Attributes
    ----------
    phase, epoch : int
        Index of the phase, and number of the epoch, from 0.
    clips : list of ClipRequest
        Clips of the batch, on all ranks together.
    batch : PackedBatch
        This rank's part of it.
    weight : float
        Share of the clips in this part.
    """

    phase: int
    epoch: int
    clips: list[ClipRequest]
    batch: PackedBatch
    weight: float


class TrainingBatches:
    """Load the batches of a training.

    Parameters
    ----------
    phases : list of TrainingPhase
        Phases of the training.
    inputs : RunInputs
        Clips, normalisation and teacher.
    world : World
        The processes that train together.
    graphs : bool
        Whether CUDA graphs are recorded.
    start : callable
        Function that each data loader process calls first.
    """

    def __init__(
        self,
        phases: list[TrainingPhase],
        inputs: RunInputs,
        world: World,
        *,
        graphs: bool,
        start: Callable[[int], None],
    ):
        self.phases, self.inputs, self.world, self.graphs, self.start = phases, inputs, world, graphs, start

    def after(self, step: int) -> Iterator[Step]:
        """Batches after the first `step` steps. A run that was stopped gets the same as one that was never stopped."""
        clips, teacher = self.inputs.clips, self.inputs.teacher
        if teacher is not None:
            keep = not self.phases[0].config.train.workers
            teacher = TeacherView(clips, teacher.config, teacher.norm, keep=keep)
        for number, phase in enumerate(self.phases):
            done = max(0, step - phase.first_step)
            if done < phase.steps:
                dataset = ClipDataset(clips, phase.config, self.inputs.norm, teacher)
                for batch in itertools.islice(self._of_phase(phase, dataset, done), phase.steps - done):
                    yield Step(number, *batch)

    def _of_phase(self, phase: TrainingPhase, dataset: ClipDataset, skip: int) -> Iterator[tuple]:
        world, sizes = self.world, phase.sampler.sizes
        for epoch in itertools.count(phase.first_epoch):
            batches = phase.sampler.epoch(epoch)
            if skip >= len(batches):
                skip -= len(batches)
                continue
            left = batches[skip:]
            own = (self._own(phase, clips, epoch, number) for number, clips in enumerate(left, start=skip))
            # while a graph is recorded, no other thread may call CUDA, and a data loader pins batches in a thread
            in_thread = world.device.type == "cuda" and not self.graphs
            loaded = load_batches(dataset, own, self.start, pin_memory=in_thread)
            for batch, clips in zip(loaded, left, strict=True):
                pinned = batch.pin_memory() if self.graphs else batch
                yield epoch, clips, pinned.to(world.device), world.share(clips, sizes(clips))[1]
            skip = 0

    def _own(self, phase: TrainingPhase, clips: list[ClipRequest], epoch: int, number: int) -> list[ClipRequest]:
        """The clips of a batch that this rank computes, with the size of their patches."""
        size = drawn_size(phase.config, epoch, number, self.world.rank)
        own, _ = self.world.share(clips, phase.sampler.sizes(clips))
        return [clip._replace(patch_size=size) for clip in own]
