"""What every audio encoder has to offer: waveforms in, clip embeddings and logits out.

Shapes: B clips, C labels, D width of the embedding, S samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from elasticast.errors import DataError

Batching = Literal["packed", "masked", "padded", "grouped", "fixed"]
BATCHING = dict(
    zip(
        get_args(Batching),
        (
            "clips of different lengths are packed without padding",
            "shorter clips are padded, and a mask hides the padding",
            "shorter clips are padded without a mask",
            "a batch holds clips of one length; others run separately",
            "every clip is padded or cut to one fixed length",
        ),
        strict=True,
    )
)
"""How an encoder batches clips of different lengths, and what that means."""


@dataclass(frozen=True)
class Card:
    """Facts about an encoder.

    Attributes
    ----------
    name : str
        Name in tables and figures.
    source : str
        Where the weights are from.
    sample_rate : int
        Sample rate of the waveforms it takes (Hz).
    batching : {"packed", "masked", "padded", "grouped", "fixed"}
        How clips of different lengths are batched, see :data:`BATCHING`.
    native_seconds : float or None
        Longest input of one forward pass as trained (s). None if there is none, or if it is not known.
    longer : str
        What its documentation or code says about longer input.
    labels : tuple of str or None
        Names of the logits, in order. None if it has no logits or if their names are not known.
    kind : {"single", "multi"} or None
        Whether a clip has one label or several. None without logits.
    licence : str
        Licence of the weights.
    revision : str
        Commit, version or checksum of the weights.
    compressions : tuple of float
        Factors by which its hop can be lengthened; 1 is the hop of training.
    hop_ms : float or None
        Hop at compression 1 (ms).
    notes : tuple of str
        Assumptions and adaptations.
    """

    name: str
    source: str
    sample_rate: int
    batching: Batching
    native_seconds: float | None = None
    longer: str = "not stated"
    labels: tuple[str, ...] | None = None
    kind: Literal["single", "multi"] | None = None
    licence: str = "not stated"
    revision: str = "not stated"
    compressions: tuple[float, ...] = (1.0,)
    hop_ms: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        if self.batching not in BATCHING:
            raise DataError(f"{self.name}: batching = {self.batching!r}: expected one of {', '.join(BATCHING)}")


class Encoded(NamedTuple):
    """Outputs for a batch of clips, float32 on the CPU.

    Attributes
    ----------
    embeddings : Tensor
        `[B, D]`, one vector per clip.
    logits : Tensor or None
        `[B, C]`, before softmax or sigmoid.
    """

    embeddings: Tensor
    logits: Tensor | None = None


class Frames(NamedTuple):
    """Embeddings of a clip over time, float32 on the CPU.

    Attributes
    ----------
    embeddings : Tensor
        `[T, D]`.
    seconds : Tensor
        `[T]` float64, middle of what each embedding stands for; evenly spaced, and none after the end of the clip.
    """

    embeddings: Tensor
    seconds: Tensor


class Encoder(ABC):
    """An audio encoder. Subclasses set `card` and `module`, and define `_encode`, and `_frames` if they can.

    Attributes
    ----------
    card : Card
        Facts about the encoder.
    module : nn.Module
        The network, in evaluation mode.
    """

    card: Card
    module: nn.Module

    @abstractmethod
    def _encode(self, waveforms: list[Tensor], compression: float) -> Encoded:
        """Encode clips in one batch, as :meth:`encode`; any error of the encoder may be raised."""

    def _frames(self, waveforms: list[Tensor]) -> list[Frames]:
        """Embeddings over time, as :meth:`frames`; not all encoders have any."""
        raise DataError(f"{self.card.name}: has embeddings of clips, but none over time")

    @torch.inference_mode()
    def encode(self, waveforms: Sequence[Tensor], compression: float = 1.0) -> Encoded:
        """Encode clips in one batch.

        Parameters
        ----------
        waveforms : sequence of Tensor
            Clips `[S]`, float in [-1, 1], at the sample rate of the encoder. Their lengths may differ.
        compression : float
            Factor by which the hop is lengthened, one of `card.compressions`.

        Raises
        ------
        DataError
            If a waveform is not a vector of finite floats, or if an output is not finite.
        """
        if compression not in self.card.compressions:
            known = ", ".join(f"{c:g}" for c in self.card.compressions)
            raise DataError(f"{self.card.name}: compression = {compression:g}: expected one of {known}")
        self._check(waveforms)
        encoded = self._encode(list(waveforms), compression)
        found = Encoded(*(None if x is None else x.float().cpu() for x in encoded))
        if not all(x is None or x.isfinite().all() for x in found):
            raise DataError(f"{self.card.name}: the output is not finite")
        return found

    @torch.inference_mode()
    def frames(self, waveforms: Sequence[Tensor]) -> list[Frames]:
        """Embeddings of clips over time.

        Parameters
        ----------
        waveforms : sequence of Tensor
            As in :meth:`encode`.

        Raises
        ------
        DataError
            If the encoder has none, if a waveform is not a vector of finite floats, or if an output is not finite.
        """
        self._check(waveforms)
        found = self._frames(list(waveforms))
        if not all(clip.embeddings.isfinite().all() for clip in found):
            raise DataError(f"{self.card.name}: the output is not finite")
        return found

    def _check(self, waveforms: Sequence[Tensor]) -> None:
        for i, wave in enumerate(waveforms):
            if wave.ndim != 1 or not wave.is_floating_point() or not len(wave) or not wave.isfinite().all():
                raise DataError(f"{self.card.name}: waveform {i}: expected a vector of finite floats")

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.module.parameters()).device


class Tap:
    """Keep the input of a layer during a forward pass, to get the embedding that the classifier reads.

    Parameters
    ----------
    layer : nn.Module
        The layer; its first input is kept.
    """

    def __init__(self, layer: nn.Module):
        self._kept: Tensor | None = None
        layer.register_forward_pre_hook(self._keep)

    def _keep(self, _: nn.Module, inputs: tuple) -> None:
        self._kept = inputs[0]

    def take(self) -> Tensor:
        """The input of the last forward pass; it is forgotten."""
        kept, self._kept = self._kept, None
        return kept
