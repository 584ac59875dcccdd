"""Convert published state dicts: rename and reshape tensors, and derive the settings of the model."""

import math
from typing import Any

import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.reading import validate
from elasticast.data.norm import Norm
from elasticast.data.stats import RELEASED
from elasticast.errors import DataError
from elasticast.models.weights.layouts import AST, ELASTIC, HUGGING_FACE, SSAST, VIT, Layout
from elasticast.text import counted

MEL_BINS = 128
HEAD_DIM = 64
"""Channels per head of all ViTs from tiny to large. A state dict does not contain the number of heads."""
IDENTITY_NORM = Norm(0.0, 0.5)
"""Normalisation that does not change the log-mel."""
KNOWN_AST = {
    527: ("audioset", RELEASED["audioset"].norms["AST"], "multi", "bce"),
    50: ("esc50", RELEASED["esc50"].norms["AST"], "single", "ce"),
    35: ("speech_commands", RELEASED["speech_commands"].norms["AST"], "single", "bce"),
}
"""Dataset, normalisation, kind of task and loss of the published ASTs, by number of classes."""
KNOWN_ELASTIC = {
    527: ("audioset", RELEASED["audioset"].norms["ElasticAST"], "multi", "bce"),
    309: ("vggsound", RELEASED["vggsound"].norms["ElasticAST"], "single", "bce"),
    1251: ("voxceleb1", RELEASED["voxceleb1"].norms["ElasticAST"], "single", "ce"),
    44: ("epic_sounds", IDENTITY_NORM, "single", "ce"),
}
"""The same for the released ElasticASTs. The normalisation stated for EPIC-SOUNDS is never applied by its loader."""
LOSSES = {"multi": "bce", "single": "ce"}
"""Loss of other weights, by kind of task; Hugging Face trains with these, too."""
LOSS_NAMES = {"bce": "binary cross-entropy", "ce": "cross-entropy"}
EPIC_SOUNDS_FRAMES = 192
"""Length that the loader of the released ElasticAST pads shorter clips of EPIC-SOUNDS to."""
AST_STRIDES = (16, 10, 12, 14)
"""Strides of the published ASTs."""
AST_FRAMES = (1024, 128, 512)
"""Lengths of the published ASTs: AudioSet, Speech Commands, ESC-50."""


def convert_state(layout: Layout, state: dict[str, Tensor], where: str, hf_files: dict[str, Any]) -> dict[str, Any]:
    """Convert a state dict to the fields of :class:`~elasticast.models.weights.sources.Weights`.

    Parameters
    ----------
    layout : Layout
        Layout of the state dict.
    state : dict of str to Tensor
        Tensors by the names of the layout.
    where : str
        Source of the weights, for messages.
    hf_files : dict
        `config` and `preprocessor`, if Hugging Face files contain them.

    Returns
    -------
    dict
        Fields of `Weights` without `sha256`.

    Raises
    ------
    DataError
        If this package has no model with these shapes.
    """
    notes: list[str] = []
    hf_config = hf_files.get("config", {})
    tensors = layout.convert(state)
    _flatten_patches(tensors, where, notes)
    model = _size(tensors, layout.depth(state), hf_config, where, notes)
    if layout is ELASTIC:
        model |= {"kind": "elasticast", "attention_scale": "none"}
        frames = model["max_frames"] = model["patch"] * len(tensors["positions.time"])
        mel_bins = model["patch"] * len(tensors["positions.freq"])
    else:
        model |= {"kind": "ast", "prefix_tokens": _prefix(tensors)}
        model["stride"], frames, mel_bins = _split_positions(layout, tensors, hf_config, state, where, notes)
    _apply_layout_settings(layout, tensors, model, hf_config, where, notes)
    classes = len(tensors["head.weight"]) if "head.weight" in tensors else None
    dataset, norm, kind, loss = _trained_on(layout, classes, hf_files, notes)
    if dataset == "epic_sounds":
        config = _epic_sounds(model, frames, mel_bins, where, notes)
    else:
        rate = hf_files.get("preprocessor", {}).get("sampling_rate", 16000)
        view = {"frames": "native", "max_frames": frames} if layout is ELASTIC else {"frames": frames}
        config = _config(model, view, dataset, {"mel_bins": mel_bins, "sample_rate": rate}, where)
    config = config.model_copy(update={"train": config.train.model_copy(update={"loss": loss})})
    return {
        "description": _describe(layout, config, classes),
        "tensors": tensors,
        "config": config,
        "norm": norm,
        "kind": kind,
        "classes": _label_names(hf_config, classes),
        "image": layout is VIT,
        "notes": notes,
    }


