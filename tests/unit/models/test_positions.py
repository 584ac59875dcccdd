"""Kinds of positions: what each says of a token's place, exactly alike in a packed batch and alone."""

import pytest
import torch
import torch.nn.functional as F

from elasticast.config import ElasticASTSettings, PatchSize
from elasticast.data.packing import PackedClip, grid_positions, kept_tokens, pack
from elasticast.models.attention import Rotation
from elasticast.models.positions import (
    ClipGridPositions,
    FactorisedPositions,
    GridPositions,
    RotaryPositions,
    SinusoidalPositions,
    stored_places,
)
from elasticast.models.pretrained import load_model
from elasticast.training.checkpoint import save_model
from tests.gpu import gpu
from tests.unit.models.test_models import FRAMES, TOLERANCE, model_of, random_clip

POOLINGS = ["attention", "mean", "cls"]
KINDS = ["table", "interpolated", "fractional", "grid", "sinusoidal", "rotary"]
LONGER = (16, 96, 272, 48, 1024)
"""Frames; the table of the tiny model reaches 256."""


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_residual_stream_has_32_bits_whatever_the_positions(tiny, kind):
    model, seen = model_of(tiny(model={"positions": kind})), []
    model.trunk.blocks[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(pack([random_clip(0, 64)]))
    assert seen == [torch.float32]


def dropped(clip, share, seed=0):
    """The clip with some of its tokens left out."""
    keep = kept_tokens(len(clip.patches), share, torch.Generator().manual_seed(seed))
    return clip.select(keep)


def packed_alone_dense(tiny, settings, clips):
    """Logits of the clips packed, one by one, and under a dense mask."""
    model = model_of(tiny(model=settings))
    dense = model_of(tiny(model={**settings, "backend": "dense"}))
    dense.load_state_dict(model.state_dict())
    return model(pack(clips)), torch.cat([model(pack([clip])) for clip in clips]), dense(pack(clips))


@pytest.mark.parametrize(("pooling", "scale"), [(p, "sqrt") for p in POOLINGS] + [("attention", "qk_norm")])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_packed_equals_one_by_one_equals_dense_mask(tiny, equal, kind, pooling, scale):
    clips = [random_clip(i, frames) for i, frames in enumerate(FRAMES if kind == "table" else LONGER)]
    for name, some in (("whole", clips), ("some tokens", [dropped(clip, 0.4) for clip in clips])):
        settings = {"positions": kind, "pooling": pooling, "attention_scale": scale}
        packed, alone, dense = packed_alone_dense(tiny, settings, some)
        about = f"positions {kind}, pooling {pooling}, {scale}, {name}"
        equal(f"ElasticAST packed = one by one, {about}", packed, alone)
        equal(f"ElasticAST packed = dense mask, {about}", packed, dense)


@gpu
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_packed_on_the_gpu_equals_dense_mask(tiny, equal, kind, pooling):
    settings = {"positions": kind, "pooling": pooling}
    model, dense = (model_of(tiny(model={**settings, "backend": name})).cuda() for name in ("auto", "dense"))
    dense.load_state_dict(model.state_dict())
    batch = pack([random_clip(i, frames) for i, frames in enumerate(FRAMES)]).to("cuda")
    expected = dense(batch)
    name = f"ElasticAST on a GPU = dense mask, positions {kind}, pooling {pooling}"
    equal(name, model(batch), expected, 1e-4 * expected.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_places_matter_and_their_order_in_the_batch_does_not(tiny, kind):
    model, clip = model_of(tiny(model={"positions": kind})), random_clip(0, 128)
    order = torch.randperm(len(clip.patches))
    mixed = PackedClip(0, clip.patches[order], clip.freq[order], clip.time[order], clip.target)
    torch.testing.assert_close(model(pack([mixed])), model(pack([clip])), **TOLERANCE)
    for freq, time in ((clip.freq[order], clip.time), (clip.freq, clip.time.flip(0))):
        moved = PackedClip(0, clip.patches, freq, time, clip.target)
        assert (model(pack([moved])) - model(pack([clip]))).abs().max() > 1e-3


def embeddings(positions, time_patches):
    """`[T, D]` of the lowest band of a clip."""
    time = torch.arange(time_patches)
    return positions(torch.zeros_like(time), time, lambda: torch.full_like(time, time_patches)) - positions.freq[0]


def of_kind(kind, rows=16):
    torch.manual_seed(0)
    positions = FactorisedPositions(8, rows, 32, kind)
    positions.freq.data.zero_()
    return positions.requires_grad_(False)


def test_interpolated_positions_are_the_table_within_its_length():
    table, found = of_kind("table"), of_kind("interpolated")
    for time_patches in range(1, 17):
        assert torch.equal(embeddings(found, time_patches), embeddings(table, time_patches))


def test_longer_clips_are_squeezed_onto_the_whole_table():
    for kind in ("interpolated", "fractional"):
        positions = of_kind(kind)
        for time_patches in (17, 24, 32, 48, 101):
            expected = torch.nn.functional.interpolate(
                positions.time.T[None], size=time_patches, mode="linear", align_corners=False
            )[0].T
            torch.testing.assert_close(embeddings(positions, time_patches), expected, atol=1e-5, rtol=0)


def test_a_fraction_is_the_same_place_in_clips_of_all_lengths():
    positions = of_kind("fractional")
    positions.time.data = torch.linspace(0, 1, 16)[:, None].expand(16, 32).clone()  # says how far along the table
    assert torch.equal(embeddings(positions, 16), positions.time)
    for time_patches in (1, 3, 5, 33):  # the middle of a clip is the middle of the table
        middle = embeddings(positions, time_patches)[time_patches // 2]
        torch.testing.assert_close(middle, torch.full((32,), 0.5))


def test_dropped_tokens_do_not_shorten_a_clip(tiny):
    """A clip whose last tokens are left out stays as long as it is."""
    clip = random_clip(0, 128)
    part = clip.select((clip.time < 4).nonzero().flatten())
    assert pack([part]).grid_lengths().tolist() == [8] * 32
    assert pack([part, random_clip(1, 16)]).grid_lengths().tolist() == [8] * 32 + [1] * 8


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_a_grid_is_resized_to_each_clip_and_is_itself_at_its_own_size(mode):
    torch.manual_seed(0)
    positions = ClipGridPositions((8, 16), 12, mode).requires_grad_(False)
    clips = []
    for count in (16, 5, 40, 5):
        freq, time = grid_positions(8, count)
        clips.append(PackedClip(0, torch.zeros(len(freq), 1), freq, time, torch.zeros(1)))
    found = positions(pack(clips)).split([8 * clip.time_patches for clip in clips])
    assert torch.equal(found[0], positions.table[0].flatten(1).T)
    assert torch.equal(found[1], found[3])
    for rows, count in ((found[1], 5), (found[2], 40)):
        expected = F.interpolate(positions.table, size=(8, count), mode=mode, antialias=True)
        assert torch.equal(rows, expected[0].flatten(1).T)


@pytest.mark.parametrize("base", [100.0, 10000.0])
def test_rotary_scores_depend_on_distances_only(base):
    torch.manual_seed(0)
    positions, q, k = RotaryPositions(16, base), torch.randn(1, 2, 16), torch.randn(1, 2, 16)

    def score(freq_q, time_q, freq_k, time_k):
        turned = [positions(torch.tensor([f]), torch.tensor([t]))(x) for f, t, x in
                  ((freq_q, time_q, q), (freq_k, time_k, k))]  # fmt: skip
        return (turned[0] * turned[1]).sum(-1)

    expected = score(1, 2, 4, 7)
    for freq, time in ((0, 5), (3, 0), (2, 100)):
        torch.testing.assert_close(score(1 + freq, 2 + time, 4 + freq, 7 + time), expected, atol=1e-4, rtol=0)
    for other in (score(1, 2, 5, 7), score(1, 2, 4, 8)):  # each axis by itself
        assert (other - expected).abs().max() > 1e-2


@pytest.mark.parametrize("pooling", ["attention", "mean"])
@torch.no_grad()
def test_a_rotary_model_does_not_know_where_a_clip_begins(tiny, pooling):
    clip, shifted = random_clip(0, 96), {}
    for kind in ("rotary", "table"):
        model = model_of(tiny(model={"positions": kind, "pooling": pooling}))
        later = PackedClip(0, clip.patches, clip.freq, clip.time + 9, clip.target)
        shifted[kind] = (model(pack([later])) - model(pack([clip]))).abs().max().item()
    assert shifted["rotary"] < 1e-4
    assert shifted["table"] > 1e-2


def test_a_rotation_keeps_lengths_and_place_0_as_it_is():
    x = torch.randn(5, 2, 16)
    positions = RotaryPositions(16, 100.0)
    turned = positions(torch.arange(5), 10 * torch.arange(5))(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[0], x[0])
    assert isinstance(positions(torch.arange(2), torch.arange(2)), Rotation)


def test_sinusoidal_positions_tell_all_places_apart():
    freq, time = torch.arange(8).repeat_interleave(200), torch.arange(200).repeat(8)
    found = SinusoidalPositions(32)(freq, time, None)
    assert found.shape == (1600, 32)
    assert torch.equal(found[:200, :16], found[:1, :16].expand(200, 16))  # one half is of frequency alone
    assert torch.cdist(found, found).add(torch.eye(1600)).min() > 1e-2
    assert not list(SinusoidalPositions(32).parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_saved_and_loaded(tiny, norm, tmp_path, kind):
    config = tiny(model={"positions": kind})
    model = model_of(config)
    save_model(tmp_path, model, config, norm, list("abcde"), "multi")
    again = load_model(tmp_path)
    batch = pack([random_clip(0, 96)])
    assert torch.equal(again.model(batch), model(batch))
    assert isinstance(again.config.model, ElasticASTSettings)
    if kind != "table":
        longer = load_model(tmp_path, frames=512)
        assert longer.config.view.max_frames == 512
        assert torch.equal(longer.model(batch), model(batch))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", KINDS)
def test_every_kind_starts_from_every_other(tiny, norm, tmp_path, start, kind):
    from elasticast.models.pretrained import start_from

    config = tiny(model={"positions": start})
    save_model(tmp_path, model_of(config), config, norm, list("abcde"), "multi")
    model = model_of(tiny(model={"positions": kind, "max_frames": 128}, view={"max_frames": 128}))
    notes = " ".join(start_from(str(tmp_path), model, tiny(model={"positions": kind}), list("abcde"))["notes"])
    tables = {"table", "interpolated", "fractional", "grid"}
    if "grid" in (kind, start) and {kind, start} <= tables:
        resized = {"grid": {"grid": "8 x 16 to 8 x 8"}, "fractional": {"grid": "8 x 16 to 8 x 8"}}
        assert resized.get(kind, {}).get(start, "positions") in notes
    elif kind in tables and start in tables:
        how = "interpolated from 16 to 8 rows" if kind == "fractional" else "first 8 of 16 rows"
        assert how in notes
        assert (f"trained with model.positions: {start}, used with {kind}" in notes) == (kind != start)
    else:
        assert ("positions left out" in notes) == (start in tables)
        assert ("positions freshly initialised" in notes) == (kind in tables)


# ---------------------------------------------------------------------------------------------
# Patches of other sizes
# ---------------------------------------------------------------------------------------------

SIZES = [PatchSize(*edges, 16, keep) for edges, keep in (((48, 48), True), ((8, 8), False), ((16, 40), False))]


def sized_clip(size, index, frames):
    """A clip of random tokens on the grid of patches of a size."""
    freq, time = grid_positions(*size.grid(128, frames))
    patches = torch.randn(len(freq), 256, generator=torch.Generator().manual_seed(index))
    return PackedClip(index, patches, freq, time, torch.zeros(5), patch_size=size)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_packed_equals_one_by_one_at_every_patch_size(tiny, equal, kind, size):
    clips = [sized_clip(size, i, frames) for i, frames in enumerate((16, 96, 208, 256))]
    packed, alone, dense = packed_alone_dense(tiny, {"positions": kind}, [dropped(clip, 0.3) for clip in clips])
    equal(f"ElasticAST packed = one by one, positions {kind}, patches {size[:2]}", packed, alone)
    equal(f"ElasticAST packed = dense mask, positions {kind}, patches {size[:2]}", packed, dense)


@pytest.mark.parametrize("size", SIZES, ids=str)
@torch.no_grad()
def test_grids_of_other_patches_are_resized_as_published(size):
    grid = GridPositions((8, 64), 12)
    wanted = size.grid(128, 1024)
    expected = F.interpolate(grid.table, size=wanted, mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(grid(wanted[1], size), expected[0].flatten(1).T)
    cut = GridPositions((8, 64), 12, cut=True)
    cut.load_state_dict(grid.state_dict())
    assert torch.equal(cut(3, size), expected[0, ..., :3].flatten(1).T)
    stored = PatchSize(16, 16, 16, size.keep)
    assert torch.equal(grid(64, stored), grid(64))
    assert torch.equal(grid(40, stored), grid(40))


@pytest.mark.parametrize("kind", ["table", "interpolated", "fractional"])
@torch.no_grad()
def test_tables_of_other_patches_are_resized_along_each_axis(kind):
    positions, size = FactorisedPositions(8, 64, 12, kind), PatchSize(32, 32, 16, keep=False)
    freq, time = grid_positions(*size.grid(128, 1024))
    found = positions(freq, time, lambda: torch.full_like(time, 32), size)
    axes = (positions.freq, 4), (positions.time, 32)
    options = {"mode": "bilinear", "antialias": True}
    rows = [F.interpolate(table.T[None, None], size=(12, n), **options)[0, 0].T for table, n in axes]
    torch.testing.assert_close(found, (rows[0][:, None] + rows[1]).flatten(0, 1), atol=1e-6, rtol=0)


def test_places_of_other_patches_are_the_centres_of_what_they_cover():
    index = torch.arange(6)
    freq, time = stored_places(index, index, PatchSize(16, 48, 16, keep=False))
    assert torch.equal(freq, index.float())
    assert torch.equal(time, 3.0 * index + 1)
    assert stored_places(index, index, None) == (index, index)
    halves = stored_places(index, index, PatchSize(8, 8, 16, keep=False))[0]
    assert torch.equal(halves.view(3, 2).mean(1), torch.arange(3.0))
