"""Selection of the best weights of a run: evaluate during training, by the metric that the figures use."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from elasticast.config import Evaluation, RunConfig
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.evaluation import Detection
from elasticast.data.dataset import Clips
from elasticast.data.norm import Norm
from elasticast.data.sampler import BatchSampler
from elasticast.errors import DataError
from elasticast.evaluation.frames import event_metrics
from elasticast.evaluation.metrics import metrics, ranking_scores
from elasticast.evaluation.sweep import chunks, frame_scores, sweep
from elasticast.models.adapters import trained_state
from elasticast.progress import LOG
from elasticast.training.distributed import World


class Selection:
    """Evaluations of a run during training, and the best weights so far. Only rank 0 keeps the weights.

    The model is evaluated as by `elasticast evaluate`, with the view that the run is trained with: at the length of
    `view.frames` and the first value of `view.compression`. Ranks share the clips; this does not change the results.

    Parameters
    ----------
    config : RunConfig
        Settings of the run; `train.select` is set.
    clips : Clips
        Clips of the split `train.select.split`.
    norm : Norm
        Normalisation statistics.
    world : World
        The processes that train together.
    due : dict of int to int
        Step to number of finished epochs, see :func:`due_steps`.

    Attributes
    ----------
    history : list of dict
        `step`, `epoch` and `value` of each evaluation, and `training_flops`: the operations of the training until then.
    best : dict of str to Tensor, or None
        Weights of the best evaluation; the first one if several have the same value.
    """

    def __init__(self, config: RunConfig, clips: Clips, norm: Norm, world: World, due: dict[int, int]):
        self.config, self.clips, self.norm, self.world, self._due = config, clips, norm, world, due
        self.split, self.metric = config.train.select.split, PRIMARY_METRIC[clips.kind]
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] | None = None

    def due(self, step: int) -> bool:
        """Whether the model has to be evaluated after `step`, and has not been yet."""
        return step in self._due and (not self.history or self.history[-1]["step"] < step)

    @property
    def scores(self) -> list[float]:
        """Values of the evaluations so far."""
        return [row["value"] for row in self.history]

    @property
    def converged(self) -> bool:
        """Whether the last `train.select.patience` evaluations were not better than the best one before."""
        patience = self.config.train.select.patience
        if patience is None or not self.history:
            return False
        return len(self.history) - 1 - self.history.index(self._best_row()) >= patience

    def _best_row(self) -> dict[str, float]:
        """The best evaluation; the first one if several have the same value."""
        return max(self.history, key=lambda row: row["value"])

    def evaluate(self, model: nn.Module, step: int, flops: int) -> None:
        """Evaluate the model after `step` and `flops` operations, and keep its weights if they are the best so far."""
        value = self.world.broadcast(self._value(model))
        if math.isnan(value):
            timed = self.clips.events is not None
            reason = "no clip has an event" if timed else "no class has both positive and negative clips"
            raise DataError(
                f"train.select: {self.metric} on split {self.split!r} is not a number: {reason}; choose another "
                "train.select.split"
            )
        better = value > max(self.scores, default=-math.inf)
        row = {"step": step, "epoch": self._due[step], "value": value, "training_flops": flops}
        self.history.append(row)
        if better and self.world.main:
            self.best = {name: weight.detach().cpu().clone() for name, weight in trained_state(model).items()}
        LOG.info(
            "%s: %s %s %.4f at step %d%s",
            self.config.experiment,
            self.split,
            self.metric,
            value,
            step,
            ", best" * better,
        )
        if self.converged:
            patience = self.config.train.select.patience
            LOG.info("%s: converged: none of the last %d evaluations was better", self.config.experiment, patience)

    def _value(self, model: nn.Module) -> float:
        """The metric of the model; NaN on all ranks except rank 0."""
        all_chunks = chunks(len(self.clips))
        x = self.config.view.compression[0]
        view = Evaluation(x_name="compression", x=[x], split=self.split)
        if self.clips.events is not None:
            return self._event_value(model, view, x)
        rank_chunks = all_chunks[self.world.rank :: self.world.size]
        logits = sweep(model, self.clips, self.config, self.norm, view, None, only=rank_chunks)[x]
        model.train()
        for rank, rows in enumerate(self.world.gather([logits[chunk].clone() for chunk in rank_chunks])):
            for chunk, chunk_logits in zip(all_chunks[rank :: self.world.size], rows, strict=True):
                logits[chunk] = chunk_logits
        if not self.world.main:
            return math.nan
        scores = ranking_scores(logits, self.config.train.loss, self.config.train.select.scores)
        return metrics(scores, self.clips.targets.numpy(), self.clips.kind)[self.metric]

    def _event_value(self, model: nn.Module, view: Evaluation, x: float) -> float:
        """The metric of events; rank 0 evaluates all clips."""
        if not self.world.main:
            return math.nan
        frames = frame_scores(self.clips, self.config, view, None, torch.empty)
        sweep(model, self.clips, self.config, self.norm, view, None, frames=frames)
        model.train()
        # a long evaluation would be too long for the ranks that wait
        found = event_metrics(frames[x], self.clips.events, self.clips.classes, Detection(), only_f1=True)
        return found[self.metric]

    def state(self) -> dict[str, Any]:
        """State to save in a checkpoint."""
        return {"history": self.history, "best": self.best}

    def load(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.history, self.best = state["history"], state["best"] if self.world.main else None

    def record(self) -> dict[str, Any]:
        """Split, metric, the row of the kept weights in `history`, and the `history` of all evaluations.

        With `train.select.patience`, `converged` says whether that many evaluations were not better than the best one.
        """
        ended = {} if self.config.train.select.patience is None else {"converged": self.converged}
        return {"split": self.split, "metric": self.metric, **self._best_row(), **ended, "history": self.history}


def due_steps(
    sampler: BatchSampler, every: int, total: int, first_step: int = 0, first_epoch: int = 0
) -> dict[int, int]:
    """Steps after which the model is evaluated: after every `every` epochs, and at the end.

    Parameters
    ----------
    sampler : BatchSampler
        Sampler of the training clips.
    every : int
        Number of epochs between evaluations.
    total : int
        Number of steps in the whole run.
    first_step, first_epoch : int
        Where the part of the training begins in which it is evaluated.

    Returns
    -------
    dict of int to int
        Step to number of finished epochs.
    """
    due, step = {}, first_step
    for epoch in itertools.count(first_epoch + 1):
        step += sampler.count(epoch - 1)
        if step >= total:
            return due | {total: epoch if step == total else epoch - 1}
        if (epoch - first_epoch) % every == 0:
            due[step] = epoch
