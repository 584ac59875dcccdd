"""The training loop."""

import contextlib
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from elasticast.checksums import write_record
from elasticast.config import RunConfig
from elasticast.data.packing import PackedBatch
from elasticast.data.pseudo_labels import PseudoLabels
from elasticast.errors import ElasticASTError
from elasticast.files import exclusive
from elasticast.models import build_model
from elasticast.models.adapters import load_trained, trained_state
from elasticast.models.attention import explain_backend, resolve_backend
from elasticast.models.device import PRECISIONS, device_name
from elasticast.models.fast_trunk import speed_up
from elasticast.models.pretrained import start_from
from elasticast.models.trained import MODEL_FILES
from elasticast.progress import LOG
from elasticast.provenance import training_code
from elasticast.training.batches import TrainingBatches
from elasticast.training.checkpoint import Checkpoints, base_record, save_model
from elasticast.training.cost import ForwardCost
from elasticast.training.distributed import World
from elasticast.training.energy import EnergyMeter
from elasticast.training.ensemble import KeptLogits, pseudo_labels
from elasticast.training.finite import FiniteSteps
from elasticast.training.history import report_progress
from elasticast.training.identity import circumstances, continued, may_compile, run_identity
from elasticast.training.inputs import RunInputs
from elasticast.training.mean_teacher import mean_teacher_of
from elasticast.training.objective import Objective, Unsupervised
from elasticast.training.optim import build_optimizer, learning_rate, restore_optimizer
from elasticast.training.phases import TrainingPhase, let_train, plan_phases, refine_positions
from elasticast.training.record import training_record
from elasticast.training.selection import Selection, due_steps
from elasticast.training.tally import Tally
from elasticast.training.teacher import Teacher

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
        Clips, normalisation statistics, initial weights, and teacher.
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
        torch.manual_seed(config.seed)
        model = build_model(config, len(clips.classes))
        self.init = self._start(model)
        self.cost = ForwardCost(model.settings, config, len(clips.classes), frames=clips.kind == "frames")
        self.teacher = self._teacher()
        budgeted = config.train.flops is not None and self.teacher is not None
        asked = self.teacher.mean_flops(clips.samples) if budgeted else 0.0
        self.phases = plan_phases(config, clips, norm, self.cost, asked)
        self.total = self.phases[-1].end
        self.model = model.to(self.device)
        self.mean_teacher = mean_teacher_of(self.model, config.train)
        self.objective = Objective(config, self.world, self.teacher, self.mean_teacher)
        graphs = config.train.cuda_graphs and self.world.size == 1
        compiled = may_compile(config, self.backend) and speed_up(self.model, graphs=graphs)
        if config.train.compile == "on" and not compiled:
            raise ElasticASTError(
                f"train.compile: 'on', but {config.model.described} is not compiled; use 'auto' or 'off'"
            )
        self.graphs = compiled and graphs
        self._enter(self.phases[0])
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.train.precision == "fp16")
        self.step, self.seconds, self.restarts = 0, 0.0, 0
        teacher_cost = self.cost if self.teacher is None else self.teacher.cost  # a mean teacher costs what it averages
        self.tally = Tally(config.model, self.phases, self.cost, teacher_cost)
        self.stop_requested = self.stop = False  # on this rank; on any rank, the same value on all ranks
        self.selection, self.code = None, training_code(config)
        self.energy = EnergyMeter(self.device) if self.world.main else None
        if config.train.select is not None:
            last = self.phases[-1]
            due = due_steps(last.sampler, config.train.select.every_epochs, last.end, last.first_step, last.first_epoch)
            self.selection = Selection(config, inputs.held_out, norm, self.world, due)
        self.finite = FiniteSteps(config, clips.ids, self.device)
        self.checkpoints = Checkpoints(out, run_identity(config, inputs, self.code, self.init, self.world))
        self.circumstances = circumstances(config, self.world, compiled=compiled, graphs=self.graphs)
        self.computed = [{"from_step": 0, **self.circumstances}]

    def _start(self, model: nn.Module) -> dict | None:
        """Load the weights of `model.init`, if set, and return what `run.json` records about them."""
        init = self.config.model.init
        assert (init is None) == (self.inputs.init is None), "set inputs.init if and only if model.init is set"
        if init is None:
            return None
        return {"source": init, **start_from(self.inputs.init, model, self.config, self.inputs.clips.classes)}

    def _base(self) -> dict[str, str] | None:
        """Record of the weights that are adapted, if any."""
        if self.config.model.adaptation is None:
            return None
        return base_record(self.init["source"], self.inputs.init, self.init["sha256"], self.out)

    def _teacher(self) -> Teacher | None:
        teacher = self.inputs.teacher
        assert (teacher is None) == (self.config.train.distill is None), "set inputs.teacher if train.distill is set"
        return teacher and Teacher(teacher, self.device)

    def _enter(self, phase: TrainingPhase) -> None:
        """Let the parameters of a phase train, with a new optimiser."""
        if phase.stage is not None:
            let_train(self.model, phase.stage)
        self.optimizer = build_optimizer(self.model, phase.config.train, phase.stage and phase.stage.transformer_lr)

    @property
    def kept(self) -> nn.Module:
        """The model whose weights are selected and saved."""
        return self.mean_teacher.model if self.config.train.mean_teacher.keep == "teacher" else self.model

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

    def _run_steps(self) -> None:
        train, total = self.config.train, self.total
        begun = time.monotonic() - self.seconds
        self.model.train()
        if self.energy:
            self.energy.start(self.step)
        with self._reporting() as report:
            begun += self._evaluate_if_due(report)  # due when a signal stopped the run, and skipped then
            if self.selection is not None and self.selection.converged:
                return
            options = {"graphs": self.graphs, "start": _ignore_signals, "pseudo_labels": self._pseudo_labels()}
            batches = TrainingBatches(self.phases, self.inputs, self.world, **options)
            for number, epoch, clips, batch, weight in batches.after(self.step):
                phase = self.phases[number]
                if number and self.step == phase.first_step:
                    self._begin(self.phases[number - 1], phase)
                at_step = self.step - phase.first_step, phase.steps, phase.steps_per_epoch
                lr = learning_rate(phase.config.train, *at_step, self.selection.scores if self.selection else ())
                loss, grad_norm = self._update(batch, lr, weight, phase.unsupervised(self.step))
                if self.mean_teacher:
                    self.mean_teacher.update(self.model, self.step)
                self.step += 1
                self.finite.add(self.step, epoch, clips, loss, grad_norm)
                self.seconds = time.monotonic() - begun
                self._synchronise(batch, weight, number)
                if self.step % train.log_every == 0 or self.step == total:
                    self.finite.check()
                    (total_loss,) = self.world.sum(loss.item())
                    report(self.step, epoch, total_loss, lr, float(grad_norm), self.tally.seen)
                    if self.energy:
                        self.energy.add()
                if self.stop:
                    break
                due = self.selection is not None and self.selection.due(self.step)
                if due or (self.step % train.checkpoint_every == 0 and self.step < total):
                    self._save()
                begun += self._evaluate_if_due(report)
                if due and self.selection.converged:
                    break

    def _pseudo_labels(self) -> PseudoLabels | None:
        """Pseudo-labels of `train.ensemble`, if a stage that is not complete uses them."""
        if not any(phase.stage and phase.stage.pseudo_labels and self.step < phase.end for phase in self.phases):
            return None
        kept = KeptLogits(self.checkpoints.folder / "ensemble", self.checkpoints.identity, self.world.main)
        return pseudo_labels(self.inputs.ensemble, self.inputs.clips, self.config, self.device, kept)

    def _begin(self, before: TrainingPhase, phase: TrainingPhase) -> None:
        """Begin a phase: the weights are kept, the positions interpolated, and the optimiser starts anew."""
        refine_positions(self.model, before, phase)
        self._enter(phase)
        if phase.stage is not None:
            self.replica = self.world.replicate(self.model)  # it knows which parameters train
        if self.world.main:
            LOG.info("%s: step %d: %s", self.config.experiment, self.step, phase.described)

    def _evaluate_if_due(self, report: Callable[..., None]) -> float:
        """Evaluate the model if that is due. Returns the seconds this took, which do not count as training time."""
        if self.selection is None or not self.selection.due(self.step):
            return 0.0
        begun = time.monotonic()
        self.selection.evaluate(self.kept, self.step, self.tally.flops)
        seconds = time.monotonic() - begun
        if self.world.main:
            report.log_evaluation(self.selection.record(), seconds)
        return seconds

    def _reporting(self) -> contextlib.AbstractContextManager:
        if not self.world.main:
            return contextlib.nullcontext(lambda *_: None)
        name = f"train {self.config.experiment} seed {self.config.seed}"
        return report_progress(self.out, name, self.step, self.total, self.tally.seen)

    def _update(
        self, batch: PackedBatch, lr: float, weight: float, unsupervised: Unsupervised
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one optimisation step. The losses of all ranks add up to the mean over the batch."""
        train = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("factor", 1.0)
        with self._autocast():
            frames = {"frames": True} if batch.frame_targets is not None else {}
            loss = self.objective(self.replica(batch, **frames), batch, weight, unsupervised)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss * self.world.size).backward()  # gradients are averaged over ranks, but we need their sum
        self.scaler.unscale_(self.optimizer)
        limit = train.grad_clip if train.grad_clip is not None else float("inf")
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), grad_norm

    def _synchronise(self, batch: PackedBatch, weight: float, phase: int) -> None:
        """Add up what all ranks have seen and computed, and stop all ranks if one was asked to stop."""
        counts = self.tally.counts(batch) if weight else (0, 0, 0, 0)
        requests, *counts = self.world.sum(self.stop_requested, *counts)
        self.stop = requests > 0
        self.tally.add(phase, *counts)

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
            "tally": self.tally.state(),
            "model": trained_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "mean_teacher": self.mean_teacher and self.mean_teacher.model.state_dict(),
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
        load_trained(self.model, state["model"])
        self._enter(self._phase_after(state["step"]))
        restore_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        if state["device_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["device_rng"], self.device)
        if self.mean_teacher:
            self.mean_teacher.model.load_state_dict(state["mean_teacher"])
        self.step, self.seconds, self.restarts = state["step"], state["seconds"], state["restarts"] + 1
        self.tally.load(state["tally"])
        if self.selection:
            self.selection.load(state["selection"])
        LOG.info("%s: resuming from step %d", self.config.experiment, self.step)
        self.computed = continued(state["computed"], self.circumstances, self.step, self.config.experiment)

    def _phase_after(self, step: int) -> TrainingPhase:
        """The phase of the last of `step` steps. The next one begins with its first step."""
        return next(phase for phase in self.phases if step <= phase.end)

    def _finish(self) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        devices, memories = zip(*self.world.gather((device_name(self.device), memory)), strict=True)
        if not self.world.main:
            return
        record = training_record(self, devices, max(memories))
        load_trained(self.model, self.selection.best if self.selection else trained_state(self.kept))
        clips = self.inputs.clips
        save_model(self.out, self.model, self.config, self.inputs.norm, clips.classes, clips.kind, self._base())
        write_record(self.out / "run.json", record, [self.out / name for name in MODEL_FILES])
        # with the checkpoint still there, training this run again would end at once
        shutil.rmtree(self.checkpoints.folder, ignore_errors=True)


def _ignore_signals(_: int = 0) -> None:
    """Ignore stop signals: in data loader workers, and in the training process once it has handled one."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
