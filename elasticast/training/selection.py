"""Which weights a run keeps: the best of several times on a split, by the metric that figures show."""

import itertools
import math
from typing import Any

from torch import Tensor, nn

from elasticast.config import Evaluation, RunConfig
from elasticast.config.base import PRIMARY_METRIC
from elasticast.data.dataset import Clips
from elasticast.data.features import Norm
from elasticast.data.sampler import BatchSampler
from elasticast.errors import DataError
from elasticast.evaluation.metrics import metrics
from elasticast.evaluation.sweep import chunks, sweep
from elasticast.progress import LOG
from elasticast.training.distributed import World


class Selection:
    """The evaluations of a run while it trains, and the best weights so far; rank 0 alone keeps those.

    The model is measured as `elasticast evaluate` does at the run's own view: a length of its own, and the first of its
    compressions. Ranks share the clips, in a way that changes no number.

    Parameters
    ----------
    config : RunConfig
        The run; `train.select` decides.
    clips : Clips
        Those of the split.
    norm : Norm
        Normalisation statistics.
    world : World
        The processes that train together.
    due : dict of int to int
        See :func:`due_steps`.

    Attributes
    ----------
    history : list of dict
        `step`, `epoch` and `value` of each evaluation.
    best : dict of str to Tensor, or None
        Weights of the best one, the first where several are alike.
    """

    def __init__(self, config: RunConfig, clips: Clips, norm: Norm, world: World, due: dict[int, int]):
        self.config, self.clips, self.norm, self.world, self._due = config, clips, norm, world, due
        self.split, self.metric = config.train.select.split, PRIMARY_METRIC[clips.kind]
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] | None = None

    def due(self, step: int) -> bool:
        """Whether the model is to be measured after a step, and has not been."""
        return step in self._due and (not self.history or self.history[-1]["step"] < step)

    def measure(self, model: nn.Module, step: int) -> None:
        """Measure the model after a step, and keep its weights if they are the best."""
        value = self.world.broadcast(self._value(model))
        if math.isnan(value):
            raise DataError(
                f"train.select: {self.metric} on split {self.split!r} is no number: each class has all clips, or none"
            )
        better = value > max((row["value"] for row in self.history), default=-math.inf)
        self.history.append({"step": step, "epoch": self._due[step], "value": value})
        if better and self.world.main:
            self.best = {name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}
        LOG.info(
            "%s: %s %s %.4f at step %d%s",
            self.config.experiment,
            self.split,
            self.metric,
            value,
            step,
            ", best" * better,
        )

    def _value(self, model: nn.Module) -> float:
        """The metric, where rank 0 asks."""
        parts = chunks(len(self.clips))
        own = parts[self.world.rank :: self.world.size]
        x = self.config.view.compression[0]
        view = Evaluation(x_name="compression", x=[x], split=self.split)
        logits = sweep(model, self.clips, self.config, self.norm, view, _Quiet(), only=own)[x]
        model.train()
        for rank, rows in enumerate(self.world.gather([logits[part].clone() for part in own])):
            for part, found in zip(parts[rank :: self.world.size], rows, strict=True):
                logits[part] = found
        if not self.world.main:
            return math.nan
        return metrics(logits.numpy(), self.clips.targets.numpy(), self.clips.kind)[self.metric]

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"history": self.history, "best": self.best}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.history, self.best = state["history"], state["best"] if self.world.main else None

    def record(self) -> dict[str, Any]:
        """What a run records: split and metric, step, epoch and value of the weights that are kept, and of all."""
        chosen = max(self.history, key=lambda row: row["value"])
        return {"split": self.split, "metric": self.metric, **chosen, "history": self.history}


def due_steps(sampler: BatchSampler, every: int, total: int) -> dict[int, int]:
    """Steps after which the model is measured, with the whole epochs done: each `every` epochs, and at the end."""
    due, step = {}, 0
    for epoch in itertools.count(1):
        step += sampler.count(epoch - 1)
        if step >= total:
            return due | {total: epoch if step == total else epoch - 1}
        if epoch % every == 0:
            due[step] = epoch


class _Quiet:
    """The progress of an evaluation amidst the training's own."""

    def update(self, _: int) -> None:
        """Say nothing."""
