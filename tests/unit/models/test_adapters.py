"""Properties of adapted models: where they start, what trains, and that clips of a batch stay apart."""

import pytest
import torch

from elasticast.config import TokenMerging
from elasticast.config.model.adapting import LoRA
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.evaluation.flops import count_flops
from elasticast.models import build_model
from elasticast.models.adapters import adapt, is_added, merge_low_rank, trained_parameters, trained_state
from elasticast.models.pretrained import load_model
from elasticast.models.token_merging import with_merging
from elasticast.training.objective import compute_loss
from elasticast.training.optim import build_optimizer
from tests.unit.models.test_equality import clip_of, shaken
from tests.unit.models.test_models import FRAMES, model_of, of_one_length, random_clip

KINDS = {
    "linear": {"kind": "linear"},
    "bitfit": {"kind": "bitfit"},
    "lora": {"kind": "lora", "rank": 4},
    "lora q k v": {"kind": "lora", "rank": 2, "targets": ["k", "q", "v"]},
    "prompts": {"kind": "prompts", "tokens": 3},
    "deep prompts": {"kind": "prompts", "tokens": 3, "deep": True},
    "bottleneck": {"kind": "bottleneck"},
    "bottleneck houlsby": {"kind": "bottleneck", "place": "houlsby", "order": "sequential"},
    "conformer": {"kind": "conformer", "order": "sequential"},
    "conformer houlsby": {"kind": "conformer", "place": "houlsby"},
}
MODELS = {
    "attention": {},
    "cls rotary": {"positions": "rotary", "pooling": "cls"},
    "ast": {"kind": "ast", "prefix_tokens": 2},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_model = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)


def adapted(tiny, settings, kind):
    """Settings of an adapted model; its weights are random."""
    return tiny(model={**settings, "init": "weights", "adapt": KINDS[kind]})


@every_model
@every_kind
@torch.no_grad()
def test_it_starts_as_the_model_that_it_adapts(tiny, clips, settings, kind, equal):
    base, batch = model_of(tiny(model=settings)), pack(of_one_length(settings, clips))
    model = build_model(adapted(tiny, settings, kind), 5).eval()
    missing, unexpected = model.load_state_dict(base.state_dict(), strict=False)
    assert not unexpected
    assert all(map(is_added, missing))
    if "prompts" in kind:
        assert (model(batch) - base(batch)).abs().max() > 1e-3
    else:
        equal(f"{kind} at the start = base, {settings}", model(batch), base(batch), 1e-6)


@every_model
@every_kind
def test_only_what_is_adapted_changes_and_all_of_it_does(tiny, clips, settings, kind):
    config = adapted(tiny, settings, kind)
    model, batch = build_model(config, 5).train(), pack(of_one_length(settings, clips))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(model, config.train)
    for _ in range(2):  # what is behind a weight of 0 has a gradient from the second step on
        compute_loss(model(batch), batch.targets, "bce").backward()
        optimizer.step()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        optimizer.zero_grad()
    trained = trained_state(model)
    assert gradients.keys() == trained.keys()
    after_blocks = ("head.", "head_norm.", "pool.", "trunk.norm.")
    assert all(name in trained for name in before if is_added(name) or name.startswith(after_blocks))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= trained.keys()
    assert not [name for name in trained if is_added(name) and not gradients[name].any()]
    unused = {name for name in trained if name.endswith("kv.bias")}  # the bias of keys changes no attention
    assert trained.keys() - unused - changed == set()


@every_model
@every_kind
@torch.no_grad()
def test_packed_equals_one_by_one(tiny, clips, settings, kind, equal):
    model, clips = model_of(adapted(tiny, settings, kind)), of_one_length(settings, clips)
    packed = model(pack(clips))
    equal(f"{kind}, packed = one by one, {settings}", packed, torch.cat([model(pack([clip])) for clip in clips]))
    dropped = [clip.select(torch.arange(0, len(clip.patches), 2 + i)) for i, clip in enumerate(clips)]
    alone = torch.cat([model(pack([clip])) for clip in dropped])
    equal(f"{kind}, packed = one by one, without some tokens, {settings}", model(pack(dropped)), alone)


