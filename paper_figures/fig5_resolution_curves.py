"""Fig. 5: score over temporal resolution, one panel per dataset and task."""

from elasticast.reporting.curves import draw_sweeps
from elasticast.reporting.scripts import add_sweep, read_panels, run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    save(draw_sweeps(read_panels(suite, arguments, "compression"), line_styles(suite)), arguments.out)


def main(argv=None):
    run_script(__doc__, draw, add_sweep, argv)


if __name__ == "__main__":
    main()
