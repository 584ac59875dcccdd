"""Names and folders reach the programs of the workflow as they are, or are refused: no shell runs a part of them."""

import string

import pytest
import snakemake.api
from snakemake.settings.types import ConfigSettings, ResourceSettings

from tests.workflow.conftest import ROOT

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
