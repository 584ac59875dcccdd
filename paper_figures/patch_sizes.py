"""Scores over the size of the patches and over tokens per second, one row per dataset and task."""

from elasticast.reporting.legend import curve_caption
from elasticast.reporting.panel_inputs import add_sweep, read_panels
from elasticast.reporting.patch_sizes import MARKERS, draw_patches
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    swept = [x_name for x_name in MARKERS if any(suite.curve(name, x_name) for name in suite.experiments)]
    panels = [panel for x_name in swept for panel in read_panels(suite, arguments, x_name)]
    save(draw_patches(suite, panels, line_styles(suite)), arguments.out, curve_caption(panels))


def main(argv=None):
    run_script(__doc__, draw, add_sweep, argv)


if __name__ == "__main__":
    main()
