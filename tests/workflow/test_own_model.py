"""The model of docs/your_model.md in a suite: trained, swept, drawn, compared, exported and used."""

import pandas as pd
import yaml

from elasticast.files import read_json
from tests.complaints import assert_names
from tests.drawn import assert_drawn
from tests.unit.config.test_own_model import EXAMPLE, PAGE
from tests.workflow.conftest import TINY

RUN = "results/tiny/runs/bag/seed0"
EXPERIMENT = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])


def test_the_model_of_the_page_runs_like_any_other(project):
    (project.folder / "my_models.py").write_text(EXAMPLE)
    project.suite = {**TINY, "experiments": {**TINY["experiments"], **EXPERIMENT}}
    result = project.snakemake("all", "--cores", "all")
    assert result.returncode == 0, result.stderr[-4000:]
    assert_drawn(project.folder / "paper_figures/tiny/fig4_length_curves")
    pairs = pd.read_csv(project.folder / "results/tiny/summary/pairs.csv")
    assert {("bag", "ast64"), ("elastic", "bag")} <= set(zip(pairs["experiment"], pairs["against"], strict=True))
    assert EXPERIMENT["bag"]["label"] in (project.folder / "paper_figures/tiny/table1.md").read_text()

    record = read_json(project.folder / RUN / "run.json")
    assert (project.folder / RUN / "model_code.py").read_text() == EXAMPLE
    assert not project.planned("all")

    audio = sorted((project.folder / "results/data/tiny/audio").glob("*.wav"))[0]
    refused = project.elasticast("export", RUN, "--out", "exported")
    assert refused.returncode == 1
    assert_names(refused.stderr, RUN, "model_code.py", "--trust-code")
    assert project.elasticast("export", RUN, "--out", "exported", "--trust-code").returncode == 0
    assert project.elasticast("predict", "exported", audio).returncode == 1
    predicted = project.elasticast("predict", "exported", audio, "--trust-code", "--csv")
    assert predicted.returncode == 0, predicted.stderr
    checked = project.elasticast("check-model", "exported", "--trust-code", "--longest", "3")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    (project.folder / "my_models.py").write_text(EXAMPLE.replace("torch.relu", "torch.tanh"))
    planned = project.planned("all")
    assert (planned["train"], planned["evaluate"]) == (1, 1)
    assert read_json(project.folder / RUN / "run.json") == record
