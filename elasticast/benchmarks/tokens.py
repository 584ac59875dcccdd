"""Speed and score of a trained model that is given, or keeps, fewer tokens of each clip."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from elasticast.benchmarks.timing import Step, time_alternately
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
        The model, with the settings, normalisation and classes it was trained with.
    prepared : Path
        Folder of the prepared dataset.
    split : {"dev", "test"}
        Split to evaluate.
    shares : sequence of float
        Shares of tokens that are left out, in (0, 1).
    clips : int
        Number of clips: the first ones of the split.
    rounds : int
        Number of timings.

    Returns
    -------
    DataFrame
        One row per way and share, the first one with all tokens: ``way``, ``share``, ``gflops_per_clip`` (see
        :func:`~elasticast.evaluation.sweep.gflops_per_clip`), ``seconds`` for all clips (median) with its quartiles,
        ``clips_per_s``, ``speedup`` over all tokens (median of the ratios within a round), ``metric`` and
        ``score``.

    Raises
    ------
    DataError
        If the task has no clip labels of its own (kind ``frames``), or other classes than the model.
    """
    model, config = trained.model.eval(), trained.config
    samples = Clips(prepared, split, config.task)
    if samples.kind == "frames":
        raise DataError(f"{prepared}: task {config.task!r} has events; `bench tokens` scores labels of clips")
    if samples.classes != trained.classes:
        raise DataError(f"{prepared}: task {config.task!r} has other classes than the model")
    samples.check_rate(config.front_end)
    used = range(min(clips, len(samples)))
    targets, metric = samples.targets[: len(used)].numpy(), PRIMARY_METRIC[samples.kind]
    encoder, ways, rows = ClipEncoder(config, trained.norm), {}, []
    reduced = ("token_drop", *(REDUCING if config.model.traits.merges else ()))
    for way, share in [("token_drop", 0.0), *((way, share) for way in reduced for share in shares)]:
        evaluation = Evaluation(x_name=way, x=[share], split=split)
        rule = view_rules(config, evaluation)[share]
        passes = [clip_passes(rule, share, evaluation, config, i, int(samples.samples[i])) for i in used]
        batches = list(packed_passes(model, samples, encoder, {one for ((one, _),) in passes}))
        logits = torch.empty(len(used), len(samples.classes))
        ways[f"{way} {share:g}"] = step = _forward(batches, logits)
        step()  # also warms up
        scores = ranking_scores(logits, config.train.loss, evaluation.scores)
        score = metrics(scores, targets, samples.kind)[metric]
        cost = gflops_per_clip(model, samples, config, evaluation, len(used))[share]
        name = way.removeprefix("token_") if share else "all tokens"
        rows.append({"way": name, "share": share, "gflops_per_clip": cost, "metric": metric, "score": score})
    timings = time_alternately(ways, rounds, next(model.parameters()).device, "timings")
    all_tokens = timings[next(iter(ways))][:, 0]
    for row, times in zip(rows, timings.values(), strict=True):
        q1, median, q3 = np.quantile(times[:, 0], [0.25, 0.5, 0.75])
        row |= {"seconds": median, "seconds_q1": q1, "seconds_q3": q3, "clips_per_s": len(used) / median}
        row["speedup"] = np.median(all_tokens / times[:, 0])
    return pd.DataFrame(rows)


def _forward(batches: list, logits: torch.Tensor) -> Step:
    """Compute the logits of all batches, see :func:`~elasticast.evaluation.passes.packed_passes`."""

    @torch.inference_mode()
    def step() -> None:
        for members, merging, packed in batches:
            logits[[member.clip for member in members]] = merging(packed).float().cpu()

    return step
