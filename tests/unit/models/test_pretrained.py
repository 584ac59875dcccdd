"""Weights from elsewhere: recognised, renamed and adapted, or refused with one clear error."""

import json
import os
import shutil
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from elasticast.checksums import OWN, write_record
from elasticast.data.norm import Norm
from elasticast.data.packing import PackedClip, grid_positions, pack
from elasticast.data.patch_sizes import resized_kernel
from elasticast.data.stats import RELEASED
from elasticast.errors import DataError
from elasticast.models import build_model
from elasticast.models.pretrained import init_source, load_model, start_from
from elasticast.models.weights.vit import resize_grid
from elasticast.training.checkpoint import save_model
from elasticast.training.inputs import RunInputs, read_inputs
from elasticast.training.loop import Trainer
from tests.complaints import assert_names, complains, names
from tests.unit.models import layouts

SMALL = {"dim": 64, "depth": 2, "heads": 1}
ELASTIC = {**SMALL, "kind": "elasticast", "max_frames": 1024, "attention_scale": "none"}
DEIT = {**SMALL, "kind": "ast", "prefix_tokens": 2}


def shaken(config, classes):
    model = build_model(config, classes)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def batch_of(config, frames):
    clips = []
    for n in frames:
        freq, time = grid_positions(config.model.patches(128), config.model.patches(n))
        clips.append(PackedClip(0, torch.randn(len(freq), 256), freq, time, torch.zeros(1)))
    return pack(clips)


def assert_same_model(found, model, config, frames):
    """Same names, same weights bit for bit, same logits."""
    ours = model.state_dict()
    assert found.model.state_dict().keys() == ours.keys()
    assert all(torch.equal(value, ours[name]) for name, value in found.model.state_dict().items())
    batch = batch_of(config, frames)
    assert torch.equal(found.model(batch), model(batch))


@pytest.fixture
def elastic(tiny):
    config = tiny(model=ELASTIC, view={"max_frames": 1024})
    return config, shaken(config, 309)


@pytest.fixture
def elastic_file(elastic, tmp_path):
    torch.save(layouts.released_elastic(elastic[1].state_dict(), 2), tmp_path / "elastic.pth")
    return tmp_path / "elastic.pth"


@pytest.fixture
def deit(tiny):
    """An AST of stride 10 at 128 frames, head as published."""
    config = tiny(model={**DEIT, "stride": 10, "head_norm_eps": 1e-5}, view={"frames": 128})
    return config, shaken(config, 35)


@pytest.fixture
def ast_file(deit, tmp_path):
    torch.save(layouts.ast(deit[1].state_dict(), 2), tmp_path / "ast.pth")
    return tmp_path / "ast.pth"


# ---------------------------------------------------------------------------------------------
# Round trips
# ---------------------------------------------------------------------------------------------


def seal(folder: Path) -> None:
    """Make the checksums of a model fit its files."""
    content = {key: value for key, value in json.loads((folder / "model.json").read_text()).items() if key != OWN}
    write_record(folder / "model.json", content, [folder / "model.safetensors"])


def test_own_run(tiny, tmp_path):
    config = tiny()
    model = shaken(config, 3)
    save_model(tmp_path, model, config, Norm(-7.0, 4.0), ["a", "b", "c"], "multi")
    for source in (tmp_path, str(tmp_path), tmp_path / "model.safetensors"):
        found = load_model(source)
        assert_same_model(found, model, config, (16, 96))
        assert (found.classes, found.kind, found.norm, found.config) == (["a", "b", "c"], "multi", Norm(-7, 4), config)
        assert (found.notes, found.model.training) == ([], False)


def test_released_elasticast(elastic, elastic_file):
    found = load_model(elastic_file)
    assert_same_model(found, elastic[1], elastic[0], (16, 1024, 96))
    assert_names(found.description, "ElasticAST", 2, 64, 128, 1024, 16, 309)
    assert (found.config.dataset, found.norm, found.kind) == ("vggsound", Norm(-5.08, 4.453), "single")
    assert (found.classes[0], found.classes[-1]) == ("class_000", "class_308")
    assert any(names(note, "class_000") and names(note, "class_308") for note in found.notes)
    assert not any(names(note, "EPIC-SOUNDS") for note in found.notes)


