"""Sweeps: one trained model over many lengths or resolutions, each clip decoded and each log-mel made once."""

import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from elasticast.config import ASTSettings, Evaluation, RunConfig
from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder
from elasticast.data.features import Norm
from elasticast.data.packing import PackedClip, kept_count, kept_tokens, pack
from elasticast.data.sampler import token_batches
from elasticast.data.views import ClipView, ViewRule, view_tokens
from elasticast.data.windows import window_views
from elasticast.evaluation.flops import forward_flops
from elasticast.evaluation.metrics import metrics
from elasticast.evaluation.saved_predictions import Predictions
from elasticast.progress import Progress

CHUNK_CLIPS = 256
"""Clips whose log-mels are held at once; bounds memory whatever the size of the test split."""
TOKEN_BUDGET = 16384
"""Tokens of one forward pass."""


class Shown(NamedTuple):
    """One forward pass of one clip: its view, its place in the split, and the share of its tokens left out."""

    view: ClipView
    clip: int
    dropped: float = 0.0


def view_rules(config: RunConfig, evaluation: Evaluation, compression: float | None = None) -> dict[float, ViewRule]:
    """What each x of a sweep shows of a clip.

    In a length sweep the resolution is the one the model was trained at (compression 1 for a model trained
    at several), or the `compression` of a grid; in a resolution sweep the length in seconds is the one it was trained
    at; where tokens are left out, both are.
    """
    if evaluation.x_name == "compression":
        return {x: ViewRule(config, compression=x) for x in evaluation.x}
    own = compression or config.own_compression
    if evaluation.x_name == "token_drop":
        return {x: ViewRule(config, compression=own) for x in evaluation.x}
    return {x: ViewRule(config, max_frames=int(x), compression=own) for x in evaluation.x}


def chunks(clips: int) -> list[range]:
    """Clips that are measured together; who measures which of the chunks changes no number."""
    return [range(first, min(first + CHUNK_CLIPS, clips)) for first in range(0, clips, CHUNK_CLIPS)]


def _shown(rule: ViewRule, x: float, evaluation: Evaluation, config: RunConfig, clip: int, samples: int) -> list:
    """The passes of a clip at an x, each with its weight; there is one, but for windows."""
    if evaluation.windows and x > config.view.frames:
        own = config.own_compression
        return [(Shown(view, clip), w) for view, w in window_views(samples, ViewRule(config), own, int(x))]
    return [(Shown(rule(samples), clip, x if evaluation.x_name == "token_drop" else 0.0), 1.0)]


def sweep(
    model: nn.Module,
    clips: Clips,
    config: RunConfig,
    norm: Norm,
    evaluation: Evaluation,
    log: Progress,
    compression: float | None = None,
    *,
    room: Tensor | None = None,
    only: list[range] | None = None,
) -> dict[float, Tensor]:
    """Logits of every clip at every x; of several windows their mean, weighted by the frames each speaks for.

    Parameters
    ----------
    compression : float, optional
        That of a grid's points.
    room : Tensor, optional
        `[X, clips, C]` float32 to put them into; none: new ones.
    only : list of range, optional
        The :func:`chunks` to measure, the logits of other clips stay as they are; none: all.

    Returns
    -------
    dict of float to Tensor
        x to `[clips, C]` float32 on the CPU.
    """
    rules = view_rules(config, evaluation, compression)
    clips.check_rate(config.front_end)
    encoder = ClipEncoder(config, norm)
    room = torch.empty(len(rules), len(clips), len(clips.classes)) if room is None else room
    logits = dict(zip(rules, room, strict=True))
    model.eval()
    for chunk in chunks(len(clips)) if only is None else only:
        points = ((x, rule, i, int(clips.samples[i])) for x, rule in rules.items() for i in chunk)
        parts = {(x, i): _shown(rule, x, evaluation, config, i, samples) for x, rule, i, samples in points}
        # many x show a clip alike (a clip shorter than all of them, say): each distinct view runs once
        done = _run_views(model, clips, encoder, {shown for some in parts.values() for shown, _ in some})
        for (x, i), some in parts.items():
            logits[x][i] = sum(weight * done[shown] for shown, weight in some)
        log.update(chunk.stop)
    return logits


