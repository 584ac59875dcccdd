"""Audio encoders of any origin behind one contract: waveforms in, clip embeddings and logits out."""

from elasticast.encoders.contract import Card, Encoded, Encoder, Frames
from elasticast.encoders.opening import open_encoder

__all__ = ["Card", "Encoded", "Encoder", "Frames", "open_encoder"]