def test_released_elasticast_of_epic_sounds_has_its_own_front_end(elastic, tmp_path):
    torch.save(layouts.released_elastic(shaken(elastic[0], 44).state_dict(), 2), tmp_path / "epic.pth")
    found = load_model(tmp_path / "epic.pth")
    assert any(names(note, "EPIC-SOUNDS") and names(note, 24) for note in found.notes)
    front_end, view = found.config.front_end, found.config.view
    assert front_end == RELEASED["epic_sounds"].front_end
    assert (view.frames, view.max_frames, view.min_frames, view.fill) == ("native", 1024, 192, "edge")
    values = torch.randn(3, 5)
    assert torch.equal(found.norm(values), values)  # its loader hands the log-mel on as it is


@pytest.mark.parametrize("with_imagenet_head", [True, False])
def test_ast(deit, ast_file, with_imagenet_head):
    if not with_imagenet_head:
        state = torch.load(ast_file, weights_only=True)
        torch.save({k: v for k, v in state.items() if not k.startswith("module.v.head")}, ast_file)
    found = load_model(ast_file)
    assert_same_model(found, deit[1], deit[0], (128, 128))
    assert (found.config.model.stride, found.config.view.frames, found.config.model.head_norm_eps) == (10, 128, 1e-5)
    assert (found.config.dataset, found.norm) == ("speech_commands", Norm(-6.845978, 5.5654526))


def test_hugging_face_ast_written_out_here(deit, tmp_path):
    model = deit[1]
    save_file(layouts.hugging_face(model.state_dict(), 2), tmp_path / "model.safetensors")
    about = {"num_attention_heads": 1, "frequency_stride": 10, "time_stride": 10, "max_length": 128}
    about |= {"num_mel_bins": 128, "layer_norm_eps": 1e-6, "id2label": {str(i): f"word {i}" for i in range(35)}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    beside = {"mean": -6.0, "std": 5.0, "do_normalize": True, "sampling_rate": 16000}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(beside))
    for source in (tmp_path, tmp_path / "model.safetensors"):
        found = load_model(source)
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in found.model.state_dict().items())
        assert (found.classes[:2], found.norm) == (["word 0", "word 1"], Norm(-6.0, 5.0))
        assert (found.config.model.norm_eps, found.config.model.stride) == (1e-6, 10)
    (tmp_path / "alone").mkdir()
    shutil.copy(tmp_path / "model.safetensors", tmp_path / "alone" / "ast.safetensors")
    alone = load_model(tmp_path / "alone" / "ast.safetensors")  # without the files beside it
    assert (alone.config.model.norm_eps, alone.config.model.stride) == (1e-12, 10)
    assert alone.norm == Norm(-6.845978, 5.5654526)


@pytest.mark.parametrize(("classes", "loss"), [(527, "bce"), (309, "bce"), (1251, "ce"), (44, "ce"), (7, "ce")])
def test_the_loss_of_a_released_elasticast_is_that_of_its_recipe(elastic, tmp_path, classes, loss):
    torch.save(layouts.released_elastic(shaken(elastic[0], classes).state_dict(), 2), tmp_path / "it.pth")
    assert load_model(tmp_path / "it.pth").config.train.loss == loss


@pytest.mark.parametrize(
    ("problem_type", "kind", "loss"),
    [
        (None, "single", "bce"),
        ("single_label_classification", "single", "ce"),
        ("multi_label_classification", "multi", "bce"),
    ],
)
def test_hugging_face_names_the_loss(deit, tmp_path, problem_type, kind, loss):
    save_file(layouts.hugging_face(deit[1].state_dict(), 2), tmp_path / "model.safetensors")
    about = {"num_attention_heads": 1, "frequency_stride": 10, "time_stride": 10, "max_length": 128}
    (tmp_path / "config.json").write_text(json.dumps(about | {"num_mel_bins": 128, "problem_type": problem_type}))
    found = load_model(tmp_path)
    assert (found.kind, found.config.train.loss) == (kind, loss)


