"""Sweeps: one trained model over many lengths or resolutions, each clip decoded and each log-mel made once."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from elasticast.config import Evaluation, RunConfig
from elasticast.data.dataset import ClipDataset, Clips
from elasticast.data.features import Norm, log_mel
from elasticast.data.packing import PackedClip, pack
from elasticast.data.sampler import token_batches
from elasticast.data.views import ClipView, ViewRule
from elasticast.evaluation.metrics import metrics
from elasticast.evaluation.predictions import Predictions
from elasticast.progress import Progress

CHUNK_CLIPS = 256
"""Clips whose log-mels are held at once; bounds memory whatever the size of the test split."""
TOKEN_BUDGET = 16384
"""Tokens of one forward pass."""


def view_rules(config: RunConfig, evaluation: Evaluation) -> dict[float, ViewRule]:
    """What each x of a sweep shows of a clip.

    In a length sweep the resolution is the one the model was trained at (compression 1 for a model trained
    at several); in a resolution sweep the length in seconds is the one it was trained at.
    """
    if evaluation.x_name == "compression":
        return {x: ViewRule(config, compression=x) for x in evaluation.x}
    own = config.view.compression[0] if len(config.view.compression) == 1 else 1.0
    return {x: ViewRule(config, max_frames=int(x), compression=own) for x in evaluation.x}


def chunks(clips: int) -> list[range]:
    """Clips that are measured together; who measures which of the chunks changes no number."""
    return [range(first, min(first + CHUNK_CLIPS, clips)) for first in range(0, clips, CHUNK_CLIPS)]


def sweep(
    model: nn.Module,
    clips: Clips,
    config: RunConfig,
    norm: Norm,
    evaluation: Evaluation,
    log: Progress,
    *,
    room: Tensor | None = None,
    only: list[range] | None = None,
) -> dict[float, Tensor]:
    """Logits of every clip at every x.

    Parameters
    ----------
    room : Tensor, optional
        `[X, clips, C]` float32 to put them into; none: new ones.
    only : list of range, optional
        The :func:`chunks` to measure, the logits of other clips stay as they are; none: all.

    Returns
    -------
    dict of float to Tensor
        x to `[clips, C]` float32 on the CPU.
    """
    rules = view_rules(config, evaluation)
    dataset = ClipDataset(clips, config, norm, training=False)
    room = torch.empty(len(rules), len(clips), len(clips.classes)) if room is None else room
    logits = dict(zip(rules, room, strict=True))
    model.eval()
    for chunk in chunks(len(clips)) if only is None else only:
        views = {(x, i): rule(int(clips.samples[i])) for x, rule in rules.items() for i in chunk}
        # many x show a clip alike (a clip shorter than all of them, say): each distinct view runs once
        done = _run_views(model, dataset, {(view, i) for (_, i), view in views.items()})
        for (x, i), view in views.items():
            logits[x][i] = done[view, i]
        log.update(chunk.stop)
    return logits


@torch.inference_mode()
def _run_views(model: nn.Module, dataset: ClipDataset, views: set[tuple[ClipView, int]]) -> dict:
    device = next(model.parameters()).device
    done: dict[tuple[ClipView, int], Tensor] = {}
    for batch in _batches(dataset, views):
        items = [clip for _, clip in batch]
        for (view, clip), row in zip(batch, model(pack(items).to(device)).float().cpu(), strict=True):
            done[view, clip.index] = row
    return done


def _batches(dataset: ClipDataset, views: set) -> Iterator[list[tuple[ClipView, PackedClip]]]:
    """Batches of packed views; one log-mel a clip and compression, and for AST one length a batch."""
    one_length = dataset.rule.fixed
    order = sorted(views, key=lambda v: (v[0].compression, v[0].frames if one_length else 0, v[1]))
    for compression, group in itertools.groupby(order, key=lambda v: v[0].compression):
        spectrograms: dict[int, Tensor] = {}
        for _, same in itertools.groupby(group, key=lambda v: v[0].frames if one_length else 0):
            members = list(same)
            tokens = [dataset.tokens_of(view) for view, _ in members]
            for picked in token_batches(list(range(len(members))), tokens, TOKEN_BUDGET):
                batch = []
                for view, index in (members[k] for k in picked):
                    if index not in spectrograms:
                        waveform = dataset.clips.waveform(index)
                        spectrograms[index] = log_mel(waveform, dataset.config.front_end, compression)
                    cut = dataset.norm(view.cut(spectrograms[index]))
                    batch.append((view, dataset.packed(index, cut, dataset.clips.targets[index])))
                yield batch


def evaluate(
    model: nn.Module,
    prepared: Path,
    config: RunConfig,
    norm: Norm,
    sweeps: dict[str, Evaluation],
    saved: Predictions | None = None,
) -> pd.DataFrame:
    """Tidy metrics of a run: experiment, seed, evaluation, dataset, task, x_name, x, metric, value, n.

    With `saved` the logits lie on disk until all clips are measured, and each clip's predictions are saved.
    """
    rows = []
    for name, evaluation in sweeps.items():
        clips = Clips(prepared, evaluation.split, config.task)
        room = saved and saved.room(len(set(evaluation.x)), len(clips), len(clips.classes))
        with Progress(f"evaluate {config.experiment} {name}", len(clips)) as log:
            logits = sweep(model, clips, config, norm, evaluation, log, room=room)
        if saved:
            saved.begin(name, evaluation, clips)
        head = {"experiment": config.experiment, "seed": config.seed, "evaluation": name}
        head |= {"dataset": config.dataset, "task": config.task, "x_name": evaluation.x_name}
        for x, scores in logits.items():
            if saved:
                saved.add(x, scores)
            found = metrics(scores.numpy(), clips.targets.numpy(), clips.kind)
            rows += [{**head, "x": x, "metric": k, "value": v, "n": len(clips)} for k, v in found.items()]
    return pd.DataFrame(rows)
