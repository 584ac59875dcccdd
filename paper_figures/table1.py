"""Table 1: each AST at its training length or resolution, compared with ElasticAST there and at native length."""

from elasticast.reporting.comparison import comparison_table, write_table
from elasticast.reporting.panel_inputs import add_metrics
from elasticast.reporting.read_tables import read_metrics
from elasticast.reporting.scripts import run_script


def write(suite, arguments):
    write_table(comparison_table(suite, read_metrics(arguments.metrics, suite.name)), arguments.out)


def main(argv=None):
    run_script(__doc__, write, add_metrics, argv)


if __name__ == "__main__":
    main()