@pytest.mark.parametrize("frames", [512, 1024])
def test_ssast(tiny, tmp_path, frames):
    config = tiny(model=DEIT, view={"frames": frames})
    model = shaken(config, 1)
    torch.save(layouts.ssast(model.state_dict(), 2, frames), tmp_path / "ssast.pth")
    found = load_model(tmp_path / "ssast.pth", classes=["yes", "no"])
    ours = model.state_dict()
    state = found.model.state_dict()
    assert torch.equal(state["positions.table"], ours["positions.table"])
    assert torch.equal(state["prefix"], ours["prefix"][:1])
    assert torch.equal(state["prefix_positions"], ours["prefix_positions"][:1])
    assert all(torch.equal(state[k], v) for k, v in ours.items() if k.startswith("trunk."))
    assert any(names(note, "distillation token") for note in found.notes)
    assert (found.config.view.frames, found.config.model.pooling) == (frames, "mean")
    with complains(DataError, tmp_path / "ssast.pth"):
        load_model(tmp_path / "ssast.pth")


@pytest.mark.parametrize(("prefix", "wrap"), [(1, None), (2, "model")])
def test_vit_and_deit_files(tiny, tmp_path, prefix, wrap):
    """Colours are summed, an image's positions are cut and stretched to the spectrogram's, the head is new."""
    config = tiny(model={**DEIT, "prefix_tokens": prefix}, view={"frames": 128})
    config = config.model_copy(update={"front_end": config.front_end.model_copy(update={"mel_bins": 160})})
    config = config.model_copy(update={"view": config.view.model_copy(update={"frames": 160})})
    model = shaken(config, 5)
    state = layouts.timm(model.state_dict(), 2, colours=3)
    torch.save({wrap: state} if wrap else state, tmp_path / "vit.pth")
    found = load_model(tmp_path / "vit.pth", classes=["a"], frames=320)
    ours, theirs = model.state_dict(), found.model.state_dict()
    torch.testing.assert_close(theirs["patch_embed.weight"], ours["patch_embed.weight"], atol=1e-6, rtol=0)
    assert all(torch.equal(theirs[k], v) for k, v in ours.items() if k.startswith(("trunk.", "prefix")))
    assert theirs["positions.table"].shape == (1, 64, 8, 20)
    cut = ours["positions.table"][:, :, 1:9]  # the middle 8 of 10
    expected = torch.nn.functional.interpolate(cut, size=(8, 20), mode="bilinear", antialias=True)
    torch.testing.assert_close(theirs["positions.table"], expected, atol=1e-6, rtol=0)
    assert any(names(note, 3) and "colour" in note for note in found.notes)
    assert any(names(note, "10 x 10") and names(note, "8 x 20") for note in found.notes)


@pytest.mark.slow
def test_released_elasticast_at_its_size(tiny, tmp_path):
    """ViT-B with 527 classes and 192 rows of time positions."""
    settings = {**ELASTIC, "dim": 768, "depth": 12, "heads": 12, "max_frames": 3072}
    model = build_model(tiny(model=settings), 527)
    torch.save(layouts.released_elastic(model.state_dict(), 12), tmp_path / "released.pth")
    found = load_model(tmp_path / "released.pth")
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in found.model.state_dict().items())
    size = found.config.model
    assert (size.dim, size.depth, size.heads, size.max_frames, size.attention_scale) == (768, 12, 12, 3072, "none")
    assert (found.config.dataset, found.norm, found.kind) == ("audioset", Norm(-4.414, 4.905), "multi")


# ---------------------------------------------------------------------------------------------
# Adapting
# ---------------------------------------------------------------------------------------------


def test_positions_at_their_own_size_stay_as_they_are():
    table, notes = torch.randn(1, 8, 8, 12), []
    for cut in (True, False):
        assert resize_grid(table, (8, 12), cut, notes) is table
    assert notes == []


