"""Speed and score of a trained model that is given, or keeps, fewer tokens of each clip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from elasticast.benchmarks.stages import compare
from elasticast.benchmarks.timing import Step
from elasticast.config import Evaluation
from elasticast.config.base import PRIMARY_METRIC
from elasticast.config.evaluation import REDUCING
from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder
from elasticast.errors import DataError
from elasticast.evaluation.metrics import metrics, ranking_scores
from elasticast.evaluation.passes import clip_passes, packed_passes
from elasticast.evaluation.sweep import gflops_per_clip, view_rules
from elasticast.models.pretrained import Pretrained


def measure_tokens(
    trained: Pretrained, prepared: Path, split: str, *, shares: Sequence[float], clips: int, rounds: int
) -> pd.DataFrame:
    """Time the forward passes of clips, and compute their score, at each share of tokens that are left out.

    Tokens are dropped before the first block, and merged or pruned in every block (models that merge none are only
    timed with dropped ones). The log-mels of all clips are kept in memory and not timed.

    Parameters
    ----------
    trained : Pretrained
        The model, with a task of the dataset and its classes, see :func:`~elasticast.inference.length_sweep.on_task`.
    prepared : Path
        Folder of the prepared dataset.
    split : {"dev", "test"}
        Split to evaluate.
    shares : sequence of float
        Shares of tokens that are left out, in (0, 1).
    clips : int
        Number of clips, spread evenly over the split.
    rounds : int
        Number of timings.

    Returns
    -------
    DataFrame
        One row per way and share, the first one with all tokens: ``way``, ``share``, ``gflops_per_clip`` (see
        :func:`~elasticast.evaluation.sweep.gflops_per_clip`), ``metric``, ``score``, ``clips_per_s``, and times of
        all clips as in :func:`~elasticast.benchmarks.stages.compare`; speed-ups are over all tokens.

    Raises
    ------
    DataError
        If the task has events instead of clip labels (kind ``frames``).
    """
    model, config = trained.model.eval(), trained.config
    if trained.kind == "frames":
        raise DataError(f"{prepared}: task {config.task!r} has events; `bench tokens` scores labels of clips")
    samples = Clips(prepared, split, config.task)
    # from the whole split, because clips can be sorted by class
    used = np.linspace(0, len(samples) - 1, min(clips, len(samples))).astype(int)
    targets, metric = samples.targets[used].numpy(), PRIMARY_METRIC[samples.kind]
    encoder, ways, rows = ClipEncoder(config, trained.norm), {}, []
    reduced = ("token_drop", *(REDUCING if config.model.traits.merges else ()))
    for way, share in [("token_drop", 0.0), *((way, share) for way in reduced for share in shares)]:
        evaluation = Evaluation(x_name=way, x=[share], split=split)
        rule = view_rules(config, evaluation)[share]
        passes = [clip_passes(rule, share, evaluation, config, i, int(samples.samples[i])) for i in used.tolist()]
        batches = list(packed_passes(model, samples, encoder, {one for ((one, _),) in passes}))
        logits = torch.empty(len(samples), len(samples.classes))
        ways[f"{way} {share:g}"] = step = _forward(batches, logits)
        step()  # also warms up
        scores = ranking_scores(logits[used], config.train.loss, evaluation.scores)
        score = metrics(scores, targets, samples.kind)[metric]
        cost = gflops_per_clip(model, samples, config, evaluation, used)[share]
        name = way.removeprefix("token_") if share else "all tokens"
        rows.append({"way": name, "share": share, "gflops_per_clip": cost, "metric": metric, "score": score})
    timings = compare(ways, rounds, next(model.parameters()).device, "timings").drop(columns="way")
    return pd.DataFrame(rows).join(timings.assign(clips_per_s=len(used) / timings["seconds"]))


def _forward(batches: list, logits: torch.Tensor) -> Step:
    """Compute the logits of all batches, see :func:`~elasticast.evaluation.passes.packed_passes`."""

    @torch.inference_mode()
    def step() -> None:
        for members, merging, packed in batches:
            logits[[member.clip for member in members]] = merging(packed).float().cpu()

    return step
