"""Published state dicts as this package's: tensors in its shapes, and the settings of the model they belong to."""

import math
from typing import Any

import torch
from torch import Tensor

from elasticast.config import RunConfig
from elasticast.config.reading import validate
from elasticast.data.features import Norm
from elasticast.data.stats import RELEASED
from elasticast.errors import DataError
from elasticast.models.weights.layouts import AST, ELASTIC, HUGGING_FACE, SSAST, VIT, Layout

MEL_BINS = 128
HEAD_DIM = 64
"""Head dim of every ViT from tiny to large: state dicts do not tell the number of heads."""
AS_IT_IS = Norm(0.0, 0.5)
"""Normalisation that changes nothing."""
KNOWN_AST = {
    527: ("audioset", RELEASED["audioset"].norms["AST"], "multi"),
    50: ("esc50", RELEASED["esc50"].norms["AST"], "single"),
    35: ("speech_commands", RELEASED["speech_commands"].norms["AST"], "single"),
}
"""Dataset, normalisation and task of the published ASTs, by number of classes."""
KNOWN_ELASTIC = {
    527: ("audioset", RELEASED["audioset"].norms["ElasticAST"], "multi"),
    309: ("vggsound", RELEASED["vggsound"].norms["ElasticAST"], "single"),
    1251: ("voxceleb1", RELEASED["voxceleb1"].norms["ElasticAST"], "single"),
    44: ("epic_sounds", AS_IT_IS, "single"),
}
"""The same of the released ElasticASTs; that of EPIC-SOUNDS states a normalisation that its loader never applies."""
EPIC_SOUNDS_FRAMES = 192
"""What the released ElasticAST's loader fills shorter clips of EPIC-SOUNDS up to."""
AST_STRIDES = (16, 10, 12, 14)
AST_FRAMES = (1024, 128, 512)
"""Strides of the published ASTs and lengths they were trained at: AudioSet, speech commands, ESC-50."""


def converted(layout: Layout, state: dict[str, Tensor], where: str, about: dict[str, Any]) -> dict[str, Any]:
    """A recognised state dict as the fields of `Weights`.

    Parameters
    ----------
    layout : Layout
        What it was recognised as.
    state : dict of str to Tensor
        By the layout's names.
    where : str
        For messages.
    about : dict
        `config` and `preprocessor` of Hugging Face, as far as there are any.

    Raises
    ------
    DataError
        If its shapes are of no model that this package has.
    """
    notes: list[str] = []
    hugging = about.get("config", {})
    tensors = layout.convert(state)
    _flatten_patches(tensors, where, notes)
    model = _size(tensors, layout.depth(state), hugging, where, notes)
    if layout is ELASTIC:
        model |= {"kind": "elasticast", "attention_scale": "none"}
        frames = model["max_frames"] = model["patch"] * len(tensors["positions.time"])
        mel_bins = model["patch"] * len(tensors["positions.freq"])
    else:
        model |= {"kind": "ast", "prefix_tokens": _prefix(tensors)}
        model["stride"], frames, mel_bins = _split_positions(layout, tensors, hugging, state, where, notes)
    _particulars(layout, tensors, model, hugging, where, notes)
    classes = len(tensors["head.weight"]) if "head.weight" in tensors else None
    dataset, norm, kind = _trained_on(layout, classes, about, notes)
    if dataset == "epic_sounds":
        config = _epic_sounds(model, frames, mel_bins, where, notes)
    else:
        rate = about.get("preprocessor", {}).get("sampling_rate", 16000)
        config = _config(model, {"frames": frames}, dataset, {"mel_bins": mel_bins, "sample_rate": rate}, where)
    return {
        "found": _describe(layout, config, classes),
        "tensors": tensors,
        "config": config,
        "norm": norm,
        "kind": kind,
        "classes": _label_names(hugging, classes),
        "image": layout is VIT,
        "notes": notes,
    }


def _flatten_patches(tensors: dict[str, Tensor], where: str, notes: list[str]) -> None:
    """Convolution weights `[D, colours, P, P]` as linear ones `[D, P*P]`; a linear one stays."""
    weight = tensors["patch_embed.weight"]
    if weight.ndim == 4:
        if weight.shape[2] != weight.shape[3]:
            raise DataError(f"{where}: its patches of {weight.shape[2]} x {weight.shape[3]} are not square")
        if weight.shape[1] > 1:
            # a spectrogram shown as a grey image has the same value in every channel
            notes.append(f"patch weights of {weight.shape[1]} colour channels summed")
        tensors["patch_embed.weight"] = weight.sum(1).flatten(1)


def _size(tensors: dict[str, Tensor], depth: int, about: dict, where: str, notes: list[str]) -> dict[str, Any]:
    """Settings that shapes tell, and the number of heads, which they do not."""
    dim, pixels = tensors["patch_embed.weight"].shape
    heads = about.get("num_attention_heads")
    if heads is None:
        heads = dim // HEAD_DIM
        notes.append(f"{heads} heads: {dim} wide at {HEAD_DIM} a head, as every ViT from tiny to large")
    if not heads or dim % heads:
        raise DataError(f"{where}: {dim} wide is no multiple of {HEAD_DIM}, the width of a head")
    hidden = len(tensors["trunk.blocks.0.mlp.fc1.weight"])
    return {"dim": dim, "depth": depth, "heads": heads, "mlp_ratio": hidden / dim, "patch": math.isqrt(pixels)}


def _prefix(tensors: dict[str, Tensor]) -> int:
    """Join CLS and distillation token to `prefix` `[p, D]`; how many there are."""
    parts = [tensors.pop(name)[0] for name in ("cls", "dist") if name in tensors]
    tensors["prefix"] = torch.cat(parts)
    return len(tensors["prefix"])


