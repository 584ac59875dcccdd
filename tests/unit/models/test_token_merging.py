"""Properties of token merging: what merges, what stays, and that merged tokens count as many times as they are."""

import pytest
import torch

from elasticast.config import TokenMerging
from elasticast.data.packing import Lengths, pack
from elasticast.evaluation.flops import count_flops
from elasticast.models import attention, build_model
from elasticast.models.attention import ClipMask, attend, pooling_mask, received, with_size_channels
from elasticast.models.pooling import mean_pooling
from elasticast.models.token_merging import match, merge, merged_trunk, most_attended, with_merging
from tests.gpu import gpu, skip_without
from tests.unit.models.test_models import model_of, of_one_length, random_clip

MODELS = {
    "attention": {},
    "mean": {"pooling": "mean"},
    "cls": {"pooling": "cls"},
    "rotary": {"positions": "rotary", "pooling": "cls"},
    "qk_norm": {"attention_scale": "qk_norm"},
    "unscaled": {"attention_scale": "none"},
    "ast": {"kind": "ast", "prefix_tokens": 2},
    "ast mean": {"kind": "ast", "pooling": "mean"},
    "ast attention": {"kind": "ast", "pooling": "attention", "prefix_tokens": 0},
}
HALF = {"share": 0.5}
PRUNED = {"share": 0.7, "method": "prune"}
every_model = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)


def merging_model(tiny, settings, **amount):
    return model_of(tiny(model={**settings, "depth": 3, "merge": amount}))


@every_model
@pytest.mark.parametrize("amount", [{"share": 0.0}, {"tokens": 0}, {"share": 0.0, "method": "prune"}], ids=str)
@torch.no_grad()
def test_merging_nothing_is_no_merging(tiny, clips, settings, amount):
    model, batch = merging_model(tiny, settings, **amount), pack(of_one_length(settings, clips))
    assert torch.equal(model(batch), with_merging(model, None)(batch))


@every_model
@pytest.mark.parametrize("amount", [HALF, {"share": 0.8, "schedule": "falling"}, {"tokens": 9}, PRUNED], ids=str)
@torch.no_grad()
def test_packed_equals_one_by_one(tiny, clips, settings, amount, equal):
    model, clips = merging_model(tiny, settings, **amount), of_one_length(settings, clips)
    packed = model(pack(clips))
    equal(f"merged, packed = one by one, {settings}", packed, torch.cat([model(pack([clip])) for clip in clips]))
    assert (packed - with_merging(model, None)(pack(clips))).abs().max() > 1e-3  # merging does something


@every_model
@torch.no_grad()
def test_permuting_clips_permutes_logits(tiny, clips, settings, equal):
    model, clips = merging_model(tiny, settings, **HALF), of_one_length(settings, clips)
    order = torch.randperm(len(clips)).tolist()
    equal(f"merged, clips permuted, {settings}", model(pack([clips[i] for i in order])), model(pack(clips))[order])


@torch.no_grad()
def test_the_backends_agree(tiny, clips, equal):
    model, dense = (merging_model(tiny, {"backend": name}, **HALF) for name in ("sdpa", "dense"))
    dense.load_state_dict(model.state_dict())
    equal("merged, sdpa = dense mask", model(pack(clips)), dense(pack(clips)))


