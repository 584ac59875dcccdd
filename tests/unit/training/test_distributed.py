"""Data-parallel training: N ranks take the trajectory of one, stop together and end together."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from elasticast.config import Evaluation
from elasticast.data.dataset import ClipDataset
from elasticast.data.sampler import BatchSampler
from elasticast.errors import ElasticASTError
from elasticast.evaluation.sweep import evaluate
from elasticast.files import locked
from elasticast.models.pretrained import load_model
from elasticast.training import loop
from elasticast.training.checkpoint import saved_checkpoints
from elasticast.training.distributed import World, local_device
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import EXIT_CHECKPOINTED, Trainer
from tests.complaints import complains
from tests.conftest import make_config
from tests.unit.training.ranks import stop_at

RANKS = Path(__file__).with_name("ranks.py")
LAUNCH = "elasticast.jobs.torchrun"
PATIENCE = 120  # seconds until a process counts as hung; all of these end within ten
BUSY = {"token_dropout": 0.2, "mixup": 0.5, "spec_augment": {"freq_bins": 24, "time_frames": 96}, "steps": 8}
VIEW = {"max_frames": 256, "compression": [1.0, 2.0]}
CASES = {
    # some steps have one clip, and one rank has none
    "tokens": {"view": VIEW, "train": {**BUSY, "batch": {"clips": None, "tokens": 150}}},
    "clips": {"view": VIEW, "train": {**BUSY, "batch": {"clips": 5}, "workers": 1}},
    # without prefix tokens the model has parameters of no elements
    "ast": {
        "model": {"kind": "ast", "prefix_tokens": 0, "pooling": "mean"},
        "train": {"steps": 8, "batch": {"clips": 3}, "loss": "ce", "optimizer": "adam", "grad_clip": None},
    },
    "patch sizes": {
        "model": {"patch_sizes": {"sizes": [12, 16, 40], "remainder": "keep"}},
        "train": {**BUSY, "batch": {"clips": 5}},
    },
    "select": {"train": {**BUSY, "batch": {"clips": 5}, "select": {"split": "test"}}},
    # in some steps, all clips of a rank have labels, or none has
    "stages": {
        "train": {
            **BUSY,
            "batch": {"clips": 2},
            "unlabelled": {"share": 0.5, "clips": 1},
            "stages": [
                {"share": 0.5, "consistency": 20.0, "interpolation": True},
                {"share": 0.5, "frozen": True, "consistency": 20.0},
            ],
        }
    },
}


# ---------------------------------------------------------------------------------------------
# Shares
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("clips", [1, 2, 5, 40])
def test_weights_of_the_shares_are_those_of_the_clips(ranks, clips):
    tokens = torch.randint(8, 400, (100,), generator=torch.Generator().manual_seed(0)).tolist()
    batch = torch.randperm(100, generator=torch.Generator().manual_seed(1)).tolist()[:clips]
    sizes = [tokens[i] for i in batch]
    shares = [World(rank, ranks, torch.device("cpu")).share(batch, sizes) for rank in range(ranks)]
    assert sum(weight for _, weight in shares) == pytest.approx(1)
    assert all(weight == pytest.approx(len(own) / clips) for own, weight in shares if weight)
    assert sorted(i for own, weight in shares if weight for i in own) == sorted(batch)
    smallest = min(batch, key=tokens.__getitem__)
    assert all(own == [smallest] for own, weight in shares if not weight)


def test_one_process_keeps_the_batch_as_it_is():
    assert World().share(["d", "b", "c", "a"], [7, 5, 5, 9]) == (["d", "b", "c", "a"], 1.0)
    assert World().sum(1, 2.5) == [1, 2.5]


def test_more_processes_than_gpus_are_one_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with complains(ElasticASTError, 4, 2, "--nproc-per-node"):
        local_device(0, 4)


# ---------------------------------------------------------------------------------------------
# The same trajectory
# ---------------------------------------------------------------------------------------------


def start(*command, cwd, module="torch.distributed.run", nodes=("--standalone", "--nproc-per-node=2")):
    """Start two ranks with torchrun, or with another module that takes its options."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *nodes, *map(str, command)],
        cwd=cwd,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def output_of(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=PATIENCE)[0]
    finally:
        process.kill()