def _split_positions(
    layout: Layout, tensors: dict[str, Tensor], about: dict, state: dict, where: str, notes: list[str]
) -> tuple[int, int, int]:
    """Positions `[1, p + F*T, D]` as `[p, D]` and `[1, D, F, T]`; returns stride, frames and mel bins."""
    positions, prefix = tensors.pop("grid"), len(tensors["prefix"])
    count, patch = positions.shape[1] - prefix, math.isqrt(tensors["patch_embed.weight"].shape[1])
    if layout is VIT:
        side = math.isqrt(count)
        stride, frames, bins = patch, patch * side, patch * side
    elif about.get("frequency_stride") is not None:
        if about["frequency_stride"] != about["time_stride"]:
            raise DataError(f"{where}: frequency and time stride differ, which this package has no model for")
        stride, bins = about["time_stride"], about["num_mel_bins"]
        steps = (about["max_length"] - patch) // stride
        frames = patch + steps * stride if stride == patch else about["max_length"]
    else:
        stride, frames, bins = _guess_grid(count, patch, state, where, notes)
    freq, time = ((length - patch) // stride + 1 for length in (bins, frames))
    if freq * time != count:
        raise DataError(f"{where}: positions of {count} patches, where {freq} x {time} are expected")
    tensors["prefix_positions"] = positions[0, :prefix]
    tensors["positions.table"] = positions[:, prefix:].mT.unflatten(2, (freq, time))
    return stride, frames, bins


def _guess_grid(patches: int, patch: int, state: dict, where: str, notes: list[str]) -> tuple[int, int, int]:
    """Stride, frames and mel bins behind a number of patches: of a published model, or of one like it."""
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
    raise DataError(f"{where}: positions of {patches} patches fit no stride of {AST_STRIDES} at {bins} mel bins")


def _particulars(
    layout: Layout, tensors: dict[str, Tensor], model: dict[str, Any], about: dict, where: str, notes: list[str]
) -> None:
    """What shapes do not tell: epsilons, and what of SSAST is used."""
    if layout is AST:
        model["head_norm_eps"] = 1e-5  # its trunk is timm's, its head has torch's default
    if layout is HUGGING_FACE:
        model["norm_eps"] = float(about.get("layer_norm_eps", 1e-12))
        if about.get("hidden_act", "gelu") != "gelu":
            raise DataError(f"{where}: activation {about['hidden_act']!r}, this package has 'gelu' only")
    if layout is SSAST:  # nothing was distilled, and what is fine-tuned pools the patches
        if model["prefix_tokens"] == 2:
            notes.append("distillation token and its position left out")
        tensors |= {name: tensors[name][:1] for name in ("prefix", "prefix_positions")}
        model |= {"prefix_tokens": 1, "pooling": "mean"}


def _trained_on(layout: Layout, classes: int | None, about: dict, notes: list[str]) -> tuple[str, Norm, str]:
    """Dataset, normalisation and kind of task, from what stands beside the weights or from the number of classes."""
    known = (KNOWN_ELASTIC if layout is ELASTIC else KNOWN_AST).get(classes)
    dataset, norm, kind = known or ("unknown", KNOWN_AST[527][1], "single")
    beside = about.get("preprocessor", {})
    if "mean" in beside and "std" in beside:
        norm = Norm(beside["mean"], beside["std"]) if beside.get("do_normalize", True) else AS_IT_IS
        notes.append(f"normalisation from preprocessor_config.json: mean {norm.mean}, deviation {norm.std}")
    else:
        why = f"known of {dataset}, {classes} classes" if known else "that of AudioSet, assumed"
        notes.append(f"normalisation: mean {norm.mean}, deviation {norm.std} ({why})")
    problem = about.get("config", {}).get("problem_type")
    if problem in ("multi_label_classification", "single_label_classification"):
        kind = problem.split("_")[0]
    elif classes is not None:
        notes.append(
            f"{kind} label a clip{'' if known else ', assumed'}" if kind == "single" else "several labels a clip"
        )
    return dataset, norm, kind


def _epic_sounds(model: dict[str, Any], frames: int, mel_bins: int, where: str, notes: list[str]) -> RunConfig:
    """Settings of the ElasticAST released for EPIC-SOUNDS: as its published evaluation shows it the clips."""
    front_end = RELEASED["epic_sounds"].front_end.model_dump() | {"mel_bins": mel_bins}
    view = {"frames": frames, "min_frames": min(EPIC_SOUNDS_FRAMES, frames), "fill": "edge"}
    notes.append(
        "front end of EPIC-SOUNDS: 24 kHz, hop 5 ms, magnitude STFT; clips are filled up with their last frame, to "
        f"{view['min_frames']} frames or a whole patch (the published loader adds a patch to clips of whole ones too)"
    )
    return _config(model, view, "epic_sounds", front_end, where)


def _config(
    model: dict[str, Any], view: dict[str, Any], dataset: str, front_end: dict[str, Any], where: str
) -> RunConfig:
    """A run's settings, as far as the weights decide them; how they were trained is not known."""
    if model["kind"] == "elasticast":
        view = view | {"frames": "native", "max_frames": view["frames"]}
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
    size = f"{model.depth} blocks, {model.dim} wide"
    frames = view.max_frames if view.frames == "native" else view.frames
    if layout is VIT:
        return f"{layout.name}: {size}, images of {frames} x {frames}"
    head = f"{classes} classes" if classes else "no head"
    return f"{layout.name}: {size}, {config.front_end.mel_bins} x {frames} log-mel, stride {model.stride}, {head}"


def _label_names(about: dict, classes: int | None) -> list[str] | None:
    labels = about.get("id2label")
    if not isinstance(labels, dict) or len(labels) != classes:
        return None
    return [labels[key] for key in sorted(labels, key=int)]