@torch.no_grad()
def test_the_same_weights_with_and_without_merging(tiny, clips):
    model, batch = model_of(tiny()), pack(clips)
    plain = model(batch)
    merging = with_merging(model, TokenMerging(share=0.5))
    assert list(merging.state_dict()) == list(model.state_dict())
    assert not torch.equal(merging(batch), plain)
    assert torch.equal(model(batch), plain)
    assert all(a is b for a, b in zip(merging.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("counts", [[1], [3, 3, 3], [1, 2, 3, 40, 7, 33, 5]], ids=str)
@pytest.mark.parametrize("amount", [{"share": 0.5}, {"share": 0.95}, {"tokens": 100}], ids=str)
@torch.no_grad()
def test_sizes_of_a_clip_sum_to_its_tokens_and_the_prefix_stays(tiny, prefix, counts, amount):
    trunk, merging = build_model(tiny(model={"depth": 3}), 5).trunk, TokenMerging(**amount)
    lengths = Lengths.of([n + prefix for n in counts])
    x = torch.randn(sum(lengths.counts), trunk.norm.normalized_shape[0])
    found = merged_trunk(trunk, x, ClipMask(lengths, lengths, "sdpa"), merging, prefix)
    left = [merging.counts(n, 3)[-1] for n in counts]
    assert found.lengths.counts == left
    assert found.lengths.bounds.tolist() == Lengths.of(left).bounds.tolist()
    assert len(found.x) == sum(left) + prefix * len(left)
    sizes = torch.ones(len(x)) if found.sizes is None else found.sizes
    assert torch.equal(torch.bincount(found.sources).float(), sizes)
    owners = found.lengths.plus(prefix).owners()
    assert torch.equal(owners[found.sources], lengths.owners())  # no merge across clips
    assert torch.zeros(len(counts)).index_add(0, owners, sizes).tolist() == lengths.counts
    for clip in range(len(counts)):
        first, last = lengths.bounds[clip], found.lengths.plus(prefix).bounds[clip]
        assert found.sources[first : first + prefix].tolist() == list(range(last, last + prefix))
        assert (sizes[last : last + prefix] == 1).all()


def test_the_most_similar_pairs_merge_and_ties_go_to_the_first():
    keys = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 3, 4, 5, 6, 7, 7]), 8).float()[:, None]
    into, kept = match(keys, Lengths.of([10]), [8])
    assert into.tolist() == [2, 0, 1, 2, 3, 4, 5, 6, 7, 7]  # tokens 0 and 3, tokens 8 and 9
    assert kept.tolist() == [1, 2, 3, 4, 5, 6, 7, 9]
    into, _ = match(torch.ones(6, 2, 4), Lengths.of([6]), [5])
    assert into.tolist() == [0, 0, 1, 2, 3, 4]
    into, _ = match(torch.ones(6, 2, 4), Lengths.of([6]), [5], prefix=1)
    assert into.tolist() == [0, 1, 1, 2, 3, 4]


