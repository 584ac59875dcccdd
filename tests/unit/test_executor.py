"""The executor plugin without a cluster: errors in its checks of the jobs, its records, its imports."""

import ast
import asyncio
import errno
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_executor_plugin_submitit import checks, executor
from snakemake_executor_plugin_submitit.clusters import State
from snakemake_executor_plugin_submitit.describe import Watched, request_of
from snakemake_executor_plugin_submitit.executor import Executor
from snakemake_executor_plugin_submitit.interrupts import InterruptibleExecutor
from snakemake_executor_plugin_submitit.quoting import quote_for_shells
from snakemake_executor_plugin_submitit.records import Record, RecordError, read_records, remove_leftovers
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.utils import format_cli_arg

from tests.complaints import assert_names

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "workflow/plugin/snakemake_executor_plugin_submitit"
RUN = "20260101-000000-0"


class Log:
    """Keeps what is logged, by level."""

    def __init__(self):
        self.info_, self.warnings, self.errors = [], [], []
        self.info, self.warning, self.error = self.info_.append, self.warnings.append, self.errors.append


class Queue:
    """A scheduler whose answer a test sets: the states of jobs, or an exception."""

    def __init__(self):
        self.answer, self.cancelled = {}, []

    def states(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def cancel(self, ids):
        self.cancelled += ids


class Scheduler:
    """Snakemake's scheduler, as far as the executor calls it."""

    def __init__(self):
        self.failed, self.succeeded, self.stopped = [], [], []
        self.error_callback, self.finish_callback = self.failed.append, self.succeeded.append
        self.executor_error_callback = self.stopped.append


class Plugin(Executor):
    """The executor without Snakemake: two running jobs, checked when a test asks for it."""

    def __init__(self, folder):
        self.logger, self.cluster, self.root, self.run = Log(), Queue(), folder, RUN
        self.workflow = SimpleNamespace(scheduler=Scheduler())
        self.checks, self.fatal, self.silent, self.grace = checks.Checks(self.logger), None, False, 0
        self.interrupts = SimpleNamespace(ignored=executor.contextlib.nullcontext, pressed=lambda: False)
        (folder / RUN).mkdir()
        self.live = {number: self._job(number) for number in ("1", "2")}
        self.submitted = [item.info for item in self.live.values()]
        self.answers(RUNNING)

    def _job(self, number):
        job = SimpleNamespace(log=[], is_group=lambda: False, log_error=lambda text, **_: self.logger.error(text))
        record = Record(number, "slurm", f"key{number}", "spec", RUN, "rule", [], 0.0)
        return Watched(SubmittedJobInfo(job, external_jobid=number, aux={"log": str(record.log(self.root))}), record)

    def answers(self, *states):
        names = states * 2 if len(states) == 1 else states
        tags = {number: f"smk:key{number}:spec:{RUN}" for number in ("1", "2")}
        self.cluster.answer = {n: State(name, "None", tags[n]) for n, name in zip(tags, names, strict=True)}

    def check(self):
        """Check the jobs once, as Snakemake does; the ids of those that it would check again."""

        async def active():
            return [info.external_jobid async for info in self.check_active_jobs(self.submitted)]

        return asyncio.run(active())

    def report_job_success(self, info):
        self.workflow.scheduler.finish_callback(info.job)


RUNNING = "RUNNING"
TEMPORARY = [
    OSError(errno.ESTALE, "Stale file handle", "jobs"),
    OSError(errno.EIO, "Input/output error"),
    subprocess.TimeoutExpired("scancel", 120),
]
PERMANENT = [ValueError("a bug"), KeyError("a bug"), RuntimeError("a bug")]


@pytest.fixture
def plugin(tmp_path):
    return Plugin(tmp_path)


@pytest.mark.parametrize("error", TEMPORARY, ids=repr)
def test_a_temporary_error_keeps_the_jobs_and_warns_once(plugin, error):
    plugin.cluster.answer = error
    for _ in range(checks.MAX_FAILED - 1):
        assert plugin.check() == ["1", "2"]
    assert len(plugin.logger.warnings) == 1
    assert f"{type(error).__name__}: {error}" in plugin.logger.warnings[0]
    plugin.answers(RUNNING)
    assert plugin.check() == ["1", "2"]
    plugin.cluster.answer = error
    assert plugin.check() == ["1", "2"], "errors before a check that succeeded do not count"
    assert len(plugin.logger.warnings) == 2
    assert not plugin.workflow.scheduler.stopped
    assert not plugin.cluster.cancelled


def test_different_errors_in_a_row_also_end_the_workflow(plugin):
    for i in range(checks.MAX_FAILED):
        assert not plugin.workflow.scheduler.stopped
        plugin.cluster.answer = TEMPORARY[i % 2]
        plugin.check()
    assert len(plugin.workflow.scheduler.stopped) == 1


@pytest.mark.parametrize(
    ("error", "times"), [(TEMPORARY[0], checks.MAX_FAILED), *((e, 1) for e in PERMANENT)], ids=repr
)
def test_any_other_error_ends_the_workflow_and_cancels_its_jobs(plugin, monkeypatch, error, times):
    ended = []
    monkeypatch.setattr(InterruptibleExecutor, "shutdown", lambda self: ended.append(sorted(self.cluster.cancelled)))
    plugin.cluster.answer = error
    for _ in range(times):
        plugin.check()
    (stopped,) = plugin.workflow.scheduler.stopped
    assert isinstance(stopped, executor.WorkflowError)
    assert f"{type(error).__name__}: {error}" in str(stopped)
    plugin.check()
    assert len(plugin.workflow.scheduler.stopped) == 1, "one error is enough"
    plugin.answers(RUNNING)
    plugin.shutdown()  # by Snakemake's scheduler
    assert sorted(set(ended[0])) == ["1", "2"], "jobs have to be cancelled before the executor ends"
    assert plugin.check() == []


def test_an_orderly_end_cancels_nothing(plugin, monkeypatch):
    monkeypatch.setattr(InterruptibleExecutor, "shutdown", lambda self: None)
    plugin.check()
    plugin.shutdown()
    assert not plugin.cluster.cancelled


def test_a_scheduler_that_does_not_answer_ends_nothing(plugin):
    plugin.cluster.answer = None
    for _ in range(3 * checks.MAX_FAILED):
        assert plugin.check() == ["1", "2"]
    assert len(plugin.logger.warnings) == 1
    assert not plugin.workflow.scheduler.stopped


def test_a_record_that_cannot_be_written_loses_no_job(plugin, monkeypatch):
    """A later check reports the end of the job."""
    plugin.answers("FAILED", RUNNING)
    with monkeypatch.context() as patch:
        patch.setattr(Record, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        assert plugin.check() == ["1", "2"]
    assert not plugin.workflow.scheduler.failed
    assert plugin.check() == ["2"]
    assert plugin.workflow.scheduler.failed == [plugin.submitted[0].job]
    assert [(record.job_id, record.end) for record in read_records(plugin.root)] == [("1", "failed")]


def test_a_log_that_cannot_be_read_does_not_hide_the_failure(plugin):
    plugin.submitted[0].job.log = [str(plugin.root)]  # a folder
    plugin.answers("FAILED", RUNNING)
    assert plugin.check() == ["2"]
    assert plugin.workflow.scheduler.failed == [plugin.submitted[0].job]


def test_a_result_is_read_once_it_is_complete(plugin):
    result = plugin.live["1"].record.result(plugin.root)
    whole = pickle.dumps(("success", (0, "")))
    for size in range(len(whole)):
        result.write_bytes(whole[:size])
        assert plugin.check() == ["1", "2"]
    result.write_bytes(whole)
    assert plugin.check() == ["2"]
    assert plugin.workflow.scheduler.succeeded == [plugin.submitted[0].job]
    assert not plugin.logger.warnings


def test_records_come_back_as_written(tmp_path):
    first = Record("7", "slurm", "a", "s", RUN, "train x 0", ["results/x"], 2.0, "done")
    second = Record("8", "slurm", "b", "s", RUN, "train y 0", ["results/y"], 1.0)
    for record in (first, second):
        record.write(tmp_path)
    assert read_records(tmp_path) == [second, first]
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == ["a.json", "b.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"job_id": "7"}'])
def test_the_error_of_a_broken_record_names_the_file(tmp_path, text):
    path = tmp_path / "jobs" / "a.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RecordError) as raised:
        read_records(tmp_path)
    assert str(path) in str(raised.value)


def imported(path):
    """Names of the modules that a file imports anywhere, and of those it imports at import time."""
    tree = ast.parse(path.read_text())
    inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    anywhere, at_import = set(), set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names = [node.module or "."] if isinstance(node, ast.ImportFrom) else names
        anywhere.update(names)
        at_import.update([] if node in inside else names)
    return anywhere, at_import


def test_the_plugin_imports_nothing_of_the_package():
    files = list(PLUGIN.glob("**/*.py"))
    assert len(files) > 5
    found = {path.name: [m for m in imported(path)[0] if m.partition(".")[0] == "elasticast"] for path in files}
    assert not any(found.values()), found


def test_only_status_imports_the_plugin_and_only_when_called():
    files = {path: imported(path) for path in (ROOT / "elasticast").glob("**/*.py")}
    uses = {path: [any(m.startswith(PLUGIN.name) for m in some) for some in modules] for path, modules in files.items()}
    assert {path.name for path, (anywhere, _) in uses.items() if anywhere} == {"status.py"}
    assert not any(at_import for _, at_import in uses.values())


def test_the_plugin_can_be_imported_without_the_package():
    code = f"import sys; sys.modules['elasticast'] = None; import {PLUGIN.name}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_shell_reads_the_arguments_of_a_job_as_they_are():
    quote_for_shells()
    values = {"results": """it's "a" $(touch pwned) `touch pwned`\n""", "plain": "x", "number": 3}
    printed = format_cli_arg("--config", values) + " " + format_cli_arg("--snakefile", "'$(touch pwned)'")
    expected = ["--config", *(f"{k}={v}" for k, v in values.items()), "--snakefile", "'$(touch pwned)'"]
    assert shlex.split(printed) == expected


def test_a_folder_of_logs_whose_name_slurm_would_change_is_refused(tmp_path):
    plugin = Executor.__new__(Executor)
    settings = SimpleNamespace(cluster="local", folder=tmp_path / "100%/%j")
    plugin.workflow = SimpleNamespace(executor_settings=settings)
    with pytest.raises(WorkflowError) as caught:
        plugin.__post_init__()
    assert_names(str(caught.value), settings.folder, "--submitit-folder")
    assert not (tmp_path / "100%").exists()


def test_the_name_of_a_job_has_only_plain_characters():
    job = SimpleNamespace(name="prepare", wildcards_dict={"dataset": "%j %x $(a)\n"}, is_group=lambda: False)
    job.resources = {"_cores": 1}
    assert request_of(job, "smk:a:b:c").name == "prepare-j-x-a-"


def test_records_that_a_killed_process_left_are_deleted(tmp_path):
    (tmp_path / "jobs").mkdir()
    old, new = (tmp_path / f"jobs/.{name}.json.1.part" for name in ("old", "new"))
    for path in (old, new):
        path.write_text("{")
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path)
    assert list((tmp_path / "jobs").iterdir()) == [new]