def _flatten_patches(tensors: dict[str, Tensor], where: str, notes: list[str]) -> None:
    """Convert convolution weights `[D, colours, P, P]` to linear ones `[D, P*P]`; linear weights are not changed."""
    weight = tensors["patch_embed.weight"]
    if weight.ndim == 4:
        if weight.shape[2] != weight.shape[3]:
            raise DataError(f"{where}: patches of {weight.shape[2]} x {weight.shape[3]} are not square")
        if weight.shape[1] > 1:
            # as a grey image, a spectrogram has the same value in every colour channel
            notes.append(f"patch weights of {weight.shape[1]} colour channels summed")
        tensors["patch_embed.weight"] = weight.sum(1).flatten(1)


def _size(tensors: dict[str, Tensor], depth: int, hf_config: dict, where: str, notes: list[str]) -> dict[str, Any]:
    """Settings that follow from shapes, and the number of heads, which is assumed if not known."""
    dim, pixels = tensors["patch_embed.weight"].shape
    heads = hf_config.get("num_attention_heads")
    if heads is None:
        heads = dim // HEAD_DIM
        notes.append(
            f"{heads} heads assumed: width {dim}, {HEAD_DIM} channels per head as in every ViT from tiny to large"
        )
    if not heads or dim % heads:
        raise DataError(f"{where}: width {dim} is not a multiple of {HEAD_DIM}, the number of channels per head")
    hidden = len(tensors["trunk.blocks.0.mlp.fc1.weight"])
    return {"dim": dim, "depth": depth, "heads": heads, "mlp_ratio": hidden / dim, "patch": math.isqrt(pixels)}


def _prefix(tensors: dict[str, Tensor]) -> int:
    """Join CLS and distillation token to `prefix` `[p, D]`; returns p."""
    parts = [tensors.pop(name)[0] for name in ("cls", "dist") if name in tensors]
    tensors["prefix"] = torch.cat(parts)
    return len(tensors["prefix"])