@every_model
@every_kind
@torch.no_grad()
def test_the_backends_agree(tiny, clips, settings, kind, equal):
    model, batch = model_of(adapted(tiny, settings, kind)), pack(of_one_length(settings, clips))
    dense = model_of(adapted(tiny, {**settings, "backend": "dense"}, kind))
    dense.load_state_dict(model.state_dict())
    equal(f"{kind}, sdpa = dense mask, {settings}", model(batch), dense(batch))


@every_kind
def test_a_clip_touches_no_other(tiny, clips, kind):
    model, batch = model_of(adapted(tiny, {}, kind)).train(), pack(clips)
    batch.patches.requires_grad_()
    gradient = torch.autograd.grad(model(batch)[1].square().sum(), batch.patches)[0]
    touched = [part.any().item() for part in gradient.split(batch.seqlens)]
    assert touched == [False, True, False, False, False]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "prompts" not in kind])
@torch.no_grad()
def test_adapters_see_merged_tokens(tiny, clips, kind, equal):
    model = model_of(adapted(tiny, {}, kind))
    merging = with_merging(model, TokenMerging(share=0.5))
    alone = torch.cat([merging(pack([clip])) for clip in clips])
    equal(f"{kind} and merged tokens, packed = one by one", merging(pack(clips)), alone)
    assert torch.equal(with_merging(model, TokenMerging(share=0.0))(pack(clips)), model(pack(clips)))


@every_kind
@pytest.mark.parametrize("merge", [None, {"share": 0.5}])
def test_the_formula_of_operations_is_what_runs(tiny, kind, merge):
    merge = None if "prompts" in kind else merge
    model = build_model(tiny(model={"init": "weights", "adapt": KINDS[kind], "merge": merge}), 5)
    assert model.settings.flops(96, 5) == count_flops(model, pack([random_clip(0, 192)]))


@pytest.mark.parametrize("targets", [["q", "v"], ["k"], ["v", "k", "q"]], ids=str)
@torch.no_grad()
def test_merged_low_rank_updates_are_the_same_model(tiny, clips, targets, equal):
    config = tiny(model={"init": "weights", "adapt": {"kind": "lora", "rank": 3, "scale": 0.7, "targets": targets}})
    model, plain = model_of(config), build_model(tiny(), 5).eval()
    plain.load_state_dict(merge_low_rank(model.state_dict(), config.model.adapt))
    equal(f"merged updates of {targets}", plain(pack(clips)), model(pack(clips)))


def test_a_convolution_is_that_of_each_clip(tiny, equal):
    model = model_of(adapted(tiny, {}, "conformer"))
    network = model.trunk.blocks[0].adapters["mlp"].network
    lengths = pack([random_clip(i, frames) for i, frames in enumerate(FRAMES)]).lengths
    x = torch.randn(sum(lengths.counts), 8)
    expected = torch.cat([network.conv(part.T[None])[0].T for part in x.split(lengths.counts)])
    equal("convolution of packed clips = one by one", network._convolved(x, lengths), expected)


def test_prompts_come_after_the_prefix_of_each_clip_and_deep_ones_are_replaced(tiny):
    config = adapted(tiny, {"kind": "ast", "prefix_tokens": 2, "depth": 3}, "deep prompts")
    model, seen = build_model(config, 5).eval(), []
    for block in model.trunk.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(pack([random_clip(i, 64) for i in range(2)]))
    prefix = (model.prefix + model.prefix_positions).expand(2, -1, -1)
    for number, x in enumerate(seen):
        x = x.unflatten(0, (2, -1))
        assert x.shape[1] == 2 + 3 + 32
        assert torch.equal(x[:, 2:5], model.trunk.prompts.tokens[number].expand(2, -1, -1))
    assert torch.equal(seen[0].unflatten(0, (2, -1))[:, :2], prefix)


