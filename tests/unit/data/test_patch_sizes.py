"""Patches of other sizes: resizing patches is resizing the kernel, as FlexiViT does."""

import pytest
import torch
import torch.nn.functional as F

from elasticast.config import PatchSize
from elasticast.data.dataset import ClipDataset
from elasticast.data.features import patchify
from elasticast.data.packing import pack, pack_clip
from elasticast.data.patch_sizes import drawn_size, resize_matrix, resized_kernel, resized_patches
from elasticast.data.sampler import ClipRequest

SIZES = [(8, 8), (10, 10), (15, 15), (20, 20), (32, 32), (48, 48), (16, 8), (16, 24), (16, 40)]
IDS = [f"{f}x{t}" for f, t in SIZES]


def kernel(dim=6):
    return torch.randn(dim, 16, 16, generator=torch.Generator().manual_seed(1))


def spectrogram(bins=128, frames=208, seed=0):
    return torch.randn(bins, frames, generator=torch.Generator().manual_seed(seed))


def bilinear(patches, edge):
    """Patches `[n, f, t]` resized to edge x edge without antialiasing."""
    return F.interpolate(patches[None], size=edge, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("size", SIZES, ids=IDS)
def test_tokens_are_those_of_the_kernel_resized_by_the_full_pseudo_inverse(size):
    weight, cut = kernel().double(), spectrogram()
    resize = bilinear(torch.eye(256, dtype=torch.float64).view(256, 16, 16), size).flatten(1).T
    resized = (weight.flatten(1) @ torch.linalg.pinv(resize)).view(-1, 1, *size)
    expected = F.conv2d(cut[None, None].double(), resized, stride=size)[0].flatten(1).T
    found = resized_patches(cut, PatchSize(*size, 16, keep=False)).double() @ weight.flatten(1).T
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("size", SIZES, ids=IDS)
def test_tokens_are_those_of_timm(size):
    timm = pytest.importorskip("timm.layers")
    weight, cut = kernel()[:, None], spectrogram()
    resized = timm.resample_patch_embed(weight, list(size), interpolation="bilinear", antialias=False)
    expected = F.conv2d(cut[None, None], resized, stride=size)[0].flatten(1).T
    found = resized_patches(cut, PatchSize(*size, 16, keep=False)) @ weight.flatten(1).T
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("edge", [16, 20, 24, 30, 32, 40, 48])
def test_a_resized_patch_has_the_token_of_the_patch(edge):
    patch = spectrogram(16, 16)
    found = resized_patches(bilinear(patch[None], edge)[0], PatchSize(edge, edge, 16, keep=False))
    torch.testing.assert_close(found, patch.reshape(1, -1), atol=1e-5, rtol=0)


def test_a_resized_kernel_gives_the_tokens_of_resized_patches():
    weight, cut = kernel().flatten(1), spectrogram()
    expected = resized_patches(cut, PatchSize(8, 8, 16, keep=False)) @ weight.T
    torch.testing.assert_close(patchify(cut, 8) @ resized_kernel(weight, 16, 8).T, expected, atol=1e-4, rtol=0)


def test_matrices_are_computed_once():
    assert resize_matrix(16, 40) is resize_matrix(16, 40)
    assert torch.equal(resize_matrix(16, 16), torch.eye(16))


def test_the_stored_size_is_the_plain_patches_bit_for_bit(tiny):
    model, cut = tiny().model, spectrogram()
    clip = pack_clip(0, cut, torch.zeros(0), model, patch_size=PatchSize(16, 16, 16, keep=True))
    assert torch.equal(clip.patches, patchify(cut, 16))
    assert clip.patch_size is None
    assert clip.time_patches == 13


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("size", [(48, 48), (16, 24), (10, 10)], ids=str)
def test_what_is_left_over_is_dropped_or_kept(tiny, size, keep):
    cut = spectrogram().requires_grad_()
    clip = pack_clip(0, cut, torch.zeros(0), tiny().model, patch_size=PatchSize(*size, 16, keep))
    clip.patches.square().sum().backward()
    covered = [edge * (length // edge) for edge, length in zip(size, cut.shape, strict=True)]
    used = cut.grad != 0
    assert used[: covered[0], : covered[1]].all()
    assert used[covered[0] :].any() == (keep and covered[0] < 128)
    assert used[:, covered[1] :].any() == (keep and covered[1] < 208)
    assert used[-1, -1] == keep or covered == [128, 208]
    assert len(clip.patches) == (int(clip.freq.max()) + 1) * clip.time_patches


def test_a_clip_shorter_than_a_patch_is_padded_to_one(tiny):
    short = spectrogram(frames=16)
    clip = pack_clip(0, short, torch.zeros(0), tiny().model, patch_size=PatchSize(16, 40, 16, keep=False))
    longer = torch.cat([short, short[:, -1:].expand(-1, 24)], 1)
    same = pack_clip(0, longer, torch.zeros(0), tiny().model, patch_size=PatchSize(16, 40, 16, keep=False))
    assert clip.time_patches == 1
    assert torch.equal(clip.patches, same.patches)


def test_the_grid_of_a_clip_whose_padding_is_left_out(tiny):
    size = PatchSize(16, 24, 16, keep=False)
    clip = pack_clip(0, spectrogram(frames=64), torch.zeros(0), tiny().model, 256, size)
    assert int(clip.time.max()) == 1
    assert clip.time_patches == 10


def test_a_batch_has_patches_of_one_size(tiny):
    sizes = [None, PatchSize(32, 32, 16, keep=False)]
    clips = [pack_clip(0, spectrogram(), torch.zeros(0), tiny().model, patch_size=size) for size in sizes]
    assert pack(clips[1:]).patch_size == pack(clips[1:]).to("cpu").patch_size == sizes[1]
    assert clips[1].select(torch.tensor([0, 3])).patch_size == sizes[1]
    with pytest.raises(ValueError, match="one size"):
        pack(clips)


# ---------------------------------------------------------------------------------------------
# The draw
# ---------------------------------------------------------------------------------------------


def drawing(tiny, draw="step", **difference):
    sizes = {"sizes": [8, 16, 32, 40], "remainder": "drop", "draw": draw}
    return tiny(model={"patch_sizes": sizes}, **difference)


def test_all_sizes_are_drawn_equally_often_and_differ_by_epoch_and_seed(tiny):
    config = drawing(tiny)
    drawn = [[drawn_size(config, epoch, batch, 0).time for batch in range(400)] for epoch in (0, 1)]
    assert all(60 < epoch.count(size) < 140 for epoch in drawn for size in (8, 16, 32, 40))
    assert drawn[0] != drawn[1] != [drawn_size(drawing(tiny, seed=1), 1, batch, 0).time for batch in range(400)]
    assert drawn_size(tiny(), 0, 0, 0) is None


def test_processes_draw_the_same_size_unless_asked(tiny):
    for draw, same in (("step", True), ("process", False)):
        config = drawing(tiny, draw)
        ranks = [[drawn_size(config, 0, batch, rank) for batch in range(50)] for rank in range(3)]
        assert (ranks[0] == ranks[1] == ranks[2]) == same
        assert ranks[0] == [drawn_size(drawing(tiny), 0, batch, 0) for batch in range(50)]


def test_the_budget_counts_tokens_of_the_smallest_patches(tiny, train_clips, norm):
    plain = ClipDataset(train_clips, tiny(), norm)
    assert (ClipDataset(train_clips, drawing(tiny), norm).tokens() == 4 * plain.tokens()).all()
    sizes = [None, PatchSize(8, 8, 16, keep=False), PatchSize(40, 40, 16, keep=False)]
    counts = [len(plain[ClipRequest(0, patch_size=size)].patches) for size in sizes]
    assert counts[1] == 4 * counts[0] > 16 * counts[2] > 0
