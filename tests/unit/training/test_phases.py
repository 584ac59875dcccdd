"""Coarse-to-fine training: what changes between phases, how long they are, and that a run goes on in each of them."""

import csv
import json
from itertools import pairwise

import pytest
import torch

from elasticast.config.phases import phase_settings
from elasticast.config.reading import deep_merge
from elasticast.data.views import ViewRule
from elasticast.errors import ElasticASTError
from elasticast.models.positions import FactorisedPositions, GridPositions
from elasticast.training.batches import TrainingBatches
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import EXIT_CHECKPOINTED, Trainer
from elasticast.training.optim import learning_rate
from elasticast.training.phases import refine_positions
from tests.complaints import complains
from tests.unit.training.ranks import stop_at

pytestmark = pytest.mark.usefixtures("cpu")

PHASES = [{"compression": 4.0, "share": 0.3}, {"compression": 2.0, "share": 0.3}, {"compression": 1.0, "share": 0.4}]
WIDE = [{**phase, "resolution": "patch"} for phase in PHASES[:2]] + PHASES[2:]
BUSY = {"token_dropout": 0.2, "mixup": 0.5, "spec_augment": {"freq_bins": 24, "time_frames": 96}}
KINDS = {
    "table": {},
    "fractional": {"model": {"positions": "fractional"}},
    "rotary": {"model": {"positions": "rotary"}},
    "ast": {"model": {"kind": "ast"}},
    "cut": {"model": {"kind": "ast", "time_offset": True}, "view": {"fill": "mask"}},
    "aum": {"model": {"kind": "aum"}},
    "cnn": {"model": {"kind": "cnn"}},
}


@pytest.fixture
def trainer(tiny, train_clips, norm, tmp_path):
    """A trainer into a folder of `tmp_path`."""

    def build(folder="run", train=None, **difference):
        config = tiny(**difference, train={"steps": 10, **(train or {})})
        return Trainer(config, RunInputs(train_clips, norm, "data"), tmp_path / folder)

    return build


