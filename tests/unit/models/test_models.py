"""Properties of the models on fresh random inputs, in float32."""

import pytest
import torch

from elasticast.data.features import patchify
from elasticast.data.packing import Lengths, PackedClip, grid_positions, pack
from elasticast.data.sampler import token_batches
from elasticast.errors import DataError, ElasticASTError
from elasticast.models import attention, build_model
from elasticast.models.attention import ClipMask, attend, explain_backend, pooling_mask, resolve_backend
from elasticast.models.fast_trunk import padded_bounds, padded_sizes, speed_up
from tests.complaints import assert_names, complains
from tests.gpu import gpu, skip_without

TOLERANCE = {"atol": 1e-5, "rtol": 0}
FRAMES = (16, 96, 48, 256, 96)


def random_clip(index, frames, classes=5):
    freq, time = grid_positions(8, frames // 16)
    return PackedClip(index, torch.randn(8 * frames // 16, 256), freq, time, torch.randint(2, (classes,)).float())


def of_one_length(settings, clips):
    """The clips, or four of one length for a model that needs it."""
    return [random_clip(i, 96) for i in range(4)] if settings.get("kind") == "ast" else clips


def clip_mask(q_counts, kv_counts, backend, device="cpu"):
    return ClipMask(*(Lengths.of(counts, device) for counts in (q_counts, kv_counts)), backend)


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


@gpu
@pytest.mark.parametrize("backend", ["varlen", "xformers", "sdpa"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-2)])
@torch.no_grad()
def test_packed_on_the_gpu_equals_dense_mask(tiny, clips, equal, backend, dtype, tolerance):
    skip_without(backend, dtype)
    model, dense = (model_of(tiny(model={"backend": name})).cuda() for name in (backend, "dense"))
    dense.load_state_dict(model.state_dict())
    batch = pack(clips).to("cuda")
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        found = model(batch).float()
    expected = dense(batch)
    equal(
        f"ElasticAST packed, {backend} = dense mask, {dtype}", found, expected, tolerance * expected.abs().max().item()
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
    tokens = model.trunk(joined, clip_mask(lengths, lengths, "dense")).split(lengths)
    if pooling == "attention":
        kept = [n - prefix for n in lengths]
        flat = torch.cat([x[prefix:] for x in tokens])
        pooled = model.pool(flat, clip_mask([1] * 4, kept, "dense"))
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
        found = attend(q, k, v, clip_mask(q_lens, kv_lens, backend), scale)
        torch.testing.assert_close(found, torch.stack(expected), **TOLERANCE)


@pytest.mark.parametrize("q_lens", [[16, 8, 16, 8, 16], [1, 1, 1, 1, 1]])
def test_one_call_for_clips_of_the_same_length_gives_the_bits_of_one_call_per_clip(q_lens):
    kv_lens = [16, 8, 16, 8, 16]
    mask = clip_mask(q_lens, kv_lens, "sdpa")
    q, k, v = (torch.randn(sum(counts), 2, 8, requires_grad=True) for counts in (q_lens, kv_lens, kv_lens))
    packed = attend(q, k, v, mask, 0.3)
    alone = torch.cat(
        [
            attend(*parts, clip_mask([len(parts[0])], [len(parts[1])], "sdpa"), 0.3)
            for parts in zip(q.split(q_lens), k.split(kv_lens), v.split(kv_lens), strict=True)
        ]
    )
    assert torch.equal(packed, alone)
    gradient = torch.randn_like(packed)
    grads = [torch.autograd.grad(found, (q, k, v), gradient) for found in (packed, alone)]
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


@pytest.mark.parametrize("backend", ["sdpa", "dense"])
@pytest.mark.parametrize("in_float32", [True, False])
def test_attention_in_bf16_on_a_cpu_is_that_in_float32(monkeypatch, backend, in_float32):
    """Rounded once if it is computed in float32, as on x86 processors without AMX; else within the error of bf16."""
    monkeypatch.setattr(attention, "faster_in_float32", lambda _, dtype: in_float32 and dtype == torch.bfloat16)
    mask, gradient = clip_mask([16, 40, 1], [16, 40, 1], backend), torch.randn(57, 2, 8).bfloat16()
    values = [torch.randn(57, 2, 8).bfloat16().requires_grad_() for _ in range(3)]
    exact = [x.detach().float().requires_grad_() for x in values]
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(*values, mask, 0.3)
    expected = attend(*exact, mask, 0.3)
    assert found.dtype == torch.bfloat16
    found.backward(gradient)
    expected.backward(gradient.float())
    for one, other in [(found, expected), *((a.grad, b.grad) for a, b in zip(values, exact, strict=True))]:
        if in_float32:
            assert torch.equal(one, other.bfloat16())
        else:
            assert (one - other).norm() <= 2e-2 * other.norm()


@gpu
@pytest.mark.parametrize("backend", ["varlen", "xformers", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 0.2, 32**-0.5])
def test_a_backend_of_the_gpu_equals_the_dense_mask(backend, dtype, scale):
    skip_without(backend, dtype)
    counts = [16, 100, 7, 1]
    values = [torch.randn(sum(counts), 4, 32, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3)]
    exact = [x.detach().double().requires_grad_() for x in values]
    gradient = torch.randn(sum(counts), 4, 32, device="cuda", dtype=dtype)
    found = attend(*values, clip_mask(counts, counts, backend, "cuda"), scale)
    expected = attend(*exact, clip_mask(counts, counts, "dense", "cuda"), scale)
    found.backward(gradient)
    expected.backward(gradient.double())
    limit = 1e-4 if dtype == torch.float32 else 2e-2
    for one, other in [(found, expected), *((a.grad, b.grad) for a, b in zip(values, exact, strict=True))]:
        assert (one.double() - other).norm() <= limit * other.norm()


@gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_on_the_gpu_equals_the_dense_mask(dtype):
    backend, counts = resolve_backend("auto", "cuda", dtype), [5, 300, 1, 64]
    q = torch.randn(4, 4, 32, device="cuda", dtype=dtype)
    k, v = (torch.randn(sum(counts), 4, 32, device="cuda", dtype=dtype) for _ in range(2))
    found = attend(q, k, v, pooling_mask(Lengths.of(counts, "cuda"), backend), 1.0)
    expected = attend(q.double(), k.double(), v.double(), clip_mask([1] * 4, counts, "dense", "cuda"), 1.0)
    assert (found.double() - expected).norm() <= (1e-4 if dtype == torch.float32 else 2e-2) * expected.norm()


@gpu
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("kind", ["elasticast", "ast"])
def test_a_fast_trunk_computes_the_same_without_compiling_again(tiny, kind, graphs):
    settings = {"elasticast": {}, "ast": {"kind": "ast"}}[kind]
    skip_without("varlen", torch.bfloat16)
    model, fast = (model_of(tiny(model=settings)).cuda().train() for _ in range(2))
    fast.load_state_dict(model.state_dict())
    speed_up(fast, graphs=graphs)
    assert list(fast.state_dict()) == list(model.state_dict())
    batches = [(64, 160, 32), (64, 64), (256, 48, 80, 96, 112), (128,) * 9, (16,), (256,) * 150, (240,) * 160]
    for number, frames in enumerate(batches):
        clips = [random_clip(i, n if kind == "elasticast" else frames[0]) for i, n in enumerate(frames)]
        batch = pack(clips).to("cuda")
        found = []
        for one in (fast, model):
            one.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                logits = one(batch).float()
            logits.square().mean().backward()
            found.append([logits.detach(), *(p.grad.clone() for p in one.parameters())])
        for a, b in zip(*found, strict=True):
            assert (a - b).norm() <= 5e-2 * b.norm() + 1e-6
        if number == len(batches) - 2:
            compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled
    assert (1 < len(fast.trunk.forward.graphs) < len(batches)) if graphs else not fast.trunk.forward.graphs
    fast.eval()
    batch = pack([random_clip(0, 64)]).to("cuda")
    with torch.no_grad():
        assert torch.equal(fast(batch), model.eval()(batch))


def test_padding_of_a_batch_is_a_clip_of_its_own():
    for counts in ([5, 300, 1], [1024], [1023], [2000, 48], [7] * 7, [7] * 8):
        lengths = Lengths.of(counts)
        sizes = padded_sizes(lengths)
        bounds = padded_bounds(lengths, sizes)
        assert bounds[: len(counts) + 1].tolist() == lengths.bounds.tolist()
        assert len(bounds) == sizes[1] + 1
        assert bounds[-1] == sizes[0] >= sum(counts)
        assert bounds.diff().min() >= 0
        assert bounds.diff().max() <= sizes[2]


@gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_on_the_gpu_never_waits_for_it(tiny, clips, dtype):
    model = model_of(tiny()).cuda().train()
    batch = pack(clips).pin_memory()

    def step():
        moved = batch.to("cuda")
        with torch.autocast("cuda", torch.bfloat16, enabled=dtype != torch.float32):
            model(moved).float().square().mean().backward()

    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_auto_is_what_works_on_the_machine(monkeypatch):
    works = {"varlen": True, "xformers": True}
    monkeypatch.setattr(attention, "why_not", lambda name, *_: None if works.get(name, True) else "no kernels")
    assert resolve_backend("auto", "cpu", torch.bfloat16) == "sdpa"
    assert resolve_backend("auto", "cuda", torch.bfloat16) == "varlen"
    assert resolve_backend("auto", "cuda", torch.float32) == "xformers"
    works["varlen"] = False
    assert resolve_backend("auto", "cuda", torch.float16) == "xformers"
    works["xformers"] = False
    assert resolve_backend("auto", "cuda", torch.float16) == "sdpa"


@pytest.mark.parametrize(
    ("device", "dtype", "reasons"),
    [
        ("cpu", torch.float32, {}),
        ("cuda", torch.bfloat16, {}),
        ("cuda", torch.bfloat16, {"varlen": "too old"}),
        ("cuda", torch.float32, {"xformers": "is not installed"}),
    ],
)
def test_the_choice_of_attention_is_explained(monkeypatch, device, dtype, reasons):
    monkeypatch.setattr(attention, "why_not", lambda name, *_: reasons.get(name))
    assert_names(explain_backend("auto", device, dtype), resolve_backend("auto", device, dtype), *reasons.values())
    assert_names(explain_backend("dense", device, dtype), "dense", "model.backend")


@pytest.mark.parametrize("name", ["xformers", "varlen"])
def test_backend_is_never_swapped_in_silence(name):
    with complains(ElasticASTError, "model.backend", name, "cpu", "sdpa", "auto"):
        resolve_backend(name, "cpu", torch.bfloat16)
