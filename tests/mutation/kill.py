"""Which changes of the code do the tests notice? One mutant after another, each in a fresh process.

    python -m tests.mutation.kill                                  # a sample of every module below, about 20 minutes
    python -m tests.mutation.kill --module data/sampler.py --all   # every mutant of one module
    python -m tests.mutation.kill --count 30 --seed 1 --out survivors.csv

Each mutant of a module runs the tests listed for that module, in a copy of the project. It is killed if a test fails,
survives if all pass, and times out if they take much longer than without it. A survivor is a gap in the tests, or a
change that makes no difference (a boundary that is never met, a larger buffer). Not part of `make test`.
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
import pandas  # noqa: F401  (loaded once, for all mutants)
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
    "evaluation/sweep.py": [f"{EVALUATION}/test_sweep.py", f"{DATA}/test_windows.py"],
    "models/attention.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_positions.py", f"{MODELS}/test_pooling.py"],
    "models/ast.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_positions.py", f"{MODELS}/test_equality.py"],
    "models/elasticast.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_positions.py", f"{MODELS}/test_equality.py"],
    "models/pooling.py": [f"{MODELS}/test_pooling.py", f"{MODELS}/test_models.py"],
    "models/positions.py": [f"{MODELS}/test_positions.py", f"{MODELS}/test_models.py"],
    "models/transformer.py": [f"{MODELS}/test_models.py", f"{MODELS}/test_equality.py"],
    "models/pretrained.py": [f"{MODELS}/test_pretrained.py"],
}
"""Module of the package to the tests that should notice a change of it."""
PER_MODULE = 11
PATIENCE = 3
"""A mutant times out after this many times what the tests take without it."""


def chosen(module: str, count: int | None, seed: int) -> list[Mutant]:
    """A random sample of a module's mutants, in the order of its lines; all of them with None."""
    found = mutants((ROOT / "elasticast" / module).read_text())
    if count is None or count >= len(found):
        return found
    return sorted(random.Random(f"{seed} {module}").sample(found, count), key=lambda mutant: mutant.line)


def run(project: Path, tests: list[str], seconds: float | None) -> str:
    """Outcome of the tests in a copy of the project: killed, survived or timeout.

    The process is a fork of this one, in which torch is loaded but nothing of the project: that takes a second, where
    a new Python would take six.
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
    """Outcomes of the mutants of one module; the copy is as before afterwards."""
    path = project / "elasticast" / module
    source = path.read_text()
    path.write_text("raise RuntimeError\n")
    if run(project, TESTS[module], None) != "killed":
        raise SystemExit(f"{module}: its tests pass without it: {' '.join(TESTS[module])}")
    path.write_text(source)
    begun = time.monotonic()
    if run(project, TESTS[module], None) != "survived":
        raise SystemExit(f"{module}: its tests fail without any mutant: {' '.join(TESTS[module])}")
    patience = PATIENCE * (time.monotonic() - begun) + 10
    outcomes = []
    for mutant in chosen(module, count, seed):
        path.write_text(mutant.source)
        outcomes.append((run(project, TESTS[module], patience), mutant))
        print(f"{outcomes[-1][0]:9} {module} {mutant}", flush=True)
    path.write_text(source)
    return outcomes


def main() -> None:
    """Run the mutants and print a table of what became of them."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", choices=TESTS, help="module of the package; all unless given")
    parser.add_argument("--count", type=int, default=PER_MODULE, help="mutants of each module")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--out", type=Path, help="CSV file of all outcomes")
    asked = parser.parse_args()
    table = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        project = Path(folder)
        for name in COPIED:
            source = ROOT / name
            shutil.copytree(source, project / name) if source.is_dir() else shutil.copy(source, project / name)
        for module in asked.module or TESTS:
            found = measure(module, None if asked.all else asked.count, asked.seed, project)
            table += [
                (module, outcome, mutant.line, mutant.kind, mutant.before, mutant.after) for outcome, mutant in found
            ]
    for module in dict.fromkeys(row[0] for row in table):
        print(f"{module:24}", dict(Counter(row[1] for row in table if row[0] == module)))
    print(f"{'all':24}", dict(Counter(row[1] for row in table)))
    if asked.out:
        with asked.out.open("w", newline="") as file:
            csv.writer(file).writerows([("module", "outcome", "line", "kind", "before", "after"), *table])


if __name__ == "__main__":
    main()
