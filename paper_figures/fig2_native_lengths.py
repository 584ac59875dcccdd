"""Fig. 2: native lengths of the clips, and the tokens that each fixed length discards or adds."""

from pathlib import Path

from elasticast.reporting.native_lengths import draw_lengths, lengths_caption
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import save
from elasticast.reporting.token_shares import read_lengths


def draw(suite, arguments):
    datasets = [read_lengths(path, suite) for path in arguments.manifests]
    save(draw_lengths(datasets), arguments.out, lengths_caption(datasets))


def add_manifests(parser):
    files = "results/data/DATASET/manifest.parquet of each dataset; the folder has the name of the dataset"
    parser.add_argument("--manifests", required=True, nargs="+", type=Path, help=files)


def main(argv=None):
    run_script(__doc__, draw, add_manifests, argv)


if __name__ == "__main__":
    main()
