"""What `elasticast --help` and `snakemake --list` say."""

import re
from pathlib import Path

import pytest
import typer

from elasticast.cli import app
from elasticast.cli.options import DATA, INSIDE, USE

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(app).commands
RULE = re.compile(r"^ *rule (\w+):\n(.*)", re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_a_group_and_has_a_description(name):
    assert COMMANDS[name].rich_help_panel in (USE, DATA, INSIDE)
    assert COMMANDS[name].help


def test_the_groups_come_in_order():
    command = typer.main.get_command(app)
    panels = [COMMANDS[name].rich_help_panel for name in command.list_commands(typer.Context(command))]
    assert panels == sorted(panels, key=(USE, DATA, INSIDE).index)


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")], ids=lambda path: path.name)
def test_every_rule_has_a_description(path):
    text = path.read_text()
    assert not [name for name, first in RULE.findall(text) if not first.strip().startswith('"""')]
    assert not [name for name in re.findall(r"use rule \w+ as (\w+)", text) if f'"{name}"' not in text]
