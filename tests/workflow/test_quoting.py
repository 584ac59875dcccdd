"""Names and folders reach the programs of the workflow as they are, or are refused: no shell runs a part of them."""

import string

import pytest
import snakemake.api
import yaml
from snakemake.settings.types import ConfigSettings, ResourceSettings

from elasticast.config.load_suite import load_workflow_config
from elasticast.errors import ConfigError
from tests.complaints import assert_names, complains
from tests.workflow.conftest import DATASET, ROOT, TINY, Project

NUMBERS = {"threads", "resources.gpus", "resources.nodes"}
"""Fields of shell commands that are not quoted."""


@pytest.fixture(scope="module")
def rules():
    """The rules of the workflow, as Snakemake has parsed them."""
    with pytest.MonkeyPatch.context() as patch, snakemake.api.SnakemakeApi() as api:
        patch.chdir(ROOT)
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(config={"custom": False}),
            snakefile=ROOT / "Snakefile",
            workdir=ROOT,
        )._workflow
        return list(workflow.rules)


def test_each_field_of_a_shell_command_is_quoted_or_a_number(rules):
    commands = {rule.name: rule.shellcmd for rule in rules if rule.shellcmd}
    assert {"prepare", "stats", "train", "evaluate", "fig4", "ablation", "released"} <= set(commands)
    fields = [(name, *part[1:3]) for name, command in commands.items() for part in string.Formatter().parse(command)]
    fields = [(name, field, form) for name, field, form in fields if field is not None]
    assert len(fields) > 100
    assert [f for f in fields if f[2] != "q" and f[1] not in NUMBERS] == []


@pytest.fixture
def fresh(tmp_path, programs):
    """A project without results."""
    folder = tmp_path / "project"
    folder.mkdir()
    yield Project(folder, programs)
    assert not [path for path in tmp_path.rglob("*") if path.name == "pwned"], "a shell ran a part of a name"


NAME = '-a b\'s "é" %j %x 100% $(touch pwned) `touch pwned`;touch pwned'
"""A folder whose name a shell would run, a program would take for an option, and Slurm would replace a part of."""


@pytest.mark.slow
@pytest.mark.parametrize("executor", [(), ("--executor", "submitit", "--submitit-cluster", "local", "-j", "2")])
def test_folders_may_have_any_name(fresh, executor):
    folders = {"results": NAME, "data_root": f"{NAME}data", "weights_root": NAME}
    result = fresh.snakemake("collect_data", "fig2", "-p", *executor, config={"suite": "tiny", **folders})
    assert result.returncode == 0, result.stderr
    assert (fresh.folder / NAME / "tiny/summary/data.csv").is_file()
    assert (fresh.folder / "paper_figures/tiny/fig2_native_lengths.png").is_file()
    everything = fresh.snakemake("all", "-n", "-p", config={"suite": "tiny", **folders})
    assert everything.returncode == 0, everything.stderr


@pytest.mark.parametrize("name", ["a{b}", "{suite}", "", "x" * 300, "a\nb"])
@pytest.mark.parametrize("key", ["results", "data_root"])
def test_folders_that_snakemake_or_the_system_cannot_use_are_refused(key, name):
    settings = {"suite": "tiny", "data_root": "data", "results": "results", key: name}
    if (key, "{" in name) == ("data_root", True):
        assert load_workflow_config(settings).data_root == name
    else:
        with complains(ConfigError, "config/config.yaml", key):
            load_workflow_config(settings)


HOSTILE = ["$(touch pwned)", "`touch pwned`", "-x", "a b", "x" * 200, "a;touch pwned", "é", "a.b", "a{b}", "it's"]


def test_files_with_hostile_names_are_refused_by_name(fresh):
    """Files of datasets, suites and ablations; the suite runs without them."""
    fresh.write()
    for name in HOSTILE:
        for kind, content in (
            ("datasets", DATASET),
            ("suites", TINY),
            ("ablations", {"title": "t", "base": "elastic"}),
        ):
            (fresh.folder / f"config/{kind}/{name}.yaml").write_text(yaml.safe_dump(content))
    jobs = fresh.snakemake("all", "-n", "-p")
    assert jobs.returncode == 0, jobs.stderr
    assert all(f"config/ablations/{name}.yaml" in jobs.stdout + jobs.stderr for name in HOSTILE)
    refused = fresh.snakemake("ablations", "-n")
    assert refused.returncode == 1
    assert [name for name in HOSTILE if repr(name)[:60] not in refused.stderr + refused.stdout] == []
    for name in HOSTILE[:2]:
        fresh.suite = {**TINY, "defaults": {**TINY["defaults"], "dataset": name}}
        for config, file in (({"suite": name}, "config/config.yaml"), ({"suite": "tiny"}, "config/suites/tiny.yaml")):
            refused = fresh.snakemake("all", "-n", config=config)
            assert refused.returncode == 1
            assert_names(refused.stdout + refused.stderr, repr(name), file)
            assert "Traceback (most recent call last)" not in refused.stdout + refused.stderr


def test_text_with_shell_commands_is_text(fresh):
    text = "'; touch pwned; $(touch pwned) `touch pwned` \"\n"
    fresh.suite = {**TINY, "title": text, "experiments": {**TINY["experiments"]}}
    fresh.suite["experiments"]["elastic"] = {**TINY["experiments"]["elastic"], "label": text}
    result = fresh.snakemake("results/tiny/summary/suite.yaml", "results/tiny/runs/elastic/seed0/sweeps.yaml", "-p")
    assert result.returncode == 0, result.stderr
    assert yaml.safe_load((fresh.folder / "results/tiny/summary/suite.yaml").read_text())["title"] == text.strip()
