"""Classify audio of any sample rate, number of channels and length with a trained model.

A clip that fits into the view of the model is given to it in one pass, exactly as in evaluation. ElasticAST is given
the clip at its native length, AST at its fixed length, where shorter clips are padded. A longer clip is split into
overlapping windows (see `elasticast.data.windows`). It is read as a stream, so that memory does not grow with its
length.

The logits of a clip are the mean over its windows, or their maximum. In the mean, windows are weighted so that every
part of the clip has the same weight, although windows overlap. Scores are the sigmoid of the logits if a clip can have
several labels, and their softmax otherwise.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from elasticast.config import ASTSettings
from elasticast.data.audio import UnusableAudioError
from elasticast.data.encoder import ClipEncoder
from elasticast.data.packing import PackedClip, pack
from elasticast.data.sampler import token_batches
from elasticast.data.stream import Audio, open_source, spans
from elasticast.data.views import ViewRule, view_tokens
from elasticast.data.windows import OVERLAP, Windows, cut_windows
from elasticast.errors import ElasticASTError
from elasticast.inference.pending import PendingClip
from elasticast.inference.prediction import Prediction, Timeline
from elasticast.models.device import default_device
from elasticast.models.pretrained import Pretrained, load_model
from elasticast.progress import LOG, Progress

TOKEN_BUDGET = 4096
"""Largest number of tokens per forward pass."""
LONG_SECONDS = 600.0
"""Total length of the audio (s) above which progress is reported."""
SILENT = 1 / 32768
"""Peak-to-peak amplitude below which a clip is flagged as silent; `elasticast prepare` rejects such clips."""

Pooling = Literal["mean", "max"]


class AudioClassifier:
    """A model with its front end and labels. Use :func:`load_pretrained` to create one.

    Parameters
    ----------
    pretrained : Pretrained
        Model, settings, normalisation and labels.

    Attributes
    ----------
    classes : list of str
        Labels, in the order of the logits.
    kind : {"single", "multi"}
        Whether a clip has one label (softmax), or any number of labels (sigmoid).
    """

    def __init__(self, pretrained: Pretrained):
        self.pretrained = pretrained
        self.model, self.config = pretrained.model.eval(), pretrained.config
        self.encoder = ClipEncoder(pretrained.config, pretrained.norm)
        self.classes, self.kind = list(pretrained.classes), pretrained.kind
        self.compression = self.config.default_compression

    def predict(
        self,
        audio: Audio | Iterable[Audio],
        *,
        sample_rate: int | None = None,
        top_k: int | None = None,
        window: float | None = None,
        overlap: float = OVERLAP,
        pooling: Pooling = "mean",
        timeline: bool = False,
        on_error: Literal["raise", "keep"] = "raise",
        token_budget: int = TOKEN_BUDGET,
    ) -> list[Prediction]:
        """Classify audio files and waveforms.

        Parameters
        ----------
        audio : path, array, tensor, or an iterable of them
            Files, or waveforms `[S]` or `[channels, S]`: floats with full scale 1, or integers. Channels are averaged.
        sample_rate : int
            Sample rate of waveforms (Hz). Not used for files.
        top_k : int, optional
            Number of scores per clip. Default: all.
        window : float, optional
            Length of the longest clip that is processed in one pass, and of the windows of longer clips (s, rounded to
            whole patches). Default: the length that the model was trained at.
        overlap : float
            Share of each window that overlaps with the next one, in [0, 1).
        pooling : {"mean", "max"}
            How the logits of the windows are combined: weighted mean, or maximum.
        timeline : bool
            Whether to return the scores of each window.
        on_error : {"raise", "keep"}
            Whether to raise an error for unusable audio, or to continue and store the reason in `Prediction.error`.
        token_budget : int
            Largest number of tokens per forward pass.

        Returns
        -------
        list of Prediction
            One prediction per clip, in the order given.

        Raises
        ------
        DataError
            If audio is unusable and `on_error` is ``"raise"``, with the name of the clip and the reason.
        ElasticASTError
            If an argument is invalid.
        """
        _check(sample_rate=sample_rate, top_k=top_k, overlap=overlap, pooling=pooling, on_error=on_error)
        rule = self._view_rule(window)
        items = [audio] if isinstance(audio, Audio) else audio
        clips = []
        for index, item in enumerate(items):
            path = str(item) if isinstance(item, str | Path) else None
            clip = PendingClip(path or f"waveform {index}", path)
            clips.append(clip)
            try:
                clip.source = open_source(item, sample_rate)
                samples = clip.source.samples(self.config.front_end.sample_rate)
                clip.windows = cut_windows(samples, rule, self.compression, overlap)
            except UnusableAudioError as error:
                clip.fail(error, on_error)
        self._run([clip for clip in clips if clip.error is None], pooling, timeline, on_error, token_budget)
        return [self._prediction(clip, rule, top_k, timeline) for clip in clips]

    def _view_rule(self, window: float | None) -> ViewRule:
        """The rule that decides how many frames the model is given in one pass; `window` in s."""
        if window is None:
            return ViewRule(self.config, compression=self.compression)
        if not 0 < window < math.inf:
            raise ElasticASTError(f"window = {window} s: expected a length above 0")
        view, model, hop_ms = self.config.view, self.config.model, self.config.front_end.hop_ms
        # a fixed view counts frames at its first compression, a native one at compression 1
        frames = 1000 * window / hop_ms / (view.compression[0] if view.frames != "native" else 1.0)
        frames = max(1, round(frames / model.patch)) * model.patch
        rule = ViewRule(self.config, max_frames=frames, compression=self.compression)
        longest = rule.at(sys.maxsize, self.compression).frames
        if model.limit is not None and longest > model.limit:
            most = model.limit * hop_ms * self.compression / 1000
            raise ElasticASTError(
                f"window = {window} s is {longest} frames, but the position table has {model.limit} ({most:g} s)"
            )
        return rule

    def _run(self, clips: list[PendingClip], pooling: str, timeline: bool, on_error: str, budget: int) -> None:
        """Run the model on all windows of all clips, in batches of at most `budget` tokens."""
        device, encoded = next(self.model.parameters()).device, {}
        clip_of_window = [clip for clip in clips for _ in range(len(clip.windows))]
        tokens = [view_tokens(self.config, clip.windows.view) for clip in clip_of_window]
        # windows are decoded one by one, so that no more than one batch is in memory
        indices = self._encode_windows(clips, encoded, on_error)
        long = sum(clip.source.seconds for clip in clips) > LONG_SECONDS
        with Progress("predict", len(clip_of_window)) if long else nullcontext() as progress:
            for batch in token_batches(indices, tokens, budget):
                for group in self._groups(batch, encoded):
                    with torch.inference_mode():
                        logits = self.model(pack([encoded.pop(i) for i in group]).to(device)).float().cpu()
                    for index, row in zip(group, logits, strict=True):
                        clip_of_window[index].add(row, pooling, timeline)
                if progress:
                    progress.update(batch[-1] + 1)

    def _groups(self, batch: list[int], encoded: dict[int, PackedClip]) -> list[list[int]]:
        """Split a batch into groups for single forward passes: AST needs windows of equal length."""
        if not isinstance(self.config.model, ASTSettings):
            return [batch]
        groups: dict[int, list[int]] = {}
        for index in batch:
            groups.setdefault(encoded[index].time_patches, []).append(index)
        return list(groups.values())

    def _encode_windows(self, clips: list[PendingClip], encoded: dict[int, PackedClip], on_error: str) -> Iterator[int]:
        """Yield the index of each window in order, after adding its tokens to `encoded`.

        The windows of a file after an error in it are left out.
        """
        first, rate = 0, self.config.front_end.sample_rate
        for clip in clips:
            try:
                blocks = clip.windows.stream(clip.source.blocks(rate))
                waves = spans(blocks, clip.windows.starts.tolist(), clip.windows.span)
                for index, wave in enumerate(waves, start=first):
                    clip.low, clip.high = min(clip.low, wave.min().item()), max(clip.high, wave.max().item())
                    encoded[index] = self._encode(index, wave, clip.windows)
                    yield index
            except UnusableAudioError as error:
                clip.fail(error, on_error)
            first += len(clip.windows)

    def _encode(self, index: int, wave: Tensor, windows: Windows) -> PackedClip:
        """Tokens of one window from its waveform `[S]`."""
        log_mel = self.encoder.spectrogram(wave, windows.view.compression, whole=not any(windows.margins))
        return self.encoder.encode(log_mel, windows.view, index=index)

    def _prediction(self, clip: PendingClip, rule: ViewRule, top_k: int | None, timeline: bool) -> Prediction:
        seconds = clip.source.seconds if clip.source else 0.0
        if clip.error is not None:
            return Prediction(clip.path, seconds, error=clip.error)
        logits = clip.logits.float()
        best = self._scores(logits).sort(descending=True, stable=True)
        scores = {self.classes[i]: best.values[k].item() for k, i in enumerate(best.indices[:top_k].tolist())}
        windows = self._timeline(clip) if timeline else None
        fields = (clip.path, seconds, scores, len(clip.windows), self._flags(clip, rule))
        return Prediction(*fields, logits=logits, timeline=windows)

    def _scores(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.kind == "multi" else logits.softmax(-1)

    def _timeline(self, clip: PendingClip) -> Timeline:
        rate = self.config.front_end.sample_rate
        start = torch.from_numpy(clip.windows.starts).double() / rate
        end = start + (clip.windows.span - sum(clip.windows.margins)) / rate
        return Timeline(start, end, self._scores(torch.stack(clip.rows)))

    def _flags(self, clip: PendingClip, rule: ViewRule) -> tuple[str, ...]:
        frames, used, patch = clip.windows.frames, clip.windows.view.frames, self.config.model.patch
        padded = rule.fixed and rule.view.fill != "mask"
        # a native view always pads the last patch, which needs no flag
        short = patch <= frames < used and (padded or used - frames >= patch)
        flags = {
            f"padded: shorter than one patch of {patch} frames": frames < patch,
            f"padded: shorter than the model's {used} frames": short,
            "windowed": len(clip.windows) > 1,
            "silent": clip.high - clip.low < SILENT,
        }
        return tuple(flag for flag, is_set in flags.items() if is_set)


def _check(**given: Any) -> None:
    """Raise an error for invalid arguments, with the value and what is allowed."""
    for name, allowed in {"pooling": get_args(Pooling), "on_error": ("raise", "keep")}.items():
        if given[name] not in allowed:
            raise ElasticASTError(f"Unknown {name}: {given[name]!r}. Allowed: {', '.join(allowed)}")
    for name in ("sample_rate", "top_k"):
        if given[name] is not None and (given[name] != int(given[name]) or given[name] < 1):
            raise ElasticASTError(f"{name} = {given[name]!r}: expected a whole number above 0")
    if not 0 <= given["overlap"] < 1:
        raise ElasticASTError(f"overlap = {given['overlap']}: expected a share of the window, from 0 to below 1")


def load_pretrained(
    source: str | Path,
    *,
    classes: list[str] | None = None,
    frames: int | None = None,
    device: torch.device | str | None = None,
) -> AudioClassifier:
    """Load a trained model for inference.

    Parameters
    ----------
    source : str or Path
        Folder of a trained run, or any weights that `elasticast.models.pretrained.load_model` supports.
    classes : list of str, optional
        Names of the classes. If their number differs from that of the model, the head is replaced by an untrained one.
    frames : int, optional
        Length (frames) to use instead of that of the model. Positions are adapted to it.
    device : device, optional
        Device of the model. Default: the GPU if there is one.

    Raises
    ------
    DataError
        If the weights cannot be loaded, with the reason.
    """
    pretrained = load_model(source, classes=classes, frames=frames)
    LOG.info("%s: %s", source, pretrained.found)
    for (
        note
    ) in pretrained.notes:  # warnings appear even if logging is not configured, for example that the head is untrained
        LOG.warning("%s: %s", source, note)
    pretrained.model.to(device or default_device())
    return AudioClassifier(pretrained)
