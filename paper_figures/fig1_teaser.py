"""Fig. 1: ASTs trained at one length each and ElasticAST, over input length (first length sweep of the suite)."""

from elasticast.reporting.curves import draw_teaser
from elasticast.reporting.results import read_metrics, sweep_panels
from elasticast.reporting.scripts import add_metrics, run_script
from elasticast.reporting.style import line_styles, save


def draw(suite, arguments):
    panels = sweep_panels(suite, read_metrics(arguments.metrics, suite.name), "max_frames")
    save(draw_teaser(panels[0], line_styles(suite)), arguments.out)


def main(argv=None):
    run_script(__doc__, draw, add_metrics, argv)


if __name__ == "__main__":
    main()
