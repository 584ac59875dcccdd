"""Properties of the models on fresh random inputs, in float32."""

import pytest
import torch

from elasticast.data.features import patchify
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.data.sampler import token_batches
from elasticast.errors import DataError, ElasticASTError
from elasticast.models import build_model
from elasticast.models.attention import ClipMask, attend, resolve_backend
from tests.complaints import complains

TOLERANCE = {"atol": 1e-5, "rtol": 0}
FRAMES = (16, 96, 48, 256, 96)


def random_clip(index, frames, classes=5):
    freq, time = grid_positions(8, frames // 16)
    return PackedClip(index, torch.randn(8 * frames // 16, 256), freq, time, torch.randint(2, (classes,)).float())


@pytest.fixture
def clips(equal):  # after the seed of the comparisons
    return [random_clip(i, frames) for i, frames in enumerate(FRAMES)]


def model_of(config, classes=5):
    model = build_model(config, classes)
    for parameter in model.parameters():  # zero biases and near-zero weights would hide mistakes
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("scale", ["none", "sqrt", "qk_norm"])
@torch.no_grad()
def test_packed_equals_one_by_one_equals_dense_mask(tiny, clips, scale, equal):
    model = model_of(tiny(model={"attention_scale": scale}))
    packed = model(pack(clips))
    alone = torch.cat([model(pack([clip])) for clip in clips])
    equal(f"ElasticAST packed = one by one, attention_scale {scale}", packed, alone)
    dense = model_of(tiny(model={"attention_scale": scale, "backend": "dense"}))
    dense.load_state_dict(model.state_dict())
    equal(f"ElasticAST packed = dense mask, attention_scale {scale}", packed, dense(pack(clips)))
    assert packed.std(0).min() > 1e-3  # the clips do differ


@pytest.mark.skipif(not torch.cuda.is_available(), reason="xFormers has kernels on CUDA only")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-2)])
@torch.no_grad()
def test_packed_with_xformers_equals_dense_mask(tiny, clips, equal, dtype, tolerance):
    model, dense = (model_of(tiny(model={"backend": backend})).cuda() for backend in ("xformers", "dense"))
    dense.load_state_dict(model.state_dict())
    batch = pack(clips).to("cuda")
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        found = model(batch).float()
    expected = dense(batch)
    equal(
        f"ElasticAST packed, xFormers = dense mask, {dtype}", found, expected, tolerance * expected.abs().max().item()
    )


@torch.no_grad()
def test_permuting_clips_permutes_logits(tiny, clips, equal):
    model = model_of(tiny())
    order = torch.randperm(len(clips)).tolist()
    equal("ElasticAST, clips permuted", model(pack([clips[i] for i in order])), model(pack(clips))[order])


@torch.no_grad()
@pytest.mark.parametrize("budget", [1, 600, 1200, 10_000])
def test_any_order_and_token_budget_gives_the_same_logits(tiny, clips, equal, budget):
    model = model_of(tiny())
    order = torch.randperm(len(clips)).tolist()
    found = torch.empty(len(clips), 5)
    for batch in token_batches(order, [len(clip.patches) for clip in clips], budget):
        found[batch] = model(pack([clips[i] for i in batch]))
    equal(f"ElasticAST, any order, budget of {budget} tokens", found, model(pack(clips)))


@torch.no_grad()
def test_changing_a_clip_changes_no_others_logits(tiny, clips):
    model = model_of(tiny())
    before = model(pack(clips))
    clips[3] = random_clip(3, 256)
    after = model(pack(clips))
    same = [i for i in range(len(clips)) if i != 3]
    assert torch.equal(before[same], after[same])
    assert (before[3] - after[3]).abs().max() > 1e-3


def test_permuting_tokens_within_a_clip_changes_nothing(tiny, clips):
    model = model_of(tiny())
    mixed = []
    for clip in clips:
        order = torch.randperm(len(clip.patches))
        mixed.append(PackedClip(clip.index, clip.patches[order], clip.freq[order], clip.time[order], clip.target))
    torch.testing.assert_close(model(pack(mixed)), model(pack(clips)), **TOLERANCE)


