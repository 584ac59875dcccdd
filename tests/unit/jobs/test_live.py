"""The display on a terminal: what it shows of a job, and that lines of other processes stay whole."""

import os
import pty
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import yaml

from elasticast.jobs.live import LiveDisplay, RunningJob
from elasticast.progress import LOG, Progress, last_reported

PROGRAM = """
import subprocess, sys, time
from elasticast.jobs.live import LiveDisplay, RunningJob

assert LiveDisplay.possible()
job = RunningJob("train", "Training one", 0.0)
display = LiveDisplay(lambda: ("3 of 7 jobs done", 0.5), lambda: [(job, 4.0)])
display.start()
subprocess.run(["sh", "-c", "echo out of a job; echo 12:00:00 repeated; echo 12:00:01 repeated >&2"])
subprocess.run(["sh", "-c", "echo '12:00:02 train: 3 of 9, 6 s, 12 s to go '; echo error of a job >&2"])
print("a line of Python")
time.sleep(1)
if "fail" in sys.argv:
    raise RuntimeError("it failed")
"""


@pytest.mark.parametrize("end", ["", "fail"])
def test_lines_of_jobs_are_whole_and_the_terminal_is_given_back(end):
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, end], stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    text = b""
    while chunk := _read(ours):
        text += chunk
    assert (process.wait() == 0) == (end == "")
    lines = text.decode()
    for line in ("out of a job", "error of a job", "a line of Python", "12:00:00 repeated"):
        assert f"{line}\r\n" in lines
    assert "12:00:01" not in lines
    assert "3 of 9" not in lines
    assert "3 of 7 jobs done" in lines
    assert "Training one" in lines
    assert ("RuntimeError: it failed" in lines) == (end == "fail")
    assert lines.rindex("\x1b[?25h") > lines.rindex("\x1b[?25l")  # the cursor is shown again


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_a_log_or_a_pipe_has_no_display(monkeypatch):
    with open(os.devnull, "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        assert not LiveDisplay.possible()


def test_what_progress_logs_is_read_again(tmp_path, caplog):
    with caplog.at_level("INFO", LOG.name), Progress("evaluate one", 8) as progress:
        progress.last = -1e9
        progress.started = time.monotonic() - 30
        progress.update(2, loss=0.5)
    log = tmp_path / "job.log"
    log.write_text("x" * 5000 + f"\n12:00:00 {caplog.messages[-1]}\n")
    assert last_reported(log) == last_reported(caplog.messages[-1]) == ("2 of 8", timedelta(seconds=90))
    assert last_reported("attention: sdpa") is None


def test_the_step_of_a_training_is_that_of_its_history(tiny, tmp_path):
    folder = tmp_path / "run" / "seed0"
    (folder / "history").mkdir(parents=True)
    settings = tiny(experiment="run").model_dump(mode="json")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    job = RunningJob("train", "Training run", 0.0, folder=folder)
    assert job.progress(5.0) == ("", None)
    history = folder / "history" / "history.csv"
    history.write_text("step,epoch,loss,lr,grad_norm,clips_per_s,tokens_per_s\n1,0,2.5,0.001,1.0,8.0,100.0\n")
    assert job.progress(5.0) == ("1 of 4", timedelta(seconds=2))
    os.utime(history, (0, 0))  # that of an earlier training
    assert job.progress(5.0) == ("", None)
