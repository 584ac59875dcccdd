"""Write an AST in the layout of Hugging Face, `ASTForAudioClassification` and `ASTFeatureExtractor` of transformers."""

from typing import Any

import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.data.norm import Norm
from elasticast.models.weights.layouts import HUGGING_FACE

MODEL_TYPE = "audio-spectrogram-transformer"
TRUNK = "audio_spectrogram_transformer"
"""Prefix of the names of all tensors but those of the classifier."""
WINDOW_MS, HOP_MS = 25.0, 10
"""Analysis window and hop of the feature extractor, which has no settings for them."""


def problems(config: RunConfig) -> list[str]:
    """Why a model cannot be written in this layout: one line per setting, empty if it can."""
    model, view, front_end = config.model, config.view, config.front_end
    if model.kind != "ast":
        return [f"model.kind = {model.kind!r}: the layout is that of 'ast'"]
    wanted: dict[str, tuple[Any, Any, str]] = {
        "model.prefix_tokens": (model.prefix_tokens, 2, "the layout has a CLS and a distillation token"),
        "model.pooling": (model.pooling, "cls", "the layout pools these two tokens"),
        "model.attention_scale": (model.attention_scale, "sqrt", "the layout has no other scaling"),
        "model.merge": (model.merge, None, "the layout merges no tokens"),
        "model.frame_head": (model.frame_head, False, "the layout has no logits of time patches"),
        "model.adapt": (model.adapt and model.adapt.kind, None, "the layout has no prompts or adapters"),
        "view.fill": (view.fill, "zeros", "the feature extractor pads with zeros"),
        "view.compression": (config.default_compression, 1, "the hop of the feature extractor is fixed"),
        "front_end.kind": (front_end.kind, "kaldi", "the feature extractor computes no other log-mel"),
        "front_end.window_ms": (front_end.window_ms, WINDOW_MS, "the window of the feature extractor is fixed"),
        "front_end.hop_ms": (front_end.hop_ms, HOP_MS, "the hop of the feature extractor is fixed"),
    }
    found = [
        f"{key} = {value!r}: {why} (expected {right!r})"
        for key, (value, right, why) in wanted.items()
        if value != right
    ]
    if view.frames == "native":
        found.append("view.frames = 'native': the layout has one length (expected a number of frames)")
    return found


def notes(config: RunConfig, kind: str) -> list[str]:
    """What the layout cannot say of a model, one line each."""
    found, model = [], config.model
    if model.head_norm_eps not in (None, model.norm_eps):
        found.append(
            f"model.head_norm_eps = {model.head_norm_eps:g} is written as model.norm_eps = {model.norm_eps:g}: the "
            "layout has one epsilon for all LayerNorms"
        )
    if kind == "single" and config.train.loss == "bce":
        found.append(
            "problem_type is multi_label_classification, although a clip has one label: scores are the sigmoid of the "
            "logits, as in training"
        )
    return found


def model_config(config: RunConfig, classes: list[str]) -> dict[str, Any]:
    """Content of `config.json`."""
    model = config.model
    names = {str(number): name for number, name in enumerate(classes)}
    return {
        "architectures": ["ASTForAudioClassification"],
        "model_type": MODEL_TYPE,
        "hidden_size": model.dim,
        "num_hidden_layers": model.depth,
        "num_attention_heads": model.heads,
        "intermediate_size": round(model.dim * model.mlp_ratio),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": model.norm_eps,
        "qkv_bias": True,
        "patch_size": model.patch,
        "frequency_stride": model.stride,
        "time_stride": model.stride,
        "max_length": config.view.frames,
        "num_mel_bins": config.front_end.mel_bins,
        "problem_type": f"{'multi' if config.train.loss == 'bce' else 'single'}_label_classification",
        "id2label": names,
        "label2id": {name: int(number) for number, name in names.items()},
        "dtype": "float32",
    }


def extractor_config(config: RunConfig, norm: Norm) -> dict[str, Any]:
    """Content of `preprocessor_config.json`. The extractor normalises as :class:`~elasticast.data.norm.Norm`."""
    return {
        "feature_extractor_type": "ASTFeatureExtractor",
        "sampling_rate": config.front_end.sample_rate,
        "num_mel_bins": config.front_end.mel_bins,
        "max_length": config.view.frames,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "do_normalize": True,
        "mean": norm.mean,
        "std": norm.std,
    }


def state(tensors: dict[str, Tensor], config: RunConfig) -> dict[str, Tensor]:
    """The state dict of `ASTForAudioClassification`, from that of an AST without :func:`problems`."""
    ours, edge = dict(tensors), config.model.patch
    positions = ours.pop("positions.table")[0].flatten(1).T  # frequency-major, as theirs
    ours["grid"] = torch.cat([ours.pop("prefix_positions"), positions])[None]
    ours["cls"], ours["dist"] = (token[None, None] for token in ours.pop("prefix"))
    ours["patch_embed.weight"] = ours["patch_embed.weight"].unflatten(1, (1, edge, edge))
    theirs = HUGGING_FACE.published(ours, config.model.depth)
    return {name if name.startswith("classifier.") else f"{TRUNK}.{name}": value for name, value in theirs.items()}
