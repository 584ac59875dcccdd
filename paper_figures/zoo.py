"""Models and methods: a table of scores and costs, and scores over the operations of inference and of training."""

from pathlib import Path

from elasticast.config.load_suite import load_resolved_suite
from elasticast.reporting.panel_inputs import add_intervals
from elasticast.reporting.read_tables import read_history, read_intervals, read_metrics, read_pairs, read_runs
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import line_styles, save
from elasticast.reporting.zoo import read_zoo, write_zoo
from elasticast.reporting.zoo_figure import draw_zoo, zoo_caption


def draw(suite, arguments):
    metrics, runs = read_metrics(arguments.metrics, suite.name), read_runs(arguments.runs)
    intervals = arguments.intervals and read_intervals(arguments.intervals, arguments.metrics)
    pairs = arguments.pairs and read_pairs(arguments.pairs, arguments.metrics)
    zoo = read_zoo(suite, metrics, runs, read_history(arguments.history), intervals, pairs)
    title = other = None
    if arguments.beside is not None:
        resolved, beside_metrics, beside_runs = arguments.beside
        beside = load_resolved_suite(resolved)
        title = beside.title
        other = read_zoo(beside, read_metrics(beside_metrics, beside.name), read_runs(beside_runs)).table
    save(draw_zoo(zoo, line_styles(suite), other), arguments.out, zoo_caption(zoo, title))
    write_zoo(zoo.table, other, arguments.out)


def add_arguments(parser):
    add_intervals(parser)
    parser.add_argument("--runs", required=True, type=Path, help="summary/runs.csv of the suite")
    parser.add_argument("--history", required=True, type=Path, help="summary/history.csv of the suite")
    parser.add_argument("--pairs", type=Path, help="summary/pairs.csv of the suite: paired tests")
    files = "suite.yaml, metrics.csv and runs.csv of another suite, whose scores are drawn as open markers"
    parser.add_argument("--beside", nargs=3, type=Path, metavar=("SUITE", "METRICS", "RUNS"), help=files)


def main(argv=None):
    run_script(__doc__, draw, add_arguments, argv)


if __name__ == "__main__":
    main()
