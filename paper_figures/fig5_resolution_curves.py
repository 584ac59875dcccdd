"""Fig. 5: score over temporal resolution, one panel per dataset and task."""

from elasticast.reporting.curves import draw_sweeps
from elasticast.reporting.scripts import add_curves, read_curves, run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    save(draw_sweeps(read_curves(suite, arguments, "compression"), line_styles(suite)), arguments.out)


def main(argv=None):
    run_script(__doc__, draw, add_curves, argv)


if __name__ == "__main__":
    main()