def test_a_clip_touches_no_other(tiny, clips):
    model = model_of(tiny())
    batch = pack(clips)
    batch.patches.requires_grad_()
    model(batch)[2].sum().backward()
    start = sum(batch.seqlens[:2])
    touched = batch.patches.grad.abs().sum(1) > 0
    assert touched[start : start + batch.seqlens[2]].all()
    assert touched.sum() == batch.seqlens[2]


def test_too_long_a_clip_is_one_clear_error(tiny):
    with complains(DataError, 17, 16, "view.max_frames", "model.max_frames"):
        model_of(tiny())(pack([random_clip(0, 272)]))


AST_KINDS = [("cls", 1), ("cls", 2), ("mean", 0), ("mean", 2), ("attention", 0), ("attention", 1)]


@pytest.mark.parametrize(("pooling", "prefix"), AST_KINDS)
@torch.no_grad()
def test_ast_batch_equals_one_by_one(tiny, equal, pooling, prefix):
    model = model_of(tiny(model={"kind": "ast", "prefix_tokens": prefix, "pooling": pooling}))
    together, alone = [], []
    for frames in (32, 64, 128):
        clips = [random_clip(i, frames) for i in range(3)]
        together.append(model(pack(clips)))
        alone += [model(pack([clip])) for clip in clips]
    equal(f"AST batch = one by one, pooling {pooling}, {prefix} prefix tokens", torch.cat(together), torch.cat(alone))


@pytest.mark.parametrize(("pooling", "prefix"), AST_KINDS)
def test_ast_pools_what_it_says(tiny, pooling, prefix):
    model = model_of(tiny(model={"kind": "ast", "prefix_tokens": prefix, "pooling": pooling}))
    seen = {}
    model.trunk.register_forward_hook(lambda _, __, x: seen.update(tokens=x))
    logits = model(pack([random_clip(0, 64)]))
    first, rest = seen["tokens"][:prefix], seen["tokens"][prefix:]
    if pooling == "attention":
        heads = [
            x.view(-1, 2, 16).transpose(0, 1)
            for x in (model.pool.q(model.pool.query), *model.pool.kv(rest).chunk(2, 1))
        ]
        weights = (heads[0] @ heads[1].mT / 16**0.5).softmax(-1)
        pooled = model.pool.proj((weights @ heads[2]).transpose(0, 1).reshape(32))
    else:
        pooled = (first if pooling == "cls" else rest).mean(0)
    torch.testing.assert_close(logits[0], model.head(model.head_norm(pooled)), **TOLERANCE)


def test_overlapping_patches_from_waveform_to_logits(tiny):
    """Stride 10 as in AST: 12 x 11 patches of 128 x 120 frames, each where a convolution would put it."""
    config = tiny(model={"kind": "ast", "stride": 10}, view={"frames": 120})
    model = model_of(config)
    assert model.positions.table.shape == (1, 32, 12, 11)
    spectrogram = torch.randn(128, 120)
    patches = patchify(spectrogram, 16, 10)
    convolved = torch.nn.functional.conv2d(
        spectrogram[None, None], model.patch_embed.weight.view(32, 1, 16, 16), model.patch_embed.bias, stride=10
    )
    torch.testing.assert_close(model.patch_embed(patches), convolved[0].flatten(1).T, atol=1e-4, rtol=0)
    clip = PackedClip(0, patches, *grid_positions(12, 11), torch.zeros(5))
    assert model(pack([clip])).shape == (1, 5)


def test_ast_positions_are_the_table_at_the_trained_length(tiny):
    model = model_of(tiny(model={"kind": "ast"}))
    torch.testing.assert_close(model.positions(4), model.positions.table[0].flatten(1).T, atol=0, rtol=0)
    assert model.positions(7).shape == (8 * 7, 32)


