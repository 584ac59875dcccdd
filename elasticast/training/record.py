"""What `run.json` records of a training."""

from typing import Any

from elasticast.checksums import FOLDER, folder_of
from elasticast.models.adapters import trained_parameters
from elasticast.models.device import compute_record
from elasticast.provenance import job_record
from elasticast.training.teacher import teacher_record


def training_record(trainer: Any, devices: tuple[str, ...], memory: int) -> dict[str, Any]:
    """The record of a finished training.

    ``training_flops`` are the floating-point operations of the training: three forward passes for each step, fewer for
    an adapted model (:func:`~elasticast.training.cost.step_passes`), and one of the teacher. Evaluations during
    training do not count.

    ``energy`` is that of the machine of rank 0, see :class:`~elasticast.training.energy.EnergyMeter`: `kwh` of the
    processor and the GPUs, or in `unknown` why it could not be measured. Evaluations before the last step count. A run
    that was continued was measured from the step `from_step` on.

    Parameters
    ----------
    trainer : Trainer
        The training.
    devices : tuple of str
        Device of each rank.
    memory : int
        Largest peak memory of a rank, in MiB.
    """
    config, seconds, tally = trainer.config, trainer.seconds, trainer.tally
    computed = compute_record(config.model.backend, trainer.device, config.train.precision)
    return {
        FOLDER: folder_of(trainer.out / "run.json"),
        **job_record(trainer.code, config, trainer.inputs.data_sha256, **computed),
        "world_size": trainer.world.size,
        "devices": devices,
        "computed": trainer.computed,
        "init": trainer.init,
        "distill": _distill(trainer),
        "ensemble": _ensemble(trainer),
        "impulse_responses": _responses(trainer),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "trained_parameters": trained_parameters(trainer.model),
        "steps": trainer.step,
        "phases": _parts(trainer, trainer.config.train.phases),
        "stages": _parts(trainer, trainer.config.train.stages),
        "training_flops": tally.flops,
        "energy": trainer.energy.record(),
        "seconds": round(seconds, 3),
        **{f"{what}_per_s": round(count / seconds, 1) for what, count in tally.seen.items()},
        "restarts": trainer.restarts,
        "peak_memory_mib": memory,
        "selection": trainer.selection and trainer.selection.record(),
    }


def _parts(trainer: Any, settings: list[Any] | None) -> list[dict[str, Any]] | None:
    """What is recorded of each phase or stage, with its floating-point operations; None if a run has none."""
    if settings is None:
        return None
    phases = zip(trainer.phases, trainer.tally.phases, strict=True)
    return [{**phase.record, "flops": flops} for phase, flops in phases]


def _distill(trainer: Any) -> dict[str, Any] | None:
    """Record of the teacher, with its floating-point operations; None without `train.distill`."""
    distill = trainer.config.train.distill
    if distill is None:
        return None
    record = teacher_record(distill.teacher, trainer.inputs.teacher, trainer.config)
    return {**record, "flops": trainer.tally.teacher}


def _ensemble(trainer: Any) -> list[dict[str, Any]] | None:
    """Record of each model of an ensemble; None without `train.ensemble`."""
    config = trainer.config
    if config.train.ensemble is None:
        return None
    members = zip(config.train.ensemble, trainer.inputs.ensemble, strict=True)
    return [teacher_record(source, member, config) for source, member in members]


def _responses(trainer: Any) -> dict[str, Any] | None:
    """Folder, number and checksum of the impulse responses; None without `train.impulse_responses`."""
    settings, responses = trainer.config.train.impulse_responses, trainer.inputs.responses
    if settings is None:
        return None
    return {"folder": settings.folder, "files": len(responses.waves), "sha256": responses.sha256}
