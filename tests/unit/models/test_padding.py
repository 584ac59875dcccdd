"""NaFlex: clips padded under a mask, the same clips packed, and timm's NaFlexVit."""

import pytest
import torch

from elasticast.config import RunConfig
from elasticast.config.reading import deep_merge, validate
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.data.padding import padded
from elasticast.errors import ConfigError
from elasticast.evaluation.flops import forward_flops
from elasticast.models.attention import attend, with_size_channels
from elasticast.training.cost import ForwardCost
from elasticast.training.identity import may_compile
from tests.complaints import complains
from tests.gpu import gpu, skip_without
from tests.unit.models.test_equality import shaken
from tests.unit.models.test_models import clip_mask, model_of, random_clip

CASES = [
    {"positions": "grid"},
    {"positions": "grid", "grid_resize": "bilinear", "pooling": "mean"},
    {"positions": "grid", "pooling": "cls", "attention_scale": "qk_norm"},
    {"positions": "rotary", "rotary_base": 10000.0},
    {"positions": "rotary", "pooling": "cls", "backend": "dense"},
    {"positions": "table", "pooling": "mean"},
]
SIZES = ["longest", [136, 64, 96]]


def pair(tiny, settings, padding="longest"):
    """A model that pads clips, and one with the same weights that packs them."""
    models = [model_of(tiny(model={**settings, "padding": way})) for way in (padding, None)]
    models[1].load_state_dict(models[0].state_dict())
    return models


@pytest.mark.parametrize("padding", SIZES, ids=str)
@pytest.mark.parametrize("settings", CASES, ids=str)
@torch.no_grad()
def test_padded_equals_packed_equals_one_by_one(tiny, clips, equal, settings, padding):
    rows, packed = pair(tiny, settings, padding)
    expected = packed(pack(clips))
    equal(f"ElasticAST padded to {padding} = packed, {settings}", rows(pack(clips)), expected)
    alone = torch.cat([rows(pack([clip])) for clip in clips])
    equal(f"ElasticAST padded to {padding}, one by one = packed, {settings}", alone, expected)


@gpu
@pytest.mark.parametrize(
    ("backend", "dtype"), [("sdpa", torch.float32), ("xformers", torch.float32), ("varlen", torch.bfloat16)]
)
@torch.no_grad()
def test_padded_on_the_gpu_equals_packed(tiny, clips, equal, backend, dtype):
    skip_without(backend, dtype)
    rows, packed = (model.cuda() for model in pair(tiny, {"positions": "grid", "backend": backend}))
    packed.settings = packed.settings.model_copy(update={"backend": "dense"})
    expected = packed(pack(clips).to("cuda"))
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        found = rows(pack(clips).to("cuda")).float()
    tolerance = (1e-4 if dtype == torch.float32 else 5e-2) * expected.abs().max().item()
    equal(f"ElasticAST on a GPU, padded, {backend} = packed, dense mask, {dtype}", found, expected, tolerance)


@pytest.mark.parametrize("settings", CASES[:4], ids=str)
def test_gradients_of_padded_and_packed_clips_are_equal(tiny, clips, settings):
    models = pair(tiny, settings)
    for model in models:
        model(pack(clips)).square().sum().backward()
    found, expected = (torch.cat([p.grad.flatten() for p in model.parameters()]) for model in models)
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("settings", CASES, ids=str)
@torch.no_grad()
def test_what_is_in_the_padding_changes_nothing(tiny, clips, settings):
    model = pair(tiny, settings)[0]
    model._forward_pre_hooks.clear()  # the batch is padded here
    batch = padded(pack(clips))
    expected = model(batch)
    batch.patches[~batch.mask] = 1e6 * torch.randn(int((~batch.mask).sum()), 256)
    batch.time[~batch.mask] = 7 * (model.settings.positions == "rotary")
    assert torch.equal(model(batch), expected)


@torch.no_grad()
def test_a_mask_of_clips_of_one_length_does_nothing(tiny, equal):
    rows, packed = pair(tiny, CASES[0])
    batch = pack([random_clip(i, 96) for i in range(4)])
    equal("ElasticAST, a mask without padding = no mask", rows(batch), packed(batch), 1e-6)


@torch.no_grad()
def test_extra_channels_mask_padding_in_kernels_that_take_no_bias(equal):
    torch.manual_seed(0)
    q, k, v = (10 * torch.randn(n, 2, 8) for n in (5, 12, 12))
    sizes = torch.tensor([1.0, 0.0] * 6)
    q, k, v = with_size_channels(q, k, v, sizes, 0.5)
    found = attend(q, k, v, clip_mask([5], [12], "sdpa"), 0.5)
    expected = attend(q, k[::2], v[::2], clip_mask([5], [6], "sdpa"), 0.5)
    equal("extra channels of padding = keys left out", found[..., :8], expected[..., :8])


