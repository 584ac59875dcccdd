"""The batches of a training, phase by phase."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from elasticast.data.dataset import ClipDataset
from elasticast.data.loading import load_batches
from elasticast.data.packing import PackedBatch
from elasticast.data.patch_sizes import drawn_size
from elasticast.data.pseudo_labels import PseudoLabels
from elasticast.data.sampler import Batches, ClipRequest
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
        Clips, normalisation and teachers.
    world : World
        The processes that train together.
    graphs : bool
        Whether CUDA graphs are recorded.
    start : callable
        Function that each data loader process calls first.
    pseudo_labels : PseudoLabels, optional
        Pseudo-labels of `train.ensemble`.
    """

    def __init__(
        self,
        phases: list[TrainingPhase],
        inputs: RunInputs,
        world: World,
        *,
        graphs: bool,
        start: Callable[[int], None],
        pseudo_labels: PseudoLabels | None = None,
    ):
        self.phases, self.inputs, self.world, self.graphs, self.start = phases, inputs, world, graphs, start
        self.pseudo_labels = pseudo_labels

    def after(self, step: int) -> Iterator[Step]:
        """Batches after the first `step` steps. A run that was stopped gets the same as one that was never stopped."""
        clips, teacher = self.inputs.clips, self.inputs.teacher
        if teacher is not None:
            keep = not self.phases[0].config.train.workers
            teacher = TeacherView(clips, teacher.config, teacher.norm, keep=keep)
        for number, phase in enumerate(self.phases):
            done = max(0, step - phase.first_step)
            if done < phase.steps:
                dataset = ClipDataset(clips, phase.config, self.inputs.norm, teacher, **self._extras(phase))
                for batch in itertools.islice(self._of_phase(phase, dataset, done), phase.steps - done):
                    yield Step(number, *batch)

    def _extras(self, phase: TrainingPhase) -> dict[str, Any]:
        """Impulse responses, and what a stage needs of each clip besides what the model is given."""
        stage, given = phase.stage, {"responses": self.inputs.responses}
        if stage is None:
            return given
        pseudo_labels = self.pseudo_labels if stage.pseudo_labels else None
        teacher = {"mean_teacher": bool(stage.consistency), "interpolation": stage.interpolation}
        return {**given, **teacher, "pseudo_labels": pseudo_labels}

    def _of_phase(self, phase: TrainingPhase, dataset: ClipDataset, skip: int) -> Iterator[tuple]:
        world, sizes, step = self.world, phase.sampler.sizes, phase.first_step + skip
        for epoch in itertools.count(phase.first_epoch):
            batches = phase.sampler.epoch(epoch)
            if skip >= len(batches):
                skip -= len(batches)
                continue
            left = _Whole(batches[skip:], phase, step)
            own = (self._own(phase, clips, epoch, number) for number, clips in enumerate(left, start=skip))
            # while a graph is recorded, no other thread may call CUDA, and a data loader pins batches in a thread
            in_thread = world.device.type == "cuda" and not self.graphs
            loaded = load_batches(dataset, own, self.start, pin_memory=in_thread)
            for batch, clips in zip(loaded, left, strict=True):
                pinned = batch.pin_memory() if self.graphs else batch
                yield epoch, clips, pinned.to(world.device), world.share(clips, sizes(clips))[1]
            skip, step = 0, step + len(left)

    def _own(self, phase: TrainingPhase, clips: list[ClipRequest], epoch: int, number: int) -> list[ClipRequest]:
        """The clips of a batch that this rank computes, with the size of their patches."""
        size = drawn_size(phase.config, epoch, number, self.world.rank)
        own, _ = self.world.share(clips, phase.sampler.sizes(clips))
        return [clip._replace(patch_size=size) for clip in own]


class _Whole:
    """The batches of an epoch, with the clips without labels that a stage adds. They can be iterated over repeatedly.

    Parameters
    ----------
    batches : Batches
        Batches of clips with labels.
    phase : TrainingPhase
        The phase.
    step : int
        Number of steps of the training before the first of these batches.
    """

    def __init__(self, batches: Batches, phase: TrainingPhase, step: int):
        self.batches, self.phase, self.step = batches, phase, step

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[ClipRequest]]:
        for step, clips in enumerate(self.batches, start=self.step):
            yield [*clips, *self.phase.extra(step)]
