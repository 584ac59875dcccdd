"""Page of a suite: the claims, the headline, figures 4 and 5, table 1, learning curves, cost, runs and caveats."""

from pathlib import Path

from elasticast.reporting.comparison import SWEEPS
from elasticast.reporting.overview import Results, overview
from elasticast.reporting.panel_inputs import add_curves, read_curves
from elasticast.reporting.read_tables import read_history, read_metrics, read_pairs, read_runs
from elasticast.reporting.scripts import run_script
from elasticast.reporting.tables import write_tables


def write(suite, arguments):
    x_names = [x_name for x_name in SWEEPS if any(suite.curve(name, x_name) for name in suite.experiments)]
    panels = {x_name: read_curves(suite, arguments, x_name) for x_name in x_names}
    results = Results(
        metrics=read_metrics(arguments.metrics, suite.name),
        runs=read_runs(arguments.runs),
        history=read_history(arguments.history),
        pairs=arguments.pairs and read_pairs(arguments.pairs, arguments.metrics),
    )
    write_tables(arguments.out, html=overview(suite, results, panels, arguments.template, arguments.out))


def add_arguments(parser):
    add_curves(parser)
    parser.add_argument("--pairs", type=Path, help="summary/pairs.csv of the suite: paired tests")
    parser.add_argument("--runs", required=True, type=Path, help="summary/runs.csv of the suite: what each run records")
    parser.add_argument("--history", required=True, type=Path, help="summary/history.csv of the suite: learning curves")
    parser.add_argument("--template", required=True, type=Path, help="workflow/report/overview.html.j2")


def main(argv=None):
    run_script(__doc__, write, add_arguments, argv)


if __name__ == "__main__":
    main()
