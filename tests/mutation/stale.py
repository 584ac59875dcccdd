"""Test whether results can become stale: change one operator or constant per module, and see which stages re-run.

    python -m tests.mutation.stale                          all modules, in the repository's root
    python -m tests.mutation.stale --modules "config/*" "data/views.py" --each 3 --workers 2 --out stale.csv

For each mutant of the package, a tiny pipeline (`tests.mutation.pipeline`) runs in a separate process. A job is *stale*
if its output differs from that without the change, although the workflow would repeat neither this job nor one that it
depends on. A mutant is *over-run* if jobs would be repeated, but all outputs stay the same. Mutants are drawn with a
fixed seed from the lines that the pipeline runs. A mutant that stops the pipeline has *failed*: the jobs that ran
before are still compared, and another mutant is drawn.
"""

import argparse
import csv
import fnmatch
import importlib
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.mutation.mutate import Mutant, mutants
from tests.mutation.pipeline import Job

ROOT = Path(__file__).parents[2]
PACKAGE = "elasticast"
PRELOADED = (
    "h5py", "matplotlib.figure", "matplotlib.backends.backend_agg", "numpy", "pandas", "pyarrow.parquet", "pydantic",
    "safetensors.torch", "scipy.signal", "scipy.stats", "seaborn", "sklearn.metrics", "soundfile", "torch",
    "torchaudio", "torch.utils.data", "torch.utils.tensorboard", "typer", "yaml",
)  # fmt: skip
PATIENCE_SECONDS = 180
TRIES = 4
"""Number of mutants to try for each one that does not stop the pipeline."""
COLUMNS = ("module", "line", "mutation", "changed", "repeated", "stale", "verdict", "error")


