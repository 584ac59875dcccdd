"""Models of this package, and published ones that it loads, as encoders."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from elasticast.config.frames import hop_samples
from elasticast.data.packing import PackedBatch
from elasticast.data.views import ViewRule
from elasticast.encoders.contract import Card, Encoded, Encoder, Frames, Tap
from elasticast.encoders.over_time import frame_embeddings
from elasticast.errors import DataError
from elasticast.inference.classifier import AudioClassifier, load_pretrained
from elasticast.models.weights.hub import HF, card_licence, fetch

TOKEN_BUDGET = 16384
"""Maximum number of tokens per forward pass."""
BATCHES = {"any": "packed", "padded": "masked", "one": "grouped"}
"""How a model with native views batches, by the trait `lengths`."""
COMPRESSIONS = (1.0, 1.5, 2.0, 3.0, 4.0)


class _WithEmbedding(nn.Module):
    """Append the input of the head to the logits, so that both are pooled over windows alike."""

    def __init__(self, model: nn.Module, head: nn.Module):
        super().__init__()
        self.model, self.tap = model, Tap(head)

    def forward(self, batch: PackedBatch) -> Tensor:
        logits = self.model(batch)
        return torch.cat([logits.float(), self.tap.take().float()], -1)


class NativeEncoder(Encoder):
    """A model that :func:`~elasticast.inference.classifier.load_pretrained` loads.

    Clips longer than the model's view are cut into windows, and logits and embeddings are averaged over them.

    Parameters
    ----------
    classifier : AudioClassifier
        The model with its front end and labels.
    name, source : str
        See :class:`~elasticast.encoders.contract.Card`.
    licence, revision : str
        The same. By default the revision is the checksum of the weights.

    Raises
    ------
    DataError
        If the layer that computes the logits is not linear.
    """

    def __init__(
        self,
        classifier: AudioClassifier,
        name: str,
        source: str,
        *,
        licence: str = "not stated",
        revision: str | None = None,
    ):
        pretrained = classifier.pretrained
        config = pretrained.config
        traits = config.model.traits
        head = getattr(pretrained.model, traits.head[-1], None)
        if not isinstance(head, nn.Linear):
            raise DataError(
                f"{source}: the layer {traits.head[-1]!r}, which computes the logits, is not linear, so embeddings are "
                "not known"
            )
        self._sizes = head.out_features, head.in_features
        self.module = _WithEmbedding(pretrained.model, head).eval()
        # a classifier whose last outputs are the embedding; `kind` only decides probabilities, which are not used
        names = [*pretrained.classes, *(f"embedding {i}" for i in range(head.in_features))]
        self._classifier = AudioClassifier(replace(pretrained, model=self.module, classes=names, kind="multi"))
        self._plain, self._compression = classifier, self._classifier.compression
        seconds = ViewRule(config).span * hop_samples(config.front_end) / config.front_end.sample_rate
        self.card = Card(
            name=name,
            source=source,
            sample_rate=config.front_end.sample_rate,
            batching=BATCHES[traits.lengths] if config.view.frames == "native" else "fixed",
            native_seconds=seconds,
            longer=f"windows of {seconds:g} s that overlap by half; outputs are averaged",
            labels=tuple(pretrained.classes) if pretrained.classes_known else None,
            kind=pretrained.kind,
            licence=licence,
            revision=revision or f"sha256 {pretrained.sha256[:16]}",
            compressions=_compressions(classifier),
            hop_ms=config.front_end.hop_ms * self._compression,
            notes=(pretrained.description, *pretrained.notes),
        )

    def _encode(self, waveforms: list[Tensor], compression: float) -> Encoded:
        self._classifier.compression = self._compression * compression
        found = self._classifier.predict(waveforms, sample_rate=self.card.sample_rate, token_budget=TOKEN_BUDGET)
        logits, embeddings = torch.stack([p.logits for p in found]).split(self._sizes, -1)
        return Encoded(embeddings, logits)

    def _frames(self, waveforms: list[Tensor]) -> list[Frames]:
        if not hasattr(self.module.model, "frame_embeddings"):
            return super()._frames(waveforms)
        return frame_embeddings(self._plain, waveforms, TOKEN_BUDGET)


def _compressions(classifier: AudioClassifier) -> tuple[float, ...]:
    """Factors that the hop of a model can be lengthened by."""
    config = classifier.config
    if config.view.frames != "native" or config.default_compression != 1:
        return (1.0,)
    pools = config.view.resolution == "max_pool"
    return tuple(c for c in COMPRESSIONS if not pools or c == int(c))


def open_native(source: str, name: str) -> NativeEncoder:
    """Open a run, an export, a published file, a Hugging Face folder, or an AST in a repository of the Hub."""
    if not source.startswith(HF):
        return NativeEncoder(load_pretrained(source), name, source)
    snapshot = fetch(source)
    about = {"licence": card_licence(snapshot.folder) or "not stated", "revision": snapshot.revision}
    return NativeEncoder(load_pretrained(source), name, snapshot.source, **about)
