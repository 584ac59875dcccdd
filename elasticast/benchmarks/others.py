"""ElasticAST compared with other implementations of the same kind of transformer, each as its project offers it.

They have random weights and the sizes of one model: depth, width, heads, MLP, patches. They differ in details, such as
positions, pooling and normalisation, so that their outputs differ; :func:`measure_others` states their numbers of
parameters. The packages are installed with the extra ``bench``.

Shapes: B clips, L patches of the longest clip, F mel bins, T frames of a clip.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elasticast.benchmarks.batching import BACKWARD, CLASSES, Layout
from elasticast.benchmarks.padding import PASSES, run_step, speed
from elasticast.benchmarks.passes import Pass, Trained, WholeModel
from elasticast.benchmarks.timing import peak_bytes, time_with_peak
from elasticast.config import RunConfig
from elasticast.errors import ElasticASTError
from elasticast.progress import track

EXTRA = "pip install 'elasticast[bench]'"
ROW_TOKENS = 2048
"""Most tokens in a row of NaViT, L' of the ElasticAST paper; more if a clip has more."""
MIB = 2**20


class Built(NamedTuple):
    """An implementation with random weights.

    Attributes
    ----------
    model : nn.Module
        The model.
    forward : callable
        Computes logits `[B, CLASSES]` of all clips; a training loop would do the same for each batch.
    computed : int
        Number of patches that go through the model, including padding.
    """

    model: nn.Module
    forward: Callable[[], Tensor]
    computed: int


class Other(Trained):
    """A built implementation, as a subject of :func:`~elasticast.benchmarks.padding.run_step`."""

    def __init__(self, built: Built, precision: str, device: torch.device):
        self.model = built.model
        self._make_trainable(precision, device)
        self.forward = self._autocast(built.forward)


def _navit(config: RunConfig, clips: list[Tensor]) -> Built:
    """NaViT of vit-pytorch: rows of several clips under a dense mask, each padded to the fullest."""
    from vit_pytorch.na_vit import NaViT, group_images_by_max_seq_len

    model = NaViT(**_navit_sizes(config, clips), token_dropout_prob=None)
    images, patch = [clip[None] for clip in clips], config.model.patch
    counts = _counts(clips, patch)
    limit = max(ROW_TOKENS, *counts)
    rows = group_images_by_max_seq_len(images, patch, max_seq_len=limit)
    fullest = max(sum(_counts([image[0] for image in row], patch)) for row in rows)
    forward = functools.partial(model, images, group_images=True, group_max_seq_len=limit)
    return Built(model, forward, fullest * len(rows))


def _navit_nested(config: RunConfig, clips: list[Tensor]) -> Built:
    """NaViT of vit-pytorch with PyTorch's nested tensors: no padding."""
    from vit_pytorch.na_vit_nested_tensor import NaViT

    model = NaViT(**_navit_sizes(config, clips), qk_rmsnorm=False, token_dropout_prob=0.0)
    images = [clip[None] for clip in clips]
    return Built(model, lambda: model(images), sum(_counts(clips, config.model.patch)))


def _navit_sizes(config: RunConfig, clips: list[Tensor]) -> dict[str, object]:
    model = config.model
    return {
        "image_size": (config.front_end.mel_bins, max(clip.shape[1] for clip in clips)),
        "patch_size": model.patch,
        "num_classes": CLASSES,
        "dim": model.dim,
        "depth": model.depth,
        "heads": model.heads,
        "dim_head": model.dim // model.heads,
        "mlp_dim": round(model.dim * model.mlp_ratio),
        "channels": 1,
    }


