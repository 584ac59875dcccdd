"""The interfaces of benchmarks of audio encoders: X-ARES, XARES-LLM, HEAR, and MAEB of mteb.

All are thin layers over :class:`Embedder`. `elasticast export --to encoders` writes the file that each benchmark loads.
This module has HEAR's functions: ``hear-validator elasticast.encoders.interfaces --model RUN``.

Shapes: B clips, S samples, T time patches of the longest clip, D width.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from elasticast.data.audio import MIN_SECONDS
from elasticast.data.stream import open_source
from elasticast.encoders.contract import Encoder, Frames
from elasticast.encoders.opening import open_encoder
from elasticast.errors import DataError
from elasticast.progress import LOG

HEAR_RATES = (16000, 22050, 44100, 48000)
"""Sample rates that HEAR allows (Hz)."""
LLM_RATE = 16000
"""Sample rate of the audio of XARES-LLM (Hz)."""


class Embedder(nn.Module):
    """Embeddings of clips, and over time, from waveforms of any sample rate and length.

    Waveforms are resampled as in prediction. Samples beyond full scale are clipped, and clips shorter than 25 ms are
    padded with zeros. It is always in evaluation mode, and no gradient reaches the encoder.

    Parameters
    ----------
    source : str or Encoder
        An encoder, or what :func:`~elasticast.encoders.opening.open_encoder` opens, such as the folder of a run.
    """

    def __init__(self, source: str | Encoder):
        super().__init__()
        self.encoder = source if isinstance(source, Encoder) else open_encoder(str(source))
        self.network = self.encoder.module
        self._told = False
        self.train(False)

    def train(self, mode: bool = True) -> "Embedder":
        """Stay in evaluation mode."""
        return super().train(False)

    def clips(self, waveforms: Sequence[Tensor], rate: int) -> Tensor:
        """Embeddings of clips `[B, D]`, of waveforms `[S]` at `rate` Hz."""
        return self.encoder.encode(self._prepared(waveforms, rate)).embeddings.clone()  # to be used with gradients

    def frames(self, waveforms: Sequence[Tensor], rate: int) -> list[Frames]:
        """Embeddings of each clip over time, of waveforms `[S]` at `rate` Hz.

        Raises
        ------
        DataError
            If the encoder has none.
        """
        found = self.encoder.frames(self._prepared(waveforms, rate))
        return [Frames(*(part.clone() for part in clip)) for clip in found]

    @cached_property
    def clip_dim(self) -> int:
        """Width of the embeddings of clips."""
        return self.clips([torch.zeros(self.native_rate)], self.native_rate).shape[1]

    @cached_property
    def frame_dim(self) -> int:
        """Width of the embeddings over time."""
        return self.frames([torch.zeros(self.native_rate)], self.native_rate)[0].embeddings.shape[1]

    @cached_property
    def hop_ms(self) -> float:
        """Time between two embeddings of a clip (ms)."""
        first, second = self.frames([torch.zeros(2 * self.native_rate)], self.native_rate)[0].seconds[:2]
        return round(1000 * float(second - first), 6)

    @property
    def native_rate(self) -> int:
        """Sample rate of the encoder (Hz)."""
        return self.encoder.card.sample_rate

    def _prepared(self, waveforms: Sequence[Tensor], rate: int) -> list[Tensor]:
        return [self._one(wave.detach().float().cpu(), rate) for wave in waveforms]

    def _one(self, wave: Tensor, rate: int) -> Tensor:
        if len(wave) and not self._told and wave.abs().max() > 1:
            LOG.warning("%s: samples beyond full scale (1) are clipped", self.encoder.card.name)
            self._told = True
        missing = int(MIN_SECONDS * rate) + 1 - len(wave)
        wave = nn.functional.pad(wave.clamp(-1, 1), (0, max(0, missing)))
        if rate == self.native_rate or not wave.isfinite().all():  # the encoder refuses what is not finite
            return wave
        return torch.cat(list(open_source(wave, rate).blocks(self.native_rate)))


class XAres(Embedder):
    """X-ARES 0.1: `[B, S]` to embeddings over time `[B, T, D]`. The name of a subclass has to end in ``Encoder``."""

    def __init__(self, source: str | Encoder):
        super().__init__(source)
        self.sampling_rate, self.output_dim, self.hop_size_in_ms = self.native_rate, self.frame_dim, self.hop_ms

    def forward(self, audio: Tensor) -> Tensor:
        """Embed clips of one length, at `sampling_rate`."""
        return torch.stack([clip.embeddings for clip in self.frames(audio, self.sampling_rate)]).to(audio.device)


class XAresLLM(Embedder):
    """XARES-LLM: audio `[B, S]` at 16 kHz and its mask to features `[B, T, D]` and their mask; 1 is what to keep."""

    def __init__(self, source: str | Encoder, **_: Any):
        super().__init__(source)
        self.output_dim = self.frame_dim

    def forward(self, audio: Tensor, audio_attention_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed clips without their padding; features after the end of a clip are 0."""
        kept = audio if audio_attention_mask is None else map(_kept, audio, audio_attention_mask)
        features = [clip.embeddings for clip in self.frames(list(kept), LLM_RATE)]
        mask = pad_sequence([torch.ones(len(clip), dtype=torch.long) for clip in features], batch_first=True)
        return pad_sequence(features, batch_first=True).to(audio.device), mask.to(audio.device)


