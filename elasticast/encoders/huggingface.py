"""Audio classifiers of the package `transformers`: AST, Wav2Vec2, HuBERT, WavLM, Whisper and others."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from elasticast.encoders.contract import Batching, Card, Encoded, Encoder, Tap
from elasticast.errors import DataError
from elasticast.files import is_file, read_json
from elasticast.models.device import default_device
from elasticast.models.weights.hub import HF, card_licence, fetch

EXTRA = "pip install 'elasticast[encoders]'"
FIXED = {"ASTFeatureExtractor", "WhisperFeatureExtractor"}
"""Feature extractors that pad or cut every clip to one length."""


class TransformersEncoder(Encoder):
    """A model of `transformers.AutoModelForAudioClassification` with its feature extractor.

    The embedding is what the last layer, `classifier`, reads.

    Parameters
    ----------
    model : nn.Module
        The model.
    extractor : object
        Feature extractor: its `__call__` takes arrays and returns tensors.
    card : Card
        Facts about the encoder.
    """

    def __init__(self, model: nn.Module, extractor: Any, card: Card):
        self.module, self._extractor, self.card = model.eval().to(default_device()), extractor, card
        self._tap = Tap(model.classifier)
        self._options = {} if card.batching == "fixed" else {"padding": True}

    def _encode(self, waveforms: list[Tensor], compression: float) -> Encoded:
        arrays = [wave.float().cpu().numpy() for wave in waveforms]
        rate = self.card.sample_rate
        inputs = self._extractor(arrays, sampling_rate=rate, return_tensors="pt", **self._options)
        logits = self.module(**{k: v.to(self.device) for k, v in inputs.items()}).logits
        return Encoded(self._tap.take(), logits)


def describe(model: nn.Module, extractor: Any, name: str, source: str, **about: Any) -> Card:
    """Card of a model and its feature extractor; `about` gives the other fields."""
    labels = [model.config.id2label[i] for i in sorted(model.config.id2label)]
    unnamed = labels == [f"LABEL_{i}" for i in range(len(labels))]
    multi = getattr(model.config, "problem_type", None) == "multi_label_classification"
    batching = _batching(extractor)
    seconds = _native_seconds(extractor) if batching == "fixed" else None
    return Card(
        name=name,
        source=source,
        sample_rate=extractor.sampling_rate,
        batching=batching,
        native_seconds=seconds,
        longer="cut by the feature extractor" if batching == "fixed" else "not stated",
        labels=None if unnamed else tuple(labels),
        kind="multi" if multi else "single",
        notes=(f"{type(model).__name__} and {type(extractor).__name__} of transformers",),
        **about,
    )


def _batching(extractor: Any) -> Batching:
    if type(extractor).__name__ in FIXED:
        return "fixed"
    return "masked" if getattr(extractor, "return_attention_mask", False) else "padded"


def _native_seconds(extractor: Any) -> float:
    """Fixed length (s): AST counts frames of 10 ms, Whisper seconds."""
    chunk = getattr(extractor, "chunk_length", None)
    return float(chunk) if chunk else extractor.max_length / 100


def open_transformers(source: str, name: str) -> TransformersEncoder:
    """Load a model from a folder or from a repository of the Hub, without running code in it.

    Raises
    ------
    DataError
        If `transformers` is missing, if the model needs code of its own, or if it cannot be loaded.
    """
    folder, about = Path(source), {}
    if source.startswith(HF):
        snapshot = fetch(source)
        folder, source, about = snapshot.folder, snapshot.source, {"revision": snapshot.revision}
    _check_folder(folder, source)
    try:
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
        from transformers.utils import logging
    except ImportError as error:
        raise DataError(f"{source}: needs the package transformers: {EXTRA} ({error})") from None
    logging.disable_progress_bar()
    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder, **safe)
        model = AutoModelForAudioClassification.from_pretrained(folder, weights_only=True, **safe)
    except Exception as error:  # many types are possible
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{source}: transformers cannot load it: {type(error).__name__}: {reason}") from None
    about["licence"] = card_licence(folder) or "not stated"
    return TransformersEncoder(model, extractor, describe(model, extractor, name, source, **about))


def _check_folder(folder: Path, source: str) -> None:
    """Check that a folder has settings, and needs no code of its own."""
    for file in ("config.json", "preprocessor_config.json"):
        if not is_file(folder / file):
            raise DataError(f"{source}: has no {file}; expected a folder of transformers")
        if needed := read_json(folder / file).get("auto_map"):
            raise DataError(
                f"{source}: {file}: auto_map = {needed}: the model needs code from its repository, which is never run. "
                "Write a file with a class that loads it, and give FILE.py:CLASS, see docs/audit.md"
            )


def model_type(folder: Path) -> str | None:
    """The `model_type` that a folder's config.json states; None without that file."""
    path = folder / "config.json"
    return read_json(path).get("model_type") if is_file(path) else None