def _naflex(config: RunConfig, clips: list[Tensor]) -> Built:
    """NaFlexVit of timm: a batch padded to its longest clip, under an additive mask."""
    from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg

    sizes, freq = config.model, config.model.patches(config.front_end.mel_bins)
    counts = _counts(clips, sizes.patch)
    cfg = NaFlexVitCfg(
        patch_size=sizes.patch,
        embed_dim=sizes.dim,
        depth=sizes.depth,
        num_heads=sizes.heads,
        mlp_ratio=sizes.mlp_ratio,
        class_token=False,
        global_pool="avg",
        pos_embed_grid_size=(freq, max(counts) // freq),
    )
    model = NaFlexVit(cfg, in_chans=1, num_classes=CLASSES)
    patches = [_patches(clip, sizes.patch) for clip in clips]
    places = [torch.cartesian_prod(torch.arange(freq), torch.arange(n // freq)) for n in counts]

    def forward() -> Tensor:
        longest = max(counts)
        valid = torch.stack([torch.arange(longest) < n for n in counts]).to(patches[0].device)
        padded = [torch.stack([F.pad(x, (0, 0, 0, longest - len(x))) for x in part]) for part in (patches, places)]
        return model({"patches": padded[0], "patch_coord": padded[1].to(valid.device), "patch_valid": valid})

    return Built(model, forward, max(counts) * len(clips))


def _huggingface(config: RunConfig, clips: list[Tensor]) -> Built:
    """AST of Hugging Face's transformers: clips padded to the longest, without a mask."""
    from transformers import ASTConfig, ASTForAudioClassification

    sizes, longest = config.model, max(clip.shape[1] for clip in clips)
    settings = ASTConfig(
        hidden_size=sizes.dim,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        intermediate_size=round(sizes.dim * sizes.mlp_ratio),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        patch_size=sizes.patch,
        frequency_stride=sizes.patch,
        time_stride=sizes.patch,
        max_length=longest,
        num_mel_bins=config.front_end.mel_bins,
        num_labels=CLASSES,
    )
    model = ASTForAudioClassification(settings)

    def forward() -> Tensor:
        padded = torch.stack([F.pad(clip, (0, longest - clip.shape[1])) for clip in clips])
        return model(input_values=padded.transpose(1, 2)).logits

    freq = sizes.patches(config.front_end.mel_bins)
    return Built(model, forward, (freq * (longest // sizes.patch) + 2) * len(clips))  # CLS and distillation token


OTHERS: dict[str, Callable[[RunConfig, list[Tensor]], Built]] = {
    "vit-pytorch-navit": _navit,
    "vit-pytorch-navit-nested": _navit_nested,
    "timm-naflexvit": _naflex,
    "huggingface-ast": _huggingface,
}
"""Name of each implementation to the function that builds it."""


def _counts(clips: list[Tensor], patch: int) -> list[int]:
    return [(clip.shape[0] // patch) * (clip.shape[1] // patch) for clip in clips]


def _patches(clip: Tensor, patch: int) -> Tensor:
    """Patches `[n, patch * patch]` of a clip `[F, T]`."""
    return clip.unfold(0, patch, patch).unfold(1, patch, patch).reshape(-1, patch * patch)


def select_others(names: Sequence[str]) -> list[str]:
    """Names of implementations; all if `names` is empty.

    Raises
    ------
    ElasticASTError
        If a name is not a key of :data:`OTHERS`.
    """
    for name in names:
        if name not in OTHERS:
            raise ElasticASTError(f"--other {name}: unknown implementation; expected one of {', '.join(OTHERS)}")
    return list(names or OTHERS)


def measure_others(
    config: RunConfig,
    tokens: Sequence[int],
    names: Sequence[str],
    backend: str,
    *,
    device: torch.device,
    precision: str = "fp32",
    rounds: int = 7,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Time ElasticAST, packed, and other implementations alternately on the same clips.

    Parameters
    ----------
    config : RunConfig
        Settings with an ElasticAST, whose sizes all implementations get.
    tokens : sequence of int
        Number of patches of each clip.
    names : sequence of str
        Keys of :data:`OTHERS`.
    backend : str
        Attention of ElasticAST, see :class:`~elasticast.models.attention.ClipMask`.
    device : torch.device
        Device to compute on.
    precision : {"fp32", "bf16"}
        Precision, by autocast.
    rounds : int
        Number of timings.
    seed : int
        Seed of weights and inputs.

    Returns
    -------
    table : DataFrame
        One row per ``pass`` (see :data:`~elasticast.benchmarks.padding.PASSES`) and ``implementation``. Other columns:
        ``parameters``, ``tokens`` (patches of the clips), ``tokens_computed`` (with padding and extra tokens),
        ``peak_mib`` (GPU only), those of :func:`~elasticast.benchmarks.padding.speed`, with ratios to ElasticAST, and
        those of :func:`~elasticast.benchmarks.timing.time_with_peak`, for the operations that ElasticAST needs.
    left_out : dict of str to str
        Implementations that could not be built or run here, with the reason.
    """
    ours = WholeModel(config, tokens, device, precision, seed)
    packed = ours.prepare(Layout(tuple(range(len(tokens))), backend))
    subjects: dict[str, tuple[Trained, list[Pass], int]] = {"elasticast": (ours, [packed], sum(tokens))}
    clips, left_out = _random_clips(config, tokens, device, seed), {}
    for name in names:
        try:
            built = OTHERS[name](config, clips)
            built.model.to(device)
            other = Other(built, precision, device)
            passes = [Pass(other.forward, slice(None), packed.target, ours.gradient)]
            run_step(other, passes, "step")  # some cannot compute gradients on a CPU
        except ImportError as error:
            left_out[name] = f"{error}; {EXTRA}"
            continue
        except (RuntimeError, NotImplementedError) as error:
            left_out[name] = f"fails with torch {torch.__version__} on {device.type}: {str(error).splitlines()[0]}"
            continue
        subjects[name] = other, passes, built.computed
    rows, forward = [], sum(config.model.flops(n, CLASSES) for n in tokens)
    for what in track(PASSES, len(PASSES), "bench others"):
        operations = forward * (1 if what == "forward" else 1 + BACKWARD)
        rows += _time(subjects, what, tokens, rounds, device, precision, operations)
    return pd.DataFrame(rows), left_out


def _random_clips(config: RunConfig, tokens: Sequence[int], device: torch.device, seed: int) -> list[Tensor]:
    """Spectrograms `[F, T]` that are cut into the given numbers of patches."""
    generator, bins = torch.Generator().manual_seed(seed), config.front_end.mel_bins
    columns = [n // config.model.patches(bins) for n in tokens]
    return [torch.randn(bins, n * config.model.patch, generator=generator).to(device) for n in columns]


def _time(
    subjects: dict[str, tuple[Trained, list[Pass], int]],
    what: str,
    tokens: Sequence[int],
    rounds: int,
    device: torch.device,
    precision: str,
    operations: float,
) -> list[dict]:
    steps = {name: functools.partial(run_step, of, passes, what) for name, (of, passes, _) in subjects.items()}
    peaks = {name: peak_bytes(step, device) for name, step in steps.items()}  # also warms up
    seconds, shares = time_with_peak(steps, rounds, device, precision, operations)
    return [
        {
            "pass": what,
            "implementation": name,
            "parameters": sum(weight.numel() for weight in of.weights),
            "tokens": sum(tokens),
            "tokens_computed": computed,
            "peak_mib": None if peaks[name] is None else peaks[name] / MIB,
        }
        | speed(seconds[name], seconds["elasticast"], tokens)
        | shares[name]
        for name, (of, _, computed) in subjects.items()
    ]
