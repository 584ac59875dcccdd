"""Fig. 1: score over input length of ElasticAST and of ASTs trained at one length each (first panel of figure 4)."""

from elasticast.reporting.curves import draw_teaser
from elasticast.reporting.legend import curve_caption
from elasticast.reporting.panel_inputs import add_intervals, read_panels
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    panel = read_panels(suite, arguments, "max_frames")[0]
    save(draw_teaser(panel, line_styles(suite)), arguments.out, curve_caption([panel]))


def main(argv=None):
    run_script(__doc__, draw, add_intervals, argv)


if __name__ == "__main__":
    main()
