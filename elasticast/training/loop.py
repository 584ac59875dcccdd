"""The training loop."""

import contextlib
import itertools
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from elasticast.checksums import FOLDER, folder_of, write_record
from elasticast.config import RunConfig
from elasticast.data.dataset import ClipDataset
from elasticast.data.loading import load_batches
from elasticast.data.packing import PackedBatch
from elasticast.data.sampler import BatchSampler, ClipRequest
from elasticast.errors import ElasticASTError
from elasticast.files import exclusive
from elasticast.models import build_model
from elasticast.models.attention import explain_backend, resolve_backend
from elasticast.models.device import PRECISIONS, compute_record, device_name
from elasticast.models.fast_trunk import speed_up
from elasticast.models.pretrained import start_from
from elasticast.models.trained import MODEL_FILES
from elasticast.progress import LOG
from elasticast.provenance import job_record, training_code
from elasticast.training.checkpoint import Checkpoints, save_model
from elasticast.training.distributed import World
from elasticast.training.finite import FiniteSteps
from elasticast.training.history import report_progress
from elasticast.training.identity import circumstances, compiles, continued, run_identity
from elasticast.training.inputs import RunInputs
from elasticast.training.optim import build_optimizer, learning_rate, restore_optimizer, training_loss
from elasticast.training.selection import Selection, due_steps

EXIT_CHECKPOINTED = 85
"""Exit status of a run that saved a checkpoint and stopped on a signal: start it again to resume."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""Signals that make a run save a checkpoint and stop: Ctrl-C, a scheduler's SIGTERM, and Slurm's warning."""
BUSY = "another process is training here; wait for it, or stop it first"


