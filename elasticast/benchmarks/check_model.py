"""Check that a model keeps the contract: `elasticast check-model`.

Each check is a function of a :class:`~elasticast.benchmarks.check_subject.Subject`. It returns what it measured, raises
:class:`ContractError`, or raises :class:`NotApplicableError` with the reason. Its docstring is its name in the table.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from elasticast.benchmarks.check_subject import Subject, alone, difference
from elasticast.benchmarks.timing import saved_bytes
from elasticast.config import PatchSize
from elasticast.data.packing import pack
from elasticast.errors import ElasticASTError
from elasticast.evaluation.flops import count_flops
from elasticast.models.chunks import ChunkMemory
from elasticast.models.embeddings import embed
from elasticast.progress import track

TOLERANCE = 1e-4
"""Largest difference in float32 of what is equal in exact arithmetic, relative to the largest logit."""
TOLERANCE_BF16 = 0.1
"""The same between float32 and bfloat16."""
EXPONENT = 1.15
"""Largest exponent of memory over tokens that counts as linear."""


class ContractError(Exception):
    """A model does not keep the contract; the message says how."""


class NotApplicableError(Exception):
    """A check that a model does not need; the message says why."""


class Result(NamedTuple):
    """The outcome of one check."""

    check: str
    outcome: Literal["passed", "failed", "not applicable"]
    detail: str


def check_model(subject: Subject) -> list[Result]:
    """Run all checks. An error of the model is a failure."""
    return [_run(check, subject) for check in track(CHECKS, len(CHECKS), "check-model")]


def _run(check: Callable[[Subject], str], subject: Subject) -> Result:
    name = (check.__doc__ or "").rstrip(".")
    try:
        return Result(name, "passed", check(subject))
    except NotApplicableError as reason:
        return Result(name, "not applicable", str(reason))
    except ContractError as error:
        return Result(name, "failed", str(error))
    except Exception as error:  # any, of the model's code
        lines = str(error).splitlines() or [""]
        return Result(name, "failed", f"{type(error).__name__}: {lines[0]}")


@torch.inference_mode()
def any_length(subject: Subject) -> str:
    """Any length."""
    model, longest = subject.model(), min(subject.longest, subject.limit or subject.longest)
    lengths = sorted({1, 2, 3, longest, *(int(4**k) for k in range(1, 8) if 4**k < longest)})
    for length in lengths:
        logits = model(subject.batch([length]))
        where = f"a clip of {length} time patches ({subject.seconds(length):.2f} s)"
        if tuple(logits.shape) != (1, subject.classes):
            raise ContractError(f"{where}: logits of shape {list(logits.shape)}, expected [1, {subject.classes}]")
        if not logits.isfinite().all():
            raise ContractError(f"{where}: logits are not finite")
    return f"{len(lengths)} lengths from one patch to {subject.seconds(longest):.4g} s"


@torch.inference_mode()
def beyond_positions(subject: Subject) -> str:
    """Longer clips than the positions cover are refused."""
    if subject.limit is None:
        raise NotApplicableError("its positions have no limit")
    seconds = subject.seconds(subject.limit + 1)
    try:
        subject.model()(subject.batch([subject.limit + 1]))
    except (ElasticASTError, ValueError, IndexError) as error:
        return f"{seconds:.2f} s: {type(error).__name__}"
    raise ContractError(
        f"a clip of {seconds:.2f} s is accepted, but the trait `longest` is {subject.traits.longest} frames"
    )


def _mixture(subject: Subject) -> list[int]:
    """Lengths of the clips of a batch, in time patches: as different as the model takes them."""
    if subject.traits.one_length:
        return [min(6, subject.limit or 6)] * 4
    return [min(length, subject.limit or length) for length in (3, 1, 17, 40, 1, 8)]


@torch.inference_mode()
def mixtures(subject: Subject) -> str:
    """Any mixture of lengths in a batch."""
    if not subject.traits.one_length:
        lengths = _mixture(subject)
        logits = subject.model()(subject.batch(lengths))
        if tuple(logits.shape) != (len(lengths), subject.classes):
            raise ContractError(f"logits of shape {list(logits.shape)}, expected [{len(lengths)}, {subject.classes}]")
        return f"{min(lengths)} to {max(lengths)} time patches in one batch"
    try:
        subject.model()(subject.batch([2, 4]))
    except (ElasticASTError, ValueError) as error:
        raise NotApplicableError(f"it takes one length per batch, and refuses two ({type(error).__name__})") from None
    raise ContractError("the trait `lengths` is 'one', but a batch of two lengths is accepted without an error")


@torch.inference_mode()
def packed_alone(subject: Subject) -> str:
    """A batch gives the same as its clips one by one."""
    model = subject.model()
    clips = [subject.clip(length, seed) for seed, length in enumerate(_mixture(subject))]
    return _equal(model(pack(clips)), alone(model, clips))


@torch.inference_mode()
def dropped_tokens(subject: Subject) -> str:
    """The same if tokens are left out."""
    if subject.traits.missing_tokens == "never":
        raise NotApplicableError("it takes no clips of which tokens are left out")
    model, clips = subject.model(), []
    for seed, length in enumerate(_mixture(subject)):
        clip, generator = subject.clip(length, seed), torch.Generator().manual_seed(seed)
        clips.append(clip.select(torch.randperm(len(clip.patches), generator=generator)[: 3 + seed].sort().values))
    return _equal(model(pack(clips)), alone(model, clips))


@torch.inference_mode()
def chunk_by_chunk(subject: Subject) -> str:
    """The same chunk by chunk, as in streams."""
    if not subject.traits.chunks:
        raise NotApplicableError("it keeps no chunks of a stream")
    context = getattr(subject.config.model, "context", None)
    size, count = (4, 1) if context is None else (context.chunk, 3)  # without the mask, tokens attend to later chunks
    if context is not None and context.past is not None:  # scores of a stream pool over the context only
        count = min(count, context.past_chunks + 1)
    model, clip, memory = subject.model(), subject.clip(size * count), ChunkMemory(count)
    options, found = {"frames": True} if subject.traits.frames else {}, []
    for number in range(count):
        part = clip.select(torch.nonzero(clip.time // size == number)[:, 0])
        part = replace(part, time=part.time - number * size, time_patches=size)
        found.append(model.next_chunk(pack([part]), memory, **options))
    logits, whole = found[-1], model(pack([clip]), **options)
    if subject.traits.frames:
        _equal(torch.cat([chunk.frames for chunk in found]), whole.frames)
        logits, whole = logits.clips, whole.clips
    return f"{count} of {size} time patches; {_equal(logits, whole)}"


@torch.inference_mode()
def other_patches(subject: Subject) -> str:
    """The same with patches of other sizes."""
    settings = subject.config.model
    if not subject.traits.patch_sizes or settings.stride != settings.patch:
        raise NotApplicableError("it takes patches of one size")
    model, edge = subject.model(), settings.patch
    sizes = [PatchSize(*size, edge, keep=False) for size in ((2 * edge, 2 * edge), (edge, 3 * edge), (edge, edge - 1))]
    together, single = [], []
    for size in (size for size in sizes if size.time and size.freq <= subject.freq * edge):
        most = size.rows(subject.freq, subject.limit)[1] if subject.limit else None
        lengths = [min(length, most or length) for length in _mixture(subject)]
        clips = [subject.clip(length, seed, size) for seed, length in enumerate(lengths)]
        together.append(model(pack(clips)))
        single.append(alone(model, clips))
    return f"{len(single)} sizes; {_equal(torch.cat(together), torch.cat(single))}"


@torch.inference_mode()
def order_of_clips(subject: Subject) -> str:
    """Permuted clips have permuted logits."""
    model = subject.model()
    clips = [subject.clip(length, seed) for seed, length in enumerate(_mixture(subject))]
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0)).tolist()
    return _equal(model(pack([clips[i] for i in order])), model(pack(clips))[order])


@torch.inference_mode()
def repeated(subject: Subject) -> str:
    """The same input twice gives the same."""
    model, batch = subject.model(), subject.batch(_mixture(subject))
    return _equal(model(batch), model(batch))


def _equal(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> str:
    error = difference(found, expected)
    text = f"largest difference {error:.1g} of the largest logit"
    if not error <= tolerance:
        raise ContractError(f"{text}, expected at most {tolerance:.1g}")
    return text


@torch.inference_mode()
def embeddings(subject: Subject) -> str:
    """Clip and frame embeddings, which do not depend on the batch."""
    model = subject.model()
    clips = [subject.clip(length, seed) for seed, length in enumerate(_mixture(subject))]
    found, single = embed(model, pack(clips)), [embed(model, pack([clip])) for clip in clips]
    if found.clips.ndim != 2 or len(found.clips) != len(clips):
        raise ContractError(f"the input of the head has shape {list(found.clips.shape)}, expected [{len(clips)}, D]")
    text = _equal(found.clips, torch.cat([one.clips for one in single]))
    if found.frames is None:
        return f"{found.clips.shape[1]} wide; {text}; no frame embeddings"
    for frames, one in zip(found.frames, single, strict=True):
        _equal(frames, one.frames[0])
    return f"{found.clips.shape[1]} wide; {text}; frame embeddings too"


def no_gradient_between(subject: Subject) -> str:
    """No gradient between clips."""
    for training in (False, True):
        model, batch = subject.model().train(training), subject.batch(_mixture(subject))
        batch.patches.requires_grad_()
        first = model(batch)[0].square().sum()
        parts = torch.autograd.grad(first, batch.patches)[0].split(batch.seqlens)
        mode = "training" if training else "evaluation"
        if not parts[0].any():
            raise ContractError(f"in {mode}, the logits of a clip do not depend on its patches")
        if other := next((i for i, part in enumerate(parts[1:], start=1) if part.any()), None):
            raise ContractError(f"in {mode}, the logits of clip 0 depend on the patches of clip {other}")
    return "in evaluation and in training"


def gradients(subject: Subject) -> str:
    """Every parameter gets a finite gradient."""
    model, batch = subject.model().train(), subject.batch(_mixture(subject))
    if subject.traits.frames:
        logits = model(batch, frames=True)
        (logits.clips.square().sum() + logits.frames.square().sum()).backward()
    else:
        model(batch).square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if without:
        raise ContractError(f"no gradient, which training on several GPUs does not allow: {_some(without)}")
    wrong = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    if wrong:
        raise ContractError(f"gradients that are not finite: {_some(wrong)}")
    return f"{sum(p.numel() for p in model.parameters()):,} parameters"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def state_dict(subject: Subject) -> str:
    """Saved and loaded weights give the same."""
    model, other = subject.model(), subject.build(seed=1)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "model.safetensors"
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
        other.load_state_dict(load_file(path))
        batch = subject.batch(_mixture(subject))
        return _equal(other(batch), model(batch), tolerance=0.0)


def head_only(subject: Subject) -> str:
    """Only the head depends on the classes."""
    few, many = (subject.build(classes).state_dict() for classes in (subject.classes, subject.classes + 3))
    heads = tuple(f"{name}." for name in subject.traits.head)
    changed = [name for name in few.keys() | many.keys() if name not in many or few[name].shape != many[name].shape]
    if outside := [name for name in changed if not name.startswith(heads)]:
        raise ContractError(f"not in the trait `head` {subject.traits.head}: {_some(sorted(outside))}")
    last = {name: value for name, value in few.items() if name.startswith(heads[-1])}
    if not last or any(len(value) != subject.classes for value in last.values()):
        raise ContractError(
            f"`{subject.traits.head[-1]}` is no linear layer with a row for each of {subject.classes} classes"
        )
    return ", ".join(subject.traits.head)


def layers(subject: Subject) -> str:
    """The trait `blocks` names a list of layers."""
    name = subject.traits.blocks
    if name is None:
        raise NotApplicableError("its traits name no `blocks`, so train.layer_decay is refused")
    found = dict(subject.model().named_modules()).get(name)
    if not isinstance(found, nn.ModuleList) or not len(found):
        raise ContractError(f"`{name}` is no nn.ModuleList with layers")
    return f"{len(found)} in {name}"


def bfloat16(subject: Subject) -> str:
    """Mixed precision (bfloat16)."""
    model, batch = subject.model(), subject.batch(_mixture(subject))
    with torch.inference_mode():
        expected = model(batch)
    with torch.autocast(batch.patches.device.type, torch.bfloat16):
        logits = model(batch)
    logits.float().square().sum().backward()
    if not all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None):
        raise ContractError("gradients are not finite")
    return _equal(logits.detach().float(), expected, TOLERANCE_BF16)


def memory(subject: Subject) -> str:
    """Memory grows with the tokens, no faster."""
    model, most = subject.model(), min(256, subject.limit or 256)
    lengths = [max(1, most // 8), most]
    if lengths[0] == lengths[1]:
        raise NotApplicableError(f"its positions reach {subject.seconds(most):.2f} s only")
    kept = [saved_bytes(lambda n=n: model(subject.batch([n])), model.parameters()) for n in lengths]
    exponent = math.log(kept[1] / kept[0]) / math.log(lengths[1] / lengths[0])
    text = f"kept for the backward pass: tokens to the power of {exponent:.2f}"
    if exponent > EXPONENT:
        raise ContractError(f"{text}, {kept[1] / 2**20:.1f} MiB for {subject.seconds(most):.3g} s; expected about 1")
    return f"{text}, {kept[1] / (most * subject.freq) / 1024:.1f} KiB per token"


def flops(subject: Subject) -> str:
    """The formula of FLOPs is what runs."""
    model, length = subject.model(), min(16, subject.limit or 16)
    settings, frames = model.settings, model.settings.traits.frames
    formula = settings.flops(subject.traits.row_tokens(length * subject.freq), subject.classes)
    if formula is not None and frames:
        formula += settings.frame_flops(length, subject.classes)
    counted = count_flops(model, subject.batch([length]), frames=frames)
    text = f"{counted / 1e6:,.1f} MFLOP for {length} time patches"
    if formula is None:
        raise NotApplicableError(
            f"it has no formula: they are counted, {counted / 1e6:,.1f} MFLOP for {length} time patches"
        )
    if formula != counted:
        raise ContractError(f"formula {formula:,}, counted {counted:,}")
    return text


CHECKS = (
    any_length,
    beyond_positions,
    mixtures,
    packed_alone,
    dropped_tokens,
    chunk_by_chunk,
    other_patches,
    order_of_clips,
    repeated,
    embeddings,
    no_gradient_between,
    gradients,
    state_dict,
    head_only,
    layers,
    bfloat16,
    memory,
    flops,
)


def table(results: list[Result]) -> str:
    """Format results as text, one line per check."""
    widths = [max(len(result[i]) for result in results) for i in range(2)]
    return "\n".join(f"{r.check:<{widths[0]}}  {r.outcome:<{widths[1]}}  {r.detail}".rstrip() for r in results)
