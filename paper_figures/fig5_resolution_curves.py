"""Fig. 5: score over temporal resolution, one panel per dataset and task."""

from elasticast.reporting.curves import draw_sweeps
from elasticast.reporting.results import read_metrics, sweep_panels
from elasticast.reporting.scripts import add_metrics, run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    panels = sweep_panels(suite, read_metrics(arguments.metrics, suite.name), "compression")
    save(draw_sweeps(panels, line_styles(suite)), arguments.out)


def main(argv=None):
    run_script(__doc__, draw, add_metrics, argv)


if __name__ == "__main__":
    main()
