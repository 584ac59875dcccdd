"""Measure which changes of the code the tests detect. Each mutant runs in its own process.

    python -m tests.mutation.kill                                  # a sample from each module, about 20 minutes
    python -m tests.mutation.kill --module data/sampler.py --all   # every mutant of one module
    python -m tests.mutation.kill --count 30 --seed 1 --out survivors.csv

The tests listed for a module run on each of its mutants, in a copy of the project. A mutant is killed if a test fails.
It survives if all tests pass. It times out if they take much longer than without the mutant. A survivor is either a gap
in the tests or a change without effect (a boundary that is never reached, a larger buffer). Not part of `make test`.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import pandas  # noqa: F401  (imported once for all mutants)
import pytest
import sklearn.metrics  # noqa: F401
import torch
import torchaudio  # noqa: F401

from tests.mutation.mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
COPIED = ("elasticast", "tests", "config", "workflow", "pyproject.toml", "paper_figures")
DATA, MODELS, EVALUATION = (f"tests/unit/{room}" for room in ("data", "models", "evaluation"))
TESTS = {
    "evaluation/metrics.py": [f"{EVALUATION}/test_metrics.py"],
    "data/packing.py": [f"{DATA}/test_batch_properties.py", f"{DATA}/test_packing.py", f"{DATA}/test_encoder.py"],
    "data/sampler.py": [f"{DATA}/test_batch_properties.py", f"{DATA}/test_sampler.py"],
    "evaluation/passes.py": [f"{EVALUATION}/test_sweep.py", f"{DATA}/test_windows.py"],
    "evaluation/sweep.py": [f"{EVALUATION}/test_sweep.py", f"{DATA}/test_windows.py"],
    "models/attention.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_positions.py", f"{MODELS}/test_pooling.py"],
    "models/ast.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_positions.py", f"{MODELS}/test_equality.py"],
    "models/elasticast.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_positions.py", f"{MODELS}/test_equality.py"],
    "models/pooling.py": [f"{MODELS}/test_pooling.py", f"{MODELS}/test_models.py"],
    "models/positions.py": [f"{MODELS}/test_positions.py", f"{MODELS}/test_models.py"],
    "models/transformer.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_equality.py"],
    "models/pretrained.py": [f"{MODELS}/test_pretrained.py"],
}
"""Modules of the package, each with the tests that should detect a change in it."""
PER_MODULE = 11
PATIENCE = 3
"""A mutant times out after this many times the duration of the tests without it."""


def sample_mutants(module: str, count: int | None, seed: int) -> list[Mutant]:
    """A random sample of a module's mutants, or all if `count` is None, in the order of lines."""
    candidates = mutants((ROOT / "elasticast" / module).read_text())
    if count is None or count >= len(candidates):
        return candidates
    return sorted(random.Random(f"{seed} {module}").sample(candidates, count), key=lambda mutant: mutant.line)


def run(project: Path, tests: list[str], seconds: float | None) -> str:
    """Run the tests in a copy of the project; the outcome is killed, survived or timeout.

    The tests run in a fork of this process, which has imported torch but nothing of the project. Starting a fork takes
    a second, a new Python six.
    """
    child = os.fork()
    if not child:
        try:
            os._exit(_test(project, tests, seconds))
        finally:
            os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGALRM:
        return "timeout"
    if status in (3, 5):
        raise SystemExit(f"pytest ended with status {status} on {' '.join(tests)}")
    return "killed" if status else "survived"


def _test(project: Path, tests: list[str], seconds: float | None) -> int:
    signal.alarm(int(seconds or 0))
    with open(os.devnull, "w") as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
    os.chdir(project)
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "elasticast")]:
        del sys.modules[name]
    sys.path[:] = [str(project), *(path for path in sys.path if path not in ("", str(ROOT)))]
    os.environ["PYTHONPATH"] = f"{project}:{project / 'workflow' / 'plugin'}"
    return pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *tests])


def measure(module: str, count: int | None, seed: int, project: Path) -> list[tuple[str, Mutant]]:
    """Outcomes of the mutants of one module. The copy of the project is restored afterwards."""
    path = project / "elasticast" / module
    source = path.read_text()
    path.write_text("raise RuntimeError\n")
    if run(project, TESTS[module], None) != "killed":
        raise SystemExit(f"{module}: its tests also pass without the module: {' '.join(TESTS[module])}")
    path.write_text(source)
    start = time.monotonic()
    if run(project, TESTS[module], None) != "survived":
        raise SystemExit(f"{module}: its tests fail without any mutant: {' '.join(TESTS[module])}")
    patience = PATIENCE * (time.monotonic() - start) + 10
    outcomes = []
    for mutant in sample_mutants(module, count, seed):
        path.write_text(mutant.source)
        outcomes.append((run(project, TESTS[module], patience), mutant))
        print(f"{outcomes[-1][0]:9} {module} {mutant}", flush=True)
    path.write_text(source)
    return outcomes


def main() -> None:
    """Run the mutants and print the number of each outcome."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", choices=TESTS, help="module of the package (default: all)")
    parser.add_argument("--count", type=int, default=PER_MODULE, help=f"mutants per module (default: {PER_MODULE})")
    parser.add_argument("--all", action="store_true", help="run every mutant")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--out", type=Path, help="CSV file for all outcomes")
    arguments = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        project = Path(folder)
        for name in COPIED:
            source = ROOT / name
            shutil.copytree(source, project / name) if source.is_dir() else shutil.copy(source, project / name)
        for module in arguments.module or TESTS:
            outcomes = measure(module, None if arguments.all else arguments.count, arguments.seed, project)
            table += [(module, outcome, m.line, m.kind, m.before, m.after) for outcome, m in outcomes]
    for module in dict.fromkeys(row[0] for row in table):
        print(f"{module:24}", dict(Counter(row[1] for row in table if row[0] == module)))
    print(f"{'all':24}", dict(Counter(row[1] for row in table)))
    if arguments.out:
        with arguments.out.open("w", newline="") as file:
            csv.writer(file).writerows([("module", "outcome", "line", "kind", "before", "after"), *table])


if __name__ == "__main__":
    main()