def train_command(prepared: Path, folder: Path, config) -> list[str]:
    """Arguments of `elasticast train` into `folder/run`."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    files = ["--config", "config.yaml", "--data", str(prepared), "--norm", str(prepared / "norm.json"), "--out", "run"]
    return ["-m", "elasticast", "train", *files]


def history(folder: Path) -> list[dict]:
    with (folder / "history" / "history.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def saved_step(folder: Path) -> int:
    return int(saved_checkpoints(folder / "checkpoint")[0].name.removeprefix("step-"))


@pytest.fixture(scope="module")
def ran(prepared, train_clips, test_clips, norm, tmp_path_factory):
    """Runs on one rank (`one/...`), on two (`two/...`), and on one after the other (`one_two`, `two_one`)."""
    out = tmp_path_factory.mktemp("ran")
    before = {number: signal.getsignal(number) for number in loop.STOP_SIGNALS}

    def train(name, case, stop=None):
        held_out = test_clips if "select" in case["train"] else None
        world = World(device=torch.device("cpu"))
        inputs = RunInputs(train_clips, norm, "data", held_out)
        trainer = Trainer(make_config(**case), inputs, out / name, world)
        if stop:
            stop_at(trainer, stop)
        with pytest.raises(SystemExit) if stop else nullcontext():
            trainer.fit()

    for name, case in CASES.items():
        train(f"one/{name}", case)
    train("one_two", CASES["tokens"], stop=5)
    cases = {f"two/{name}": {"config": make_config(**case).model_dump(mode="json")} for name, case in CASES.items()}
    cases["one_two"] = {"config": cases["two/tokens"]["config"]}
    cases["two_one"] = {"config": cases["two/tokens"]["config"], "stop": {"rank": 1, "step": 3}}
    cases["two_select"] = {"config": cases["two/select"]["config"], "stop": {"rank": 0, "step": 5}}
    (out / "two").mkdir()
    (out / "cases.json").write_text(json.dumps(cases))
    process = start(RANKS, prepared, out, cwd=out)
    output = output_of(process)
    assert process.returncode == 0, output
    (out / "two_one.step").write_text(str(saved_step(out / "two_one")))
    train("two_one", CASES["tokens"])
    train("two_select", CASES["select"])
    for number, answer in before.items():
        signal.signal(number, answer)
    return out


def without_key_biases(folder: Path) -> dict[str, torch.Tensor]:
    """A run's weights; the biases of the keys cancel in the softmax: they have no gradient but rounding errors."""
    weights = load_file(folder / "model.safetensors")
    for name, value in weights.items():
        if name.endswith("attn.qkv.bias"):
            value.chunk(3)[1].zero_()
        elif name == "pool.kv.bias":
            value.chunk(2)[0].zero_()
    return weights


def assert_same_trajectory(found: Path, expected: Path) -> None:
    """The same steps, losses, gradients and weights, up to the order in which floats are summed.

    Adam divides by the gradient's size, so where that is nearly 0 single weights show rounding errors enlarged; each
    tensor as a whole does not.
    """
    pairs = list(zip(history(found), history(expected), strict=True))
    for name in ("step", "epoch", "lr"):
        assert [a[name] for a, _ in pairs] == [b[name] for _, b in pairs]
    for name in ("loss", "grad_norm"):
        assert [a[name] for a, _ in pairs] == pytest.approx([b[name] for _, b in pairs], rel=1e-5)
    weights, others = without_key_biases(found), without_key_biases(expected)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        assert (value - others[name]).norm() <= 1e-5 * others[name].norm(), name


@pytest.mark.parametrize("name", list(CASES))
def test_two_ranks_are_one_rank_with_the_whole_batch(ran, name, record_property):
    assert_same_trajectory(ran / "two" / name, ran / "one" / name)
    pairs = zip(history(ran / "two" / name), history(ran / "one" / name), strict=True)
    losses = torch.tensor([(a["loss"], b["loss"]) for a, b in pairs], dtype=torch.float64)
    error = (losses[:, 0] - losses[:, 1]).abs().max().item()
    record_property("equality", (f"two ranks and one, {name}: loss", error, losses.max().item()))


@pytest.mark.parametrize("name", ["one_two", "two_one"])
def test_a_run_goes_on_with_another_number_of_ranks(ran, name):
    assert_same_trajectory(ran / name, ran / "one" / "tokens")
    assert json.loads((ran / name / "run.json").read_text())["restarts"] == 1


@pytest.mark.parametrize("name", ["two/select", "two_select"])
def test_ranks_that_share_the_clips_choose_as_one_does(ran, name, prepared, norm):
    found, alone = (json.loads((ran / run / "run.json").read_text())["selection"] for run in (name, "one/select"))
    assert [row["step"] for row in found["history"]] == [2, 4, 6, 8]
    values = [[row["value"] for row in one["history"]] for one in (found, alone)]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert found["step"] == alone["step"]
    assert_same_trajectory(ran / name, ran / "one" / "select")
    kept = load_model(ran / name)
    own = Evaluation(x_name="compression", x=[1.0])
    table = evaluate(kept.model, prepared, kept.config, norm, {"own": own})
    assert table.set_index("metric").loc["mAP", "value"] == pytest.approx(found["value"], abs=1e-6)


def test_a_signal_to_one_rank_stops_all_after_the_same_step(ran):
    statuses = {name: [(ran / f"{name}.rank{rank}").read_text() for rank in (0, 1)] for name in ("two_one", "one_two")}
    assert statuses == {"two_one": ["85", "85"], "one_two": ["0", "0"]}
    assert (ran / "two_one.step").read_text() == "3"


def test_the_threads_of_the_process_group_end_with_it(ran):
    """Alive at the end of Python, they now and then abort a process that has done its work."""
    assert (ran / "threads.rank1").read_text() == "0"


