"""One rank of the trainings that `test_distributed.py` starts: ``torchrun ranks.py PREPARED OUT``.

``OUT/cases.json`` maps the folder of each run to its `config` and, if it is to `stop`, the `rank` that is told to, in
which `step`. Each rank leaves its exit status in ``OUT/<run>.rank<k>``, and in ``OUT/threads.rank<k>`` how many threads
it has more than before.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from elasticast.config import RunConfig
from elasticast.data.dataset import Clips
from elasticast.data.norm import read_norm
from elasticast.evaluation import sweep
from elasticast.training.distributed import join_processes
from elasticast.training.inputs import RunInputs
from elasticast.training.loop import Trainer

CHUNK_CLIPS = 4  # of the split that weights are chosen on: rank 1 has the last two of its six clips


def stop_at(trainer: Trainer, step: int) -> None:
    """Ask a trainer to stop while it makes its step number `step`."""
    update = trainer._update

    def interrupted(*args):
        if trainer.step == step - 1:
            os.kill(os.getpid(), signal.SIGUSR2)
        return update(*args)

    trainer._update = interrupted


def main(prepared: Path, out: Path) -> None:
    torch.set_num_threads(1)
    sweep.CHUNK_CLIPS = CHUNK_CLIPS
    clips, norm = Clips(prepared, "train", "events"), read_norm(prepared / "norm.json")
    torch.cuda.is_available()  # a driver may start threads of its own
    threads = len(os.listdir("/proc/self/task"))
    with join_processes() as world:
        for name, case in json.loads((out / "cases.json").read_text()).items():
            config = RunConfig.model_validate(case["config"])
            split = config.train.select and Clips(prepared, config.train.select.split, "events")
            trainer = Trainer(config, RunInputs(clips, norm, "data", split), out / name, world)
            if case.get("stop", {}).get("rank") == world.rank:
                stop_at(trainer, case["stop"]["step"])
            status = 0
            try:
                trainer.fit()
            except SystemExit as stopped:
                status = stopped.code
            (out / f"{name}.rank{world.rank}").write_text(str(status))
    (out / f"threads.rank{world.rank}").write_text(str(len(os.listdir("/proc/self/task")) - threads))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
