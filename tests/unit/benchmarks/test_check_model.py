"""`elasticast check-model`: good models pass, and each fault fails the check that is for it."""

import pytest

from elasticast.benchmarks import check_model as module
from elasticast.benchmarks.check_model import CHECKS, check_model, table
from elasticast.benchmarks.check_subject import open_subject
from elasticast.errors import ConfigError, ElasticASTError
from tests.complaints import complains
from tests.unit.models.own_models import GRID, GRU, bag

LONGEST = 5.0
"""Seconds of the longest clip in these tests."""


def outcomes(name, **settings):
    """Outcome by name of the check's function."""
    subject = open_subject(str(name), settings)
    subject.longest = subject.time_patches(LONGEST)
    results = check_model(subject)
    assert table(results).count("\n") == len(CHECKS) - 1
    return {check.__name__: result.outcome for check, result in zip(CHECKS, results, strict=True)}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "own.py").write_text(text)
        return "own.py"

    return write


@pytest.mark.parametrize("pooling", ["attention", "mean", "cls"])
def test_elasticast_passes(pooling):
    found = outcomes("elasticast", pooling=pooling, max_frames=256)
    assert {name for name, outcome in found.items() if outcome != "passed"} == {"chunk_by_chunk"}
    assert found["chunk_by_chunk"] == "not applicable"


def test_elasticast_without_a_table_has_no_longest_clip():
    found = outcomes("elasticast", positions="rotary")
    assert [name for name, outcome in found.items() if outcome != "passed"] == ["beyond_positions"]
    assert found["beyond_positions"] == "not applicable"


@pytest.mark.parametrize("kind", ["elasticast", "ast"])
def test_a_frame_head_gets_a_gradient(kind):
    assert outcomes(kind, frame_head=True)["gradients"] == "passed"


def test_ast_passes_what_a_model_of_one_length_can():
    found = outcomes("ast")
    skipped = {name for name, outcome in found.items() if outcome == "not applicable"}
    assert skipped == {"beyond_positions", "chunk_by_chunk", "mixtures"}
    assert set(found.values()) == {"passed", "not applicable"}


@pytest.mark.parametrize(
    ("text", "name", "skipped"),
    [
        (GRU, "Gru", {"beyond_positions", "chunk_by_chunk", "other_patches", "layers", "flops"}),
        (GRID, "Grid", {"beyond_positions", "mixtures", "dropped_tokens", "chunk_by_chunk", "other_patches", "layers"}),
        (bag(), "Bag", {"beyond_positions", "chunk_by_chunk", "other_patches", "layers", "flops"}),
    ],
    ids=["gru", "grid", "bag"],
)
def test_models_of_users_pass(file, text, name, skipped):
    found = outcomes(f"{file(text)}:{name}")
    assert {check for check, outcome in found.items() if outcome == "not applicable"} == skipped
    assert "failed" not in found.values()


TRAITS = """
    @property
    def traits(self):
        return Traits({})
"""
FLOPS = """
    def flops(self, tokens, classes):
        return 1
"""
BATCH = ("packed_alone", "dropped_tokens", "embeddings")
FAULTS = {
    "mixes the clips": ({"forward": "x = x - x.mean(0)"}, {*BATCH, "no_gradient_between"}),
    "mixes clips in training": ({"init": "self.norm = nn.BatchNorm1d(8)", "forward": "x = self.norm(x)"},
                                {"no_gradient_between"}),
    "order of clips": ({"forward": "x = x * torch.arange(1.0, len(x) + 1)[:, None]"},
                       {*BATCH, "order_of_clips"}),
    "random": ({"forward": "x = x + torch.rand_like(x)"},
               {*BATCH, "order_of_clips", "repeated", "state_dict", "bfloat16"}),
    "unused parameter": ({"init": "self.more = nn.Linear(2, 2)"}, {"gradients"}),
    "a tensor outside the state": ({"init": "self.offset = torch.randn(8)", "forward": "x = x + self.offset"},
                                   {"state_dict"}),
    "shared tensors": ({"init": "self.again = self.embed"}, {"state_dict"}),
    "classes outside the head": ({"init": "self.scale = nn.Parameter(torch.ones(classes))", "after": " * self.scale"},
                                 {"head_only"}),
    "grows with the square": ({"reduce": "mul((clip @ clip.T).exp().mean(1, keepdim=True).log().tanh()).mean(0)"},
                              {"memory"}),
    "wrong formula": ({"settings": FLOPS}, {"flops"}),
    "accepts longer clips": ({"settings": TRAITS.format("longest=160")}, {"beyond_positions"}),
    "accepts two lengths": ({"settings": TRAITS.format("lengths='one'")}, {"mixtures"}),
    "names no layers": ({"settings": TRAITS.format("blocks='embed'")}, {"layers"}),
    "keeps no chunks": ({"settings": TRAITS.format("chunks=True")}, {"chunk_by_chunk"}),
    "single clip": ({"forward": "x = x.squeeze(0)"}, {"any_length", *BATCH}),
    "shortest clip": ({"reduce": "std(0)", "forward": "assert batch.clip_time_patches[0] > 1"},
                      {"any_length", *BATCH}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_its_checks(file, fault):
    parts, expected = FAULTS[fault]
    found = outcomes(f"{file(bag(**parts))}:Bag")
    assert {name for name, outcome in found.items() if outcome == "failed"} >= expected
    assert fault in ("random", "order of clips") or {n for n, o in found.items() if o == "failed"} <= expected


def test_an_error_of_the_model_is_a_failure_with_its_message(file):
    subject = open_subject(f"{file(bag(forward='raise KeyError(17)'))}:Bag", {})
    subject.longest = 3
    result = module._run(module.any_length, subject)
    assert result.outcome == "failed"
    assert "KeyError: 17" in result.detail


def test_names_of_no_model_are_refused(tmp_path):
    with complains(ElasticASTError, tmp_path / "nothing"):
        open_subject(str(tmp_path / "nothing"), {})
    with complains(ElasticASTError, "elastiast", "`elasticast`"):
        open_subject("elastiast", {})
    with complains(ElasticASTError, "mini", "nothing", "events_elastic"):
        open_subject("mini/nothing", {})
    with complains(ConfigError, "elasticast", "model.depth", "x"):
        open_subject("elasticast", {"depth": "x"})
    with complains(ConfigError, "nothing.py:X", "model.kind"):
        open_subject("nothing.py:X", {})
    with complains(ElasticASTError, "--settings", "mini/events_elastic"):
        open_subject("mini/events_elastic", {"depth": 2})


def test_an_experiment_of_a_suite_is_checked_with_its_settings():
    assert open_subject("mini/events_ast64", {}).config.view.frames == 64