def test_the_cases_deal_unevenly(train_clips, norm):
    """Some batches of the token budget are too small for two ranks, and five clips are never dealt evenly."""
    config = make_config(**CASES["tokens"])
    dataset = ClipDataset(train_clips, config, norm)
    batches = BatchSampler(dataset.tokens(), config.train.batch, 0).epoch(0)
    assert {1, 2} <= {len(batch) for batch in batches}


def test_what_a_run_of_two_ranks_records(ran):
    record = json.loads((ran / "two" / "clips" / "run.json").read_text())
    assert (record["world_size"], record["devices"]) == (2, ["cpu", "cpu"])
    assert record["clips_per_s"] * record["seconds"] == pytest.approx(8 * 5, rel=0.01)  # of both ranks together
    alone = json.loads((ran / "one" / "clips" / "run.json").read_text())
    tokens = [found["tokens_per_s"] * found["seconds"] for found in (record, alone)]
    assert tokens[0] == pytest.approx(tokens[1], rel=0.01)
    assert {row["step"] for row in history(ran / "two" / "clips")} == set(range(1, 9))
    assert len(list((ran / "two" / "clips" / "history").glob("events.out.*"))) == 1


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def test_two_nodes(ran, prepared, tmp_path):
    endpoint = f"localhost:{free_port()}"
    command = train_command(prepared, tmp_path, make_config(**CASES["clips"]))
    nodes = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", "--rdzv-id=1"]
    processes = [start(*command, cwd=tmp_path, nodes=nodes) for _ in range(2)]
    outputs = [output_of(process) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert_same_trajectory(tmp_path / "run", ran / "one" / "clips")
    assert sum("train tiny seed 0: 8 of 8" in output for output in outputs) == 1  # rank 0 alone tells of progress
    assert json.loads((tmp_path / "run" / "run.json").read_text())["world_size"] == 2


def ranks_of(process: subprocess.Popen) -> dict[int, int]:
    """Rank to process id of torchrun's children."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for child in children:
        environment = Path(f"/proc/{child}/environ").read_text().split("\0")
        found |= {int(line[5:]): int(child) for line in environment if line.startswith("RANK=")}
    return found


def test_a_run_told_to_stop_by_the_cluster_saves_itself(prepared, tmp_path):
    settings = {"train": {"steps": 100_000, "checkpoint_every": 100_000}}
    command = train_command(prepared, tmp_path, make_config(**settings))
    process = start(*command, cwd=tmp_path, module=LAUNCH)
    rows = tmp_path / "run" / "history" / "history.csv"
    until = time.monotonic() + PATIENCE
    while not (rows.is_file() and len(rows.read_text().splitlines()) > 3):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)
    for pid in (process.pid, ranks_of(process)[1]):  # the launcher answers nothing, and one rank does for all
        os.kill(pid, signal.SIGUSR2)
    output = output_of(process)
    assert process.returncode == EXIT_CHECKPOINTED, output
    assert "Traceback" not in output
    assert saved_step(tmp_path / "run") == int(re.findall(r"\bstep (\d+)", output)[-1])


# ---------------------------------------------------------------------------------------------
# Failures
# ---------------------------------------------------------------------------------------------


def poisoned(folder: Path, deed: str, ranks: tuple[int, ...]) -> Path:
    """A script that is the `elasticast` command, but does a deed on some ranks in their third step."""
    script = folder / "poisoned.py"
    script.write_text(
        "import os, signal\n"
        "from elasticast import cli\n"
        "from elasticast.errors import ElasticASTError\n"
        "from elasticast.training.loop import Trainer\n"
        "update = Trainer._update\n"
        "def poisoned(self, *args):\n"
        f"    if self.step == 2 and self.world.rank in {ranks}: {deed}\n"
        "    return update(self, *args)\n"
        "Trainer._update = poisoned\n"
        "cli.main()\n"
    )
    return script


@pytest.mark.parametrize(
    ("deed", "ranks", "status", "message"),
    [
        ("raise ElasticASTError('this clip is broken')", (0, 1), 1, "error: this clip is broken"),
        ("raise ValueError('a bug')", (1,), 1, r"\[rank1\]: ValueError: a bug"),
        ("os.kill(os.getpid(), signal.SIGKILL)", (1,), 137, "error: rank 0 "),
    ],
)
def test_ranks_that_fail_end_all_with_one_message(prepared, tmp_path, deed, ranks, status, message):
    arguments = train_command(prepared, tmp_path, make_config())[2:]
    process = start(poisoned(tmp_path, deed, ranks), *arguments, cwd=tmp_path, module=LAUNCH)
    output = output_of(process)
    assert process.returncode == status, output
    found = re.findall(r"^(?:error:|\[rank\d\]: \w*Error:|\w*Error:).*", output, re.MULTILINE)
    assert len(found) == 1, output
    assert re.match(message, found[0])
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_second_run_on_a_folder_is_refused_once(prepared, tmp_path):
    with locked(tmp_path / "run" / "checkpoint" / "lock", ""):
        process = start(*train_command(prepared, tmp_path, make_config()), cwd=tmp_path)
        output = output_of(process)
    assert process.returncode == 1
    assert re.findall(r"^error: .*\brun\b", output, re.MULTILINE), output
    assert output.count("error:") == 1, output