@torch.inference_mode()
def _run_views(model: nn.Module, clips: Clips, encoder: ClipEncoder, views: set[Shown]) -> dict[Shown, Tensor]:
    device = next(model.parameters()).device
    done: dict[Shown, Tensor] = {}
    for batch in _batches(clips, encoder, views):
        logits = model(pack([clip for _, clip in batch]).to(device)).float().cpu()
        done |= {shown: row for (shown, _), row in zip(batch, logits, strict=True)}
    return done


def _batches(clips: Clips, encoder: ClipEncoder, views: set[Shown]) -> Iterator[list[tuple[Shown, PackedClip]]]:
    """Batches of packed views; one log-mel a clip and compression, and for AST one length a batch."""
    one_length = isinstance(encoder.config.model, ASTSettings)

    def length(shown: Shown) -> int:
        return shown.view.grid_frames if one_length else 0

    def place(shown: Shown) -> tuple:
        view = shown.view
        return view.compression, length(shown), shown.clip, view.frames, view.first, shown.dropped

    for compression, group in itertools.groupby(sorted(views, key=place), key=lambda shown: shown.view.compression):
        spectrograms: dict[int, Tensor] = {}
        for _, same in itertools.groupby(group, key=length):
            members = list(same)
            tokens = [view_tokens(encoder.config, shown.view) for shown in members]
            for picked in token_batches(list(range(len(members))), tokens, TOKEN_BUDGET):
                batch = []
                for shown in (members[k] for k in picked):
                    if shown.clip not in spectrograms:
                        spectrograms[shown.clip] = encoder.spectrogram(clips.waveform(shown.clip), compression)
                    batch.append((shown, _encoded(clips, encoder, shown, spectrograms[shown.clip])))
                yield batch


def _encoded(clips: Clips, encoder: ClipEncoder, shown: Shown, spectrogram: Tensor) -> PackedClip:
    """Tokens of a clip, some of them left out; which, its id decides: those of a smaller share are among them."""
    clip = encoder.encode(spectrogram, shown.view, index=shown.clip, target=clips.targets[shown.clip])
    if not shown.dropped:
        return clip
    generator = torch.Generator().manual_seed(zlib.crc32(clips.ids[shown.clip].encode()))
    return clip.select(kept_tokens(len(clip.patches), shown.dropped, generator))


def gflops_per_clip(clips: Clips, config: RunConfig, evaluation: Evaluation) -> dict[float, float]:
    """Mean cost of one clip's forward pass at every x of a sweep over tokens left out, see `forward_flops`."""
    found = {}
    for x, rule in view_rules(config, evaluation).items():
        whole = [view_tokens(config, rule(int(samples))) for samples in clips.samples]
        flops = [forward_flops(config, kept_count(tokens, x), len(clips.classes)) for tokens in whole]
        found[x] = sum(flops) / len(flops) / 1e9
    return found


def evaluate(
    model: nn.Module,
    prepared: Path,
    config: RunConfig,
    norm: Norm,
    sweeps: dict[str, Evaluation],
    saved: Predictions | None = None,
) -> pd.DataFrame:
    """Tidy metrics of a run: experiment, seed, evaluation, dataset, task, x_name, x, compression, metric, value, n.

    With `saved` the logits lie on disk until all clips are measured, and each clip's predictions are saved.
    """
    rows = []
    for name, evaluation in sweeps.items():
        clips = Clips(prepared, evaluation.split, config.task)
        head = {"experiment": config.experiment, "seed": config.seed, "evaluation": name}
        head |= {"dataset": config.dataset, "task": config.task, "x_name": evaluation.x_name}
        costs = gflops_per_clip(clips, config, evaluation) if evaluation.x_name == "token_drop" else {}
        if saved:
            saved.begin(name, evaluation, clips)
        for compression in evaluation.compression or [None]:
            room = saved and saved.room(len(set(evaluation.x)), len(clips), len(clips.classes))
            with Progress(f"evaluate {config.experiment} {name}", len(clips)) as log:
                logits = sweep(model, clips, config, norm, evaluation, log, compression, room=room)
            for x, scores in logits.items():
                shown = x if evaluation.x_name == "compression" else compression or config.own_compression
                if saved:
                    saved.add(x, shown, scores)
                found = metrics(scores.numpy(), clips.targets.numpy(), clips.kind)
                found |= {"gflops_per_clip": costs[x]} if costs else {}
                point = {**head, "x": x, "compression": shown}
                rows += [{**point, "metric": k, "value": v, "n": len(clips)} for k, v in found.items()]
    return pd.DataFrame(rows)
