"""Small encoders with planted faults, which an audit has to find."""

import torch
from torch import nn

from elasticast.encoders import Card, Encoded, Encoder

RATE = 16000
FRAME = 160
BANDS = 24
CLASSES = 5


class Honest(Encoder):
    """Mean log power of a filter bank: every clip alone, any length from a frame."""

    batching = "grouped"
    compressions = (1.0, 2.0)

    def __init__(self):
        torch.manual_seed(0)
        self.module = nn.Linear(BANDS, CLASSES)
        name, hops = type(self).__name__, {"compressions": self.compressions, "hop_ms": 10.0}
        self.card = Card(name, "planted", RATE, self.batching, **hops)

    def bands(self, wave, hop=FRAME):
        if len(wave) < FRAME:
            raise ValueError("shorter than a frame")
        power = torch.fft.rfft(wave.unfold(0, FRAME, hop)).abs().square()
        return (power[:, : 3 * BANDS].unflatten(1, (BANDS, 3)).sum(2) + 1e-4).log()

    def embed(self, waveforms, compression):
        hop = round(FRAME * compression)
        return torch.stack([self.bands(wave, hop).mean(0) for wave in waveforms])

    def _encode(self, waveforms, compression):
        embeddings = self.embed(waveforms, compression)
        return Encoded(embeddings, self.module(embeddings))


class Padded(Honest):
    """Pads to the longest clip and takes the mean over the padding."""

    batching = "padded"

    def embed(self, waveforms, compression):
        longest = max(map(len, waveforms))
        return super().embed([nn.functional.pad(wave, (0, longest - len(wave))) for wave in waveforms], compression)


class LoudnessOfBatch(Honest):
    """A floor 40 dB below the loudest band of the whole batch, as `AmplitudeToDB(top_db)` without a channel axis."""

    def embed(self, waveforms, compression):
        bands = [self.bands(wave) for wave in waveforms]
        floor = max(b.max() for b in bands) - 9.2
        return torch.stack([b.clamp(min=floor).mean(0) for b in bands])


class OrderOfBatch(Honest):
    """Adds the place in the batch."""

    def embed(self, waveforms, compression):
        return super().embed(waveforms, compression) + torch.arange(len(waveforms))[:, None]


class Forgetful(Honest):
    """Dropout at inference."""

    def embed(self, waveforms, compression):
        return nn.functional.dropout(super().embed(waveforms, compression), 0.5)


class CutInSilence(Honest):
    """Uses the first 2 s."""

    def embed(self, waveforms, compression):
        return super().embed([wave[: 2 * RATE] for wave in waveforms], compression)


class AtMostThreeSeconds(Honest):
    """Raises an error above 3 s."""

    def embed(self, waveforms, compression):
        if max(map(len, waveforms)) > 3 * RATE:
            raise RuntimeError("the size of tensor a must match\nthe size of tensor b")
        return super().embed(waveforms, compression)


class Nothing(Honest):
    """Raises an error for every clip."""

    def embed(self, waveforms, compression):
        raise KeyError("input_values")


class Loudest(Honest):
    """The maximum over time, which a long background does not dilute."""

    def embed(self, waveforms, compression):
        return torch.stack([self.bands(wave).amax(0) for wave in waveforms])


class Quadratic(Honest):
    """Products between all pairs of frames."""

    def embed(self, waveforms, compression):
        return torch.stack([(b @ b.T @ b).mean(0) / len(b) for b in map(self.bands, waveforms)])


class Linear(Honest):
    """A product for each frame."""

    def embed(self, waveforms, compression):
        return torch.stack([(self.bands(wave) @ torch.ones(BANDS, 64)).mean(0)[:BANDS] for wave in waveforms])
