"""`elasticast status`: the states of runs, and that it never makes a run fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from elasticast.errors import DataError, ElasticASTError
from elasticast.files import exclusive, in_use
from elasticast.jobs import status
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer

ASK = """
import sys
from pathlib import Path
from elasticast.jobs.status import _state

folder = Path(sys.argv[1])
states = {_state(folder, folder, "")}
print(*states, flush=True)
while not (folder / "stop").exists():
    states.add(_state(folder, folder, ""))
print(*sorted(states), sep=",")
"""


@pytest.mark.usefixtures("cpu")
def test_status_never_makes_a_starting_run_fail(tiny, train_clips, norm, tmp_path):
    """Another process keeps reading the state of the run."""
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", ASK, str(folder)], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "not started\n"
        try:
            for _ in range(3):
                Trainer(tiny(), RunInputs(train_clips, norm, "data"), folder).fit()
            for _ in range(2000):
                with exclusive(folder / "checkpoint", "busy"):
                    pass
        finally:
            folder.mkdir(exist_ok=True)
            (folder / "stop").touch()
        assert reader.stdout.read().splitlines()[-1] == "not started,running,trained"
    assert reader.returncode == 0


def test_a_folder_is_in_use_as_long_as_a_process_works_in_it(tmp_path):
    folder = tmp_path / "checkpoint"
    assert not in_use(folder)
    with exclusive(folder, "busy"):
        assert in_use(folder)
        with pytest.raises(ElasticASTError) as raised, exclusive(folder, "busy"):
            pass
        assert str(folder) in str(raised.value)
        assert in_use(folder)
    assert not in_use(folder)


def test_the_folder_of_a_killed_process_is_not_in_use(tmp_path):
    code = "import sys, time; from pathlib import Path; from elasticast.files import exclusive\n"
    code += "with exclusive(Path(sys.argv[1]), ''):\n    print('begun', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
        assert in_use(tmp_path)
        process.kill()
        process.wait()
    assert not in_use(tmp_path)


def test_a_history_that_is_being_written(tiny, tmp_path):
    """Only complete lines count, wherever the last one breaks off."""
    path = tmp_path / "history" / "history.csv"
    path.parent.mkdir()
    head = "step,epoch,loss,lr,grad_norm,clips_per_s,tokens_per_s\n"
    line = "1,0,2.5,0.001,1.0,8.0,100.0\n"
    last = "2,0,2.5,0.001,1.0,8.0,"
    for size in range(len(last)):
        path.write_text(head + line + last[:size])
        step, to_go = status.training_progress(tmp_path, tiny())
        assert (step, str(to_go)) in {("1 of 4", "0:00:02"), ("2 of 4", "0:00:01")}


def test_a_speed_that_rounds_to_zero_gives_no_remaining_time(tiny, tmp_path):
    path = tmp_path / "history" / "history.csv"
    path.parent.mkdir()
    path.write_text("step,epoch,loss,lr,grad_norm,clips_per_s,tokens_per_s\n1,0,2.5,0.001,1.0,0.0,0.9\n")
    assert status.training_progress(tmp_path, tiny()) == ("1 of 4", None)


PHASES = [{"compression": 2.0, "share": 0.5}, {"compression": 1.0, "share": 0.5}]


@pytest.mark.parametrize("length", [{"phases": PHASES}, {"steps": None, "epochs": 2}], ids=["phases", "epochs"])
def test_a_run_whose_number_of_steps_depends_on_the_clips_has_no_remaining_time(tiny, tmp_path, length):
    path = tmp_path / "history" / "history.csv"
    path.parent.mkdir()
    path.write_text("step,epoch,loss,lr,grad_norm,clips_per_s,tokens_per_s\n3,1,2.5,0.001,1.0,8.0,100.0\n")
    step, to_go = status.training_progress(tmp_path, tiny(train=length))
    assert step.startswith("3 (epoch 1")
    assert to_go is None


def test_a_broken_record_is_an_error_with_its_path(tmp_path):
    path = tmp_path / "jobs" / "a.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"job_id": "7"}))
    with pytest.raises(DataError) as raised:
        status._records(tmp_path)
    assert str(path) in str(raised.value)
    assert status._records(Path(tmp_path / "absent")) == []


def test_there_is_a_column_of_trained_parameters_if_a_run_trains_only_some(tiny, tmp_path):
    adapted, plain = tiny(model={"init": "weights", "adapt": {"kind": "lora"}}), tiny()
    assert status._trained(tmp_path, adapted) == ""
    (tmp_path / "run.json").write_text(json.dumps({"trained_parameters": 1234, "parameters": 56789}))
    counts = [status._trained(tmp_path, config) for config in (adapted, plain)]
    assert counts == ["1,234 of 56,789", ""]
    rows = [status.RunStatus(f"run seed {i}", "trained", "4 of 4", "", text, "", "") for i, text in enumerate(counts)]
    assert "1,234 of 56,789" in status.table(rows)
    assert status.table(rows[1:]).splitlines()[0].split() == ["run", "state", "step", "to", "go", "job", "log"]
