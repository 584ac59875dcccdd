"""The training loop."""

import contextlib
import csv
import itertools
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from elasticast.config import RunConfig, digest
from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.features import Norm
from elasticast.data.packing import PackedBatch, pack
from elasticast.data.sampler import BatchSampler
from elasticast.errors import ElasticASTError
from elasticast.files import write_atomic, write_json
from elasticast.models import build_model
from elasticast.models.attention import resolve_backend
from elasticast.models.pretrained import start_from
from elasticast.progress import LOG, Progress
from elasticast.provenance import code_digest, job_record
from elasticast.training.checkpoint import load_checkpoint, locked, save_model
from elasticast.training.optim import build_optimizer, learning_rate, loss_of

EXIT_CHECKPOINTED = 85
"""Exit status of a run that was asked to stop and saved itself: start it again to go on."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""What asks a run to save itself and stop: Ctrl-C, a scheduler's end, and Slurm's warning."""
HISTORY_FIELDS = ("step", "epoch", "loss", "lr", "grad_norm", "clips_per_s", "tokens_per_s")


class Trainer:
    """One training run: builds what `config` asks for, goes on from a checkpoint, saves itself.

    Parameters
    ----------
    config : RunConfig
        The run.
    clips : Clips
        Training clips.
    norm : Norm
        Normalisation statistics.
    out : Path
        The run's folder.
    data_hash : str
        Hash of the prepared data.
    """

    def __init__(self, config: RunConfig, clips: Clips, norm: Norm, out: Path, data_hash: str):
        self.config, self.clips, self.norm, self.out, self.data_hash = config, clips, norm, out, data_hash
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        resolve_backend(config.model.backend, self.device)  # refuses what cannot run, before any work
        if config.train.precision == "fp16" and self.device.type != "cuda":
            raise ElasticASTError("train.precision: 'fp16' runs on CUDA only; use 'bf16' or 'fp32' on this machine")
        self.dataset = ClipDataset(clips, config, norm, training=True)
        weights = clips.weights if config.train.sampler == "balanced" else None
        self.sampler = BatchSampler(self.dataset.tokens(), config.train.batch, config.seed, weights)
        torch.manual_seed(config.seed)
        model = build_model(config, len(clips.classes))
        self.init = config.model.init and start_from(config.model.init, model, config, clips.classes)
        self.model = model.to(self.device)
        self.optimizer = build_optimizer(self.model, config.train)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.train.precision == "fp16")
        self.step, self.seconds, self.restarts = 0, 0.0, 0
        self.stop = False
        self.folder = out / "checkpoint"
        parts = [config.model_dump(mode="json"), data_hash, norm.mean, norm.std, code_digest("train")]
        self.identity = digest([*parts, self.init["sha256"]] if self.init else parts)

    def fit(self) -> None:
        """Train to the end and write the model, or stop at a signal with :data:`EXIT_CHECKPOINTED`."""
        with locked(self.folder):
            self._resume()
            for number in STOP_SIGNALS:
                signal.signal(number, self._ask_to_stop)
            self._run_steps()
            if self.stop:
                self._save()
                LOG.info("%s: stopped and saved at step %d; start again to go on", self.config.experiment, self.step)
                raise SystemExit(EXIT_CHECKPOINTED)
            self._finish()

    def _ask_to_stop(self, number: int, _: object) -> None:
        self.stop = True
        if number == signal.SIGINT:  # a second Ctrl-C stops at once
            signal.signal(number, signal.default_int_handler)

    def _total_steps(self) -> tuple[int, float]:
        train = self.config.train
        first = len(self.sampler.epoch(0))
        if train.steps is not None:
            return train.steps, first
        # with a token budget the number of batches differs a little between epochs
        total = sum(len(self.sampler.epoch(e)) for e in range(train.epochs))
        return total, total / train.epochs

    def _batches(self) -> Iterator[tuple[int, PackedBatch]]:
        """Batches from the current step on, epoch after epoch, the same as in a run that was never stopped."""
        skip = self.step
        for epoch in itertools.count():
            batches = self.sampler.epoch(epoch)
            if skip >= len(batches):
                skip -= len(batches)
                continue
            self.dataset.epoch = epoch
            loader = DataLoader(
                self.dataset,
                batch_sampler=batches[skip:],
                collate_fn=pack,
                num_workers=self.config.train.workers,
                worker_init_fn=_ignore_signals,
                pin_memory=self.device.type == "cuda",
            )
            for batch in loader:
                yield epoch, batch.to(self.device)
            skip = 0

    def _run_steps(self) -> None:
        total, steps_per_epoch = self._total_steps()
        train = self.config.train
        name = f"train {self.config.experiment} seed {self.config.seed}"
        log = _History(self.out, self.step)
        clips = tokens = 0
        begun = time.monotonic() - self.seconds
        since = time.monotonic()
        self.model.train()
        with log, Progress(name, total) as progress:
            for epoch, batch in self._batches() if self.step < total else ():
                lr = learning_rate(train, self.step, total, steps_per_epoch)
                loss, grad_norm = self._update(batch, lr)
                self.step += 1
                self.seconds = time.monotonic() - begun
                clips, tokens = clips + len(batch), tokens + len(batch.patches)
                if self.step % train.log_every == 0 or self.step == total:
                    value, elapsed = loss.item(), time.monotonic() - since
                    _check_finite(value, self.step, self.config)
                    log.write(self.step, epoch, value, lr, float(grad_norm), clips / elapsed, tokens / elapsed)
                    progress.update(self.step, loss=value, lr=lr, clips_per_s=clips / elapsed)
                    clips, tokens, since = 0, 0, time.monotonic()
                if self.step == total or self.stop:
                    break
                if self.step % train.checkpoint_every == 0:
                    _check_finite(loss.item(), self.step, self.config)  # what is saved can be gone on from
                    self._save()

    def _update(self, batch: PackedBatch, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
        """One optimisation step."""
        train = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with self._autocast():
            loss = loss_of(self.model(batch), batch.targets, train.loss)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        limit = train.grad_clip if train.grad_clip is not None else float("inf")
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), grad_norm

    def _autocast(self) -> contextlib.AbstractContextManager:
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        precision = self.config.train.precision
        if precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, kinds[precision])

    def _state(self) -> dict:
        return {
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "restarts": self.restarts,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def _save(self) -> None:
        write_atomic(self.folder / "last.pt", lambda file: torch.save(self._state(), file))

    def _resume(self) -> None:
        state = load_checkpoint(self.folder / "last.pt", self.identity)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        self.step, self.seconds, self.restarts = state["step"], state["seconds"], state["restarts"] + 1
        LOG.info("%s: going on from step %d", self.config.experiment, self.step)

    def _finish(self) -> None:
        record = {
            **job_record("train", self.config, self.data_hash, self.device.type),
            "init": self.init,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "steps": self.step,
            "seconds": round(self.seconds, 3),
            "restarts": self.restarts,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        write_json(self.out / "run.json", record)
        save_model(self.out, self.model, self.config, self.norm, self.clips.classes, self.clips.kind)
        # a checkpoint that stayed would make the next training of this run end at once
        shutil.rmtree(self.folder, ignore_errors=True)


class _History:
    """The run's `history/history.csv` and TensorBoard events; lines after the resumed step are dropped."""

    def __init__(self, out: Path, step: int):
        folder = out / "history"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "history.csv"
        kept: list[dict] = []
        if step and self.path.is_file():
            with self.path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        if not step:
            for old in folder.glob("events.out.*"):
                old.unlink()
        with self.path.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_FIELDS)
            writer.writeheader()
            writer.writerows(kept)
        self.board = SummaryWriter(str(folder), purge_step=step + 1)

    def __enter__(self) -> "_History":
        self.file = self.path.open("a", newline="", buffering=1)
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()
        self.board.close()

    def write(self, *values: float) -> None:
        """One line, in the order of `HISTORY_FIELDS`."""
        csv.writer(self.file).writerow(values)
        for name, value in zip(HISTORY_FIELDS[1:], values[1:], strict=True):
            self.board.add_scalar(f"train/{name}", value, values[0])


def _check_finite(loss: float, step: int, config: RunConfig) -> None:
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise ElasticASTError(
            f"{config.experiment}: the loss is {loss} at step {step}; try a lower train.lr (now {config.train.lr}), "
            "a longer train.warmup_steps, or train.precision: bf16"
        )


def _ignore_signals(_: int) -> None:
    """Data loader workers leave stopping to the training process."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
