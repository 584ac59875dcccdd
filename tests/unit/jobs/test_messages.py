"""What is printed while Snakemake runs."""

import logging
from datetime import timedelta

import pytest

from elasticast.jobs.live import RunningJob
from elasticast.jobs.messages import SHORT_SECONDS, TerminalMessages, stored_seconds


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Run:
    """Records as Snakemake makes them, at times that the test sets."""

    def __init__(self, stored=()):
        self.now, self.handler = 0.0, Kept()
        texts = {"fig4": "Figure 4.", "configure": "Settings."}
        self.filter = TerminalMessages(
            self.handler,
            texts,
            setup=["configure"],
            short=["fig4"],
            stored=dict(stored),
            clock=lambda: self.now,
            on_begin=lambda: None,
        )
        self.handler.addFilter(self.filter)

    def send(self, event=None, msg="", **values):
        record = logging.LogRecord("snakemake", logging.INFO, "", 0, msg, (), None)
        vars(record).update({"event": event, **values})
        self.handler.handle(record)

    def job(self, number, rule, seconds=None, message=None):
        self.send(
            "job_info", jobid=number, rule_name=rule, rule_msg=message, reason="Missing output files: " + "x" * 900
        )
        if seconds is not None:
            self.now += seconds
            self.send("job_finished", job_id=number)


@pytest.fixture
def run():
    run = Run()
    run.send("run_info", stats={"configure": 2, "train": 4, "fig4": 1, "total": 7})
    return run


def test_a_job_is_one_short_line_without_its_reason(run):
    run.job(1, "train", message="Training events, seed 0")
    run.job(2, "fig4")
    assert [line.split(" ", 1)[1] for line in run.handler.lines[1:]] == ["Training events, seed 0", "Figure 4"]


def test_jobs_that_only_prepare_others_are_not_mentioned(run):
    before = list(run.handler.lines)
    run.job(1, "configure", 1.0)
    assert run.handler.lines == before
    assert "configure" not in before[0]


def test_progress_is_printed_once_a_minute(run):
    before = len(run.handler.lines)
    for number in range(4):
        run.job(number, "configure", 25.0)
        run.send("progress", done=number, total=7)
        run.filter.print_progress()
    assert len(run.handler.lines) == before + 1


def test_progress_counts_runs_and_jobs_without_those_of_the_set_up(run):
    run.job(1, "configure", 1.0)
    run.job(2, "train", 10.0)
    run.job(3, "train")
    run.job(4, "configure")
    assert run.filter.progress().startswith("1 of 4 runs trained, 1 of 5 jobs done, 1 running, ")


def test_errors_and_warnings_are_printed_as_they_are(run):
    run.job(1, "train")
    run.send("job_error", "it failed", jobid=1)
    run.send(None, "a warning")
    assert run.handler.lines[-2:] == ["it failed", "a warning"]
    assert not run.filter.running
    assert run.filter.progress().startswith("0 of 4 runs trained, 0 of 5 jobs done, 0 running, 1 failed, ")


def test_the_time_to_go_is_measured(run):
    assert run.filter.seconds_left() is None
    run.job(1, "train", 100.0)
    run.job(2, "train", 50.0)
    # two of 75 s, two of the set-up and a figure
    assert run.filter.seconds_left() == pytest.approx(2 * 75 + 3 * SHORT_SECONDS)
    run.job(3, "train")
    run.now += 30
    assert run.filter.seconds_left() == pytest.approx(2 * 75 - 30 + 3 * SHORT_SECONDS)


def test_what_running_jobs_report_is_used(run, monkeypatch):
    monkeypatch.setattr(RunningJob, "progress", lambda self, running: ("", timedelta(seconds=60 - running)))
    run.job(1, "train")
    run.now += 20
    assert run.filter.seconds_left() == pytest.approx(40 + 3 * 60 + 3 * SHORT_SECONDS)


def test_jobs_at_the_same_time_shorten_it(run):
    run.job(1, "train")
    run.job(2, "train")
    run.now += 60
    for number in (1, 2):
        run.send("job_finished", job_id=number)
    assert run.filter.seconds_left() == pytest.approx((2 * 60 + 3 * SHORT_SECONDS) / 2)


def test_the_times_of_earlier_runs_are_used(tmp_path):
    (tmp_path / "train_a_seed0.tsv").write_text("s\th:m:s\n10.0\t0:00:10\n")
    (tmp_path / "train_b_seed0.tsv").write_text("s\th:m:s\n30.0\t0:00:30\n")
    (tmp_path / "evaluate_a_seed0.tsv").write_text("damaged")
    stored = stored_seconds(tmp_path, ["train", "evaluate", "resample"])
    assert stored == {"train": 20.0}
    run = Run(stored)
    run.send("run_info", stats={"train": 2, "total": 2})
    assert run.filter.seconds_left() == pytest.approx(40.0)
