"""Rules of one's own in workflow/custom: the examples of docs/extending.md, as they stand there."""

import re

import pandas as pd
import pytest

from tests.complaints import assert_names
from tests.drawn import assert_drawn
from tests.workflow.conftest import ROOT, TINY

BLOCK = re.compile(r"^```python\n# (workflow/custom/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall((ROOT / "docs/extending.md").read_text()))


def add(project, name, content):
    path = project.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)


@pytest.fixture
def extended(project):
    """The finished project with the files of the page."""
    for name, content in FILES.items():
        add(project, name, content)
    return project


def test_the_examples_run(extended):
    done = extended.snakemake("per_class", "fig4_rounded")
    assert done.returncode == 0, done.stderr
    drawn = extended.folder / "paper_figures/tiny"
    for name in ("per_class", "fig4_rounded"):
        assert_drawn(drawn / name)
    summaries = ("summary", "rounded")
    whole, rounded = (pd.read_csv(extended.folder / f"results/tiny/{name}/metrics.csv") for name in summaries)
    where = ["experiment", "seed", "evaluation", "x", "compression", "metric", "n"]
    assert rounded[where].equals(whole[where])
    assert not rounded["value"].equals(whole["value"])
    assert extended.planned("all", "per_class", "fig4_rounded") == {}


def test_an_example_is_drawn_anew_when_its_script_changes_and_all_does_without_it(extended):
    assert set(extended.planned("per_class")) == {"per_class"}
    assert extended.planned("fig4_rounded") == {
        "evaluate_rounded": len(TINY["experiments"]),
        "collect_rounded": 1,
        "fig4_rounded": 1,
    }
    assert extended.planned() == {}


def test_an_evaluation_is_replaced(extended):
    rule = FILES["workflow/custom/rounded.smk"].split("use rule collect_metrics")[0].split("rule ", 1)[1]
    replaced = f"rule {rule.replace('/rounded/', '/')}\nruleorder: evaluate_rounded > evaluate\n"
    add(extended, "workflow/custom/rounded.smk", replaced)
    jobs = extended.planned("all", "--forcerun", "evaluate_rounded")
    assert jobs["evaluate_rounded"] == len(TINY["experiments"])
    assert {"collect_metrics", "resample", "fig4", "table1"} <= set(jobs)
    assert not {"evaluate", "train"} & set(jobs)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('rule mine:\n    output: f"{RUNS_DIR}/x"\n', ["NameError", "line 2"]),
        ('rule mine:\n    output: "x"\n    shel: "touch x"\n', ["shel"]),
        ('rule train:\n    output: "x"\n', ["train"]),
    ],
)
def test_an_error_names_the_file_and_can_be_left_out(project, content, named):
    add(project, "workflow/custom/wrong.smk", content)
    done = project.snakemake("-n", "all")
    assert done.returncode != 0
    assert_names(done.stderr + done.stdout, "workflow/custom/wrong.smk", *named)
    assert "Traceback" not in done.stderr + done.stdout
    assert project.planned("all", config={"suite": "tiny", "custom": "false"}) == {}