def test_interpolated_positions_keep_what_is_linear():
    """Bilinear interpolation of a plane is that plane, but for the edges, which antialiasing keeps flat."""
    table = (torch.arange(12.0)[:, None] + 2 * torch.arange(40.0)[None])[None, None]
    found = resize_grid(table, (12, 20), False, [])[0, 0]
    expected = torch.arange(12.0)[:, None] + 2 * (2 * torch.arange(20.0)[None] + 0.5)
    torch.testing.assert_close(found[:, 1:-1], expected[:, 1:-1], atol=1e-5, rtol=0)


def test_ast_at_another_length(deit, ast_file):
    found = load_model(ast_file, frames=256)
    assert found.config.view.frames == 256
    assert found.model.positions.table.shape == (1, 64, 12, 25)
    batch = batch_of(deit[0], (256, 256))
    torch.testing.assert_close(found.model(batch), deit[1](batch), atol=1e-5, rtol=0)  # what the model does by itself
    assert any(names(note, "12 x 12") and names(note, "12 x 25") for note in found.notes)


def test_elasticast_at_other_lengths(elastic, elastic_file):
    shorter = load_model(elastic_file, frames=256)
    assert len(shorter.model.positions.time) == 16
    batch = batch_of(elastic[0], (256, 48))
    assert torch.equal(shorter.model(batch), elastic[1](batch))  # what fits sees the same positions
    longer = load_model(elastic_file, frames=2048)
    assert len(longer.model.positions.time) == 128
    assert torch.equal(longer.model.positions.freq, elastic[1].positions.freq)
    assert longer.config.view.max_frames == 2048
    assert any(names(note, 64) and names(note, 128) for note in longer.notes)


def test_another_number_of_classes_takes_a_new_head(elastic, elastic_file):
    found = load_model(elastic_file, classes=["a", "b"])
    assert found.model.head.weight.shape == (2, 64)
    assert found.classes == ["a", "b"]
    assert torch.equal(found.model.pool.query, elastic[1].pool.query)
    assert any(names(note, 2) and names(note, 309) for note in found.notes)
    named = load_model(elastic_file, classes=[f"c{i}" for i in range(309)])
    assert torch.equal(named.model.head.weight, elastic[1].head.weight)
    assert (named.classes[0], any(note.startswith("head") for note in named.notes)) == ("c0", False)


@pytest.mark.parametrize(("pool_init", "divisor"), [("mean", 1), ("released", 6), ("random", None)])
def test_elasticast_started_from_ast(tiny, deit, ast_file, pool_init, divisor):
    """Factorised positions are the grid's means; pooling starts from the mean of the blocks' attention."""
    config = tiny(model={**SMALL, "stride": 10, "max_frames": 256, "pool_init": pool_init}, view={"max_frames": 256})
    model, fresh = build_model(config, 5), {}
    fresh |= {k: v.clone() for k, v in model.state_dict().items()}
    started = start_from(str(ast_file), model, config, list("abcde"))
    state, theirs = model.state_dict(), deit[1].state_dict()
    assert all(torch.equal(state[k], v) for k, v in theirs.items() if k.startswith(("trunk.", "patch_embed.")))
    grid = torch.nn.functional.interpolate(theirs["positions.table"], size=(12, 25), mode="bilinear", antialias=True)
    torch.testing.assert_close(state["positions.freq"], grid[0].mean(2).T, atol=1e-6, rtol=0)
    torch.testing.assert_close(state["positions.time"], grid[0].mean(1).T, atol=1e-6, rtol=0)
    if divisor is None:
        assert all(torch.equal(state[k], v) for k, v in fresh.items() if k.startswith("pool."))
    else:
        blocks = [theirs[f"trunk.blocks.{i}.attn.qkv.weight"] for i in range(2)]
        joined = torch.cat([state["pool.q.weight"], state["pool.kv.weight"]])
        torch.testing.assert_close(joined * divisor, (blocks[0] + blocks[1]) / 2, atol=1e-6, rtol=0)
        proj = sum(theirs[f"trunk.blocks.{i}.attn.proj.bias"] for i in range(2)) / 2
        torch.testing.assert_close(state["pool.proj.bias"] * divisor, proj, atol=1e-6, rtol=0)
    assert torch.equal(state["pool.query"], fresh["pool.query"])
    assert torch.equal(state["head.weight"], fresh["head.weight"])
    assert_names("\n".join(started["notes"]), "pool_init", pool_init, 35, "positions")


