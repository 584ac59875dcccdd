"""Table 1 from made-up results."""

import numpy as np
import pandas as pd
import pytest
import yaml

from elasticast.evaluation.records import write_table
from elasticast.reporting.comparison import comparison_table, latex, markdown
from tests.unit.reporting.toy_suite import from_metrics, metrics_table, run_script, suite_of


def test_table_is_written(project):
    out = run_script(project, "table1", *from_metrics(project))
    tidy = pd.read_csv(f"{out}.csv")
    own = tidy[(tidy["fixed"] == "AST 64") & (tidy["quantity"] == "fixed_own")].iloc[0]
    assert own["mean"] == pytest.approx(0.61, abs=1e-15)
    assert own["sd"] == pytest.approx(np.std([0.60, 0.62], ddof=1))
    assert (own["seeds"], own["clips"], own["listed"], own["x"]) == (2, 50, 60, 64)
    assert set(tidy["origin"]) == {"synthetic"}
    for suffix, score in ((".md", "| 61.0 ± 1.4 |"), (".tex", r"61.0 $\pm$ 1.4")):
        text = out.with_suffix(suffix).read_text()
        assert score in text
        assert all("50 of 60" in line for line in text.splitlines() if "AST 64" in line)
        assert "toy (synthetic)" in text


def test_missing_run_is_said_in_the_table(project):
    table = comparison_table(suite_of(project), metrics_table(skip=("ast128",)))
    row = next(line for line in markdown(table).splitlines() if "AST 128" in line)
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert cells[5] == cells[8] == cells[10] == "not run"
    assert "" not in cells
    assert "0.0" not in cells
    assert "not run" in latex(table)


def test_missing_run_is_said_in_the_csv(project):
    write_table(project / "metrics.csv", metrics_table(skip=("elastic",)), {})
    out = run_script(project, "table1", *from_metrics(project))
    tidy = pd.read_csv(f"{out}.csv", dtype=str, keep_default_na=False)
    assert (tidy.loc[tidy["quantity"] == "flexible_native", "mean"] == "not run").all()
    assert not (tidy == "").to_numpy().any()


def test_training_length_outside_the_sweep_is_not_called_missing(project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    suite = yaml.safe_load(path.read_text())
    suite["experiments"]["ast64"]["view"]["frames"] = 48
    path.write_text(yaml.safe_dump(suite))
    table = comparison_table(suite_of(project), metrics_table())
    cells = table[table["fixed"] == "AST 64"].set_index("quantity")["status"]
    assert cells["fixed_own"] == cells["flexible_there"] == "not in sweep"
    assert cells["fixed_worst"] == "ok"


def test_table_bolds_the_best_and_names_the_worst_point(project):
    row = next(
        line for line in markdown(comparison_table(suite_of(project), metrics_table())).splitlines() if "AST 64" in line
    )
    assert "**76.6 ± 1.4**" in row  # ElasticAST at native length beats 61.0 and 57.4
    assert "41.0 ± 1.4 (at 256) | **54.2 ± 1.4** (at 32)" in row


def test_flexible_models_are_in_the_table_without_any_of_a_fixed_length(project):
    path = project / "config" / "suites" / "toy_suite.yaml"
    suite = yaml.safe_load(path.read_text())
    fixed = [name for name, settings in suite["experiments"].items() if settings["model"]["kind"] == "ast"]
    suite["experiments"] = {name: e for name, e in suite["experiments"].items() if name not in fixed}
    path.write_text(yaml.safe_dump({**suite, "claims": {}}))
    table = comparison_table(suite_of(project), metrics_table())
    assert set(table["flexible"]) == {e["label"] for e in suite["experiments"].values()}
    assert set(table["fixed"]) == {"none"}
    scores = table.set_index("quantity")["status"]
    assert set(scores["flexible_native"]) == set(scores["flexible_worst"]) == {"ok"}
    assert set(scores["fixed_own"]) == {"not in suite"}
    assert all("none" in text for text in (markdown(table), latex(table)))