@torch.no_grad()
@pytest.mark.parametrize("positions", ["learned", "axial"])
def test_padded_and_packed_clips_are_timms_naflexvit(tiny, equal, positions):
    naflex = pytest.importorskip("timm.models.naflexvit", reason="needs `pip install -e .[equality]`")
    options = {"rope_type": "axial", "attn_type": "rope", "pos_embed": "none"} if positions == "axial" else {}
    heads, dim, depth = 2, 32, 2
    size = {"embed_dim": dim, "depth": depth, "num_heads": heads, "pos_embed_grid_size": (8, 16)}
    head = {"global_pool": "avg", "fc_norm": False}
    theirs = shaken(naflex.NaFlexVit(naflex.NaFlexVitCfg(**size, **head, **options), in_chans=1, num_classes=5), 0.2)
    settings = {"dim": dim, "depth": depth, "heads": heads, "pooling": "mean", "max_frames": 256}
    settings |= {"positions": "rotary", "rotary_base": 10000.0} if positions == "axial" else {"positions": "grid"}
    rows, packed = pair(tiny, settings)
    for model in (rows, packed):
        model.head_norm = torch.nn.Identity()  # theirs has one LayerNorm between the blocks and the head
        model.load_state_dict(as_ours(theirs.state_dict(), dim, heads, rotary=positions == "axial"))
    clips = []
    for seed, (freq, time) in enumerate([(8, 4), (8, 16), (8, 23)]):
        clips.append(PackedClip(seed, torch.randn(freq * time, 256), *grid_positions(freq, time), torch.zeros(5)))
    batch = padded(pack(clips))
    places = torch.stack([batch.freq, batch.time], -1)
    expected = theirs({"patches": batch.patches, "patch_coord": places, "patch_valid": batch.mask})
    equal(f"timm NaFlexVit, logits, {positions} positions, padded", rows(pack(clips)), expected)
    equal(f"timm NaFlexVit, logits, {positions} positions, packed", packed(pack(clips)), expected)


def as_ours(state, dim, heads, rotary):
    """Weights of timm's NaFlexVit by our names. Ours rotates channels i and i + E/2 together, timm's 2i and 2i + 1."""
    names = {"embeds.proj": "patch_embed", "blocks": "trunk.blocks", "norm": "trunk.norm"}
    ours = {}
    for name, value in state.items():
        if name == "embeds.pos_embed":
            ours["positions.table"] = value.permute(0, 3, 1, 2)
        elif old := next((old for old in names if name.startswith(f"{old}.")), None):
            ours[names[old] + name.removeprefix(old)] = value
        else:
            ours[name] = value
    if rotary:
        pairs = torch.arange(dim // heads).view(-1, 2).T.flatten()
        order = torch.cat([pairs + head * dim // heads for head in range(heads)])
        rows = torch.cat([order, order + dim, torch.arange(2 * dim, 3 * dim)])
        for name in [name for name in ours if ".qkv." in name]:
            ours[name] = ours[name][rows]
    return ours


def test_padding_counts_in_the_cost(tiny, clips):
    config = tiny(model={"padding": [96, 256]})
    model, batch = model_of(config), pack(clips)
    tokens = [len(clip.patches) for clip in clips]
    cost, plain = ForwardCost(model.settings, config, 5), model.settings.flops
    assert max(tokens) == 128
    assert cost.batch(batch) == len(clips) * plain(256, 5)
    assert cost.clip(40) == forward_flops(model, config, 40, 5) == plain(96, 5)
    packed = ForwardCost(tiny().model, tiny(), 5)
    assert packed.batch(batch) == sum(packed.clip(n) for n in tokens) < cost.batch(batch)


def test_padded_batches_are_not_compiled(tiny):
    assert may_compile(tiny(), "varlen")
    assert not may_compile(tiny(model={"padding": "longest"}), "varlen")


@pytest.mark.parametrize(
    ("difference", "key"),
    [
        ({"model": {"padding": []}}, "model.padding"),
        ({"model": {"padding": [0]}}, "model.padding"),
        ({"model": {"padding": "shortest"}}, "model.padding"),
        ({"model": {"padding": "longest", "merge": {"share": 0.5}}}, "model.merge"),
        ({"model": {"padding": "longest", "frame_head": True}}, "model.frame_head"),
        ({"model": {"padding": "longest", "init": "run:a", "adapt": {"kind": "bitfit"}}}, "model.adapt"),
        ({"model": {"padding": "longest", "positions": "rotary", "context": {"chunk": 2}}}, "model.context"),
        ({"model": {"rotary_base": 0}}, "model.rotary_base"),
        ({"view": {"frames": 64}, "model": {"padding": "longest"}, "train": {"batch": {"buckets": True}}}, "buckets"),
    ],
    ids=str,
)
def test_padding_that_does_not_fit_is_refused(tiny, difference, key):
    with complains(ConfigError, key):
        validate(RunConfig, deep_merge(tiny().model_dump(), difference), "config.yaml")


def test_buckets_group_padded_clips_and_do_not_lengthen_them(tiny, train_clips, norm):
    from elasticast.data.dataset import ClipDataset
    from elasticast.data.sampler import BatchSampler

    batch = {"clips": 4, "buckets": True}
    dataset = ClipDataset(train_clips, tiny(model={"padding": "longest"}, train={"batch": batch}), norm)
    plain = ClipDataset(train_clips, tiny(), norm)
    sampler = BatchSampler(dataset.tokens(), dataset.config.train.batch, 0)
    for requests in sampler.epoch(0):
        for request in requests:
            assert len(dataset[request].patches) == len(plain[request._replace(fill_to=0)].patches)