@pytest.mark.parametrize("head_norm_init", ["ones", "trunk"])
def test_the_norm_of_a_new_head_can_be_that_of_the_blocks(tiny, deit, ast_file, head_norm_init):
    config = tiny(model={**SMALL, "stride": 10, "init": "x", "head_norm_init": head_norm_init})
    model = build_model(config, 5)
    started = start_from(str(ast_file), model, config, list("abcde"))
    theirs = model.trunk.norm if head_norm_init == "trunk" else torch.nn.LayerNorm(config.model.dim)
    for kind in ("weight", "bias"):
        assert torch.equal(getattr(model.head_norm, kind), getattr(theirs, kind))
    assert any("LayerNorm" in note for note in started["notes"]) == (head_norm_init == "trunk")


def test_positions_of_ast_are_cut_for_a_shorter_elasticast(tiny, deit, ast_file):
    config = tiny(model={**SMALL, "stride": 10, "max_frames": 64}, view={"max_frames": 64})
    model = build_model(config, 5)
    start_from(str(ast_file), model, config, list("abcde"))
    middle = deit[1].positions.table[0, :, :, 4:9]  # 5 of 12
    torch.testing.assert_close(model.positions.time, middle.mean(1).T, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.positions.freq, middle.mean(2).T, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["ast", "elasticast"])
def test_a_model_started_from_one_with_other_patches(tiny, tmp_path, kind):
    """As FlexiAST starts: kernel and positions are resized, all else is the same."""
    other = tiny(model={"kind": "ast", "patch": 8}, view={"frames": 1024})
    theirs = shaken(other, 5)
    save_model(tmp_path, theirs, other, Norm(-7.0, 4.0), list("abcde"), "multi")
    view = {"frames": 1024} if kind == "ast" else {"max_frames": 1024}
    config = tiny(model={"kind": kind} | ({} if kind == "ast" else {"max_frames": 1024}), view=view)
    model = build_model(config, 5)
    notes = start_from(str(tmp_path), model, config, list("abcde"))["notes"]
    assert_names("\n".join(notes), "8 x 8", "16 x 16", "16 x 128", "8 x 64")
    ours, state = model.state_dict(), theirs.state_dict()
    assert torch.equal(ours["patch_embed.weight"], resized_kernel(state["patch_embed.weight"], 8, 16))
    same = [name for name in ours if name.startswith(("trunk.", "head", "patch_embed.bias"))]
    assert all(torch.equal(ours[name], state[name]) for name in same)
    grid = torch.nn.functional.interpolate(state["positions.table"], size=(8, 64), mode="bilinear", antialias=True)
    if kind == "ast":
        assert torch.equal(ours["positions.table"], grid)
    else:
        torch.testing.assert_close(ours["positions.time"], grid[0].mean(1).T, atol=1e-6, rtol=0)


def test_ast_started_from_elasticast(tiny, elastic, elastic_file):
    config = tiny(model={**SMALL, "kind": "ast", "pooling": "attention"}, view={"frames": 1024})
    model = build_model(config, 5)
    notes = start_from(str(elastic_file), model, config, list("abcde"))["notes"]
    grid = elastic[1].positions.freq[:, None] + elastic[1].positions.time[None]
    torch.testing.assert_close(model.positions(64), grid.flatten(0, 1), atol=1e-6, rtol=0)
    assert torch.equal(model.pool.query, elastic[1].pool.query)
    assert any(all(names(note, token) for token in ("model.attention_scale", "none", "sqrt")) for note in notes)