def result(folder):
    """The weights, and everything in the history but the speed."""
    with (folder / "history" / "history.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if not k.endswith("per_s")} for row in csv.DictReader(file)]
    return (folder / "model.safetensors").read_bytes(), rows


def record(folder):
    return json.loads((folder / "run.json").read_text())


LENGTHS = [
    {"steps": 7},
    {"steps": None, "epochs": 2},
    {"steps": None, "epochs": 2, "batch": {"clips": None, "tokens": 150}},
]


@pytest.mark.parametrize("shares", ["length", "flops"])
@pytest.mark.parametrize("length", LENGTHS, ids=str)
def test_one_phase_is_the_plain_run_bit_for_bit(trainer, tmp_path, length, shares):
    train = BUSY | length
    trainer("plain", train).fit()
    trainer("one", train | {"phases": [{"compression": 1.0, "share": 1.0}], "phase_shares": shares}).fit()
    assert result(tmp_path / "one") == result(tmp_path / "plain")
    assert record(tmp_path / "one")["training_flops"] == record(tmp_path / "plain")["training_flops"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_bit_for_bit_in_every_phase(trainer, tmp_path, kind):
    train = {"phases": PHASES}
    trainer("whole", train, **KINDS[kind]).fit()
    for step in (2, 3, 5, 6, 9):  # phases end at 3 and 6
        stopped = trainer("parts", train, **KINDS[kind])
        stop_at(stopped, step)
        with pytest.raises(SystemExit) as caught:
            stopped.fit()
        assert caught.value.code == EXIT_CHECKPOINTED
    trainer("parts", train, **KINDS[kind]).fit()
    assert result(tmp_path / "parts") == result(tmp_path / "whole")
    found, expected = (record(tmp_path / name) for name in ("parts", "whole"))
    assert found["phases"] == expected["phases"]
    assert found["training_flops"] == expected["training_flops"]


@pytest.mark.parametrize("steps", [10, 11, 100])
def test_phases_have_all_steps(trainer, steps):
    thirds = [{"compression": c, "share": s} for c, s in ((4.0, 0.333333), (2.0, 0.333333), (1.0, 0.333334))]
    found = trainer(train={"steps": steps, "phases": thirds})
    assert found.total == sum(phase.steps for phase in found.phases) == steps
    assert {phase.steps for phase in found.phases} <= {steps // 3, steps // 3 + 1}


@pytest.mark.parametrize("length", LENGTHS[1:], ids=str)
def test_phases_in_epochs(trainer, tmp_path, length):
    found = trainer("run", length | {"epochs": 4, "phases": [*({"compression": c, "share": 0.5} for c in (2.0, 1.0))]})
    coarse, fine = found.phases
    assert coarse.steps == sum(coarse.sampler.count(epoch) for epoch in (0, 1))
    assert (fine.first_epoch, fine.first_step) == (2, coarse.steps)
    assert fine.steps == sum(fine.sampler.count(epoch) for epoch in (2, 3))
    found.fit()
    epochs = [int(row["epoch"]) for row in result(tmp_path / "run")[1]]
    assert epochs == sorted(epochs)
    assert set(epochs) == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", KINDS)
def test_only_positions_change_between_phases(trainer, kind):
    found = trainer(train={"phases": PHASES}, **KINDS[kind])
    before = {name: value.clone() for name, value in found.model.state_dict().items()}
    refine_positions(found.model, found.phases[1], found.phases[1])
    assert all(torch.equal(value, before[name]) for name, value in found.model.state_dict().items())
    refine_positions(found.model, *found.phases[1:])
    changed = {name for name, value in found.model.state_dict().items() if not torch.equal(value, before[name])}
    tables = {"table": {"positions.time"}, "ast": {"positions.table"}, "cut": {"positions.table"}}
    assert changed == tables.get(kind, {"positions.table"} if kind == "aum" else set())


@pytest.mark.parametrize("ratio", [2.0, 3.0, 4.0])
def test_positions_keep_their_place_in_time(ratio):
    table = FactorisedPositions(2, 48, 1)
    table.time.data = torch.arange(48.0)[:, None]
    table.refine(ratio, round(48 / ratio))
    # patch t begins at t / ratio of the coarse patches, and is 1 / ratio of them long
    places = ((torch.arange(48) + 0.5) / ratio - 0.5).clamp(0)
    assert torch.allclose(table.time[:, 0], places, atol=1e-5)


@pytest.mark.parametrize("cut", [False, True])
def test_a_grid_is_that_of_the_coarse_clips(cut):
    positions = GridPositions((2, 12), 3, cut=cut)
    coarse = positions(3)
    positions.refine(4.0, 3)
    expected = torch.nn.functional.interpolate(
        coarse.T.unflatten(1, (2, 3))[None], size=(2, 12), mode="bilinear", align_corners=False
    )
    assert torch.allclose(positions.table, expected, atol=1e-6)


def test_the_learning_rate_and_the_optimiser_start_anew(trainer, tmp_path):
    train = {"phases": PHASES, "warmup_steps": 1, "schedule": {"kind": "cosine"}}
    found, states = trainer("run", train), []
    update = found._update

    def noted(*args):
        states.append(len(found.optimizer.state))
        return update(*args)

    found._update = noted
    found.fit()
    assert [step for step, count in enumerate(states) if not count] == [0, 3, 6]
    rates = [float(row["lr"]) for row in result(tmp_path / "run")[1]]
    lengths = [3, 3, 4]
    expected = [learning_rate(found.config.train, k, n, 3) for n in lengths for k in range(n)]
    assert rates == expected


@pytest.mark.parametrize("phases", [None, PHASES])
def test_a_budget_below_one_step_is_an_error(trainer, phases):
    with complains(ElasticASTError, "train.flops"):
        trainer(train={"steps": None, "flops": 1000.0, "phases": phases})


@pytest.mark.parametrize("batch", [{"clips": 4}, {"clips": None, "tokens": 150}])
@pytest.mark.parametrize("length", [{"steps": 60}, {"steps": None, "epochs": 20}])
def test_shares_of_flops_cost_as_much_as_the_plain_run(trainer, length, batch):
    train = length | {"batch": batch, "phase_shares": "flops"}
    plain, found = trainer(train=train), trainer(train=train | {"phases": PHASES})

    def flops(phase):
        # with 12 clips and a token budget, the number of batches per epoch differs much; the plan uses the first epoch
        per_epoch = phase.sampler.count(0) if length["steps"] else phase.steps_per_epoch
        epochs = phase.steps / per_epoch
        return epochs * sum(found.cost.clip(int(tokens)) for tokens in phase.sampler.tokens)

    budget = flops(plain.phases[0])
    for phase, given in zip(found.phases, PHASES, strict=True):
        assert flops(phase) == pytest.approx(given["share"] * budget, rel=0.05)
    assert found.total > plain.total


def test_the_measured_cost_of_phases_is_that_of_their_clips(trainer, tmp_path):
    """Section 4 of the reference: phases of clips of one length cost what the formula says."""
    difference = {"model": {"kind": "ast"}, "view": {"frames": 256}}
    trainer("plain", **difference).fit()
    found = trainer("run", {"phases": PHASES}, **difference)
    found.fit()
    costs = [
        found.model.settings.flops(8 * 16 // compression, len(found.inputs.clips.classes)) for compression in (4, 2, 1)
    ]
    expected = [0.3 * costs[0], 0.3 * costs[1], 0.4 * costs[2]]
    phases = record(tmp_path / "run")["phases"]
    plain = record(tmp_path / "plain")["training_flops"]
    assert [phase["flops"] / plain for phase in phases] == pytest.approx([cost / costs[2] for cost in expected])
    assert [phase["compression"] for phase in phases] == [4, 2, 1]
    assert [phase["steps"] for phase in phases] == [3, 3, 4]


@pytest.mark.parametrize("kind", ["table", "rotary", "ast", "aum"])
def test_wider_patches_have_as_many_tokens_as_longer_hops(trainer, tmp_path, kind):
    difference = {**KINDS[kind], "view": {"frames": 256}}
    wide, coarse = (trainer(name, {"phases": phases}, **difference) for name, phases in (("a", WIDE), ("b", PHASES)))
    for ours, theirs in zip(wide.phases, coarse.phases, strict=True):
        assert (ours.sampler.tokens == theirs.sampler.tokens).all()
    before = {name: value.clone() for name, value in wide.model.state_dict().items()}
    for earlier, later in pairwise(wide.phases):
        refine_positions(wide.model, earlier, later)  # tables are resized in every batch, not between phases
    assert all(torch.equal(value, before[name]) for name, value in wide.model.state_dict().items())
    wide.fit(), coarse.fit()
    found, expected = (record(tmp_path / name)["phases"] for name in ("a", "b"))
    assert [phase["flops"] for phase in found] == [phase["flops"] for phase in expected]
    assert [(phase["compression"], phase["resolution"]) for phase in found] == [(4, "patch"), (2, "patch"), (1, "hop")]


def test_a_run_goes_on_bit_for_bit_in_a_phase_of_wider_patches(trainer, tmp_path):
    trainer("whole", BUSY | {"phases": WIDE}).fit()
    for step in (2, 4):
        stopped = trainer("parts", BUSY | {"phases": WIDE})
        stop_at(stopped, step)
        with pytest.raises(SystemExit):
            stopped.fit()
    trainer("parts", BUSY | {"phases": WIDE}).fit()
    assert result(tmp_path / "parts") == result(tmp_path / "whole")


def test_patches_of_a_phase_keep_the_last_frames(tiny):
    sizes = [run.model.patch_sizes for run in phase_settings(tiny(train={"phases": WIDE}))]
    assert [s and (s.sizes, s.axes, s.remainder) for s in sizes] == [
        ([64], "time", "keep"),
        ([32], "time", "keep"),
        None,
    ]


def test_every_phase_has_the_same_seconds_of_clips(tiny):
    fixed = tiny(model={"kind": "ast"}, view={"frames": 256}, train={"phases": PHASES})
    native = tiny(train={"phases": PHASES})
    for samples in (8000, 20000, 40000):
        assert [ViewRule(run)(samples).frames for run in phase_settings(fixed)] == [64, 128, 256]
        whole = ViewRule(native)(samples).frames
        frames = [ViewRule(run)(samples).frames for run in phase_settings(native)]
        assert frames == [max(16, whole // c // 16 * 16) for c in (4, 2, 1)]


def test_weights_are_selected_in_the_last_phase(tiny, train_clips, test_clips, norm, tmp_path):
    config = tiny(train={"steps": 9, "phases": PHASES, "select": {"split": "test"}})
    found = Trainer(config, RunInputs(train_clips, norm, "data", test_clips), tmp_path / "run")
    found.fit()
    history = record(tmp_path / "run")["selection"]["history"]
    assert [row["step"] for row in history] == [found.phases[-1].first_step + 3, found.total][: len(history)]


@pytest.mark.parametrize("kind", ["cut", "aum"])
def test_three_phases_keep_the_places_of_a_grid_that_is_cut(trainer, kind):
    difference = {"cut": {**KINDS["cut"], "view": {"fill": "mask", "frames": 256}}}
    difference["aum"] = {"model": {"kind": "aum", "positions": "cut"}, "view": {"max_frames": 256}}
    found = trainer(train={"phases": PHASES}, **difference[kind])
    table = found.model.positions.table
    table.data = torch.arange(16.0).expand(table.shape).clone()
    for before, after in pairwise(found.phases):
        refine_positions(found.model, before, after)
    # away from the ends: patch t of the last phase is at t / 4 of the first one, which had 4 patches
    assert torch.allclose(table[0, 0, 0, 3:13], (torch.arange(3, 13) + 0.5) / 4 - 0.5, atol=1e-6)


BUDGETS = {
    "packed": {},
    "token budget": {"train": {"batch": {"clips": None, "tokens": 150}}},
    "dropout": {"train": {"token_dropout": [0.0, 0.5]}},
    "padded": {"model": {"padding": [24, 64]}, "train": {"batch": {"buckets": True}, "token_dropout": 0.3}},
    "buckets": {"model": {"kind": "ast"}, "view": {"frames": "native"}, "train": {"batch": {"buckets": True}}},
    "patch sizes": {"model": {"patch_sizes": {"sizes": [12, 16, 20], "remainder": "drop"}}},
    "merged": {"model": {"merge": {"share": 0.5}}},
    "phases": {"train": {"phases": PHASES}},
    "hops": {"view": {"compression": [1.0, 2.0, 4.0]}, "model": {"padding": "longest"}},
    "cnn": {"model": {"kind": "cnn"}},
}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_training_costs_what_it_may(tiny, train_clips, norm, tmp_path, name):
    budget = 8 * 3 * len(train_clips) * tiny(**BUDGETS[name]).model.flops(48, 5)
    config = tiny(**deep_merge(BUDGETS[name], {"train": {"steps": None, "flops": budget}}))
    found = Trainer(config, RunInputs(train_clips, norm, "data"), tmp_path)
    costs = [0] * len(found.phases)
    for step in TrainingBatches(found.phases, found.inputs, found.world, graphs=False, start=print).after(0):
        costs[step.phase] += 3 * found.cost.batch(step.batch)
    assert sum(costs) == pytest.approx(budget, rel=0.1)
    if name == "phases":
        assert [cost / budget for cost in costs] == pytest.approx([0.3, 0.3, 0.4], abs=0.03)
