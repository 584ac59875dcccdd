"""Encoders with random weights in the exact layouts of published ones, to test and to try an audit."""

from collections.abc import Callable
from typing import Any

import torch

from elasticast.config import RunConfig
from elasticast.config.reading import validate
from elasticast.data.stats import RELEASED
from elasticast.encoders import huggingface, naflex, passt
from elasticast.encoders.contract import Encoder
from elasticast.encoders.native import NativeEncoder
from elasticast.errors import DataError
from elasticast.inference.classifier import AudioClassifier
from elasticast.models import build_model
from elasticast.models.device import default_device
from elasticast.models.pretrained import Pretrained

SIZES = {"mini": (96, 3, 3), "tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
"""Width, depth and number of heads of ViTs."""
CLASSES = 527
ABOUT = {"licence": "none: random weights", "revision": "seed 0"}


def _native(
    model: dict[str, Any], view: dict[str, Any], name: str, size: tuple[int, int, int], source: str
) -> NativeEncoder:
    model |= dict(zip(("dim", "depth", "heads"), size, strict=True))
    settings = {
        "experiment": "random",
        "seed": 0,
        "dataset": "audioset",
        "task": "audioset",
        "front_end": {},
        "view": view,
        "model": model,
        "train": {"steps": 1, "batch": {"clips": 1}},
    }
    config = validate(RunConfig, settings, source)
    about = {
        "description": f"{config.model.kind}, {config.model.summary}",
        "notes": [],
        "sha256": "",
        "classes_known": False,
    }
    net = build_model(config, CLASSES).eval().to(default_device())
    norm, names = RELEASED["audioset"].norms["AST"], [f"class_{i:03d}" for i in range(CLASSES)]
    return NativeEncoder(AudioClassifier(Pretrained(net, config, norm, names, "multi", **about)), name, source, **ABOUT)


def _naflex(name: str, size: tuple[int, int, int], source: str) -> Encoder:
    dim, depth, heads = size
    cfg = {
        "patch_size": (16, 16),
        "embed_dim": dim,
        "depth": depth,
        "num_heads": heads,
        "pos_embed": "factorized",
        "pos_embed_grid_size": (8, 64),
        "global_pool": "avg",
        "class_token": False,
    }
    return naflex.build({"cfg": cfg, "classes": CLASSES}, name, source, **ABOUT)


def _passt(name: str, size: tuple[int, int, int], source: str) -> Encoder:
    passt._package(source)
    from hear21passt.models.passt import PaSST

    dim, depth, heads = size
    shape = {"img_size": (128, 998), "stride": (10, 10), "num_classes": CLASSES, "distilled": True}
    with passt._quiet():
        net = PaSST(embed_dim=dim, depth=depth, num_heads=heads, **shape)
    return passt.build(net, name, source, **ABOUT)


def _transformers(kind: str, name: str, size: tuple[int, int, int], source: str) -> Encoder:
    try:
        import transformers as t
    except ImportError as error:
        raise DataError(f"{source}: needs the package transformers: {huggingface.EXTRA} ({error})") from None
    dim, depth, heads = size
    sizes = {"hidden_size": dim, "num_hidden_layers": depth, "num_attention_heads": heads, "num_labels": CLASSES}
    if kind == "hf-ast":
        model = t.ASTForAudioClassification(t.ASTConfig(intermediate_size=4 * dim, **sizes))
        extractor = t.ASTFeatureExtractor()
    elif kind == "whisper":
        parts = {"d_model": dim, "encoder_layers": depth, "encoder_attention_heads": heads, "encoder_ffn_dim": 4 * dim}
        model = t.WhisperForAudioClassification(t.WhisperConfig(num_labels=CLASSES, decoder_layers=1, **parts))
        extractor = t.WhisperFeatureExtractor()
    else:
        groups = {"num_conv_pos_embedding_groups": heads, "intermediate_size": 4 * dim}
        model = t.Wav2Vec2ForSequenceClassification(t.Wav2Vec2Config(**sizes, **groups))
        extractor = t.Wav2Vec2FeatureExtractor(return_attention_mask=False)  # as of wav2vec2-base
    card = huggingface.describe(model, extractor, name, source, **ABOUT)
    return huggingface.TransformersEncoder(model, extractor, card)


KINDS: dict[str, Callable[..., Encoder]] = {
    "elasticast": lambda *a: _native({"kind": "elasticast"}, {"frames": "native", "max_frames": 1024}, *a),
    "ast": lambda *a: _native({"kind": "ast", "prefix_tokens": 2, "stride": 10}, {"frames": 1024}, *a),
    "naflexvit": _naflex,
    "passt": _passt,
    "hf-ast": lambda *a: _transformers("hf-ast", *a),
    "whisper": lambda *a: _transformers("whisper", *a),
    "wav2vec2": lambda *a: _transformers("wav2vec2", *a),
}


def open_random(text: str, name: str) -> Encoder:
    """Build an encoder with random weights: ``KIND`` or ``KIND/SIZE``; the same text always gives the same weights.

    Raises
    ------
    DataError
        If the kind or the size is not known, or if a package is missing.
    """
    kind, _, size = text.partition("/")
    size = size or "tiny"
    for what, value, known in (("kind", kind, KINDS), ("size", size, SIZES)):
        if value not in known:
            raise DataError(f"random:{text}: unknown {what} {value!r}; expected one of: {', '.join(known)}")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = KINDS[kind](name, SIZES[size], f"random:{text}")
        _shake(encoder)
    return encoder


def _shake(encoder: Any) -> None:
    """Give parameters that start at zero, such as biases, positions and heads, small random values."""
    with torch.no_grad():
        for parameter in encoder.module.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