def test_a_run_starts_from_weights_and_records_them(tiny, train_clips, norm, tmp_path, cpu):
    first = tiny(train={"steps": 2})
    Trainer(first, RunInputs(train_clips, norm, "data"), tmp_path / "first").fit()
    inputs = RunInputs(train_clips, norm, "data", init=str(tmp_path / "first"))
    second = tiny(model={"init": inputs.init}, train={"steps": 1, "lr": 1e-9})
    trainer = Trainer(second, inputs, tmp_path / "second")
    loaded = load_model(tmp_path / "first").model.state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in trainer.model.state_dict().items())
    trainer.fit()
    record = json.loads((tmp_path / "second" / "run.json").read_text())["init"]
    assert list(record) == ["source", "found", "notes", "sha256"]
    assert record["source"] == second.model.init
    assert_names(record["found"], "elasticast", "tiny", 0)
    assert len(record["sha256"]) == 64
    assert json.loads((tmp_path / "first" / "run.json").read_text())["init"] is None
    torch.manual_seed(9)
    (tmp_path / "first" / "run.json").unlink()
    save_model(
        tmp_path / "first", build_model(first, len(train_clips.classes)), first, norm, train_clips.classes, "multi"
    )
    other = Trainer(second, inputs, tmp_path / "third")
    # other weights under the same path are another run
    assert other.checkpoints.identity != trainer.checkpoints.identity


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("a.pth", "weights/a.pth"),
        ("/else/a.pth", "/else/a.pth"),
        ("timm:vit", "timm:vit"),
        ("run:other", "results/runs/other/seed3"),
    ],
)
def test_where_the_weights_to_start_from_lie(init, expected):
    assert init_source(init, Path("weights"), Path("results/runs/this/seed3")) == expected


def test_a_relative_path_is_looked_up_in_the_folder_of_weights(tiny, prepared, train_clips, norm, tmp_path, cpu):
    first = tiny(train={"steps": 2})
    Trainer(first, RunInputs(train_clips, norm, "data"), tmp_path / "a" / "first").fit()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second, out = tiny(model={"init": "first"}), tmp_path / "second"

    def trainer(root):
        options = {"norm": prepared / "norm.json", "weights_root": tmp_path / root}
        return Trainer(second, read_inputs(second, prepared, out, **options), out)

    here, there = trainer("a"), trainer("b")
    assert here.checkpoints.identity == there.checkpoints.identity  # where they lie is no part of the run
    assert here.init["source"] == "first"
    with complains(DataError, tmp_path / "c" / "first"):
        trainer("c")


def test_a_head_of_other_classes_is_not_started_from(tiny, tmp_path):
    config = tiny()
    save_model(tmp_path, shaken(config, 3), config, Norm(0, 1), ["a", "b", "c"], "multi")
    for classes, kept in ((["a", "b", "c"], True), (["a", "c", "b"], False)):
        model = build_model(config, 3)
        start_from(str(tmp_path), model, config, classes)
        assert torch.equal(model.head.weight, load_model(tmp_path).model.head.weight) is kept


# ---------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------


def test_missing_and_unexpected_names_are_listed_in_one_error(elastic_file):
    state = torch.load(elastic_file, weights_only=True)
    del state["module.blocks.modules_list.1.attn.to_kv.bias"], state["module.mlp_norm.weight"]
    state["module.extra.weight"] = torch.zeros(1)
    torch.save(state, elastic_file)
    lacking = ("blocks.modules_list.1.attn.to_kv.bias", "mlp_norm.weight")
    with complains(DataError, elastic_file, "ElasticAST", 2, *lacking, 1, "extra.weight"):
        load_model(elastic_file)


def test_wrong_shapes_are_listed_in_one_error(ast_file):
    state = torch.load(ast_file, weights_only=True)
    state["module.v.norm.weight"] = torch.zeros(63)
    state["module.v.blocks.1.mlp.fc2.weight"] = torch.zeros(64, 255)
    torch.save(state, ast_file)
    with complains(DataError, ast_file, "fc2.weight", [64, 255], [64, 256], "trunk.norm.weight", [63], [64]):
        load_model(ast_file)