class Trainer:
    """One training run. It resumes from its checkpoint, if there is one.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    inputs : RunInputs
        Clips, normalisation statistics, and initial weights.
    out : Path
        Folder of the run.
    world : World, optional
        The processes that train together; by default only the current process. Only rank 0 writes files.
    """

    def __init__(self, config: RunConfig, inputs: RunInputs, out: Path, world: World | None = None):
        self.config, self.inputs, self.out = config, inputs, out
        self.world = world or World()
        self.device = self.world.device
        if config.train.precision == "fp16" and self.device.type != "cuda":
            raise ElasticASTError("train.precision: 'fp16' runs on CUDA only; use 'bf16' or 'fp32' on this machine")
        precision = PRECISIONS[config.train.precision]
        self.backend = resolve_backend(config.model.backend, self.device, precision)  # raises if it does not work here
        if self.world.main:
            LOG.info("%s", explain_backend(config.model.backend, self.device, precision))
        clips, norm = inputs.clips, inputs.norm
        self.dataset = ClipDataset(clips, config, norm)
        weights = clips.weights if config.train.sampler == "balanced" else None
        self.sampler = BatchSampler(self.dataset.tokens(), config.train.batch, config.seed, weights)
        torch.manual_seed(config.seed)
        model = build_model(config, len(clips.classes))
        self.init = self._start(model)
        self.model = model.to(self.device)
        fast = compiles(config, self.backend)
        self.graphs = fast and config.train.cuda_graphs and self.world.size == 1
        if fast:
            speed_up(self.model, graphs=self.graphs)
        self.optimizer = build_optimizer(self.model, config.train)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.train.precision == "fp16")
        self.step, self.seconds, self.restarts = 0, 0.0, 0
        self.seen = {"clips": 0, "tokens": 0}  # on all ranks together
        self.stop_requested = self.stop = False  # on this rank; on any rank, the same value on all ranks
        self.total, self.steps_per_epoch = self._total_steps()
        self.selection, self.code = None, training_code(config)
        if config.train.select is not None:
            due = due_steps(self.sampler, config.train.select.every_epochs, self.total)
            self.selection = Selection(config, inputs.held_out, norm, self.world, due)
        self.finite = FiniteSteps(config, clips.ids, self.device)
        self.checkpoints = Checkpoints(out, run_identity(config, inputs, self.code, self.init))
        self.circumstances = circumstances(config, self.world)
        self.computed = [{"from_step": 0, **self.circumstances}]

    def _start(self, model: nn.Module) -> dict | None:
        """Load the weights of `model.init`, if set, and return what `run.json` records about them."""
        init = self.config.model.init
        assert (init is None) == (self.inputs.init is None), "set inputs.init if and only if model.init is set"
        if init is None:
            return None
        return {"source": init, **start_from(self.inputs.init, model, self.config, self.inputs.clips.classes)}

    def fit(self) -> None:
        """Train and write the model; on a signal, save a checkpoint and exit with :data:`EXIT_CHECKPOINTED`."""
        with exclusive(self.checkpoints.folder, BUSY) if self.world.main else contextlib.nullcontext():
            self._resume()
            self.replica = self.world.replicate(self.model)
            for number in STOP_SIGNALS:
                signal.signal(number, self._ask_to_stop)
            self._run_steps()
            del self.replica  # it would keep the process group and its threads alive until Python exits
            if self.stop:
                self._save()
                LOG.info("%s: stopped and saved at step %d; start again to resume", self.config.experiment, self.step)
            else:
                self._finish()
            self.world.wait()  # torchrun ends all ranks as soon as one exits with a nonzero status
            if self.stop:
                _ignore_signals()  # a second signal, while Python exits, would replace this exit status
                raise SystemExit(EXIT_CHECKPOINTED)

    def _ask_to_stop(self, number: int, _: object) -> None:
        self.stop_requested = True
        if number == signal.SIGINT:  # a second Ctrl-C stops at once
            signal.signal(number, signal.default_int_handler)

    def _total_steps(self) -> tuple[int, float]:
        train = self.config.train
        first = self.sampler.count(0)
        if train.steps is not None:
            return train.steps, first
        # with a token budget the number of batches differs a little between epochs
        total = sum(self.sampler.count(e) for e in range(train.epochs))
        return total, total / train.epochs

    def _batches(self) -> Iterator[tuple[int, list[ClipRequest], PackedBatch, float]]:
        """Yield the epoch, the clips of a batch, this rank's part of it, and the weight of that, from this step on.

        A run that was stopped gets the same batches as one that was never stopped.
        """
        skip = self.step
        for epoch in itertools.count():
            batches = self.sampler.epoch(epoch)
            if skip >= len(batches):
                skip -= len(batches)
                continue
            left, sizes = batches[skip:], self.sampler.sizes
            own = (self.world.share(clips, sizes(clips))[0] for clips in left)
            # while a graph is recorded, no other thread may call CUDA, and a data loader pins batches in a thread
            in_thread = self.device.type == "cuda" and not self.graphs
            loaded = load_batches(self.dataset, own, _ignore_signals, pin_memory=in_thread)
            for batch, clips in zip(loaded, left, strict=True):
                pinned = batch.pin_memory() if self.graphs else batch
                yield epoch, clips, pinned.to(self.device), self.world.share(clips, sizes(clips))[1]
            skip = 0

    def _run_steps(self) -> None:
        train, total = self.config.train, self.total
        begun = time.monotonic() - self.seconds
        self.model.train()
        with self._reporting() as report:
            begun += self._evaluate_if_due(report)  # due when a signal stopped the run, and skipped then
            for epoch, clips, batch, weight in self._batches() if self.step < total else ():
                lr = learning_rate(train, self.step, total, self.steps_per_epoch)
                loss, grad_norm = self._update(batch, lr, weight)
                self.step += 1
                self.finite.add(self.step, epoch, clips, loss, grad_norm)
                self.seconds = time.monotonic() - begun
                self._synchronise(batch, weight)
                if self.step % train.log_every == 0 or self.step == total:
                    self.finite.check()
                    (total_loss,) = self.world.sum(loss.item())
                    report(self.step, epoch, total_loss, lr, float(grad_norm), self.seen)
                if self.stop:
                    break
                due = self.selection is not None and self.selection.due(self.step)
                if due or (self.step % train.checkpoint_every == 0 and self.step < total):
                    self._save()
                begun += self._evaluate_if_due(report)
                if self.step == total:
                    break

    def _evaluate_if_due(self, report: Callable[..., None]) -> float:
        """Evaluate the model if that is due. Returns the seconds this took, which do not count as training time."""
        if self.selection is None or not self.selection.due(self.step):
            return 0.0
        begun = time.monotonic()
        self.selection.evaluate(self.model, self.step)
        seconds = time.monotonic() - begun
        if self.world.main:
            report.log_evaluation(self.selection.record(), seconds)
        return seconds

    def _reporting(self) -> contextlib.AbstractContextManager:
        if not self.world.main:
            return contextlib.nullcontext(lambda *_: None)
        name = f"train {self.config.experiment} seed {self.config.seed}"
        return report_progress(self.out, name, self.step, self.total, self.seen)

    def _update(self, batch: PackedBatch, lr: float, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one optimisation step. The losses of all ranks add up to the mean over the batch."""
        train = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with self._autocast():
            loss = training_loss(self.replica, batch, train) * weight
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss * self.world.size).backward()  # gradients are averaged over ranks, but we need their sum
        self.scaler.unscale_(self.optimizer)
        limit = train.grad_clip if train.grad_clip is not None else float("inf")
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), grad_norm

    def _synchronise(self, batch: PackedBatch, weight: float) -> None:
        """Add up the clips and tokens of all ranks, and stop all ranks if one was asked to stop."""
        counts = (len(batch), len(batch.patches)) if weight else (0, 0)
        requests, clips, tokens = self.world.sum(self.stop_requested, *counts)
        self.stop = requests > 0
        self.seen = {"clips": self.seen["clips"] + int(clips), "tokens": self.seen["tokens"] + int(tokens)}

    def _autocast(self) -> contextlib.AbstractContextManager:
        precision = self.config.train.precision
        if precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, PRECISIONS[precision])

    def _state(self) -> dict:
        return {
            "computed": self.computed,
            "step": self.step,
            "seconds": self.seconds,
            "restarts": self.restarts,
            "seen": self.seen,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "selection": self.selection and self.selection.state(),
        }

    def _save(self) -> None:
        self.finite.check()
        if self.world.main:
            self.checkpoints.save(self.step, self._state())

    def _resume(self) -> None:
        # only rank 0 reads it: on a network file system, another machine may see an old version of the folder
        state = self.world.broadcast(self.world.main and self.checkpoints.load())
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        restore_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        self.step, self.seconds, self.restarts = state["step"], state["seconds"], state["restarts"] + 1
        self.seen = state["seen"]
        if self.selection:
            self.selection.load(state["selection"])
        LOG.info("%s: resuming from step %d", self.config.experiment, self.step)
        self.computed = continued(state["computed"], self.circumstances, self.step, self.config.experiment)

    def _finish(self) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        devices, memories = zip(*self.world.gather((device_name(self.device), memory)), strict=True)
        if not self.world.main:
            return
        computed = compute_record(self.config.model.backend, self.device, self.config.train.precision)
        record = {
            FOLDER: folder_of(self.out / "run.json"),
            **job_record(self.code, self.config, self.inputs.data_sha256, **computed),
            "world_size": self.world.size,
            "devices": devices,
            "computed": self.computed,
            "init": self.init,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "steps": self.step,
            "seconds": round(self.seconds, 3),
            **{f"{what}_per_s": round(count / self.seconds, 1) for what, count in self.seen.items()},
            "restarts": self.restarts,
            "peak_memory_mib": max(memories),
            "selection": self.selection and self.selection.record(),
        }
        if self.selection:
            self.model.load_state_dict(self.selection.best)
        clips = self.inputs.clips
        save_model(self.out, self.model, self.config, self.inputs.norm, clips.classes, clips.kind)
        write_record(self.out / "run.json", record, [self.out / name for name in MODEL_FILES])
        # with the checkpoint still there, training this run again would end at once
        shutil.rmtree(self.checkpoints.folder, ignore_errors=True)


def _ignore_signals(_: int = 0) -> None:
    """Ignore stop signals: in data loader workers, and in the training process once it has handled one."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
