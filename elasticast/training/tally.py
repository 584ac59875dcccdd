"""What a training has seen and computed so far."""

from collections.abc import Sequence

from elasticast.config import ModelSettings
from elasticast.data.packing import PackedBatch
from elasticast.training.cost import ForwardCost, step_passes
from elasticast.training.phases import TrainingPhase


class Tally:
    """Clips, tokens and floating-point operations of a training so far, on all ranks together.

    Parameters
    ----------
    settings : ModelSettings
        Settings of the model.
    phases : sequence of TrainingPhase
        Parts of the training.
    cost : ForwardCost
        Cost of a forward pass of the model.
    teacher : ForwardCost
        Cost of a forward pass of the teacher, if there is one.

    Attributes
    ----------
    seen : dict of str to int
        Number of `clips` and `tokens`.
    phases : list of int
        Operations of the steps of each phase.
    teacher : int
        Operations of the teacher.
    """

    def __init__(
        self, settings: ModelSettings, phases: Sequence[TrainingPhase], cost: ForwardCost, teacher: ForwardCost
    ):
        self._passes = [step_passes(settings, phase.stage) for phase in phases]
        self._cost, self._teacher_cost = cost, teacher
        self.seen = {"clips": 0, "tokens": 0}
        self.phases, self.teacher = [0] * len(phases), 0

    def counts(self, batch: PackedBatch) -> tuple[int, int, int, int]:
        """Clips and tokens of a batch on this rank, and operations of forward passes of the model and the teacher."""
        heard = [] if batch.teacher is None else [batch.teacher, batch.teacher.partners]
        teacher = sum(self._teacher_cost.batch(clips) for clips in heard if clips is not None)
        return len(batch), len(batch.patches), self._cost.batch(batch), teacher

    def add(self, phase: int, clips: float, tokens: float, flops: float, teacher: float) -> None:
        """Add the :meth:`counts` of a step, summed over ranks."""
        # a new mapping: the progress report keeps the one that it was given last
        self.seen = {"clips": self.seen["clips"] + int(clips), "tokens": self.seen["tokens"] + int(tokens)}
        self.phases[phase] += self._passes[phase] * int(flops)
        self.teacher += int(teacher)

    @property
    def flops(self) -> int:
        """Operations of all steps so far, with those of the teacher."""
        return sum(self.phases) + self.teacher

    def state(self) -> dict[str, object]:
        """State to save in a checkpoint."""
        return {"seen": self.seen, "phases": self.phases, "teacher": self.teacher}

    def load(self, state: dict[str, object]) -> None:
        """Restore the state of a checkpoint."""
        self.seen, self.phases, self.teacher = state["seen"], state["phases"], state["teacher"]