def main() -> None:
    """Run the mutants, print the rows of the table, and exit with status 1 if any result is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="*", default=["*"], help="patterns of paths in the package (default: all)")
    parser.add_argument("--each", type=int, default=1, help="mutants per module (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of mutants (default: 0)")
    parser.add_argument("--workers", type=int, default=1, help="mutants to run in parallel (default: 1)")
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    arguments = parser.parse_args()
    for name in PRELOADED:  # imported once for all processes that are forked from this one
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        before, again = (_in_process(ROOT / PACKAGE, Path(folder) / name, trace=name == "a") for name in "ab")
        if "error" in before:
            sys.exit(before["error"])
        lines, before, again = before["lines"], _jobs(before), _jobs(again)
        if unstable := [name for name, job in before.items() if again[name].output != job.output]:
            sys.exit(f"two runs of the same code differ in: {', '.join(unstable)}")
        candidates = _candidates(arguments, lines)
        rows = []
        with multiprocessing.pool.ThreadPool(arguments.workers) as pool:
            for module_rows in pool.imap(lambda c: _rows(*c, before, Path(folder), arguments.each), candidates.items()):
                rows += module_rows
    if arguments.out:
        with arguments.out.open("w", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writeheader()
            csv.DictWriter(file, COLUMNS).writerows(rows)
    print(", ".join(f"{number} {verdict}" for verdict, number in Counter(row["verdict"] for row in rows).items()))
    sys.exit(any(row["verdict"] == "STALE" for row in rows))


def _candidates(arguments: argparse.Namespace, lines: dict[str, list[int]]) -> dict[str, list[Mutant]]:
    """Mutants of each module in random order, from the lines that the pipeline runs, or from all if it runs none."""
    candidates = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        path = file.relative_to(ROOT / PACKAGE).as_posix()
        if any(fnmatch.fnmatch(path, pattern) for pattern in arguments.modules):
            module_mutants, run_lines = mutants(file.read_text(encoding="utf-8")), set(lines.get(path, ()))
            drawn = [mutant for mutant in module_mutants if mutant.line in run_lines] or module_mutants
            random.Random(f"{arguments.seed} {path}").shuffle(drawn)
            candidates[path] = drawn[: TRIES * arguments.each]
    return candidates


def _rows(path: str, candidates: list[Mutant], before: dict[str, Job], folder: Path, each: int) -> list[dict]:
    """The rows of a module in the table; each is printed when its mutant has run."""
    rows = []
    for number, mutant in enumerate(candidates):
        if sum(row["verdict"] != "failed" for row in rows) < each:
            rows.append(_row(path, mutant, before, folder / f"{path.replace('/', '-')}-{number}"))
            print("  ".join(f"{name}: {rows[-1][name]}" for name in COLUMNS if rows[-1][name]), flush=True)
    return rows


def _row(path: str, mutant: Mutant, before: dict[str, Job], folder: Path) -> dict[str, object]:
    package = folder / "code" / PACKAGE
    shutil.copytree(ROOT / PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / path).write_text(mutant.source, encoding="utf-8")
    result = _in_process(package, folder / "run")
    shutil.rmtree(folder)
    row = {"module": path, "line": mutant.line, "mutation": str(mutant).partition(": ")[2]}
    return {**dict.fromkeys(COLUMNS, ""), **row, **compare(before, _jobs(result), result.get("error", ""))}


def compare(before: dict[str, Job], after: dict[str, Job], error: str) -> dict[str, str]:
    """Compare the jobs with and without a mutant: which outputs change, which jobs would be repeated, which are stale.

    Parameters
    ----------
    before, after : dict of str to Job
        Jobs by name, each after the jobs that it depends on. `after` has fewer jobs if the mutant stopped the pipeline.
    error : str
        The error that stopped the pipeline; empty if it ran to the end.
    """
    changed = [name for name, job in after.items() if name in before and job.output != before[name].output]
    triggered = {name for name, job in after.items() if name in before and job.digest != before[name].digest}
    repeated: set[str] = set()
    for name, job in after.items():
        if name in triggered or name not in before or repeated & set(job.inputs):
            repeated.add(name)
    # audio and parts are only made again if the preparation that they belong to runs again
    kept = {n for n in repeated for kind in ("audio ", "parts ") if n.startswith(kind)}
    repeated -= {name for name in kept if f"prepare {name[6:]}" not in triggered}
    stale = [name for name in changed if name not in repeated]
    unchanged = "over-run" if triggered else "none"
    verdict = "STALE" if stale else f"failed: {error}" if error else "re-run" if changed else unchanged
    stages = {"changed": changed, "repeated": triggered, "stale": stale}
    return {"verdict": verdict, "error": error} | {
        what: " ".join(dict.fromkeys(after[n].stage for n in names)) for what, names in stages.items()
    }


def _jobs(result: dict) -> dict[str, Job]:
    return {name: Job(**job) for name, job in result["jobs"].items()}


# ---------------------------------------------------------------------------------------------
# A process for each mutant
# ---------------------------------------------------------------------------------------------


def _in_process(package: Path, folder: Path, trace: bool = False) -> dict:
    """Run the pipeline with a copy of the package; return its jobs, its error if any, and the lines that it ran."""
    folder.mkdir(parents=True)
    result = folder / "result.json"
    process = multiprocessing.get_context("fork").Process(target=_run, args=(package, folder, result, trace))
    process.start()
    process.join(PATIENCE_SECONDS * (5 if trace else 1))
    if process.is_alive():
        process.kill()
        process.join()
    if not result.is_file():
        return {"jobs": {}, "error": f"ended with exit code {process.exitcode}"}
    return json.loads(result.read_text(encoding="utf-8"))


def _run(package: Path, folder: Path, result: Path, trace: bool) -> None:
    os.setsid()
    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.disable()
    lines: dict[str, set[int]] = {}
    if trace:
        sys.settrace(_tracer(str(package), lines))
    sys.path.insert(0, str(package.parent))
    from tests.mutation import pipeline

    _skip_pdf()
    error, jobs = "", {}
    try:
        pipeline.write_project(ROOT)
        run = pipeline.Pipeline()
        jobs = run.jobs
        run.all()
    except BaseException as problem:  # a mutant may do anything
        error = f"{type(problem).__name__}: {problem}".splitlines()[0][:100]
    signal.alarm(0)
    record = {"jobs": {name: vars(job) for name, job in jobs.items()}}
    record["lines"] = {path: sorted(numbers) for path, numbers in lines.items()}
    result.write_text(json.dumps(record | ({"error": error} if error else {})), encoding="utf-8")
    os._exit(0)


def _skip_pdf() -> None:
    """Write empty PDF files, because they contain the same as the PNG files and take most of the time."""
    figure = sys.modules["matplotlib.figure"].Figure
    save = figure.savefig

    def savefig(self, file, *args, **options):
        if options.get("format") == "pdf" or str(file).endswith(".pdf"):
            return Path(file).write_bytes(b"")
        return save(self, file, *args, **options)

    figure.savefig = savefig


def _tracer(package: str, lines: dict[str, set[int]]):
    """A trace function that records which lines of the package run."""

    def local(frame, event, _):
        if event == "line":
            lines.setdefault(os.path.relpath(frame.f_code.co_filename, package), set()).add(frame.f_lineno)
        return local

    return lambda frame, *_: local if frame.f_code.co_filename.startswith(package) else None


if __name__ == "__main__":
    main()
