"""The models are the published ones: same numbers as independent implementations on the same random weights.

The largest error of each comparison is printed at the end of the test run.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from elasticast.config import AuMSettings
from elasticast.data.features import patchify
from elasticast.data.packing import Lengths, PackedClip, grid_positions, pack
from elasticast.models import build_model
from elasticast.models.aum import MambaBlock, Places
from elasticast.models.pretrained import load_model
from tests.unit.models import layouts


def shaken(model, amount=0.05):
    """Random weights far from an initialisation's zeros and ones, which would hide mistakes."""
    for parameter in model.parameters():
        parameter.data += amount * torch.randn_like(parameter)
    return model.eval()


def clip_of(model_settings, spectrogram, classes=1):
    freq, time = grid_positions(*map(model_settings.patches, spectrogram.shape))
    patches = patchify(spectrogram, model_settings.patch, model_settings.stride)
    return PackedClip(0, patches, freq, time, torch.zeros(classes))


@torch.no_grad()
@pytest.mark.parametrize(("stride", "frames"), [(10, 128), (16, 128), (10, 250)])
def test_ast_is_hugging_faces(tmp_path, equal, stride, frames):
    transformers = pytest.importorskip("transformers", reason="needs `pip install -e .[equality]`")
    config = transformers.ASTConfig(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=200,
        time_stride=stride,
        frequency_stride=stride,
        max_length=frames,
        num_labels=7,
    )
    theirs = shaken(transformers.ASTForAudioClassification(config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    spectrograms = torch.randn(3, 128, frames)
    expected = theirs(spectrograms.mT)
    batch = pack([clip_of(ours.config.model, x) for x in spectrograms])
    name = f"stride {stride}, {frames} frames"
    equal(f"Hugging Face ASTForAudioClassification, logits, {name}", ours.model(batch), expected.logits)
    ours.model.head = ours.model.head_norm = torch.nn.Identity()
    pooled = theirs.audio_spectrogram_transformer(spectrograms.mT).pooler_output
    equal(f"Hugging Face ASTModel, pooled, {name}", ours.model(batch), pooled)


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_ast_trunk_is_timms(tmp_path, equal, name):
    timm = pytest.importorskip("timm", reason="needs `pip install -e .[equality]`")
    theirs = shaken(timm.create_model(name, img_size=128, depth=4))
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = load_model(tmp_path / "vit.pth", classes=["a", "b"], frames=128)
    assert ours.config.model.prefix_tokens == theirs.num_prefix_tokens
    seen = {}
    ours.model.trunk.register_forward_hook(lambda _, __, x: seen.update(tokens=x))
    spectrograms = torch.randn(2, 128, 128)
    ours.model(pack([clip_of(ours.config.model, x) for x in spectrograms]))
    expected = theirs.forward_features(spectrograms[:, None].expand(-1, 3, -1, -1))
    equal(f"timm {name}, tokens after the trunk", seen["tokens"], expected.flatten(0, 1))


def plain_attention(state, q_name, kv_name, proj_name, queries, tokens, heads):
    """Attention without a scale, straight from the definition."""

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    q, (k, v) = linear(q_name, queries), linear(kv_name, tokens).chunk(2, dim=-1)
    width, out = q.shape[-1] // heads, []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        scores = q[:, part] @ k[:, part].T
        weights = (scores - scores.max(-1, keepdim=True).values).exp()
        out.append(weights / weights.sum(-1, keepdim=True) @ v[:, part])
    return linear(proj_name, torch.cat(out, dim=-1))


def plain_elastic(state, spectrogram, heads, depth):
    """The released ElasticAST on one clip `[128, T]`, straight from its description, in float64."""
    state = {name.removeprefix("module."): value.double() for name, value in state.items()}
    spectrogram = spectrogram.double()

    def norm(name, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / (variance + 1e-6).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    tokens = []
    for f in range(8):
        for t in range(spectrogram.shape[1] // 16):
            patch = spectrogram[16 * f : 16 * f + 16, 16 * t : 16 * t + 16].flatten()
            tokens.append(linear("patch_embed.0", patch) + state["pos_embed_freq"][f] + state["pos_embed_time"][t])
    x = torch.stack(tokens)
    for i in range(depth):
        block = f"blocks.modules_list.{i}"
        y = norm(f"{block}.norm1", x)
        names = (f"{block}.attn.to_q", f"{block}.attn.to_kv", f"{block}.attn.proj")
        x = x + plain_attention(state, *names, y, y, heads)
        y = linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x))
        x = x + linear(f"{block}.mlp.fc2", y * 0.5 * (1 + torch.erf(y / math.sqrt(2))))
    x = norm("norm", x)
    names = ("attn_pool.to_q", "attn_pool.to_kv", "attn_pool.proj")
    pooled = plain_attention(state, *names, state["attn_pool_queries"][None], x, heads)
    return linear("head", norm("mlp_norm", pooled))[0]


@torch.no_grad()
@pytest.mark.parametrize("rows", [64, 192])
def test_elasticast_is_the_released_one(tmp_path, tiny, equal, rows):
    settings = {"dim": 128, "heads": 2, "depth": 3, "max_frames": 16 * rows, "attention_scale": "none"}
    config = tiny(model=settings, view={"max_frames": 256})
    state = layouts.released_elastic(shaken(build_model(config, 309)).state_dict(), 3)
    torch.save(state, tmp_path / "released.pth")
    ours = load_model(tmp_path / "released.pth")
    assert ours.config.model.max_frames == 16 * rows
    assert ours.config.model.attention_scale == "none"
    spectrograms = [torch.randn(128, frames) for frames in (16, 160, 64, 16 * rows)]
    found = ours.model(pack([clip_of(ours.config.model, x, 309) for x in spectrograms]))
    expected = torch.stack([plain_elastic(state, x, 2, 3) for x in spectrograms])
    equal(f"released ElasticAST, plain reference, {rows} rows of time positions", found, expected)


@torch.no_grad()
def test_ast_file_is_timms_trunk_with_its_own_head(tmp_path, equal):
    """AST as published: DeiT-distilled trunk, mean of both tokens, LayerNorm of torch's default epsilon, linear."""
    timm = pytest.importorskip("timm", reason="needs `pip install -e .[equality]`")
    trunk = shaken(timm.create_model("deit_tiny_distilled_patch16_224", depth=2, num_classes=1000))
    head = shaken(torch.nn.Sequential(torch.nn.LayerNorm(192), torch.nn.Linear(192, 35)))
    positions = torch.randn(1, 2 + 12 * 12, 192) / 10
    kernel = torch.randn(192, 1, 16, 16) / 16
    state = trunk.state_dict() | {"pos_embed": positions, "patch_embed.proj.weight": kernel}
    state = {f"module.v.{name}": value for name, value in state.items()}
    state |= {f"module.mlp_head.{name}": value for name, value in head.state_dict().items()}
    torch.save(state, tmp_path / "ast.pth")
    ours = load_model(tmp_path / "ast.pth")
    assert (ours.config.model.stride, ours.config.view.frames) == (10, 128)
    spectrograms = torch.randn(2, 128, 128)
    x = F.conv2d(spectrograms[:, None], kernel, trunk.patch_embed.proj.bias, stride=10).flatten(2).mT
    x = torch.cat([trunk.cls_token.expand(2, -1, -1), trunk.dist_token.expand(2, -1, -1), x], 1) + positions
    x = trunk.norm(trunk.blocks(x))
    found = ours.model(pack([clip_of(ours.config.model, s) for s in spectrograms]))
    equal("AST .pth (YuanGongND), logits, stride 10, blocks of timm", found, head((x[:, 0] + x[:, 1]) / 2))


@torch.no_grad()
@pytest.mark.parametrize("direction", ["fo_fo", "bi_bi"])
def test_mamba_blocks_are_mambapys(equal, direction):
    mamba = pytest.importorskip("mambapy.mamba", reason="needs `pip install -e .[mambapy]`")
    vim = pytest.importorskip("mambapy.vim", reason="needs `pip install -e .[mambapy]`")
    settings = AuMSettings(kind="aum", dim=48, depth=3, direction=direction)
    package, block = (mamba, mamba.Mamba) if direction == "fo_fo" else (vim, vim.VMamba)
    theirs = shaken(block(package.MambaConfig(d_model=48, n_layers=3)))
    ours = torch.nn.ModuleList(MambaBlock(settings) for _ in range(3))
    ours.load_state_dict({_ours(name): value for name, value in theirs.state_dict().items()})
    clips = torch.randn(4, 70, 48)
    x, places = clips.flatten(0, 1), Places(Lengths.of([70] * 4))
    for layer in ours:
        x = layer(x, places)
    expected = theirs(clips).flatten(0, 1)
    scale = expected.abs().max()
    equal(f"mambapy {block.__name__}, tokens after 3 blocks, of the largest", x / scale, expected / scale)


def _ours(name):
    """Our name of a tensor of mambapy."""
    layer, rest = name.removeprefix("layers.").split(".", 1)
    if rest.startswith(("norm.", "mixer.in_proj", "mixer.out_proj")):
        return f"{layer}.{rest}"
    part, kind = rest.removeprefix("mixer.").replace("conv1d", "conv").partition(".")[::2]
    side = "backwards" if part.endswith("_b") else "forwards"
    part = {"A_log": "a_log", "D": "d"}.get(part.removesuffix("_b"), part.removesuffix("_b"))
    return ".".join([layer, "mixer", side, part, *([kind] if kind else [])])