def _split_positions(
    layout: Layout, tensors: dict[str, Tensor], hf_config: dict, state: dict, where: str, notes: list[str]
) -> tuple[int, int, int]:
    """Split positions `[1, p + F*T, D]` into `[p, D]` and `[1, D, F, T]`; returns stride, frames and mel bins."""
    positions, prefix = tensors.pop("grid"), len(tensors["prefix"])
    count, patch = positions.shape[1] - prefix, math.isqrt(tensors["patch_embed.weight"].shape[1])
    if layout is VIT:
        side = math.isqrt(count)
        stride, frames, bins = patch, patch * side, patch * side
    elif hf_config.get("frequency_stride") is not None:
        if hf_config["frequency_stride"] != hf_config["time_stride"]:
            raise DataError(
                f"{where}: frequency_stride = {hf_config['frequency_stride']} and time_stride = "
                f"{hf_config['time_stride']} differ; this package supports equal strides only"
            )
        stride, bins = hf_config["time_stride"], hf_config["num_mel_bins"]
        steps = (hf_config["max_length"] - patch) // stride
        frames = patch + steps * stride if stride == patch else hf_config["max_length"]
    else:
        stride, frames, bins = _guess_grid(count, patch, state, where, notes)
    freq, time = ((length - patch) // stride + 1 for length in (bins, frames))
    if freq * time != count:
        raise DataError(f"{where}: positions for {count} patches, expected {freq} x {time}")
    tensors["prefix_positions"] = positions[0, :prefix]
    tensors["positions.table"] = positions[:, prefix:].mT.unflatten(2, (freq, time))
    return stride, frames, bins


def _guess_grid(patches: int, patch: int, state: dict, where: str, notes: list[str]) -> tuple[int, int, int]:
    """Guess stride, frames and mel bins from a number of patches; prefers those of published models."""
    bins, known = MEL_BINS, AST_FRAMES
    if "p_input_tdim" in state:
        bins, known = int(state["p_input_fdim"]), (int(state["p_input_tdim"]),)
    shapes = {(s, t): ((bins - patch) // s + 1, (t - patch) // s + 1) for s in AST_STRIDES for t in known}
    for (stride, frames), (freq, time) in shapes.items():
        if freq * time == patches:
            return stride, frames, bins
    for stride in AST_STRIDES:
        freq = (bins - patch) // stride + 1
        if patches % freq == 0:
            notes.append(f"{patches} patches: {bins} mel bins and stride {stride} assumed")
            return stride, patch + (patches // freq - 1) * stride, bins
    raise DataError(
        f"{where}: positions for {patches} patches fit none of the strides {AST_STRIDES} with {bins} mel bins"
    )


def _apply_layout_settings(
    layout: Layout, tensors: dict[str, Tensor], model: dict[str, Any], hf_config: dict, where: str, notes: list[str]
) -> None:
    """Set what depends on the layout and not on shapes: epsilons, and the prefix tokens and pooling of SSAST."""
    if layout is AST:
        model["head_norm_eps"] = 1e-5  # the trunk has the epsilon of timm, the head the default of torch
    if layout is HUGGING_FACE:
        model["norm_eps"] = float(hf_config.get("layer_norm_eps", 1e-12))
        if hf_config.get("hidden_act", "gelu") != "gelu":
            raise DataError(f"{where}: hidden_act {hf_config['hidden_act']!r} is not supported, expected 'gelu'")
    if layout is SSAST:  # it was not distilled, and fine-tuning uses the mean over patches
        if model["prefix_tokens"] == 2:
            notes.append("distillation token and its position left out")
        tensors |= {name: tensors[name][:1] for name in ("prefix", "prefix_positions")}
        model |= {"prefix_tokens": 1, "pooling": "mean"}


def _trained_on(layout: Layout, classes: int | None, hf_files: dict, notes: list[str]) -> tuple[str, Norm, str, str]:
    """Dataset, normalisation, kind of task and loss: from files of Hugging Face, or from the number of classes."""
    known = (KNOWN_ELASTIC if layout is ELASTIC else KNOWN_AST).get(classes)
    dataset, norm, kind, loss = known or ("unknown", KNOWN_AST[527][1], "single", LOSSES["single"])
    preprocessor = hf_files.get("preprocessor", {})
    if "mean" in preprocessor and "std" in preprocessor:
        normalised = preprocessor.get("do_normalize", True)
        norm = Norm(preprocessor["mean"], preprocessor["std"]) if normalised else IDENTITY_NORM
        notes.append(f"normalisation from preprocessor_config.json: mean {norm.mean}, deviation {norm.std}")
    else:
        origin = f"that of {dataset}, {classes} classes" if known else "that of AudioSet, assumed"
        notes.append(f"normalisation: mean {norm.mean}, deviation {norm.std} ({origin})")
    problem = hf_files.get("config", {}).get("problem_type")
    if problem in ("multi_label_classification", "single_label_classification"):
        kind = problem.split("_")[0]
        loss = LOSSES[kind]
    elif classes is not None:
        labels = "single label" if kind == "single" else "several labels"
        notes.append(f"{labels} per clip, trained with {LOSS_NAMES[loss]}{'' if known else ', assumed'}")
    return dataset, norm, kind, loss


def _epic_sounds(model: dict[str, Any], frames: int, mel_bins: int, where: str, notes: list[str]) -> RunConfig:
    """Settings of the ElasticAST released for EPIC-SOUNDS, as in its published evaluation."""
    front_end = RELEASED["epic_sounds"].front_end.model_dump() | {"mel_bins": mel_bins}
    view = {"frames": "native", "max_frames": frames, "min_frames": min(EPIC_SOUNDS_FRAMES, frames), "fill": "edge"}
    notes.append(
        "front end of EPIC-SOUNDS: 24 kHz, hop 5 ms, magnitude STFT; clips are padded with their last frame, to "
        f"{view['min_frames']} frames or to whole patches (the published loader adds a patch even to whole ones)"
    )
    return _config(model, view, "epic_sounds", front_end, where)


def _config(
    model: dict[str, Any], view: dict[str, Any], dataset: str, front_end: dict[str, Any], where: str
) -> RunConfig:
    """Settings of a run with this model and view; those of training are placeholders until the loss is set."""
    value = {
        "experiment": "pretrained",
        "seed": 0,
        "dataset": dataset,
        "task": dataset,
        "front_end": front_end,
        "view": view,
        "model": model,
        "train": {"steps": 1, "batch": {"clips": 1}},
    }
    return validate(RunConfig, value, where)


def _describe(layout: Layout, config: RunConfig, classes: int | None) -> str:
    model, view = config.model, config.view
    size = f"{counted(model.depth, 'block')}, width {model.dim}"
    frames = view.max_frames if view.frames == "native" else view.frames
    if layout is VIT:
        return f"{layout.name}: {size}, images of {frames} x {frames}"
    head = f"{classes} classes" if classes else "no head"
    return f"{layout.name}: {size}, {config.front_end.mel_bins} x {frames} log-mel, stride {model.stride}, {head}"


def _label_names(hf_config: dict, classes: int | None) -> list[str] | None:
    labels = hf_config.get("id2label")
    if not isinstance(labels, dict) or len(labels) != classes:
        return None
    return [labels[key] for key in sorted(labels, key=int)]