AFTER = 2 * 768
"""The last LayerNorm, which the published counts leave out."""
COUNTS = [  # Cappellazzo et al. 2023, with LayerNorms that train before adapters
    ({"kind": "linear"}, 0),
    ({"kind": "bitfit"}, 102_144 - 768),
    *(({"kind": "lora", "rank": rank}, count) for rank, count in {12: 442_368, 8: 294_912, 6: 221_184}.items()),
    ({"kind": "prompts"}, 19_200),
    ({"kind": "prompts", "deep": True}, 230_400),
    *(
        ({"kind": "bottleneck", "width": width, "place": place}, count)
        for (width, place), count in {
            (8, "pfeiffer"): 175_200,
            (12, "pfeiffer"): 248_976,
            (8, "houlsby"): 350_400,
            (12, "houlsby"): 497_952,
        }.items()
    ),
    *(
        ({"kind": "conformer", "width": width, "place": place}, count)
        for (width, place), count in {
            (8, "pfeiffer"): 270_720,
            (8, "houlsby"): 541_440,
            (12, "pfeiffer"): 383_040,
            (12, "houlsby"): 766_080,
        }.items()
    ),
]


@pytest.mark.parametrize(("adaptation", "count"), COUNTS, ids=str)
def test_the_numbers_of_parameters_are_the_published_ones(tiny, adaptation, count):
    base = {"kind": "ast", "dim": 768, "depth": 12, "heads": 12, "init": "weights"}
    with torch.device("meta"):
        model = build_model(tiny(model={**base, "adapt": adaptation}), 10)
    head = sum(p.numel() for part in (model.head, model.head_norm) for p in part.parameters())
    assert trained_parameters(model) - head - AFTER == count


@torch.no_grad()
def test_low_rank_updates_are_those_of_peft(tmp_path, equal):
    transformers = pytest.importorskip("transformers", reason="needs `pip install -e .[equality]`")
    peft = pytest.importorskip("peft", reason="needs `pip install -e .[equality]`")
    size = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
    config = transformers.ASTConfig(**size, max_length=128, num_labels=7)
    theirs = shaken(transformers.ASTForAudioClassification(config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    adaptation = LoRA(kind="lora", rank=12, scale=0.125)
    ours.model.settings = ours.config.model.model_copy(update={"adapt": adaptation})
    adapt(ours.model, adaptation)
    # its factor is alpha / r
    lora = peft.LoraConfig(r=12, lora_alpha=1.5, target_modules=["q_proj", "v_proj"], lora_dropout=0.0)
    theirs = peft.get_peft_model(theirs, lora).eval()
    layers = theirs.base_model.model.audio_spectrogram_transformer.layers
    for layer, block in zip(layers, ours.model.trunk.blocks, strict=True):
        for name, linear in {"q": layer.attention.q_proj, "v": layer.attention.v_proj}.items():
            for part, matrix in zip(block.attn.qkv.lora[name], (linear.lora_A, linear.lora_B), strict=True):
                matrix["default"].weight.data.copy_(part.weight.data.normal_(std=0.3))
    spectrograms = torch.randn(3, 128, 128)
    found = ours.model(pack([clip_of(ours.config.model, x) for x in spectrograms]))
    equal("peft, LoRA on query and value of an AST", found, theirs(spectrograms.mT).logits)
    merged = theirs.merge_and_unload()
    equal("peft, merged", found, merged(spectrograms.mT).logits)


@every_kind
def test_the_order_of_tokens_matters_to_the_convolution_only(tiny, equal, kind):
    freq, time = grid_positions(8, 6)
    clip = PackedClip(0, torch.randn(48, 256), freq, time, torch.zeros(5))
    order = torch.randperm(48)
    mixed = PackedClip(0, clip.patches[order], freq[order], time[order], clip.target)
    model = model_of(adapted(tiny, {}, kind))
    error = (model(pack([mixed])) - model(pack([clip]))).abs().max()
    assert (error > 1e-3) == kind.startswith("conformer")
