"""Export a transformer as a graph of tensors, for `torch.export` and ONNX.

The graph begins with patches. The log-mel, padding and cropping are in :mod:`elasticast.inference.frontend`, of which
an export holds a copy.
"""

import contextlib
import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from elasticast.config import RunConfig
from elasticast.data.norm import Norm
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.errors import DataError
from elasticast.files import write_atomic
from elasticast.inference import frontend
from elasticast.inference.exported import Exported
from elasticast.models import build_model
from elasticast.models.graph import TensorModel, problems
from elasticast.progress import quiet

TORCH, ONNX, FRONT_END = "model.pt2", "model.onnx", Path(frontend.__file__).name
INPUTS, OUTPUTS = ("patches", "freq", "time", "seqlens"), ("logits", "frame_logits")
EXTRA = "pip install 'elasticast[onnx]'"
TOLERANCE = 1e-4
"""Largest difference allowed between the logits of a graph and of its model."""
Args = tuple[Tensor, ...]
Program = Callable[..., Tensor | Sequence[Tensor]]


def write_torch(exported: Exported, out: Path) -> None:
    """Write `model.pt2`, a program of `torch.export`; see :func:`_write` for errors."""

    def save(graph: nn.Module, args: Args, dynamic: dict[str, Any]) -> tuple[bytes, Program]:
        program, file = torch.export.export(graph, args, dynamic_shapes=dynamic), io.BytesIO()
        torch.export.save(program, file)
        return file.getvalue(), torch.export.load(io.BytesIO(file.getvalue())).module()

    call = f"""model = torch.export.load("{TORCH}").module()
{", ".join(_outputs(exported))} = model(*encode([waveform]))"""
    _write(exported, out, TORCH, save, f"import torch\nfrom frontend import encode\n\n{call}")


def write_onnx(exported: Exported, out: Path) -> None:
    """Write `model.onnx`; see :func:`_write` for errors."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  used by torch.onnx
    except ImportError as error:
        raise DataError(f"--to onnx: needs the packages onnx, onnxscript and onnxruntime: {EXTRA} ({error})") from None

    outputs = _outputs(exported)

    def save(graph: nn.Module, args: Args, dynamic: dict[str, Any]) -> tuple[bytes, Program]:
        names = {"input_names": list(INPUTS), "output_names": list(outputs)}
        program = torch.onnx.export(graph, args, dynamo=True, verbose=False, dynamic_shapes=dynamic, **names)
        content = program.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

        def run(*inputs: Tensor) -> list[Tensor]:
            values = {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=True)}
            return [torch.from_numpy(value) for value in session.run(outputs, values)]

        return content, run

    call = f"""session = onnxruntime.InferenceSession("{ONNX}")
