"""What `make run` prints at its end."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from elasticast.cli import app
from elasticast.errors import DataError
from elasticast.reporting.headline import PANEL, headline, next_commands, read_table


def row(quantity, mean, fixed="AST 64", status="ok", **other):
    return {
        "suite": "tiny",
        **dict(zip(PANEL, ["sounds", "events", "length", "mAP"], strict=True)),
        "fixed": fixed,
        "flexible": "ElasticAST",
        "trained_at": "64 frames",
        "quantity": quantity,
        "experiment": "elastic" if quantity.startswith("flexible") else fixed,
        "x": 64,
        "mean": mean,
        "sd": "n/a",
        "status": status,
        **other,
    }


@pytest.fixture
def table(tmp_path):
    rows = [
        row("fixed_native", 0.61),
        row("fixed_worst", 0.59),
        row("flexible_native", 0.84, sd=0.012),
        row("flexible_worst", 0.6),
        row("fixed_native", 0.845, "AST 512, masked"),
        row("fixed_worst", "not run", "AST 512, masked", status="not run"),
    ]
    path = tmp_path / "it's a table1.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_the_best_of_each_kind_is_printed(table):
    _, line = headline(read_table(table)).splitlines()
    assert "ElasticAST 84.0 ± 1.2, AST 512, masked 84.5" in line
    assert "ElasticAST 60.0, AST 64 59.0" in line


def test_a_panel_without_runs_says_so(table):
    rows = read_table(table).assign(status="not run")
    assert "not run" in headline(rows).splitlines()[1]


def test_the_commands_name_a_run_that_exists(table, tmp_path):
    run = tmp_path / "my results/tiny/runs/elastic/seed3"
    run.mkdir(parents=True)
    commands = [command for command, _ in next_commands(read_table(table), tmp_path / "my results")]
    assert len(commands) == 3
    assert any(f"'{run}'" in command for command in commands)


def test_another_table_is_refused(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"other\.csv") as caught:
        read_table(path)
    assert "quantity" in str(caught.value)
    with pytest.raises(DataError, match=r"absent\.csv"):
        read_table(tmp_path / "absent.csv")


def test_the_command_prints_the_line_that_activates(table):
    printed = CliRunner().invoke(app, ["headline", str(table), "--activate", ". .venv/bin/activate"])
    assert printed.exit_code == 0
    assert ". .venv/bin/activate" in printed.output


def test_the_version_is_printed():
    from elasticast import __version__

    assert __version__ in CliRunner().invoke(app, ["--version"]).output
