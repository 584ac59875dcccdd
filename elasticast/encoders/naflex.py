"""`NaFlexVit` of timm on log-mel spectrograms: any length, padded batches with a mask.

It is the nearest relative of ElasticAST: it pads where ElasticAST packs, and it resizes its table of positions to the
grid of each clip, where ElasticAST looks positions up by place.

Shapes: B clips, N patches of the longest clip, F mel bins, T frames.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.config import FrontEnd
from elasticast.config.reading import validate
from elasticast.data.features import log_mel
from elasticast.data.norm import Norm
from elasticast.data.stats import RELEASED
from elasticast.encoders.contract import Card, Encoded, Encoder, Tap
from elasticast.encoders.native import COMPRESSIONS
from elasticast.errors import DataError
from elasticast.files import is_file, read_json
from elasticast.models.device import default_device
from elasticast.models.trained import first_nonfinite
from elasticast.models.weights.sources import read_tensors

EXTRA = "pip install 'elasticast[timm]'"
FILES = ("config.json", "model.safetensors")
CONFIG_KEYS = ("cfg", "classes", "labels", "kind", "front_end", "norm", "licence")


class NaFlexEncoder(Encoder):
    """NaFlexVit with a front end of this package.

    Parameters
    ----------
    model : nn.Module
        `timm.models.naflexvit.NaFlexVit` with one input channel.
    card : Card
        Facts about the encoder.
    front_end : FrontEnd
        Settings of the log-mel.
    norm : Norm
        Normalisation of the log-mel.
    """

    def __init__(self, model: nn.Module, card: Card, front_end: FrontEnd, norm: Norm):
        self.module, self.card = model.eval().to(default_device()), card
        self._front_end, self._norm = front_end, norm
        self._patch = tuple(model.embeds.patch_size)
        self._tap = Tap(model.head)
        if front_end.mel_bins % self._patch[0]:
            raise DataError(
                f"{card.source}: front_end.mel_bins = {front_end.mel_bins}: expected a multiple of the patch height "
                f"{self._patch[0]}"
            )

    def _encode(self, waveforms: list[Tensor], compression: float) -> Encoded:
        clips = [self._patches(wave.float().cpu(), compression) for wave in waveforms]
        longest = max(len(patches) for patches, _ in clips)
        valid = torch.stack([torch.arange(longest) < len(patches) for patches, _ in clips])
        padded = [[F.pad(x, (0, 0, 0, longest - len(x))) for x in clip] for clip in clips]
        patches, places = (torch.stack(list(x)) for x in zip(*padded, strict=True))
        inputs = {"patches": patches, "patch_coord": places, "patch_valid": valid}
        logits = self.module({k: v.to(self.device) for k, v in inputs.items()})
        return Encoded(self._tap.take(), logits)

    def _patches(self, wave: Tensor, compression: float) -> tuple[Tensor, Tensor]:
        """Patches `[n, height * width]` of a clip and their (row, column) `[n, 2]`; its end is padded to a patch."""
        height, width = self._patch
        frames = self._norm(log_mel(wave, self._front_end, compression))
        frames = F.pad(frames, (0, -frames.shape[1] % width))
        grid = frames.unfold(0, height, height).unfold(1, width, width)
        rows, columns = grid.shape[:2]
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        return grid.reshape(rows * columns, height * width), places


def build(settings: dict[str, Any], name: str, source: str, **about: Any) -> NaFlexEncoder:
    """Build a NaFlexVit with random weights.

    Parameters
    ----------
    settings : dict
        `cfg`, the keyword arguments of `NaFlexVitCfg`; `classes`, the number of classes, or `labels`, their names;
        `kind`; `front_end`; `norm`, with `mean` and `std` (default: those of AudioSet).
    name, source
        See :class:`~elasticast.encoders.contract.Card`; `about` gives other fields of it.

    Raises
    ------
    DataError
        If timm is missing, or if a setting is not valid.
    """
    try:
        from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg
    except ImportError as error:
        raise DataError(f"{source}: needs the package timm: {EXTRA} ({error})") from None
    if unknown := settings.keys() - {*CONFIG_KEYS}:
        raise DataError(f"{source}: unknown keys {sorted(unknown)}; expected {', '.join(CONFIG_KEYS)}")
    labels = settings.get("labels")
    classes = len(labels) if labels else settings.get("classes", 0)
    front_end = validate(FrontEnd, settings.get("front_end", {}), source, "front_end")
    published = RELEASED["audioset"].norms["AST"]
    norm = Norm(**settings["norm"]) if "norm" in settings else published
    cfg = {key: tuple(x) if isinstance(x, list) else x for key, x in settings["cfg"].items()}
    try:
        model = NaFlexVit(NaFlexVitCfg(**cfg), in_chans=1, num_classes=classes)
    except (TypeError, ValueError, AssertionError) as error:
        raise DataError(f"{source}: cfg = {cfg}: {error}") from None
    card = Card(
        name=name,
        source=source,
        sample_rate=front_end.sample_rate,
        batching="masked",
        longer="one pass; the table of positions is resized to the clip",
        labels=tuple(labels) if labels else None,
        kind=settings.get("kind", "multi") if classes else None,
        compressions=COMPRESSIONS,
        hop_ms=front_end.hop_ms,
        **about,
    )
    return NaFlexEncoder(model, card, front_end, norm)


def open_naflex(folder: Path, name: str) -> NaFlexEncoder:
    """Load a NaFlexVit from a folder with ``config.json`` (see :func:`build`) and ``model.safetensors``.

    Raises
    ------
    DataError
        If a file is missing, or if the weights do not fit the settings.
    """
    for file in FILES:
        if not is_file(folder / file):
            raise DataError(f"{folder}: has no {file}; expected {' and '.join(FILES)}")
    settings, state = read_json(folder / FILES[0]), read_tensors(folder / FILES[1])
    if "cfg" not in settings:
        raise DataError(f"{folder / FILES[0]}: has no key cfg, the settings of NaFlexVit")
    encoder = build(settings, name, str(folder), licence=settings.get("licence", "not stated"))
    if wrong := first_nonfinite(state):
        raise DataError(f"{folder / FILES[1]}: tensor {wrong} holds values that are not finite")
    try:
        encoder.module.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{folder / FILES[1]}: does not fit {FILES[0]}: {error}") from None
    return encoder
