"""Fig. 2: native lengths of the clips, and the tokens that each fixed length discards or adds."""

from pathlib import Path

from elasticast.reporting.native_lengths import draw_lengths, lengths_caption
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import save
from elasticast.reporting.token_shares import read_lengths


def draw(suite, arguments):
    datasets = read_lengths(arguments.lengths, suite)
    save(draw_lengths(datasets), arguments.out, lengths_caption(datasets))


def add_lengths(parser):
    parser.add_argument("--lengths", required=True, type=Path, help="summary/lengths.csv of the suite")


def main(argv=None):
    run_script(__doc__, draw, add_lengths, argv)


if __name__ == "__main__":
    main()
