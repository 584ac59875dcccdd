"""The notebook of the quickstart: it runs from top to bottom, and its outputs are not committed."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from elasticast.data.manifest import read_classes
from elasticast.models import build_model
from elasticast.training.checkpoint import save_model

NOTEBOOK = Path(__file__).parents[3] / "docs" / "quickstart.ipynb"
MODELS = {"events_elastic": {}, "events_ast256": {"model": {"kind": "ast"}, "view": {"frames": 256}}}


@pytest.fixture(scope="module")
def cells():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_outputs_are_stripped(cells):
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.usefixtures("cpu")
def test_it_runs_from_top_to_bottom_on_results_of_the_suite(cells, tiny, prepared, norm, tmp_path):
    shutil.copytree(prepared, tmp_path / "results/data/scenes")
    classes = read_classes(prepared / "classes.json")["events"]["classes"]
    for name, settings in MODELS.items():
        config = tiny(experiment=name, **settings)
        torch.manual_seed(0)
        folder = tmp_path / "results/mini/runs" / name / "seed0"
        save_model(folder, build_model(config, len(classes)), config, norm, classes, "multi")
    (tmp_path / "docs").mkdir()
    script = "import matplotlib\nmatplotlib.use('Agg')\n" + "\n\n".join(cell.source for cell in cells)
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "docs", capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(" s  ") == 3
    assert len(list((tmp_path / "results/quickstart").rglob("sweep.csv"))) == len(MODELS)
