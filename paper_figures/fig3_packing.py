"""Fig. 3: how a real batch is packed: spectrograms in the row, attention mask, pooling mask."""

from pathlib import Path

import numpy as np

from elasticast.data.dataset import Clips
from elasticast.data.encoder import ClipEncoder
from elasticast.data.features import Norm
from elasticast.data.views import ViewRule
from elasticast.reporting.packed_batch import draw_packing, fill_patches, packed_run
from elasticast.reporting.scripts import run_script
from elasticast.reporting.style import save


def draw(suite, arguments):
    config = packed_run(suite, arguments.data.name)
    clips, rule = Clips(arguments.data, "train", config.task), ViewRule(config)
    chosen = np.random.default_rng(arguments.seed).permutation(len(clips))[: arguments.clips]
    views = [rule(int(clips.samples[i])) for i in chosen]
    encoder = ClipEncoder(config, Norm(0.0, 0.5))  # changes nothing: the figure shows the log-mel as it is
    mels = [encoder.spectrogram(clips.waveform(i), view.compression) for i, view in zip(chosen, views, strict=True)]
    tokens = [len(encoder.encode(mel, view).patches) for mel, view in zip(mels, views, strict=True)]
    mels = [fill_patches(mel.numpy(), view.frames) for mel, view in zip(mels, views, strict=True)]
    labels = [f"{clips.samples[i] / config.front_end.sample_rate:.1f} s" for i in chosen]
    save(draw_packing(mels, labels, tokens), arguments.out)


def add_data(parser):
    parser.add_argument("--data", required=True, type=Path, help="prepared data: results/data/DATASET")
    parser.add_argument("--clips", default=6, type=int, help="clips in the batch (default: 6)")
    parser.add_argument("--seed", default=0, type=int, help="seed of the draw of clips (default: 0)")


def main(argv=None):
    run_script(__doc__, draw, add_data, argv)


if __name__ == "__main__":
    main()
