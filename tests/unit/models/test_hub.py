"""``hf:OWNER/NAME``: files of the cache at one commit, pinned and recorded; no network, no code."""

import pytest
import torch
from safetensors.torch import save_file

from elasticast.errors import DataError
from elasticast.models import build_model
from elasticast.models.pretrained import init_source, load_model, start_from
from elasticast.models.weights.hub import card_licence, fetch
from tests.complaints import assert_names, complains
from tests.unit.models import layouts

hub = pytest.importorskip("huggingface_hub")

COMMIT, OLDER = "a" * 40, "b" * 40
AST = {"dim": 64, "depth": 2, "heads": 1, "kind": "ast", "prefix_tokens": 2, "stride": 10, "norm_eps": 1e-12}
CONFIG = (
    '{"model_type": "audio-spectrogram-transformer", "num_attention_heads": 1, "frequency_stride": 10,'
    ' "time_stride": 10, "max_length": 128, "num_mel_bins": 128, "layer_norm_eps": 1e-12}'
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, without network."""
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


@pytest.fixture
def cached(cache):
    """Put files of a repository into the cache, as `huggingface_hub` lays them."""

    def put(repository, files, commit=COMMIT, branch="main"):
        base = cache / f"models--{repository.replace('/', '--')}"
        folder = base / "snapshots" / commit
        folder.mkdir(parents=True, exist_ok=True)
        if branch:
            (base / "refs").mkdir(exist_ok=True)
            (base / "refs" / branch).write_text(commit)
        for name, content in files.items():
            if isinstance(content, dict):
                (save_file if name.endswith(".safetensors") else torch.save)(content, folder / name)
            else:
                (folder / name).write_text(content)
        return folder

    return put


@pytest.fixture
def ast(tiny):
    config = tiny(model=AST, view={"frames": 128})
    model = build_model(config, 3)
    return config, model, layouts.hugging_face(model.state_dict(), 2)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_an_ast_of_the_hub_is_the_model_of_its_files(cached, ast, name):
    _, model, state = ast
    cached("acme/ast", {"config.json": CONFIG, name: state})
    found = load_model("hf:acme/ast", classes=["a", "b", "c"])
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in found.model.state_dict().items())
    assert_names(found.notes[0], f"hf:acme/ast@{COMMIT}")


def test_a_run_starts_from_the_hub_and_records_the_commit(cached, ast):
    config, model, state = ast
    cached("acme/ast", {"config.json": CONFIG, "model.safetensors": state}, OLDER, branch=None)
    source = init_source(f"hf:acme/ast@{OLDER}", "weights", "runs/a/seed0")
    assert source == f"hf:acme/ast@{OLDER}"
    fresh = build_model(config, 3)
    record = start_from(source, fresh, config, ["a", "b", "c"])
    assert torch.equal(fresh.trunk.norm.weight, model.trunk.norm.weight)
    assert any(OLDER in note for note in record["notes"])


def test_a_branch_is_resolved_and_only_a_commit_is_pinned(cached):
    cached("acme/ast", {"config.json": "{}"}, OLDER, branch="v1")
    cached("acme/ast", {"config.json": "{}"}, COMMIT, branch="main")
    for source, commit, pinned in (("", COMMIT, False), ("@v1", OLDER, False), (f"@{OLDER}", OLDER, True)):
        found = fetch(f"hf:acme/ast{source}")
        assert (found.revision, found.pinned) == (commit, pinned)
        assert found.source == f"hf:acme/ast@{commit}"


@pytest.mark.parametrize("source", ["hf:ast", "hf:", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@", "hf:a b/c"])
def test_what_is_no_repository_is_refused(source):
    with complains(DataError, source, "OWNER/NAME"):
        fetch(source)


def test_without_network_the_error_says_what_to_do(cached):
    with complains(DataError, "hf:acme/none@v2", "hf download acme/none --revision v2"):
        fetch("hf:acme/none@v2")
    cached("acme/ast", {"config.json": "{}"})
    with complains(DataError, "hf:acme/ast@v9"):
        fetch("hf:acme/ast@v9")


def test_only_settings_and_weights_are_asked_for(monkeypatch, tmp_path):
    asked = []

    def download(repository, revision, allow_patterns):
        asked.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    fetch("hf:acme/ast")
    assert asked
    assert not [pattern for pattern in asked if pattern.endswith((".py", "*"))]


def test_pickled_weights_with_code_are_not_read(cached):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    folder = cached("acme/ast", {"config.json": CONFIG})
    torch.save({"a": Evil()}, folder / "pytorch_model.bin")
    with complains(DataError, "hf:acme/ast", "pytorch_model.bin"):
        load_model("hf:acme/ast", classes=["a"])


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense: [a]\n---\n", None),
        ("# AST\n", None),
        ("---\n: [\n---\n", None),
    ],
)
def test_the_licence_is_that_of_the_model_card(tmp_path, text, licence):
    assert card_licence(tmp_path) is None
    (tmp_path / "README.md").write_text(text)
    assert card_licence(tmp_path) == licence
