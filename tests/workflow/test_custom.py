"""User-defined rules in workflow/custom: the examples in docs/extending.md, copied from that page."""

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
    """The finished project with the example files."""
    for name, content in FILES.items():
        add(project, name, content)
    return project


def test_the_examples_run(extended):
    result = extended.snakemake("per_class", "fig4_rounded")
    assert result.returncode == 0, result.stderr
    figures = extended.folder / "paper_figures/tiny"
    for name in ("per_class", "fig4_rounded"):
        assert_drawn(figures / name)
    folders = ("summary", "rounded")
    exact, rounded = (pd.read_csv(extended.folder / f"results/tiny/{name}/metrics.csv") for name in folders)
    keys = ["experiment", "seed", "evaluation", "x", "compression", "metric", "n"]
    assert rounded[keys].equals(exact[keys])
    assert not rounded["value"].equals(exact["value"])
    assert extended.planned("all", "per_class", "fig4_rounded") == {}


def test_examples_run_only_if_they_are_named(extended):
    assert set(extended.planned("per_class")) == {"per_class"}
    assert extended.planned("fig4_rounded") == {
        "evaluate_rounded": len(TINY["experiments"]),
        "collect_rounded": 1,
        "fig4_rounded": 1,
    }
    assert extended.planned() == {}


def test_a_custom_rule_can_replace_the_evaluation(extended):
    rule = FILES["workflow/custom/rounded.smk"].split("use rule collect_metrics")[0].split("rule ", 1)[1]
    replaced = f"rule {rule.replace('/rounded/', '/')}\nruleorder: evaluate_rounded > evaluate\n"
    add(extended, "workflow/custom/rounded.smk", replaced)
    jobs = extended.planned("all", "--forcerun", "evaluate_rounded")
    assert jobs["evaluate_rounded"] == len(TINY["experiments"])
    assert {"collect_metrics", "resample", "fig4", "table1"} <= set(jobs)
    assert not {"evaluate", "train"} & set(jobs)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('rule mine:\n    output: f"{RUNS_DIR}/x"\n', ["NameError", "line 2"]),
        ('rule mine:\n    output: "x"\n    shel: "touch x"\n', ["shel"]),
        ('rule train:\n    output: "x"\n', ["train"]),
    ],
)
def test_an_error_names_the_file_and_custom_rules_can_be_disabled(project, content, expected):
    add(project, "workflow/custom/wrong.smk", content)
    result = project.snakemake("-n", "all")
    assert result.returncode != 0
    assert_names(result.stderr + result.stdout, "workflow/custom/wrong.smk", *expected)
    assert "Traceback" not in result.stderr + result.stdout
    assert project.planned("all", config={"suite": "tiny", "custom": "false"}) == {}
