"""What is printed while Snakemake runs: one line per job that takes time, and the time to go.

On a terminal, the time to go and the running jobs are in a display below these lines (`elasticast.jobs.live`); in a
log, they are one line per minute.

Snakemake prints five lines per job, with all its files and the reason why it runs. Its progress counts jobs, of which
one may take a second and another an hour. Its log file in ``.snakemake/log`` keeps all of that. ``--verbose`` shows it.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from elasticast.jobs.benchmarks import read_benchmark
from elasticast.jobs.live import LiveDisplay, RunningJob

EVERY_SECONDS = 60.0
TRAIN = "train"
"""The rule that trains a run."""
SHORT_SECONDS = 5.0
"""Assumed time of a job that Snakemake runs itself, such as a figure."""
DROPPED = ("workflow_started", "resources_info", "job_started", "job_finished", "progress")
NOISE = ("Select jobs to execute", "Building DAG of jobs", "Using shell", "Conda env", "Could not detect mimetype")
"""Beginnings of messages that help nobody: the reports' YAML is shown as text, as it should be."""


class TerminalMessages(logging.Filter):
    """Filter of the handler that prints Snakemake's messages.

    Parameters
    ----------
    handler : logging.Handler
        The handler; it prints the messages that replace those of Snakemake.
    descriptions : mapping of str to str
        Name of each rule to its description, for jobs without a message.
    setup : iterable of str
        Rules whose jobs are not mentioned.
    short : iterable of str
        Rules whose jobs take seconds.
    stored : mapping of str to float
        Seconds that a job of a rule took in earlier runs, see :func:`stored_seconds`.
    clock : callable
        Returns the time (s).
    on_begin : callable, optional
        Called when the jobs are known; default: :meth:`show_progress`.
    """

    def __init__(
        self,
        handler: logging.Handler,
        descriptions: Mapping[str, str],
        *,
        setup: Iterable[str],
        short: Iterable[str],
        stored: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
        on_begin: Callable[[], None] | None = None,
    ):
        super().__init__()
        self.handler, self.descriptions, self.clock = handler, descriptions, clock
        self.setup, self.short, self.stored = set(setup), set(short), stored
        self.planned: Counter[str] = Counter()
        self.running: dict[int, RunningJob] = {}
        self.taken: dict[str, list[float]] = {}
        self.failed: Counter[str] = Counter()
        self.started = self.last = clock()
        self.on_begin = on_begin or self.show_progress
        self.display: LiveDisplay | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to print a message as it is."""
        event = getattr(record, "event", None)
        match kind := str(getattr(event, "value", event)):
            case "run_info":
                self._begin(record.stats)
            case "job_info":
                self._start(record)
            case "job_finished" | "job_error":
                self._finish(record, failed=kind == "job_error")
        return kind not in (*DROPPED, "run_info", "job_info") and not str(record.msg).startswith(NOISE)

    def _print(self, text: str) -> None:
        message = f"{time.strftime('%H:%M:%S')} {text}"
        self.handler.handle(logging.LogRecord("elasticast", logging.INFO, "", 0, message, (), None))

    def _begin(self, stats: Mapping[str, int]) -> None:
        if self.planned:  # Snakemake prints the numbers of jobs again at the end
            return
        self.planned = Counter({rule: count for rule, count in stats.items() if rule != "total"})
        counts = [f"{count} {rule}" for rule, count in self.planned.items() if rule not in self.setup]
        self._print(f"jobs: {', '.join(counts)}")
        self.on_begin()

    def show_progress(self) -> None:
        """Show the display on a terminal; else print a line once a minute. To be called when jobs begin."""
        if LiveDisplay.possible():
            self.display = LiveDisplay(self.summary, self.listed)
            self.display.start()
        else:
            threading.Thread(target=self._keep_printing, daemon=True).start()

    def _keep_printing(self) -> None:
        while True:
            time.sleep(1)
            self.print_progress()

    def print_progress(self) -> None:
        """Print a line of progress, at most once a minute."""
        if self.clock() - self.last >= EVERY_SECONDS:
            self.last = self.clock()
            self._print(self.progress())

    def _start(self, record: logging.LogRecord) -> None:
        text = record.rule_msg or self.descriptions.get(record.rule_name) or record.rule_name
        title = text.strip().rstrip(".")
        log, output = (next(map(Path, getattr(record, name, ())), None) for name in ("log", "output"))
        self.running[record.jobid] = RunningJob(record.rule_name, title, self.clock(), log, output and output.parent)
        if record.rule_name not in self.setup and not self.display:
            self._print(title)

    def _finish(self, record: logging.LogRecord, *, failed: bool) -> None:
        job = self.running.pop(getattr(record, "job_id", getattr(record, "jobid", None)), None)
        if job is None:
            return
        if failed:
            self.failed[job.rule] += 1
            return
        taken = self.clock() - job.since
        self.taken.setdefault(job.rule, []).append(taken)
        if self.display and job.rule not in self.setup:
            self._print(f"{job.title}: {_duration(taken)}")

    def summary(self) -> tuple[str, float | None]:
        """Line of progress, and the share of the time that has passed; None if the time to go is not known."""
        left, passed = self.seconds_left(), self.clock() - self.started
        return self._line(left), None if left is None else passed / max(passed + left, 1e-9)

    def listed(self) -> list[tuple[RunningJob, float]]:
        """Running jobs without those that only prepare others, each with the time since it started (s)."""
        now = self.clock()
        return [(job, now - job.since) for job in list(self.running.values()) if job.rule not in self.setup]

    def progress(self) -> str:
        """How many runs are trained, how many jobs are done and running, the time so far, and the time to go."""
        return self._line(self.seconds_left())

    def _line(self, left: float | None) -> str:
        done = {rule: len(times) for rule, times in list(self.taken.items()) if rule not in self.setup}
        planned = {rule: count for rule, count in self.planned.items() if rule not in self.setup}
        to_go = "time to go not known yet" if left is None else f"about {_duration(left)} to go"
        so_far = _duration(self.clock() - self.started)
        runs = f"{done.get(TRAIN, 0)} of {planned[TRAIN]} runs trained, " if TRAIN in planned else ""
        jobs = f"{sum(done.values())} of {sum(planned.values())} jobs done, {len(self.listed())} running"
        if failed := sum(self.failed.values()):
            jobs += f", {failed} failed"
        return f"{runs}{jobs}, {so_far} so far, {to_go}"

    def seconds_left(self) -> float | None:
        """Time to go (s), if as many jobs run at a time as so far; None if a rule with jobs left was never timed."""
        now, running = self.clock(), list(self.running.values())
        to_go = [job.progress(now - job.since)[1] for job in running]
        totals: dict[str, list[float]] = {}
        for job, left in zip(running, to_go, strict=True):
            if left is not None:
                totals.setdefault(job.rule, []).append(now - job.since + left.total_seconds())
        work, busy = 0.0, sum(map(sum, list(self.taken.values())))
        waiting = self.planned - self.failed
        waiting -= Counter({rule: len(times) for rule, times in list(self.taken.items())})
        for job, left in zip(running, to_go, strict=True):
            waiting[job.rule] -= 1
            busy += now - job.since
            cost = self._cost(job.rule, totals)
            if left is None and cost is None:
                return None
            work += left.total_seconds() if left is not None else max(cost - (now - job.since), 0.0)
        for rule, count in waiting.items():
            if count <= 0:
                continue
            if (cost := self._cost(rule, totals)) is None:
                return None
            work += count * cost
        return work / max(busy / max(now - self.started, 1e-9), 1.0)

    def _cost(self, rule: str, totals: Mapping[str, list[float]]) -> float | None:
        """Mean time of a job of a rule (s): in this run, as its running jobs expect it (`totals`), in earlier runs."""
        for times in (self.taken.get(rule), totals.get(rule)):
            if times:
                return sum(times) / len(times)
        return self.stored.get(rule, SHORT_SECONDS if rule in self.setup | self.short else None)


def stored_seconds(folder: Path, rules: Iterable[str]) -> dict[str, float]:
    """Mean time of the jobs of each rule (s), from the benchmark files ``RULE_*.tsv`` in a folder of earlier runs."""
    found = {}
    for rule in rules:
        measured = [read_benchmark(path) for path in folder.glob(f"{rule}_*.tsv")]
        times = [job.seconds for job in measured if job]
        if times:
            found[rule] = sum(times) / len(times)
    return found


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