names = "{'", "'.join(INPUTS)}"
inputs = dict(zip(names, (x.numpy() for x in encode([waveform]))))
{"(logits,)" if len(outputs) == 1 else ", ".join(outputs)} = session.run(None, inputs)"""
    _write(exported, out, ONNX, save, f"import onnxruntime\nfrom frontend import encode\n\n{call}")


def _write(exported: Exported, out: Path, name: str, save: Callable, use: str) -> None:
    """Write a graph, after comparing it with the model, and how to use it.

    Raises
    ------
    DataError
        If there is no graph of the model, or if its logits differ from those of the model.
    """
    weights, classes = exported.weights, exported.pretrained.classes
    config = weights.config
    if reasons := problems(config):
        listed = "".join(f"\n  {reason}" for reason in reasons)
        raise DataError(f"{exported.run}: cannot be written as a graph:{listed}\nUse --to elasticast")
    model = build_model(config, len(classes)).eval()
    model.load_state_dict(weights.tensors)
    tokens = Dim("tokens")
    dynamic = {name: {0: tokens} for name in INPUTS[:3]} | {INPUTS[3]: {0: Dim("clips")}}
    with torch.no_grad(), _quiet():
        content, program = save(TensorModel(model, config).eval(), _example(config, 3)[1], dynamic)
    difference = float(np.max([_difference(model, program, config, clips) for clips in (1, 2, 5)]))
    if not difference <= TOLERANCE:  # also if it is NaN
        raise DataError(f"{exported.run}: logits of {name} differ by {difference:.1e} from those of the model")
    write_atomic(out / name, lambda file: file.write_bytes(content))
    files, notes = [name], ["Attention needs memory for the square of the number of tokens of a batch"]
    if settings := _input_settings(config, weights.norm):
        write_atomic(out / FRONT_END, lambda file: file.write_bytes(Path(frontend.__file__).read_bytes()))
        files.append(FRONT_END)
    else:
        notes.append("No file computes the inputs: use elasticast.data.encoder.ClipEncoder of the package elasticast")
    about = {"format": name, "input": settings, "largest_difference": difference}
    exported.describe(out, files, _use(use, config), notes, **about)


def _use(code: str, config: RunConfig) -> str:
    """How to use a graph, in Markdown."""
    frames = "; `frame_logits` `[N, C]` are those of the time patch of each patch, so take rows with `freq` = 0"
    outputs = f"`logits` `[B, C]`{frames if config.model.frame_head else ''}"
    return (
        f"Inputs are `patches` `[N, {config.model.patch**2}]` float32, `freq` and `time` `[N]` int64, and `seqlens` "
        f"`[B]` int64, for B clips of N patches in all. The output is {outputs}. In this folder:\n\n"
        f"```python\n{code}  # waveform [S]: mono, {config.front_end.sample_rate} Hz, full scale 1\n```\n"
    )


def _example(config: RunConfig, clips: int) -> tuple[Any, Args]:
    """A batch of random clips, and the same as inputs of a graph; with native views, of lengths from 1 patch on."""
    model, view = config.model, config.view
    rows, longest = model.patches(config.front_end.mel_bins), model.patches(view.longest)
    generator, packed = torch.Generator().manual_seed(clips), []
    for number in range(clips):
        columns = min(number + 1, longest) if view.frames == "native" else longest
        patches = torch.randn(rows * columns, model.patch**2, generator=generator)
        packed.append(PackedClip(number, patches, *grid_positions(rows, columns), torch.empty(0)))
    batch = pack(packed)
    return batch, (batch.patches, batch.freq, batch.time, torch.tensor(batch.seqlens))


def _outputs(exported: Exported) -> Sequence[str]:
    """Names of the outputs of a graph."""
    return OUTPUTS[: 1 + exported.pretrained.config.model.traits.frames]


@torch.no_grad()
def _difference(model: nn.Module, program: Program, config: RunConfig, clips: int) -> float:
    """Largest difference between the logits of a graph and of its model."""
    (batch, args), frames = _example(config, clips), config.model.frame_head
    found, expected = program(*args), model(batch, frames=frames)
    pairs = [(found if isinstance(found, Tensor) else found[0], expected.clips if frames else expected)]
    if frames:
        pairs.append((found[1][batch.freq == 0], expected.frames))
    largest = max((a - b).abs().max().item() for a, b in pairs)
    return largest if all(a.isfinite().all() for a, _ in pairs) else math.nan


def _input_settings(config: RunConfig, norm: Norm) -> dict[str, Any] | None:
    """Settings of :mod:`elasticast.inference.frontend`; None if it does not compute the inputs of this model."""
    view, front_end, model = config.view, config.front_end, config.model
    plain = view.fill == "zeros" and view.tail == "fill" and config.default_compression == 1
    if front_end.kind != "kaldi" or not plain:
        return None
    native = view.frames == "native"
    return {
        "sample_rate": front_end.sample_rate,
        "mel_bins": front_end.mel_bins,
        "window_ms": front_end.window_ms,
        "hop_ms": front_end.hop_ms,
        "mean": norm.mean,
        "std": norm.std,
        "patch": model.patch,
        "stride": model.stride,
        "shortest": max(view.min_frames or 0, model.patch) if native else view.frames,
        "longest": view.longest,
    }


@contextlib.contextmanager
def _quiet():
    """Hide warnings and messages of the exporters, which say nothing that a user could change."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), quiet():
        warnings.simplefilter("ignore")
        yield