def test_matching_is_that_of_a_plain_loop():
    counts, prefix = [1, 2, 9, 30, 64, 17], 1
    keys, lengths = torch.randn(sum(counts), 2, 4), Lengths.of(counts)
    after = [n - (n - prefix) // 3 for n in counts]
    into, _ = match(keys, lengths, after, prefix)
    for clip, rows in enumerate(torch.arange(len(keys)).split(counts)):
        mean = torch.nn.functional.normalize(keys[rows].mean(1), dim=-1)
        a, b = range(prefix, len(rows), 2), range(prefix + 1, len(rows), 2)
        best = {i: max((float(mean[i] @ mean[j]), j) for j in b) for i in a} if b else {}
        merged = sorted(best, key=lambda i: -best[i][0])[: counts[clip] - after[clip]]
        expected = list(range(len(rows)))
        for i in merged:
            expected[i] = best[i][1]
        same = into[rows][:, None] == into[rows]
        assert torch.equal(same, torch.tensor(expected)[:, None] == torch.tensor(expected))


def test_a_merged_token_is_the_mean_of_its_tokens():
    x, into = torch.randn(7, 3), torch.tensor([0, 1, 0, 2, 2, 3, 2])
    once, sizes = merge(x, None, into, 4)
    assert sizes.tolist() == [2, 1, 3, 1]
    assert torch.equal(once[[1, 3]], x[[1, 5]])
    twice, sizes = merge(once, sizes, torch.tensor([0, 1, 0, 1]), 2)
    torch.testing.assert_close(twice, torch.stack([x[[0, 2, 3, 4, 6]].mean(0), x[[1, 5]].mean(0)]))
    assert sizes.tolist() == [5, 2]


@pytest.mark.parametrize("backend", ["sdpa", "dense"])
@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("counts", [[4, 4], [3, 7, 1]], ids=str)
def test_a_key_of_a_size_counts_like_as_many_equal_keys(backend, scale, counts, equal):
    lengths, sizes = Lengths.of(counts), torch.randint(1, 9, (sum(counts),))
    q, k, v = (torch.randn(sum(counts), 2, 16) for _ in range(3))
    owners = torch.zeros(len(counts), dtype=torch.int64).index_add(0, lengths.owners(), sizes)
    found = attend(q, k, v, ClipMask(lengths, lengths, backend, sizes.float()), scale)
    repeated = (x.repeat_interleave(sizes, 0) for x in (k, v))
    mask = ClipMask(lengths, Lengths.of(owners.tolist()), backend)
    equal("sizes = repeated keys", found, attend(q, *repeated, mask, scale))
    q = torch.randn(len(counts), 2, 16)
    found = attend(q, k, v, pooling_mask(lengths, backend, sizes.float()), scale)
    repeated = (x.repeat_interleave(sizes, 0) for x in (k, v))
    equal("pooling", found, attend(q, *repeated, pooling_mask(Lengths.of(owners.tolist()), backend), scale))
    equal(
        "mean",
        mean_pooling(v.flatten(1), lengths, sizes.float()),
        mean_pooling(v.flatten(1).repeat_interleave(sizes, 0), Lengths.of(owners.tolist())),
    )


COUNTS = [5, 16, 3, 24, 8]
"""Clips of a multiple of 8 tokens that do not begin at one: PyTorch copies the biases of all others."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_bias_begins_where_fused_kernels_can_read_it(monkeypatch, dtype):
    lengths, sizes, begins = Lengths.of(COUNTS), torch.randint(1, 9, (sum(COUNTS),)).float(), []
    attention_of_torch = torch.nn.functional.scaled_dot_product_attention

    def spy(*args, attn_mask, **options):
        begins.append(attn_mask.data_ptr() % 16)
        return attention_of_torch(*args, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    monkeypatch.setattr(attention, "faster_in_float32", lambda *_: False)
    values = [torch.randn(sum(COUNTS), 2, 16, dtype=dtype) for _ in range(3)]
    attend(*values, ClipMask(lengths, lengths, "sdpa", sizes), 1.0)
    assert begins == [0] * len(COUNTS)


@gpu
@pytest.mark.parametrize("backend", ["varlen", "xformers", "sdpa"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2), (torch.float16, 2e-2)])
def test_sizes_on_the_gpu_equal_a_dense_mask(backend, dtype, tolerance):
    skip_without(backend, dtype)
    lengths, sizes = Lengths.of(COUNTS, "cuda"), torch.randint(1, 9, (sum(COUNTS),), device="cuda").float()
    values = [torch.randn(sum(COUNTS), 2, 16, device="cuda", dtype=dtype) for _ in range(3)]
    found = attend(*values, ClipMask(lengths, lengths, backend, sizes), 1.0).double()
    mask = ClipMask(lengths, lengths, "dense", sizes.double())
    expected = attend(*(x.double() for x in values), mask, 1.0)
    assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_channels_of_sizes_equal_a_bias(dtype, tolerance, scale, equal):
    lengths, sizes = Lengths.of([50, 20]), torch.randint(1, 300, (70,)).float()
    q, k, v = (torch.randn(70, 2, 64).to(dtype) for _ in range(3))
    wide = with_size_channels(q, k, v, sizes, scale)
    assert all(x.shape == (70, 2, 72) and x.dtype == dtype for x in wide)
    found = attend(*wide, ClipMask(lengths, lengths, "sdpa"), scale)[..., :64].float()
    exact = attend(*(x.double() for x in (q, k, v)), ClipMask(lengths, lengths, "dense", sizes.double()), scale)
    equal(f"channels = bias, {dtype}", found, exact.float(), tolerance)


@every_model
@torch.no_grad()
def test_merging_equal_tokens_changes_nothing(tiny, settings, equal):
    """Without positions, tokens 2 i and 2 i + 1 are equal. The first block merges them, the second nothing."""
    model = model_of(tiny(model={**settings, "depth": 2}))
    for parameter in model.positions.parameters():
        parameter.zero_()
    clips = [random_clip(i, 96) for i in range(3)]
    for clip in clips:
        clip.patches[1::2] = clip.patches[::2]
        clip.time[:] = 0  # rotary positions have no parameters
        clip.freq[1::2] = clip.freq[::2]
    merging, batch = TokenMerging(tokens=12, schedule="falling"), pack(clips)
    assert merging.counts(48, 2) == [24, 24]
    found, expected = with_merging(model, merging)(batch), model(batch)
    equal(f"merged equal tokens, {settings}", found, expected)
    assert not torch.equal(found, expected)


@every_model
def test_gradients_reach_all_weights_and_no_other_clip(tiny, clips, settings):
    model, clips = merging_model(tiny, settings, **HALF).train(), of_one_length(settings, clips)
    for clip in clips:
        clip.patches.requires_grad_()
    logits = model(pack(clips))
    logits[1].square().sum().backward()
    assert [clip.patches.grad is not None and bool(clip.patches.grad.any()) for clip in clips] == [
        i == 1 for i in range(len(clips))
    ]
    assert clips[1].patches.grad.any(1).all()  # merged tokens have gradients too
    model.zero_grad()
    model(pack(clips)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@every_model
@pytest.mark.parametrize("amount", [HALF, {"share": 0.8, "schedule": "falling"}, {"tokens": 3}, PRUNED], ids=str)
@pytest.mark.parametrize("frames", [16, 64, 128])
def test_the_formula_of_operations_is_what_runs(tiny, settings, amount, frames):
    model = merging_model(tiny, settings, **amount)
    found = count_flops(model, pack([random_clip(0, frames)]))
    assert model.settings.flops(frames // 2, 5) == found
    assert found < with_merging(model, None).settings.flops(frames // 2, 5)


@pytest.mark.parametrize("prefix", [0, 2])
@torch.no_grad()
def test_pruning_leaves_the_tokens_that_get_most_attention(monkeypatch, prefix):
    monkeypatch.setattr(attention, "QUERIES", 7)
    counts = [1, 2, 9, 30, 17]
    lengths, fewer = Lengths.of(counts), Lengths.of([max(1, n - n // 3) for n in counts])
    q, k = torch.randn(sum(counts), 2, 4), torch.randn(sum(counts), 2, 4)
    found = received(q, k, lengths, 0.5)
    kept = most_attended(found, lengths, fewer, prefix).tolist()
    for clip, rows in enumerate(torch.arange(sum(counts)).split(counts)):
        weights = torch.stack([(0.5 * q[rows, head] @ k[rows, head].T).softmax(1) for head in range(2)])
        expected = weights.mean((0, 1)) * len(rows)
        torch.testing.assert_close(found[rows], expected)
        order = sorted(range(len(rows)), key=lambda i: (i >= prefix, -expected[i].item()))
        assert [i for i in kept if i in rows] == sorted(rows[i].item() for i in order[: fewer.counts[clip]])


def test_of_equally_attended_tokens_the_first_stay():
    assert most_attended(torch.ones(7), Lengths.of([4, 3]), Lengths.of([2, 1])).tolist() == [0, 1, 4]


@every_model
def test_pruned_tokens_leave_gradients_for_all_weights(tiny, clips, settings):
    model = merging_model(tiny, settings, **PRUNED).train()
    model(pack(of_one_length(settings, clips))).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
