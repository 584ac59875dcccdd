"""Stop a run at the first step whose loss or gradient is not finite."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.data.sampler import ClipRequest
from elasticast.errors import ElasticASTError

NAMED_CLIPS = 20
"""Number of clips of a batch that an error names."""
MOST_SKIPPED = 40
"""Number of successive steps that half precision may skip. Each halves the scale of the loss, which begins at 2**16."""


class _Step(NamedTuple):
    number: int
    epoch: int
    clips: Sequence[ClipRequest]
    values: Tensor
    """`[2]`: loss and gradient norm, on the CPU."""
    copied: torch.cuda.Event | None
    """When the values have been copied from the GPU."""


class FiniteSteps:
    """Checks the loss and the gradient norm of every step.

    Reading a value from a GPU waits for everything that was given to it before. The values of a step are therefore
    copied as soon as they are computed, and read while the GPU computes the next step; :meth:`check` reads the rest
    before anything is saved.

    Parameters
    ----------
    config : RunConfig
        Settings of the run, for messages.
    ids : sequence of str
        Ids of the training clips.
    device : torch.device
        Device that trains.
    """

    def __init__(self, config: RunConfig, ids: Sequence[str], device: torch.device):
        self.config, self.ids = config, ids
        self._delay = 0 if device.type == "cpu" else 1
        self._steps: deque[_Step] = deque()
        self._skipped = 0

    def add(self, step: int, epoch: int, clips: Sequence[ClipRequest], loss: Tensor, grad_norm: Tensor) -> None:
        """Add a step; checks it, or on a GPU the step before.

        Parameters
        ----------
        step, epoch : int
            Number of the step, from 1, and of its epoch, from 0.
        clips : sequence of ClipRequest
            Clips of the batch, on all ranks together.
        loss, grad_norm : Tensor
            Scalars: loss of this rank, and gradient norm of all ranks.

        Raises
        ------
        ElasticASTError
            If a value is not finite.
        """
        values = torch.stack([loss, grad_norm.to(loss.dtype)])
        self._steps.append(_Step(step, epoch, clips, *_copied(values)))
        self.check(self._delay)

    def check(self, leave: int = 0) -> None:
        """Check all steps but the last `leave`; parameters and errors as in :meth:`add`."""
        while len(self._steps) > leave:
            step = self._steps.popleft()
            if step.copied is not None:
                step.copied.synchronize()
            loss, grad_norm = step.values.tolist()
            finite_loss, finite_gradient = torch.isfinite(step.values).tolist()
            self._skipped = 0 if finite_gradient else self._skipped + 1
            # with fp16, infinite gradients are normal: the step is skipped, and the loss is scaled less from then on
            tolerated = MOST_SKIPPED if self.config.train.precision == "fp16" else 0
            if not finite_loss or self._skipped > tolerated:
                raise ElasticASTError(self._message(step, loss, grad_norm))

    def _message(self, step: _Step, loss: float, grad_norm: float) -> str:
        train = self.config.train
        ids = [self.ids[clip.index] for clip in step.clips]
        clips = ", ".join(ids[:NAMED_CLIPS]) + (f", ... ({len(ids)} clips)" if len(ids) > NAMED_CLIPS else "")
        remedies = [f"a lower train.lr (now {train.lr})", f"a longer train.warmup_steps (now {train.warmup_steps})"]
        remedies += ["train.grad_clip: 1.0 (now null)"] if train.grad_clip is None else []
        remedies += ["train.precision: bf16"] if train.precision == "fp16" else []
        return (
            f"{self.config.experiment}: step {step.number}, epoch {step.epoch}: the loss is {loss} and the gradient "
            f"norm {grad_norm}; nothing was saved since. Try {', or '.join(remedies)}. Clips of this batch: {clips}"
        )


def _copied(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Copy of `values` on the CPU, and the event after which it can be read."""
    if not values.is_cuda:
        return values, None
    host, event = torch.empty(values.shape, dtype=values.dtype, pin_memory=True), torch.cuda.Event()
    host.copy_(values, non_blocking=True)
    event.record()
    return host, event
