"""Learning curves: training loss and scores on held-out clips of all runs, one panel per dataset, task and quantity."""

from pathlib import Path

from elasticast.reporting.learning_curves import draw_learning, learning_caption, learning_panels
from elasticast.reporting.read_tables import read_history
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    panels = learning_panels(suite, read_history(arguments.history))
    save(draw_learning(panels, line_styles(suite)), arguments.out, learning_caption(panels))


def add_history(parser):
    parser.add_argument("--history", required=True, type=Path, help="summary/history.csv of the suite")


def main(argv=None):
    run_script(__doc__, draw, add_history, argv)


if __name__ == "__main__":
    main()
