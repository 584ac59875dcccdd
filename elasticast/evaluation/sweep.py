"""Sweeps: evaluate a trained model at many lengths, resolutions, patch sizes, shares of tokens, or sample rates."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from elasticast.config import Evaluation, PatchSize, RunConfig
from elasticast.config.evaluation import COSTED, REDUCING, Detection, swept_patches
from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder
from elasticast.data.events import check_frame_head
from elasticast.data.manifest import read_listed
from elasticast.data.norm import Norm
from elasticast.data.packing import kept_count
from elasticast.data.views import ClipView, ViewRule, view_tokens
from elasticast.evaluation.flops import forward_flops
from elasticast.evaluation.frames import FrameScores, event_metrics, layout_of
from elasticast.evaluation.metrics import metrics, ranking_scores
from elasticast.evaluation.passes import clip_passes, merging_model, run_passes
from elasticast.evaluation.saved_predictions import Predictions
from elasticast.progress import Progress

CHUNK_CLIPS = 256
"""Number of clips whose log-mels are kept in memory at once."""


def view_rules(config: RunConfig, evaluation: Evaluation, compression: float | None = None) -> dict[float, ViewRule]:
    """View rule of a sweep at each x.

    A sweep over lengths uses the compression the model is trained with (1 if it is trained with several), or the given
    `compression` of a grid. A sweep over compressions uses the length in seconds the model is trained with. A sweep
    over patch sizes, dropped or merged tokens or sample rates uses the compression and length of training.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    evaluation : Evaluation
        Settings of the sweep.
    compression : float, optional
        Compression of a grid of lengths and compressions.

    Returns
    -------
    dict of float to ViewRule
        x to view rule.
    """
    if evaluation.x_name == "compression":
        return {x: ViewRule(config, compression=x) for x in evaluation.x}
    compression = compression or config.default_compression
    if evaluation.x_name == "max_frames":
        return {x: ViewRule(config, max_frames=int(x), compression=compression) for x in evaluation.x}
    return {x: ViewRule(config, compression=compression) for x in evaluation.x}


def chunks(clips: int) -> list[range]:
    """Split clip indices into chunks that are evaluated together. Each chunk gives the same logits on any rank."""
    return [range(first, min(first + CHUNK_CLIPS, clips)) for first in range(0, clips, CHUNK_CLIPS)]


def sweep(
    model: nn.Module,
    clips: Clips,
    config: RunConfig,
    norm: Norm,
    evaluation: Evaluation,
    log: Progress | None,
    compression: float | None = None,
    *,
    out: Tensor | None = None,
    only: list[range] | None = None,
    frames: dict[float, FrameScores] | None = None,
) -> dict[float, Tensor]:
    """Compute the logits of all clips at all x of a sweep.

    With windows, the logits of a clip are the mean over its windows, weighted by the number of frames per window; a
    frame in several windows is shared among them.

    Parameters
    ----------
    model : nn.Module
        The model; it is set to evaluation mode.
    clips : Clips
        Clips of the split.
    config : RunConfig
        Settings of the run.
    norm : Norm
        Normalisation statistics.
    evaluation : Evaluation
        Settings of the sweep.
    log : Progress or None
        Updated with the number of finished clips.
    compression : float, optional
        Compression of a grid of lengths and compressions.
    out : Tensor, optional
        Output tensor `[X, clips, C]` float32.
    only : list of range, optional
        The :func:`chunks` to evaluate; the logits of other clips are not written. Default: all chunks.
    frames : dict of float to FrameScores, optional
        Where to write the logits of time patches, by x, see :func:`frame_scores`. Not for sweeps with windows.

    Returns
    -------
    dict of float to Tensor
        x to `[clips, C]` float32 on the CPU.
    """
    rules = view_rules(config, evaluation, compression)
    clips.check_rate(config.front_end)
    check_frame_head(config, clips.kind)
    encoder = ClipEncoder(config, norm)
    out = torch.empty(len(rules), len(clips), len(clips.classes)) if out is None else out
    logits = dict(zip(rules, out, strict=True))
    model.eval()
    for chunk in chunks(len(clips)) if only is None else only:
        points = ((x, rule, i, int(clips.samples[i])) for x, rule in rules.items() for i in chunk)
        passes = {(x, i): clip_passes(rule, x, evaluation, config, i, samples) for x, rule, i, samples in points}
        # several x can give the same view, for example of a clip shorter than all of them: compute each view once
        distinct = {clip_pass for weighted in passes.values() for clip_pass, _ in weighted}
        pass_logits = run_passes(model, clips, encoder, distinct, frames=frames is not None)
        for (x, i), weighted in passes.items():
            logits[x][i] = sum(weight * pass_logits[clip_pass][0] for clip_pass, weight in weighted)
            if frames is not None:
                frames[x].put(i, *pass_logits[weighted[0][0]][1:])
        if log is not None:
            log.update(chunk.stop)
    return logits


def frame_scores(
    clips: Clips, config: RunConfig, evaluation: Evaluation, compression: float | None, allocate: Callable[..., Tensor]
) -> dict[float, FrameScores]:
    """Memory for the logits of the time patches of all clips, by x; `allocate` returns a tensor of a given shape."""
    scores = {}
    for x, rule in view_rules(config, evaluation, compression).items():
        layout = layout_of(config, [rule(int(samples)) for samples in clips.samples], clips.samples)
        scores[x] = FrameScores(layout, allocate(int(layout.first[-1]), len(clips.classes)))
    return scores


def gflops_per_clip(
    model: nn.Module, clips: Clips, config: RunConfig, evaluation: Evaluation, indices: np.ndarray | None = None
) -> dict[float, float]:
    """Mean cost (GFLOP) of a forward pass per clip at each x of a sweep over patch sizes or shares of tokens.

    Resizing patches is not counted. See :func:`~elasticast.evaluation.flops.forward_flops`. Of all clips, or of
    those at `indices`.
    """
    costs, sizes = {}, swept_patches(config, evaluation)
    samples = clips.samples if indices is None else clips.samples[indices]
    for x, rule in view_rules(config, evaluation).items():
        views, size = [rule(int(count)) for count in samples], sizes.get(x)
        clip_tokens = [view_tokens(config, view, size) for view in views]
        drops, method = evaluation.x_name == "token_drop", REDUCING.get(evaluation.x_name)
        kept = [kept_count(tokens, x) for tokens in clip_tokens] if drops else clip_tokens
        at_x = merging_model(model, method, x) if method else model
        grids = [_time_patches(config, view, size) if clips.kind == "frames" else None for view in views]
        shapes = list(zip(kept, grids, strict=True))
        flops = {shape: forward_flops(at_x, config, shape[0], len(clips.classes), shape[1]) for shape in set(shapes)}
        costs[x] = sum(flops[shape] for shape in shapes) / len(shapes) / 1e9
    return costs


def _time_patches(config: RunConfig, view: ClipView, size: PatchSize | None) -> int:
    """Number of time patches of the grid of a view."""
    return config.model.patches(view.grid_frames) if size is None else size.count(view.grid_frames, size.time)


def evaluate(
    model: nn.Module,
    prepared: Path,
    config: RunConfig,
    norm: Norm,
    sweeps: dict[str, Evaluation],
    saved: Predictions | None = None,
) -> pd.DataFrame:
    """Evaluate a run on all its sweeps.

    Parameters
    ----------
    model : nn.Module
        The model.
    prepared : Path
        Folder of the prepared dataset.
    config : RunConfig
        Settings of the run.
    norm : Norm
        Normalisation statistics.
    sweeps : dict of str to Evaluation
        Settings of each sweep, by name.
    saved : Predictions, optional
        Writer of the predictions of each clip. It also keeps the logits on disk, not in memory, until all clips are
        evaluated.

    Returns
    -------
    DataFrame
        One row per sweep, x, compression and metric, with the columns ``experiment``, ``seed``, ``evaluation``,
        ``dataset``, ``task``, ``x_name``, ``x``, ``compression``, ``metric``, ``value``, ``n`` (number of clips) and
        ``listed`` (number of clips in the published list, see :func:`~elasticast.data.manifest.read_listed`).
    """
    rows = []
    for name, evaluation in sweeps.items():
        clips, listed = Clips(prepared, evaluation.split, config.task), read_listed(prepared, evaluation.split)
        head = {"experiment": config.experiment, "seed": config.seed, "evaluation": name}
        head |= {"dataset": config.dataset, "task": config.task, "x_name": evaluation.x_name}
        costs = gflops_per_clip(model, clips, config, evaluation) if evaluation.x_name in COSTED else {}
        if saved:
            saved.begin(name, evaluation, clips, listed)
        for compression in evaluation.compression or [None]:
            allocate = saved.allocate if saved else torch.empty
            out = saved and saved.allocate(len(set(evaluation.x)), len(clips), len(clips.classes))
            strong = clips.events is not None
            frames = frame_scores(clips, config, evaluation, compression, allocate) if strong else None
            with Progress(f"evaluate {config.experiment} {name}", len(clips)) as log:
                logits = sweep(model, clips, config, norm, evaluation, log, compression, out=out, frames=frames)
            for x, x_logits in logits.items():
                scores = ranking_scores(x_logits, config.train.loss, evaluation.scores)
                used = x if evaluation.x_name == "compression" else compression or config.default_compression
                if saved:
                    saved.add(x, used, scores, frames and frames[x])
                values = metrics(scores, clips.targets.numpy(), clips.kind)
                if frames:
                    detection = evaluation.detection or Detection()
                    values |= event_metrics(frames[x], clips.events, clips.classes, detection)
                values |= {"gflops_per_clip": costs[x]} if costs else {}
                point = {**head, "x": x, "compression": used}
                counts = {"n": len(clips), "listed": listed}
                rows += [{**point, "metric": k, "value": v, **counts} for k, v in values.items()]
    return pd.DataFrame(rows)
