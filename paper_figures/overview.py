"""First page of the report: the claims, the headline, figures 4 and 5, table 1, and caveats."""

from pathlib import Path

from elasticast.reporting.comparison import SWEEPS
from elasticast.reporting.overview import overview
from elasticast.reporting.panel_inputs import add_curves, read_curves
from elasticast.reporting.read_tables import read_metrics, read_pairs
from elasticast.reporting.scripts import run_script
from elasticast.reporting.tables import write_tables


def write(suite, arguments):
    x_names = [x_name for x_name in SWEEPS if any(suite.curve(name, x_name) for name in suite.experiments)]
    panels = {x_name: read_curves(suite, arguments, x_name) for x_name in x_names}
    pictures = {"max_frames": arguments.lengths, "compression": arguments.resolutions}
    pictures = {x_name: path for x_name, path in pictures.items() if path}
    pairs = arguments.pairs and read_pairs(arguments.pairs, arguments.metrics)
    page = overview(suite, read_metrics(arguments.metrics, suite.name), panels, pairs, pictures, arguments.template)
    write_tables(arguments.out, html=page)


def add_arguments(parser):
    add_curves(parser)
    parser.add_argument("--pairs", type=Path, help="summary/pairs.csv of the suite: paired tests")
    parser.add_argument("--template", required=True, type=Path, help="workflow/report/overview.html.j2")
    parser.add_argument("--lengths", type=Path, help="PNG of figure 4")
    parser.add_argument("--resolutions", type=Path, help="PNG of figure 5")


def main(argv=None):
    run_script(__doc__, write, add_arguments, argv)


if __name__ == "__main__":
    main()