@pytest.mark.parametrize(("pooling", "prefix"), AST_KINDS)
@torch.no_grad()
def test_ast_with_tokens_left_out_is_each_clip_alone_by_hand(tiny, equal, pooling, prefix):
    """Clips whose padding is left out: packed, alone, and as one plain transformer call on what remains."""
    model = model_of(tiny(model={"kind": "ast", "prefix_tokens": prefix, "pooling": pooling}))
    whole = [random_clip(i, 128) for i in range(4)]
    keeps = [clip.time < patches for clip, patches in zip(whole, (8, 3, 1, 5), strict=True)]
    clips = [clip.select(keep.nonzero().flatten()) for clip, keep in zip(whole, keeps, strict=True)]
    packed = model(pack(clips))
    alone = torch.cat([model(pack([clip])) for clip in clips])
    equal(f"AST, padding left out, packed = one by one, {pooling}, {prefix} prefix tokens", packed, alone)
    grid, rows = model.positions(8), []
    for clip, keep in zip(whole, keeps, strict=True):
        x = model.patch_embed(clip.patches[keep]) + grid[keep]  # each keeps the place it has in the whole clip
        rows.append(x)
    lengths = [len(x) + prefix for x in rows]
    joined = torch.cat([part for x in rows for part in (model.prefix + model.prefix_positions, x)])
    tokens = model.trunk(joined, ClipMask(lengths, lengths, "dense")).split(lengths)
    if pooling == "attention":
        kept = [n - prefix for n in lengths]
        flat = torch.cat([x[prefix:] for x in tokens])
        pooled = model.pool(flat, ClipMask([1] * 4, kept, "dense"))
    else:
        pooled = torch.stack([(x[:prefix] if pooling == "cls" else x[prefix:]).mean(0) for x in tokens])
    expected = model.head(model.head_norm(pooled))
    equal(f"AST, padding left out = dense mask by hand, {pooling}, {prefix} prefix tokens", packed, expected)


@torch.no_grad()
def test_with_a_time_offset_shorter_clips_take_the_first_positions(tiny):
    settings = {"model": {"kind": "ast", "time_offset": True}, "view": {"frames": 128, "fill": "mask"}}
    model, plain = model_of(tiny(**settings)), model_of(tiny(model={"kind": "ast"}, view={"frames": 128}))
    plain.load_state_dict(model.state_dict())
    table = model.positions.table[0]
    for time_patches in range(1, 9):
        assert torch.equal(model.positions(time_patches), table[..., :time_patches].flatten(1).T)
    assert torch.equal(model.positions(12), plain.positions(12))  # there is nothing beyond the table to take
    # a shorter grid, and a longer one whose end is left out, are the same clip
    long = random_clip(0, 128)
    short = long.select((long.time < 5).nonzero().flatten())
    alone = PackedClip(0, short.patches, short.freq, short.time, short.target)
    torch.testing.assert_close(model(pack([alone])), model(pack([short])), **TOLERANCE)
    assert (plain(pack([alone])) - plain(pack([short]))).abs().max() > 1e-3
    moved = PackedClip(0, short.patches, short.freq, short.time + 3, short.target)
    assert (model(pack([moved])) - model(pack([short]))).abs().max() > 1e-3


def test_ast_takes_one_length_only(tiny):
    with complains(ValueError, 2, 4):
        model_of(tiny(model={"kind": "ast"}))(pack([random_clip(0, 32), random_clip(1, 64)]))


def test_attention_matches_the_definition():
    q_lens, kv_lens, scale = [1, 1, 1], [5, 2, 9], 0.3
    q, k, v = torch.randn(3, 2, 4), torch.randn(16, 2, 4), torch.randn(16, 2, 4)
    expected, start = [], 0
    for row, n in enumerate(kv_lens):
        weights = (scale * torch.einsum("he,nhe->hn", q[row], k[start : start + n])).softmax(-1)
        expected.append(torch.einsum("hn,nhe->he", weights, v[start : start + n]))
        start += n
    for backend in ("sdpa", "dense"):
        found = attend(q, k, v, ClipMask(q_lens, kv_lens, backend), scale)
        torch.testing.assert_close(found, torch.stack(expected), **TOLERANCE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="xFormers has kernels on CUDA only")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_xformers_equals_dense(dtype, tolerance):
    lengths = [16, 100, 7]
    q, k, v = (torch.randn(123, 4, 32, device="cuda", dtype=dtype) for _ in range(3))
    found = attend(q, k, v, ClipMask(lengths, lengths, "xformers"), 0.2)
    expected = attend(q.float(), k.float(), v.float(), ClipMask(lengths, lengths, "dense"), 0.2)
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)


def test_backend_is_never_swapped_in_silence():
    assert resolve_backend("auto", "cpu") == "sdpa"
    assert resolve_backend("auto", "cuda") == "xformers"
    with complains(ElasticASTError, "model.backend", "xformers", "cpu", "sdpa", "auto"):
        resolve_backend("xformers", "cpu")