def test_a_damaged_run_lists_names_too(tiny, tmp_path):
    config = tiny()
    model = shaken(config, 2)
    save_model(tmp_path, model, config, Norm(0, 1), ["a", "b"], "multi")
    state = {k: v.clone() for k, v in model.state_dict().items() if k != "pool.query"}
    save_file(state | {"spare": torch.zeros(1)}, tmp_path / "model.safetensors")
    seal(tmp_path)
    with complains(DataError, tmp_path, "pool.query", "spare"):
        load_model(tmp_path)
    write_record(tmp_path / "model.json", {}, [tmp_path / "model.safetensors"])
    with complains(DataError, "model.json", "config", "classes", "kind", "norm"):
        load_model(tmp_path)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    torch.save({"module.head.weight": torch.zeros(1), "x": Malicious(tmp_path / "owned")}, tmp_path / "bad.pth")
    with complains(DataError, tmp_path / "bad.pth"):
        load_model(tmp_path / "bad.pth")
    assert not (tmp_path / "owned").exists()


def test_what_is_no_model_is_one_clear_error(tmp_path):
    with complains(DataError, tmp_path / "nothing.pth", "timm:NAME"):
        load_model(tmp_path / "nothing.pth")
    with complains(DataError, tmp_path, "model.safetensors", "model.json", "config.json", "pytorch_model.bin"):
        load_model(tmp_path)
    (tmp_path / "text.pth").write_text("hello")
    with complains(DataError, tmp_path / "text.pth"):
        load_model(tmp_path / "text.pth")
    (tmp_path / "text.safetensors").write_text("hello")
    with complains(DataError, tmp_path / "text.safetensors"):
        load_model(tmp_path / "text.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    with complains(DataError, tmp_path / "list.pth"):
        load_model(tmp_path / "list.pth")
    torch.save({"conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with complains(DataError, tmp_path / "resnet.pth", "SSAST", "conv1.weight", "fc.weight"):
        load_model(tmp_path / "resnet.pth")


def test_weights_of_another_size_say_which_settings_would_fit(tiny, elastic_file):
    config = tiny()
    with complains(DataError, elastic_file, "model.init", "model.dim", 32, 64, "model.heads", 2, 1):
        start_from(str(elastic_file), build_model(config, 5), config, list("abcde"))


def test_qk_norm_cannot_be_started_from_weights_without_it(tiny, elastic_file):
    config = tiny(model={**ELASTIC, "attention_scale": "qk_norm"})
    with complains(DataError, elastic_file, "model.init", 12, "attn.attend.q_norm.bias"):
        start_from(str(elastic_file), build_model(config, 5), config, list("abcde"))


# ---------------------------------------------------------------------------------------------
# timm
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def fake_timm(monkeypatch):
    """A timm without network, whose models are what the test makes of them."""
    fake = types.SimpleNamespace(__version__="0", is_model=lambda name: "deit" in name)
    fake.list_models = lambda pattern: ["deit_tiny_distilled_patch16_224"]
    monkeypatch.setitem(__import__("sys").modules, "timm", fake)
    return fake


def test_timm_by_name(tiny, fake_timm):
    config = tiny(model=DEIT, view={"frames": 128})
    model = shaken(config, 5)
    state = layouts.timm(model.state_dict(), 2, colours=3)
    block = types.SimpleNamespace(attn=types.SimpleNamespace(num_heads=4))
    made = types.SimpleNamespace(state_dict=lambda: state, blocks=[block])
    fake_timm.create_model = lambda name, pretrained: made
    found = load_model("timm:deit_tiny", classes=["a"], frames=128)
    assert found.config.model.heads == 4
    assert_names(found.description, "timm", 2, 64, "128 x 128")
    assert torch.equal(found.model.positions.table, model.positions.table)


def test_timm_offline_says_what_to_do(fake_timm):
    def create_model(name, pretrained):
        raise OSError("we could not connect\nto the hub")

    fake_timm.create_model = create_model
    command = "torch.save(timm.create_model('deit_tiny', pretrained=True).state_dict(), 'deit_tiny.pth')"
    with complains(DataError, "timm:deit_tiny", "OSError", "we could not connect", command):
        load_model("timm:deit_tiny", classes=["a"])


def test_timm_without_such_a_model_or_not_installed(fake_timm, monkeypatch):
    with complains(DataError, "timm:resnet", "deit_tiny_distilled_patch16_224"):
        load_model("timm:resnet")
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with complains(DataError, "timm:deit_tiny", "pip install 'elasticast[timm]'"):
        load_model("timm:deit_tiny")
