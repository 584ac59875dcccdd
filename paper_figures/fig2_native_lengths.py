"""Fig. 2: native lengths of the clips, and what cropping and padding to each fixed length costs."""

from pathlib import Path

from elasticast.reporting.lengths import draw_lengths, read_lengths
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import save


def draw(suite, arguments):
    save(draw_lengths([read_lengths(path, suite) for path in arguments.manifests]), arguments.out)


def add_manifests(parser):
    told = "results/data/DATASET/manifest.parquet, one a data set; the folder names the data set"
    parser.add_argument("--manifests", required=True, nargs="+", type=Path, help=told)


def main(argv=None):
    run_script(__doc__, draw, add_manifests, argv)


if __name__ == "__main__":
    main()
