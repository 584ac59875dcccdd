"""Fig. 5: score over temporal resolution, one panel per dataset and task."""

from elasticast.reporting.curves import draw_sweeps
from elasticast.reporting.legend import curve_caption
from elasticast.reporting.panel_inputs import add_curves, read_curves
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    panels = read_curves(suite, arguments, "compression")
    save(draw_sweeps(panels, line_styles(suite)), arguments.out, curve_caption(panels))


def main(argv=None):
    run_script(__doc__, draw, add_curves, argv)


if __name__ == "__main__":
    main()
