"""PaSST (Koutini et al. 2022) of the package `hear21passt`."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elasticast.data.packing import equally_long
from elasticast.encoders.contract import Card, Encoded, Encoder
from elasticast.errors import DataError
from elasticast.models.device import default_device
from elasticast.models.weights.sources import read_tensors

EXTRA = "pip install 'elasticast[passt]'"
SAMPLE_RATE = 32000
WINDOW_SECONDS = 10.0
ARCHITECTURE = "passt_s_swa_p16_128_ap476"
"""The model that `hear21passt.base` loads: stride 10, 10 s, AudioSet."""


class PasstEncoder(Encoder):
    """PaSST as `get_scene_embeddings` computes it: one pass up to 10 s, else the mean of windows.

    Parameters
    ----------
    wrapper : nn.Module
        `hear21passt.wrapper.PasstBasicWrapper` with `mode="all"`: logits and features, joined.
    card : Card
        Facts about the encoder.
    """

    def __init__(self, wrapper: nn.Module, card: Card):
        self.module, self.card = wrapper.eval().to(default_device()), card

    def _encode(self, waveforms: list[Tensor], compression: float) -> Encoded:
        rows: dict[int, Tensor] = {}
        for group in equally_long(list(map(len, waveforms))):
            audio = torch.stack([waveforms[i] for i in group]).float()
            with _quiet():
                found = self.module.get_scene_embeddings(audio.to(self.device))
            rows |= dict(zip(group, found, strict=True))
        joined = torch.stack([rows[i] for i in range(len(waveforms))])
        classes = self.module.net.num_classes
        return Encoded(joined[:, classes:], joined[:, :classes])


@contextlib.contextmanager
def _quiet():
    """Hide the shapes that the package prints, and its warnings about lengths that are not 10 s."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build(net: nn.Module, name: str, source: str, **about: Any) -> PasstEncoder:
    """Join a PaSST network with the front end of `hear21passt.base`; `about` gives other fields of the card."""
    from hear21passt.models.preprocess import AugmentMelSTFT
    from hear21passt.wrapper import PasstBasicWrapper

    mel = {"n_mels": 128, "win_length": 800, "hopsize": 320, "n_fft": 1024, "freqm": 48, "timem": 192}
    ranges = {"fmin_aug_range": 10, "fmax_aug_range": 2000}  # the second decides fmax: 15 kHz
    with _quiet():
        front_end = AugmentMelSTFT(sr=SAMPLE_RATE, **mel, **ranges)
        wrapper = PasstBasicWrapper(mel=front_end, net=net, mode="all")
    card = Card(
        name=name,
        source=source,
        sample_rate=SAMPLE_RATE,
        batching="grouped",
        native_seconds=WINDOW_SECONDS,
        longer="windows of 10 s each 2.5 s, reflected at the ends; outputs are averaged",
        kind="multi",
        **about,
    )
    return PasstEncoder(wrapper, card)


def open_passt(text: str, name: str) -> PasstEncoder:
    """Load PaSST: ``ARCHITECTURE`` downloads its weights, ``ARCHITECTURE@FILE`` reads them from a file.

    Raises
    ------
    DataError
        If the package is missing, or if the weights cannot be downloaded or do not fit.
    """
    arch, _, file = text.partition("@")
    get_model = _package(f"passt:{text}")
    try:
        with _quiet():
            net = get_model(arch=arch or ARCHITECTURE, pretrained=not file)
    except Exception as error:  # from the network, or of an unknown architecture
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"passt:{text}: not loaded ({type(error).__name__}: {reason}). Without network, give passt:{arch}@FILE "
            "with a file of weights"
        ) from None
    if file:
        try:
            net.load_state_dict(read_tensors(Path(file)))
        except RuntimeError as error:
            raise DataError(f"{file}: does not fit {arch}: {error}") from None
    return build(net, name, f"passt:{text}", licence="Apache-2.0", revision="hear21passt")


def _package(source: str) -> Any:
    try:
        from hear21passt.models.passt import get_model
    except ImportError as error:
        raise DataError(f"{source}: needs the package hear21passt: {EXTRA} ({error})") from None
    return get_model
