"""Patches of other sizes than the weights of a model are for (FlexiAST, Feng et al. 2023; FlexiViT, Beyer et al. 2023).

FlexiViT resizes the kernel w of the patch embedding to ``w_p = pinv(B^T) w``. B is the bilinear resize of a P x P patch
to p x p, without antialiasing. For p >= P, a patch and the patch resized by B then give the same token.

The token of a patch x is ``<x, pinv(B^T) w> = <pinv(B) x, w>``. Resizing the patch by pinv(B) is therefore the same as
resizing the kernel, and w has the same gradient. We resize patches: a model is given patches of one size, whatever the
size they were cut in. B acts on both axes separately, and so does pinv(B).

Shape legend: F mel bins, T frames, n tokens, P edge of a stored patch.
"""

import functools
import zlib

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from elasticast.config import PatchSize, RunConfig


@functools.cache
def resize_matrix(stored: int, edge: int) -> Tensor:
    """``pinv(B)`` along one axis, `[stored, edge]` float32, where B resizes `stored` values to `edge` values."""
    unit = torch.eye(stored, dtype=torch.float64)[None]
    bilinear = F.interpolate(unit, size=edge, mode="linear", align_corners=False)[0].T
    return torch.linalg.pinv(bilinear).float()


def resized_patches(spectrogram: Tensor, size: PatchSize) -> Tensor:
    """Cut `[F, T]` into patches of a size and resize them to `[n, P*P]`.

    The order is that of :func:`~elasticast.data.features.patchify`. A spectrogram that is smaller than a patch, or with
    `size.keep` one that is no multiple of it, is padded by repeating the last bin and frame.
    """
    bins, frames = size.grid(*spectrogram.shape)
    missing = max(0, frames * size.time - spectrogram.shape[1]), max(0, bins * size.freq - spectrogram.shape[0])
    padded = F.pad(spectrogram[None], (0, missing[0], 0, missing[1]), "replicate")[0] if any(missing) else spectrogram
    patches = padded.unfold(0, size.freq, size.freq).unfold(1, size.time, size.time)
    if size.freq != size.stored:
        patches = resize_matrix(size.stored, size.freq) @ patches
    if size.time != size.stored:
        patches = patches @ resize_matrix(size.stored, size.time).T
    return patches.reshape(-1, size.stored**2)


def resized_kernel(weight: Tensor, stored: int, edge: int) -> Tensor:
    """Weight `[D, stored * stored]` of a patch embedding, for patches of `edge`: ``pinv(B^T) w``."""
    matrix = resize_matrix(stored, edge)
    return (matrix.T @ weight.view(-1, stored, stored) @ matrix).flatten(1)


def drawn_size(config: RunConfig, epoch: int, batch: int, process: int) -> PatchSize | None:
    """Draw the size of the patches of a batch. The result depends on the arguments only.

    Parameters
    ----------
    config : RunConfig
        The run. `seed` and `model` are used.
    epoch, batch : int
        Epoch, and index of the batch in it, from 0.
    process : int
        Rank of this process. It has no effect with `model.patch_sizes.draw: step`: all processes draw the same size.

    Returns
    -------
    PatchSize or None
        None without `model.patch_sizes`.
    """
    sizes = config.model.patch_sizes
    if sizes is None:
        return None
    key = f"patch size/{config.seed}/{epoch}/{batch}/{process if sizes.draw == 'process' else 0}"
    generator = Generator().manual_seed(zlib.crc32(key.encode()))
    draw = torch.rand((), generator=generator).item()
    return sizes.at(sizes.sizes[int(draw * len(sizes.sizes))], config.model.patch)
