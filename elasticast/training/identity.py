"""What decides the weights of a run, and what changes them by rounding errors only."""

from typing import Any

import torch

from elasticast.config import RunConfig, deciding
from elasticast.errors import ElasticASTError
from elasticast.models.device import compute_record
from elasticast.progress import LOG
from elasticast.training.distributed import World
from elasticast.training.inputs import RunInputs


def run_identity(
    config: RunConfig, inputs: RunInputs, code: str, init: dict[str, Any] | None, world: World
) -> dict[str, Any]:
    """Everything that decides the weights of a run, as JSON values. A checkpoint is used by runs with the same only.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    inputs : RunInputs
        Its data, normalisation, teachers and impulse responses.
    code : str
        Digest of the code, see :func:`~elasticast.provenance.training_code`.
    init : dict or None
        Record of the initial weights, see :func:`~elasticast.models.pretrained.start_from`.
    world : World
        The processes that train together. Their number counts if each draws a size of patches.
    """
    sizes = config.model.patch_sizes
    return {
        "settings": deciding(config),
        "code": code,
        "data_sha256": inputs.data_sha256,
        "norm": {"mean": inputs.norm.mean, "std": inputs.norm.std},
        "init_sha256": init and init["sha256"],
        "teacher_sha256": inputs.teacher and inputs.teacher.sha256,
        "ensemble_sha256": [member.sha256 for member in inputs.ensemble],
        "responses_sha256": inputs.responses and inputs.responses.sha256,
        "processes": world.size if sizes is not None and sizes.draw == "process" else None,
    }


def circumstances(config: RunConfig, world: World, *, compiled: bool, graphs: bool) -> dict[str, Any]:
    """What changes the weights of a run by rounding errors, because floats are added in another order.

    The number of threads counts on a CPU only: on a GPU, the CPU only loads clips, which gives the same tokens with any
    number of threads.
    """
    computed = compute_record(config.model.backend, world.device, config.train.precision)
    if world.device.type != "cpu":
        del computed["threads"]
        computed |= {"compiled": compiled, "cuda_graphs": graphs}
    return {**computed, "world_size": world.size, "torch": str(torch.__version__)}


def may_compile(config: RunConfig, backend: str) -> bool:
    """Whether the settings let the transformer blocks of a model be compiled, if it has some.

    A model that pads clips, merges tokens, attends by chunks, or has prompts is not compiled.

    Raises
    ------
    ElasticASTError
        If it is ``on``, but the attention backend is not varlen.
    """
    if config.train.compile == "on" and backend != "varlen":
        raise ElasticASTError(
            f"train.compile: 'on' needs the attention backend varlen (CUDA, bf16 or fp16), this run has {backend}; "
            "use 'auto' or 'off'"
        )
    adaptation, traits = config.model.adaptation, config.model.traits
    changes_lengths = any(getattr(config.model, name, None) is not None for name in ("merge", "context"))
    changes_lengths |= traits.pads or (adaptation is not None and not adaptation.compiles)
    return config.train.compile != "off" and backend == "varlen" and traits.compiles and not changes_lengths


def continued(before: list[dict[str, Any]], now: dict[str, Any], step: int, experiment: str) -> list[dict[str, Any]]:
    """Record the circumstances in which a run continues, and warn if they are not those it was begun in.

    Parameters
    ----------
    before : list of dict
        Circumstances of the run so far, each with the step from which they hold, `from_step`.
    now : dict
        The circumstances from `step` on, see :func:`circumstances`.
    step : int
        Step that the run resumes from.
    experiment : str
        Name of the experiment, for the warning.

    Returns
    -------
    list of dict
        `before`, and a further entry if anything differs.
    """
    last = before[-1]
    different = [f"{key}: {last.get(key)} -> {value}" for key, value in now.items() if last.get(key) != value]
    if not different:
        return before
    LOG.warning(
        "%s: the first %d steps were computed differently (%s), so the weights will differ by rounding errors from "
        "those of a run without interruption",
        experiment,
        step,
        ", ".join(different),
    )
    return [*before, {"from_step": step, **now}]
