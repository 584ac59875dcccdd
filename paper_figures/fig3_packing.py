"""Fig. 3: a packed batch of training clips: their spectrograms, the attention mask and the pooling mask."""

from pathlib import Path

import numpy as np

from elasticast.data.dataset import Clips
from elasticast.reporting.captions import title_of
from elasticast.reporting.packed_batch import draw_packing, encode_clips, packed_run, packing_caption
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import save


def draw(suite, arguments):
    config = packed_run(suite, arguments.data.name)
    clips = Clips(arguments.data, "train", config.task)
    indices = np.random.default_rng(arguments.seed).permutation(len(clips))[: arguments.clips]
    batch = encode_clips(clips, config, indices)
    save(draw_packing(batch), arguments.out, packing_caption(config, batch, title_of(suite.datasets, config.dataset)))


def add_data(parser):
    parser.add_argument("--data", required=True, type=Path, help="folder with prepared data: results/data/DATASET")
    parser.add_argument("--clips", default=6, type=int, help="number of clips in the batch (default: 6)")
    parser.add_argument("--seed", default=0, type=int, help="seed of the random choice of clips (default: 0)")


def main(argv=None):
    run_script(__doc__, draw, add_data, argv)


if __name__ == "__main__":
    main()