def _kept(wave: Tensor, mask: Tensor) -> Tensor:
    return wave[mask.bool()]


class Hear(Embedder):
    """A model of HEAR. It takes the sample rate of the encoder if HEAR allows it, else 16 kHz.

    Encoders without embeddings over time have only embeddings of scenes.
    """

    def __init__(self, source: str | Encoder):
        super().__init__(source)
        self.sample_rate = self.native_rate if self.native_rate in HEAR_RATES else HEAR_RATES[0]
        self.scene_embedding_size = self.clip_dim
        try:
            self.timestamp_embedding_size = self.frame_dim
        except DataError:
            self.timestamp_embedding_size = self.clip_dim


def load_model(model_file_path: str = "") -> Hear:
    """HEAR: open the encoder `model_file_path`, see :func:`~elasticast.encoders.opening.open_encoder`."""
    if not model_file_path:
        raise DataError("load_model: model_file_path: expected the folder of a run or another encoder")
    return Hear(model_file_path)


def get_scene_embeddings(audio: Tensor, model: Hear) -> Tensor:
    """HEAR: embeddings of clips `[B, D]`, of `audio` `[B, S]`."""
    return model.clips(audio, model.sample_rate).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: Hear) -> tuple[Tensor, Tensor]:
    """HEAR: embeddings over time `[B, T, D]`, and their middles `[B, T]` in ms, of `audio` `[B, S]`."""
    found = model.frames(audio, model.sample_rate)
    embeddings, seconds = (torch.stack(parts) for parts in zip(*found, strict=True))
    return embeddings.to(audio.device), (1000 * seconds).float().to(audio.device)


class Maeb(Embedder):
    """A model of `mteb`, for its audio tasks (MAEB): `mteb.evaluate(Maeb(RUN), tasks)`."""

    def encode(
        self,
        inputs: Iterable[dict[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> np.ndarray:
        """Embed the clips of a data loader of mteb, `[B, D]`; names of tasks and splits are not used."""
        from mteb.models.modality_collators import AudioCollator

        inputs.collate_fn = AudioCollator(target_sampling_rate=self.native_rate)
        waves = ([torch.as_tensor(np.asarray(clip["array"])) for clip in batch["audio"]] for batch in inputs)
        return torch.cat([self.clips(batch, self.native_rate) for batch in waves]).numpy()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosines of all pairs."""
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Cosines of embeddings in the same place."""
        return (_unit(embeddings1) * _unit(embeddings2)).sum(-1)

    @cached_property
    def mteb_model_meta(self) -> Any:
        """What mteb says of the model in its results."""
        from mteb.models import ModelMeta

        card = self.encoder.card
        known = {
            "name": f"elasticast/{re.sub(r'[^A-Za-z0-9_.-]+', '-', card.name)}",
            "revision": card.revision,
            "n_parameters": self.encoder.parameters,
            "embed_dim": self.clip_dim,
            "framework": ["PyTorch"],
            "similarity_fn_name": "cosine",
            "use_instructions": False,
            "modalities": ["audio"],
        }
        return ModelMeta(**{**ModelMeta.create_empty().model_dump(exclude={"loader_kwargs"}), **known})


def _unit(embeddings: Any) -> Tensor:
    return nn.functional.normalize(torch.atleast_2d(torch.as_tensor(embeddings)), dim=-1)
